//! The name of a zone as a Corefile gives it: checked once, lower-case, fully qualified.

use std::fmt;

use crate::wire::name::{self, NameBuf};

/// A zone: text with the final dot, and wire form, both in lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ZoneName {
    text: String,
    wire: Vec<u8>,
}

impl ZoneName {
    /// Takes a domain name, with or without the final dot. `None` where it is not one (the empty text among them).
    pub fn new(text: &str) -> Option<ZoneName> {
        let name = NameBuf::from_text(text).ok()?.to_lower();
        Some(ZoneName {
            text: name.to_string(),
            wire: name.as_wire().to_vec(),
        })
    }

    /// The root zone.
    pub fn root() -> ZoneName {
        ZoneName {
            text: ".".to_owned(),
            wire: vec![0],
        }
    }

    /// Presentation form with the final dot.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Lower-case wire form.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Whether `name`, in lower-case wire form, is this zone's apex or lies below it.
    pub fn is_suffix_of(&self, name: &[u8]) -> bool {
        name::is_within(name, &self.wire)
    }

    /// Labels, the root label not counted.
    pub fn label_count(&self) -> usize {
        name::label_count(&self.wire)
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

/// The longest zone of the list that holds `name` (lower-case wire form).
pub fn longest_match<'a>(zones: &'a [ZoneName], name: &[u8]) -> Option<&'a ZoneName> {
    let holding = zones.iter().filter(|zone| zone.is_suffix_of(name));
    holding.max_by_key(|zone| zone.wire.len())
}
