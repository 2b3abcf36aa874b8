use crate::kube::record::{Ingress, Object, Protocol, Reach, Service, Sink};
use crate::testing::Host;
use crate::testing::cluster::{Fixture, URL, ips, port, service, slice};

/// A block that answers for example.org, and for the names of a load balancer in example.net.
fn known(options: &str, rest: &str) -> Fixture {
    Fixture::new(&objects(), "", &directives(options, rest))
}

fn directives(options: &str, rest: &str) -> String {
    format!("k8s_external example.org in-addr.arpa ip6.arpa {{\n {options}\n }}\n {rest}")
}

fn objects() -> Vec<Object> {
    let exposed = |name: &str, external: &[&str], ingress: &[&str]| Service {
        external_ips: ips(external),
        ingress: ingress
            .iter()
            .map(|text| match text.parse() {
                Ok(ip) => Ingress::Ip(ip),
                Err(_) => Ingress::Host((*text).into()),
            })
            .collect(),
        ..service("shop", name, &["10.96.0.1"])
    };
    let headless = |service: Service| Service {
        reach: Reach::Headless,
        cluster_ips: Vec::new(),
        ..service
    };
    let ports = vec![
        port("dns", Protocol::Udp, 53),
        port("dns-tcp", Protocol::Tcp, 53),
        port("metrics", Protocol::Tcp, 9153),
    ];
    vec![
        Object::Namespace("shop".into()),
        Object::Namespace("empty".into()),
        Object::Service(exposed("web", &["192.0.2.1"], &[])),
        Object::Service(exposed("other", &["192.0.2.1"], &[])),
        Object::Service(Service {
            ports,
            ..exposed("dual", &["192.0.2.2"], &["2001:db8::2", "192.0.2.2"])
        }),
        Object::Service(exposed("balanced", &[], &["lb.example.net"])),
        Object::Service(exposed("mixed", &["192.0.2.4"], &["lb.example.net"])),
        Object::Service(Service {
            ports: Vec::new(),
            ..exposed("portless", &["192.0.2.5"], &["lb.example.net"])
        }),
        Object::Service(exposed("inner", &[], &[])),
        Object::Service(headless(exposed("db", &[], &[]))),
        Object::Service(headless(exposed("nobody", &[], &[]))),
        Object::Service(headless(exposed("open", &["192.0.2.6"], &[]))),
        Object::Slice(slice("shop", "web-1", "web", &[("10.1.0.1", "")])),
        Object::Slice(slice("shop", "web-2", "web", &[("fd00::1", "")])),
        Object::Slice(slice(
            "shop",
            "db-1",
            "db",
            &[("10.1.1.1", "db-0"), ("10.1.1.2", "")],
        )),
        Object::Slice(slice("shop", "open-1", "open", &[("10.1.2.1", "open-0")])),
    ]
}

const FORTH: &str = "template IN A example.net {\n answer \"{{ .Name }} 60 IN A 192.0.2.77\"\n }
 template IN AAAA example.net {\n answer \"{{ .Name }} 60 IN AAAA 2001:db8::77\"\n }";

/// Nothing but an SOA record, looked at without its serial, which is the time.
fn denied(fixture: &Fixture, query: &str, rcode: &str) {
    let seen = fixture.host.ask(query);
    assert_eq!(
        (seen.rcode.as_str(), seen.answer.len()),
        (rcode, 0),
        "{query}: {seen:?}"
    );
    assert_eq!(seen.flags, "qr aa rd", "{query}");
    let [soa] = &seen.authority[..] else {
        panic!("{query}: {seen:?}")
    };
    assert!(soa.contains(" 5 IN SOA ns1.dns."), "{query}: {soa}");
    assert!(soa.ends_with(" 7200 1800 86400 5"), "{query}: {soa}");
    for both in fixture.host.ask_both_ways(&[query]) {
        assert_eq!(both.short, Some(both.long), "{query}");
    }
}

#[test]
fn services_with_addresses() {
    known("", "").check_all(&[
        (
            "web.shop.example.org. A",
            "rcode: NOERROR
             flags: qr aa rd
             answer: web.shop.example.org. 5 IN A 192.0.2.1
             authority:",
        ),
        (
            "Web.Shop.Example.ORG. A +tcp",
            "answer: Web.Shop.Example.ORG. 5 IN A 192.0.2.1",
        ),
        (
            "_http._tcp.web.shop.example.org. A bufsize=1232",
            "answer: _http._tcp.web.shop.example.org. 5 IN A 192.0.2.1",
        ),
        (
            "http.tcp.web.shop.example.org. A",
            "answer: http.tcp.web.shop.example.org. 5 IN A 192.0.2.1",
        ),
        // As CoreDNS has it, whatever the label says.
        (
            "anything.web.shop.example.org. A",
            "answer: anything.web.shop.example.org. 5 IN A 192.0.2.1",
        ),
        (
            "dual.shop.example.org. A",
            "answer: dual.shop.example.org. 5 IN A 192.0.2.2",
        ),
        (
            "dual.shop.example.org. AAAA",
            "answer: dual.shop.example.org. 5 IN AAAA 2001:db8::2",
        ),
        (
            "open.shop.example.org. A",
            "answer: open.shop.example.org. 5 IN A 192.0.2.6",
        ),
    ]);
}

#[test]
fn ports_of_services() {
    known("", "").check_all(&[
        (
            "web.shop.example.org. SRV",
            "answer: web.shop.example.org. 5 IN SRV 0 100 80 web.shop.example.org.
             additional: web.shop.example.org. 5 IN A 192.0.2.1",
        ),
        (
            "dual.shop.example.org. SRV",
            "answer: dual.shop.example.org. 5 IN SRV 0 16 53 dual.shop.example.org.
             answer: dual.shop.example.org. 5 IN SRV 0 16 9153 dual.shop.example.org.
             additional: dual.shop.example.org. 5 IN A 192.0.2.2
             additional: dual.shop.example.org. 5 IN AAAA 2001:db8::2",
        ),
        (
            "_metrics._tcp.Dual.shop.example.org. SRV",
            "answer: _metrics._tcp.Dual.shop.example.org. 5 IN SRV 0 50 9153 Dual.shop.example.org.
             additional: Dual.shop.example.org. 5 IN A 192.0.2.2
             additional: Dual.shop.example.org. 5 IN AAAA 2001:db8::2",
        ),
    ]);
}

#[test]
fn names_of_load_balancers_are_followed() {
    known("", FORTH).check_all(&[
        (
            "balanced.shop.example.org. A",
            "rcode: NOERROR
             flags: qr aa rd
             answer: balanced.shop.example.org. 5 IN CNAME lb.example.net.
             answer: lb.example.net. 60 IN A 192.0.2.77",
        ),
        (
            "balanced.shop.example.org. AAAA",
            "answer: balanced.shop.example.org. 5 IN CNAME lb.example.net.
             answer: lb.example.net. 60 IN AAAA 2001:db8::77",
        ),
        (
            "mixed.shop.example.org. A",
            "answer: mixed.shop.example.org. 5 IN A 192.0.2.4
             answer: mixed.shop.example.org. 5 IN CNAME lb.example.net.
             answer: lb.example.net. 60 IN A 192.0.2.77",
        ),
        (
            "mixed.shop.example.org. SRV",
            "answer: mixed.shop.example.org. 5 IN SRV 0 50 80 mixed.shop.example.org.
             answer: mixed.shop.example.org. 5 IN SRV 0 50 80 lb.example.net.
             additional: mixed.shop.example.org. 5 IN A 192.0.2.4
             additional: lb.example.net. 60 IN A 192.0.2.77
             additional: lb.example.net. 60 IN AAAA 2001:db8::77",
        ),
        (
            "portless.shop.example.org. SRV",
            "rcode: NOERROR\nanswer:\nadditional:",
        ),
    ]);
    // A name that leads nowhere is told all the same.
    known("", "whoami").check(
        "balanced.shop.example.org. A",
        "rcode: NOERROR\nanswer: balanced.shop.example.org. 5 IN CNAME lb.example.net.",
    );
}

#[test]
fn names_that_are_there_without_such_records() {
    let fixture = known("", "");
    for query in [
        "web.shop.example.org. AAAA",
        "web.shop.example.org. MX",
        "web.shop.example.org. PTR",
        "web.shop.example.org. SOA",
        "balanced.shop.example.org. CNAME",
        "shop.example.org. A",
        "empty.example.org. SRV",
        "example.org. A",
        "dns.example.org. A",
        "dns.example.org. SOA",
        "ns1.dns.example.org. TXT",
    ] {
        denied(&fixture, query, "NOERROR");
    }
}

#[test]
fn names_that_are_not_there() {
    let fixture = known("", "");
    for query in [
        "no.shop.example.org. A",
        "web.empty.example.org. A",
        "no.example.org. A",
        "inner.shop.example.org. A",
        "db.shop.example.org. A",
        "db-0.db.shop.example.org. A",
        "_https._tcp.web.shop.example.org. SRV",
        "_http._udp.web.shop.example.org. A",
        "_http._tcp.portless.shop.example.org. SRV",
        "a.b.c.web.shop.example.org. A",
        "ns2.dns.example.org. A",
        "a.ns1.dns.example.org. A",
        "9.2.0.192.in-addr.arpa. PTR",
        "1.0.96.10.in-addr.arpa. PTR",
        "1.2.0.192.in-addr.arpa. A",
        "2.0.192.in-addr.arpa. PTR",
    ] {
        denied(&fixture, query, "NXDOMAIN");
    }
}

#[test]
fn headless_services() {
    let fixture = known("headless", "");
    fixture.check_all(&[
        (
            "db.shop.example.org. A",
            "answer: db.shop.example.org. 5 IN A 10.1.1.1
             answer: db.shop.example.org. 5 IN A 10.1.1.2",
        ),
        (
            "_http._tcp.db.shop.example.org. SRV",
            "answer: _http._tcp.db.shop.example.org. 5 IN SRV 0 50 8080 db-0.db.shop.example.org.
             answer: _http._tcp.db.shop.example.org. 5 IN SRV 0 50 8080 10-1-1-2.db.shop.example.org.
             additional: db-0.db.shop.example.org. 5 IN A 10.1.1.1
             additional: 10-1-1-2.db.shop.example.org. 5 IN A 10.1.1.2",
        ),
        (
            "db-0.db.shop.example.org. A",
            "answer: db-0.db.shop.example.org. 5 IN A 10.1.1.1",
        ),
        (
            "10-1-1-2.db.shop.example.org. SRV",
            "answer: 10-1-1-2.db.shop.example.org. 5 IN SRV 0 100 8080 10-1-1-2.db.shop.example.org.
             additional: 10-1-1-2.db.shop.example.org. 5 IN A 10.1.1.2",
        ),
        // One with external addresses has those.
        (
            "open.shop.example.org. A",
            "answer: open.shop.example.org. 5 IN A 192.0.2.6",
        ),
        (
            "open-0.open.shop.example.org. A",
            "answer: open-0.open.shop.example.org. 5 IN A 192.0.2.6",
        ),
    ]);
    for query in [
        "nobody.shop.example.org. A",
        "inner.shop.example.org. A",
        "db-1.db.shop.example.org. A",
        "_https._tcp.db.shop.example.org. A",
    ] {
        denied(&fixture, query, "NXDOMAIN");
    }
    denied(&fixture, "db.shop.example.org. AAAA", "NOERROR");
    let rest = directives("headless", "");
    let fixture = Fixture::new(&objects(), "noendpoints", &rest);
    denied(&fixture, "db.shop.example.org. A", "NXDOMAIN");
}

#[test]
fn addresses_back_to_names() {
    let reverse = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.";
    let fixture = known("", "");
    fixture.check_all(&[
        (
            "6.2.0.192.in-addr.arpa. PTR",
            "rcode: NOERROR
             flags: qr aa rd
             answer: 6.2.0.192.in-addr.arpa. 5 IN PTR open.shop.example.org.",
        ),
        (
            &format!("{reverse} PTR"),
            &format!("answer: {reverse} 5 IN PTR dual.shop.example.org."),
        ),
    ]);
    let mut both = fixture.host.ask("1.2.0.192.in-addr.arpa. PTR").answer;
    both.sort();
    assert_eq!(
        both,
        [
            "1.2.0.192.in-addr.arpa. 5 IN PTR other.shop.example.org.",
            "1.2.0.192.in-addr.arpa. 5 IN PTR web.shop.example.org."
        ]
    );
    let hidden = Fixture::new(&objects(), "namespaces empty", &directives("", ""));
    denied(&hidden, "6.2.0.192.in-addr.arpa. PTR", "NXDOMAIN");
    denied(&hidden, "web.shop.example.org. A", "NXDOMAIN");
}

#[test]
fn the_zone_itself_and_the_server() {
    // It is an endpoint of *web*, by two addresses.
    let own = known("", "bind 10.1.0.1 fd00::1");
    own.check_all(&[
        (
            "example.org. NS",
            "answer: example.org. 5 IN NS ns1.dns.example.org.
             additional: ns1.dns.example.org. 5 IN A 192.0.2.1",
        ),
        (
            "ns1.dns.example.org. A",
            "answer: ns1.dns.example.org. 5 IN A 192.0.2.1",
        ),
        ("example.org. AXFR +tcp", "rcode: REFUSED"),
        ("web.shop.example.org. IXFR", "rcode: REFUSED"),
    ]);
    let soa = own.host.ask("example.org. SOA").answer;
    let start = "example.org. 5 IN SOA ns1.dns.example.org. hostmaster.dns.example.org. ";
    assert!(
        soa.len() == 1 && soa[0].starts_with(start) && soa[0].ends_with(" 7200 1800 86400 5"),
        "{soa:?}"
    );
    let serial = soa[0].split(' ').nth(6).unwrap();
    assert!(serial.parse::<u32>().unwrap() > 1_600_000_000, "{serial}");
    known("headless", "bind 10.1.1.2").check(
        "ns1.dns.example.org. A",
        "answer: ns1.dns.example.org. 5 IN A 10.1.1.1
         answer: ns1.dns.example.org. 5 IN A 10.1.1.2",
    );
    known("apex Names", "bind 192.0.2.53 2001:db8::53").check_all(&[
        (
            "example.org. NS",
            "answer: example.org. 5 IN NS ns1.names.example.org.
             additional: ns1.names.example.org. 5 IN A 192.0.2.53
             additional: ns1.names.example.org. 5 IN AAAA 2001:db8::53",
        ),
        (
            "ns1.names.example.org. AAAA",
            "answer: ns1.names.example.org. 5 IN AAAA 2001:db8::53",
        ),
        ("ns1.dns.example.org. A", "rcode: NXDOMAIN"),
    ]);
}

#[test]
fn ttls_are_its_own_and_those_of_kubernetes() {
    let fixture = Fixture::new(&objects(), "ttl 30", &directives("ttl 60", FORTH));
    fixture.check_all(&[
        (
            "web.shop.example.org. A",
            "answer: web.shop.example.org. 60 IN A 192.0.2.1",
        ),
        (
            "web.shop.example.org. SRV",
            "answer: web.shop.example.org. 30 IN SRV 0 100 80 web.shop.example.org.
             additional: web.shop.example.org. 60 IN A 192.0.2.1",
        ),
        (
            "balanced.shop.example.org. A",
            "answer: balanced.shop.example.org. 30 IN CNAME lb.example.net.
             answer: lb.example.net. 60 IN A 192.0.2.77",
        ),
        (
            "web.shop.svc.cluster.local. A",
            "answer: web.shop.svc.cluster.local. 30 IN A 10.96.0.1",
        ),
    ]);
    let denial = fixture.host.ask("no.shop.example.org. A");
    assert!(
        denial.authority[0].starts_with("example.org. 60 IN SOA ")
            && denial.authority[0].ends_with(" 86400 60"),
        "{denial:?}"
    );
}

#[test]
fn what_is_not_there_may_fall_through() {
    let rest = directives("fallthrough", "whoami");
    // Names of addresses are in the zones of *kubernetes*, too.
    let all = Fixture::new(&objects(), "fallthrough", &rest);
    let passed = |query: &str| all.host.ask(query).additional.len() == 2;
    assert!(passed("no.shop.example.org. A") && passed("no.example.org. MX"));
    assert!(passed("9.2.0.192.in-addr.arpa. PTR"));
    // What exists does not, nor does the branch of the server.
    assert!(!passed("web.shop.example.org. MX") && !passed("shop.example.org. A"));
    assert!(!passed("ns2.dns.example.org. A") && !passed("example.org. A"));
    let some = known("fallthrough empty.example.org", "whoami");
    denied(&some, "no.shop.example.org. A", "NXDOMAIN");
    let passed = some.host.ask("no.empty.example.org. A");
    assert_eq!(passed.additional.len(), 2, "{passed:?}");
}

#[test]
fn before_the_first_sync_nothing_is_denied() {
    let rest = directives("fallthrough", "whoami");
    let fixture = Fixture::unsynced("fallthrough", &rest);
    fixture.check_all(&[
        ("web.shop.example.org. A", "rcode: SERVFAIL"),
        ("no.example.org. A", "rcode: SERVFAIL"),
        ("example.org. SOA", "rcode: NOERROR"),
    ]);
    let reverse = fixture.host.ask("1.2.0.192.in-addr.arpa. PTR");
    assert_eq!(reverse.additional.len(), 2, "{reverse:?}");
    fixture.list(&objects());
    fixture.check("web.shop.example.org. A", "rcode: NOERROR");
}

#[test]
fn what_changes_is_answered_anew() {
    let fixture = known("", "");
    let mut writer = fixture.cluster.writer().lock().unwrap();
    writer.put(&Object::Service(Service {
        external_ips: ips(&["192.0.2.99"]),
        ..service("shop", "web", &["10.96.0.1"])
    }));
    writer.remove(&Object::Service(service("shop", "open", &[])));
    drop(writer);
    fixture.check_all(&[
        (
            "web.shop.example.org. A",
            "answer: web.shop.example.org. 5 IN A 192.0.2.99",
        ),
        (
            "99.2.0.192.in-addr.arpa. PTR",
            "answer: 99.2.0.192.in-addr.arpa. 5 IN PTR web.shop.example.org.",
        ),
        (
            "1.2.0.192.in-addr.arpa. PTR",
            "answer: 1.2.0.192.in-addr.arpa. 5 IN PTR other.shop.example.org.",
        ),
        ("open.shop.example.org. A", "rcode: NXDOMAIN"),
    ]);
}

#[test]
fn a_cache_in_front_is_never_stale() {
    let rest = directives("fallthrough", "cache 30\n whoami");
    let fixture = Fixture::new(&objects(), "fallthrough", &rest);
    let put = |name: &str, address: &str| {
        let mut writer = fixture.cluster.writer().lock().unwrap();
        writer.put(&Object::Service(Service {
            external_ips: ips(&[address]),
            ..service("shop", name, &["10.96.0.1"])
        }));
    };
    let addresses = |name: &str| {
        let query = format!("{name}.shop.example.org. A");
        let both = fixture.host.ask_both_ways(&[&query]).remove(0);
        assert_eq!(both.short, Some(both.long), "{query}");
        fixture.host.ask(&query).answer
    };
    for address in ["192.0.2.98", "192.0.2.99"] {
        put("web", address);
        assert_eq!(
            addresses("web"),
            [format!("web.shop.example.org. 5 IN A {address}")]
        );
        let reverse = address.rsplit('.').next().unwrap().to_owned() + ".2.0.192.in-addr.arpa.";
        let seen = fixture.host.ask(&format!("{reverse} PTR"));
        assert!(
            seen.answer[0].ends_with(" PTR web.shop.example.org."),
            "{seen:?}"
        );
    }
    // What fell through and was kept is not what is answered once it is there.
    fixture.host.ask("late.shop.example.org. A");
    put("late", "192.0.2.97");
    assert_eq!(
        addresses("late"),
        ["late.shop.example.org. 5 IN A 192.0.2.97"]
    );
}

#[test]
fn lines_that_are_wrong() {
    let refused = |lines: &str| {
        let corefile = format!(
            ".:53 {{\n kubernetes cluster.local {{\n endpoint {URL}\n }}\n k8s_external example.org {lines}\n}}\n"
        );
        let error = Host::new(&corefile).err();
        error.unwrap_or_else(|| panic!("{lines}"))
    };
    for (option, expected) in [
        (
            "ttl",
            "Wrong argument count or unexpected line ending after 'ttl'",
        ),
        ("ttl 3601", "ttl must be in range [0, 3600]: 3601"),
        ("ttl -1", "ttl must be in range [0, 3600]: -1"),
        (
            "ttl x",
            "plugin/k8s_external: strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            "apex",
            "Wrong argument count or unexpected line ending after 'apex'",
        ),
        ("apex a.b", "apex must be one label of a name: a.b"),
        ("moo", "unknown property 'moo'"),
    ] {
        let error = refused(&format!("{{\n {option}\n }}"));
        assert!(error.contains(expected), "{option}: {error}");
    }
    let alone = Host::new(".:53 {\n k8s_external example.org\n whoami\n}\n").err();
    assert_eq!(
        alone.as_deref(),
        Some("plugin/k8s_external: kubernetes plugin not loaded")
    );
}
