//! What ends most replies, in wire form: the apex's NS records after an answer, its SOA record after a denial.
//!
//! Names in it point into the question, which holds the origin whatever was asked, and to each other. A question that shares more
//! labels with such a name (`ns1.example.org` itself) could be pointed to more shortly; its *kin* is therefore known here and answered
//! the long way.

use super::name::WireName;
use super::rtype;
use super::tree::Zone;
use crate::wire::rdata;

/// The tails of one zone.
#[derive(Default)]
pub(super) struct Tails {
    /// NS records.
    pub(super) servers: Option<Tail>,
    /// The SOA record.
    pub(super) denial: Option<Tail>,
    /// For each name in a tail that is in the zone: its label next to the origin, with the length octet.
    kin: Vec<Box<[u8]>>,
}

/// Records of the authority section.
pub(super) struct Tail {
    octets: Box<[u8]>,
    /// Where pointers stand that count from the origin in the question, and those that count from the tail itself.
    to_origin: Box<[u16]>,
    to_self: Box<[u16]>,
    /// Records.
    pub(super) count: u16,
    /// Octets with no name compressed.
    pub(super) full_len: usize,
}

impl Tails {
    pub(super) fn new(zone: &Zone) -> Self {
        let mut kin = Vec::new();
        let servers = Tail::new(zone, rtype::NS, &mut kin);
        let denial = Tail::new(zone, rtype::SOA, &mut kin);
        kin.sort_unstable();
        kin.dedup();
        Self {
            servers,
            denial,
            kin,
        }
    }

    pub(super) fn memory_octets(&self) -> usize {
        let tails = self.servers.iter().chain(&self.denial);
        tails
            .map(|tail| tail.octets.len() + 2 * (tail.to_origin.len() + tail.to_self.len()))
            .chain(self.kin.iter().map(|label| label.len()))
            .sum()
    }

    pub(super) fn kin(&self) -> Vec<Box<[u8]>> {
        self.kin.clone()
    }

    /// Whether names with this label, length octet included, next to the origin are kin.
    pub(super) fn is_kin(&self, label: &[u8]) -> bool {
        self.kin.iter().any(|kin| **kin == *label)
    }
}

impl Tail {
    /// The apex's set of one type; `None` if it is so long that pointers would not reach.
    fn new(zone: &Zone, rtype: u16, kin: &mut Vec<Box<[u8]>>) -> Option<Self> {
        let mut composer = Composer::new(zone.origin_wire());
        let (mut count, mut full_len) = (0, 0);
        if let Some(set) = zone.set(0, rtype) {
            for rdata in set.records() {
                composer.record(rtype, set.ttl, rdata, kin)?;
                full_len += zone.origin_wire().len() + 10 + rdata.len();
            }
            count = set.count;
        }
        Some(Self {
            octets: composer.octets.into_boxed_slice(),
            to_origin: composer.to_origin.into_boxed_slice(),
            to_self: composer.to_self.into_boxed_slice(),
            count,
            full_len,
        })
    }

    /// Writes it at `at` of a message whose question has the origin at `origin_at`; returns where it ends. `None` if it does not fit
    /// or a pointer would not reach (RFC 1035 section 4.1.4: 14 bits).
    #[inline]
    pub(super) fn write(&self, out: &mut [u8], at: usize, origin_at: usize) -> Option<usize> {
        let end = at + self.octets.len();
        if end > POINTER_REACH {
            return None;
        }
        let room = out.get_mut(at..end)?;
        room.copy_from_slice(&self.octets);
        for (pointers, from) in [(&self.to_origin, origin_at), (&self.to_self, at)] {
            for &pointer in pointers {
                let field = room.get_mut(usize::from(pointer)..)?.first_chunk_mut()?;
                *field = (u16::from_be_bytes(*field) + from as u16).to_be_bytes();
            }
        }
        Some(end)
    }
}

/// Octets of a message that pointers can reach.
const POINTER_REACH: usize = 0x4000;

/// A tail in the making.
struct Composer<'z> {
    origin: &'z [u8],
    octets: Vec<u8>,
    to_origin: Vec<u16>,
    to_self: Vec<u16>,
    /// Suffixes that pointers can name: octets from the origin's or the tail's start.
    known: Vec<(&'z [u8], Place)>,
}

#[derive(Clone, Copy)]
enum Place {
    Origin(usize),
    Own(usize),
}

impl<'z> Composer<'z> {
    fn new(origin: &'z [u8]) -> Self {
        let mut known = Vec::new();
        let mut at = 0;
        while let Some(&len @ 1..) = origin.get(at) {
            known.push((&origin[at..], Place::Origin(at)));
            at += 1 + usize::from(len);
        }
        Self {
            origin,
            octets: Vec::new(),
            to_origin: Vec::new(),
            to_self: Vec::new(),
            known,
        }
    }

    fn record(
        &mut self,
        rtype: u16,
        ttl: u32,
        octets: &'z [u8],
        kin: &mut Vec<Box<[u8]>>,
    ) -> Option<()> {
        self.name(self.origin);
        self.octets.extend(rtype.to_be_bytes());
        self.octets.extend(super::CLASS_IN.to_be_bytes());
        self.octets.extend(ttl.to_be_bytes());
        let start = self.octets.len() + 2;
        self.octets.extend([0; 2]);
        rdata::pieces(rtype, octets, |piece, is_name| {
            if is_name {
                self.name(piece);
                kin.extend(top_label(piece, self.origin));
            } else {
                self.octets.extend_from_slice(piece);
            }
        });
        let len = (self.octets.len() - start) as u16; // no longer than in the zone
        self.octets[start - 2..start].copy_from_slice(&len.to_be_bytes());
        (self.octets.len() < POINTER_REACH).then_some(())
    }

    /// Writes the labels up to the longest suffix that is known, then a pointer to that.
    fn name(&mut self, name: &'z [u8]) {
        let start = self.octets.len();
        let mut fresh = 0;
        while let Some(&len @ 1..) = name.get(fresh) {
            let suffix = &name[fresh..];
            let known = self
                .known
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(suffix));
            if let Some(&(_, place)) = known {
                self.octets.extend_from_slice(&name[..fresh]);
                self.pointer(place);
                return;
            }
            self.known.push((suffix, Place::Own(start + fresh)));
            fresh += 1 + usize::from(len);
        }
        self.octets.extend_from_slice(name);
    }

    fn pointer(&mut self, place: Place) {
        let at = self.octets.len() as u16; // record() ends before it is more
        let from = match place {
            Place::Origin(from) => {
                self.to_origin.push(at);
                from
            }
            Place::Own(from) => {
                self.to_self.push(at);
                from
            }
        };
        self.octets.extend((0xc000 | from as u16).to_be_bytes());
    }
}

/// The label of `name` next to the origin, if it is below the origin.
fn top_label(name: &[u8], origin: &[u8]) -> Option<Box<[u8]>> {
    let name = WireName::from_wire(name)?.lowered();
    let relative = WireName::below(name.as_slice(), origin)?;
    let mut at = 0;
    let mut top = None;
    while let Some(&len) = relative.get(at) {
        let end = at + 1 + usize::from(len);
        top = relative.get(at..end);
        at = end;
    }
    top.map(Box::from)
}
