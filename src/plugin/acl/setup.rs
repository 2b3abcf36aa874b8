//! `acl [ZONES...] { ACTION [type QTYPE...] [net SOURCE...] }`, repeatable.

use super::{Action, Config, Policy, Rule};
use crate::corefile::{Args, SetupError, ZoneName, origins_from_args_or_block};
use crate::lang::cidr::{Net, NetSet};
use crate::plugin::SetupCx;
use crate::wire::types;

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
    let mut config = Config {
        rules: Vec::new(),
        zones: Vec::new(),
    };
    while args.next() {
        let zones = origins_from_args_or_block(&args.remaining_args(), cx.zones);
        let mut policies = Vec::new();
        while args.next_block() {
            policies.push(policy(args)?);
        }
        let zones = zones.into_iter().map(|zone| index(&mut config.zones, zone));
        config.rules.push(Rule {
            zones: zones.collect(),
            policies,
        });
    }
    Ok(config)
}

fn index(zones: &mut Vec<ZoneName>, zone: ZoneName) -> usize {
    let known = zones.iter().position(|known| *known == zone);
    known.unwrap_or_else(|| {
        zones.push(zone);
        zones.len() - 1
    })
}

fn policy(args: &mut Args<'_>) -> Result<Policy, SetupError> {
    let action = match args.val().to_lowercase().as_str() {
        "allow" => Action::Allow,
        "block" => Action::Block,
        "filter" => Action::Filter,
        "drop" => Action::Drop,
        _ => {
            return Err(args.err(format!(
                "unexpected token {:?}; expect 'allow', 'block', 'filter' or 'drop'",
                args.val()
            )));
        }
    };
    let words = args.remaining_args();
    // `None` is a section that was not given; a star takes what stood before it back and ends the section.
    let (mut types, mut nets) = (None, None);
    let mut rest = &words[..];
    while let [section, after @ ..] = rest {
        if !is_section(section) {
            return Err(args.err(format!("unexpected token {section:?}; expect 'type | net'")));
        }
        let len = after.iter().take_while(|word| !is_section(word)).count();
        let (tokens, next) = after.split_at(len);
        rest = next;
        let section = section.to_lowercase();
        if tokens.is_empty() {
            return Err(args.err(format!("no token specified in {section:?} section")));
        }
        if section == "type" {
            read_types(args, tokens, types.get_or_insert_default())?;
        } else {
            read_nets(args, tokens, nets.get_or_insert_default())?;
        }
    }
    let types: Option<List<u16>> = types;
    let nets: Option<List<Net>> = nets;
    Ok(Policy {
        action,
        types: types.filter(|list| !list.all).map(|list| list.items),
        nets: nets
            .filter(|list| !list.all)
            .map(|list| NetSet::from_iter(list.items)),
    })
}

struct List<T> {
    items: Vec<T>,
    all: bool,
}

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List {
            items: Vec::new(),
            all: false,
        }
    }
}

fn is_section(word: &str) -> bool {
    word.eq_ignore_ascii_case("type") || word.eq_ignore_ascii_case("net")
}

fn read_types(args: &Args<'_>, tokens: &[&str], list: &mut List<u16>) -> Result<(), SetupError> {
    for token in tokens {
        if *token == "*" {
            list.all = true;
            break;
        }
        let qtype = types::parse(token)
            .ok_or_else(|| args.err(format!("unexpected token {token:?}; expect legal QTYPE")))?;
        list.items.push(qtype);
    }
    Ok(())
}

fn read_nets(args: &Args<'_>, tokens: &[&str], list: &mut List<Net>) -> Result<(), SetupError> {
    for token in tokens {
        if *token == "*" {
            list.all = true;
            break;
        }
        let text = match token {
            token if token.contains('/') => (*token).to_owned(),
            token if token.contains(':') => format!("{token}/128"),
            token => format!("{token}/32"),
        };
        let net =
            Net::parse(&text).map_err(|_| args.err(format!("illegal CIDR notation {text:?}")))?;
        list.items.push(net);
    }
    Ok(())
}
