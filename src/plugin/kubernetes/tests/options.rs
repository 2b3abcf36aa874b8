//! What options show, hide and refuse.

use super::*;

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
