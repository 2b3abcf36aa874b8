//! Answers from a zone: the algorithm of RFC 1034 section 4.3.2 with RFC 4592 (wildcards), 6672 (DNAME), 4035 (signed zones).
//!
//! ```text
//! find name -> hidden by DNAME? -> synthesize, follow ------------.
//!           -> hidden by a cut, or a cut itself (not DS)? -> referral
//!           -> exists, or a wildcard covers it -> CNAME? -> follow -+-> next name: inside -> find name
//!           |                                  -> type?  -> answer  `-> outside, or another server block: Chase
//!           |                                  -> NODATA
//!           `-> NXDOMAIN
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use super::name::{WireName, name_octets};
use super::tree::{Found, HAS_WILDCARD, IS_CUT, IS_DNAME, NONE, Rrset, Zone};
use super::{CLASS_IN, rtype};
use crate::limits;
use crate::wire::name::hash;

pub use crate::wire::reply::Section;

/// Where a lookup puts its records.
pub trait Sink {
    /// Takes one record; sections come in their order on the wire. `owner` (lower-cased) and `rdata` are uncompressed wire octets; `ttl` is in seconds.
    fn push(
        &mut self,
        section: Section,
        owner: &[u8],
        rtype: u16,
        class: u16,
        ttl: u32,
        rdata: &[u8],
    );

    /// Whether a CNAME target inside this zone is to be looked up by the caller (`Kind::Chase`), since another zone of the
    /// server may be the one that answers it. `target` is lower-cased; `exists` says that this zone has records of that
    /// very name, not only of a wildcard.
    fn elsewhere(&mut self, target: &[u8], exists: bool) -> bool {
        let _ = (target, exists);
        false
    }
}

/// How a lookup ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// NOERROR with an answer; also a CNAME chain that loops or is longer than `limits::ZONE_CNAME_CHAIN`.
    Success,
    /// NXDOMAIN: the last name of the chain does not exist.
    NameError,
    /// NOERROR: the last name exists, or is matched by a wildcard, without the type.
    NoData,
    /// A referral: NOERROR without AA.
    Delegation,
    /// YXDOMAIN: a DNAME makes a name longer than 255 octets (RFC 6672 section 2.2).
    NameTooLong,
    /// The answer section ends in a CNAME whose target the caller must look up, then call `Zone::finish_chase`.
    Chase,
    /// The name is not in this zone; nothing was pushed.
    OutsideZone,
}

/// The result beside the records.
pub struct Outcome {
    /// How it ended.
    pub kind: Kind,
    /// With `Kind::Chase`: the name to look up, lower-cased.
    pub target: Option<Box<WireName>>,
    wildcard: u32,
    proofs: NodeList<PROOFS>,
    may_fall_through: bool,
}

impl Outcome {
    /// Whether the AA flag is set: on all but pure referrals.
    pub fn authoritative(&self) -> bool {
        self.kind != Kind::Delegation
    }

    /// Whether CoreDNS's option `fallthrough` applies: nothing was pushed to the answer section, and the name does not
    /// exist or has no records of its own (an empty non-terminal, a wildcard without the type).
    pub fn may_fall_through(&self) -> bool {
        self.may_fall_through
    }

    /// The wildcard that made (the last part of) the answer, for the metadata label `zone/wildcard`.
    pub fn wildcard(&self, zone: &Zone) -> Option<WireName> {
        (self.wildcard != NONE).then(|| zone.name(self.wildcard))
    }
}

/// A few nodes without an allocation.
#[derive(Clone, Copy)]
struct NodeList<const N: usize> {
    nodes: [u32; N],
    len: usize,
}

/// NSEC owners of the proofs: one per wildcard of a chain, two for the name that ends it.
const PROOFS: usize = limits::ZONE_CNAME_CHAIN + 3;

impl Zone {
    /// Looks up a lower-cased, uncompressed wire name. `dnssec` is the DO bit of the query.
    pub fn lookup(&self, name: &[u8], qtype: u16, dnssec: bool, sink: &mut impl Sink) -> Outcome {
        Lookup::new(self, qtype, dnssec, sink).run(name)
    }

    /// Completes a reply that ended in `Kind::Chase`, after the target's records went into the answer section.
    pub fn finish_chase(&self, outcome: &Outcome, dnssec: bool, sink: &mut impl Sink) {
        let mut lookup = Lookup::new(self, rtype::ANY, dnssec, sink);
        lookup.proofs = outcome.proofs;
        lookup.apex_set(rtype::NS);
        lookup.push_proofs();
    }
}

struct Lookup<'z, 's, S> {
    zone: &'z Zone,
    qtype: u16,
    /// DO was set and the zone is signed.
    dnssec: bool,
    sink: &'s mut S,
    wildcard: u32,
    proofs: NodeList<PROOFS>,
    /// The name asked has no records of its own.
    nameless: bool,
    /// DNAME owners in the answer section: a chain may pass one DNAME several times.
    dnames: NodeList<{ limits::ZONE_CNAME_CHAIN }>,
    /// Hashes of the owners of CNAMEs so far; their number is the length of the chain.
    seen: [u64; limits::ZONE_CNAME_CHAIN],
    chain: usize,
}

/// The next name of a chain.
#[allow(clippy::large_enum_variant)] // lives on the stack for one step; a box would allocate
enum Next<'z> {
    Stored(&'z [u8]),
    Made(WireName),
}

/// What one name of a chain led to.
enum Step<'z> {
    Done(Kind),
    Chase(WireName),
    Follow(Next<'z>),
}

impl<'z, 's, S: Sink> Lookup<'z, 's, S> {
    fn new(zone: &'z Zone, qtype: u16, dnssec: bool, sink: &'s mut S) -> Self {
        Self {
            zone,
            qtype,
            dnssec: dnssec && zone.is_signed(),
            sink,
            wildcard: NONE,
            proofs: NodeList::new(),
            nameless: false,
            dnames: NodeList::new(),
            seen: [0; limits::ZONE_CNAME_CHAIN],
            chain: 0,
        }
    }

    fn run(mut self, name: &[u8]) -> Outcome {
        let mut step = self.step(name);
        loop {
            let next = match step {
                Step::Done(kind) => return self.outcome(kind, None),
                Step::Chase(target) => {
                    return self.outcome(Kind::Chase, Some(Box::new(target)));
                }
                Step::Follow(next) => next,
            };
            let name = match &next {
                Next::Stored(name) => *name,
                Next::Made(name) => name.as_slice(),
            };
            if self.chain >= limits::ZONE_CNAME_CHAIN
                || self.seen[..self.chain].contains(&fingerprint(name))
            {
                self.apex_set(rtype::NS);
                self.push_proofs();
                return self.outcome(Kind::Success, None);
            }
            step = self.step(name);
        }
    }

    fn outcome(self, kind: Kind, target: Option<Box<WireName>>) -> Outcome {
        Outcome {
            kind,
            target,
            wildcard: self.wildcard,
            proofs: self.proofs,
            may_fall_through: self.chain == 0
                && (kind == Kind::NameError || kind == Kind::NoData && self.nameless),
        }
    }

    fn step(&mut self, name: &[u8]) -> Step<'z> {
        let zone = self.zone;
        let Some(relative) = WireName::below(name, zone.origin_wire()) else {
            return if self.chain == 0 {
                Step::Done(Kind::OutsideZone)
            } else {
                chase(name)
            };
        };
        let found = zone.find(name, relative, hash(name));
        if self.chain > 0 {
            let exists = matches!(found, Found::Node(node) if !zone.sets(node).is_empty());
            if self.sink.elsewhere(name, exists) {
                return chase(name);
            }
        }
        match found {
            Found::Node(node) => match zone.node(node).above() {
                NONE if zone.node(node).flags & IS_CUT != 0 && self.qtype != rtype::DS => {
                    self.cut(node, name)
                }
                NONE => self.answer(node, name),
                above => self.hidden(above, name),
            },
            Found::Encloser(node) => {
                let encloser = zone.node(node);
                if encloser.above() != NONE {
                    self.hidden(encloser.above(), name)
                } else if encloser.flags & (IS_CUT | IS_DNAME) != 0 {
                    self.hidden(node, name)
                } else {
                    self.below(node, name, relative)
                }
            }
        }
    }

    /// `name` is below a DNAME or a cut.
    fn hidden(&mut self, above: u32, name: &[u8]) -> Step<'z> {
        let zone = self.zone;
        let Some(set) = zone.set(above, rtype::DNAME) else {
            return self.cut(above, name);
        };
        let (prefix, owner) = self.split(above, name);
        if !self.dnames.contains(above) {
            self.dnames.add(above);
            self.push_set(Section::Answer, owner, &set);
            self.push_signatures(Section::Answer, owner, above, rtype::DNAME);
        }
        let target = set.records().next().unwrap_or(&[0]);
        let Some(target) = WireName::join(prefix, target) else {
            self.apex_set(rtype::NS);
            return Step::Done(Kind::NameTooLong);
        };
        self.sink.push(
            Section::Answer,
            name,
            rtype::CNAME,
            CLASS_IN,
            set.ttl,
            target.as_slice(),
        );
        self.note(name);
        if self.qtype == rtype::CNAME {
            return self.success();
        }
        Step::Follow(Next::Made(target.lowered()))
    }

    /// `name` is at or below a zone cut: refer, or let the caller find who serves the child zone.
    fn cut(&mut self, cut: u32, name: &[u8]) -> Step<'z> {
        if self.chain > 0 {
            return chase(name);
        }
        let zone = self.zone;
        let owner = self.split(cut, name).1;
        let Some(servers) = zone.set(cut, rtype::NS) else {
            return Step::Done(Kind::NoData); // a cut has NS records
        };
        self.push_set(Section::Authority, owner, &servers);
        if self.dnssec {
            // RFC 4035 section 3.1.4: the DS records, or the NSEC record that proves that there are none.
            let proof = if zone.set(cut, rtype::DS).is_some() {
                rtype::DS
            } else {
                rtype::NSEC
            };
            self.push_typed(Section::Authority, owner, cut, proof);
        }
        // Glue in the child zone first: it is what a resolver cannot do without (RFC 9471).
        let in_child = |target: &[u8]| WireName::below(target, owner).is_some();
        let mut shown = NodeList::new();
        self.addresses(&servers, 0, &mut shown, in_child);
        self.addresses(&servers, 0, &mut shown, |target| !in_child(target));
        Step::Done(Kind::Delegation)
    }

    /// `name` does not exist; `encloser` is its closest encloser.
    fn below(&mut self, encloser: u32, name: &[u8], relative: &[u8]) -> Step<'z> {
        let zone = self.zone;
        let wildcard = match zone.node(encloser).flags & HAS_WILDCARD {
            0 => None,
            _ => zone.wildcard_of(encloser),
        };
        if let Some(wildcard) = wildcard {
            self.wildcard = wildcard;
            if self.dnssec {
                // No closer match than the wildcard (RFC 4035 section 3.1.3.3).
                self.prove(zone.nsec_before(relative));
            }
            return self.answer(wildcard, name);
        }
        self.apex_set(rtype::SOA);
        if self.dnssec {
            self.prove(zone.nsec_before(relative));
            self.prove(zone.nsec_before_wildcard(encloser));
        }
        self.push_proofs();
        Step::Done(Kind::NameError)
    }

    /// `name` is answered by `node`: the name itself, or a wildcard that covers it.
    fn answer(&mut self, node: u32, name: &[u8]) -> Step<'z> {
        let zone = self.zone;
        // NSEC and RRSIG records stand beside a CNAME (RFC 4034 sections 3 and 4).
        if !matches!(self.qtype, rtype::CNAME | rtype::NSEC | rtype::RRSIG)
            && let Some(cname) = zone.set(node, rtype::CNAME)
        {
            self.push_set(Section::Answer, name, &cname);
            self.push_signatures(Section::Answer, name, node, rtype::CNAME);
            self.note(name);
            return Step::Follow(Next::Stored(cname.records().next().unwrap_or(&[0])));
        }
        if self.qtype == rtype::RRSIG {
            let mut found = false;
            for set in zone.sets(node).filter(|set| set.rtype == rtype::RRSIG) {
                self.push_set(Section::Answer, name, &set);
                found = true;
            }
            return if found {
                self.success()
            } else {
                self.no_data(node)
            };
        }
        let Some(set) = zone.set(node, self.qtype) else {
            return self.no_data(node);
        };
        self.push_set(Section::Answer, name, &set);
        self.push_signatures(Section::Answer, name, node, self.qtype);
        if node == 0 && self.qtype == rtype::NS {
            self.push_proofs();
        } else {
            self.success();
        }
        if self.chain == 0 {
            match self.qtype {
                rtype::NS => self.addresses(&set, 0, &mut NodeList::new(), |_| true),
                rtype::MX | rtype::SVCB | rtype::HTTPS => {
                    self.addresses(&set, 2, &mut NodeList::new(), |_| true)
                }
                rtype::SRV => self.addresses(&set, 6, &mut NodeList::new(), |_| true),
                _ => {}
            }
        }
        Step::Done(Kind::Success)
    }

    fn no_data(&mut self, node: u32) -> Step<'z> {
        self.nameless = self.wildcard != NONE || self.zone.sets(node).is_empty();
        self.apex_set(rtype::SOA);
        if self.dnssec {
            // An empty non-terminal has no NSEC record of its own: the one before spans it.
            self.prove(self.zone.nsec_at(node));
        }
        self.push_proofs();
        Step::Done(Kind::NoData)
    }

    /// Completes the authority section of a positive answer.
    fn success(&mut self) -> Step<'z> {
        self.apex_set(rtype::NS);
        self.push_proofs();
        Step::Done(Kind::Success)
    }

    /// Pushes the addresses that the zone holds of the names at `offset` in the records of `set`, once for each node.
    fn addresses(
        &mut self,
        set: &Rrset<'_>,
        offset: usize,
        shown: &mut NodeList<{ limits::ZONE_ADDITIONAL_NAMES }>,
        wanted: impl Fn(&[u8]) -> bool,
    ) {
        let zone = self.zone;
        for rdata in set.records() {
            let rest = rdata.get(offset..).unwrap_or_default();
            let Some(target) = name_octets(rest).and_then(|len| WireName::from_wire(&rest[..len]))
            else {
                continue;
            };
            let target = target.lowered();
            let target = target.as_slice();
            let Some(relative) =
                WireName::below(target, zone.origin_wire()).filter(|_| wanted(target))
            else {
                continue;
            };
            let Some(node) = zone.probe(relative, hash(target)) else {
                continue;
            };
            if shown.contains(node) || !shown.add(node) {
                continue;
            }
            self.push_typed(Section::Additional, target, node, rtype::A);
            self.push_typed(Section::Additional, target, node, rtype::AAAA);
        }
    }

    // --- records to the sink ---

    fn push_set(&mut self, section: Section, owner: &[u8], set: &Rrset<'_>) {
        for rdata in set.records() {
            self.sink
                .push(section, owner, set.rtype, CLASS_IN, set.ttl, rdata);
        }
    }

    fn push_signatures(&mut self, section: Section, owner: &[u8], node: u32, covered: u16) {
        if self.dnssec
            && let Some(set) = self.zone.signatures(node, covered)
        {
            self.push_set(section, owner, &set);
        }
    }

    /// Pushes the RRset of one type with its signatures, if the node has it.
    fn push_typed(&mut self, section: Section, owner: &[u8], node: u32, rtype: u16) {
        if let Some(set) = self.zone.set(node, rtype) {
            self.push_set(section, owner, &set);
            self.push_signatures(section, owner, node, rtype);
        }
    }

    fn apex_set(&mut self, rtype: u16) {
        let zone = self.zone;
        self.push_typed(Section::Authority, zone.origin_wire(), 0, rtype);
    }

    fn prove(&mut self, nsec: Option<u32>) {
        if let Some(node) = nsec.filter(|&node| !self.proofs.contains(node)) {
            self.proofs.add(node);
        }
    }

    fn push_proofs(&mut self) {
        for nth in 0..self.proofs.len {
            let node = self.proofs.nodes[nth];
            let owner = self.zone.name(node);
            self.push_typed(Section::Authority, owner.as_slice(), node, rtype::NSEC);
        }
    }

    // --- names ---

    /// Splits `name` before the name of `node`, which is `name` or above it.
    fn split<'n>(&self, node: u32, name: &'n [u8]) -> (&'n [u8], &'n [u8]) {
        let len = self.zone.node(node).relative.len() + self.zone.origin_wire().len();
        name.split_at(name.len() - len)
    }

    /// Counts the CNAME record of `name` as part of the chain.
    fn note(&mut self, name: &[u8]) {
        if let Some(slot) = self.seen.get_mut(self.chain) {
            *slot = fingerprint(name);
            self.chain += 1;
        }
    }
}

// === impl NodeList ===

impl<const N: usize> NodeList<N> {
    const fn new() -> Self {
        Self {
            nodes: [0; N],
            len: 0,
        }
    }

    fn as_slice(&self) -> &[u32] {
        &self.nodes[..self.len]
    }

    fn contains(&self, node: u32) -> bool {
        self.as_slice().contains(&node)
    }

    /// `false` if the list is full.
    fn add(&mut self, node: u32) -> bool {
        let Some(slot) = self.nodes.get_mut(self.len) else {
            return false;
        };
        *slot = node;
        self.len += 1;
        true
    }
}

fn chase<'z>(name: &[u8]) -> Step<'z> {
    Step::Chase(WireName::from_wire(name).unwrap_or(WireName::ROOT))
}

/// Of a name, to detect loops; a collision would end a chain early, at odds of 2^-60.
fn fingerprint(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    })
}
