//! What is counted for each upstream, under CoreDNS's names.

use std::cell::RefCell;

use crate::limits;
use crate::telemetry::dns::TIME_BUCKETS;
use crate::telemetry::metrics::{Counter, Histogram, registry};
use crate::wire::rcode::Rcode;

/// One core's cells of one upstream.
pub(super) struct Metrics {
    /// None where the plugin counts by itself.
    proxy: Option<&'static str>,
    to: String,
    /// By rcode; `None` collects the rest.
    durations: RefCell<Vec<(Option<Rcode>, Histogram)>>,
}

/// Uses of kept sockets of one protocol.
pub(super) struct Cache {
    hits: Counter,
    misses: Counter,
}

/// Handshakes of one core with one upstream.
pub(super) struct Handshakes {
    pub(super) full: Counter,
    pub(super) resumed: Counter,
}

impl Metrics {
    pub(super) fn new(proxy: Option<&'static str>, to: &str) -> Metrics {
        Metrics {
            proxy,
            to: to.to_owned(),
            durations: RefCell::new(Vec::new()),
        }
    }

    /// The uses of one protocol.
    pub(super) fn cache(&self, proto: &str) -> Option<Cache> {
        Some(Cache::new(self.proxy?, &self.to, proto))
    }

    /// Counts an answered exchange.
    pub(super) fn observe(&self, rcode: Rcode, ns: u64) {
        let Some(proxy) = self.proxy else {
            return;
        };
        let mut durations = self.durations.borrow_mut();
        if let Some(row) = durations.iter().find(|row| row.0 == Some(rcode)) {
            return row.1.observe_ns(ns);
        }
        let (key, label) = if durations.len() < limits::UPSTREAM_RCODE_SERIES {
            (Some(rcode), rcode.to_string())
        } else {
            (None, "other".to_owned())
        };
        if let Some(row) = durations.iter().find(|row| row.0 == key) {
            return row.1.observe_ns(ns);
        }
        let histogram = registry().histogram(
            "coredns_proxy_request_duration_seconds",
            "Time of one exchange with an upstream.",
            TIME_BUCKETS,
            &[("proxy_name", proxy), ("to", &self.to), ("rcode", &label)],
        );
        histogram.observe_ns(ns);
        durations.push((key, histogram));
    }
}

impl Cache {
    /// Counts an exchange.
    pub(super) fn count(&self, is_hit: bool) {
        match is_hit {
            true => self.hits.inc(),
            false => self.misses.inc(),
        }
    }

    fn new(proxy: &'static str, to: &str, proto: &str) -> Cache {
        let labels = [("proxy_name", proxy), ("to", to), ("proto", proto)];
        let registry = registry();
        Cache {
            hits: registry.counter(
                "coredns_proxy_conn_cache_hits_total",
                "Exchanges over a kept socket.",
                &labels,
            ),
            misses: registry.counter(
                "coredns_proxy_conn_cache_misses_total",
                "Exchanges that needed a new socket.",
                &labels,
            ),
        }
    }
}

impl Handshakes {
    pub(super) fn new(to: &str) -> Handshakes {
        let counter = |kind| {
            registry().counter(
                "percoredns_upstream_handshakes_total",
                "TLS handshakes with upstreams.",
                &[("to", to), ("kind", kind)],
            )
        };
        Handshakes {
            full: counter("full"),
            resumed: counter("resumed"),
        }
    }
}
