use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::kube::record::{self, Object, Protocol, Sink};

fn store() -> (Arc<Store>, Writer) {
    let store = Arc::new(Store::new());
    let keep = Keep {
        targets: true,
        zones: true,
        pods: true,
    };
    (Arc::clone(&store), Writer::new(store, keep))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn service(namespace: &str, name: &str, ips: &[&str]) -> record::Service {
    record::Service {
        namespace: namespace.into(),
        name: name.into(),
        cluster_ips: ips.iter().map(|text| ip(text)).collect(),
        ports: vec![record::Port {
            name: "http".into(),
            protocol: Protocol::Tcp,
            number: 80,
        }],
        ..record::Service::default()
    }
}

fn slice(namespace: &str, name: &str, of: &str, endpoints: &[(&str, &str)]) -> record::Slice {
    let endpoint = |(address, hostname): &(&str, &str)| record::Endpoint {
        ip: ip(address),
        hostname: (*hostname).into(),
        target: format!("pod-{}", address.replace(['.', ':'], "-")),
        zone: "a".into(),
    };
    record::Slice {
        namespace: namespace.into(),
        name: name.into(),
        service: of.into(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        ..record::Slice::default()
    }
}

fn list(writer: &mut Writer, kind: Kind, objects: &[Object]) {
    writer.list_begins(kind);
    objects.iter().for_each(|object| writer.put(object));
    writer.list_ends(kind);
}

fn endpoints_of(store: &Store, namespace: &str, name: &str) -> Option<Vec<String>> {
    let pin = Pin::new();
    let view = store.view(&pin);
    let service = view.service(
        view.namespace(namespace.as_bytes())?,
        name.as_bytes(),
        false,
    )?;
    let endpoints = service.slices().flat_map(|slice| slice.endpoints());
    let mut ips: Vec<String> = endpoints.map(|endpoint| endpoint.ip.to_string()).collect();
    ips.sort();
    Some(ips)
}

#[test]
fn a_service_is_found_by_name_and_by_address() {
    let (store, mut writer) = store();
    writer.put(&Object::Namespace("prod".into()));
    writer.put(&Object::Service(service(
        "prod",
        "web",
        &["10.0.0.1", "fd00::1"],
    )));
    let pin = Pin::new();
    let view = store.view(&pin);
    let prod = view.namespace(b"prod").unwrap();
    let web = view.service(prod, b"web", false).unwrap();
    assert_eq!((web.name(), web.reach()), (&b"web"[..], Reach::ClusterIp));
    assert!(web.cluster_ips().eq([ip("10.0.0.1"), ip("fd00::1")]));
    let ports: Vec<_> = web.ports().collect();
    assert_eq!(
        (ports.len(), ports[0].number, ports[0].name),
        (1, 80, &b"http"[..])
    );
    for address in ["10.0.0.1", "fd00::1"] {
        let names: Vec<_> = view
            .services_at(ip(address))
            .map(|service| service.name())
            .collect();
        assert_eq!(names, [b"web"]);
    }
    assert_eq!(view.services_at(ip("10.0.0.2")).count(), 0);
    assert!(view.service(prod, b"we", false).is_none());
    assert!(
        view.service(prod, b"web", true).is_none(),
        "imported ones are apart"
    );
    assert!(view.namespace(b"pro").is_none());
}

#[test]
fn ways_in_from_outside_are_found_by_address_and_go() {
    let (store, mut writer) = store();
    let with = |external: &[&str], ingress: &[record::Ingress]| {
        Object::Service(record::Service {
            external_ips: external.iter().map(|text| ip(text)).collect(),
            ingress: ingress.to_vec(),
            ..service("prod", "web", &["10.0.0.1"])
        })
    };
    let host = |name: &str| record::Ingress::Host(name.into());
    let found = |address: &str| {
        let pin = Pin::new();
        let view = store.view(&pin);
        view.services_exposed_at(ip(address)).count()
    };
    writer.put(&Object::Namespace("prod".into()));
    writer.put(&with(
        &["192.0.2.1", "2001:db8::1"],
        &[
            record::Ingress::Ip(ip("192.0.2.1")),
            host("LB.example.com"),
            host("lb.example.com."),
            host("no..name"),
        ],
    ));
    let pin = Pin::new();
    let view = store.view(&pin);
    let web = view.service(view.namespace(b"prod").unwrap(), b"web", false);
    let name = b"\x02lb\x07example\x03com\x00";
    assert!(web.unwrap().externals().eq([
        External::Ip(ip("192.0.2.1")),
        External::Ip(ip("2001:db8::1")),
        External::Name(name),
    ]));
    assert_eq!(["192.0.2.1", "2001:db8::1"].map(found), [1, 1]);
    assert_eq!(["10.0.0.1", "192.0.2.2"].map(found), [0, 0]);
    assert_eq!(view.services_at(ip("192.0.2.1")).count(), 0);
    writer.put(&with(&["192.0.2.2"], &[]));
    assert_eq!(
        ["192.0.2.1", "2001:db8::1", "192.0.2.2"].map(found),
        [0, 0, 1]
    );
    writer.remove(&with(&[], &[]));
    assert_eq!(["192.0.2.1", "192.0.2.2"].map(found), [0, 0]);
}

#[test]
fn slices_may_come_before_their_service_and_stay_after_it() {
    let (store, mut writer) = store();
    writer.put(&Object::Namespace("db".into()));
    writer.put(&Object::Slice(slice(
        "db",
        "pg-1",
        "pg",
        &[("10.1.0.2", "pg-1"), ("10.1.0.1", "pg-0")],
    )));
    assert_eq!(endpoints_of(&store, "db", "pg"), None);
    writer.put(&Object::Service(record::Service {
        reach: Reach::Headless,
        ..service("db", "pg", &[])
    }));
    assert_eq!(
        endpoints_of(&store, "db", "pg").unwrap(),
        ["10.1.0.1", "10.1.0.2"]
    );
    {
        let pin = Pin::new();
        let view = store.view(&pin);
        let pg = view
            .service(view.namespace(b"db").unwrap(), b"pg", false)
            .unwrap();
        for name in [&b"pg-0"[..], b"pod-10-1-0-1"] {
            let named: Vec<_> = pg
                .endpoints_named(name)
                .map(|(_, endpoint)| endpoint.ip)
                .collect();
            assert_eq!(named, [ip("10.1.0.1")]);
        }
        assert_eq!(
            pg.endpoints_at(ip("10.1.0.2")).next().unwrap().1.hostname,
            b"pg-1"
        );
        let at: Vec<_> = view
            .slices_at(ip("10.1.0.2"))
            .map(|(slice, _)| slice.service_name())
            .collect();
        assert_eq!(at, [b"pg"]);
    }
    writer.remove(&Object::Service(service("db", "pg", &[])));
    assert_eq!(endpoints_of(&store, "db", "pg"), None);
    writer.put(&Object::Service(service("db", "pg", &["10.0.0.9"])));
    assert_eq!(endpoints_of(&store, "db", "pg").unwrap().len(), 2);
}

#[test]
fn a_slice_changes_and_moves_to_another_service() {
    let (store, mut writer) = store();
    writer.put(&Object::Namespace("x".into()));
    for name in ["a", "b"] {
        writer.put(&Object::Service(service("x", name, &[])));
    }
    writer.put(&Object::Slice(slice(
        "x",
        "s",
        "a",
        &[("10.1.0.1", "h"), ("10.1.0.2", "")],
    )));
    writer.put(&Object::Slice(slice(
        "x",
        "s",
        "a",
        &[("10.1.0.3", "h"), ("10.1.0.2", "")],
    )));
    assert_eq!(
        endpoints_of(&store, "x", "a").unwrap(),
        ["10.1.0.2", "10.1.0.3"]
    );
    let pin = Pin::new();
    assert_eq!(store.view(&pin).slices_at(ip("10.1.0.1")).count(), 0);
    writer.put(&Object::Slice(slice("x", "s", "b", &[("10.1.0.3", "")])));
    assert_eq!(endpoints_of(&store, "x", "a").unwrap(), [""; 0]);
    assert_eq!(endpoints_of(&store, "x", "b").unwrap(), ["10.1.0.3"]);
    writer.remove(&Object::Slice(slice("x", "s", "", &[])));
    assert_eq!(endpoints_of(&store, "x", "b").unwrap(), [""; 0]);
    assert_eq!(store.view(&pin).slices_at(ip("10.1.0.3")).count(), 0);
    assert_eq!(writer.len(Kind::Slice), 0);
}

#[test]
fn a_list_removes_what_it_does_not_name_and_changes_nothing_else() {
    let (store, mut writer) = store();
    let namespaces = [Object::Namespace("a".into()), Object::Namespace("b".into())];
    let services =
        ["one", "two", "three"].map(|name| Object::Service(service("a", name, &["10.0.0.1"])));
    list(&mut writer, Kind::Namespace, &namespaces);
    list(&mut writer, Kind::Service, &services);
    let imports = [Object::Import(record::Import {
        namespace: "a".into(),
        name: "one".into(),
        ..record::Import::default()
    })];
    list(&mut writer, Kind::Import, &imports);
    assert!(!store.is_synced(Kinds::BASE));
    list(&mut writer, Kind::Slice, &[]);
    assert!(store.is_synced(Kinds::BASE) && store.is_live(Kinds::BASE));
    let changes = store.changes();
    list(&mut writer, Kind::Service, &services);
    assert_eq!(store.changes(), changes, "nothing has changed");
    writer.list_begins(Kind::Service);
    writer.put(&services[0]);
    // Lists of two kinds at a time.
    list(&mut writer, Kind::Import, &imports);
    writer.put(&services[2]);
    writer.list_ends(Kind::Service);
    assert_eq!(store.changes(), changes + 1);
    let pin = Pin::new();
    let view = store.view(&pin);
    let a = view.namespace(b"a").unwrap();
    let is_there = |name: &[u8], is_imported| view.service(a, name, is_imported).is_some();
    assert!(is_there(b"one", false) && !is_there(b"two", false) && is_there(b"three", false));
    assert!(is_there(b"one", true));
    list(&mut writer, Kind::Namespace, &namespaces[1..]);
    assert!(view.namespace(b"a").is_none() && view.namespace(b"b").is_some());
}

#[test]
fn pods_come_change_and_go() {
    let (store, mut writer) = store();
    let pod = |ips: &[&str]| {
        Object::Pod(record::Pod {
            namespace: "p".into(),
            name: "web-0".into(),
            ips: ips.iter().map(|text| ip(text)).collect(),
            labels: vec![("app".into(), "web".into())],
        })
    };
    writer.put(&Object::Namespace("p".into()));
    writer.put(&pod(&[]));
    assert_eq!(writer.len(Kind::Pod), 0, "it has no address yet");
    writer.put(&pod(&["10.2.0.1", "fd00::2"]));
    writer.put(&pod(&["10.2.0.2", "fd00::2"]));
    let pin = Pin::new();
    let view = store.view(&pin);
    assert_eq!(view.pods_at(ip("10.2.0.1")).count(), 0);
    let found = view.pods_at(ip("fd00::2")).next().unwrap();
    assert_eq!(
        (found.name(), view.namespace_name(found.namespace())),
        (&b"web-0"[..], &b"p"[..])
    );
    assert!(found.labels().eq([(&b"app"[..], &b"web"[..])]));
    writer.remove(&pod(&[]));
    assert_eq!(view.pods_at(ip("10.2.0.2")).count(), 0);
}

#[test]
fn staleness_is_told_from_never_synced() {
    let (store, mut writer) = store();
    assert_eq!(store.stale_since_ns(Kinds::BASE), None);
    for kind in [Kind::Namespace, Kind::Service, Kind::Slice] {
        list(&mut writer, kind, &[]);
    }
    assert_eq!(store.stale_since_ns(Kinds::BASE), None);
    writer.lost(Kind::Slice);
    assert!(store.is_synced(Kinds::BASE) && !store.is_live(Kinds::BASE));
    assert!(store.stale_since_ns(Kinds::BASE).is_some());
    // That of one kind says nothing of another.
    assert_eq!(store.stale_since_ns(Kinds::BASE.without(Kind::Slice)), None);
    writer.heard(Kind::Slice);
    assert_eq!(store.stale_since_ns(Kinds::BASE), None);
}

#[test]
fn more_than_the_bounds_is_cut() {
    let (store, mut writer) = store();
    writer.put(&Object::Namespace("n".into()));
    writer.put(&Object::Service(service("n", "s", &[])));
    let many: Vec<_> = (0..10_000u32)
        .map(|nth| IpAddr::from((0x0a00_0000 + nth).to_be_bytes()))
        .collect();
    let endpoint = |ip: &IpAddr| record::Endpoint {
        ip: *ip,
        hostname: String::new(),
        target: String::new(),
        zone: String::new(),
    };
    writer.put(&Object::Slice(record::Slice {
        endpoints: many.iter().chain(&many[..10]).map(endpoint).collect(),
        ..slice("n", "s-1", "s", &[])
    }));
    let kept = endpoints_of(&store, "n", "s").unwrap();
    assert_eq!(kept.len(), crate::limits::KUBE_SLICE_ENDPOINTS);
    writer.put(&Object::Service(record::Service {
        reach: Reach::Elsewhere,
        external_name: "not a..name".into(),
        ..service("n", "other", &[])
    }));
    let pin = Pin::new();
    let view = store.view(&pin);
    let other = view
        .service(view.namespace(b"n").unwrap(), b"other", false)
        .unwrap();
    assert!(other.other_name().is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    Service(u8, Vec<u8>),
    DropService(u8),
    Slice(u8, u8, BTreeSet<u8>),
    DropSlice(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ips = prop::collection::btree_set(0u8..12, 0..5);
    let step = prop_oneof![
        (0u8..4, prop::collection::vec(0u8..12, 0..3))
            .prop_map(|(name, ips)| Step::Service(name, ips)),
        (0u8..4).prop_map(Step::DropService),
        (0u8..6, 0u8..4, ips).prop_map(|(name, of, ips)| Step::Slice(name, of, ips)),
        (0u8..6).prop_map(Step::DropSlice),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    /// Whatever comes in whatever order: what is found is what a plain model holds, by name and by address.
    #[test]
    fn it_agrees_with_a_model(steps in steps()) {
        let (store, mut writer) = store();
        writer.put(&Object::Namespace("n".into()));
        let mut services = std::collections::BTreeMap::new();
        let mut slices = std::collections::BTreeMap::new();
        let text = |last: u8| format!("10.0.0.{last}");
        for step in steps {
            match step {
                Step::Service(name, ips) => {
                    let addresses: Vec<String> = ips.iter().map(|last| text(*last)).collect();
                    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
                    writer.put(&Object::Service(service("n", &format!("s{name}"), &addresses)));
                    services.insert(name, ips);
                }
                Step::DropService(name) => {
                    writer.remove(&Object::Service(service("n", &format!("s{name}"), &[])));
                    services.remove(&name);
                }
                Step::Slice(name, of, ips) => {
                    let addresses: Vec<String> = ips.iter().map(|last| text(*last)).collect();
                    let endpoints: Vec<(&str, &str)> = addresses.iter().map(|address| (address.as_str(), "")).collect();
                    writer.put(&Object::Slice(slice("n", &format!("e{name}"), &format!("s{of}"), &endpoints)));
                    slices.insert(name, (of, ips));
                }
                Step::DropSlice(name) => {
                    writer.remove(&Object::Slice(slice("n", &format!("e{name}"), "", &[])));
                    slices.remove(&name);
                }
            }
            let pin = Pin::new();
            let view = store.view(&pin);
            for last in 0..12 {
                let mut found: Vec<_> = view.services_at(ip(&text(last))).map(|service| service.name().to_vec()).collect();
                found.sort();
                let expected: Vec<_> = services.iter().filter(|(_, ips)| ips.contains(&last)).map(|(name, _)| format!("s{name}").into_bytes()).collect();
                prop_assert_eq!(found, expected);
                let found = view.slices_at(ip(&text(last))).count();
                let expected = slices.values().filter(|(_, ips)| ips.contains(&last)).count();
                prop_assert_eq!(found, expected);
            }
            for name in 0..4 {
                let mut expected: Vec<_> = slices.values().filter(|(of, _)| *of == name).flat_map(|(_, ips)| ips.iter().map(|last| text(*last))).collect();
                expected.sort();
                let found = endpoints_of(&store, "n", &format!("s{name}"));
                prop_assert_eq!(found, services.contains_key(&name).then_some(expected));
            }
            prop_assert_eq!(writer.len(Kind::Service), services.len());
            prop_assert_eq!(writer.len(Kind::Slice), slices.len());
        }
    }
}
