//! *cache*: answers from memory what was asked before.
//!
//! ```text
//!   on_query (any thread)  --fresh-->  reply
//!        |                 --stale, immediate-->  reply, refresh in the background
//!        miss, or stale to be verified: park for the key's home core
//!        v
//!   wait_query (home core) --somebody asks already--> wait for that answer
//!                          --else--> run the rest of the chain, store, hand the answer to all who wait
//! ```

mod ask;
mod budget;
mod keep;
mod metrics;
mod plain;
mod policy;
mod setup;
#[cfg(test)]
mod tests;
mod warm;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use self::ask::Outcome;
use self::metrics::Metrics;
use self::policy::Choice;
use crate::cache::{Entry, Flights, Key, Pin, ShardWriter, Store};
use crate::corefile::{Args, SetupError, ZoneName, longest_match};
use crate::limits;
use crate::plugin::{
    Fetch, Flow, Offers, OpenCx, PlainFlow, PlainPart, PlainQuery, Plugin, Query, Role, SetupCx,
    TaskCx,
};
use crate::runtime::local::Tx;
use crate::telemetry::metrics::GaugeGuard;
use crate::wire::flag;
use crate::wire::name::Text;
use crate::wire::plain::Plain;
use crate::wire::rcode::Rcode;

/// See the README beside this file.
pub struct Cache {
    desk: Rc<Desk>,
}

/// The directive as its block states it. All times of a table are whole seconds.
pub struct Config {
    zones: Vec<ZoneName>,
    success: Limits,
    denial: Limits,
    servfail_ttl_s: u32,
    keep_ttl: bool,
    prefetch: Option<Prefetch>,
    stale: Option<Stale>,
    prefer_positive: bool,
    kept: Arc<Kept>,
    /// A cluster that the block serves: its names are never kept.
    offers: Arc<Offers>,
}

/// What one of the two tables keeps, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Limits {
    /// Entries in total over all cores.
    capacity: usize,
    ttl_max_s: u32,
    ttl_min_s: u32,
    /// Names that are not kept.
    disabled: Vec<ZoneName>,
}

/// When an entry is asked for again before it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Prefetch {
    /// Hits without a gap.
    amount: u32,
    gap_ns: u64,
    /// Of the original lifetime that may be left.
    percent: u32,
}

impl Prefetch {
    /// Seconds of its lifetime with which an entry is due. Rounded up: at the smallest lifetimes the last second counts.
    fn threshold_s(&self, entry: &Entry<'_>) -> i64 {
        (u64::from(entry.ttl_s()) * u64::from(self.percent)).div_ceil(100) as i64
    }
}

/// How an expired entry is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stale {
    /// Seconds past its lifetime.
    up_to_s: u32,
    /// Ask before serving it, and for how long; 0 = as long as the upstream takes. None: serve at once.
    verify_ns: Option<u64>,
    reply_ttl_s: u32,
    /// Nanoseconds to leave the upstream alone after a refresh failed.
    recheck_ns: u64,
}

/// What outlives a configuration as long as its block stays the same.
struct Kept {
    store: Arc<Store>,
    /// `coredns_cache_entries` and the like: once for the store, however many configurations use it.
    gauges: OnceLock<Vec<GaugeGuard>>,
    /// Has the store written to the snapshot.
    _warmth: Option<Arc<warm::Keeper>>,
    /// Of the bound that `-tune` sets for all stores.
    _budget: Option<budget::Part>,
}

/// One thread's part; detached work holds on to it.
struct Desk {
    config: Arc<Config>,
    core: usize,
    /// On task threads.
    writer: Option<ShardWriter>,
    flights: RefCell<Flights<Tx<Outcome>>>,
    metrics: Metrics,
}

impl Plugin for Cache {
    type Config = Config;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
        setup::parse(args, cx)
    }

    fn open(config: &Arc<Config>, core: &OpenCx<'_>) -> Cache {
        let zones = metrics::zones_label(&config.zones);
        let store = &config.kept.store;
        config
            .kept
            .gauges
            .get_or_init(|| metrics::gauges(store, core.sites, &zones));
        let writer = match core.role {
            Role::Task => store.writer(core.core),
            Role::Packet => None,
        };
        let desk = Desk {
            config: Arc::clone(config),
            core: core.core,
            writer,
            flights: RefCell::new(Flights::new(
                limits::CACHE_FLIGHTS,
                limits::CACHE_FLIGHT_WAITERS,
            )),
            metrics: Metrics::new(core.sites, &zones),
        };
        Cache {
            desk: Rc::new(desk),
        }
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        self.desk.on_query(query)
    }

    fn plain_part(&self) -> PlainPart {
        PlainPart::Steps {
            query: true,
            reply: false,
            done: true,
            prefetch: self.desk.config.kept.store.capacity() >= limits::CACHE_LARGE,
        }
    }

    fn plain_prefetch(&self, plain: &Plain, what: Fetch) {
        self.desk.plain_prefetch(plain, what);
    }

    fn plain_query<'a>(&'a self, query: &mut PlainQuery<'a>, out: &mut [u8]) -> PlainFlow {
        self.desk.plain_query(query, out)
    }

    fn plain_done(&self, query: &PlainQuery<'_>, _: &[u8]) {
        self.desk.plain_done(query);
    }

    fn wait_query(&self, query: &mut Query, cx: &TaskCx) -> impl Future<Output = Flow> {
        self.desk.wait(query, cx)
    }

    async fn background(&self, query: &mut Query, cx: &TaskCx) {
        Rc::clone(&self.desk).background(query, cx).await;
    }
}

// === impl Desk: answers from memory ===

impl Desk {
    fn on_query(&self, query: &mut Query) -> Flow {
        if longest_match(&self.config.zones, query.name()).is_none() {
            return Flow::Next;
        }
        if self.config.offers.owns(query.name(), &Pin::new()) {
            return Flow::Next;
        }
        let counters = self.metrics.of(query);
        counters.requests.inc();
        // NOTIFY asks no question that an answer to a query would fit.
        if query.is_transfer() || query.opcode() != 0 {
            counters.misses.inc();
            return Flow::Next;
        }
        let pin = Pin::new();
        match self.look(&pin, query) {
            Some(Choice::Fresh(entry)) => {
                counters.hit(entry.table());
                self.prefetch(query, &entry);
                self.serve(query, &entry);
                return Flow::Reply;
            }
            Some(Choice::Stale(entry, stale)) => {
                counters.hit(entry.table());
                if self.rechecks_later(&entry, stale, query) || stale.verify_ns.is_none() {
                    self.refresh_behind(query, &entry, stale);
                    self.serve_stale(query, &entry, stale);
                    return Flow::Reply;
                }
            }
            None => counters.misses.inc(),
        }
        query.home = Some(self.config.kept.store.home(key(query).hash) as u16);
        Flow::Park
    }

    /// What the store has for the question.
    fn look<'p>(&'p self, pin: &'p Pin, query: &Query) -> Option<Choice<'p>> {
        let found = self.config.kept.store.lookup(pin, &key(query));
        policy::choose(&self.config, found, query.now_ns)
    }

    /// Whether a refresh failed so recently that the next is not due.
    fn rechecks_later(&self, entry: &Entry<'_>, stale: &Stale, query: &Query) -> bool {
        entry
            .since_failure_ns(query.now_ns)
            .is_some_and(|ns| ns < stale.recheck_ns)
    }

    /// Asks for a refresh after the reply if the entry is popular and about to expire.
    fn prefetch(&self, query: &mut Query, entry: &Entry<'_>) {
        let Some(prefetch) = self.config.prefetch else {
            return;
        };
        let hits = entry.record_hit(query.now_ns, prefetch.gap_ns);
        let left = entry.ttl_left_s(query.now_ns);
        if hits >= prefetch.amount
            && left <= prefetch.threshold_s(entry)
            && entry.claim_refresh(query.now_ns)
        {
            self.ask_behind(query);
        }
    }

    fn refresh_behind(&self, query: &mut Query, entry: &Entry<'_>, stale: &Stale) {
        if !self.rechecks_later(entry, stale, query) && entry.claim_refresh(query.now_ns) {
            self.ask_behind(query);
        }
    }

    fn ask_behind(&self, query: &mut Query) {
        self.metrics.of(query).prefetches.inc();
        query.background = Some(self.config.kept.store.home(key(query).hash) as u16);
    }

    fn serve(&self, query: &mut Query, entry: &Entry<'_>) {
        let left = entry.ttl_left_s(query.now_ns).clamp(0, i64::from(u32::MAX)) as u32;
        let ttl_s = if self.config.keep_ttl {
            entry.ttl_s()
        } else {
            left
        };
        reply(query, entry, ttl_s);
    }

    fn serve_stale(&self, query: &mut Query, entry: &Entry<'_>, stale: &Stale) {
        self.metrics.of(query).served_stale.inc();
        let ttl_s = match stale.reply_ttl_s {
            0 if self.config.keep_ttl => entry.ttl_s(),
            ttl_s => ttl_s,
        };
        reply(query, entry, ttl_s);
    }
}

/// The key of a query as it stands at this row; *rewrite* may have changed its name.
fn key(query: &Query) -> Key<'_> {
    Key::new(
        query.hash(),
        query.name(),
        query.qtype,
        query.qclass,
        query.dnssec_ok(),
        query.has_flag(flag::CD),
    )
}

/// Answers from an entry: AA always, as CoreDNS; AD only for who asked for it (RFC 6840 section 5.7).
fn reply(query: &mut Query, entry: &Entry<'_>, ttl_s: u32) {
    entry.mark_visited();
    let mut kept = flag::RA;
    if wants_ad(query) {
        kept |= flag::AD;
    }
    let copied = query.flags & (flag::RD | flag::CD);
    let is_rewritten = query.is_rewritten();
    query.error = None;
    query.writer = "";
    let reply = query.respond();
    reply.set_packed(entry.uncompressed_len(), |out| entry.append_to(out, ttl_s));
    reply.flags = (reply.flags & kept) | copied | flag::AA;
    // The stored question stands in for the client's own only while they have the same octets to patch.
    if is_rewritten && reply.open().is_err() {
        query.unwritten(Rcode::SERVFAIL);
    }
    let wildcard = entry.wildcard();
    if !wildcard.is_empty() {
        query
            .meta
            .set("zone/wildcard", || Text(wildcard).to_string());
    }
}

/// Whether the client may see AD.
fn wants_ad(query: &Query) -> bool {
    query.dnssec_ok() || query.has_flag(flag::AD)
}
