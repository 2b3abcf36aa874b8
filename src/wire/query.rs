//! What a client sent: one pass over header, question and the few records a query may carry (CoreDNS's acceptance rules).

use super::edns::Edns;
use super::name::{self, NameBuf};
use super::rcode::Rcode;
use super::{HEADER, Malformed, flag, rdata, types};

/// Opcode QUERY.
pub const OPCODE_QUERY: u16 = 0;
/// Opcode NOTIFY (RFC 1996).
pub const OPCODE_NOTIFY: u16 = 4;

/// What is to be done with received bytes, the same for every transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No reply at all: too short for a header, or itself a response.
    Ignore,
    /// A reply with that rcode and no records, before any plugin.
    Reject(Rcode),
    /// A message with exactly one question, in `Parsed`.
    Accept,
    /// A header that announces a question and ends there.
    NoQuestion,
}

/// What [`parse`] found; a buffer that is used again for each message.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The message id.
    pub id: u16,
    /// The second word of the header as sent.
    pub flags: u16,
    /// QNAME as sent.
    pub name: NameBuf,
    /// QTYPE.
    pub qtype: u16,
    /// QCLASS.
    pub qclass: u16,
    /// The OPT record.
    pub edns: Edns,
    /// Whether `name`, `qtype` and `qclass` were read.
    pub has_question: bool,
}

impl Default for Parsed {
    fn default() -> Parsed {
        let edns = Edns::default();
        Parsed {
            id: 0,
            flags: 0,
            name: NameBuf::ROOT,
            qtype: 0,
            qclass: 0,
            edns,
            has_question: false,
        }
    }
}

/// Judges `message` and fills `into`. After a rejection `id` and `flags` are set, and the question where it could be read.
pub fn parse(message: &[u8], into: &mut Parsed) -> Verdict {
    into.has_question = false;
    (into.qtype, into.qclass) = (0, 0);
    into.edns.clear();
    let Some(header) = message.first_chunk::<HEADER>() else {
        return Verdict::Ignore;
    };
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    into.id = word(0);
    into.flags = word(2);
    if into.flags & flag::QR != 0 {
        return Verdict::Ignore;
    }
    let opcode = (into.flags & flag::OPCODE) >> 11;
    if opcode != OPCODE_QUERY && opcode != OPCODE_NOTIFY {
        return Verdict::Reject(Rcode::NOTIMP);
    }
    let (answers, authorities, additionals) = (word(6), word(8), word(10));
    if word(4) != 1 || answers > 1 || authorities > 1 || additionals > 2 {
        return Verdict::Reject(Rcode::FORMERR);
    }
    if message.len() == HEADER {
        return Verdict::NoQuestion;
    }
    match body(message, answers + authorities, additionals, into) {
        Ok(()) => Verdict::Accept,
        Err(_) => Verdict::Reject(Rcode::FORMERR),
    }
}

fn body(message: &[u8], before: u16, additionals: u16, into: &mut Parsed) -> Result<(), Malformed> {
    let mut at = into.name.read_in(message, HEADER)?;
    let [t0, t1, c0, c1] = *fixed(message, at)?;
    into.qtype = u16::from_be_bytes([t0, t1]);
    into.qclass = u16::from_be_bytes([c0, c1]);
    into.has_question = true;
    at += 4;
    for nth in 0..before + additionals {
        // A count that lies is forgiven, as miekg/dns does: the records end where the message ends.
        if at == message.len() {
            break;
        }
        at = record(message, at, nth >= before, into)?;
    }
    Ok(())
}

/// Checks one record and returns where it ends; an OPT record in the additional section is kept.
fn record(
    message: &[u8],
    at: usize,
    additional: bool,
    into: &mut Parsed,
) -> Result<usize, Malformed> {
    let at = name::skip(message, at)?;
    let [t0, t1, c0, c1, ttl @ .., l0, l1] = *fixed::<10>(message, at)?;
    let rtype = u16::from_be_bytes([t0, t1]);
    let class = u16::from_be_bytes([c0, c1]);
    let ttl = u32::from_be_bytes(ttl);
    let start = at + 10;
    let end = start + u16::from_be_bytes([l0, l1]) as usize;
    let octets = message.get(start..end).ok_or(Malformed::Short)?;
    if rtype == types::OPT {
        // RFC 6891 section 6.1.1: more than one is a format error.
        if into.edns.present && additional {
            return Err(Malformed::Rdata);
        }
        if additional {
            into.edns.read(class, ttl, octets)?;
        }
    } else if !octets.is_empty() {
        rdata::expand(message, rtype, start, end, &mut Vec::new())?;
    }
    Ok(end)
}

/// The `N` octets at `at`: fields of fixed length, checked once.
fn fixed<const N: usize>(message: &[u8], at: usize) -> Result<&[u8; N], Malformed> {
    message
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .ok_or(Malformed::Short)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(flags: u16, counts: [u16; 4], body: &[u8]) -> Vec<u8> {
        let mut out = vec![0x12, 0x34];
        out.extend(flags.to_be_bytes());
        counts
            .iter()
            .for_each(|count| out.extend(count.to_be_bytes()));
        out.extend_from_slice(body);
        out
    }

    const QUESTION: &[u8] = b"\x01a\x03Org\x00\x00\x01\x00\x01";

    fn check(bytes: &[u8], expected: Verdict) -> Parsed {
        let mut parsed = Parsed::default();
        assert_eq!(parse(bytes, &mut parsed), expected, "{bytes:?}");
        parsed
    }

    #[test]
    fn accepts_and_rejects_as_coredns() {
        let reject = Verdict::Reject;
        check(&[0; 11], Verdict::Ignore);
        check(&message(flag::QR, [1, 0, 0, 0], QUESTION), Verdict::Ignore);
        check(
            &message(5 << 11, [1, 0, 0, 0], QUESTION),
            reject(Rcode::NOTIMP),
        );
        check(&message(4 << 11, [1, 0, 0, 0], QUESTION), Verdict::Accept);
        for counts in [
            [0, 0, 0, 0],
            [2, 0, 0, 0],
            [1, 2, 0, 0],
            [1, 0, 2, 0],
            [1, 0, 0, 3],
        ] {
            check(&message(0, counts, QUESTION), reject(Rcode::FORMERR));
        }
        check(&message(0, [1, 0, 0, 0], &[]), Verdict::NoQuestion);
        check(
            &message(0, [1, 0, 0, 0], &QUESTION[..8]),
            reject(Rcode::FORMERR),
        );
        let parsed = check(&message(flag::RD, [1, 0, 0, 1], QUESTION), Verdict::Accept);
        assert_eq!(
            (parsed.name.to_string(), parsed.qtype, parsed.edns.present),
            ("a.Org.".into(), 1, false)
        );
    }

    #[test]
    fn opt_is_read_and_checked() {
        let mut body = QUESTION.to_vec();
        body.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 4, 0, 10, 0, 0]);
        let parsed = check(&message(0, [1, 0, 0, 1], &body), Verdict::Accept);
        assert!(parsed.edns.dnssec_ok());
        assert_eq!(parsed.edns.udp_size, 1232);
        let mut twice = body.clone();
        twice.extend_from_slice(&body[QUESTION.len()..]);
        check(
            &message(0, [1, 0, 0, 2], &twice),
            Verdict::Reject(Rcode::FORMERR),
        );
        let last = body.len() - 1;
        body[last] = 1;
        check(
            &message(0, [1, 0, 0, 1], &body),
            Verdict::Reject(Rcode::FORMERR),
        );
    }

    proptest! {
        #[test]
        fn any_bytes_get_a_verdict(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut parsed = Parsed::default();
            let verdict = parse(&bytes, &mut parsed);
            prop_assert!(verdict != Verdict::Accept || parsed.has_question);
        }
    }
}
