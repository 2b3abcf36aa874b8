//! The shapes of rdata: where names stand in it, so that compressed names can be expanded and lengths checked.
//!
//! Rdata is kept in uncompressed wire form everywhere inside the program.

use super::name::{self, NameBuf};
use super::{Malformed, types};
use crate::limits::NAME_OCTETS;

/// One field of rdata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    /// So many octets.
    Fixed(u8),
    /// A domain name that RFC 1035 lets a sender compress.
    Name,
    /// A domain name that must not be compressed when sent (RFC 3597 section 4), though some senders do.
    LateName,
    /// A character-string: a length octet and so many octets.
    Text,
    /// One or more character-strings to the end.
    Texts,
    /// Anything to the end, at least so many octets.
    Rest(u8),
}

/// Appends the rdata at `start..end` of `message` to `out` with its names expanded, checking its shape.
pub fn expand(
    message: &[u8],
    rtype: u16,
    start: usize,
    end: usize,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let mut at = start;
    let limited = message.get(..end).ok_or(Malformed::Short)?;
    for field in fields(rtype) {
        match *field {
            Field::Fixed(len) => {
                let octets = limited.get(at..at + len as usize).ok_or(Malformed::Rdata)?;
                out.extend_from_slice(octets);
                at += len as usize;
            }
            Field::Name | Field::LateName => {
                let mut expanded = [0u8; NAME_OCTETS];
                let (len, next) = name::expand_into(limited, at, &mut expanded)?;
                out.extend_from_slice(&expanded[..len]);
                at = next;
            }
            Field::Text => {
                let len = 1 + *limited.get(at).ok_or(Malformed::Rdata)? as usize;
                out.extend_from_slice(limited.get(at..at + len).ok_or(Malformed::Rdata)?);
                at += len;
            }
            Field::Texts => {
                let from = at;
                while at < end {
                    at += 1 + limited[at] as usize;
                }
                out.extend_from_slice(limited.get(from..at).ok_or(Malformed::Rdata)?);
            }
            Field::Rest(least) => {
                let octets = limited.get(at..end).ok_or(Malformed::Rdata)?;
                if octets.len() < least as usize {
                    return Err(Malformed::Rdata);
                }
                out.extend_from_slice(octets);
                at = end;
            }
        }
    }
    if at == end {
        Ok(())
    } else {
        Err(Malformed::Rdata)
    }
}

/// Calls `piece` for each stretch of valid uncompressed rdata, telling whether it is a name that may be compressed when sent.
pub fn pieces<'a>(rtype: u16, rdata: &'a [u8], mut piece: impl FnMut(&'a [u8], bool)) {
    let mut rest = rdata;
    for field in fields(rtype) {
        let (len, is_name) = match *field {
            Field::Fixed(len) => (len as usize, false),
            Field::Name => match name::skip_uncompressed(rest) {
                Ok(len) => (len, true),
                Err(_) => break,
            },
            _ => break,
        };
        let Some((octets, behind)) = rest.split_at_checked(len) else {
            break;
        };
        piece(octets, is_name);
        rest = behind;
    }
    if !rest.is_empty() {
        piece(rest, false);
    }
}

/// The first domain name inside the uncompressed rdata of `rtype`, with the range it takes: the target of NS, CNAME, PTR, MX, SRV and
/// the like.
pub fn first_name(rtype: u16, rdata: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut at = 0;
    for field in fields(rtype) {
        match *field {
            Field::Fixed(len) => at += len as usize,
            Field::Text => at += 1 + *rdata.get(at)? as usize,
            Field::Name | Field::LateName => {
                let len = name::skip_uncompressed(rdata.get(at..)?).ok()?;
                return Some(at..at + len);
            }
            Field::Texts | Field::Rest(_) => return None,
        }
    }
    None
}

/// The same record's rdata with its first name replaced; `None` where the type has no name.
pub fn with_first_name(rtype: u16, rdata: &[u8], target: &NameBuf) -> Option<Vec<u8>> {
    let range = first_name(rtype, rdata)?;
    let mut out = rdata[..range.start].to_vec();
    out.extend_from_slice(target.as_wire());
    out.extend_from_slice(&rdata[range.end..]);
    Some(out)
}

fn fields(rtype: u16) -> &'static [Field] {
    use Field::*;
    match rtype {
        types::A => &[Fixed(4)],
        types::AAAA => &[Fixed(16)],
        types::NS
        | types::CNAME
        | types::PTR
        | types::MB
        | types::MG
        | types::MR
        | types::MD
        | types::MF => &[Name],
        types::SOA => &[Name, Name, Fixed(20)],
        types::MINFO => &[Name, Name],
        types::MX => &[Fixed(2), Name],
        types::DNAME | types::NSAP_PTR => &[LateName],
        types::RP | types::TALINK => &[LateName, LateName],
        types::AFSDB | types::RT | types::KX | types::LP => &[Fixed(2), LateName],
        types::PX => &[Fixed(2), LateName, LateName],
        types::SRV => &[Fixed(6), LateName],
        types::NAPTR => &[Fixed(4), Text, Text, Text, LateName],
        types::SIG | types::RRSIG => &[Fixed(18), LateName, Rest(0)],
        types::NSEC | types::NXT => &[LateName, Rest(0)],
        types::SVCB | types::HTTPS => &[Fixed(2), LateName, Rest(0)],
        types::TSIG => &[LateName, Rest(16)],
        types::TKEY => &[LateName, Rest(16)],
        types::HINFO => &[Text, Text],
        types::TXT | types::SPF | types::AVC => &[Texts],
        types::DS | types::DNSKEY | types::CDS | types::CDNSKEY | types::KEY => &[Rest(4)],
        types::SSHFP => &[Rest(2)],
        types::CAA => &[Rest(2)],
        types::TLSA | types::SMIMEA => &[Rest(3)],
        types::L32 => &[Fixed(6)],
        types::NID | types::L64 => &[Fixed(10)],
        types::EUI48 => &[Fixed(6)],
        types::EUI64 => &[Fixed(8)],
        _ => &[Rest(0)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(text: &str) -> Vec<u8> {
        NameBuf::from_text(text).unwrap().as_wire().to_vec()
    }

    #[test]
    fn mx_with_a_pointer_expands() {
        let mut message = wire("example.org");
        let start = message.len();
        message.extend_from_slice(&[0, 10, 4, b'm', b'a', b'i', b'l', 0xc0, 0]);
        let mut out = Vec::new();
        expand(&message, types::MX, start, message.len(), &mut out).unwrap();
        let mut expected = vec![0, 10];
        expected.extend(wire("mail.example.org"));
        assert_eq!(out, expected);
        assert_eq!(first_name(types::MX, &out), Some(2..out.len()));
    }

    #[test]
    fn wrong_lengths_are_refused() {
        for (rtype, octets) in [
            (types::A, &[1u8, 2, 3][..]),
            (types::A, &[1, 2, 3, 4, 5]),
            (types::AAAA, &[0; 15]),
            (types::NS, &[3, b'a', b'b']),
            (types::NS, &[0, 0]),
            (types::TXT, &[5, b'a']),
            (types::SOA, &[0, 0, 1, 2, 3]),
            (types::SRV, &[0, 0, 0, 0, 0]),
        ] {
            assert!(
                expand(octets, rtype, 0, octets.len(), &mut Vec::new()).is_err(),
                "{rtype} {octets:?}"
            );
        }
    }

    #[test]
    fn pieces_cover_the_rdata() {
        let mut soa = wire("ns.example.org");
        soa.extend(wire("host.example.org"));
        soa.extend([0; 20]);
        let (mut joined, mut names) = (Vec::new(), 0);
        pieces(types::SOA, &soa, |part, is_name| {
            joined.extend_from_slice(part);
            names += usize::from(is_name);
        });
        assert_eq!((joined, names), (soa, 2));
    }
}
