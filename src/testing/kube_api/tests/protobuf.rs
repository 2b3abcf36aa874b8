//! The same in protobuf, read back by field numbers of the Kubernetes API's `generated.proto`.

use std::net::TcpStream;

use super::client::{Answer, PROTOBUF, ask};
use super::{pod, served, service};
use crate::kube::record::*;
use crate::testing::kube_api::{Api, Cluster, Fault, Refusal, Stored, Trouble, Verb, WatchList};

const STREAM: &str = "application/vnd.kubernetes.protobuf;stream=watch";
const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";

/// A message as its fields.
#[derive(Debug, Clone)]
struct Message(Vec<(u64, Field)>);

#[derive(Debug, Clone)]
enum Field {
    Number(u64),
    Octets(Vec<u8>),
}

impl Message {
    fn read(mut octets: &[u8]) -> Message {
        let mut fields = Vec::new();
        while !octets.is_empty() {
            let tag = varint(&mut octets);
            let field = match tag & 7 {
                0 => Field::Number(varint(&mut octets)),
                2 => {
                    let len = varint(&mut octets) as usize;
                    let (value, rest) = octets.split_at(len);
                    octets = rest;
                    Field::Octets(value.to_vec())
                }
                other => panic!("wire type {other}"),
            };
            fields.push((tag >> 3, field));
        }
        Message(fields)
    }

    fn all(&self, field: u64) -> Vec<&[u8]> {
        let found = self.0.iter().filter(|(number, _)| *number == field);
        let octets = found.map(|(_, field)| match field {
            Field::Octets(octets) => octets.as_slice(),
            Field::Number(_) => panic!("a number"),
        });
        octets.collect()
    }

    /// The texts at the end of a path of fields, in their order.
    fn texts(&self, path: &[u64]) -> Vec<String> {
        let (first, rest) = path.split_first().unwrap();
        if rest.is_empty() {
            let texts = self.all(*first).into_iter();
            return texts
                .map(|text| String::from_utf8(text.into()).unwrap())
                .collect();
        }
        let inner = self.all(*first).into_iter().map(Message::read);
        inner.flat_map(|inner| inner.texts(rest)).collect()
    }

    fn text(&self, path: &[u64]) -> String {
        self.texts(path).concat()
    }

    fn message(&self, field: u64) -> Message {
        Message::read(self.all(field)[0])
    }

    fn number(&self, field: u64) -> Option<u64> {
        self.0.iter().find_map(|(number, value)| match value {
            Field::Number(value) if *number == field => Some(*value),
            _ => None,
        })
    }

    /// `namespace/name`.
    fn name(&self) -> String {
        format!("{}/{}", self.text(&[1, 3]), self.text(&[1, 1]))
    }
}

fn varint(octets: &mut &[u8]) -> u64 {
    let mut value = 0;
    for place in 0.. {
        let (first, rest) = octets.split_first().unwrap();
        *octets = rest;
        value |= u64::from(first & 0x7f) << (7 * place);
        if *first < 0x80 {
            break;
        }
    }
    value
}

/// `apiVersion kind` and the object in an envelope.
fn open(octets: &[u8]) -> (String, Message) {
    let envelope = Message::read(octets.strip_prefix(b"k8s\0").unwrap());
    let what = envelope.texts(&[1, 1]).concat() + " " + &envelope.text(&[1, 2]);
    (what, envelope.message(2))
}

fn list(api: &Api, target: &str) -> (String, Message) {
    let mut answer = ask(api, target, PROTOBUF, "");
    assert_eq!(
        (answer.code, answer.header("content-type")),
        (200, PROTOBUF)
    );
    open(&answer.octets().unwrap())
}

fn items(list: &Message) -> Vec<Message> {
    list.all(2).into_iter().map(Message::read).collect()
}

/// Type, kind and object of the next frame.
fn frame(watch: &mut Answer<TcpStream>) -> (String, String, Message) {
    let len = u32::from_be_bytes(watch.exactly(4).try_into().unwrap());
    let event = Message::read(&watch.exactly(len as usize));
    let (what, object) = open(event.message(2).all(1)[0]);
    (event.text(&[1]), what, object)
}

#[test]
fn lists_have_an_envelope_and_pages() {
    let api = served(3);
    let (what, first) = list(&api, "/api/v1/services?limit=2");
    assert_eq!(what, "v1 ServiceList");
    assert_eq!(first.text(&[1, 2]), api.version().to_string());
    assert_eq!(first.message(1).number(4), Some(1));
    let names: Vec<String> = items(&first).iter().map(Message::name).collect();
    assert_eq!(names, ["ns/s0", "ns/s1"]);
    let token = first.text(&[1, 3]);
    let (_, second) = list(&api, &format!("/api/v1/services?limit=2&continue={token}"));
    assert_eq!(items(&second)[0].name(), "ns/s2");
    assert_eq!(second.text(&[1, 3]), "");
    let (what, empty) = list(&api, SLICES);
    assert_eq!(what, "discovery.k8s.io/v1 EndpointSliceList");
    assert_eq!(items(&empty).len(), 0);
}

#[test]
fn services_have_their_fields() {
    let api = Api::new();
    api.put(Object::Service(Service {
        namespace: "ns".into(),
        name: "s".into(),
        cluster_ips: vec!["10.96.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        external_ips: vec!["192.0.2.7".parse().unwrap()],
        ingress: vec![
            Ingress::Host("lb".into()),
            Ingress::Ip("::7".parse().unwrap()),
        ],
        ports: vec![Port {
            name: "dns".into(),
            protocol: Protocol::Sctp,
            number: 5300,
        }],
        ..Service::default()
    }));
    let (_, found) = list(&api, "/api/v1/services");
    let found = &items(&found)[0];
    assert_eq!(found.text(&[2, 3]), "10.96.0.1");
    assert_eq!(found.texts(&[2, 18]), ["10.96.0.1", "fd00::1"]);
    assert_eq!(found.texts(&[2, 19]), ["IPv4", "IPv6"]);
    assert_eq!(found.text(&[2, 4]), "LoadBalancer");
    assert_eq!(found.text(&[2, 5]), "192.0.2.7");
    assert_eq!(
        (found.text(&[2, 1, 1]), found.text(&[2, 1, 2])),
        ("dns".into(), "SCTP".into())
    );
    assert_eq!(found.message(2).message(1).number(3), Some(5300));
    assert_eq!(found.texts(&[3, 1, 1, 1]), ["::7"]);
    assert_eq!(found.texts(&[3, 1, 1, 2]), ["lb"]);
    assert_eq!(found.text(&[1, 6]), api.version().to_string());

    for (reach, ip, kind) in [
        (Reach::Headless, "None", "ClusterIP"),
        (Reach::Elsewhere, "", "ExternalName"),
    ] {
        api.put(Object::Service(Service {
            namespace: "ns".into(),
            name: "s".into(),
            reach,
            external_name: "example.net".into(),
            ..Service::default()
        }));
        let (_, found) = list(&api, "/api/v1/services");
        let found = &items(&found)[0];
        assert_eq!(
            (found.text(&[2, 3]).as_str(), found.text(&[2, 4]).as_str()),
            (ip, kind)
        );
        assert_eq!(found.text(&[2, 10]), "example.net");
    }
}

#[test]
fn slices_pods_and_namespaces_have_their_fields() {
    let api = Api::new();
    let endpoint = |ip: &str, hostname: &str| Endpoint {
        ip: ip.parse().unwrap(),
        hostname: hostname.into(),
        target: "web-0".into(),
        zone: "zone-a".into(),
    };
    let mut slice = Stored::from(Object::Slice(Slice {
        namespace: "ns".into(),
        name: "s-1".into(),
        service: "s".into(),
        cluster: "west".into(),
        is_imported: true,
        ports: vec![Port::default()],
        endpoints: vec![endpoint("10.128.0.1", "h")],
        triggered: Some(std::time::UNIX_EPOCH),
    }));
    slice.unready.push(endpoint("10.128.0.2", ""));
    api.put_all([
        slice,
        pod("ns", "web-0", "web"),
        Object::Namespace("ns".into()).into(),
    ]);
    let (_, found) = list(&api, SLICES);
    let found = &items(&found)[0];
    assert_eq!(
        found.texts(&[1, 11, 1]),
        [
            "multicluster.kubernetes.io/service-name",
            "multicluster.kubernetes.io/source-cluster"
        ]
    );
    assert_eq!(found.texts(&[1, 11, 2]), ["s", "west"]);
    assert_eq!(found.text(&[1, 12, 2]), "1970-01-01T00:00:00.000000000Z");
    assert_eq!(found.texts(&[2, 1]), ["10.128.0.1", "10.128.0.2"]);
    assert_eq!(found.texts(&[2, 3]), ["h"]);
    assert_eq!(found.texts(&[2, 4, 3]), ["web-0", "web-0"]);
    assert_eq!(found.texts(&[2, 7]), ["zone-a", "zone-a"]);
    let ready = found.all(2).into_iter().map(Message::read);
    let ready: Vec<_> = ready.map(|one| one.message(2).number(1)).collect();
    assert_eq!(ready, [Some(1), Some(0)]);
    assert_eq!(
        (found.text(&[3, 2]).as_str(), found.message(3).number(3)),
        ("TCP", None)
    );
    assert_eq!(found.text(&[4]), "IPv4");

    let (what, found) = list(&api, "/api/v1/pods");
    let found = &items(&found)[0];
    assert_eq!(what, "v1 PodList");
    assert_eq!(
        (found.text(&[3, 1]).as_str(), found.text(&[3, 6]).as_str()),
        ("Running", "10.128.0.7")
    );
    assert_eq!(found.texts(&[3, 12, 1]), ["10.128.0.7"]);
    assert_eq!(found.texts(&[1, 11, 2]), ["web"]);
    let (what, found) = list(&api, "/api/v1/namespaces");
    assert_eq!(what, "v1 NamespaceList");
    assert_eq!(
        (
            items(&found)[0].text(&[1, 1]),
            items(&found)[0].text(&[3, 1])
        ),
        ("ns".into(), "Active".into())
    );
}

#[test]
fn watches_are_frames() {
    let api = served(1);
    let initial =
        "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = ask(&api, &format!("/api/v1/services?{initial}"), STREAM, "");
    assert_eq!((watch.code, watch.header("content-type")), (200, STREAM));
    let (what, kind, object) = frame(&mut watch);
    assert_eq!((what.as_str(), kind.as_str()), ("ADDED", "v1 Service"));
    assert_eq!(object.name(), "ns/s0");
    let (what, kind, object) = frame(&mut watch);
    assert_eq!((what.as_str(), kind.as_str()), ("BOOKMARK", "v1 Service"));
    assert_eq!(object.text(&[1, 6]), api.version().to_string());
    assert_eq!(object.texts(&[1, 12, 1]), ["k8s.io/initial-events-end"]);
    api.put(service("ns", "s0"));
    assert_eq!(frame(&mut watch).0, "MODIFIED");
    api.remove(Kind::Service, "ns", "s0");
    assert_eq!(frame(&mut watch).0, "DELETED");
    api.bookmark();
    let (what, _, object) = frame(&mut watch);
    assert_eq!((what.as_str(), object.all(1).len()), ("BOOKMARK", 1));
    assert!(object.texts(&[1, 12, 1]).is_empty());
    api.compact();
    let (what, kind, status) = frame(&mut watch);
    assert_eq!((what.as_str(), kind.as_str()), ("ERROR", "v1 Status"));
    assert_eq!(
        (status.number(6), status.text(&[4])),
        (Some(410), "Expired".into())
    );
    assert_eq!(watch.octets().unwrap(), b"");

    api.script(|script| script.watch_list = WatchList::OldStore);
    let mut watch = ask(&api, &format!("/api/v1/services?{initial}"), STREAM, "");
    assert_eq!(frame(&mut watch).2.number(6), Some(500));
}

#[test]
fn failures_are_statuses() {
    let api = served(1);
    api.script(|script| {
        script.refusals.push(Refusal {
            retry_after_s: Some(7),
            ..Refusal::all(429, 1)
        });
    });
    let mut answer = ask(&api, "/api/v1/services", PROTOBUF, "");
    assert_eq!(
        (answer.code, answer.header("content-type")),
        (429, PROTOBUF)
    );
    let (what, status) = open(&answer.octets().unwrap());
    assert_eq!(
        (what.as_str(), status.text(&[2])),
        ("v1 Status", "Failure".into())
    );
    assert_eq!(
        (status.number(6), status.message(5).number(5)),
        (Some(429), Some(7))
    );
    let (what, object) = open(
        &ask(&api, "/api/v1/namespaces/ns/services/s0", PROTOBUF, "")
            .octets()
            .unwrap(),
    );
    assert_eq!(
        (what.as_str(), object.name()),
        ("v1 Service", "ns/s0".into())
    );
}

#[test]
fn a_list_longer_than_its_chunks_is_whole() {
    let api = Api::new();
    api.load(Cluster::new(2000, 3, 0));
    let (_, found) = list(&api, SLICES);
    let found = items(&found);
    assert_eq!(found.len(), api.len(Kind::Slice));
    assert!(found.iter().all(|slice| slice.all(2).len() == 3));
    // Broken in the middle, its length is still that of the whole.
    api.script(|script| {
        script
            .troubles
            .push(Trouble::once(Verb::List, 70_000, Fault::Break))
    });
    let mut answer = ask(&api, SLICES, PROTOBUF, "");
    answer.exactly(70_000);
    answer.octets().unwrap_err();
}
