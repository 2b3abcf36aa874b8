//! Sorted records to a `Zone`: RRsets, empty non-terminals, cuts.

use super::build::Reject;
use super::name::WireName;
use super::part::{Merge, Part, Raw, name_of_key};
use super::rtype;
use super::tree::{
    HAS_CNAME, HAS_WILDCARD, IS_CUT, IS_DNAME, IS_HIDDEN, NONE, Zone, write_end, write_node,
    write_set,
};
use crate::limits;
use crate::runtime::PageVec;

/// The zone while it grows, node after node in canonical order.
pub(super) struct Assembly {
    origin: WireName,
    nodes: PageVec<u8>,
    /// The node in the making.
    node: Vec<u8>,
    nsec: Vec<u32>,
    names: usize,
    records: usize,
    /// Ancestors of the current node.
    stack: Vec<Ancestor>,
    last_key: Vec<u8>,
    /// The relative name of the current node.
    relative: Vec<u8>,
    /// Records of one set that are kept, by place; used again for each.
    kept: Vec<usize>,
}

struct Ancestor {
    key_len: usize,
    node: u32,
    /// What its descendants are hidden by.
    hides: u32,
}

impl Assembly {
    pub(super) fn new(origin: WireName, parts: &[Part]) -> Self {
        // A record takes at most six octets more in a zone than in a part.
        let octets = parts
            .iter()
            .map(|part| part.octets() + 6 * part.records())
            .sum();
        Self {
            origin,
            nodes: PageVec::with_room(octets),
            node: Vec::new(),
            nsec: Vec::new(),
            names: 0,
            records: 0,
            stack: Vec::new(),
            last_key: Vec::new(),
            relative: Vec::new(),
            kept: Vec::new(),
        }
    }

    pub(super) fn run(
        mut self,
        parts: Vec<Part>,
        warn: &mut dyn FnMut(String),
    ) -> Result<Zone, Reject> {
        let mut runs = Merge::new(&parts).peekable();
        let mut members = Vec::new();
        while let Some((part, run)) = runs.next() {
            let key = part.key(run);
            members.clear();
            members.extend(part.records_of(run));
            while let Some((part, run)) = runs.next_if(|(part, run)| part.key(*run) == key) {
                members.extend(part.records_of(run));
            }
            if members.is_empty() {
                continue;
            }
            self.open_ancestors(key);
            self.node(key, &mut members, warn);
            if self.nodes.len() > limits::ZONE_DATA_OCTETS {
                return Err(Reject::TooLarge);
            }
        }
        self.nodes.shrink();
        drop(parts);
        Ok(Zone::assemble(
            self.origin,
            self.nodes,
            self.nsec.into_boxed_slice(),
            self.names,
            self.records,
        ))
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
        while self
            .stack
            .last()
            .is_some_and(|above| above.key_len > shared)
        {
            self.stack.pop();
        }
        // Every key but the apex's ends in 0; the zeros before that end the ancestors' keys.
        let from = self.stack.last().map_or(0, |above| above.key_len);
        for at in from..key.len().saturating_sub(1) {
            if key[at] == 0 {
                self.node(&key[..=at], &mut [], &mut |_| {});
            }
        }
    }

    fn node(&mut self, key: &[u8], members: &mut [Raw<'_>], warn: &mut dyn FnMut(String)) {
        let node = self.nodes.len() as u32; // checked after each node
        let above = self.stack.last().map_or(NONE, |parent| parent.hides);
        name_of_key(key, &mut self.relative);
        if self.relative.starts_with(b"\x01*")
            && let Some(parent) = self.stack.last()
        {
            self.nodes[parent.node as usize] |= HAS_WILDCARD;
        }
        let mut flags = if above == NONE { 0 } else { IS_HIDDEN };
        self.node.clear();
        write_node(&mut self.node, flags, &self.relative, above);
        let kind = |raw: &Raw<'_>| (raw.rtype, raw.covered());
        members.sort_by_key(kind);
        for set in members.chunk_by(|a, b| kind(a) == kind(b)) {
            match set[0].rtype {
                rtype::NS if !key.is_empty() => flags |= IS_CUT,
                rtype::DNAME => flags |= IS_DNAME,
                rtype::CNAME => flags |= HAS_CNAME,
                rtype::NSEC if above == NONE => self.nsec.push(node),
                _ => {}
            }
            self.rrset(set, warn);
        }
        write_end(&mut self.node);
        self.node[0] = flags;
        self.nodes.extend_from_slice(&self.node);
        self.names += 1;
        let hides = match above {
            NONE if flags & (IS_CUT | IS_DNAME) != 0 => node,
            above => above,
        };
        self.stack.push(Ancestor {
            key_len: key.len(),
            node,
            hides,
        });
    }

    /// Stores one RRset without duplicates (RFC 2181 section 5), with the lowest of its TTLs (section 5.2).
    fn rrset(&mut self, set: &[Raw<'_>], warn: &mut dyn FnMut(String)) {
        self.kept.clear();
        self.kept.extend(0..set.len());
        if set.len() > 1 {
            self.kept
                .sort_by(|&a, &b| set[a].data.cmp(set[b].data).then(a.cmp(&b)));
            self.kept
                .dedup_by(|later, first| set[*later].data == set[*first].data);
            // Back to the order of the file.
            self.kept.sort_unstable();
            self.cut(set[0].rtype, warn);
        }
        let ttl = set.iter().map(|raw| raw.ttl).min().unwrap_or(0);
        let octets: usize = self.kept.iter().map(|&at| 2 + set[at].data.len()).sum();
        // At most 65,535 records of 65,537 octets: below 2^32.
        write_set(
            &mut self.node,
            set[0].rtype,
            self.kept.len() as u16,
            ttl,
            octets as u32,
        );
        self.records += self.kept.len();
        for &at in &self.kept {
            let data = set[at].data;
            self.node.extend((data.len() as u16).to_be_bytes()); // was stored with 16 bits
            self.node.extend_from_slice(data);
        }
    }

    /// Leaves only as many records as a set of the type may have.
    fn cut(&mut self, rtype: u16, warn: &mut dyn FnMut(String)) {
        let (most, used) = match rtype {
            rtype::CNAME | rtype::DNAME => (1, "the first is"),
            _ => (usize::from(u16::MAX), "the first 65535 are"),
        };
        let count = self.kept.len();
        if count > most {
            warn(format!(
                "{} has {count} records of type {rtype}: {used} used",
                self.owner()
            ));
            self.kept.truncate(most);
        }
    }

    /// The name of the node in the making, for a warning.
    fn owner(&self) -> String {
        WireName::join(&self.relative, self.origin.as_slice())
            .map_or_else(String::new, |name| name.to_string())
    }
}
