//! What a rule does to a question.

use std::fmt::Write as _;

use super::edns::EdnsRule;
use super::name::{Answer, Matcher, NameRule};
use crate::limits::NAME_OCTETS;
use crate::plugin::Query;
use crate::wire::name::{NameBuf, Text, simple_text};
use crate::wire::plain::Plain;
use crate::wire::rcode::Rcode;
use crate::wire::types;

/// One rule of the Corefile.
#[derive(Clone, Debug)]
pub struct Rule {
    /// No further rule is looked at once this one applied.
    pub(super) stops: bool,
    pub(super) field: Field,
}

/// What a rule is about.
#[derive(Clone, Debug)]
pub(super) enum Field {
    Name(Box<NameRule>),
    Type {
        from: u16,
        to: u16,
    },
    Class {
        from: u16,
        to: u16,
    },
    Edns(EdnsRule),
    /// Bounds for the TTLs of replies to these names.
    Ttl {
        names: Matcher,
        min_s: u32,
        max_s: u32,
    },
    Rcode {
        names: Matcher,
        from: Rcode,
        to: Rcode,
    },
    Cname(Box<CnameRule>),
}

/// CNAME targets in replies that are looked up elsewhere.
#[derive(Clone, Debug)]
pub(super) struct CnameRule {
    pub targets: Matcher,
    pub replacement: String,
}

/// What became of a question.
pub(super) enum Applied {
    No,
    Yes {
        remap: Option<Box<(NameBuf, NameBuf)>>,
        option: Option<(u16, Option<Vec<u8>>)>,
    },
    /// The new name is none.
    BadName(String),
}

impl Rule {
    /// Changes the question if it matches. `text` is scratch room.
    pub(super) fn apply(&self, query: &mut Query, text: &mut String) -> Applied {
        let matched = match &self.field {
            Field::Name(rule) => return rename(rule, query, text),
            Field::Edns(rule) => return rule.apply(query),
            Field::Type { from, to } => {
                let matched = query.qtype == *from;
                if matched {
                    query.qtype = *to;
                }
                matched
            }
            Field::Class { from, to } => {
                let matched = query.qclass == *from;
                if matched {
                    query.qclass = *to;
                }
                matched
            }
            Field::Ttl { names, .. } | Field::Rcode { names, .. } => {
                matches(names, query.name(), text)
            }
            // Which replies hold such a target shows later.
            Field::Cname(_) => true,
        };
        if matched { DONE } else { Applied::No }
    }

    /// Whether name, type and class of the question tell that the rule does nothing to a query; `None` where they do not tell.
    pub(super) fn spares(&self, plain: &Plain, text: &mut String) -> Option<bool> {
        let applies = match &self.field {
            Field::Name(rule) => matches(&rule.names, plain.name(), text),
            Field::Ttl { names, .. } | Field::Rcode { names, .. } => {
                matches(names, plain.name(), text)
            }
            Field::Type { from, .. } => plain.qtype == *from,
            Field::Class { from, .. } => types::CLASS_IN == *from,
            Field::Edns(_) | Field::Cname(_) => return None,
        };
        Some(!applies)
    }

    /// The option code that the server lets through in replies because of this rule.
    pub(super) fn echoed_option(&self) -> Option<u16> {
        match &self.field {
            Field::Edns(rule) => rule.local_code(),
            _ => None,
        }
    }
}

/// Whether the question's name matches; its text is rendered only if the matcher reads text.
fn matches(names: &Matcher, name: &[u8], text: &mut String) -> bool {
    if let Matcher::Exact(_, wire) = names {
        return wire.as_ref().is_some_and(|wire| wire.as_wire() == name);
    }
    if let Matcher::Suffix(suffix) = names
        && shows_other_suffix(name, suffix)
    {
        return false;
    }
    render(name, text);
    names.is_match(text)
}

/// Whether the end of a name in wire form already tells that its text ends otherwise, as is so with nearly all questions. A letter stands in
/// the text where it stands in the name, counted from the end; what may come from an escape (a digit, a sign) leaves it open.
fn shows_other_suffix(name: &[u8], suffix: &str) -> bool {
    for (octet, shown) in name.iter().rev().zip(suffix.bytes().rev()) {
        match shown {
            b'.' => {}
            b'a'..=b'z' | b'-' | b'_' if *octet == shown => {}
            b'a'..=b'z' | b'-' | b'_' => return true,
            _ => return false,
        }
    }
    false
}

fn rename(rule: &NameRule, query: &mut Query, text: &mut String) -> Applied {
    if !matches(&rule.names, query.name(), text) {
        return Applied::No;
    }
    let before = query.name_buf();
    let new = match (&rule.names, &rule.exact_name) {
        (Matcher::Exact(..), Some(name)) => *name,
        _ => {
            render(query.name(), text);
            let replaced = rule
                .names
                .replace(text, &rule.replacement)
                .unwrap_or_default();
            match NameBuf::from_text(&replaced) {
                Ok(name) => name.to_lower(),
                Err(_) => return Applied::BadName(replaced),
            }
        }
    };
    query.set_name(&new);
    let remap = rule
        .answers
        .contains(&Answer::Auto)
        .then(|| Box::new((new, before)));
    Applied::Yes {
        remap,
        option: None,
    }
}

fn render(name: &[u8], text: &mut String) {
    text.clear();
    let mut buffer = [0; NAME_OCTETS];
    if let Some(simple) = simple_text(name, &mut buffer) {
        return text.push_str(simple);
    }
    // Writing to a String cannot fail.
    let _ = write!(text, "{}", Text(name));
}

const DONE: Applied = Applied::Yes {
    remap: None,
    option: None,
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_with_another_suffix_is_told_without_its_text(
            labels in proptest::collection::vec("[ab01.\\\\*_\u{1}\u{b}-]{1,3}", 0..4),
            suffix in "[ab01.\\\\*_-]{0,5}",
        ) {
            let mut wire = Vec::new();
            for label in &labels {
                wire.push(label.len() as u8);
                wire.extend_from_slice(label.as_bytes());
            }
            wire.push(0);
            let suffix = format!("{suffix}.");
            let text = Text(&wire).to_string();
            prop_assert!(
                !(shows_other_suffix(&wire, &suffix) && text.ends_with(&suffix)),
                "{text} {suffix}"
            );
        }
    }

    #[test]
    fn a_letter_settles_it() {
        assert!(shows_other_suffix(b"\x01a\x03org\0", ".old.test."));
        assert!(!shows_other_suffix(b"\x03old\x04test\0", "old.test."));
    }
}
