//! Answers by the schema of names, and the cluster that all these tests ask.

mod changes;
mod options;

use crate::kube::record::{Import, Kind, Object, Protocol, Reach, Service, Sink, Slice};
use crate::kube::store::Keep;
use crate::testing::Host;
use crate::testing::cluster::{Fixture, URL, ips, pod, port, service, slice};

/// A block with *kubernetes* that knows the objects of [`objects`].
fn known(options: &str, directives: &str) -> Fixture {
    Fixture::new(&objects(), options, directives)
}

fn objects() -> Vec<Object> {
    let headless = |name: &str| Service {
        reach: Reach::Headless,
        ..service("shop", name, &[])
    };
    let elsewhere = |name: &str, target: &str| Service {
        reach: Reach::Elsewhere,
        external_name: target.into(),
        ports: Vec::new(),
        ..service("shop", name, &[])
    };
    let ports = vec![
        port("dns", Protocol::Udp, 53),
        port("dns-tcp", Protocol::Tcp, 53),
        port("metrics", Protocol::Tcp, 9153),
    ];
    vec![
        Object::Namespace("shop".into()),
        Object::Namespace("empty".into()),
        Object::Namespace("com".into()),
        Object::Service(service("shop", "web", &["10.96.0.1"])),
        Object::Service(service("shop", "dual", &["10.96.0.2", "fd00:96::2"])),
        Object::Service(Service {
            ports,
            ..service("shop", "dns", &["10.96.0.10"])
        }),
        Object::Service(Service {
            ports: Vec::new(),
            ..service("shop", "portless", &["10.96.0.3"])
        }),
        Object::Service(headless("db")),
        Object::Service(headless("nobody")),
        Object::Service(headless("pair")),
        Object::Service(elsewhere("ext", "www.example.com")),
        Object::Service(elsewhere("literal", "192.0.2.1")),
        Object::Service(elsewhere("inner", "web.shop.svc.cluster.local")),
        Object::Service(elsewhere("hollow", "nothing.shop.svc.cluster.local")),
        Object::Slice(slice(
            "shop",
            "web-1",
            "web",
            &[("10.1.0.1", ""), ("10.1.0.2", "")],
        )),
        Object::Slice(slice(
            "shop",
            "db-1",
            "db",
            &[("10.1.1.1", "db-0"), ("10.1.1.2", "db-1")],
        )),
        Object::Slice(slice(
            "shop",
            "db-2",
            "db",
            &[("10.1.1.3", "db-2"), ("10.1.1.1", "db-0")],
        )),
        Object::Slice(slice("shop", "pair-4", "pair", &[("10.1.2.1", "pair-0")])),
        Object::Slice(slice("shop", "pair-6", "pair", &[("fd00:1::1", "pair-0")])),
        pod("shop", "web-0", "10.1.0.1"),
        pod("empty", "job-0", "10.1.9.9"),
    ]
}

const SOA: &str =
    "authority: cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. ";

/// `expect` followed by a look at the SOA record but for its serial, which is the time.
fn denied(fixture: &Fixture, query: &str, rcode: &str) {
    let seen = fixture.host.ask(query);
    assert_eq!(
        (seen.rcode.as_str(), seen.answer.len()),
        (rcode, 0),
        "{query}: {seen:?}"
    );
    assert!(seen.flags.contains("aa"), "{query}: {seen:?}");
    let [soa] = &seen.authority[..] else {
        panic!("{query}: {seen:?}")
    };
    let start = SOA.strip_prefix("authority: ").unwrap();
    assert!(
        soa.starts_with(start) && soa.ends_with(" 7200 1800 86400 5"),
        "{soa}"
    );
}

#[test]
fn services_with_addresses() {
    known("", "").check_all(&[
        ("web.shop.svc.cluster.local. A", "rcode: NOERROR\nflags: qr aa rd\nanswer: web.shop.svc.cluster.local. 5 IN A 10.96.0.1"),
        ("WEB.Shop.svc.Cluster.Local. A", "answer: WEB.Shop.svc.Cluster.Local. 5 IN A 10.96.0.1"),
        ("dual.shop.svc.cluster.local. A", "answer: dual.shop.svc.cluster.local. 5 IN A 10.96.0.2"),
        ("dual.shop.svc.cluster.local. AAAA", "answer: dual.shop.svc.cluster.local. 5 IN AAAA fd00:96::2"),
        ("_http._tcp.web.shop.svc.cluster.local. A", "answer: _http._tcp.web.shop.svc.cluster.local. 5 IN A 10.96.0.1"),
        ("portless.shop.svc.cluster.local. A", "answer: portless.shop.svc.cluster.local. 5 IN A 10.96.0.3"),
        (
            "_http._tcp.web.shop.svc.cluster.local. SRV",
            "answer: _http._tcp.web.shop.svc.cluster.local. 5 IN SRV 0 100 80 web.shop.svc.cluster.local.
             additional: web.shop.svc.cluster.local. 5 IN A 10.96.0.1",
        ),
        (
            "web.shop.svc.cluster.local. SRV",
            "answer: web.shop.svc.cluster.local. 5 IN SRV 0 100 80 web.shop.svc.cluster.local.
             additional: web.shop.svc.cluster.local. 5 IN A 10.96.0.1",
        ),
        (
            "dns.shop.svc.cluster.local. SRV",
            "answer: dns.shop.svc.cluster.local. 5 IN SRV 0 33 53 dns.shop.svc.cluster.local.
             answer: dns.shop.svc.cluster.local. 5 IN SRV 0 33 9153 dns.shop.svc.cluster.local.
             additional: dns.shop.svc.cluster.local. 5 IN A 10.96.0.10",
        ),
        (
            "_http._tcp.dual.shop.svc.cluster.local. SRV",
            "answer: _http._tcp.dual.shop.svc.cluster.local. 5 IN SRV 0 50 80 dual.shop.svc.cluster.local.
             additional: dual.shop.svc.cluster.local. 5 IN A 10.96.0.2
             additional: dual.shop.svc.cluster.local. 5 IN AAAA fd00:96::2",
        ),
    ]);
}

#[test]
fn names_that_are_there_without_such_records() {
    let fixture = known("", "");
    for query in [
        "web.shop.svc.cluster.local. AAAA",
        "web.shop.svc.cluster.local. MX",
        "web.shop.svc.cluster.local. TXT",
        "web.shop.svc.cluster.local. NS",
        "web.shop.svc.cluster.local. CNAME",
        "web.shop.svc.cluster.local. PTR",
        "portless.shop.svc.cluster.local. SRV",
        "ext.shop.svc.cluster.local. SRV",
        "cluster.local. A",
        "svc.cluster.local. A",
        "pod.cluster.local. A",
        "shop.svc.cluster.local. A",
        "empty.svc.cluster.local. A",
        // As CoreDNS has it.
        "no.such.name.cluster.local. SOA",
    ] {
        denied(&fixture, query, "NOERROR");
    }
}

#[test]
fn names_that_are_not_there() {
    let fixture = known("", "");
    for query in [
        // Names of pods are disabled.
        "shop.pod.cluster.local. A",
        "no.shop.svc.cluster.local. A",
        "no.shop.svc.cluster.local. TXT",
        "no.shop.svc.cluster.local. HTTPS",
        "web.empty.svc.cluster.local. A",
        "web.no.svc.cluster.local. A",
        "no.svc.cluster.local. A",
        "no.pod.cluster.local. A",
        "shop.cluster.local. A",
        "_https._tcp.web.shop.svc.cluster.local. SRV",
        "_http._udp.web.shop.svc.cluster.local. SRV",
        "_http._tcp.portless.shop.svc.cluster.local. A",
        "a.b.c.web.shop.svc.cluster.local. A",
        "nobody.shop.svc.cluster.local. A",
        "literal.shop.svc.cluster.local. A",
        "_http._tcp.ext.shop.svc.cluster.local. A",
        "10-1-0-9.web.shop.svc.cluster.local. A",
        "10-1-0-1.shop.pod.cluster.local. A",
        "*.shop.svc.cluster.local. A",
        "dns-version.cluster.local. A",
        "www.example.com.shop.svc.cluster.local. A",
        "example.com.svc.cluster.local. A",
        "example.com.cluster.local. A",
    ] {
        denied(&fixture, query, "NXDOMAIN");
    }
}

#[test]
fn headless_services_and_endpoints() {
    known("", "").check_all(&[
        (
            "db.shop.svc.cluster.local. A",
            "answer: db.shop.svc.cluster.local. 5 IN A 10.1.1.1
             answer: db.shop.svc.cluster.local. 5 IN A 10.1.1.2
             answer: db.shop.svc.cluster.local. 5 IN A 10.1.1.3",
        ),
        ("pair.shop.svc.cluster.local. AAAA", "answer: pair.shop.svc.cluster.local. 5 IN AAAA fd00:1::1"),
        ("db-1.db.shop.svc.cluster.local. A", "answer: db-1.db.shop.svc.cluster.local. 5 IN A 10.1.1.2"),
        ("10-1-0-2.web.shop.svc.cluster.local. A", "answer: 10-1-0-2.web.shop.svc.cluster.local. 5 IN A 10.1.0.2"),
        // An endpoint with a host name has no other label.
        ("10-1-1-2.db.shop.svc.cluster.local. A", "rcode: NXDOMAIN"),
        ("db-1.web.shop.svc.cluster.local. A", "rcode: NXDOMAIN"),
        (
            "_http._tcp.pair.shop.svc.cluster.local. SRV",
            "answer: _http._tcp.pair.shop.svc.cluster.local. 5 IN SRV 0 50 8080 pair-0.pair.shop.svc.cluster.local.
             additional: pair-0.pair.shop.svc.cluster.local. 5 IN A 10.1.2.1
             additional: pair-0.pair.shop.svc.cluster.local. 5 IN AAAA fd00:1::1",
        ),
        (
            "db.shop.svc.cluster.local. SRV",
            "answer: db.shop.svc.cluster.local. 5 IN SRV 0 25 8080 db-0.db.shop.svc.cluster.local.
             answer: db.shop.svc.cluster.local. 5 IN SRV 0 25 8080 db-1.db.shop.svc.cluster.local.
             answer: db.shop.svc.cluster.local. 5 IN SRV 0 25 8080 db-2.db.shop.svc.cluster.local.
             additional: db-0.db.shop.svc.cluster.local. 5 IN A 10.1.1.1
             additional: db-1.db.shop.svc.cluster.local. 5 IN A 10.1.1.2
             additional: db-2.db.shop.svc.cluster.local. 5 IN A 10.1.1.3",
        ),
        (
            "10-1-0-1.web.shop.svc.cluster.local. SRV",
            "answer: 10-1-0-1.web.shop.svc.cluster.local. 5 IN SRV 0 100 8080 10-1-0-1.web.shop.svc.cluster.local.
             additional: 10-1-0-1.web.shop.svc.cluster.local. 5 IN A 10.1.0.1",
        ),
    ]);
}

#[test]
fn endpoints_by_the_names_of_their_pods() {
    known("endpoint_pod_names", "").check_all(&[
        (
            "web-pod-1.web.shop.svc.cluster.local. A",
            "answer: web-pod-1.web.shop.svc.cluster.local. 5 IN A 10.1.0.2",
        ),
        ("10-1-0-2.web.shop.svc.cluster.local. A", "rcode: NXDOMAIN"),
        (
            "db-1.db.shop.svc.cluster.local. A",
            "answer: db-1.db.shop.svc.cluster.local. 5 IN A 10.1.1.2",
        ),
        (
            "2.0.1.10.in-addr.arpa. PTR",
            "answer: 2.0.1.10.in-addr.arpa. 5 IN PTR web-pod-1.web.shop.svc.cluster.local.",
        ),
    ]);
    denied(
        &known("", ""),
        "web-pod-1.web.shop.svc.cluster.local. A",
        "NXDOMAIN",
    );
}

#[test]
fn aliases() {
    let forth = "template IN A www.example.com {\n answer \"{{ .Name }} 60 IN A 192.0.2.7\"\n }";
    known("", forth).check_all(&[
        (
            "ext.shop.svc.cluster.local. A",
            "rcode: NOERROR
             answer: ext.shop.svc.cluster.local. 5 IN CNAME www.example.com.
             answer: www.example.com. 60 IN A 192.0.2.7",
        ),
        (
            "ext.shop.svc.cluster.local. CNAME",
            "answer: ext.shop.svc.cluster.local. 5 IN CNAME www.example.com.",
        ),
        (
            "inner.shop.svc.cluster.local. A",
            "answer: inner.shop.svc.cluster.local. 5 IN CNAME web.shop.svc.cluster.local.
             answer: web.shop.svc.cluster.local. 5 IN A 10.96.0.1",
        ),
        (
            "hollow.shop.svc.cluster.local. A",
            "rcode: NOERROR\nanswer:",
        ),
        (
            "inner.shop.svc.cluster.local. AAAA",
            "rcode: NOERROR\nanswer:",
        ),
    ]);
}

#[test]
fn addresses_back_to_names() {
    let fixture = known("", "");
    fixture.check_all(&[
        ("1.0.96.10.in-addr.arpa. PTR", "rcode: NOERROR\nflags: qr aa rd\nanswer: 1.0.96.10.in-addr.arpa. 5 IN PTR web.shop.svc.cluster.local."),
        ("1.1.1.10.in-addr.arpa. PTR", "answer: 1.1.1.10.in-addr.arpa. 5 IN PTR db-0.db.shop.svc.cluster.local."),
        ("1.0.1.10.in-addr.arpa. PTR", "answer: 1.0.1.10.in-addr.arpa. 5 IN PTR 10-1-0-1.web.shop.svc.cluster.local."),
        (
            "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.0.0.0.0.0.d.f.ip6.arpa. PTR",
            "answer: 2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.0.d.f.ip6.arpa.",
        ),
    ][..3]);
    let reverse = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.0.d.f.ip6.arpa.";
    fixture.check(
        &format!("{reverse} PTR"),
        &format!("answer: {reverse} 5 IN PTR dual.shop.svc.cluster.local."),
    );
    fixture.check("9.9.9.10.in-addr.arpa. PTR", "rcode: NXDOMAIN");
    fixture.check("1.0.96.10.in-addr.arpa. A", "rcode: NXDOMAIN");
    fixture.check("in-addr.arpa. A", "rcode: NOERROR\nanswer:");
    let falling = known("fallthrough in-addr.arpa ip6.arpa", "whoami");
    assert_eq!(
        falling
            .host
            .ask("9.9.9.10.in-addr.arpa. PTR")
            .additional
            .len(),
        2
    );
    falling.check(
        "1.0.96.10.in-addr.arpa. PTR",
        "answer: 1.0.96.10.in-addr.arpa. 5 IN PTR web.shop.svc.cluster.local.",
    );
    denied(&falling, "no.shop.svc.cluster.local. A", "NXDOMAIN");
}

#[test]
fn pods() {
    let insecure = known("pods insecure", "");
    insecure.check_all(&[
        (
            "10-1-7-7.shop.pod.cluster.local. A",
            "answer: 10-1-7-7.shop.pod.cluster.local. 5 IN A 10.1.7.7",
        ),
        (
            "fd00--7.shop.pod.cluster.local. AAAA",
            "answer: fd00--7.shop.pod.cluster.local. 5 IN AAAA fd00::7",
        ),
        ("10-1-7-7.no.pod.cluster.local. A", "rcode: NXDOMAIN"),
        ("10-1-7-777.shop.pod.cluster.local. A", "rcode: NXDOMAIN"),
        ("web-0.shop.pod.cluster.local. A", "rcode: NXDOMAIN"),
    ]);
    denied(
        &insecure,
        "10-1-7-7.shop.pod.cluster.local. AAAA",
        "NOERROR",
    );
    let verified = known("pods verified", "");
    verified.check_all(&[
        (
            "10-1-0-1.shop.pod.cluster.local. A",
            "answer: 10-1-0-1.shop.pod.cluster.local. 5 IN A 10.1.0.1",
        ),
        ("10-1-7-7.shop.pod.cluster.local. A", "rcode: NXDOMAIN"),
        ("10-1-0-1.empty.pod.cluster.local. A", "rcode: NXDOMAIN"),
    ]);
}

#[test]
fn the_zone_itself() {
    let fixture = known("ttl 30", "bind 127.0.0.1");
    fixture.check(
        "dns-version.cluster.local. TXT",
        "answer: dns-version.cluster.local. 28800 IN TXT \"1.1.0\"",
    );
    let soa = fixture.host.ask("cluster.local. SOA");
    assert!(
        soa.answer[0].starts_with(
            "cluster.local. 30 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. "
        ),
        "{soa:?}"
    );
    assert!(soa.answer[0].ends_with(" 7200 1800 86400 30"));
    fixture.check("cluster.local. AXFR +tcp", "rcode: REFUSED");
    fixture.check(
        "web.shop.svc.cluster.local. A",
        "answer: web.shop.svc.cluster.local. 30 IN A 10.96.0.1",
    );
    // The server has no other address than that of the loopback, which is nobody else's.
    denied(&known("", "bind 127.0.0.1"), "cluster.local. NS", "NOERROR");
}

#[test]
fn the_servers_own_names() {
    // An address of an endpoint of *web*, and one that is nobody's.
    let own = known("", "bind 10.1.0.1");
    own.check_all(&[
        (
            "cluster.local. NS",
            "answer: cluster.local. 5 IN NS web.shop.svc.cluster.local.
             additional: web.shop.svc.cluster.local. 5 IN A 10.96.0.1",
        ),
        (
            "ns.dns.cluster.local. A",
            "answer: ns.dns.cluster.local. 5 IN A 10.96.0.1",
        ),
    ]);
    known("", "bind 192.0.2.53").check_all(&[
        (
            "cluster.local. NS",
            "answer: cluster.local. 5 IN NS ns.dns.cluster.local.
             additional: ns.dns.cluster.local. 5 IN A 192.0.2.53",
        ),
        (
            "ns.dns.cluster.local. A",
            "answer: ns.dns.cluster.local. 5 IN A 192.0.2.53",
        ),
    ]);
}
