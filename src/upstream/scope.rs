//! Which names a line is for.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use crate::corefile::ZoneName;

/// A zone without some of those below it.
pub struct Scope {
    /// FROM.
    pub from: ZoneName,
    /// `except`.
    pub except: Vec<ZoneName>,
}

impl Scope {
    /// Whether the line is for the name, in lower case and wire form. The zone's own name is never excepted.
    pub fn takes(&self, name: &[u8]) -> bool {
        self.from.is_suffix_of(name)
            && (name == self.from.wire() || !self.except.iter().any(|zone| zone.is_suffix_of(name)))
    }
}
