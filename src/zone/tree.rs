//! The immutable zone: its nodes one after the other in canonical order, and a hash index over their names.
//!
//! ```text
//! slots --hash of the whole name--> node: flags 8 | length 8 | labels before the origin | above 32, if hidden
//!                                         set:  type 16 | count 16 | TTL 32 | octets 32 | data: (length 16 | rdata)...
//!                                         set:  ...
//!                                         end:  0 16
//! ```
//! A node is known by the offset of its first octet, so that a lookup touches two places in memory: a slot and a node. A name of
//! eleven characters with one A record takes 48 octets all told. Lengths inside rdata and those before it are big-endian, since they
//! go out as they are; the other numbers are the machine's.

use std::cmp::Ordering;
use std::mem::size_of_val;

use super::name::{Labels, WireName};
use super::tail::Tails;
use super::{CLASS_IN, rtype};
use crate::limits::NAME_OCTETS;
use crate::runtime::PageVec;
use crate::wire::name;

/// A zone that is ready to be asked. Share it by `Arc`.
pub struct Zone {
    origin: WireName,
    /// In canonical order (RFC 4034 section 6.1), the apex first. Empty non-terminals are nodes without RRsets.
    pub(super) nodes: PageVec<u8>,
    /// Open addressing, at most two thirds full: `high half of the hash << 32 | node + 1`, 0 is free.
    slots: PageVec<u64>,
    /// Authoritative nodes that own an NSEC record, ascending. Empty in an unsigned zone.
    nsec: Box<[u32]>,
    /// What ends most replies, ready to be sent.
    pub(super) tails: Tails,
    names: usize,
    records: usize,
    serial: u32,
}

/// One name.
#[derive(Clone, Copy)]
pub(super) struct Node<'z> {
    /// The labels before the origin.
    pub(super) relative: &'z [u8],
    pub(super) flags: u8,
    /// What follows the labels, and all nodes behind it.
    rest: &'z [u8],
}

/// One RRset; signatures are sets of their own, one per covered type.
#[derive(Clone, Copy)]
pub(super) struct Rrset<'z> {
    pub(super) rtype: u16,
    pub(super) count: u16,
    pub(super) ttl: u32,
    /// `count` times 16 bits of length and as many octets.
    pub(super) data: &'z [u8],
}

/// The RRsets of a node, ascending by type.
#[derive(Clone, Copy)]
pub(super) struct Sets<'z> {
    rest: &'z [u8],
}

/// One record as `Zone::records` gives it.
#[derive(Clone, Copy, Debug)]
pub struct Record<'z> {
    /// Lower-cased.
    pub owner: WireName,
    /// IANA number.
    pub rtype: u16,
    /// Always IN.
    pub class: u16,
    /// Seconds.
    pub ttl: u32,
    /// Uncompressed.
    pub rdata: &'z [u8],
}

/// Where a walk over the records stands; plain numbers, so a transfer can be resumed on the same zone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    node: u32,
    /// Offset of the set, 0 for the node's first.
    set: u32,
    record: u16,
    /// Of the record in the set's data.
    offset: u32,
    begun: bool,
}

/// What walking down from the apex to a name found.
pub(super) enum Found {
    /// The name itself.
    Node(u32),
    /// Not the name; this is the closest encloser (RFC 4592 section 3.3.1).
    Encloser(u32),
}

/// No node.
pub(super) const NONE: u32 = u32::MAX;
/// The node is a zone cut: it owns NS records and is not the apex.
pub(super) const IS_CUT: u8 = 1;
/// The node owns a DNAME record.
pub(super) const IS_DNAME: u8 = 2;
/// The node has a child `*`.
pub(super) const HAS_WILDCARD: u8 = 4;
/// A node above it is a cut or owns a DNAME; the topmost of these is named in the node.
pub(super) const IS_HIDDEN: u8 = 8;
/// The node owns a CNAME record.
pub(super) const HAS_CNAME: u8 = 16;
/// The name shares more labels than the origin's with a name in a tail, see `Tails`.
pub(super) const IS_KIN: u8 = 32;

/// Octets before a node's labels.
const NODE_HEAD: usize = 2;
/// Octets before a set's data.
const SET_HEAD: usize = 12;
/// Names put into the index at a time: hashed first, so that the waits for their slots overlap.
const INDEX_BATCH: usize = 64;

// === impl Zone ===

impl Zone {
    /// Indexes `nodes`, which is whole: at least the apex with its SOA record.
    pub(super) fn assemble(
        origin: WireName,
        nodes: PageVec<u8>,
        nsec: Box<[u32]>,
        names: usize,
        records: usize,
    ) -> Self {
        let mut zone = Self {
            origin,
            slots: PageVec::filled(0, names + names / 2 + 1),
            nodes,
            nsec,
            tails: Tails::default(),
            names,
            records,
            serial: 0,
        };
        zone.index();
        zone.serial = super::load::soa_serial(zone.soa().1).unwrap_or(0);
        zone.tails = Tails::new(&zone);
        zone.mark_kin();
        zone
    }

    /// The origin, lower-cased wire form.
    pub fn origin_wire(&self) -> &[u8] {
        self.origin.as_slice()
    }

    /// The origin.
    pub fn origin(&self) -> &WireName {
        &self.origin
    }

    /// Serial of the SOA record.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// TTL in seconds and data of the SOA record.
    pub fn soa(&self) -> (u32, &[u8]) {
        self.set(0, rtype::SOA).map_or((0, &[]), |set| {
            (set.ttl, set.records().next().unwrap_or_default())
        })
    }

    /// Records, each of an RRset counted.
    pub fn record_count(&self) -> usize {
        self.records
    }

    /// Names that exist, empty non-terminals included.
    pub fn name_count(&self) -> usize {
        self.names
    }

    /// Whether the zone holds NSEC records, that is, was signed before it was loaded.
    pub fn is_signed(&self) -> bool {
        !self.nsec.is_empty()
    }

    /// Octets of memory.
    pub fn memory_octets(&self) -> usize {
        size_of_val(self)
            + size_of_val(&*self.nodes)
            + size_of_val(&*self.slots)
            + size_of_val(&*self.nsec)
            + self.tails.memory_octets()
    }

    /// All records, the SOA first, then in canonical order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut cursor = Cursor::default();
        std::iter::from_fn(move || self.next_record(&mut cursor))
    }

    /// The record at `cursor`, which moves on: the SOA first, then the others in canonical order.
    pub fn next_record(&self, cursor: &mut Cursor) -> Option<Record<'_>> {
        if !cursor.begun {
            cursor.begun = true;
            let (ttl, rdata) = self.soa();
            return Some(Record {
                owner: self.origin,
                rtype: rtype::SOA,
                class: CLASS_IN,
                ttl,
                rdata,
            });
        }
        while (cursor.node as usize) < self.nodes.len() {
            let node = self.node(cursor.node);
            let first = cursor.node + node.head_octets() as u32;
            let at = cursor.set.max(first);
            let Some(set) = set_at(&self.nodes[at as usize..]) else {
                *cursor = Cursor {
                    node: at + 2,
                    begun: true,
                    ..Cursor::default()
                };
                continue;
            };
            if cursor.record >= set.count || set.rtype == rtype::SOA {
                cursor.set = at + (SET_HEAD + set.data.len()) as u32;
                (cursor.record, cursor.offset) = (0, 0);
                continue;
            }
            cursor.set = at;
            let rdata = data_at(&set.data[cursor.offset as usize..]);
            cursor.record += 1;
            cursor.offset += 2 + rdata.len() as u32;
            return Some(Record {
                owner: self.name(cursor.node),
                rtype: set.rtype,
                class: CLASS_IN,
                ttl: set.ttl,
                rdata,
            });
        }
        None
    }

    /// The RRset of one type at a name (lower-cased wire form): TTL and data. No wildcards, no cuts.
    pub fn rrset<'z>(
        &'z self,
        name: &[u8],
        rtype: u16,
    ) -> Option<(u32, impl Iterator<Item = &'z [u8]> + use<'z>)> {
        let relative = WireName::below(name, self.origin.as_slice())?;
        let node = self.probe(relative, name::hash(name))?;
        let set = self.set(node, rtype)?;
        Some((set.ttl, set.records()))
    }

    // --- for lookup ---

    pub(super) fn node(&self, node: u32) -> Node<'_> {
        let node = &self.nodes[node as usize..];
        let (relative, rest) = node[NODE_HEAD..].split_at(usize::from(node[1]));
        Node {
            relative,
            flags: node[0],
            rest,
        }
    }

    /// The whole name of a node.
    pub(super) fn name(&self, node: u32) -> WireName {
        // Every node's name was joined to the origin once and fitted.
        WireName::join(self.node(node).relative, self.origin.as_slice()).unwrap_or(WireName::ROOT)
    }

    pub(super) fn sets(&self, node: u32) -> Sets<'_> {
        self.node(node).sets()
    }

    pub(super) fn set(&self, node: u32, rtype: u16) -> Option<Rrset<'_>> {
        self.sets(node).find(|set| set.rtype == rtype)
    }

    pub(super) fn signatures(&self, node: u32, covered: u16) -> Option<Rrset<'_>> {
        let covered = covered.to_be_bytes();
        self.sets(node)
            .find(|set| set.rtype == rtype::RRSIG && set.data.get(2..4) == Some(&covered))
    }

    /// Finds a name in the zone, or its closest encloser: one probe for a name that exists, else one per existing ancestor.
    /// `relative` is what stands before the origin in `name`.
    pub(super) fn find(&self, name: &[u8], relative: &[u8], hash: u64) -> Found {
        match self.probe(relative, hash) {
            Some(node) => Found::Node(node),
            None => Found::Encloser(self.encloser(name, &Labels::of(relative))),
        }
    }

    /// The closest encloser of a name that does not exist; `labels` are those before the origin.
    pub(super) fn encloser(&self, name: &[u8], labels: &Labels) -> u32 {
        let relative_len = name.len() - self.origin.as_slice().len();
        let mut encloser = 0;
        // Ancestors of names are nodes too, so the walk may end at the first that is missing.
        for index in (1..labels.count).rev() {
            let start = usize::from(labels.starts[index]);
            match self.probe(&name[start..relative_len], name::hash(&name[start..])) {
                Some(node) => encloser = node,
                None => break,
            }
        }
        encloser
    }

    /// The child `*` of a node.
    pub(super) fn wildcard_of(&self, node: u32) -> Option<u32> {
        let star = WireName::join(b"\x01*", self.name(node).as_slice())?;
        let relative = WireName::below(star.as_slice(), self.origin.as_slice())?;
        self.probe(relative, name::hash(star.as_slice()))
    }

    /// The node of a relative name; `hash` is that of the whole name.
    pub(super) fn probe(&self, relative: &[u8], hash: u64) -> Option<u32> {
        let mut at = place(hash, self.slots.len());
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if slot >> 32 == hash >> 32 {
                let node = slot as u32 - 1;
                if self.node(node).relative == relative {
                    return Some(node);
                }
            }
            at += 1;
            if at == self.slots.len() {
                at = 0;
            }
        }
    }

    /// The last node that owns an NSEC record and stands before a relative name in canonical order.
    pub(super) fn nsec_before(&self, relative: &[u8]) -> Option<u32> {
        let labels = Labels::of(relative);
        let at = self.nsec.partition_point(|&node| {
            let other = self.node(node).relative;
            canonical(other, &Labels::of(other), relative, &labels) == Ordering::Less
        });
        self.nsec.get(at.checked_sub(1)?).copied()
    }

    /// The last node that owns an NSEC record and stands not behind this node.
    pub(super) fn nsec_at(&self, node: u32) -> Option<u32> {
        let at = self.nsec.partition_point(|&other| other <= node);
        self.nsec.get(at.checked_sub(1)?).copied()
    }

    /// As `nsec_before`, for the child `*` that a node does not have.
    pub(super) fn nsec_before_wildcard(&self, node: u32) -> Option<u32> {
        let mut star = [0; NAME_OCTETS + 1];
        let relative = self.node(node).relative;
        star[..2].copy_from_slice(b"\x01*");
        star[2..2 + relative.len()].copy_from_slice(relative);
        self.nsec_before(&star[..2 + relative.len()])
    }

    // --- made once ---

    fn index(&mut self) {
        let mut batch = Vec::with_capacity(INDEX_BATCH);
        let mut at = 0;
        while at < self.nodes.len() {
            batch.clear();
            while batch.len() < INDEX_BATCH && at < self.nodes.len() {
                batch.push((self.hash_of(at as u32), at as u64 + 1));
                at += self.node(at as u32).octets();
            }
            for &(hash, node) in &batch {
                let mut slot = place(hash, self.slots.len());
                while self.slots[slot] != 0 {
                    slot = (slot + 1) % self.slots.len();
                }
                self.slots[slot] = hash >> 32 << 32 | node;
            }
        }
    }

    /// The hash of a node's whole name.
    fn hash_of(&self, node: u32) -> u64 {
        let (relative, origin) = (self.node(node).relative, self.origin.as_slice());
        let len = relative.len() + origin.len();
        let mut name = [0; 2 * NAME_OCTETS];
        name[..relative.len()].copy_from_slice(relative);
        name[relative.len()..len].copy_from_slice(origin);
        name::hash(&name[..len])
    }

    /// Flags the nodes whose name could be written shorter than the tails assume.
    fn mark_kin(&mut self) {
        for label in self.tails.kin() {
            let Some(name) = WireName::join(&label, self.origin.as_slice()) else {
                continue;
            };
            let Some(node) = self.probe(&label, name::hash(name.as_slice())) else {
                continue;
            };
            // Names below it follow it at once.
            let mut at = node as usize;
            while at < self.nodes.len() {
                let node = self.node(at as u32);
                if !node.relative.ends_with(&label) {
                    break;
                }
                let end = at + node.octets();
                self.nodes[at] |= IS_KIN;
                at = end;
            }
        }
    }
}

// === impl Node ===

impl<'z> Node<'z> {
    /// The topmost node strictly above that is a cut or owns a DNAME; `NONE` for authoritative names.
    pub(super) fn above(&self) -> u32 {
        match (self.flags & IS_HIDDEN, self.rest.first_chunk()) {
            (IS_HIDDEN, Some(above)) => u32::from_ne_bytes(*above),
            _ => NONE,
        }
    }

    pub(super) fn sets(&self) -> Sets<'z> {
        Sets {
            rest: &self.rest[above_octets(self.flags)..],
        }
    }

    /// Octets before the sets.
    fn head_octets(&self) -> usize {
        NODE_HEAD + self.relative.len() + above_octets(self.flags)
    }

    /// Octets of the whole node.
    fn octets(&self) -> usize {
        let sets = self.sets().map(|set| SET_HEAD + set.data.len());
        self.head_octets() + sets.sum::<usize>() + 2
    }
}

fn above_octets(flags: u8) -> usize {
    if flags & IS_HIDDEN == 0 { 0 } else { 4 }
}

// === impl Sets, Rrset ===

impl Sets<'_> {
    pub(super) fn is_empty(&self) -> bool {
        set_at(self.rest).is_none()
    }
}

impl<'z> Iterator for Sets<'z> {
    type Item = Rrset<'z>;

    #[inline]
    fn next(&mut self) -> Option<Rrset<'z>> {
        let set = set_at(self.rest)?;
        self.rest = &self.rest[SET_HEAD + set.data.len()..];
        Some(set)
    }
}

impl<'z> Rrset<'z> {
    pub(super) fn records(&self) -> impl Iterator<Item = &'z [u8]> + use<'z> {
        let mut rest = self.data;
        std::iter::from_fn(move || {
            (!rest.is_empty()).then(|| {
                let rdata = data_at(rest);
                rest = &rest[2 + rdata.len()..];
                rdata
            })
        })
    }
}

/// The set at the start of `rest`; `None` at the end of a node.
#[inline]
fn set_at(rest: &[u8]) -> Option<Rrset<'_>> {
    let (head, rest) = rest.split_first_chunk::<SET_HEAD>()?;
    let [t0, t1, c0, c1, l0, l1, l2, l3, o0, o1, o2, o3] = *head;
    let rtype = u16::from_ne_bytes([t0, t1]);
    (rtype != 0).then(|| Rrset {
        rtype,
        count: u16::from_ne_bytes([c0, c1]),
        ttl: u32::from_ne_bytes([l0, l1, l2, l3]),
        data: &rest[..u32::from_ne_bytes([o0, o1, o2, o3]) as usize],
    })
}

fn data_at(data: &[u8]) -> &[u8] {
    let len = usize::from(u16::from_be_bytes([data[0], data[1]]));
    &data[2..2 + len]
}

// === writing nodes ===

/// Appends the head of a node.
pub(super) fn write_node(out: &mut Vec<u8>, flags: u8, relative: &[u8], above: u32) {
    out.push(flags);
    out.push(relative.len() as u8); // at most 254
    out.extend_from_slice(relative);
    if flags & IS_HIDDEN != 0 {
        out.extend(above.to_ne_bytes());
    }
}

/// Appends a set without its data; `octets` are those of the data with their lengths.
pub(super) fn write_set(out: &mut Vec<u8>, rtype: u16, count: u16, ttl: u32, octets: u32) {
    let mut head = [0; SET_HEAD];
    head[..2].copy_from_slice(&rtype.to_ne_bytes());
    head[2..4].copy_from_slice(&count.to_ne_bytes());
    head[4..8].copy_from_slice(&ttl.to_ne_bytes());
    head[8..].copy_from_slice(&octets.to_ne_bytes());
    out.extend(head);
}

/// Appends the end of a node.
pub(super) fn write_end(out: &mut Vec<u8>) {
    out.extend([0; 2]);
}

/// The slot to begin with, from the low half of the hash; the high half tells names apart.
#[inline]
fn place(hash: u64, slots: usize) -> usize {
    (((hash & 0xffff_ffff) * slots as u64) >> 32) as usize
}

/// Compares relative names label by label from the right (RFC 4034 section 6.1).
fn canonical(a: &[u8], a_labels: &Labels, b: &[u8], b_labels: &Labels) -> Ordering {
    for depth in 1..=a_labels.count.min(b_labels.count) {
        let (x, y) = (
            a_labels.label(a, a_labels.count - depth),
            b_labels.label(b, b_labels.count - depth),
        );
        match x[1..].cmp(&y[1..]) {
            Ordering::Equal => {}
            other => return other,
        }
    }
    a_labels.count.cmp(&b_labels.count)
}
