//! Rcodes and their names as CoreDNS's logs and metrics spell them (RFC 1035 section 4.1.1, RFC 6895 section 2.3).

use std::fmt;

/// A response code, the extended bits of EDNS included (12 bits).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Rcode(pub u16);

impl Rcode {
    /// No error.
    pub const NOERROR: Rcode = Rcode(0);
    /// Format error.
    pub const FORMERR: Rcode = Rcode(1);
    /// Server failure.
    pub const SERVFAIL: Rcode = Rcode(2);
    /// Name error.
    pub const NXDOMAIN: Rcode = Rcode(3);
    /// Not implemented.
    pub const NOTIMP: Rcode = Rcode(4);
    /// Refused.
    pub const REFUSED: Rcode = Rcode(5);
    /// A name exists when it should not; also a DNAME that makes a name too long (RFC 6672 section 2.2).
    pub const YXDOMAIN: Rcode = Rcode(6);
    /// Not authoritative, or a bad TSIG.
    pub const NOTAUTH: Rcode = Rcode(9);
    /// Bad EDNS version (RFC 6891 section 9).
    pub const BADVERS: Rcode = Rcode(16);

    /// The rcode of an upper-case name or a decimal number, as *rewrite*, *template* and *forward* accept it.
    pub fn parse(text: &str) -> Option<Rcode> {
        NAMES
            .iter()
            .find(|row| row.1 == text)
            .map(|row| Rcode(row.0))
    }

    /// The name, or `None` where the number has none.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|row| row.0 == self.0).map(|row| row.1)
    }

    /// CoreDNS's convention: a handler that returns one of these four wrote nothing, and the server writes that rcode.
    pub fn means_unwritten(self) -> bool {
        matches!(
            self,
            Rcode::SERVFAIL | Rcode::REFUSED | Rcode::FORMERR | Rcode::NOTIMP
        )
    }
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

const NAMES: &[(u16, &str)] = &[
    (0, "NOERROR"),
    (1, "FORMERR"),
    (2, "SERVFAIL"),
    (3, "NXDOMAIN"),
    (4, "NOTIMP"),
    (5, "REFUSED"),
    (6, "YXDOMAIN"),
    (7, "YXRRSET"),
    (8, "NXRRSET"),
    (9, "NOTAUTH"),
    (10, "NOTZONE"),
    (11, "DSOTYPENI"),
    (16, "BADVERS"),
    (17, "BADKEY"),
    (18, "BADTIME"),
    (19, "BADMODE"),
    (20, "BADNAME"),
    (21, "BADALG"),
    (22, "BADTRUNC"),
    (23, "BADCOOKIE"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for (number, name) in NAMES {
            assert_eq!(Rcode::parse(name), Some(Rcode(*number)));
            assert_eq!(Rcode(*number).to_string(), *name);
        }
        assert_eq!(Rcode(3841).to_string(), "3841");
    }
}
