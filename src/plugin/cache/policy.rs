//! What is kept, for how long, and which of two entries answers. No state, no clock.

use super::{Config, Limits, Stale};
use crate::cache::{Entry, Found, Table};
use crate::limits;
use crate::wire::rcode::Rcode;
use crate::wire::reply::{Record, Reply, Section};
use crate::wire::types;

/// The entry that answers.
#[derive(Clone, Copy)]
pub(super) enum Choice<'p> {
    /// Within its lifetime.
    Fresh(Entry<'p>),
    /// Past it, but within what *serve_stale* allows.
    Stale(Entry<'p>, &'p Stale),
}

/// What a reply is to the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It leads from the question to records of the type asked for.
    Answer,
    /// NOERROR with neither answer nor SOA nor NS.
    Empty,
    /// A referral.
    Delegation,
    /// NXDOMAIN or NODATA with a SOA record (RFC 2308 section 5).
    Denial,
    /// SERVFAIL or NOTIMP.
    Failure,
    /// Not kept.
    Other,
}

impl Kind {
    /// The table it belongs to.
    pub(super) fn table(self) -> Option<Table> {
        match self {
            Kind::Answer | Kind::Empty | Kind::Delegation => Some(Table::Success),
            Kind::Denial | Kind::Failure => Some(Table::Denial),
            Kind::Other => None,
        }
    }
}

impl Config {
    pub(super) fn limits(&self, table: Table) -> &Limits {
        match table {
            Table::Success => &self.success,
            Table::Denial => &self.denial,
        }
    }

    /// The TTL that all records of a reply get, in the reply itself and in the store.
    pub(super) fn ttl_s(&self, kind: Kind, reply: &Reply) -> u32 {
        let own = match kind {
            Kind::Failure => return self.servfail_ttl_s,
            Kind::Answer | Kind::Empty | Kind::Denial => reply.min_ttl().unwrap_or(SHORT_TTL_S),
            Kind::Delegation | Kind::Other => SHORT_TTL_S,
        };
        let limits = match kind {
            Kind::Denial => &self.denial,
            _ => &self.success,
        };
        // In this order: a maximum below the minimum wins.
        own.max(limits.ttl_min_s).min(limits.ttl_max_s)
    }
}

/// Chooses between what the two tables have.
#[inline(always)] // its outcome would be returned through memory
pub(super) fn choose<'p>(config: &'p Config, found: Found<'p>, now_ns: u64) -> Option<Choice<'p>> {
    let usable = |entry: Entry<'p>| {
        let left = entry.ttl_left_s(now_ns);
        if left > 0 {
            return Some(Choice::Fresh(entry));
        }
        let stale = config.stale.as_ref()?;
        // A failure is no answer to fall back on.
        let within = -left < i64::from(stale.up_to_s) && !is_failure(&entry);
        within.then_some(Choice::Stale(entry, stale))
    };
    let success = found.success.and_then(usable);
    let denial = found.denial.and_then(usable);
    match (denial, success) {
        (Some(Choice::Fresh(denial)), Some(_)) if is_failure(&denial) => success,
        // The later of the two was asked because the other had expired.
        (Some(Choice::Stale(..)), Some(Choice::Fresh(_))) => success,
        (Some(_), Some(Choice::Fresh(entry) | Choice::Stale(entry, _)))
            if config.prefer_positive && entry.answer_count() > 0 =>
        {
            success
        }
        (Some(_), _) => denial,
        (None, _) => success,
    }
}

/// Classifies an opened reply to a query for `name` (lower-case wire form) and `qtype`. `wall_s` is the time against which
/// signatures are judged, where the client wants them.
pub(super) fn classify(reply: &Reply, name: &[u8], qtype: u16, wall_s: Option<u64>) -> Kind {
    if wall_s.is_some_and(|wall_s| has_invalid_signature(reply, wall_s as u32)) {
        return Kind::Other;
    }
    let in_authority = |rtype| {
        reply
            .section(Section::Authority)
            .any(|record| record.rtype == rtype)
    };
    match reply.rcode {
        Rcode::NOERROR => {}
        Rcode::NXDOMAIN if in_authority(types::SOA) => return Kind::Denial,
        Rcode::SERVFAIL | Rcode::NOTIMP => return Kind::Failure,
        _ => return Kind::Other,
    }
    let has_answer = reply.section(Section::Answer).next().is_some();
    if has_answer && answers(reply, name, qtype) {
        return Kind::Answer;
    }
    if in_authority(types::SOA) {
        Kind::Denial
    } else if has_answer {
        Kind::Other
    } else if in_authority(types::NS) {
        Kind::Delegation
    } else {
        Kind::Empty
    }
}

/// Whether the answer section leads from `name`, over CNAME records if need be, to a record of `qtype`.
fn answers(reply: &Reply, name: &[u8], qtype: u16) -> bool {
    let mut at = name;
    for _ in 0..limits::CACHE_CNAME_STEPS {
        let mut alias = None;
        for record in reply.section(Section::Answer) {
            if !reply.owner(record).eq_ignore_ascii_case(at) {
                continue;
            }
            if record.rtype == qtype || qtype == types::ANY {
                return true;
            }
            if record.rtype == types::CNAME {
                alias = Some(reply.rdata(record));
            }
        }
        match alias {
            Some(target) => at = target,
            None => return false,
        }
    }
    false
}

/// Whether any RRSIG is past its end or before its beginning, in the arithmetic of RFC 4034 section 3.1.5.
fn has_invalid_signature(reply: &Reply, wall_s: u32) -> bool {
    let invalid = |record: &Record| {
        let rdata = reply.rdata(record);
        let time = |at: usize| match rdata.get(at..at + 4) {
            Some(octets) => u32::from_be_bytes([octets[0], octets[1], octets[2], octets[3]]),
            None => wall_s,
        };
        let (expiration, inception) = (time(8), time(12));
        (expiration.wrapping_sub(wall_s) as i32) < 0 || (wall_s.wrapping_sub(inception) as i32) < 0
    };
    reply
        .records()
        .iter()
        .any(|record| record.rtype == types::RRSIG && invalid(record))
}

fn is_failure(entry: &Entry<'_>) -> bool {
    let rcode = Rcode(u16::from(entry.rcode()));
    rcode == Rcode::SERVFAIL || rcode == Rcode::NOTIMP
}

/// What is kept of an answer that says nothing of its lifetime.
const SHORT_TTL_S: u32 = 5;
