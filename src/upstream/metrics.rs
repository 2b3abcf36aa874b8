//! What is counted for each upstream, under CoreDNS's names.

use std::cell::RefCell;

use crate::limits;
use crate::telemetry::metrics::{Counter, Histogram, registry};
use crate::wire::rcode::Rcode;

/// One core's cells of one upstream.
pub(super) struct Metrics {
    proxy: &'static str,
    to: String,
    /// By rcode; `None` collects the rest.
    durations: RefCell<Vec<(Option<Rcode>, Histogram)>>,
    pub(super) udp: Cache,
    pub(super) tcp: Cache,
}

/// Uses of kept sockets of one protocol.
pub(super) struct Cache {
    pub(super) hits: Counter,
    pub(super) misses: Counter,
}

impl Metrics {
    pub(super) fn new(proxy: &'static str, to: &str) -> Metrics {
        Metrics {
            proxy,
            to: to.to_owned(),
            durations: RefCell::new(Vec::new()),
            udp: Cache::new(proxy, to, "udp"),
            tcp: Cache::new(proxy, to, "tcp"),
        }
    }

    /// Counts an answered exchange.
    pub(super) fn observe(&self, rcode: Rcode, ns: u64) {
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
            BUCKETS,
            &[
                ("proxy_name", self.proxy),
                ("to", &self.to),
                ("rcode", &label),
            ],
        );
        histogram.observe_ns(ns);
        durations.push((key, histogram));
    }
}

impl Cache {
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

/// Seconds: 0.25 ms doubled 15 times.
const BUCKETS: &[f64] = &[
    0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024,
    2.048, 4.096, 8.192,
];
