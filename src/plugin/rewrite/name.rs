//! Matching and replacing names as text, as the Corefile writes them: lower-case, with a final dot.

use crate::lang::regexp::Regexp;
use crate::wire::name::NameBuf;

/// Which names a rule is for.
#[derive(Clone, Debug)]
pub(super) enum Matcher {
    /// The whole name, also in wire form where it is a valid name.
    Exact(String, Option<Box<NameBuf>>),
    Prefix(String),
    Suffix(String),
    Substring(String),
    Regex(Regexp),
}

/// A rule that changes the question's name.
#[derive(Clone, Debug)]
pub(super) struct NameRule {
    pub names: Matcher,
    pub replacement: String,
    /// The replacement of an exact rule in wire form, where it is a valid name.
    pub exact_name: Option<NameBuf>,
    /// What to do to records of replies, in the order written.
    pub answers: Vec<Answer>,
}

/// What a name rule does to records.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// Names at and below the new name become names at and below the old one, in owners and targets.
    Auto,
    /// The same for a suffix rule: the suffix is turned back.
    Suffix { from: String, to: String },
    /// Owners that match.
    Name(Regexp, String),
    /// Targets that match.
    Value(Regexp, String),
}

impl Matcher {
    /// Whether this text matches.
    pub(super) fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Exact(name, _) => text == name,
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Suffix(suffix) => text.ends_with(&**suffix),
            Self::Substring(part) => text.contains(&**part),
            Self::Regex(regexp) => regexp.is_match(text),
        }
    }

    /// The text with what matches replaced; none when nothing does.
    pub(super) fn replace(&self, text: &str, replacement: &str) -> Option<String> {
        match self {
            Self::Exact(name, _) => (text == name).then(|| replacement.to_string()),
            Self::Prefix(prefix) => text
                .strip_prefix(&**prefix)
                .map(|rest| format!("{replacement}{rest}")),
            Self::Suffix(suffix) => text
                .strip_suffix(&**suffix)
                .map(|rest| format!("{rest}{replacement}")),
            Self::Substring(part) => text
                .contains(&**part)
                .then(|| text.replace(&**part, replacement)),
            Self::Regex(regexp) => expand(regexp, text, replacement),
        }
    }
}

impl Answer {
    /// The new text of an owner, where this is about owners and the text matches.
    pub(super) fn owner(&self, text: &str) -> Option<String> {
        match self {
            Self::Name(regexp, to) => expand(regexp, text, to),
            Self::Suffix { from, to } => {
                text.strip_suffix(&**from).map(|rest| format!("{rest}{to}"))
            }
            Self::Auto | Self::Value(..) => None,
        }
    }

    /// The new text of a target.
    pub(super) fn value(&self, text: &str) -> Option<String> {
        match self {
            Self::Value(regexp, to) => expand(regexp, text, to),
            Self::Suffix { from, to } => {
                text.strip_suffix(&**from).map(|rest| format!("{rest}{to}"))
            }
            Self::Auto | Self::Name(..) => None,
        }
    }
}

/// The replacement with `{0}`, `{1}` and so on filled in; none when the text does not match.
fn expand(regexp: &Regexp, text: &str, replacement: &str) -> Option<String> {
    // Most texts do not match, and finding that out takes no memory.
    if !regexp.is_match(text) {
        return None;
    }
    let mut groups = regexp.groups();
    if !regexp.find(text, &mut groups) {
        return None;
    }
    let mut out = replacement.to_string();
    for number in 0..groups.count() {
        let mark = format!("{{{number}}}");
        if out.contains(&mark) {
            out = out.replace(&mark, groups.text(text, number));
        }
        if out.len() > OCTETS_MAX {
            break;
        }
    }
    Some(out)
}

/// No name has more text (63 labels would do; every octet may be escaped as `\DDD`).
const OCTETS_MAX: usize = 4 * crate::limits::NAME_OCTETS;
