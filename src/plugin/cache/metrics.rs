//! Counters of one thread, by server and view; gauges of the store.

use std::sync::Arc;

use crate::cache::{Store, Table};
use crate::corefile::ZoneName;
use crate::plugin::{Query, Site};
use crate::telemetry::metrics::{Counter, GaugeGuard, registry};

/// One thread's counters.
pub(super) struct Metrics {
    /// Which of `sets` a site counts in.
    set_of_site: Vec<usize>,
    sets: Vec<Counters>,
}

/// The counters of one server address and view.
pub(super) struct Counters {
    pub(super) requests: Counter,
    pub(super) misses: Counter,
    pub(super) prefetches: Counter,
    pub(super) drops: Counter,
    pub(super) served_stale: Counter,
    hits: [Counter; 2],
    evictions: [Counter; 2],
}

impl Metrics {
    pub(super) fn new(sites: &[Site], zones: &str) -> Metrics {
        let (set_of_site, distinct) = distinct(sites);
        let sets = distinct
            .into_iter()
            .map(|(server, view)| Counters::new(server, zones, view))
            .collect();
        Metrics { set_of_site, sets }
    }

    /// The counters of the site that the query came in on.
    pub(super) fn of(&self, query: &Query) -> &Counters {
        self.of_site(query.route.site)
    }

    /// The counters of a site of the block.
    pub(super) fn of_site(&self, site: u16) -> &Counters {
        let site = usize::from(site);
        // There is always one set, see `distinct`.
        &self.sets[self.set_of_site.get(site).copied().unwrap_or(0)]
    }
}

impl Counters {
    fn new(server: &str, zones: &str, view: &str) -> Counters {
        let labels = [("server", server), ("zones", zones), ("view", view)];
        let plain = |name, help| registry().counter(name, help, &labels);
        let typed = |name, help| {
            TYPES.map(|kind| {
                let labels = [labels[0], ("type", kind), labels[1], labels[2]];
                registry().counter(name, help, &labels)
            })
        };
        Counters {
            requests: plain(
                "coredns_cache_requests_total",
                "Queries that reached the cache.",
            ),
            misses: plain(
                "coredns_cache_misses_total",
                "Queries that the cache could not answer.",
            ),
            prefetches: plain(
                "coredns_cache_prefetch_total",
                "Refreshes in the background.",
            ),
            drops: plain(
                "coredns_cache_drops_total",
                "Replies that could not be stored.",
            ),
            served_stale: plain(
                "coredns_cache_served_stale_total",
                "Replies made of expired entries.",
            ),
            hits: typed(
                "coredns_cache_hits_total",
                "Queries that an entry was found for.",
            ),
            evictions: typed(
                "coredns_cache_evictions_total",
                "Entries pushed out by others.",
            ),
        }
    }

    pub(super) fn hit(&self, table: Table) {
        self.hits[table as usize].inc();
    }

    pub(super) fn evicted(&self, table: Table, count: usize) {
        self.evictions[table as usize].add(count as u64);
    }
}

/// `coredns_cache_entries` and `percoredns_cache_octets` for both tables under every server and view.
pub(super) fn gauges(store: &Arc<Store>, sites: &[Site], zones: &str) -> Vec<GaugeGuard> {
    let mut guards = Vec::new();
    for (server, view) in distinct(sites).1 {
        for (table, kind) in [(Table::Success, TYPES[0]), (Table::Denial, TYPES[1])] {
            let labels = [
                ("server", server),
                ("type", kind),
                ("zones", zones),
                ("view", view),
            ];
            let (entries, octets) = (Arc::clone(store), Arc::clone(store));
            guards.push(registry().gauge_fn(
                "coredns_cache_entries",
                "Entries in the cache.",
                &labels,
                move || entries.len(table) as f64,
            ));
            guards.push(registry().gauge_fn(
                "percoredns_cache_octets",
                "Octets that the entries of the cache take, without its index.",
                &labels,
                move || octets.octets(table) as f64,
            ));
        }
    }
    guards
}

/// The `zones` label.
pub(super) fn zones_label(zones: &[ZoneName]) -> String {
    let names: Vec<&str> = zones.iter().map(ZoneName::as_str).collect();
    names.join(",")
}

/// The distinct pairs of server and view, at least one, and which of them each site has.
fn distinct(sites: &[Site]) -> (Vec<usize>, Vec<(&str, &str)>) {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let mut of_site = Vec::new();
    for site in sites {
        let pair = (site.server.as_str(), site.view.as_str());
        let at = pairs.iter().position(|known| *known == pair);
        of_site.push(at.unwrap_or(pairs.len()));
        if at.is_none() {
            pairs.push(pair);
        }
    }
    if pairs.is_empty() {
        pairs.push(("", ""));
    }
    (of_site, pairs)
}

/// Values of the label `type`, in the order of `Table`.
const TYPES: [&str; 2] = ["success", "denial"];
