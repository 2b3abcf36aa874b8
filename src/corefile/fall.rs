//! The option `fallthrough [ZONES...]`.

use super::zone_name::{ZoneName, longest_match};
use super::zones::origins_from_args_or_block;

/// Which names go on to the next plugin when this one has no answer. None without the option.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fall {
    zones: Vec<ZoneName>,
}

impl Fall {
    /// Reads the arguments of the option; none means every name.
    pub fn from_args(args: &[&str]) -> Self {
        let zones = match args {
            [] => vec![ZoneName::root()],
            zones => origins_from_args_or_block(zones, &[]),
        };
        Self { zones }
    }

    /// Every name.
    pub fn all() -> Self {
        Self::from_args(&[])
    }

    /// Whether the lower-case wire name goes on.
    pub fn through(&self, name: &[u8]) -> bool {
        longest_match(&self.zones, name).is_some()
    }

    /// Whether the option was given and any name can go on.
    pub fn is_set(&self) -> bool {
        !self.zones.is_empty()
    }

    /// Its zones; empty without the option.
    pub fn zones(&self) -> &[ZoneName] {
        &self.zones
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fall_through_by_zone() {
        let wire = |text: &str| ZoneName::parse(text).unwrap().wire().to_vec();
        let some = Fall::from_args(&["example.org", "10.0.0.0/8"]);
        assert!(
            some.through(&wire("a.example.org")) && some.through(&wire("1.0.0.10.in-addr.arpa"))
        );
        assert!(!some.through(&wire("org")) && !some.through(&wire("11.in-addr.arpa")));
        assert!(Fall::all().through(&wire(".")) && Fall::all().is_set());
        assert!(!Fall::default().through(&wire("example.org")) && !Fall::default().is_set());
    }
}
