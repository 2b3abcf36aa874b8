//! `log [NAMES...] [FORMAT] { class CLASS... }`, repeatable.

use std::sync::Arc;

use super::Rule;
use crate::corefile::{Args, SetupError, ZoneName};
use crate::lang::replacer::Format;
use crate::wire::kind::Class;

pub(super) fn parse(args: &mut Args<'_>) -> Result<Vec<Rule>, SetupError> {
    let mut rules = Vec::new();
    while args.next() {
        let words = args.remaining_args();
        let (names, format) = match &words[..] {
            [names @ .., format] if !names.is_empty() && format.contains('{') => {
                (names, Format::parse_log(format))
            }
            [] => (&["."][..], Format::common()),
            names => (names, Format::common()),
        };
        let format = Arc::new(format);
        let first = rules.len();
        for name in names {
            let scope = ZoneName::new(name)
                .ok_or_else(|| args.err(format!("'{name}' is not a domain name")))?;
            rules.push(Rule {
                scope,
                format: Arc::clone(&format),
                classes: Vec::new(),
            });
        }
        let classes = classes(args)?;
        rules[first..]
            .iter_mut()
            .for_each(|rule| rule.classes.clone_from(&classes));
    }
    Ok(rules)
}

/// The classes of the braces; empty for all.
fn classes(args: &mut Args<'_>) -> Result<Vec<Class>, SetupError> {
    let (mut classes, mut all) = (Vec::new(), false);
    while args.next_block() {
        if args.val() != "class" {
            return Err(args.arg_err());
        }
        let words = args.remaining_args();
        if words.is_empty() {
            return Err(args.arg_err());
        }
        for word in words {
            match word {
                "all" => all = true,
                "success" => classes.push(Class::Success),
                "denial" => classes.push(Class::Denial),
                "error" => classes.push(Class::Error),
                other => return Err(SetupError::plain(format!("invalid Class: {other}"))),
            }
        }
    }
    if all {
        classes.clear();
    }
    Ok(classes)
}
