//! What is counted for each upstream, under CoreDNS's names. Only exchanges that were answered are.

use std::cell::RefCell;

use crate::limits;
use crate::telemetry::dns::TIME_BUCKETS;
use crate::telemetry::metrics::{Counter, Histogram, registry};
use crate::wire::rcode::Rcode;

/// One core's cells of one upstream.
pub(super) struct Metrics {
    to: String,
    requests: Counter,
    duration: Histogram,
    /// By rcode; `None` collects the rest.
    responses: RefCell<Vec<(Option<Rcode>, Counter)>>,
}

impl Metrics {
    pub(super) fn new(to: &str) -> Metrics {
        let labels = [("to", to)];
        Metrics {
            to: to.to_owned(),
            requests: registry().counter(
                "coredns_grpc_requests_total",
                "Requests that an upstream answered.",
                &labels,
            ),
            duration: registry().histogram(
                "coredns_grpc_request_duration_seconds",
                "Time of one request.",
                TIME_BUCKETS,
                &labels,
            ),
            responses: RefCell::default(),
        }
    }

    /// Counts an answered request.
    pub(super) fn observe(&self, rcode: Rcode, ns: u64) {
        self.requests.inc();
        self.duration.observe_ns(ns);
        let mut responses = self.responses.borrow_mut();
        let is_known = responses.iter().any(|row| row.0 == Some(rcode));
        let has_room = responses.len() < limits::UPSTREAM_RCODE_SERIES;
        let key = (is_known || has_room).then_some(rcode);
        if let Some(row) = responses.iter().find(|row| row.0 == key) {
            return row.1.inc();
        }
        let label = key.map_or("other".to_owned(), |rcode| rcode.to_string());
        let counter = registry().counter(
            "coredns_grpc_responses_total",
            "Responses of upstreams by rcode.",
            &[("rcode", &label), ("to", &self.to)],
        );
        counter.inc();
        responses.push((key, counter));
    }
}
