//! Replies that are written straight to wire, without records in between.

use super::rcode::Rcode;
use super::{HEADER, flag, types};

/// A reply that stands in a buffer, complete but for its id and its OPT record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Octets.
    pub len: usize,
    /// Octets that it would take without name compression: the size that logs and metrics report.
    pub uncompressed_len: usize,
    /// The rcode, which is in the header, too.
    pub rcode: Rcode,
    /// Address records whose order is free, where there are several.
    pub addresses: Option<AddressRun>,
    /// CoreDNS's option `fallthrough` applies: the name has no records of its own.
    pub may_fall_through: bool,
}

/// Address records of the answer section that *loadbalance* may permute: they stand one after the other with one owner, type and TTL,
/// so that swapping rdata swaps records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRun {
    /// Where the rdata of the first one starts in the message.
    pub rdata_at: u16,
    /// From one rdata to the next.
    pub stride: u16,
    /// How many there are.
    pub count: u16,
    /// Octets of an address: 4 or 16.
    pub octets: u8,
}

/// Writes header, question and the addresses of its name: all of an answer that *hosts* gives. `question` is the client's question
/// section, `addresses` holds rdata of `N` octets. `None` where `out` has no room.
pub fn write_addresses<const N: usize>(
    out: &mut [u8],
    question: &[u8],
    ttl_s: u32,
    addresses: &[[u8; N]],
) -> Option<Written> {
    const RECORD_HEAD: usize = 12;
    let (start, stride) = (HEADER + question.len(), RECORD_HEAD + N);
    let len = start + addresses.len() * stride;
    let out = out.get_mut(..len)?;
    let count = u16::try_from(addresses.len()).ok()?;
    write_head(out, question, flag::AA, [count, 0, 0]);
    let rtype = if N == 4 { types::A } else { types::AAAA };
    let mut head = [0; RECORD_HEAD];
    head[..2].copy_from_slice(&QNAME_POINTER);
    head[2..4].copy_from_slice(&rtype.to_be_bytes());
    head[4..6].copy_from_slice(&types::CLASS_IN.to_be_bytes());
    head[6..10].copy_from_slice(&ttl_s.to_be_bytes());
    head[10..].copy_from_slice(&(N as u16).to_be_bytes());
    for (record, address) in out[start..].chunks_exact_mut(stride).zip(addresses) {
        record[..RECORD_HEAD].copy_from_slice(&head);
        record[RECORD_HEAD..].copy_from_slice(address);
    }
    let owner_len = question.len().saturating_sub(4);
    let saved = owner_len.saturating_sub(QNAME_POINTER.len());
    Some(Written {
        len,
        uncompressed_len: len + addresses.len() * saved,
        rcode: Rcode::NOERROR,
        addresses: (count > 1).then_some(AddressRun {
            rdata_at: (start + RECORD_HEAD) as u16,
            stride: stride as u16,
            count,
            octets: N as u8,
        }),
        may_fall_through: false,
    })
}

/// Writes the header of a response (id 0, NOERROR) and the question. `out` has room for both.
fn write_head(out: &mut [u8], question: &[u8], flags: u16, counts: [u16; 3]) {
    let (header, rest) = out.split_at_mut(HEADER);
    header[..2].fill(0);
    header[2..4].copy_from_slice(&(flag::QR | flags).to_be_bytes());
    header[4..6].copy_from_slice(&1u16.to_be_bytes());
    for (field, count) in header[6..].as_chunks_mut::<2>().0.iter_mut().zip(counts) {
        *field = count.to_be_bytes();
    }
    rest[..question.len()].copy_from_slice(question);
}

/// A compression pointer to the name of the question.
const QNAME_POINTER: [u8; 2] = [0xc0, HEADER as u8];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::reply::{Reply, Section};

    const QUESTION: &[u8] = b"\x01A\x07example\0\0\x01\0\x01";

    #[test]
    fn addresses_read_back() {
        let mut out = [0xff; 200];
        let addresses = [[192, 0, 2, 1], [192, 0, 2, 2]];
        let written = write_addresses(&mut out, QUESTION, 60, &addresses).unwrap();
        let mut reply = Reply::default();
        reply.read(&out[..written.len]).unwrap();
        assert_eq!((reply.rcode, reply.flags), (Rcode::NOERROR, flag::AA));
        let read: Vec<_> = reply.section(Section::Answer).collect();
        assert_eq!(read.len(), 2);
        for (record, address) in read.iter().zip(addresses) {
            assert_eq!((record.rtype, record.class, record.ttl), (types::A, 1, 60));
            assert_eq!(
                (reply.owner(record), reply.rdata(record)),
                (&QUESTION[..11], &address[..])
            );
        }
        assert_eq!(written.uncompressed_len, reply.full_len(QUESTION.len()));
        let run = written.addresses.unwrap();
        let second = usize::from(run.rdata_at + run.stride);
        assert_eq!(
            (&out[second..second + 4], run.count),
            (&addresses[1][..], 2)
        );
    }

    #[test]
    fn an_empty_answer_and_no_room() {
        let mut out = [0; 40];
        let written = write_addresses::<16>(&mut out, QUESTION, 60, &[]).unwrap();
        assert_eq!(
            (written.len, written.addresses),
            (HEADER + QUESTION.len(), None)
        );
        assert_eq!(written.uncompressed_len, written.len);
        assert!(write_addresses(&mut out, QUESTION, 60, &[[0u8; 16]]).is_none());
    }
}
