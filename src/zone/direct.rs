//! Replies straight from a zone to the buffer that is sent, without a list of records between.
//!
//! ```text
//! header | question, as the client sent it | answers: a pointer to the question, rdata as the zone keeps it | tail
//! ```
//! It covers the answers that make up nearly all traffic of a zone: data of one name, denials, wildcards. What needs more (chains,
//! referrals, additional records, signatures, compressed names in rdata) is left to `Zone::answer`, which gives the same reply.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use super::name::{Labels, WireName};
use super::tail::Tail;
use super::tree::{HAS_CNAME, HAS_WILDCARD, IS_CUT, IS_DNAME, IS_HIDDEN, IS_KIN, Rrset, Zone};
use super::{CLASS_IN, rtype};
use crate::wire::direct::{AddressRun, Written};
use crate::wire::rcode::Rcode;
use crate::wire::{HEADER, flag};

impl Zone {
    /// Writes the whole reply except id and OPT: header (QR, AA, rcode, counts), the question section as the client sent it, records
    /// with compressed owners. `name` is the lower-cased wire QNAME, `name_hash` its [`wire::name::hash`](crate::wire::name::hash),
    /// `question` the client's question (name, type, class).
    ///
    /// `None`: the answer needs `Zone::answer`, or does not fit `out`. Nothing has been decided then, and `out` is garbage.
    pub fn write_reply(
        &self,
        name: &[u8],
        name_hash: u64,
        qtype: u16,
        dnssec_ok: bool,
        question: &[u8],
        out: &mut [u8],
    ) -> Option<Written> {
        // The root's own name is shorter than a pointer to it.
        if needs_more(qtype) || dnssec_ok && self.is_signed() || name.len() <= 1 {
            return None;
        }
        let (relative, origin) =
            name.split_at_checked(name.len().checked_sub(self.origin_wire().len())?)?;
        if origin != self.origin_wire() {
            return None;
        }
        let mut draft = Draft {
            question,
            name_len: name.len(),
            origin_at: HEADER + relative.len(),
            out,
            is_wildcard: false,
        };
        // A node's name is whole labels, so finding it tells that the name was split between labels too.
        if let Some(node) = self.probe(relative, name_hash) {
            return self.write_node(node, qtype, draft);
        }
        let labels = Labels::of(WireName::below(name, origin)?);
        let top = labels.label(relative, labels.count.checked_sub(1)?);
        if self.tails.is_kin(top) {
            return None;
        }
        let encloser = self.encloser(name, &labels);
        let flags = self.node(encloser).flags;
        if flags & (IS_CUT | IS_DNAME | IS_HIDDEN) != 0 {
            return None;
        }
        if flags & HAS_WILDCARD != 0
            && let Some(wildcard) = self.wildcard_of(encloser)
        {
            draft.is_wildcard = true;
            return self.write_node(wildcard, qtype, draft);
        }
        draft.denial(self.tails.denial.as_ref()?, Rcode::NXDOMAIN, true)
    }

    fn write_node(&self, node: u32, qtype: u16, draft: Draft<'_>) -> Option<Written> {
        let node = self.node(node);
        if node.flags & (IS_CUT | IS_HIDDEN | HAS_CNAME | IS_KIN) != 0 {
            return None;
        }
        let mut sets = node.sets();
        match sets.find(|set| set.rtype == qtype) {
            Some(set) => draft.answer(&set, self.tails.servers.as_ref()?),
            None => {
                let is_nameless = draft.is_wildcard || node.sets().is_empty();
                draft.denial(self.tails.denial.as_ref()?, Rcode::NOERROR, is_nameless)
            }
        }
    }
}

/// Types whose rdata holds names to compress, whose answers bring other records along, or that ask for something else than records.
fn needs_more(qtype: u16) -> bool {
    matches!(
        qtype,
        // NS, MD, MF, CNAME, SOA, MB, MG, MR
        2..=9
        | rtype::PTR
        | 14 // MINFO
        | rtype::MX
        | rtype::SRV
        | rtype::SVCB
        | rtype::HTTPS
        | rtype::RRSIG
        | rtype::NSEC
        // TKEY, TSIG, IXFR, AXFR, MAILB, MAILA
        | 249..=254
    )
}

/// The reply in the making.
struct Draft<'a> {
    question: &'a [u8],
    /// Octets of QNAME.
    name_len: usize,
    /// Where the origin stands in the question.
    origin_at: usize,
    out: &'a mut [u8],
    is_wildcard: bool,
}

impl Draft<'_> {
    fn answer(self, set: &Rrset<'_>, servers: &Tail) -> Option<Written> {
        let at = HEADER + self.question.len();
        let count = usize::from(set.count);
        let end = at + set.data.len() + OWNER_TO_TTL * count;
        write_records(set, self.out.get_mut(at..end)?);
        let run = |octets: u8| AddressRun {
            rdata_at: (at + OWNER_TO_TTL + 2) as u16, // a question is at most 259 octets long
            stride: u16::from(octets) + OWNER_TO_TTL as u16 + 2,
            count: set.count,
            octets,
        };
        let addresses = match set.rtype {
            rtype::A => Some(run(4)),
            rtype::AAAA => Some(run(16)),
            _ => None,
        };
        let full_len = count * (self.name_len + OWNER_TO_TTL - 2) + set.data.len();
        let written = self.finish(end, set.count, servers, Rcode::NOERROR)?;
        Some(Written {
            uncompressed_len: written.uncompressed_len + full_len,
            addresses,
            ..written
        })
    }

    fn denial(self, soa: &Tail, rcode: Rcode, may_fall_through: bool) -> Option<Written> {
        let end = HEADER + self.question.len();
        let written = self.finish(end, 0, soa, rcode)?;
        Some(Written {
            may_fall_through,
            ..written
        })
    }

    /// Writes what stands around the answer records, which end at `end`.
    #[inline]
    fn finish(self, end: usize, answers: u16, tail: &Tail, rcode: Rcode) -> Option<Written> {
        let len = tail.write(self.out, end, self.origin_at)?;
        let header: &mut [u8; HEADER] = self.out.first_chunk_mut()?;
        *header = [0; HEADER];
        header[2..4].copy_from_slice(&(flag::QR | flag::AA | rcode.0).to_be_bytes());
        header[5] = 1;
        header[6..8].copy_from_slice(&answers.to_be_bytes());
        header[8..10].copy_from_slice(&tail.count.to_be_bytes());
        self.out
            .get_mut(HEADER..HEADER + self.question.len())?
            .copy_from_slice(self.question);
        Some(Written {
            len,
            uncompressed_len: HEADER + self.question.len() + tail.full_len,
            rcode,
            addresses: None,
            may_fall_through: false,
        })
    }
}

/// Fills `room`, which is as long as the records are: a pointer to QNAME, type, class, TTL, then length and rdata as stored.
#[inline]
fn write_records(set: &Rrset<'_>, room: &mut [u8]) {
    let mut head = [0; OWNER_TO_TTL];
    head[..2].copy_from_slice(&(0xc000 | HEADER as u16).to_be_bytes());
    head[2..4].copy_from_slice(&set.rtype.to_be_bytes());
    head[4..6].copy_from_slice(&CLASS_IN.to_be_bytes());
    head[6..].copy_from_slice(&set.ttl.to_be_bytes());
    match set.rtype {
        rtype::A => write_equal::<6, 16>(&head, set.data, room),
        rtype::AAAA => write_equal::<18, 28>(&head, set.data, room),
        _ => {
            let mut at = 0;
            for rdata in set.records() {
                let start = at + OWNER_TO_TTL;
                room[at..start].copy_from_slice(&head);
                room[start..start + 2].copy_from_slice(&(rdata.len() as u16).to_be_bytes());
                at = start + 2 + rdata.len();
                room[start + 2..at].copy_from_slice(rdata);
            }
        }
    }
}

/// As `write_records` for rdata of one length: each record is `TO` octets in the message and `FROM` in the zone.
#[inline]
fn write_equal<const FROM: usize, const TO: usize>(
    head: &[u8; OWNER_TO_TTL],
    data: &[u8],
    room: &mut [u8],
) {
    let records = room.as_chunks_mut::<TO>().0.iter_mut();
    for (record, rdata) in records.zip(data.as_chunks::<FROM>().0) {
        record[..OWNER_TO_TTL].copy_from_slice(head);
        record[OWNER_TO_TTL..].copy_from_slice(rdata);
    }
}

/// Octets of a record from its compressed owner to its TTL.
const OWNER_TO_TTL: usize = 10;
