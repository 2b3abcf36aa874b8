//! Zone names of a Corefile: validated once, then compared in wire form.

use std::fmt;
use std::sync::Arc;

use crate::wire::name::{self, NameBuf};

/// A fully qualified lower-case domain name. Cheap to clone.
///
/// Text and wire form determine each other, so names are equal when their texts are; they sort by text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ZoneName {
    /// With a final dot, escaped where DNS presentation form escapes.
    text: Arc<str>,
    /// Uncompressed: `1 <= len <= limits::NAME_OCTETS`.
    wire: Arc<[u8]>,
    /// The last eight octets of `wire`, by which most names outside are told at a look.
    last: u64,
}

impl ZoneName {
    /// Takes a domain name, with or without the final dot. `None` where it is not one (the empty text among them).
    pub fn new(text: &str) -> Option<Self> {
        let name = NameBuf::from_text(text).ok()?.to_lower();
        Some(Self {
            text: name.to_string().into(),
            wire: name.as_wire().into(),
            last: name::last_word(name.as_wire()),
        })
    }

    /// As `new`, with CoreDNS's words for what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_OCTETS {
            let len = text.len();
            return Err(format!("specified zone is too long: {len} > {TEXT_OCTETS}"));
        }
        Self::new(text).ok_or_else(|| format!("zone is not a valid domain name: {text}"))
    }

    /// The root zone.
    pub fn root() -> Self {
        Self {
            text: ".".into(),
            wire: [0].into(),
            last: 0,
        }
    }

    /// Text with its final dot.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Uncompressed lower-case wire form, the root label included.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Whether the lower-case wire name `name` is this zone or below it.
    #[inline]
    pub fn is_suffix_of(&self, name: &[u8]) -> bool {
        let may_be = self.wire.len() < 8 || name.len() >= 8 && name::last_word(name) == self.last;
        may_be && name::is_within(name, &self.wire)
    }

    /// Labels, the root label not counted.
    pub fn label_count(&self) -> usize {
        name::label_count(&self.wire)
    }

    /// Whether this is the root zone.
    pub fn is_root(&self) -> bool {
        self.wire.len() == 1
    }

    /// Whether the name lies below in-addr.arpa or ip6.arpa.
    pub fn is_reverse(&self) -> bool {
        self.text.ends_with(".in-addr.arpa.") || self.text.ends_with(".ip6.arpa.")
    }

    /// What start-up prints for a name that breaks the preferred syntax of RFC 1035 section 2.3.1: labels of letters,
    /// digits and hyphens that start with a letter and do not end with a hyphen. The root and reverse zones are exempt.
    pub fn syntax_warning(&self) -> Option<String> {
        let fine = self.is_root()
            || self.is_reverse()
            || self
                .text
                .strip_suffix('.')
                .is_some_and(|text| text.split('.').all(is_preferred));
        (!fine).then(|| {
            format!(
                "Warning: Domain {:?} does not follow RFC1035 preferred syntax",
                self.as_str()
            )
        })
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The longest of `zones` that holds the lower-case wire name `name`; the first among equals.
#[inline]
pub fn longest_match<'z>(zones: &'z [ZoneName], name: &[u8]) -> Option<&'z ZoneName> {
    let mut best: Option<&ZoneName> = None;
    for zone in zones {
        if zone.is_suffix_of(name) && best.is_none_or(|best| best.wire.len() < zone.wire.len()) {
            best = Some(zone);
        }
    }
    best
}

fn is_preferred(label: &str) -> bool {
    let octets = label.as_bytes();
    let (Some(first), Some(last)) = (octets.first(), octets.last()) else {
        return false;
    };
    first.is_ascii_alphabetic()
        && last.is_ascii_alphanumeric()
        && octets
            .iter()
            .all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
}

/// Longest text of a zone; CoreDNS's number.
const TEXT_OCTETS: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_qualified_and_lowered() {
        for (text, want, labels) in [
            ("Example.ORG", "example.org.", 2),
            ("example.org.", "example.org.", 2),
            (".", ".", 0),
            (r"a\.", r"a\..", 1),
            (r"a\\.", r"a\\.", 1),
            ("squic://x", "squic://x.", 1),
            ("\u{e9}", r"\195\169.", 1),
        ] {
            let zone = ZoneName::parse(text).unwrap();
            assert_eq!(
                (zone.as_str(), zone.label_count()),
                (want, labels),
                "{text}"
            );
        }
        assert_eq!(
            ZoneName::parse(r"\097.B").unwrap(),
            ZoneName::parse("a.b").unwrap()
        );
    }

    #[test]
    fn bad_names_are_refused() {
        let check = |text: &str, want: &str| assert_eq!(ZoneName::parse(text).unwrap_err(), want);
        check("", "zone is not a valid domain name: ");
        check("a..b", "zone is not a valid domain name: a..b");
        check(".a", "zone is not a valid domain name: .a");
        check(
            &"a".repeat(64),
            &format!("zone is not a valid domain name: {}", "a".repeat(64)),
        );
        check(&"a.".repeat(128), "specified zone is too long: 256 > 255");
    }

    #[test]
    fn suffixes_end_at_labels() {
        let org = ZoneName::parse("org").unwrap();
        let example = ZoneName::parse("example.org").unwrap();
        let zones = [org.clone(), ZoneName::root(), example.clone()];
        let wire = |text: &str| ZoneName::parse(text).unwrap().wire().to_vec();
        assert_eq!(
            longest_match(&zones, &wire("www.example.org")),
            Some(&example)
        );
        assert_eq!(longest_match(&zones, &wire("example.org")), Some(&example));
        assert_eq!(longest_match(&zones, &wire("anexample.org")), Some(&org));
        assert_eq!(longest_match(&zones, &wire("com")), Some(&zones[1]));
        assert_eq!(longest_match(&zones[..1], &wire("com")), None);
    }

    #[test]
    fn preferred_syntax_is_letters_first() {
        for (text, fine) in [
            ("example.org", true),
            (".", true),
            ("10.in-addr.arpa", true),
            ("in-addr.arpa", true),
            ("a-b.c9", true),
            ("9a.org", false),
            ("a_b.org", false),
            ("a-.org", false),
        ] {
            let warning = ZoneName::parse(text).unwrap().syntax_warning();
            assert_eq!(warning.is_none(), fine, "{text} {warning:?}");
        }
        assert_eq!(
            ZoneName::parse("9a.Org")
                .unwrap()
                .syntax_warning()
                .as_deref(),
            Some("Warning: Domain \"9a.org.\" does not follow RFC1035 preferred syntax")
        );
    }
}
