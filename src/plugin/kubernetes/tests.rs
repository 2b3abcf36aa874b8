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

#[test]
fn options_that_hide_something() {
    let some = known("namespaces empty", "");
    some.check_all(&[
        ("web.shop.svc.cluster.local. A", "rcode: NXDOMAIN"),
        ("shop.svc.cluster.local. A", "rcode: NXDOMAIN"),
        ("1.0.96.10.in-addr.arpa. PTR", "rcode: NXDOMAIN"),
        ("1.0.1.10.in-addr.arpa. PTR", "rcode: NXDOMAIN"),
    ]);
    denied(&some, "empty.svc.cluster.local. A", "NOERROR");
    known("noendpoints", "").check_all(&[
        ("web.shop.svc.cluster.local. A", "rcode: NOERROR"),
        ("db.shop.svc.cluster.local. A", "rcode: NXDOMAIN"),
        ("10-1-0-1.web.shop.svc.cluster.local. A", "rcode: NXDOMAIN"),
        ("1.0.1.10.in-addr.arpa. PTR", "rcode: NXDOMAIN"),
    ]);
    known("ignore empty_service", "").check_all(&[
        ("web.shop.svc.cluster.local. A", "rcode: NOERROR"),
        ("dual.shop.svc.cluster.local. A", "rcode: NXDOMAIN"),
    ]);
}

#[test]
fn zones_of_nodes() {
    let fixture = known("zonal", "");
    fixture.check_all(&[
        (
            "a.pin._zone.db.shop.svc.cluster.local. A",
            "answer: a.pin._zone.db.shop.svc.cluster.local. 5 IN A 10.1.1.1
             answer: a.pin._zone.db.shop.svc.cluster.local. 5 IN A 10.1.1.3",
        ),
        (
            "b.prefer._zone.pair.shop.svc.cluster.local. A",
            "answer: b.prefer._zone.pair.shop.svc.cluster.local. 5 IN A 10.1.2.1",
        ),
        // Only headless services have such names.
        (
            "a.pin._zone.web.shop.svc.cluster.local. A",
            "rcode: NXDOMAIN",
        ),
    ]);
    denied(
        &fixture,
        "c.pin._zone.db.shop.svc.cluster.local. A",
        "NOERROR",
    );
    denied(
        &known("", ""),
        "a.pin._zone.db.shop.svc.cluster.local. A",
        "NXDOMAIN",
    );
}

#[test]
fn services_of_the_cluster_set() {
    let import = |name: &str, is_headless: bool, addresses: &[&str]| {
        Object::Import(Import {
            namespace: "shop".into(),
            name: name.into(),
            is_headless,
            ips: ips(addresses),
            ports: vec![port("http", Protocol::Tcp, 80)],
        })
    };
    let slice = |name: &str, cluster: &str, address: &str| {
        Object::Slice(Slice {
            is_imported: true,
            cluster: cluster.into(),
            ..slice("shop", name, "far", &[(address, "far-0")])
        })
    };
    let fixture = Fixture::unsynced("multicluster cluster.local", "");
    fixture.list(&[
        Object::Namespace("shop".into()),
        Object::Service(service("shop", "web", &["10.96.0.1"])),
        import("web", false, &["10.97.0.1"]),
        import("far", true, &[]),
        slice("far-e", "east", "10.8.0.1"),
        slice("far-w", "west", "10.9.0.1"),
    ]);
    fixture.check_all(&[
        (
            "web.shop.svc.cluster.local. A",
            "answer: web.shop.svc.cluster.local. 5 IN A 10.97.0.1",
        ),
        (
            "far-0.west.far.shop.svc.cluster.local. A",
            "answer: far-0.west.far.shop.svc.cluster.local. 5 IN A 10.9.0.1",
        ),
        ("far-0.far.shop.svc.cluster.local. A", "rcode: NXDOMAIN"),
        (
            "far.shop.svc.cluster.local. A",
            "answer: far.shop.svc.cluster.local. 5 IN A 10.8.0.1
             answer: far.shop.svc.cluster.local. 5 IN A 10.9.0.1",
        ),
    ]);
}

#[test]
fn before_the_first_sync_nothing_is_denied() {
    let fixture = Fixture::unsynced("fallthrough", "whoami");
    fixture.check_all(&[
        ("web.shop.svc.cluster.local. A", "rcode: SERVFAIL"),
        ("no.such.cluster.local. A", "rcode: SERVFAIL"),
    ]);
    // Names of addresses are not the cluster's alone.
    let reverse = fixture.host.ask("9.9.9.10.in-addr.arpa. PTR");
    assert_eq!(reverse.additional.len(), 2, "{reverse:?}");
    fixture.list(&objects());
    fixture.check_all(&[
        ("web.shop.svc.cluster.local. A", "rcode: NOERROR"),
        (
            "no.such.cluster.local. A",
            "rcode: NOERROR\nanswer:\nauthority:",
        ),
    ]);
    let waiting = Fixture::unsynced("", "ready");
    assert_eq!(
        waiting.host.life.readiness.not_ready().as_deref(),
        Some("kubernetes")
    );
    waiting.list(&objects());
    assert_eq!(waiting.host.life.readiness.not_ready(), None);
}

#[test]
fn what_changes_is_answered_anew_and_what_is_lost_stays() {
    let fixture = known("", "");
    let mut writer = fixture.cluster.writer().lock().unwrap();
    writer.put(&Object::Service(service("shop", "new", &["10.96.0.99"])));
    writer.remove(&Object::Service(service("shop", "web", &[])));
    writer.lost(Kind::Service);
    drop(writer);
    fixture.check_all(&[
        (
            "new.shop.svc.cluster.local. A",
            "answer: new.shop.svc.cluster.local. 5 IN A 10.96.0.99",
        ),
        ("web.shop.svc.cluster.local. A", "rcode: NXDOMAIN"),
        ("dual.shop.svc.cluster.local. A", "rcode: NOERROR"),
    ]);
}

#[test]
fn large_sets_are_cut_and_whole_over_tcp() {
    let fixture = known("", "");
    let endpoints: Vec<String> = (0..1_000u32)
        .map(|nth| format!("10.7.{}.{}", nth / 250, nth % 250))
        .collect();
    let mut writer = fixture.cluster.writer().lock().unwrap();
    writer.put(&Object::Service(Service {
        reach: Reach::Headless,
        ..service("shop", "many", &[])
    }));
    for (nth, part) in endpoints.chunks(100).enumerate() {
        let part: Vec<(&str, &str)> = part.iter().map(|address| (address.as_str(), "")).collect();
        writer.put(&Object::Slice(slice(
            "shop",
            &format!("many-{nth}"),
            "many",
            &part,
        )));
    }
    drop(writer);
    let cut = fixture
        .host
        .ask("many.shop.svc.cluster.local. A bufsize=1232");
    assert!(
        cut.flags.contains("tc") && cut.size <= 1232 && cut.answer.len() > 60,
        "{}",
        cut.answer.len()
    );
    let whole = fixture.host.ask("many.shop.svc.cluster.local. A +tcp");
    assert_eq!(
        (whole.answer.len(), whole.flags.contains("tc")),
        (1_000, false)
    );
}

#[test]
fn metadata_says_what_was_asked_and_who_asks() {
    let log = "log . \"{/kubernetes/kind} {/kubernetes/namespace} {/kubernetes/service} {/kubernetes/port-name} {/kubernetes/client-pod-name} {/kubernetes/client-label/app}\"";
    let fixture = known("pods verified", &format!("metadata\n {log}"));
    let lines = crate::telemetry::log::capture::lines(|| {
        fixture
            .host
            .ask("_http._tcp.web.shop.svc.cluster.local. SRV from=10.1.0.1");
    });
    assert!(
        lines
            .iter()
            .any(|line| line.contains("svc shop web http web-0 web")),
        "{lines:?}"
    );
}

#[test]
fn options_that_are_wrong() {
    let refused = |options: &str| {
        let corefile = format!(
            ".:53 {{\n kubernetes cluster.local {{\n endpoint {URL}\n {options}\n }}\n}}\n"
        );
        Host::new(&corefile)
            .err()
            .unwrap_or_else(|| panic!("{options}"))
    };
    for (options, expected) in [
        (
            "pods all",
            "plugin/kubernetes: wrong value for pods: all,  must be one of: disabled, verified, insecure",
        ),
        (
            "pods",
            "Wrong argument count or unexpected line ending after 'pods'",
        ),
        ("ttl 3601", "ttl must be in range [0, 3600]: 3601"),
        ("ttl -1", "ttl must be in range [0, 3600]: -1"),
        ("ttl x", "plugin/kubernetes: "),
        (
            "namespaces a\n namespace_labels b",
            "namespaces and namespace_labels cannot both be set",
        ),
        (
            "noendpoints\n zonal",
            "zonal and noendpoints cannot both be set",
        ),
        (
            "noendpoints x",
            "Wrong argument count or unexpected line ending after 'x'",
        ),
        (
            "ignore all",
            "plugin/kubernetes: unable to parse ignore value: 'all'",
        ),
        (
            "multicluster clusterset.local",
            "plugin/kubernetes: is not authoritative for the multicluster zone clusterset.local.",
        ),
        (
            "startup_timeout never",
            "plugin/kubernetes: failed to parse startup_timeout: never",
        ),
        (
            "apiserver_qps -1",
            "apiserver_qps must be a number of at least 0: -1",
        ),
        (
            "apiserver_burst x",
            "apiserver_burst must be a number of at least 0: x",
        ),
        (
            "labels app in (",
            "plugin/kubernetes: unable to parse label selector value: 'app in (': found '', expected: identifier",
        ),
        (
            "namespace_labels a=b c",
            "plugin/kubernetes: unable to parse namespace_label selector value: 'a=b c': found 'c'",
        ),
        ("tls a b", "Wrong argument count"),
        ("moo", "unknown property 'moo'"),
    ] {
        let error = refused(options);
        assert!(error.contains(expected), "{options}: {error}");
    }
    let reverse =
        Host::new(".:53 {\n kubernetes in-addr.arpa {\n endpoint http://127.0.0.1:9\n }\n}\n")
            .err()
            .unwrap();
    assert!(
        reverse.contains("plugin/kubernetes: non-reverse zone name must be used"),
        "{reverse}"
    );
    let twice =
        Host::new(".:53 {\n kubernetes a {\n endpoint http://127.0.0.1:9\n }\n kubernetes b\n}\n")
            .err()
            .unwrap();
    assert!(
        twice.contains("plugin can only be used once per Server Block"),
        "{twice}"
    );
}

#[test]
fn a_cache_in_front_is_never_stale() {
    let fixture = known("fallthrough\n pods insecure", "cache 30\n whoami");
    let put = |object: Object| fixture.cluster.writer().lock().unwrap().put(&object);
    let answers = |query: &str| fixture.host.ask(query).answer;
    let web = "web.shop.svc.cluster.local. A";
    let soon = "soon.shop.svc.cluster.local. A";
    let queries = [
        web,
        soon,
        "1.0.96.10.in-addr.arpa. PTR",
        "99.0.96.10.in-addr.arpa. PTR",
    ];
    // Each twice in one process: what can be kept is kept now.
    let first = fixture.host.ask_all(&[&queries[..], &queries[..]].concat());
    assert_eq!(
        first[4].answer,
        ["web.shop.svc.cluster.local. 5 IN A 10.96.0.1"]
    );
    assert_eq!(
        (first[5].answer.len(), first[5].additional.len()),
        (0, 2),
        "answered by the next plugin"
    );
    put(Object::Service(service("shop", "web", &["10.96.0.98"])));
    put(Object::Service(service("shop", "soon", &["10.96.0.99"])));
    assert_eq!(
        answers(web),
        ["web.shop.svc.cluster.local. 5 IN A 10.96.0.98"]
    );
    assert_eq!(
        answers(soon),
        ["soon.shop.svc.cluster.local. 5 IN A 10.96.0.99"]
    );
    assert_eq!(
        answers("99.0.96.10.in-addr.arpa. PTR"),
        ["99.0.96.10.in-addr.arpa. 5 IN PTR soon.shop.svc.cluster.local."]
    );
    assert_eq!(
        answers("98.0.96.10.in-addr.arpa. PTR"),
        ["98.0.96.10.in-addr.arpa. 5 IN PTR web.shop.svc.cluster.local."]
    );
    assert_eq!(answers("1.0.96.10.in-addr.arpa. PTR"), [""; 0]);
    // And a packet thread answers them itself.
    for both in fixture
        .host
        .ask_both_ways(&[web, "no.shop.svc.cluster.local. A"])
    {
        assert!(both.short.is_none_or(|short| short == both.long));
    }
}

#[test]
fn a_packet_thread_answers_what_is_in_memory() {
    for directives in [
        "",
        "cache 30",
        "cache 30\n loadbalance\n errors\n prometheus :0",
    ] {
        let fixture = known("pods insecure", directives);
        for query in [
            "web.shop.svc.cluster.local. A",
            "web.shop.svc.cluster.local. AAAA",
            "_http._tcp.web.shop.svc.cluster.local. SRV",
            "1.0.96.10.in-addr.arpa. PTR",
            "www.example.com.shop.svc.cluster.local. A",
            "example.com.svc.cluster.local. AAAA",
            "example.com.cluster.local. A",
            "10-1-7-7.shop.pod.cluster.local. A",
            "db-1.db.shop.svc.cluster.local. A",
        ] {
            let [both] = &fixture.host.ask_both_ways(&[query])[..] else {
                panic!()
            };
            // Names of addresses may be anybody's, so a cache looks them up first.
            assert!(both.short.is_some(), "{directives}: {query}");
            assert_eq!(both.short.as_ref(), Some(&both.long), "{query}");
        }
    }
}

#[test]
fn slices_that_overlap_answer_each_for_what_it_has() {
    let fixture = known("", "");
    let mirrored = |name: &str, port_name: &str, number: u16| Slice {
        ports: vec![port(port_name, Protocol::Tcp, number)],
        ..slice("shop", name, "mirror", &[("10.1.3.1", "")])
    };
    let shared = [("10.1.4.1", "one"), ("10.1.4.1", "two")];
    fixture.put(&[
        Object::Service(Service {
            reach: Reach::Headless,
            ..service("shop", "mirror", &[])
        }),
        Object::Slice(mirrored("mirror-1", "http", 80)),
        Object::Slice(mirrored("mirror-2", "metrics", 90)),
        Object::Service(Service {
            reach: Reach::Headless,
            ..service("shop", "shared", &[])
        }),
        Object::Slice(slice("shop", "shared-1", "shared", &shared)),
    ]);
    for (name, number) in [("http", 80), ("metrics", 90)] {
        let query = format!("_{name}._tcp.mirror.shop.svc.cluster.local.");
        fixture.check(
            &format!("{query} A"),
            &format!("answer: {query} 5 IN A 10.1.3.1"),
        );
        fixture.check(
            &format!("{query} SRV"),
            &format!(
                "answer: {query} 5 IN SRV 0 100 {number} 10-1-3-1.mirror.shop.svc.cluster.local."
            ),
        );
    }
    fixture.check_all(&[
        (
            "mirror.shop.svc.cluster.local. A",
            "answer: mirror.shop.svc.cluster.local. 5 IN A 10.1.3.1",
        ),
        (
            "shared.shop.svc.cluster.local. A",
            "answer: shared.shop.svc.cluster.local. 5 IN A 10.1.4.1",
        ),
        (
            "two.shared.shop.svc.cluster.local. A",
            "answer: two.shared.shop.svc.cluster.local. 5 IN A 10.1.4.1",
        ),
    ]);
    let both = fixture.host.ask("mirror.shop.svc.cluster.local. SRV");
    assert_eq!(
        (both.answer.len(), both.additional.len()),
        (2, 1),
        "{both:?}"
    );
    let names = fixture.host.ask("shared.shop.svc.cluster.local. SRV");
    assert_eq!(
        (names.answer.len(), names.additional.len()),
        (2, 2),
        "{names:?}"
    );
}

#[test]
fn parts_that_were_not_kept_so_far_are_not_denied() {
    let fixture = Fixture::unsynced("endpoint_pod_names", "");
    let keep = |keep| fixture.cluster.writer().lock().unwrap().set_keep(keep);
    keep(Keep::default());
    fixture.list(&objects());
    let known = (
        "web.shop.svc.cluster.local. A",
        "answer: web.shop.svc.cluster.local. 5 IN A 10.96.0.1",
    );
    let named = "web-pod-1.web.shop.svc.cluster.local. A";
    fixture.check_all(&[known, (named, "rcode: SERVFAIL")]);
    keep(Keep::ALL);
    fixture.check_all(&[known, (named, "rcode: SERVFAIL")]);
    fixture.list(&objects());
    let found = "answer: web-pod-1.web.shop.svc.cluster.local. 5 IN A 10.1.0.2";
    fixture.check_all(&[known, (named, found)]);
}
