//! `header { [query|response] set|clear FLAG... }`.

use super::Config;
use crate::corefile::{Args, SetupError};
use crate::wire::flag;

/// The first directive with rules is the one that counts, as in CoreDNS.
pub(super) fn parse(args: &mut Args<'_>) -> Result<Config, SetupError> {
    while args.next() {
        let mut config = Config::default();
        let mut rules = 0;
        while args.next_block() {
            rule(args, &mut config)
                .map_err(|reason| SetupError::plain(format!("setting up rule: {reason}")))?;
            rules += 1;
        }
        if rules > 0 {
            return Ok(config);
        }
    }
    Err(args.arg_err())
}

fn rule(args: &mut Args<'_>, config: &mut Config) -> Result<(), String> {
    let selector = args.val().to_lowercase();
    let (change, action) = match selector.as_str() {
        // The form before queries could be changed, too.
        "set" | "clear" => (&mut config.response, selector),
        "query" => (&mut config.query, word(args)),
        "response" => (&mut config.response, word(args)),
        _ => {
            return Err(format!(
                "invalid selector={selector} should be query or response"
            ));
        }
    };
    let words = args.remaining_args();
    if action.is_empty() {
        return Err("no flag action provided".to_owned());
    }
    if words.is_empty() {
        return Err("invalid length for flags, at least one should be provided".to_owned());
    }
    let on = match action.as_str() {
        "set" => true,
        "clear" => false,
        _ => {
            return Err(format!(
                "unknown flag action={action}, should be set or clear"
            ));
        }
    };
    for word in words {
        let bit = match word.to_lowercase().as_str() {
            "aa" => flag::AA,
            "ra" => flag::RA,
            "rd" => flag::RD,
            other => return Err(format!("unknown/unsupported flag={other}")),
        };
        change.add(bit, on);
    }
    Ok(())
}

fn word(args: &mut Args<'_>) -> String {
    if args.next_arg() {
        args.val().to_lowercase()
    } else {
        String::new()
    }
}
