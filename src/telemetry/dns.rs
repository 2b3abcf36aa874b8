//! The `coredns_dns_*` families: what is counted of each query of one server address, zone and view.
//!
//! Runs on: data core.
//!
//! **Invariant**: counting a query takes no lock and allocates nothing, once a thread has seen its rcode.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::RefCell;

use super::metrics::{Counter, CounterTable, Histogram, Registry, SizeHistogram};
use crate::wire::rcode::Rcode;
use crate::wire::types;

/// One thread's counters of one combination of the labels `server`, `zone` and `view`.
pub struct SiteMetrics {
    registry: Registry,
    labels: [String; 3],
    writers: Vec<String>,
    requests: CounterTable,
    do_requests: Counter,
    duration: Histogram,
    request_size: [SizeHistogram; 2],
    response_size: [SizeHistogram; 2],
    responses: CounterTable,
    /// Responses with rcodes that have no name, by rcode and writer: only an odd upstream makes them.
    odd_responses: RefCell<Vec<(Rcode, usize, Counter)>>,
}

/// What is counted of one query.
#[derive(Debug, Clone, Copy)]
pub struct QueryReport {
    /// The label `proto` is `tcp` rather than `udp`.
    pub is_tcp: bool,
    /// The label `family` is 2 (IPv6) rather than 1.
    pub is_ipv6: bool,
    /// QTYPE.
    pub qtype: u16,
    /// The query had DO set.
    pub dnssec_ok: bool,
    /// Octets of the query as it was received.
    pub query_octets: usize,
    /// Octets of the reply before compression; 0 where none was written.
    pub reply_octets: usize,
    /// From arrival to reply.
    pub duration_ns: u64,
    /// The rcode of the reply.
    pub rcode: Rcode,
    /// Who wrote it: an index into the writers.
    pub writer: usize,
}

impl SiteMetrics {
    /// Registers the counters. `writers` are the values of the label `plugin`, the empty one for the server itself
    /// among them.
    pub fn new(
        registry: &Registry,
        server: &str,
        zone: &str,
        view: &str,
        writers: &[&str],
    ) -> SiteMetrics {
        let site = [("server", server), ("zone", zone), ("view", view)];
        let size = |name, help, proto| {
            let labels = [site[0], site[1], site[2], ("proto", proto)];
            registry.size_histogram(name, help, SIZE_BUCKETS, &labels)
        };
        let (request, response) = (
            "coredns_dns_request_size_bytes",
            "coredns_dns_response_size_bytes",
        );
        let (request_help, response_help) = (
            "Octets of queries as received.",
            "Octets of replies, uncompressed.",
        );
        let types: Vec<&str> = types_shown().chain(["other"]).collect();
        let rcodes: Vec<String> = (0..RCODES)
            .map(|number| rcode_label(Rcode(number)))
            .collect();
        let rcodes: Vec<&str> = rcodes.iter().map(String::as_str).collect();
        SiteMetrics {
            registry: registry.clone(),
            labels: [server.to_owned(), zone.to_owned(), view.to_owned()],
            writers: writers.iter().map(|&writer| writer.to_owned()).collect(),
            requests: registry.counter_table(
                "coredns_dns_requests_total",
                "Queries received.",
                &site,
                &[
                    ("proto", &PROTOS),
                    ("family", &["1", "2"]),
                    ("type", &types),
                ],
            ),
            do_requests: registry.counter(
                "coredns_dns_do_requests_total",
                "Queries with DO set.",
                &site,
            ),
            duration: registry.histogram(
                "coredns_dns_request_duration_seconds",
                "Time from a query's arrival to its reply.",
                TIME_BUCKETS,
                &site,
            ),
            request_size: PROTOS.map(|proto| size(request, request_help, proto)),
            response_size: PROTOS.map(|proto| size(response, response_help, proto)),
            responses: registry.counter_table(
                RESPONSES,
                RESPONSES_HELP,
                &site,
                &[("rcode", &rcodes), ("plugin", writers)],
            ),
            odd_responses: RefCell::default(),
        }
    }

    /// Counts one query.
    pub fn count(&self, report: &QueryReport) {
        let proto = usize::from(report.is_tcp);
        self.requests
            .inc_at(&[proto, usize::from(report.is_ipv6), type_index(report.qtype)]);
        if report.dnssec_ok {
            self.do_requests.inc();
        }
        self.duration.observe_ns(report.duration_ns);
        self.request_size[proto].observe(report.query_octets as u64);
        self.response_size[proto].observe(report.reply_octets as u64);
        if report.rcode.0 < RCODES {
            self.responses
                .inc_at(&[usize::from(report.rcode.0), report.writer]);
        } else {
            self.count_odd(report.rcode, report.writer);
        }
    }

    /// The index of a writer; the server's own for one that is not in the list.
    pub fn writer(&self, name: &str) -> usize {
        let find = |wanted: &str| self.writers.iter().position(|writer| writer == wanted);
        find(name).or_else(|| find("")).unwrap_or(0)
    }

    #[cold]
    fn count_odd(&self, rcode: Rcode, writer: usize) {
        let mut odd = self.odd_responses.borrow_mut();
        if let Some((_, _, counter)) = odd
            .iter()
            .find(|entry| (entry.0, entry.1) == (rcode, writer))
        {
            return counter.inc();
        }
        let [server, zone, view] = self.labels.each_ref().map(String::as_str);
        let plugin = self.writers.get(writer).map_or("", String::as_str);
        let label = rcode_label(rcode);
        let labels = [
            ("server", server),
            ("zone", zone),
            ("view", view),
            ("rcode", &*label),
            ("plugin", plugin),
        ];
        let counter = self.registry.counter(RESPONSES, RESPONSES_HELP, &labels);
        counter.inc();
        odd.push((rcode, writer, counter));
    }
}

/// Bounds in seconds of histograms of durations: 0.25 ms doubled 15 times.
pub const TIME_BUCKETS: &[f64] = &[
    0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024,
    2.048, 4.096, 8.192,
];
/// Bounds in seconds where few series must do: 0.25 ms, ten times as much, and so on.
pub const SLIM_TIME_BUCKETS: &[f64] = &[0.00025, 0.0025, 0.025, 0.25, 2.5];

fn types_shown() -> impl Iterator<Item = &'static str> {
    TYPES.iter().map(|row| row.1)
}

fn type_index(qtype: u16) -> usize {
    TYPES
        .iter()
        .position(|row| row.0 == qtype)
        .unwrap_or(TYPES.len())
}

#[allow(clippy::disallowed_macros)] // once for each rcode, when its counter is made
fn rcode_label(rcode: Rcode) -> String {
    match rcode.name() {
        Some(name) => name.to_owned(),
        None => format!("RCODE{}", rcode.0),
    }
}

const PROTOS: [&str; 2] = ["udp", "tcp"];
/// Octets; 4095, 8291 and the odd ones are CoreDNS's.
const SIZE_BUCKETS: &[f64] = &[
    0.0, 100.0, 200.0, 300.0, 400.0, 511.0, 1023.0, 2047.0, 4095.0, 8291.0, 16e3, 32e3, 48e3, 64e3,
];
/// Values of the label `type`, the commonest first: they are searched in this order.
const TYPES: [(u16, &str); 19] = [
    (types::A, "A"),
    (types::AAAA, "AAAA"),
    (types::HTTPS, "HTTPS"),
    (types::SRV, "SRV"),
    (types::PTR, "PTR"),
    (types::CNAME, "CNAME"),
    (types::MX, "MX"),
    (types::TXT, "TXT"),
    (types::NS, "NS"),
    (types::SOA, "SOA"),
    (types::SVCB, "SVCB"),
    (types::DS, "DS"),
    (types::DNSKEY, "DNSKEY"),
    (types::NSEC, "NSEC"),
    (types::NSEC3, "NSEC3"),
    (types::RRSIG, "RRSIG"),
    (types::IXFR, "IXFR"),
    (types::AXFR, "AXFR"),
    (types::ANY, "ANY"),
];
/// Rcodes below this have a cell from the start.
const RCODES: u16 = 24;
const RESPONSES: &str = "coredns_dns_responses_total";
const RESPONSES_HELP: &str = "Replies by rcode and by the plugin that wrote them.";

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: QueryReport = QueryReport {
        is_tcp: false,
        is_ipv6: false,
        qtype: types::A,
        dnssec_ok: false,
        query_octets: 41,
        reply_octets: 99,
        duration_ns: 250_001,
        rcode: Rcode::NOERROR,
        writer: 1,
    };

    fn text(registry: &Registry) -> String {
        let mut out = String::new();
        registry.encode(&mut out);
        out
    }

    fn check(out: &str, lines: &[&str]) {
        for line in lines {
            assert!(
                out.lines().any(|have| have == *line),
                "{line} is missing in\n{out}"
            );
        }
    }

    #[test]
    fn a_query_is_counted_in_every_family() {
        let registry = Registry::new();
        let site = SiteMetrics::new(&registry, "dns://:53", "example.org.", "", &["", "file"]);
        site.count(&REPORT);
        site.count(&QueryReport {
            is_tcp: true,
            is_ipv6: true,
            dnssec_ok: true,
            qtype: 65_280,
            reply_octets: 0,
            rcode: Rcode::SERVFAIL,
            writer: 0,
            ..REPORT
        });
        let site = "server=\"dns://:53\"";
        let rest = "view=\"\",zone=\"example.org.\"";
        check(
            &text(&registry),
            &[
                &format!(
                    "coredns_dns_requests_total{{family=\"1\",proto=\"udp\",{site},type=\"A\",{rest}}} 1"
                ),
                &format!(
                    "coredns_dns_requests_total{{family=\"2\",proto=\"tcp\",{site},type=\"other\",{rest}}} 1"
                ),
                &format!("coredns_dns_do_requests_total{{{site},{rest}}} 1"),
                &format!(
                    "coredns_dns_request_duration_seconds_bucket{{{site},{rest},le=\"0.00025\"}} 0"
                ),
                &format!(
                    "coredns_dns_request_duration_seconds_bucket{{{site},{rest},le=\"0.0005\"}} 2"
                ),
                &format!(
                    "coredns_dns_request_duration_seconds_bucket{{{site},{rest},le=\"8.192\"}} 2"
                ),
                &format!(
                    "coredns_dns_request_size_bytes_bucket{{proto=\"udp\",{site},{rest},le=\"100\"}} 1"
                ),
                &format!(
                    "coredns_dns_response_size_bytes_bucket{{proto=\"tcp\",{site},{rest},le=\"0\"}} 1"
                ),
                &format!(
                    "coredns_dns_response_size_bytes_bucket{{proto=\"tcp\",{site},{rest},le=\"64000\"}} 1"
                ),
                &format!("coredns_dns_response_size_bytes_sum{{proto=\"udp\",{site},{rest}}} 99"),
                &format!(
                    "coredns_dns_responses_total{{plugin=\"file\",rcode=\"NOERROR\",{site},{rest}}} 1"
                ),
                &format!(
                    "coredns_dns_responses_total{{plugin=\"\",rcode=\"SERVFAIL\",{site},{rest}}} 1"
                ),
            ],
        );
    }

    #[test]
    fn every_monitored_type_has_its_label() {
        for name in [
            "A", "AAAA", "CNAME", "DNSKEY", "DS", "MX", "NSEC", "NSEC3", "NS", "PTR", "RRSIG",
            "SOA", "SRV", "TXT", "HTTPS", "SVCB", "IXFR", "AXFR", "ANY",
        ] {
            let qtype = types::parse(name).unwrap();
            assert_eq!(TYPES[type_index(qtype)], (qtype, name));
        }
        assert_eq!(type_index(types::parse("CAA").unwrap()), TYPES.len());
    }

    #[test]
    fn rcodes_without_a_name_are_counted_too() {
        let registry = Registry::new();
        let site = SiteMetrics::new(&registry, "s", ".", "v", &["", "forward"]);
        let odd = |rcode| QueryReport {
            rcode: Rcode(rcode),
            ..REPORT
        };
        site.count(&odd(12));
        site.count(&odd(3841));
        site.count(&odd(3841));
        check(
            &text(&registry),
            &[
                "coredns_dns_responses_total{plugin=\"forward\",rcode=\"RCODE12\",server=\"s\",view=\"v\",zone=\".\"} 1",
                "coredns_dns_responses_total{plugin=\"forward\",rcode=\"RCODE3841\",server=\"s\",view=\"v\",zone=\".\"} 2",
            ],
        );
    }

    #[test]
    fn writers_are_found_by_name() {
        let site = SiteMetrics::new(&Registry::new(), "s", ".", "", &["", "cache", "file"]);
        assert_eq!(
            (site.writer("file"), site.writer(""), site.writer("unknown")),
            (2, 0, 0)
        );
    }
}
