//! A reply written straight to wire, record by record, with names that point into its question.
//!
//! It needs no list of records and no search for suffixes: who writes an answer about a name of the question knows where in the question
//! the rest of each name stands.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::net::IpAddr;

use super::direct::{AddressRun, Written};
use super::rcode::Rcode;
use super::reply::Section;
use super::{HEADER, flag, types};

/// The reply in the making.
pub struct Sheet<'o> {
    out: &'o mut [u8],
    at: usize,
    /// Octets without compression.
    full_len: usize,
    /// Octets of QNAME.
    name_len: usize,
    section: Section,
    counts: [u16; 3],
    /// The addresses of QNAME at the start of the answers.
    run: AddressRun,
    is_cut: bool,
}

/// A name: some labels, then the rest.
#[derive(Clone, Copy)]
pub struct Name<'a> {
    /// Labels without their length octets, at most 63 octets each; empty ones are left out.
    pub labels: &'a [&'a [u8]],
    /// What follows them.
    pub rest: Rest<'a>,
}

/// How a name ends.
#[derive(Clone, Copy)]
pub enum Rest<'a> {
    /// As QNAME does from that octet on.
    Asked(usize),
    /// As a name that stands in the message.
    Placed(Place),
    /// With these octets, a name in wire form.
    Wire(&'a [u8]),
}

/// Where a name stands in the message, and how long it is uncompressed.
#[derive(Clone, Copy)]
pub struct Place {
    offset: u16,
    len: usize,
}

/// QNAME.
pub const QNAME: Name<'static> = Name {
    labels: &[],
    rest: Rest::Asked(0),
};

impl<'o> Sheet<'o> {
    /// Begins a reply to `question`, a question section of one question. `None`: there is no room for it.
    pub fn new(out: &'o mut [u8], question: &[u8]) -> Option<Sheet<'o>> {
        let at = HEADER + question.len();
        out.get_mut(HEADER..at)?.copy_from_slice(question);
        Some(Sheet {
            out,
            at,
            full_len: at,
            name_len: question.len().saturating_sub(QTYPE_QCLASS),
            section: Section::Answer,
            counts: [0; 3],
            run: AddressRun {
                rdata_at: 0,
                stride: 0,
                count: 0,
                octets: 0,
            },
            is_cut: false,
        })
    }

    /// What is written from here on belongs to that section; sections come in order.
    pub fn section(&mut self, section: Section) {
        self.section = section;
    }

    /// Whether something did not fit: the reply is cut there, and what is written from now on is lost.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether there is no answer, nor would be with more room.
    pub fn is_empty(&self) -> bool {
        self.counts[0] == 0 && !self.is_cut
    }

    /// Octets of QNAME.
    pub fn name_len(&self) -> usize {
        self.name_len
    }

    /// Whether so many addresses of QNAME would fit.
    pub fn holds_addresses<const N: usize>(&self, count: usize) -> bool {
        (self.out.len() - self.at) / (POINTER + RECORD + N) >= count
    }

    /// Writes an address record.
    #[inline]
    pub fn address(&mut self, owner: &Name<'_>, ttl_s: u32, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => self.octets(owner, types::A, ttl_s, &ip.octets()),
            IpAddr::V6(ip) => self.octets(owner, types::AAAA, ttl_s, &ip.octets()),
        };
    }

    /// Writes addresses of QNAME, the rdata of `N` octets each, which *loadbalance* may permute.
    pub fn addresses<const N: usize>(&mut self, ttl_s: u32, addresses: &[[u8; N]]) {
        let stride = POINTER + RECORD + N;
        let rtype = if N == 4 { types::A } else { types::AAAA };
        let mut head = [0; POINTER + RECORD];
        head[..2].copy_from_slice(&(0xc000 | HEADER as u16).to_be_bytes());
        head[2..4].copy_from_slice(&rtype.to_be_bytes());
        head[4..6].copy_from_slice(&types::CLASS_IN.to_be_bytes());
        head[6..10].copy_from_slice(&ttl_s.to_be_bytes());
        head[10..].copy_from_slice(&(N as u16).to_be_bytes());
        let room = self.out.get_mut(self.at..).unwrap_or_default();
        let fitting = if self.is_cut { 0 } else { room.len() / stride };
        let count = addresses.len().min(fitting);
        let records = room.chunks_exact_mut(stride);
        for (record, address) in records.zip(&addresses[..count]) {
            record[..head.len()].copy_from_slice(&head);
            record[head.len()..].copy_from_slice(address);
        }
        let nth = self.section as usize;
        let octets = usize::from(self.run.octets);
        if self.section == Section::Answer
            && self.run.count == self.counts[0]
            && (octets == 0 || octets == N)
        {
            if octets == 0 {
                self.run = AddressRun {
                    // A question is at most 259 octets long.
                    rdata_at: (self.at + head.len()) as u16,
                    stride: stride as u16,
                    count: 0,
                    octets: N as u8,
                };
            }
            self.run.count += count as u16;
        }
        // A message has fewer records than 65,536.
        self.counts[nth] += count as u16;
        self.at += count * stride;
        self.full_len += count * (stride - POINTER + self.name_len);
        self.is_cut |= count < addresses.len();
    }

    /// Writes a record that is in wire form already, its pointers into the question included; `full_len` is what it would take
    /// uncompressed.
    #[inline]
    pub fn prepared(&mut self, record: &[u8], full_len: usize) {
        let end = self.at + record.len();
        match self.out.get_mut(self.at..end) {
            Some(room) if !self.is_cut => {
                room.copy_from_slice(record);
                self.at = end;
                self.full_len += full_len;
                self.counts[self.section as usize] += 1;
            }
            _ => self.is_cut = true,
        }
    }

    /// Writes a record whose rdata holds no name. False if it does not fit.
    pub fn octets(&mut self, owner: &Name<'_>, rtype: u16, ttl_s: u32, rdata: &[u8]) -> bool {
        self.record(owner, rtype, ttl_s, |sheet| sheet.raw(rdata))
    }

    /// Writes a record whose rdata is a name that may be compressed (CNAME, NS, PTR). Returns where the name begins.
    pub fn pointer(
        &mut self,
        owner: &Name<'_>,
        rtype: u16,
        ttl_s: u32,
        target: &Name<'_>,
    ) -> Option<Place> {
        let mut place = None;
        let is_written = self.record(owner, rtype, ttl_s, |sheet| {
            place = sheet.name(target, true)?;
            Some(())
        });
        place.filter(|_| is_written)
    }

    /// Writes an SRV record; its target is never compressed (RFC 2782). Returns where the target stands.
    pub fn service(
        &mut self,
        owner: &Name<'_>,
        ttl_s: u32,
        weight: u16,
        port: u16,
        target: &Name<'_>,
    ) -> Option<Place> {
        let mut place = None;
        let is_written = self.record(owner, types::SRV, ttl_s, |sheet| {
            let [weight, port] = [weight, port].map(u16::to_be_bytes);
            sheet.raw(&[0, 0, weight[0], weight[1], port[0], port[1]])?;
            place = sheet.name(target, false)?;
            Some(())
        });
        place.filter(|_| is_written)
    }

    /// Writes an SOA record: two names, then serial, refresh, retry, expire and minimum (RFC 1035 section 3.3.13).
    pub fn authority(
        &mut self,
        owner: &Name<'_>,
        ttl_s: u32,
        [server, mailbox]: [&Name<'_>; 2],
        numbers: [u32; 5],
    ) {
        self.record(owner, types::SOA, ttl_s, |sheet| {
            sheet.name(server, true)?;
            sheet.name(mailbox, true)?;
            numbers
                .iter()
                .try_for_each(|number| sheet.raw(&number.to_be_bytes()))
        });
    }

    /// Ends the reply: an authoritative one.
    pub fn finish(self, rcode: Rcode) -> Written {
        let Sheet { out, counts, .. } = self;
        let cut = if self.is_cut { flag::TC } else { 0 };
        let flags = flag::QR | flag::AA | cut | rcode.0 & flag::RCODE;
        if let Some(header) = out.first_chunk_mut::<HEADER>() {
            *header = [0; HEADER];
            header[2..4].copy_from_slice(&flags.to_be_bytes());
            header[5] = 1;
            for (field, count) in header[6..].as_chunks_mut::<2>().0.iter_mut().zip(counts) {
                *field = count.to_be_bytes();
            }
        }
        Written {
            len: self.at,
            uncompressed_len: self.full_len,
            rcode,
            addresses: Some(self.run).filter(|run| run.count > 1 && run.count == counts[0]),
            may_fall_through: false,
        }
    }

    /// Writes a record as a whole or not at all.
    #[inline]
    fn record(
        &mut self,
        owner: &Name<'_>,
        rtype: u16,
        ttl_s: u32,
        rdata: impl FnOnce(&mut Self) -> Option<()>,
    ) -> bool {
        let (at, full_len) = (self.at, self.full_len);
        let is_written = !self.is_cut && self.try_record(owner, rtype, ttl_s, rdata).is_some();
        if is_written {
            self.counts[self.section as usize] += 1;
        } else {
            (self.at, self.full_len, self.is_cut) = (at, full_len, true);
        }
        is_written
    }

    #[inline]
    fn try_record(
        &mut self,
        owner: &Name<'_>,
        rtype: u16,
        ttl_s: u32,
        rdata: impl FnOnce(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.name(owner, true)?;
        let mut head = [0; RECORD];
        head[..2].copy_from_slice(&rtype.to_be_bytes());
        head[2..4].copy_from_slice(&types::CLASS_IN.to_be_bytes());
        head[4..8].copy_from_slice(&ttl_s.to_be_bytes());
        self.raw(&head)?;
        let start = self.at;
        rdata(self)?;
        let len = u16::try_from(self.at - start).ok()?;
        self.out
            .get_mut(start - 2..start)?
            .copy_from_slice(&len.to_be_bytes());
        Some(())
    }

    #[inline]
    fn raw(&mut self, octets: &[u8]) -> Option<()> {
        self.out
            .get_mut(self.at..self.at + octets.len())?
            .copy_from_slice(octets);
        self.at += octets.len();
        self.full_len += octets.len();
        Some(())
    }

    /// Writes a name; says where, if pointers reach that.
    #[inline]
    fn name(&mut self, name: &Name<'_>, may_compress: bool) -> Option<Option<Place>> {
        let (start, full_start) = (self.at, self.full_len);
        for label in name.labels.iter().filter(|label| !label.is_empty()) {
            // Longer ones do not come: names are checked where they are read.
            self.raw(&[label.len().min(63) as u8])?;
            self.raw(&label[..label.len().min(63)])?;
        }
        match name.rest {
            Rest::Wire(wire) => self.raw(wire)?,
            Rest::Asked(from) if may_compress => {
                self.refer((HEADER + from) as u16, self.name_len.saturating_sub(from))?;
            }
            Rest::Asked(from) => {
                let len = self.name_len.saturating_sub(from);
                let from = HEADER + from;
                self.out.get(self.at..self.at + len)?;
                self.out.copy_within(from..from + len, self.at);
                self.at += len;
                self.full_len += len;
            }
            Rest::Placed(place) => self.refer(place.offset, place.len)?,
        }
        let reach = u16::try_from(start)
            .ok()
            .filter(|start| *start < POINTER_REACH);
        Some(reach.map(|offset| Place {
            offset,
            len: self.full_len - full_start,
        }))
    }

    #[inline]
    fn refer(&mut self, offset: u16, len: usize) -> Option<()> {
        self.raw(&(0xc000 | offset).to_be_bytes())?;
        self.full_len += len;
        self.full_len -= POINTER;
        Some(())
    }
}

impl Place {
    /// The name without its first `octets` octets, which must be whole labels that were written out.
    pub fn behind(self, octets: usize) -> Place {
        Place {
            offset: self.offset + octets as u16,
            len: self.len.saturating_sub(octets),
        }
    }
}

const QTYPE_QCLASS: usize = 4;
const POINTER: usize = 2;
/// Type, class, TTL and length.
const RECORD: usize = 10;
/// Octets of a message that a pointer can name (RFC 1035 section 4.1.4).
const POINTER_REACH: u16 = 0x4000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::NameBuf;
    use crate::wire::reply::Reply;

    const QUESTION: &[u8] =
        b"\x05_http\x04_tcp\x03WEB\x02ns\x03svc\x07cluster\x05local\0\0\x21\0\x01";
    const NAME_LEN: usize = QUESTION.len() - 4;
    /// Where `WEB` and `cluster` begin.
    const SERVICE: usize = 11;
    const ZONE: usize = 22;

    fn wire(text: &str) -> NameBuf {
        NameBuf::from_text(text).unwrap()
    }

    #[test]
    fn names_read_back_as_they_were_meant() {
        let mut out = [0; 512];
        let mut sheet = Sheet::new(&mut out, QUESTION).unwrap();
        let service = Name {
            labels: &[],
            rest: Rest::Asked(SERVICE),
        };
        let other = Name {
            labels: &[b"other", b""],
            rest: Rest::Asked(ZONE),
        };
        let place = sheet.service(&QNAME, 5, 50, 80, &service).unwrap();
        let second = sheet.service(&QNAME, 5, 50, 81, &other).unwrap();
        sheet.section(Section::Authority);
        let zone = Name {
            labels: &[],
            rest: Rest::Asked(ZONE),
        };
        let server = Name {
            labels: &[b"ns", b"dns"],
            rest: Rest::Asked(ZONE),
        };
        sheet.authority(&zone, 5, [&server, &other], [1, 2, 3, 4, 5]);
        sheet.section(Section::Additional);
        sheet.address(
            &Name {
                labels: &[],
                rest: Rest::Placed(place),
            },
            5,
            "192.0.2.1".parse().unwrap(),
        );
        sheet.address(
            &Name {
                labels: &[],
                rest: Rest::Placed(second.behind(6)),
            },
            5,
            "2001:db8::1".parse().unwrap(),
        );
        assert!(!sheet.is_cut());
        let written = sheet.finish(Rcode::NOERROR);
        let mut reply = Reply::default();
        reply.read(&out[..written.len]).unwrap();
        let rows: Vec<_> = reply.records().to_vec();
        let owner = |nth: usize| {
            NameBuf::from_wire(reply.owner(&rows[nth]))
                .unwrap()
                .to_string()
        };
        let target = |nth: usize| NameBuf::from_wire(&reply.rdata(&rows[nth])[6..]).unwrap();
        assert_eq!(target(0), wire("WEB.ns.svc.cluster.local."));
        assert_eq!(target(1), wire("other.cluster.local."));
        assert_eq!(owner(2), "cluster.local.");
        let soa = reply.rdata(&rows[2]);
        assert!(soa.starts_with(wire("ns.dns.cluster.local.").as_wire()));
        assert_eq!(soa.last_chunk(), Some(&5u32.to_be_bytes()));
        assert_eq!(
            (owner(3), owner(4)),
            ("WEB.ns.svc.cluster.local.".into(), "cluster.local.".into())
        );
        assert_eq!(written.uncompressed_len, reply.full_len(QUESTION.len()));
        assert_eq!((reply.flags, written.addresses), (flag::AA, None));
    }

    #[test]
    fn addresses_of_the_question_form_a_run() {
        let mut out = [0; 512];
        let mut sheet = Sheet::new(&mut out, QUESTION).unwrap();
        sheet.addresses::<4>(7, &[]);
        sheet.addresses(7, &[[192, 0, 2, 1]]);
        sheet.addresses(7, &[[192, 0, 2, 2], [192, 0, 2, 3]]);
        let written = sheet.finish(Rcode::NOERROR);
        let run = written.addresses.unwrap();
        let third = usize::from(run.rdata_at + 2 * run.stride);
        assert_eq!((run.count, run.octets, out[third + 3]), (3, 4, 3));
        let mut reply = Reply::default();
        reply.read(&out[..written.len]).unwrap();
        assert!(
            reply
                .records()
                .iter()
                .all(|record| record.ttl == 7 && reply.owner(record).len() == NAME_LEN)
        );
    }

    #[test]
    fn what_does_not_fit_is_left_out_with_all_that_follows() {
        for room in 0..140 {
            let mut out = vec![0; room];
            let Some(mut sheet) = Sheet::new(&mut out, QUESTION) else {
                assert!(room < HEADER + QUESTION.len());
                continue;
            };
            let long = Name {
                labels: &[&[b'x'; 63]],
                rest: Rest::Asked(ZONE),
            };
            sheet.addresses(7, &[[192, 0, 2, 1]]);
            sheet.pointer(&QNAME, types::CNAME, 7, &long);
            sheet.section(Section::Additional);
            sheet.address(&QNAME, 7, "192.0.2.2".parse().unwrap());
            let written = sheet.finish(Rcode::NOERROR);
            let mut reply = Reply::default();
            reply.read(&out[..written.len]).unwrap();
            let kinds: Vec<_> = reply.records().iter().map(|record| record.rtype).collect();
            assert!(
                [types::A, types::CNAME, types::A].starts_with(&kinds),
                "{kinds:?} in {room}"
            );
            assert_eq!(reply.has_flag(flag::TC), kinds.len() < 3);
        }
    }

    #[test]
    fn a_record_that_was_written_before_is_taken_as_it_is() {
        let mut first = [0; 512];
        let mut sheet = Sheet::new(&mut first, QUESTION).unwrap();
        sheet.pointer(
            &QNAME,
            types::CNAME,
            7,
            &Name {
                labels: &[b"other"],
                rest: Rest::Asked(ZONE),
            },
        );
        let written = sheet.finish(Rcode::NOERROR);
        let start = HEADER + QUESTION.len();
        let record = first[start..written.len].to_vec();
        let mut second = [0; 512];
        let mut sheet = Sheet::new(&mut second, QUESTION).unwrap();
        sheet.prepared(&record, written.uncompressed_len - start);
        assert_eq!(sheet.finish(Rcode::NOERROR), written);
        assert_eq!(first, second);
        let mut short = [0; HEADER + QUESTION.len() + 5];
        let mut sheet = Sheet::new(&mut short, QUESTION).unwrap();
        sheet.prepared(&record, 40);
        assert!(sheet.is_cut());
    }
}
