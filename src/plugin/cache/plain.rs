//! Hits on the short way: one copy of the stored reply, patched.

use super::policy::{self, Choice};
use super::{Desk, Prefetch};
use crate::cache::{Entry, Key, Patch};
use crate::corefile::longest_match;
use crate::plugin::{Fetch, PlainFlow, PlainQuery};
use crate::wire::plain::Plain;
use crate::wire::rcode::Rcode;
use crate::wire::{HEADER, flag, types};

impl Desk {
    pub(super) fn plain_prefetch(&self, plain: &Plain, what: Fetch) {
        let store = &self.config.kept.store;
        match what {
            Fetch::Index => store.prefetch_bucket(plain.question_hash),
            Fetch::Answer => store.prefetch_entry(plain.question_hash),
        }
    }

    /// A fresh entry that fits answers. Misses, stale entries, and one that is due to be asked for again go the long way.
    pub(super) fn plain_query<'a>(
        &'a self,
        query: &mut PlainQuery<'a>,
        out: &mut [u8],
    ) -> PlainFlow {
        let plain = query.plain;
        let is_mine = match &self.config.zones[..] {
            [zone] => zone.is_suffix_of(plain.name()),
            zones => longest_match(zones, plain.name()).is_some(),
        };
        if !is_mine || self.config.offers.owns(plain.name(), query.pin) {
            return PlainFlow::Next;
        }
        let found = self.config.kept.store.lookup(query.pin, &key(plain));
        let Some(Choice::Fresh(entry)) = policy::choose(&self.config, found, query.arrival.now_ns)
        else {
            return PlainFlow::Long;
        };
        let prefetch = self.config.prefetch.as_ref();
        if prefetch.is_some_and(|prefetch| self.is_due(prefetch, &entry, query.arrival.now_ns)) {
            return PlainFlow::Long;
        }
        let left = entry
            .ttl_left_s(query.arrival.now_ns)
            .clamp(0, i64::from(u32::MAX)) as u32;
        let ttl_s = if self.config.keep_ttl {
            entry.ttl_s()
        } else {
            left
        };
        let Some(len) = write(query, &entry, ttl_s, out) else {
            return PlainFlow::Long;
        };
        // The one trace that is left before the reply is certain: whoever answers in the end marks the entry too.
        entry.mark_visited();
        query.entry = Some(entry);
        query.written.len = len;
        query.written.uncompressed_len = entry.uncompressed_len();
        query.written.rcode = Rcode(u16::from(entry.rcode()));
        PlainFlow::Reply
    }

    pub(super) fn plain_done(&self, query: &PlainQuery<'_>) {
        // Without one, the name was not looked up here.
        let Some(entry) = &query.entry else { return };
        let counters = self.metrics.of_site(query.site);
        counters.requests.inc();
        counters.hit(entry.table());
        if let Some(prefetch) = &self.config.prefetch {
            entry.record_hit(query.arrival.now_ns, prefetch.gap_ns);
        }
    }

    /// Whether the next hit may have to ask for the entry again; the long way then counts that hit and decides.
    fn is_due(&self, prefetch: &Prefetch, entry: &Entry<'_>, now_ns: u64) -> bool {
        entry.hits().saturating_add(1) >= prefetch.amount
            && entry.ttl_left_s(now_ns) <= prefetch.threshold_s(entry)
    }
}

/// The reply for one client, without id and OPT record; see `super::reply` for the flags. `None` where it does not fit.
#[inline]
fn write(query: &PlainQuery<'_>, entry: &Entry<'_>, ttl_s: u32, out: &mut [u8]) -> Option<usize> {
    if entry.wire_len() > query.room() {
        return None;
    }
    let plain = query.plain;
    let wants_ad = plain.dnssec_ok || plain.has_flag(flag::AD);
    let kept = if wants_ad {
        flag::RA | flag::AD
    } else {
        flag::RA
    } | flag::QR
        | flag::RCODE;
    let qname_end = HEADER + plain.name().len();
    let patch = Patch {
        id: plain.id,
        flags: entry.flags() & kept | flag::AA,
        ttl_s,
        qname: query.message.get(HEADER..qname_end)?,
    };
    entry.write_reply(out, &patch)
}

fn key(plain: &Plain) -> Key<'_> {
    Key {
        hash: plain.question_hash,
        name: plain.name(),
        qtype: plain.qtype,
        qclass: types::CLASS_IN,
        dnssec_ok: plain.dnssec_ok,
        checking_disabled: plain.has_flag(flag::CD),
    }
}
