//! The little of the DNS wire format that a load generator needs: build a query, check a reply's question, compare answers.
//!
//! Deliberately not percoredns's own code: a fault there must not hide itself here.
//!
//! Runs on: pure. No input makes it panic or loop.

/// A reply reduced to what two right servers must agree on: rcode and answer records, TTLs aside, in canonical order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The 4-bit response code.
    pub rcode: u8,
    /// TC was set.
    pub truncated: bool,
    /// (owner in lower case, type, class, rdata with names decompressed and in lower case), sorted.
    pub records: Vec<(Vec<u8>, u16, u16, Vec<u8>)>,
}

/// The question section's bytes of a query or reply with exactly one question.
pub fn question(message: &[u8]) -> Option<&[u8]> {
    if message.get(4..6)? != [0, 1] {
        return None;
    }
    let mut at = HEADER_BYTES;
    loop {
        let len = usize::from(*message.get(at)?);
        at += 1 + len;
        match len {
            0 => return message.get(HEADER_BYTES..at + 4),
            1..=63 => {}
            _ => return None,
        }
    }
}

/// Builds a query with id 0, RD set and, when `edns_bytes` is given, an OPT record of that size.
/// The name is presentation format without escapes; an error says what is wrong with it.
pub fn query(name: &str, qtype: u16, edns_bytes: Option<u16>) -> Result<Vec<u8>, String> {
    let mut out = vec![
        0,
        0,
        1,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        u8::from(edns_bytes.is_some()),
    ];
    for label in name
        .trim_end_matches('.')
        .split('.')
        .filter(|_| !matches!(name, "" | "."))
    {
        if label.is_empty() || label.len() > 63 {
            return Err(format!("\"{name}\": a label must have 1 to 63 bytes"));
        }
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    if out.len() - HEADER_BYTES > NAME_BYTES_MAX {
        return Err(format!("\"{name}\": a name must fit 255 bytes"));
    }
    out.extend_from_slice(&qtype.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    if let Some(size) = edns_bytes {
        out.extend_from_slice(&[0, 0, OPT as u8]);
        out.extend_from_slice(&size.to_be_bytes());
        out.extend_from_slice(&[0; 6]);
    }
    Ok(out)
}

/// The number of a record type: a mnemonic in any case, or `TYPE123`.
pub fn type_number(text: &str) -> Option<u16> {
    let upper = text.to_ascii_uppercase();
    if let Some(number) = upper.strip_prefix("TYPE") {
        return number.parse().ok();
    }
    TYPES
        .iter()
        .find(|(name, _)| *name == upper)
        .map(|&(_, number)| number)
}

/// Reads a reply; `None` when it is not a well-formed one.
pub fn read_answer(message: &[u8]) -> Option<Answer> {
    let flags = (*message.get(2)?, *message.get(3)?);
    if flags.0 & 0x80 == 0 {
        return None;
    }
    let questions = u16_at(message, 4)?;
    let answers = u16_at(message, 6)?;
    let mut at = HEADER_BYTES;
    for _ in 0..questions {
        at = name_at(message, at)?.1 + 4;
    }
    let mut records = Vec::new();
    for _ in 0..answers {
        let (owner, rest) = name_at(message, at)?;
        let (rtype, class) = (u16_at(message, rest)?, u16_at(message, rest + 2)?);
        let len = usize::from(u16_at(message, rest + 8)?);
        let start = rest + 10;
        message.get(start..start + len)?;
        records.push((owner, rtype, class, rdata_at(message, start, len, rtype)?));
        at = start + len;
    }
    records.sort();
    Some(Answer {
        rcode: flags.1 & 0x0f,
        truncated: flags.0 & 0x02 != 0,
        records,
    })
}

/// The record's data with the names of the old, compressible types spelled out.
fn rdata_at(message: &[u8], start: usize, len: usize, rtype: u16) -> Option<Vec<u8>> {
    let raw = &message[start..start + len];
    let names = match rtype {
        NS | CNAME | PTR => 0..1,
        SOA => 0..2,
        MX => 2..3,
        SRV => 6..7,
        _ => return Some(raw.to_vec()),
    };
    let fixed = if rtype == SOA { 0 } else { names.start };
    let mut out = raw.get(..fixed)?.to_vec();
    let mut at = start + fixed;
    for _ in names {
        let (name, rest) = name_at(message, at)?;
        out.extend_from_slice(&name);
        at = rest;
    }
    out.extend_from_slice(message.get(at..start + len)?);
    Some(out)
}

/// The lower-cased, decompressed name at `at` and the offset behind it.
fn name_at(message: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut name = Vec::new();
    let mut after = None;
    // Each step either adds a label (bounded by the name's length) or follows a pointer (bounded by the counter).
    let mut pointers = 0;
    loop {
        let len = *message.get(at)?;
        match len {
            0 => {
                name.push(0);
                return Some((name, after.unwrap_or(at + 1)));
            }
            1..=63 => {
                let end = at + 1 + usize::from(len);
                name.extend(message.get(at..end)?.iter().map(u8::to_ascii_lowercase));
                at = end;
            }
            0xc0.. => {
                after = after.or(Some(at + 2));
                at = usize::from(u16_at(message, at)? & 0x3fff);
                pointers += 1;
            }
            _ => return None,
        }
        if name.len() > NAME_BYTES_MAX || pointers > POINTERS_MAX {
            return None;
        }
    }
}

fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([
        *message.get(at)?,
        *message.get(at + 1)?,
    ]))
}

/// Bytes of the header that starts every message.
pub const HEADER_BYTES: usize = 12;
const NAME_BYTES_MAX: usize = 255;
const POINTERS_MAX: usize = 128;
const NS: u16 = 2;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const PTR: u16 = 12;
const MX: u16 = 15;
const SRV: u16 = 33;
const OPT: u16 = 41;

/// Mnemonics that corpus files use.
const TYPES: &[(&str, u16)] = &[
    ("A", 1),
    ("NS", NS),
    ("CNAME", CNAME),
    ("SOA", SOA),
    ("PTR", PTR),
    ("HINFO", 13),
    ("MX", MX),
    ("TXT", 16),
    ("RP", 17),
    ("AAAA", 28),
    ("LOC", 29),
    ("SRV", SRV),
    ("NAPTR", 35),
    ("DNAME", 39),
    ("DS", 43),
    ("SSHFP", 44),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DNSKEY", 48),
    ("NSEC3", 50),
    ("TLSA", 52),
    ("SPF", 99),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("AXFR", 252),
    ("ANY", 255),
    ("CAA", 257),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_the_bytes_of_rfc_1035() {
        let q = query("a.bc.", 28, None).unwrap();
        assert_eq!(q, b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x01a\x02bc\0\0\x1c\0\x01");
        assert_eq!(question(&q), Some(&b"\x01a\x02bc\0\0\x1c\0\x01"[..]));
        let q = query(".", 2, Some(1232)).unwrap();
        assert_eq!(&q[12..], b"\0\0\x02\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0");
        assert_eq!(q[11], 1);
    }

    #[test]
    fn bad_names_are_refused() {
        for bad in ["a..b", ".a", &"x".repeat(64), &"abcdefg.".repeat(32)] {
            assert!(query(bad, 1, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn types_by_name_and_number() {
        assert_eq!(type_number("aaaa"), Some(28));
        assert_eq!(type_number("TYPE65"), Some(65));
        assert_eq!(type_number("type65536"), None);
        assert_eq!(type_number("NOPE"), None);
    }

    /// Two encodings of one MX answer, with and without compression and in different case, are equal.
    #[test]
    fn compression_case_and_ttl_do_not_matter() {
        let head = b"\x12\x34\x84\0\0\x01\0\x01\0\0\0\0\x01a\x02bc\0\0\x0f\0\x01";
        let packed = [
            &head[..],
            b"\xc0\x0c\0\x0f\0\x01\0\0\0\x05\0\x06\0\x0a\x01m\xc0\x0e",
        ]
        .concat();
        let plain = [
            &head[..],
            b"\x01A\x02BC\0\0\x0f\0\x01\0\0\0\x09\0\x08\0\x0a\x01M\x02bc\0",
        ]
        .concat();
        let a = read_answer(&packed).unwrap();
        assert_eq!(
            a.records,
            vec![(
                b"\x01a\x02bc\0".to_vec(),
                MX,
                1,
                b"\0\x0a\x01m\x02bc\0".to_vec()
            )]
        );
        assert_eq!(Some(a), read_answer(&plain));
    }

    #[test]
    fn cut_and_looping_replies_are_none() {
        let whole = b"\x12\x34\x84\0\0\x01\0\x01\0\0\0\0\x01a\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\x7f\0\0\x01";
        assert!(read_answer(whole).is_some());
        for len in 0..whole.len() {
            assert_eq!(read_answer(&whole[..len]), None, "{len} bytes");
        }
        let looping =
            b"\x12\x34\x84\0\0\0\0\x01\0\0\0\0\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\x7f\0\0\x01";
        assert_eq!(read_answer(looping), None);
        assert_eq!(
            read_answer(&query("a", 1, None).unwrap()),
            None,
            "a query is no answer"
        );
    }
}
