//! Lookups written into a reply, for every plugin that serves zones.

use super::lookup::{Kind, Outcome, Section, Sink};
use super::tree::Zone;
use crate::wire::rcode::Rcode;
use crate::wire::reply::{Record, Reply};
use crate::wire::{flag, types};

impl Zone {
    /// Answers a lower-cased wire name into a reply that was just started: records, AA and rcode. See [`Sink::elsewhere`] for
    /// the closure. After `Kind::Chase` the reply holds all but the end of the chain; look `Outcome::target` up and [`join`] it.
    pub fn answer(
        &self,
        name: &[u8],
        qtype: u16,
        dnssec: bool,
        reply: &mut Reply,
        elsewhere: impl FnMut(&[u8], bool) -> bool,
    ) -> Outcome {
        let mut sink = ReplySink { reply, elsewhere };
        let outcome = self.lookup(name, qtype, dnssec, &mut sink);
        if outcome.kind == Kind::Chase {
            self.finish_chase(&outcome, dnssec, &mut sink);
        }
        reply.set_flag(flag::AA, outcome.authoritative());
        reply.rcode = match outcome.kind {
            Kind::NameError => Rcode::NXDOMAIN,
            Kind::NameTooLong => Rcode::YXDOMAIN,
            _ => Rcode::NOERROR,
        };
        outcome
    }
}

/// Adds what a lookup of the chain's end gave: its rcode, and from its reply, if there was one, the answers and what proves them.
pub fn join(reply: &mut Reply, rcode: Rcode, end: Option<&Reply>) {
    // RFC 6604 section 3: the rcode is that of the last name. A name that nobody here serves leaves the bare CNAME.
    reply.rcode = match rcode {
        Rcode::NXDOMAIN | Rcode::SERVFAIL => rcode,
        _ => Rcode::NOERROR,
    };
    let Some(end) = end else {
        return;
    };
    let authority = || end.section(Section::Authority);
    let is_negative = authority().any(|record| record.rtype == types::SOA);
    if is_negative {
        // The SOA of the zone that says no stands in place of our servers (RFC 2308 section 2).
        let ours: Vec<bool> = reply
            .records()
            .iter()
            .map(|record| concerns(reply, record, &[types::NS]))
            .collect();
        let mut ours = ours.into_iter();
        reply.retain(|record| {
            !(ours.next().unwrap_or(false) && record.section == Section::Authority)
        });
    }
    // Records of a loop come again; only what was there before is compared, so that the work stays linear.
    let before = reply.records().len();
    for record in end.section(Section::Answer) {
        push_new(reply, before, end, record);
    }
    for record in authority() {
        if is_negative || concerns(end, record, &[types::NSEC, types::NSEC3]) {
            push_new(reply, before, end, record);
        }
    }
}

/// Whether the record is of one of the types, or a signature of one.
fn concerns(reply: &Reply, record: &Record, rtypes: &[u16]) -> bool {
    let rtype = match (record.rtype, reply.rdata(record)) {
        (types::RRSIG, &[high, low, ..]) => u16::from_be_bytes([high, low]),
        (rtype, _) => rtype,
    };
    rtypes.contains(&rtype)
}

/// Copies a record unless it is among the first `before` records of its section.
fn push_new(reply: &mut Reply, before: usize, from: &Reply, record: &Record) {
    let (owner, rdata) = (from.owner(record), from.rdata(record));
    let same = |other: &Record| {
        (other.section, other.rtype) == (record.section, record.rtype)
            && reply.owner(other).eq_ignore_ascii_case(owner)
            && reply.rdata(other) == rdata
    };
    if !reply.records()[..before].iter().any(same) {
        reply.push(
            record.section,
            owner,
            record.rtype,
            record.class,
            record.ttl,
            rdata,
        );
    }
}

struct ReplySink<'a, F> {
    reply: &'a mut Reply,
    elsewhere: F,
}

impl<F: FnMut(&[u8], bool) -> bool> Sink for ReplySink<'_, F> {
    fn push(
        &mut self,
        section: Section,
        owner: &[u8],
        rtype: u16,
        class: u16,
        ttl: u32,
        rdata: &[u8],
    ) {
        self.reply.push(section, owner, rtype, class, ttl, rdata);
    }

    fn elsewhere(&mut self, target: &[u8], exists: bool) -> bool {
        (self.elsewhere)(target, exists)
    }
}
