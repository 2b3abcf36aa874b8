//! What is counted of requests to the API server, under CoreDNS's names.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::telemetry::metrics::{Histogram, SharedCounter, registry};

/// Cells of one server. Requests are rare, so a lock costs nothing that shows.
pub(super) struct Metrics(Mutex<Cells>);

struct Cells {
    host: String,
    requests: Histogram,
    limiter: Histogram,
    /// By HTTP status; 0 where there was no response. Servers use a handful, and there are no more than a thousand.
    codes: BTreeMap<u16, SharedCounter>,
}

impl Metrics {
    pub(super) fn new(host: &str) -> Metrics {
        let labels = [("verb", "GET"), ("host", host)];
        let registry = registry();
        Metrics(Mutex::new(Cells {
            host: host.to_owned(),
            requests: registry.histogram(
                "coredns_kubernetes_rest_client_request_duration_seconds",
                "Time until the Kubernetes API responded to a request.",
                BUCKETS,
                &labels,
            ),
            limiter: registry.histogram(
                "coredns_kubernetes_rest_client_rate_limiter_duration_seconds",
                "Time for which a request to the Kubernetes API was held back.",
                BUCKETS,
                &labels,
            ),
            codes: BTreeMap::new(),
        }))
    }

    /// A request left.
    pub(super) fn left_after(&self, held: Duration) {
        self.with(|cells| cells.limiter.observe_ns(ns(held)));
    }

    /// A response came, or none.
    pub(super) fn done_after(&self, took: Duration, code: Option<u16>) {
        self.with(|cells| {
            cells.requests.observe_ns(ns(took));
            let label = match code {
                Some(code) => code.to_string(),
                None => "<error>".to_owned(),
            };
            let labels = [("code", &*label), ("method", "GET"), ("host", &*cells.host)];
            let counter = cells.codes.entry(code.unwrap_or(0)).or_insert_with(|| {
                registry().shared_counter(
                    "coredns_kubernetes_rest_client_requests_total",
                    "Requests to the Kubernetes API, by status.",
                    &labels,
                )
            });
            counter.inc();
        });
    }

    fn with(&self, body: impl FnOnce(&mut Cells)) {
        body(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds; Prometheus's defaults, which CoreDNS has here.
const BUCKETS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
