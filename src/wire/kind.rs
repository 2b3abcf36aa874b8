//! What kind of answer a reply is, as *log*, *cache* and others tell replies apart.

use super::query::OPCODE_NOTIFY;
use super::rcode::Rcode;
use super::reply::{Reply, Section};
use super::{HEADER, Malformed, name, types, u16_at};

/// The kind of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A positive answer.
    NoError,
    /// The name does not exist (NXDOMAIN, with or without a SOA record).
    NameError,
    /// SERVFAIL or NOTIMP.
    ServerError,
    /// The name exists, the type does not: NOERROR with a SOA record and no answer (RFC 2308 section 2.2).
    NoData,
    /// A referral: NOERROR with NS records in the authority section only.
    Delegation,
    /// A NOTIFY or a transfer.
    Meta,
    /// Any other error, or no reply at all.
    OtherError,
}

impl Kind {
    /// The kind of a reply to a query of that opcode and type. Reads a packed reply without opening it.
    pub fn of(reply: &Reply, opcode: u16, qtype: u16) -> Kind {
        if let Some(kind) = Kind::without_records(reply.rcode, opcode, qtype) {
            return kind;
        }
        let mut seen = Seen::default();
        match reply.packed() {
            // A stored message was read when it was stored; what cannot be read has no records.
            Some(message) => seen.read(message).unwrap_or_default(),
            None => reply
                .records()
                .iter()
                .for_each(|record| seen.note(record.section, record.rtype)),
        }
        seen.kind()
    }

    /// The kind of a reply that stands on the wire.
    pub fn of_message(message: &[u8], rcode: Rcode, opcode: u16, qtype: u16) -> Kind {
        if let Some(kind) = Kind::without_records(rcode, opcode, qtype) {
            return kind;
        }
        let mut seen = Seen::default();
        seen.read(message).unwrap_or_default();
        seen.kind()
    }

    /// The kind of a reply without records, such as the server writes for a plugin that failed.
    pub fn of_empty(rcode: Rcode, opcode: u16, qtype: u16) -> Kind {
        Kind::without_records(rcode, opcode, qtype).unwrap_or(Kind::NoError)
    }

    /// The kind, where it can be told without a look at the records.
    fn without_records(rcode: Rcode, opcode: u16, qtype: u16) -> Option<Kind> {
        if opcode == OPCODE_NOTIFY || matches!(qtype, types::AXFR | types::IXFR) {
            return Some(Kind::Meta);
        }
        match rcode {
            Rcode::NOERROR => None,
            Rcode::NXDOMAIN => Some(Kind::NameError),
            Rcode::SERVFAIL | Rcode::NOTIMP => Some(Kind::ServerError),
            _ => Some(Kind::OtherError),
        }
    }

    /// The name that the metadata label `log/type` has.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::NoError => "NOERROR",
            Kind::NameError => "NXDOMAIN",
            Kind::ServerError => "SERVERERROR",
            Kind::NoData => "NODATA",
            Kind::Delegation => "DELEGATION",
            Kind::Meta => "META",
            Kind::OtherError => "OTHERERROR",
        }
    }

    /// The class that *log* sorts this kind into.
    pub fn class(self) -> Class {
        match self {
            Kind::NoError | Kind::Delegation => Class::Success,
            Kind::NameError | Kind::NoData => Class::Denial,
            Kind::ServerError | Kind::Meta | Kind::OtherError => Class::Error,
        }
    }
}

/// The class of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The client got an answer or a referral.
    Success,
    /// The name or the type does not exist.
    Denial,
    /// Anything else.
    Error,
}

impl Class {
    /// The word for it in a Corefile and in the metadata label `log/class`.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Success => "success",
            Class::Denial => "denial",
            Class::Error => "error",
        }
    }
}

/// What the answer and authority sections hold.
#[derive(Default)]
struct Seen {
    answer: bool,
    soa: bool,
    ns: bool,
}

impl Seen {
    fn kind(self) -> Kind {
        match self {
            Seen { answer: true, .. } => Kind::NoError,
            Seen { soa: true, .. } => Kind::NoData,
            Seen { ns: true, .. } => Kind::Delegation,
            _ => Kind::NoError,
        }
    }

    fn note(&mut self, section: Section, rtype: u16) {
        match section {
            Section::Answer => self.answer = true,
            Section::Authority => {
                self.soa |= rtype == types::SOA;
                self.ns |= rtype == types::NS;
            }
            Section::Additional => {}
        }
    }

    fn read(&mut self, message: &[u8]) -> Result<(), Malformed> {
        if u16_at(message, 6)? > 0 {
            self.answer = true;
            return Ok(());
        }
        let mut at = HEADER;
        for _ in 0..u16_at(message, 4)? {
            at = name::skip(message, at)? + 4;
        }
        for _ in 0..u16_at(message, 8)? {
            at = name::skip(message, at)?;
            self.note(Section::Authority, u16_at(message, at)?);
            at += 10 + u16_at(message, at + 8)? as usize;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::reply::Question;

    fn reply(rcode: Rcode, records: &[(Section, u16)]) -> Reply {
        let mut reply = Reply::default();
        reply.start(0);
        reply.rcode = rcode;
        for &(section, rtype) in records {
            let rdata: &[u8] = match rtype {
                types::A => &[192, 0, 2, 1],
                types::SOA => &[0; 22],
                _ => &[0],
            };
            reply.push(section, b"\x01a\x00", rtype, 1, 60, rdata);
        }
        reply
    }

    fn check(
        rcode: Rcode,
        records: &[(Section, u16)],
        opcode: u16,
        qtype: u16,
        kind: Kind,
        class: Class,
    ) {
        let built = reply(rcode, records);
        assert_eq!(Kind::of(&built, opcode, qtype), kind);
        assert_eq!(kind.class(), class);
        if records.is_empty() {
            assert_eq!(Kind::of_empty(rcode, opcode, qtype), kind);
        }
        if rcode.0 > 15 {
            return;
        }
        let question = Question {
            name: b"\x01a\x00",
            qtype,
            qclass: 1,
        };
        let mut out = [0; 512];
        let len = built.pack(7, opcode, &question, &mut out).unwrap();
        let mut packed = Reply::default();
        packed.set_packed(len, |buffer| buffer.extend_from_slice(&out[..len]));
        assert_eq!(Kind::of(&packed, opcode, qtype), kind, "packed");
        assert_eq!(Kind::of_message(&out[..len], rcode, opcode, qtype), kind);
        assert!(packed.packed().is_some(), "stays packed");
    }

    #[test]
    fn replies_have_their_kinds() {
        use Section::{Additional, Answer, Authority};
        let (none, a, ns, soa) = (&[][..], types::A, types::NS, types::SOA);
        let (noerror, success, denial, error) =
            (Rcode::NOERROR, Class::Success, Class::Denial, Class::Error);
        check(
            noerror,
            &[(Answer, a), (Authority, ns)],
            0,
            a,
            Kind::NoError,
            success,
        );
        check(
            noerror,
            &[(Answer, types::CNAME), (Authority, soa)],
            0,
            a,
            Kind::NoError,
            success,
        );
        check(noerror, none, 0, a, Kind::NoError, success);
        check(noerror, &[(Additional, a)], 0, a, Kind::NoError, success);
        check(
            noerror,
            &[(Authority, soa), (Authority, ns)],
            0,
            a,
            Kind::NoData,
            denial,
        );
        check(
            noerror,
            &[(Authority, ns), (Additional, a)],
            0,
            a,
            Kind::Delegation,
            success,
        );
        check(
            Rcode::NXDOMAIN,
            &[(Authority, soa)],
            0,
            a,
            Kind::NameError,
            denial,
        );
        check(Rcode::NXDOMAIN, none, 0, a, Kind::NameError, denial);
        check(Rcode::SERVFAIL, none, 0, a, Kind::ServerError, error);
        check(Rcode::NOTIMP, none, 0, a, Kind::ServerError, error);
        check(Rcode::REFUSED, none, 0, a, Kind::OtherError, error);
        check(Rcode::BADVERS, none, 0, a, Kind::OtherError, error);
        check(noerror, &[(Answer, soa)], 0, types::AXFR, Kind::Meta, error);
        check(noerror, &[(Answer, soa)], 0, types::IXFR, Kind::Meta, error);
        check(noerror, none, OPCODE_NOTIFY, soa, Kind::Meta, error);
    }

    #[test]
    fn broken_packed_bytes_are_no_panic() {
        for len in 0..40 {
            let mut packed = Reply::default();
            packed.set_packed(len, |buffer| buffer.extend(std::iter::repeat_n(0xc0, len)));
            packed.rcode = Rcode::NOERROR;
            let _ = Kind::of(&packed, 0, types::A);
        }
    }
}
