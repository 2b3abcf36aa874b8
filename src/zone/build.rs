//! Records in any order to a `Zone`: checks, canonical order, empty non-terminals, cuts.

use thiserror::Error;

use super::load::soa_serial;
use super::name::{Labels, WireName};
use super::rdata::check_wire;
use super::rtype;
use super::tree::{HAS_WILDCARD, IS_CUT, IS_DNAME, NONE, Node, Rrset, Zone, index_slots};
use crate::limits;

/// Collects the records of one zone, from a file or from a transfer.
pub struct Builder {
    origin: WireName,
    /// Sort keys of owners, see `sort_key`.
    keys: Vec<u8>,
    /// One per run of records with the same owner, in the order of arrival.
    runs: Vec<Run>,
    records: Vec<Raw>,
    /// Per record: 16 bits of length, the data.
    data: Vec<u8>,
    /// The owner of the last run, relative, to detect the next one.
    last: WireName,
    last_len: usize,
    soa: Option<(u32, Vec<u8>)>,
    foreign_soa: Option<(WireName, u32, Vec<u8>)>,
}

/// Why a record is not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Reject {
    /// The owner is not in the zone.
    #[error("owner outside of the zone")]
    Outside,
    /// NSEC3 or NSEC3PARAM.
    #[error("NSEC3 zone is not supported")]
    Nsec3,
    /// The data does not fit the type's layout, or the owner is no name.
    #[error("malformed record")]
    Malformed,
    /// A bound of `limits` is reached.
    #[error("zone too large")]
    TooLarge,
}

struct Run {
    /// The first octets of the key, so that most comparisons need no other memory.
    prefix: u64,
    key: u32,
    key_len: u16,
    first: u32,
}

#[derive(Clone, Copy)]
struct Raw {
    ttl: u32,
    data: u32,
    rtype: u16,
    covered: u16,
}

impl Builder {
    /// Starts a zone with this origin.
    pub fn new(origin: WireName) -> Self {
        Self {
            origin: origin.lowered(),
            keys: Vec::new(),
            runs: Vec::new(),
            records: Vec::new(),
            data: Vec::new(),
            last: WireName::ROOT,
            last_len: usize::MAX,
            soa: None,
            foreign_soa: None,
        }
    }

    /// Takes one record: owner and data in uncompressed wire form, any case.
    pub fn push(&mut self, owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) -> Result<(), Reject> {
        let owner = WireName::from_wire(owner)
            .ok_or(Reject::Malformed)?
            .lowered();
        if matches!(rtype, rtype::NSEC3 | rtype::NSEC3PARAM) {
            return Err(Reject::Nsec3);
        }
        let data_len = u16::try_from(data.len()).map_err(|_| Reject::Malformed)?;
        if self.records.len() >= limits::ZONE_RECORDS
            || self.data.len() + self.keys.len() + data.len() > limits::ZONE_DATA_OCTETS - 1024
        {
            return Err(Reject::TooLarge);
        }
        let at = self.data.len();
        self.data.extend(data_len.to_be_bytes());
        self.data.extend_from_slice(data);
        if check_wire(rtype, &mut self.data[at + 2..]).is_none() {
            self.data.truncate(at);
            return Err(Reject::Malformed);
        }
        if rtype == rtype::SOA {
            let data = self.data.split_off(at + 2);
            self.data.truncate(at);
            if owner == self.origin {
                self.soa = Some((ttl, data));
            } else {
                self.foreign_soa = Some((owner, ttl, data));
            }
            return Ok(());
        }
        let origin = self.origin;
        let Some(relative) = WireName::below(owner.as_slice(), origin.as_slice()) else {
            self.data.truncate(at);
            return Err(Reject::Outside);
        };
        if self.last_len != relative.len() || &self.last.as_slice()[..self.last_len] != relative {
            self.start_run(relative);
            self.last = owner;
            self.last_len = relative.len();
        }
        let covered = match (rtype, data) {
            (rtype::RRSIG, &[high, low, ..]) => u16::from_be_bytes([high, low]),
            _ => 0,
        };
        self.records.push(Raw {
            ttl,
            data: at as u32,
            rtype,
            covered,
        });
        Ok(())
    }

    /// The serial of the SOA record taken so far.
    pub fn serial(&self) -> Option<u32> {
        soa_serial(&self.soa.as_ref()?.1)
    }

    /// Makes the zone; `None` without a SOA record. `warn` gets what was repaired.
    pub fn finish(mut self, warn: &mut dyn FnMut(String)) -> Option<Zone> {
        let (ttl, data) = match (self.soa.take(), self.foreign_soa.take()) {
            (Some(soa), _) => soa,
            (None, Some((owner, ttl, data))) => {
                warn(format!(
                    "SOA record of {owner} used for zone {}, which has none",
                    self.origin
                ));
                (ttl, data)
            }
            (None, None) => return None,
        };
        let at = self.data.len();
        self.data.extend((data.len() as u16).to_be_bytes()); // checked by push()
        self.data.extend_from_slice(&data);
        self.start_run(&[]);
        self.records.push(Raw {
            ttl,
            data: at as u32,
            rtype: rtype::SOA,
            covered: 0,
        });
        let mut order: Vec<u32> = (0..self.runs.len() as u32).collect();
        order.sort_by(|&a, &b| {
            let (a, b) = (&self.runs[a as usize], &self.runs[b as usize]);
            a.prefix
                .cmp(&b.prefix)
                .then_with(|| self.key(a).cmp(self.key(b)))
        });
        Some(Assembly::new(&self).run(&order, warn))
    }

    fn key(&self, run: &Run) -> &[u8] {
        &self.keys[run.key as usize..][..usize::from(run.key_len)]
    }

    fn start_run(&mut self, relative: &[u8]) {
        let key = self.keys.len();
        sort_key(relative, &mut self.keys);
        let octets = &self.keys[key..];
        let mut prefix = [0; 8];
        let len = octets.len().min(8);
        prefix[..len].copy_from_slice(&octets[..len]);
        self.runs.push(Run {
            prefix: u64::from_be_bytes(prefix),
            key: key as u32,
            key_len: octets.len() as u16, // at most 2 * 255
            first: self.records.len() as u32,
        });
    }

    fn records_of(&self, run: u32) -> std::ops::Range<u32> {
        let end = self
            .runs
            .get(run as usize + 1)
            .map_or(self.records.len() as u32, |next| next.first);
        self.runs[run as usize].first..end
    }

    fn data_of(&self, record: u32) -> &[u8] {
        let at = self.records[record as usize].data as usize;
        let len = usize::from(u16::from_be_bytes([self.data[at], self.data[at + 1]]));
        &self.data[at + 2..at + 2 + len]
    }
}

/// Labels from the right, each closed by 0, so that comparing octets gives the canonical order (RFC 4034 section 6.1)
/// and an ancestor's key is a prefix. The octets 0 and 1 are written as 1 1 and 1 2.
fn sort_key(relative: &[u8], out: &mut Vec<u8>) {
    let labels = Labels::of(relative);
    for index in (0..labels.count).rev() {
        for &octet in &labels.label(relative, index)[1..] {
            match octet {
                0 | 1 => out.extend([1, octet + 1]),
                _ => out.push(octet),
            }
        }
        out.push(0);
    }
}

/// The relative wire name of a sort key.
fn name_of_key(key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    for label in key.split(|&octet| octet == 0).rev().skip(1) {
        let at = out.len();
        out.push(0);
        let mut escaped = false;
        for &octet in label {
            if octet == 1 && !escaped {
                escaped = true;
                continue;
            }
            out.push(if std::mem::take(&mut escaped) {
                octet - 1
            } else {
                octet
            });
        }
        out[at] = (out.len() - at - 1) as u8; // a label that was checked: at most 63
    }
}

/// The zone while it grows, node after node in canonical order.
struct Assembly<'a> {
    builder: &'a Builder,
    nodes: Vec<Node>,
    sets: Vec<Rrset>,
    names: Vec<u8>,
    data: Vec<u8>,
    nsec: Vec<u32>,
    records: usize,
    /// Ancestors of the current node: length of the key, node.
    stack: Vec<(usize, u32)>,
    last_key: Vec<u8>,
    scratch: Vec<u8>,
}

impl<'a> Assembly<'a> {
    fn new(builder: &'a Builder) -> Self {
        Self {
            builder,
            nodes: Vec::with_capacity(builder.runs.len()),
            sets: Vec::with_capacity(builder.runs.len()),
            names: Vec::with_capacity(builder.keys.len()),
            data: Vec::with_capacity(builder.data.len()),
            nsec: Vec::new(),
            records: 0,
            stack: Vec::new(),
            last_key: Vec::new(),
            scratch: Vec::new(),
        }
    }

    fn run(mut self, order: &[u32], warn: &mut dyn FnMut(String)) -> Zone {
        let builder = self.builder;
        let mut members = Vec::new();
        for same in order.chunk_by(|&a, &b| {
            builder.key(&builder.runs[a as usize]) == builder.key(&builder.runs[b as usize])
        }) {
            let key = builder.key(&builder.runs[same[0] as usize]);
            members.clear();
            members.extend(same.iter().flat_map(|&run| builder.records_of(run)));
            self.open_ancestors(key);
            self.node(key, &mut members, warn);
        }
        let slots = index_slots(&self.nodes, &self.names);
        Zone::assemble(
            builder.origin,
            self.nodes.into_boxed_slice(),
            self.sets.into_boxed_slice(),
            self.names.into_boxed_slice(),
            self.data.into_boxed_slice(),
            slots,
            self.nsec.into_boxed_slice(),
            self.records,
        )
    }

    /// Makes the empty non-terminals between the nearest node above `key` and `key` itself.
    fn open_ancestors(&mut self, key: &[u8]) {
        let shared = self
            .last_key
            .iter()
            .zip(key)
            .take_while(|(a, b)| a == b)
            .count();
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        while self.stack.last().is_some_and(|&(len, _)| len > shared) {
            self.stack.pop();
        }
        // Every key but the apex's ends in 0; the zeros before that end the ancestors' keys.
        let from = self.stack.last().map_or(0, |&(len, _)| len);
        for at in from..key.len().saturating_sub(1) {
            if key[at] == 0 {
                self.node(&key[..=at], &mut [], &mut |_| {});
            }
        }
    }

    fn node(&mut self, key: &[u8], members: &mut [u32], warn: &mut dyn FnMut(String)) {
        let builder = self.builder;
        let index = self.nodes.len() as u32; // each node has an octet in `keys`, which has fewer than 2^32
        let above = self.stack.last().map_or(NONE, |&(_, parent)| {
            let parent_node = &self.nodes[parent as usize];
            match parent_node.above {
                NONE if parent_node.flags & (IS_CUT | IS_DNAME) != 0 => parent,
                above => above,
            }
        });
        name_of_key(key, &mut self.scratch);
        if self.scratch.starts_with(b"\x01*")
            && let Some(&(_, parent)) = self.stack.last()
        {
            self.nodes[parent as usize].flags |= HAS_WILDCARD;
        }
        let name = self.names.len() as u32;
        self.names.push(self.scratch.len() as u8); // at most 254
        self.names.extend_from_slice(&self.scratch);
        let sets = self.sets.len() as u32;
        let kind = |record: &u32| {
            let raw = &builder.records[*record as usize];
            (raw.rtype, raw.covered)
        };
        members.sort_by_key(kind);
        let mut flags = 0;
        for set in members.chunk_by_mut(|a, b| kind(a) == kind(b)) {
            let rtype = kind(&set[0]).0;
            match rtype {
                rtype::NS if !key.is_empty() => flags |= IS_CUT,
                rtype::DNAME => flags |= IS_DNAME,
                rtype::NSEC if above == NONE => self.nsec.push(index),
                _ => {}
            }
            self.rrset(set, warn);
        }
        self.nodes.push(Node {
            name,
            sets,
            above,
            flags,
        });
        self.stack.push((key.len(), index));
    }

    /// Stores one RRset without duplicates (RFC 2181 section 5), with the lowest of its TTLs (section 5.2).
    fn rrset(&mut self, set: &mut [u32], warn: &mut dyn FnMut(String)) {
        let builder = self.builder;
        let Raw { rtype, covered, .. } = builder.records[set[0] as usize];
        let ttl = set
            .iter()
            .map(|&record| builder.records[record as usize].ttl)
            .min()
            .unwrap_or(0);
        let mut kept = Vec::new();
        if set.len() > 1 {
            set.sort_by(|&a, &b| builder.data_of(a).cmp(builder.data_of(b)).then(a.cmp(&b)));
            kept.extend_from_slice(set);
            kept.dedup_by(|later, first| builder.data_of(*later) == builder.data_of(*first));
            // Back to the order of the file.
            kept.sort_unstable();
            if matches!(rtype, rtype::CNAME | rtype::DNAME) && kept.len() > 1 {
                warn(format!(
                    "{} has {} records of type {rtype}: the first is used",
                    self.owner(),
                    kept.len()
                ));
                kept.truncate(1);
            }
            if kept.len() > usize::from(u16::MAX) {
                warn(format!(
                    "{} has {} records of type {rtype}: the first 65535 are used",
                    self.owner(),
                    kept.len()
                ));
                kept.truncate(usize::from(u16::MAX));
            }
        } else {
            kept.push(set[0]);
        }
        self.sets.push(Rrset {
            rtype,
            covered,
            count: kept.len() as u16,
            ttl,
            data: self.data.len() as u32,
        });
        self.records += kept.len();
        for record in kept {
            let data = builder.data_of(record);
            self.data.extend((data.len() as u16).to_be_bytes()); // was stored with 16 bits
            self.data.extend_from_slice(data);
        }
    }

    /// The name of the node in the making, for a warning.
    fn owner(&self) -> String {
        WireName::join(&self.scratch, self.builder.origin.as_slice())
            .map_or_else(String::new, |name| name.to_string())
    }
}
