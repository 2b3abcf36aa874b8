//! The two names of a query: as the client sent it and as plugins see it.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use crate::wire::name::{self, NameBuf};

/// A query in hand has room for any two names, so that taking the next one allocates nothing. One that waits keeps the octets alone:
/// thousands may wait, and most names have 30 octets of 255.
#[derive(Default)]
pub(super) enum Names {
    /// None yet: both are the root.
    #[default]
    Root,
    /// In hand.
    Roomy(Box<Pair>),
    /// Waiting. `asked` comes first; `seen` behind it, or in its place where both have the same octets.
    Packed {
        octets: Box<[u8]>,
        seen_at: u8,
        asked_len: u8,
    },
}

/// Room for two names.
pub(super) struct Pair {
    pub(super) asked: NameBuf,
    pub(super) seen: NameBuf,
}

impl Names {
    /// QNAME as the client sent it.
    pub(super) fn asked(&self) -> &[u8] {
        match self {
            Names::Roomy(pair) => pair.asked.as_wire(),
            Names::Root => &[0],
            Names::Packed {
                octets, asked_len, ..
            } => &octets[..usize::from(*asked_len)],
        }
    }

    /// QNAME as plugins see it, in lower case.
    pub(super) fn seen(&self) -> &[u8] {
        match self {
            Names::Roomy(pair) => pair.seen.as_wire(),
            Names::Root => &[0],
            Names::Packed {
                octets, seen_at, ..
            } => &octets[usize::from(*seen_at)..],
        }
    }

    /// Both, to be written.
    pub(super) fn roomy(&mut self) -> &mut Pair {
        if !matches!(self, Names::Roomy(_)) {
            *self = self.unpacked();
        }
        match self {
            Names::Roomy(pair) => pair,
            _ => unreachable!("unpacked just now"),
        }
    }

    #[cold]
    fn unpacked(&self) -> Names {
        // Both were valid names when they were packed; the root stands in for the impossible.
        let name = |wire| NameBuf::from_wire(wire).unwrap_or(NameBuf::ROOT);
        Names::Roomy(Box::new(Pair {
            asked: name(self.asked()),
            seen: name(self.seen()),
        }))
    }

    /// The same in as few octets as they need.
    pub(super) fn packed(&self) -> Names {
        let (asked, seen) = (self.asked(), self.seen());
        // A name has 255 octets at most.
        let asked_len = asked.len() as u8;
        if asked == seen {
            return Names::Packed {
                octets: asked.into(),
                seen_at: 0,
                asked_len,
            };
        }
        Names::Packed {
            octets: [asked, seen].concat().into(),
            seen_at: asked_len,
            asked_len,
        }
    }

    /// Whether both differ in more than case.
    pub(super) fn differ(&self) -> bool {
        !self.asked().eq_ignore_ascii_case(self.seen())
    }

    /// Sets QNAME as plugins see it; returns its hash.
    pub(super) fn see(&mut self, wire: &NameBuf) -> u64 {
        name::lower_and_hash(wire.as_wire(), &mut self.roomy().seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(asked: &str, seen: &str) -> Names {
        let name = |text| NameBuf::from_text(text).unwrap();
        Names::Roomy(Box::new(Pair {
            asked: name(asked),
            seen: name(seen),
        }))
    }

    #[test]
    fn packed_names_are_the_same_names() {
        let long = format!(
            "{}.{}.{}.{}",
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(61)
        );
        for (asked, seen, octets) in [
            (".", ".", 1),
            ("www.example.org", "www.example.org", 17),
            ("wWw.example.org", "www.example.org", 34),
            ("a.", "b.example.", 14),
            (long.as_str(), "b.", 258),
            ("b.", long.as_str(), 258),
        ] {
            let roomy = names(asked, seen);
            let mut packed = roomy.packed();
            let Names::Packed { octets: kept, .. } = &packed else {
                panic!("not packed");
            };
            assert_eq!(kept.len(), octets);
            assert_eq!(packed.asked(), roomy.asked());
            assert_eq!(packed.seen(), roomy.seen());
            assert_eq!(packed.differ(), roomy.differ());
            packed.roomy();
            assert!(matches!(packed, Names::Roomy(_)));
            assert_eq!(packed.asked(), roomy.asked());
            assert_eq!(packed.seen(), roomy.seen());
        }
    }
}
