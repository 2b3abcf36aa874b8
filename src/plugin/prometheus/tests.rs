//! Tests of *prometheus*.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::control::Control;
use crate::plugin::Proto;
use crate::telemetry::log::capture;
use crate::testing::directive::{Directive, query, set_up, set_up_error};
use crate::wire::types;

/// A block whose labels no other test uses, since the registry is the process's.
fn open(server: &str) -> (Directive<Prometheus>, Prometheus) {
    let mut directive: Directive<Prometheus> =
        set_up("prometheus", "prometheus 127.0.0.1:0").unwrap();
    let site = |zone: &str, view: &str| Site {
        server: server.into(),
        zone: zone.into(),
        view: view.into(),
    };
    directive.set_sites(vec![
        site("example.org.", ""),
        site("example.net.", "inside"),
    ]);
    let plugin = directive.open(&["prometheus", "cache", "file"]);
    (directive, plugin)
}

fn value(name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    registry().value(name, labels)
}

#[test]
fn queries_are_counted_by_site() {
    let (_directive, plugin) = open("dns://:1");
    let mut q = query("a.example.org.", types::A);
    q.respond();
    q.writer = "file";
    plugin.on_reply(&mut q);
    q.route.site = 1;
    q.proto = Proto::Tcp;
    q.edns.ensure(1232);
    q.edns.flags = crate::wire::edns::DO;
    q.fail(Rcode::SERVFAIL, "x");
    q.writer = "";
    plugin.on_reply(&mut q);
    let org = [
        ("server", "dns://:1"),
        ("zone", "example.org."),
        ("view", ""),
    ];
    let net = [
        ("server", "dns://:1"),
        ("zone", "example.net."),
        ("view", "inside"),
    ];
    let with = |site: &[(&'static str, &'static str); 3], more: &[(&'static str, &'static str)]| {
        [site.as_slice(), more].concat()
    };
    let requests = "coredns_dns_requests_total";
    let a = with(&org, &[("proto", "udp"), ("family", "1"), ("type", "A")]);
    assert_eq!(value(requests, &a), Some(1.0));
    let b = with(&net, &[("proto", "tcp"), ("family", "1"), ("type", "A")]);
    assert_eq!(value(requests, &b), Some(1.0));
    assert_eq!(value("coredns_dns_do_requests_total", &org), None);
    assert_eq!(value("coredns_dns_do_requests_total", &net), Some(1.0));
    let responses = "coredns_dns_responses_total";
    assert_eq!(
        value(
            responses,
            &with(&org, &[("rcode", "NOERROR"), ("plugin", "file")])
        ),
        Some(1.0)
    );
    assert_eq!(
        value(
            responses,
            &with(&net, &[("rcode", "SERVFAIL"), ("plugin", "")])
        ),
        Some(1.0)
    );
    assert_eq!(
        value("coredns_dns_request_duration_seconds", &org),
        Some(1.0)
    );
    // An index that the block does not have is no panic.
    q.route.site = 9;
    plugin.on_reply(&mut q);
}

#[test]
fn a_dropped_query_counts_as_noerror_of_nobody() {
    let (_directive, plugin) = open("dns://:2");
    let mut q = query("example.org.", types::A);
    q.answer = Answer::Dropped;
    plugin.on_reply(&mut q);
    let labels = [
        ("server", "dns://:2"),
        ("zone", "example.org."),
        ("view", ""),
        ("rcode", "NOERROR"),
        ("plugin", ""),
    ];
    assert_eq!(value("coredns_dns_responses_total", &labels), Some(1.0));
}

#[test]
fn handlers_are_shown_as_enabled_while_they_are() {
    let labels = |name: &'static str, zone: &'static str, view: &'static str| {
        [
            ("server", "dns://:3"),
            ("zone", zone),
            ("view", view),
            ("name", name),
        ]
    };
    let (_directive, plugin) = open("dns://:3");
    for name in ["prometheus", "cache", "file"] {
        assert_eq!(
            value("coredns_plugin_enabled", &labels(name, "example.org.", "")),
            Some(1.0)
        );
        assert_eq!(
            value(
                "coredns_plugin_enabled",
                &labels(name, "example.net.", "inside")
            ),
            Some(1.0)
        );
    }
    assert_eq!(
        value(
            "coredns_plugin_enabled",
            &labels("whoami", "example.org.", "")
        ),
        None
    );
    drop(plugin);
    assert_eq!(
        value(
            "coredns_plugin_enabled",
            &labels("file", "example.org.", "")
        ),
        None
    );
}

#[test]
fn counters_outlive_a_reload() {
    let labels = [
        ("server", "dns://:4"),
        ("zone", "example.org."),
        ("view", ""),
        ("proto", "udp"),
        ("family", "1"),
        ("type", "AAAA"),
    ];
    for round in 1..=2 {
        let (_directive, plugin) = open("dns://:4");
        plugin.on_reply(&mut query("example.org.", types::AAAA));
        drop(plugin);
        assert_eq!(
            value("coredns_dns_requests_total", &labels),
            Some(f64::from(round))
        );
    }
}

#[test]
fn metrics_are_served_as_text() {
    let control = Control::start().unwrap();
    let (directive, plugin) = open("dns://:5");
    plugin.on_reply(&mut query("example.org.", types::MX));
    let bound = directive.life.endpoints.bind(None).unwrap();
    bound.serve(&control);
    let mut stream = TcpStream::connect(bound.local_addr("127.0.0.1:0").unwrap()).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    assert!(
        reply.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{reply}"
    );
    for part in [
        "# TYPE coredns_build_info gauge\n",
        "# TYPE coredns_panics_total counter\n",
        "# TYPE coredns_dns_request_duration_seconds histogram\n",
        "coredns_dns_requests_total{family=\"1\",proto=\"udp\",server=\"dns://:5\",type=\"MX\",view=\"\",zone=\"example.org.\"} 1\n",
        "# TYPE process_open_fds gauge\n",
    ] {
        assert!(reply.contains(part), "{part} is missing in {reply}");
    }
}

#[test]
fn the_default_address_is_local() {
    let directive: Directive<Prometheus> = set_up("prometheus", "prometheus").unwrap();
    assert_eq!(
        directive.life.endpoints.addresses().collect::<Vec<_>>(),
        ["localhost:9153"]
    );
}

#[test]
fn runtime_metrics_is_a_warning() {
    let lines = capture::lines(|| {
        set_up::<Prometheus>("prometheus", "prometheus {\n runtime_metrics\n}").unwrap();
    });
    assert_eq!(
        lines,
        ["[WARNING] plugin/prometheus: runtime_metrics: there is no Go runtime to report on"]
    );
}

#[test]
fn wrong_lines_are_refused() {
    for (lines, expect) in [
        (
            "prometheus\nprometheus",
            "this plugin can only be used once per Server Block",
        ),
        ("prometheus 9153", "address 9153: missing port in address"),
        (
            "prometheus :1 :2",
            "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after ':2'",
        ),
        (
            "prometheus {\n foo\n}",
            "Corefile:3 - Error during parsing: unknown option: foo",
        ),
        (
            "prometheus {\n runtime_metrics x\n}",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'x'",
        ),
        (
            "prometheus {\n tls web.yml\n}",
            "Corefile:3 - Error during parsing: tls is not built into percoredns yet: serve /metrics on a local address instead",
        ),
    ] {
        assert_eq!(set_up_error::<Prometheus>("prometheus", lines), expect);
    }
}
