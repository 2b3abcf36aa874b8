//! The immutable zone: nodes in canonical order, RRsets with wire data, a hash index over the names.
//!
//! ```text
//! slots --hash--> nodes[i] --name--> names: [len][labels without origin]
//!                    |-----sets----> sets[j..k]: type, covered, TTL --data--> data: [len][octets]...
//!                    `-----above---> the cut or DNAME that hides it, if any
//! ```
//! A name with one A record takes about 70 octets all told.

use std::cmp::Ordering;
use std::mem::size_of_val;

use super::name::{Labels, WireName};
use super::{CLASS_IN, rtype};
use crate::wire::name::last_word;

/// A zone that is ready to be asked. Share it by `Arc`.
pub struct Zone {
    origin: WireName,
    /// In canonical order (RFC 4034 section 6.1); node 0 is the apex. Empty non-terminals are nodes without RRsets.
    nodes: Box<[Node]>,
    sets: Box<[Rrset]>,
    names: Box<[u8]>,
    data: Box<[u8]>,
    /// Open addressing, a power of two, at most three quarters full: `hash high half << 32 | node + 1`, 0 is free.
    slots: Box<[u64]>,
    /// Authoritative nodes that own an NSEC record, ascending. Empty in an unsigned zone.
    pub(super) nsec: Box<[u32]>,
    records: usize,
    serial: u32,
}

/// One name.
pub(super) struct Node {
    pub(super) name: u32,
    pub(super) sets: u32,
    /// The topmost node strictly above that is a cut or owns a DNAME; `NONE` for authoritative names.
    pub(super) above: u32,
    pub(super) flags: u8,
}

/// One RRset; signatures are sets of their own, one per covered type.
pub(super) struct Rrset {
    pub(super) rtype: u16,
    pub(super) covered: u16,
    pub(super) count: u16,
    pub(super) ttl: u32,
    pub(super) data: u32,
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
    set: u32,
    record: u16,
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

// === impl Zone ===

impl Zone {
    #[allow(clippy::too_many_arguments)] // the parts of one value, called once
    pub(super) fn assemble(
        origin: WireName,
        nodes: Box<[Node]>,
        sets: Box<[Rrset]>,
        names: Box<[u8]>,
        data: Box<[u8]>,
        slots: Box<[u64]>,
        nsec: Box<[u32]>,
        records: usize,
    ) -> Self {
        let mut zone = Self {
            origin,
            nodes,
            sets,
            names,
            data,
            slots,
            nsec,
            records,
            serial: 0,
        };
        zone.serial = super::load::soa_serial(zone.soa().1).unwrap_or(0);
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
            (set.ttl, self.rdata(set).next().unwrap_or_default())
        })
    }

    /// Records, each of an RRset counted.
    pub fn record_count(&self) -> usize {
        self.records
    }

    /// Names that exist, empty non-terminals included.
    pub fn name_count(&self) -> usize {
        self.nodes.len()
    }

    /// Whether the zone holds NSEC records, that is, was signed before it was loaded.
    pub fn is_signed(&self) -> bool {
        !self.nsec.is_empty()
    }

    /// Octets of memory.
    pub fn memory_octets(&self) -> usize {
        size_of_val(self)
            + size_of_val(&*self.nodes)
            + size_of_val(&*self.sets)
            + size_of_val(&*self.names)
            + size_of_val(&*self.data)
            + size_of_val(&*self.slots)
            + size_of_val(&*self.nsec)
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
        loop {
            let set = self.sets.get(cursor.set as usize)?;
            if cursor.record >= set.count || set.rtype == rtype::SOA {
                cursor.set += 1;
                cursor.record = 0;
                cursor.offset = 0;
                continue;
            }
            while self
                .nodes
                .get(cursor.node as usize + 1)
                .is_some_and(|next| next.sets <= cursor.set)
            {
                cursor.node += 1;
            }
            let rdata = self.data_at((set.data + cursor.offset) as usize);
            cursor.record += 1;
            cursor.offset += 2 + rdata.len() as u32;
            let owner = self.name(cursor.node);
            return Some(Record {
                owner,
                rtype: set.rtype,
                class: CLASS_IN,
                ttl: set.ttl,
                rdata,
            });
        }
    }

    /// The RRset of one type at a name (lower-cased wire form): TTL and data. No wildcards, no cuts.
    pub fn rrset<'z>(
        &'z self,
        name: &[u8],
        rtype: u16,
    ) -> Option<(u32, impl Iterator<Item = &'z [u8]> + use<'z>)> {
        let relative = WireName::below(name, self.origin.as_slice())?;
        let Found::Node(node) = self.find(relative) else {
            return None;
        };
        let set = self.set(node, rtype)?;
        Some((set.ttl, self.rdata(set)))
    }

    // --- for lookup ---

    pub(super) fn node(&self, node: u32) -> &Node {
        &self.nodes[node as usize]
    }

    /// The whole name of a node.
    pub(super) fn name(&self, node: u32) -> WireName {
        // Every node's name was joined to the origin once and fitted.
        WireName::join(self.relative(node), self.origin.as_slice()).unwrap_or(WireName::ROOT)
    }

    /// The labels of a node before the origin.
    pub(super) fn relative(&self, node: u32) -> &[u8] {
        relative(&self.names, &self.nodes[node as usize])
    }

    pub(super) fn sets(&self, node: u32) -> &[Rrset] {
        let start = self.nodes[node as usize].sets as usize;
        let end = self
            .nodes
            .get(node as usize + 1)
            .map_or(self.sets.len(), |next| next.sets as usize);
        &self.sets[start..end]
    }

    pub(super) fn set(&self, node: u32, rtype: u16) -> Option<&Rrset> {
        self.typed(node, rtype, 0)
    }

    pub(super) fn signatures(&self, node: u32, covered: u16) -> Option<&Rrset> {
        self.typed(node, rtype::RRSIG, covered)
    }

    fn typed(&self, node: u32, rtype: u16, covered: u16) -> Option<&Rrset> {
        // A node has one to three of them, rarely ten: too few for a binary search to win.
        self.sets(node)
            .iter()
            .find(|set| (set.rtype, set.covered) == (rtype, covered))
    }

    pub(super) fn rdata(&self, set: &Rrset) -> impl Iterator<Item = &[u8]> {
        let mut at = set.data as usize;
        (0..set.count).map(move |_| {
            let rdata = self.data_at(at);
            at += 2 + rdata.len();
            rdata
        })
    }

    fn data_at(&self, at: usize) -> &[u8] {
        let len = usize::from(u16::from_be_bytes([self.data[at], self.data[at + 1]]));
        &self.data[at + 2..at + 2 + len]
    }

    /// Finds a relative name, or the closest encloser: one probe for a name that exists, else one per existing ancestor.
    pub(super) fn find(&self, relative: &[u8]) -> Found {
        if let Some(node) = self.probe(relative) {
            return Found::Node(node);
        }
        self.encloser(relative)
    }

    fn encloser(&self, relative: &[u8]) -> Found {
        let labels = Labels::of(relative);
        let mut encloser = 0;
        // Ancestors of names are nodes too, so the walk may end at the first that is missing.
        for index in (0..labels.count).rev() {
            match self.probe(&relative[usize::from(labels.starts[index])..]) {
                Some(node) => encloser = node,
                None => break,
            }
        }
        Found::Encloser(encloser)
    }

    /// The child `*` of a node.
    pub(super) fn wildcard_of(&self, node: u32) -> Option<u32> {
        let (name, len) = star(self.relative(node));
        match self.find(&name[..len]) {
            Found::Node(wildcard) => Some(wildcard),
            Found::Encloser(_) => None,
        }
    }

    /// `rank` of the child `*` that a node does not have.
    pub(super) fn rank_of_wildcard(&self, node: u32) -> u32 {
        let (name, len) = star(self.relative(node));
        self.rank(&name[..len])
    }

    fn probe(&self, relative: &[u8]) -> Option<u32> {
        let hash = hash_relative(relative);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if slot >> 32 == hash >> 32 {
                let node = slot as u32 - 1;
                if self.relative(node) == relative {
                    return Some(node);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// The number of nodes before a relative name in canonical order.
    pub(super) fn rank(&self, relative: &[u8]) -> u32 {
        let labels = Labels::of(relative);
        self.nodes.partition_point(|node| {
            let other = self::relative(&self.names, node);
            canonical(other, &Labels::of(other), relative, &labels) == Ordering::Less
        }) as u32
    }

    /// The last node before rank `rank` that owns an NSEC record.
    pub(super) fn nsec_before(&self, rank: u32) -> Option<u32> {
        let at = self.nsec.partition_point(|&node| node < rank);
        self.nsec.get(at.checked_sub(1)?).copied()
    }
}

/// Builds the hash index over the nodes' names.
pub(super) fn index_slots(nodes: &[Node], names: &[u8]) -> Box<[u64]> {
    let len = (nodes.len() * 4 / 3 + 1).next_power_of_two();
    let mut slots = vec![0u64; len].into_boxed_slice();
    for (index, node) in nodes.iter().enumerate() {
        let hash = hash_relative(relative(names, node));
        let mut at = hash as usize & (len - 1);
        while slots[at] != 0 {
            at = (at + 1) & (len - 1);
        }
        slots[at] = hash >> 32 << 32 | (index as u64 + 1);
    }
    slots
}

fn relative<'a>(names: &'a [u8], node: &Node) -> &'a [u8] {
    let at = node.name as usize;
    &names[at + 1..at + 1 + usize::from(names[at])]
}

/// The label `*` before a relative name of at most 254 octets.
fn star(relative: &[u8]) -> ([u8; 256], usize) {
    let mut name = [0; 256];
    name[..2].copy_from_slice(b"\x01*");
    name[2..2 + relative.len()].copy_from_slice(relative);
    (name, 2 + relative.len())
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

/// The hash of a relative name, eight octets a step. The zone's names are the operator's, so no secret is needed; a query
/// can at worst meet the longest run of slots that they made.
fn hash_relative(relative: &[u8]) -> u64 {
    let fold = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * u128::from(HASH_FACTOR);
        (product as u64) ^ (product >> 64) as u64
    };
    let (words, _) = relative.as_chunks::<8>();
    let hash = words
        .iter()
        .fold(HASH_SEED ^ relative.len() as u64, |hash, word| {
            fold(hash, u64::from_le_bytes(*word))
        });
    fold(hash, last_word(relative))
}

const HASH_SEED: u64 = 0x243f_6a88_85a3_08d3;
const HASH_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
