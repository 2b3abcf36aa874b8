//! A reply under construction: records in one arena, or a stored wire message that nobody has had to open.

use super::edns::Edns;
use super::name::{self, NameBuf};
use super::rcode::Rcode;
use super::{HEADER, Malformed, flag, rdata, types, u16_at, u32_at};

/// A section that holds records (RFC 1035 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// Answer.
    Answer,
    /// Authority.
    Authority,
    /// Additional.
    Additional,
}

/// All sections in wire order.
pub const SECTIONS: [Section; 3] = [Section::Answer, Section::Authority, Section::Additional];

/// One record; its owner and rdata lie in the reply's arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The section it belongs to.
    pub section: Section,
    /// TYPE.
    pub rtype: u16,
    /// CLASS.
    pub class: u16,
    /// TTL in seconds.
    pub ttl: u32,
    owner: Span,
    rdata: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

/// A reply. Buffers are kept from one query to the next, so building one allocates nothing after warm-up.
///
/// A *packed* reply is a complete message without OPT, as the cache stores it; [`Reply::open`] turns it into records for a plugin
/// that must change them. Order among records of a section is their order in [`Reply::records`].
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// The rcode.
    pub rcode: Rcode,
    /// AA, TC, RD, RA, AD, CD as [`flag`] bits; QR and the opcode are set when it is sent.
    pub flags: u16,
    /// The reply's own OPT record, where a plugin or an upstream made one.
    pub edns: Edns,
    records: Vec<Record>,
    arena: Vec<u8>,
    packed: Vec<u8>,
    is_packed: bool,
    packed_full_len: u32,
}

impl Reply {
    /// Empties it and takes over what a reply copies from its query: RD and CD (RFC 1035 section 4.1.1, RFC 4035 section 3.2.2).
    pub fn start(&mut self, query_flags: u16) {
        self.rcode = Rcode::NOERROR;
        self.flags = query_flags & (flag::RD | flag::CD);
        self.edns.clear();
        self.records.clear();
        self.arena.clear();
        self.packed.clear();
        self.is_packed = false;
    }

    /// Sets or clears one header flag.
    pub fn set_flag(&mut self, bit: u16, on: bool) {
        if on {
            self.flags |= bit;
        } else {
            self.flags &= !bit;
        }
    }

    /// Whether a header flag is set.
    pub fn has_flag(&self, bit: u16) -> bool {
        self.flags & bit != 0
    }

    /// Adds a record. `owner` and the names in `rdata` are uncompressed wire names.
    pub fn push(
        &mut self,
        section: Section,
        owner: &[u8],
        rtype: u16,
        class: u16,
        ttl: u32,
        rdata: &[u8],
    ) {
        let owner = self.store(owner);
        let rdata = self.store(rdata);
        self.records.push(Record {
            section,
            rtype,
            class,
            ttl,
            owner,
            rdata,
        });
    }

    /// Adds the answers of an opened reply, to that section.
    pub fn push_answers_of(&mut self, other: &Reply, section: Section) {
        for record in other.section(Section::Answer) {
            let (owner, rdata) = (other.owner(record), other.rdata(record));
            self.push(
                section,
                owner,
                record.rtype,
                record.class,
                record.ttl,
                rdata,
            );
        }
    }

    /// The records, opened or built. Empty while the reply is packed.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The records, to reorder them or to change TTLs, types, classes and sections.
    pub fn records_mut(&mut self) -> &mut Vec<Record> {
        &mut self.records
    }

    /// Records of one section, in order.
    pub fn section(&self, section: Section) -> impl Iterator<Item = &Record> {
        self.records
            .iter()
            .filter(move |record| record.section == section)
    }

    /// The owner name of a record of this reply, in wire form.
    pub fn owner(&self, record: &Record) -> &[u8] {
        &self.arena[record.owner.start as usize..record.owner.end as usize]
    }

    /// The rdata of a record of this reply, uncompressed.
    pub fn rdata(&self, record: &Record) -> &[u8] {
        &self.arena[record.rdata.start as usize..record.rdata.end as usize]
    }

    /// Gives the `nth` record another owner.
    pub fn set_owner(&mut self, nth: usize, owner: &[u8]) {
        let span = self.store(owner);
        if let Some(record) = self.records.get_mut(nth) {
            record.owner = span;
        }
    }

    /// Gives the `nth` record other rdata.
    pub fn set_rdata(&mut self, nth: usize, rdata: &[u8]) {
        let span = self.store(rdata);
        if let Some(record) = self.records.get_mut(nth) {
            record.rdata = span;
        }
    }

    /// Drops every record that `keep` refuses.
    pub fn retain(&mut self, keep: impl FnMut(&Record) -> bool) {
        self.records.retain(keep);
    }

    /// Makes this a packed reply: `fill` appends a complete message without OPT to the buffer; `full_len` is what it would take
    /// uncompressed (logs and metrics report that). Header flags and rcode are taken from the message.
    pub fn set_packed(&mut self, full_len: usize, fill: impl FnOnce(&mut Vec<u8>)) {
        self.records.clear();
        self.arena.clear();
        self.packed.clear();
        fill(&mut self.packed);
        let flags = u16_at(&self.packed, 2).unwrap_or(0);
        self.flags = flags & !(flag::QR | flag::OPCODE | flag::RCODE);
        self.rcode = Rcode(flags & flag::RCODE);
        self.is_packed = true;
        self.packed_full_len = u32::try_from(full_len).unwrap_or(u32::MAX);
    }

    /// The stored message, where the reply is packed.
    pub fn packed(&self) -> Option<&[u8]> {
        self.is_packed.then_some(self.packed.as_slice())
    }

    /// Turns a packed reply into records; does nothing to one that is built already.
    pub fn open(&mut self) -> Result<(), Malformed> {
        if !self.is_packed {
            return Ok(());
        }
        let packed = std::mem::take(&mut self.packed);
        self.is_packed = false;
        let (flags, rcode) = (self.flags, self.rcode);
        // A stored message has no OPT record: what a plugin put there stays.
        let edns = std::mem::take(&mut self.edns);
        let outcome = self.read(&packed);
        (self.flags, self.rcode, self.edns) = (flags, rcode, edns);
        self.packed = packed;
        outcome
    }

    /// Replaces the content by a received message: rcode, flags, OPT and all records with their names expanded.
    pub fn read(&mut self, message: &[u8]) -> Result<(), Malformed> {
        self.start(0);
        let flags = u16_at(message, 2)?;
        self.flags = flags & !(flag::QR | flag::OPCODE | flag::RCODE);
        let counts = [
            u16_at(message, 6)?,
            u16_at(message, 8)?,
            u16_at(message, 10)?,
        ];
        let mut at = HEADER;
        for _ in 0..u16_at(message, 4)? {
            at = name::skip(message, at)? + 4;
        }
        for (section, count) in SECTIONS.into_iter().zip(counts) {
            for _ in 0..count {
                if at >= message.len() {
                    break;
                }
                at = self.read_record(message, at, section)?;
            }
        }
        self.rcode = Rcode((flags & flag::RCODE) | (self.edns.extended_rcode as u16) << 4);
        Ok(())
    }

    fn read_record(
        &mut self,
        message: &[u8],
        at: usize,
        section: Section,
    ) -> Result<usize, Malformed> {
        let (owner, at) = NameBuf::read(message, at)?;
        let (rtype, class) = (u16_at(message, at)?, u16_at(message, at + 2)?);
        let ttl = u32_at(message, at + 4)?;
        let start = at + 10;
        let end = start + u16_at(message, at + 8)? as usize;
        let octets = message.get(start..end).ok_or(Malformed::Short)?;
        if rtype == types::OPT {
            self.edns.read(class, ttl, octets)?;
            return Ok(end);
        }
        let owner = self.store(owner.as_wire());
        let from = self.arena.len() as u32;
        if !octets.is_empty() {
            rdata::expand(message, rtype, start, end, &mut self.arena)?;
        }
        let rdata = Span {
            start: from,
            end: self.arena.len() as u32,
        };
        // RFC 2181 section 8: a TTL with the top bit set counts as 0.
        let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
        self.records.push(Record {
            section,
            rtype,
            class,
            ttl,
            owner,
            rdata,
        });
        Ok(end)
    }

    /// Octets of the message with no name compressed, OPT not included: the size that logs and metrics report.
    pub fn full_len(&self, question_len: usize) -> usize {
        if self.is_packed {
            return self.packed_full_len as usize;
        }
        let octets = |span: Span| (span.end - span.start) as usize;
        let records: usize = self
            .records
            .iter()
            .map(|r| octets(r.owner) + 10 + octets(r.rdata))
            .sum();
        HEADER + question_len + records
    }

    /// The smallest TTL over all records, `None` without records.
    pub fn min_ttl(&self) -> Option<u32> {
        self.records.iter().map(|record| record.ttl).min()
    }

    fn store(&mut self, octets: &[u8]) -> Span {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(octets);
        Span {
            start,
            end: self.arena.len() as u32,
        }
    }

    /// Writes the message without OPT into `out`, names compressed. Whole records that do not fit are left out with all that
    /// follow, and TC is set. Returns the length, or `None` where not even header and question fit.
    pub fn pack<'a>(
        &'a self,
        id: u16,
        opcode: u16,
        question: &Question<'a>,
        out: &'a mut [u8],
    ) -> Option<usize> {
        if let Some(packed) = self.packed() {
            let room = out.get_mut(..packed.len())?;
            room.copy_from_slice(packed);
            patch_header(room, id, opcode, self.flags, self.rcode);
            let asked = room.get_mut(HEADER..HEADER + question.name.len())?;
            if asked != question.name && asked.eq_ignore_ascii_case(question.name) {
                asked.copy_from_slice(question.name);
            }
            return Some(packed.len());
        }
        let mut packer = Packer::new(out);
        packer.question(question)?;
        let mut counts = [0u16; 3];
        let mut flags = self.flags;
        'all: for (section, count) in SECTIONS.into_iter().zip(&mut counts) {
            for record in self
                .records
                .iter()
                .filter(|record| record.section == section)
            {
                if packer
                    .record(record, self.owner(record), self.rdata(record))
                    .is_none()
                {
                    flags |= flag::TC;
                    break 'all;
                }
                *count += 1;
            }
        }
        let Packer { out, at: len, .. } = packer;
        let header = out.first_chunk_mut::<HEADER>()?;
        let [answers, authorities, additionals] = counts;
        let counts = [
            !question.is_empty() as u16,
            answers,
            authorities,
            additionals,
        ];
        for (field, count) in header[4..].as_chunks_mut::<2>().0.iter_mut().zip(counts) {
            *field = count.to_be_bytes();
        }
        patch_header(header, id, opcode, flags, self.rcode);
        Some(len)
    }
}

/// The question a reply carries; an empty `name` means none.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// QNAME in wire form, the client's own case.
    pub name: &'a [u8],
    /// QTYPE.
    pub qtype: u16,
    /// QCLASS.
    pub qclass: u16,
}

impl Question<'_> {
    /// Octets on the wire.
    pub fn len(&self) -> usize {
        if self.name.is_empty() {
            0
        } else {
            self.name.len() + 4
        }
    }

    /// Whether there is no question.
    pub fn is_empty(&self) -> bool {
        self.name.is_empty()
    }
}

fn patch_header(out: &mut [u8], id: u16, opcode: u16, flags: u16, rcode: Rcode) {
    let word =
        flag::QR | opcode << 11 | (flags & !(flag::OPCODE | flag::RCODE)) | (rcode.0 & flag::RCODE);
    out[0..2].copy_from_slice(&id.to_be_bytes());
    out[2..4].copy_from_slice(&word.to_be_bytes());
}

// === Packer ===

/// Suffixes of names kept for compression. Names beyond it are written in full, which is always right.
const SUFFIXES: usize = 32;

/// Writes records with compressed names.
struct Packer<'a> {
    out: &'a mut [u8],
    at: usize,
    /// Suffixes written so far, as the reply holds them, with the offsets they were written at. `known <= SUFFIXES`.
    suffixes: [&'a [u8]; SUFFIXES],
    offsets: [u16; SUFFIXES],
    known: usize,
}

impl<'a> Packer<'a> {
    /// Leaves room for the header.
    fn new(out: &'a mut [u8]) -> Packer<'a> {
        Packer {
            out,
            at: HEADER,
            suffixes: [&[]; SUFFIXES],
            offsets: [0; SUFFIXES],
            known: 0,
        }
    }

    fn question(&mut self, question: &Question<'a>) -> Option<()> {
        if question.is_empty() {
            return Some(());
        }
        self.name(question.name)?;
        let [t0, t1] = question.qtype.to_be_bytes();
        let [c0, c1] = question.qclass.to_be_bytes();
        *self.fixed()? = [t0, t1, c0, c1];
        Some(())
    }

    fn record(&mut self, record: &Record, owner: &'a [u8], octets: &'a [u8]) -> Option<()> {
        let (start, known) = (self.at, self.known);
        let done = self.try_record(record, owner, octets);
        if done.is_none() {
            (self.at, self.known) = (start, known);
        }
        done
    }

    fn try_record(&mut self, record: &Record, owner: &'a [u8], octets: &'a [u8]) -> Option<()> {
        self.name(owner)?;
        let fixed: &mut [u8; 10] = self.fixed()?;
        fixed[..2].copy_from_slice(&record.rtype.to_be_bytes());
        fixed[2..4].copy_from_slice(&record.class.to_be_bytes());
        fixed[4..8].copy_from_slice(&record.ttl.to_be_bytes());
        let start = self.at;
        let mut fits = Some(());
        rdata::pieces(record.rtype, octets, |piece, is_name| {
            if fits.is_some() {
                fits = if is_name {
                    self.name(piece)
                } else {
                    self.bytes(piece)
                };
            }
        });
        fits?;
        let len = u16::try_from(self.at - start).ok()?;
        self.out[start - 2..start].copy_from_slice(&len.to_be_bytes());
        Some(())
    }

    /// The next `N` octets, to be filled in.
    fn fixed<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        let room = self.out.get_mut(self.at..)?.first_chunk_mut()?;
        self.at += N;
        Some(room)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        self.out
            .get_mut(self.at..self.at + bytes.len())?
            .copy_from_slice(bytes);
        self.at += bytes.len();
        Some(())
    }

    /// Writes the labels up to the longest suffix that stands in the message already, then a pointer to that.
    fn name(&mut self, wire: &'a [u8]) -> Option<()> {
        let (start, known) = (self.at, self.known);
        let mut fresh = 0;
        while let Some(&label) = wire.get(fresh)
            && label != 0
        {
            let suffix = &wire[fresh..];
            if let Some(offset) = self.find(suffix, known) {
                if fresh > 0 {
                    self.bytes(&wire[..fresh])?;
                }
                *self.fixed()? = (0xc000 | offset).to_be_bytes();
                return Some(());
            }
            self.remember(suffix, start + fresh);
            fresh += 1 + label as usize;
        }
        self.bytes(wire)
    }

    fn remember(&mut self, suffix: &'a [u8], offset: usize) {
        if let (Some(slot), Some(at)) = (
            self.suffixes.get_mut(self.known),
            self.offsets.get_mut(self.known),
        ) && offset < 0x4000
        {
            (*slot, *at) = (suffix, offset as u16);
            self.known += 1;
        }
    }

    /// Where one of the first `known` suffixes that equals this one was written.
    fn find(&self, suffix: &[u8], known: usize) -> Option<u16> {
        let written = self.suffixes[..known].iter().zip(&self.offsets[..known]);
        for (written, offset) in written {
            if written.len() == suffix.len() && (*written == suffix || same(written, suffix)) {
                return Some(*offset);
            }
        }
        None
    }
}

/// Whether two names of one length differ in case only; out of the loop that calls it, which mostly finds octets equal or
/// lengths different.
#[cold]
fn same(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wire(text: &str) -> Vec<u8> {
        NameBuf::from_text(text).unwrap().as_wire().to_vec()
    }

    fn packed(reply: &Reply, name: &[u8], room: usize) -> Vec<u8> {
        let mut out = vec![0; room];
        let question = Question {
            name,
            qtype: types::A,
            qclass: 1,
        };
        let len = reply.pack(7, 0, &question, &mut out).unwrap();
        out.truncate(len);
        out
    }

    #[test]
    fn packs_with_compression_and_reads_back() {
        let (owner, ns) = (wire("www.example.org"), wire("ns.example.org"));
        let mut reply = Reply::default();
        reply.start(flag::RD);
        reply.push(Section::Answer, &owner, types::A, 1, 60, &[192, 0, 2, 1]);
        reply.push(
            Section::Authority,
            &wire("example.org"),
            types::NS,
            1,
            60,
            &ns,
        );
        reply.push(Section::Additional, &ns, types::A, 1, 60, &[192, 0, 2, 2]);
        let bytes = packed(&reply, &wire("WWW.example.org"), 512);
        assert_eq!(bytes.len(), 12 + 21 + 16 + (2 + 10 + 5) + 16);
        let mut again = Reply::default();
        again.read(&bytes).unwrap();
        assert_eq!(again.records().len(), 3);
        let third = again.records()[2];
        assert_eq!(again.owner(&third), ns);
        assert!(again.has_flag(flag::RD));
    }

    #[test]
    fn leaves_out_what_does_not_fit_and_says_so() {
        let owner = wire("www.example.org");
        let mut reply = Reply::default();
        reply.start(0);
        (0..10u8).for_each(|last| {
            reply.push(Section::Answer, &owner, types::A, 1, 60, &[192, 0, 2, last])
        });
        let bytes = packed(&reply, &owner, 12 + 21 + 3 * 16 + 15);
        assert_eq!(bytes.len(), 12 + 21 + 3 * 16);
        assert_eq!(u16_at(&bytes, 6), Ok(3));
        assert_ne!(u16_at(&bytes, 2).unwrap() & flag::TC, 0);
    }

    #[test]
    fn a_packed_reply_is_patched_and_opens() {
        let owner = wire("www.example.org");
        let mut built = Reply::default();
        built.start(0);
        built.push(Section::Answer, &owner, types::A, 1, 60, &[192, 0, 2, 1]);
        let stored = packed(&built, &owner, 512);
        let mut reply = Reply::default();
        reply.start(0);
        reply.set_packed(99, |out| out.extend_from_slice(&stored));
        reply.set_flag(flag::AA, true);
        let bytes = packed(&reply, &wire("wWw.example.org"), 512);
        assert_eq!(&bytes[12..16], b"\x03wWw");
        assert_ne!(u16_at(&bytes, 2).unwrap() & flag::AA, 0);
        assert_eq!(reply.full_len(0), 99);
        reply.edns.ensure(1232);
        reply.edns.push(crate::wire::edns::option::NSID, b"ns1");
        reply.open().unwrap();
        assert_eq!(reply.records().len(), 1);
        assert!(reply.has_flag(flag::AA));
        assert_eq!(reply.edns.iter().count(), 1, "an option got lost");
    }

    proptest! {
        #[test]
        fn any_message_reads_or_fails(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Reply::default().read(&bytes);
        }

        #[test]
        fn what_is_packed_reads_back(names in proptest::collection::vec("[a-cA-C]{1,3}(\\.[a-c]{1,3}){0,4}", 1..30)) {
            let mut reply = Reply::default();
            reply.start(0);
            for name in &names {
                reply.push(Section::Answer, &wire(name), types::NS, 1, 5, &wire(name));
            }
            let bytes = packed(&reply, &wire("a.b"), 65_535);
            let mut again = Reply::default();
            again.read(&bytes).unwrap();
            prop_assert_eq!(again.records().len(), names.len());
            for (record, name) in again.records().iter().zip(&names) {
                prop_assert!(again.owner(record).eq_ignore_ascii_case(&wire(name)));
                prop_assert!(again.rdata(record).eq_ignore_ascii_case(&wire(name)));
            }
        }
    }
}
