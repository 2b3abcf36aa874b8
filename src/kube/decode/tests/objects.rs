//! Each kind of object, with all that is read of it.

use std::time::{Duration, UNIX_EPOCH};

use super::super::accept::{is_host, is_label};
use super::write::{entry, field, list, meta, number};
use super::*;
use crate::kube::record::{Endpoint, Import, Ingress, Pod, Port, Protocol, Reach, Service, Slice};

/// The objects of a list of one item.
fn objects(kind: Kind, encoding: Encoding, body: &[u8]) -> Vec<Object> {
    let mut decoder = Decoder::new(kind, encoding, Shape::List);
    let mut objects = Vec::new();
    decoder
        .feed(body, &mut Refusals::new(kind), &mut |event| match event {
            Event::Put(object) => objects.push(object.clone()),
            event => panic!("{event:?}"),
        })
        .unwrap();
    decoder.end().unwrap();
    objects
}

fn from_json(kind: Kind, item: &str) -> Option<Object> {
    let body = format!(r#"{{"metadata":{{"resourceVersion":"1"}},"items":[{item}]}}"#);
    objects(kind, Encoding::Json, body.as_bytes()).pop()
}

fn from_protobuf(kind: Kind, item: Vec<u8>) -> Option<Object> {
    objects(kind, Encoding::Protobuf, &list("1", "", &[item])).pop()
}

/// Both encodings give this object.
fn check(kind: Kind, json: &str, protobuf: Vec<u8>, expect: Object) {
    assert_eq!(from_json(kind, json).as_ref(), Some(&expect));
    assert_eq!(from_protobuf(kind, protobuf).as_ref(), Some(&expect));
}

fn port(name: &str, protocol: Protocol, number: u16) -> Port {
    Port {
        name: name.to_owned(),
        protocol,
        number,
    }
}

#[test]
fn a_namespace() {
    check(
        Kind::Namespace,
        r#"{"metadata":{"name":"kube-system"},"spec":{"finalizers":["kubernetes"]},"status":{"phase":"Active"}}"#,
        meta("", "kube-system", "1", &[]),
        Object::Namespace("kube-system".into()),
    );
}

#[test]
fn a_service_with_everything() {
    let json = r#"{"metadata":{"name":"web","namespace":"shop"},
        "spec":{"ports":[{"name":"http","port":80,"targetPort":"www"},{"name":"dns","protocol":"UDP","port":53,"targetPort":5353},
                         {"protocol":"SCTP","port":9},{"name":"x","protocol":"QUIC","port":1},{"name":"y","port":70000}],
                "clusterIP":"10.96.0.7","clusterIPs":["10.96.0.7","fd00::7"],"type":"LoadBalancer","externalIPs":["192.0.2.1","no"]},
        "status":{"loadBalancer":{"ingress":[{"ip":"198.51.100.1"},{"hostname":"lb.example.org."},{"hostname":"no name"}]}}}"#;
    let ports = [
        field(
            1,
            [field(1, "http"), number(3, 80), field(4, number(1, 1))].concat(),
        ),
        field(
            1,
            [field(1, "dns"), field(2, "UDP"), number(3, 53)].concat(),
        ),
        field(1, [field(2, "SCTP"), number(3, 9)].concat()),
        field(1, [field(1, "x"), field(2, "QUIC"), number(3, 1)].concat()),
        field(1, [field(1, "y"), number(3, 70_000)].concat()),
    ];
    let spec = [
        ports.concat(),
        entry(2, "app", "web"),
        field(3, "10.96.0.7"),
        field(4, "LoadBalancer"),
        field(5, "192.0.2.1"),
        field(5, "no"),
        field(7, "None"),
        field(18, "10.96.0.7"),
        field(18, "fd00::7"),
        field(19, "IPv4"),
    ];
    let ingress = [
        field(1, field(1, "198.51.100.1")),
        field(1, field(2, "lb.example.org.")),
        field(1, field(2, "no name")),
    ];
    let protobuf = [
        meta("shop", "web", "1", &[]),
        field(2, spec.concat()),
        field(3, field(1, ingress.concat())),
    ];
    let expect = Service {
        namespace: "shop".into(),
        name: "web".into(),
        reach: Reach::ClusterIp,
        cluster_ips: vec!["10.96.0.7".parse().unwrap(), "fd00::7".parse().unwrap()],
        external_name: String::new(),
        external_ips: vec!["192.0.2.1".parse().unwrap()],
        ingress: vec![
            Ingress::Ip("198.51.100.1".parse().unwrap()),
            Ingress::Host("lb.example.org".into()),
        ],
        ports: vec![
            port("http", Protocol::Tcp, 80),
            port("dns", Protocol::Udp, 53),
            port("", Protocol::Sctp, 9),
        ],
    };
    check(
        Kind::Service,
        json,
        protobuf.concat(),
        Object::Service(expect),
    );
}

#[test]
fn how_services_are_reached() {
    let elsewhere = |name: &str| (Reach::Elsewhere, name.to_owned(), 0);
    for (spec, expect) in [
        (
            r#""clusterIP":"None","clusterIPs":["None"]"#,
            Some((Reach::Headless, String::new(), 0)),
        ),
        (
            r#""clusterIP":"None""#,
            Some((Reach::Headless, String::new(), 0)),
        ),
        (
            r#""clusterIP":"10.0.0.1""#,
            Some((Reach::ClusterIp, String::new(), 1)),
        ),
        // One that has no address yet.
        (
            r#""type":"ClusterIP""#,
            Some((Reach::ClusterIp, String::new(), 0)),
        ),
        (
            r#""type":"ExternalName","externalName":"a_b.Example.org.""#,
            Some(elsewhere("a_b.Example.org")),
        ),
        (
            r#""type":"ExternalName","externalName":"1.2.3.4","clusterIP":"10.0.0.1""#,
            Some(elsewhere("1.2.3.4")),
        ),
        (r#""type":"ExternalName","externalName":"not a name""#, None),
        (r#""type":"ExternalName""#, None),
    ] {
        let item = format!(r#"{{"metadata":{{"name":"s","namespace":"n"}},"spec":{{{spec}}}}}"#);
        let found = from_json(Kind::Service, &item).map(|object| match object {
            Object::Service(service) => (
                service.reach,
                service.external_name,
                service.cluster_ips.len(),
            ),
            object => panic!("{object:?}"),
        });
        assert_eq!(found, expect, "{spec}");
    }
}

#[test]
fn a_slice_with_everything() {
    let json = r#"{"addressType":"IPv4","metadata":{"name":"db-x7k2p","namespace":"shop","labels":{"kubernetes.io/service-name":"db"},
          "annotations":{"endpoints.kubernetes.io/last-change-trigger-time":"2026-11-26T23:08:20Z"}},
        "endpoints":[{"addresses":["10.1.0.1"],"conditions":{"ready":true},"hostname":"db-0","nodeName":"n","zone":"eu-1a",
                      "targetRef":{"kind":"Pod","namespace":"shop","name":"db-0.x"}},
                     {"addresses":["10.1.0.2"],"conditions":{"ready":false,"serving":true}},
                     {"addresses":["10.1.0.3","bad"],"conditions":{},"hostname":"Not A Label"},
                     {"addresses":["10.1.0.4"],"conditions":{"ready":null},"deprecatedTopology":{"a":"b"}}],
        "ports":[{"name":"sql","port":5432,"protocol":"TCP"},{"name":"any","port":null}]}"#;
    let sql = [field(1, "sql"), field(2, "TCP"), number(3, 5432)].concat();
    let labels = [
        entry(11, "kubernetes.io/service-name", "db"),
        entry(
            12,
            "endpoints.kubernetes.io/last-change-trigger-time",
            "2026-11-26T23:08:20Z",
        ),
    ];
    let protobuf = [
        meta("shop", "db-x7k2p", "1", &labels),
        endpoints_in_protobuf(),
        field(3, sql),
        field(3, field(1, "any")),
        field(4, "IPv4"),
    ];
    let endpoint = |ip: &str, hostname: &str, target: &str, zone: &str| Endpoint {
        ip: ip.parse().unwrap(),
        hostname: hostname.into(),
        target: target.into(),
        zone: zone.into(),
    };
    let expect = Slice {
        namespace: "shop".into(),
        name: "db-x7k2p".into(),
        service: "db".into(),
        ports: vec![
            port("sql", Protocol::Tcp, 5432),
            port("any", Protocol::Tcp, 0),
        ],
        endpoints: vec![
            endpoint("10.1.0.1", "db-0", "db-0.x", "eu-1a"),
            endpoint("10.1.0.3", "", "", ""),
            endpoint("10.1.0.4", "", "", ""),
        ],
        triggered: Some(UNIX_EPOCH + Duration::from_secs(1_795_734_500)),
        ..Slice::default()
    };
    check(Kind::Slice, json, protobuf.concat(), Object::Slice(expect));
}

/// Those of [`a_slice_with_everything`].
fn endpoints_in_protobuf() -> Vec<u8> {
    let endpoints = [
        [
            field(1, "10.1.0.1"),
            field(2, number(1, 1)),
            field(3, "db-0"),
            field(
                4,
                [field(1, "Pod"), field(2, "shop"), field(3, "db-0.x")].concat(),
            ),
            field(6, "n"),
            field(7, "eu-1a"),
        ]
        .concat(),
        [
            field(1, "10.1.0.2"),
            field(2, [number(1, 0), number(2, 1)].concat()),
        ]
        .concat(),
        [
            field(1, "10.1.0.3"),
            field(1, "bad"),
            field(2, ""),
            field(3, "Not A Label"),
        ]
        .concat(),
        [field(1, "10.1.0.4"), entry(5, "a", "b")].concat(),
    ];
    endpoints.iter().flat_map(|one| field(2, one)).collect()
}

#[test]
fn slices_that_are_imported_or_of_names() {
    let item = |labels: &str, kind: &str| {
        format!(
            r#"{{"addressType":"{kind}","metadata":{{"name":"s","namespace":"n","labels":{{{labels}}}}},"endpoints":[{{"addresses":["10.0.0.1"]}}]}}"#
        )
    };
    let imported = r#""multicluster.kubernetes.io/service-name":"db","multicluster.kubernetes.io/source-cluster":"east""#;
    let slice = Slice {
        namespace: "n".into(),
        name: "s".into(),
        ..Slice::default()
    };
    let Some(Object::Slice(found)) = from_json(Kind::Slice, &item(imported, "IPv4")) else {
        panic!("no slice");
    };
    assert_eq!((&*found.service, &*found.cluster), ("db", "east"));
    assert!(found.is_imported && found.endpoints.len() == 1);
    // Names are no addresses, and without a label it belongs to no service.
    let found = from_json(Kind::Slice, &item("", "FQDN"));
    assert_eq!(found, Some(Object::Slice(slice)));
}

#[test]
fn a_pod() {
    let json = r#"{"metadata":{"name":"web-0","namespace":"shop","labels":{"z":"1","a":"\u0032"}},
        "status":{"podIP":"10.1.0.1","podIPs":[{"ip":"10.1.0.1"},{"ip":"fd00::1"}]}}"#;
    let labels = [entry(11, "z", "1"), entry(11, "a", "2")];
    let status = [
        field(1, "Running"),
        field(5, "10.9.9.9"),
        field(6, "10.1.0.1"),
        field(12, field(1, "10.1.0.1")),
        field(12, field(1, "fd00::1")),
    ];
    let protobuf = [
        meta("shop", "web-0", "1", &labels),
        field(2, vec![0xff; 100]),
        field(3, status.concat()),
    ];
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let expect = Pod {
        namespace: "shop".into(),
        name: "web-0".into(),
        ips: vec!["10.1.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        labels: vec![pair("z", "1"), pair("a", "2")],
    };
    check(Kind::Pod, json, protobuf.concat(), Object::Pod(expect));
}

#[test]
fn an_import() {
    let json = r#"{"metadata":{"name":"db","namespace":"shop"},"spec":{"type":"ClusterSetIP","ips":["10.42.0.1"],
        "ports":[{"name":"sql","protocol":"TCP","port":5432}]},"status":{"clusters":[{"cluster":"east"}]}}"#;
    let expect = Import {
        namespace: "shop".into(),
        name: "db".into(),
        is_headless: false,
        ips: vec!["10.42.0.1".parse().unwrap()],
        ports: vec![port("sql", Protocol::Tcp, 5432)],
    };
    assert_eq!(from_json(Kind::Import, json), Some(Object::Import(expect)));
    let headless = r#"{"metadata":{"name":"db","namespace":"shop"},"spec":{"type":"Headless"}}"#;
    let Some(Object::Import(found)) = from_json(Kind::Import, headless) else {
        panic!("no import");
    };
    assert!(found.is_headless);
}

#[test]
fn hostile_objects_are_refused() {
    let many = |text: &str, count: usize| vec![text; count].join(",");
    let ports = many(r#"{"port":1}"#, limits::KUBE_PORTS + 1);
    let ips = many(r#""10.0.0.1""#, limits::KUBE_ADDRESSES + 1);
    let pod_ips: Vec<_> = (0..=limits::KUBE_POD_ADDRESSES)
        .map(|n| format!(r#"{{"ip":"10.0.0.{n}"}}"#))
        .collect();
    let labels: Vec<_> = (0..=limits::KUBE_LABELS)
        .map(|n| format!(r#""l{n}":"""#))
        .collect();
    let named = r#""metadata":{"name":"s","namespace":"n"}"#;
    for (kind, item) in [
        (
            Kind::Service,
            format!(r#"{{{named},"spec":{{"ports":[{ports}]}}}}"#),
        ),
        (
            Kind::Service,
            format!(r#"{{{named},"spec":{{"externalIPs":[{ips}]}}}}"#),
        ),
        (
            Kind::Slice,
            format!(r#"{{{named},"endpoints":[{{"addresses":[{ips}]}}]}}"#),
        ),
        (Kind::Slice, format!(r#"{{{named},"ports":[{ports}]}}"#)),
        (
            Kind::Import,
            format!(r#"{{{named},"spec":{{"ips":[{ips}]}}}}"#),
        ),
        (
            Kind::Pod,
            format!(
                r#"{{{named},"status":{{"podIPs":[{}]}}}}"#,
                pod_ips.join(",")
            ),
        ),
        (
            Kind::Pod,
            format!(
                r#"{{"metadata":{{"name":"s","namespace":"n","labels":{{{}}}}}}}"#,
                labels.join(",")
            ),
        ),
        (
            Kind::Service,
            format!(r#"{{{named},"spec":{{"ports":7}}}}"#),
        ),
        (Kind::Service, r#"{"metadata":{"name":"s"}}"#.into()),
        (Kind::Service, r#"{"metadata":{"namespace":"n"}}"#.into()),
        (Kind::Service, r#"{}"#.into()),
        (
            Kind::Service,
            r#"{"metadata":{"name":"a.b","namespace":"n"}}"#.into(),
        ),
        (
            Kind::Pod,
            r#"{"metadata":{"name":"a..b","namespace":"n"}}"#.into(),
        ),
        (Kind::Namespace, r#"{"metadata":{"name":"com."}}"#.into()),
    ] {
        let shown = &item[..item.len().min(120)];
        assert_eq!(from_json(kind, &item), None, "{shown}");
    }
    // The owner of a slice that is no name is none.
    let labels = r#""labels":{"kubernetes.io/service-name":"Foo_Bar"}"#;
    let item = format!(r#"{{"metadata":{{"name":"s","namespace":"n",{labels}}}}}"#);
    let Some(Object::Slice(slice)) = from_json(Kind::Slice, &item) else {
        panic!("a slice");
    };
    assert_eq!(slice.service, "");
    // A namespace may be called like a top-level domain.
    let com = from_json(Kind::Namespace, r#"{"metadata":{"name":"com"}}"#);
    assert_eq!(com, Some(Object::Namespace("com".into())));
}

#[test]
fn names() {
    let long = "a".repeat(63);
    for label in ["a", "7", "a-b", "0-9", &long] {
        assert!(is_label(label) && is_host(label), "{label}");
    }
    let longer = "a".repeat(64);
    for label in ["", "-a", "a-", "A", "a.b", "a_b", "ä", "a b", &longer] {
        assert!(!is_label(label), "{label}");
    }
    let host = [&*long, &long, &long, &"a".repeat(61)].join(".");
    for name in ["a.b", "A_b.c-", &host] {
        assert!(is_host(name), "{name}");
    }
    let longer = format!("{host}a");
    for name in ["", ".", "a.", ".a", "a..b", "a b", "ä.b", &longer] {
        assert!(!is_host(name), "{name}");
    }
}
