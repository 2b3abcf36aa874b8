//! Both encodings of the same objects, whole bodies in pieces of any size, and what is no body at all.

mod objects;
mod write;

use proptest::prelude::*;

use super::*;
use crate::limits;
use crate::telemetry::log::capture;
use crate::telemetry::metrics::Registry;
use write::{field, frame, list, meta};

/// What a decoder said, in words.
#[derive(Debug, PartialEq, Eq, Default)]
struct Heard {
    events: Vec<String>,
    end: Option<(String, String)>,
    version: String,
    is_broken: bool,
}

fn decode(kind: Kind, encoding: Encoding, shape: Shape, parts: &[&[u8]]) -> Heard {
    let mut decoder = Decoder::new(kind, encoding, shape);
    let mut refusals = Refusals::new(kind);
    let mut heard = Heard::default();
    for part in parts {
        let events = &mut heard.events;
        let fed = decoder.feed(part, &mut refusals, &mut |event| {
            events.push(match event {
                Event::Put(object) => format!("+{}", name(object)),
                Event::Remove(object) => format!("-{}", name(object)),
                Event::Bookmark { ends_list } => format!("bookmark {ends_list}"),
                Event::Failed(failure) => format!("failed {} {}", failure.code, failure.message),
            });
        });
        if fed.is_err() {
            heard.is_broken = true;
            return heard;
        }
    }
    heard.version = decoder.version().to_owned();
    heard.end = decoder.end().ok();
    heard
}

fn name(object: &Object) -> String {
    match object {
        Object::Namespace(name) => name.clone(),
        Object::Service(service) => format!("{}/{}", service.namespace, service.name),
        Object::Slice(slice) => format!("{}/{}", slice.namespace, slice.name),
        Object::Pod(pod) => format!("{}/{}", pod.namespace, pod.name),
        Object::Import(import) => format!("{}/{}", import.namespace, import.name),
    }
}

fn service(namespace: &str, name: &str, version: &str) -> Vec<u8> {
    let spec = [field(3, "10.0.0.1"), field(18, "10.0.0.1")].concat();
    [meta(namespace, name, version, &[]), field(2, spec)].concat()
}

/// A list of three in both encodings, of which the second is refused.
fn lists() -> [(Encoding, Vec<u8>); 2] {
    let items = [
        service("default", "one", "1"),
        service("default", "No_Label", "2"),
        service("other", "three", "3"),
    ];
    let json = r#" {"kind":"ServiceList","apiVersion":"v1",
        "metadata":{"resourceVersion":"77","continue":"n\"}]xt","note":{"items":[{}]}},
        "items":[
        {"metadata":{"name":"one","namespace":"default","annotations":{"a":"\\\"}]{[","items":"[{"}},
         "spec":{"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1"]}},
        {"metadata":{"name":"No_Label","namespace":"default"}},
        {"metadata":{"name":"three","namespace":"other","labels":null},"spec":{"ports":null},"status":null}],
        "later":[{"metadata":{}}] }
"#;
    [
        (Encoding::Protobuf, list("77", "n\"}]xt", &items)),
        (Encoding::Json, json.as_bytes().to_vec()),
    ]
}

/// A watch with every type of event in both encodings.
fn watches() -> [(Encoding, Vec<u8>); 2] {
    let error = [
        field(2, "Failure"),
        field(3, "too old"),
        write::number(6, 410),
    ]
    .concat();
    let ends = meta("", "", "13", &[write::entry(12, LIST_ENDS, "true")]);
    let frames = [
        frame("ADDED", &service("default", "one", "10")),
        frame("MODIFIED", &service("default", "-bad", "11")),
        frame("DELETED", &service("default", "one", "12")),
        frame("BOOKMARK", &ends),
        frame("RENAMED", &service("default", "two", "0")),
        frame("BOOKMARK", &meta("", "", "14", &[])),
        frame("ERROR", &error),
    ];
    let json = r#"{"type":"ADDED","object":{"metadata":{"name":"one","namespace":"default","resourceVersion":"10"},"spec":{"clusterIP":"10.0.0.1"}}}
{"object":{"metadata":{"name":"-bad","namespace":"default","resourceVersion":"11"}},"type":"MODIFIED"}
{"type":"DELETED","object":{"metadata":{"name":"one","namespace":"default","resourceVersion":"12"}}}

{"type":"BOOKMARK","object":{"kind":"Service","metadata":{"resourceVersion":"13","creationTimestamp":null,"annotations":{"k8s.io/initial-events-end":"true"}},"spec":{},"status":{"loadBalancer":{}}}}
{"type":"RENAMED","object":{"metadata":{"name":"two"}}}
{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"14"}}}
{"type":"ERROR","object":{"kind":"Status","metadata":{},"status":"Failure","message":"too old","reason":"Expired","code":410}}
"#;
    [
        (Encoding::Protobuf, frames.concat()),
        (Encoding::Json, json.as_bytes().to_vec()),
    ]
}

#[test]
fn a_list_in_both_encodings() {
    for (encoding, body) in lists() {
        let heard = decode(Kind::Service, encoding, Shape::List, &[&body]);
        assert_eq!(
            heard.events,
            ["+default/one", "+other/three"],
            "{encoding:?}"
        );
        let end = ("77".to_owned(), "n\"}]xt".to_owned());
        assert_eq!(heard.end, Some(end), "{encoding:?}");
    }
}

#[test]
fn a_watch_in_both_encodings() {
    for (encoding, body) in watches() {
        let heard = decode(Kind::Service, encoding, Shape::Watch, &[&body]);
        let expect = [
            "+default/one",
            "-default/one",
            "bookmark true",
            "bookmark false",
            "failed 410 too old",
        ];
        assert_eq!(heard.events, expect, "{encoding:?}");
        assert_eq!(heard.version, "14", "{encoding:?}");
    }
}

#[test]
fn the_version_of_an_object_that_is_refused_counts() {
    for (encoding, body) in [
        (
            Encoding::Protobuf,
            frame("ADDED", &service("default", "-", "41")),
        ),
        (
            Encoding::Json,
            br#"{"type":"ADDED","object":{"metadata":{"name":"-","resourceVersion":"41"}}}"#
                .to_vec(),
        ),
    ] {
        let heard = decode(Kind::Service, encoding, Shape::Watch, &[&body]);
        assert_eq!((heard.events.len(), &*heard.version), (0, "41"));
    }
}

#[test]
fn what_is_not_believed_any_more_is_gone() {
    let event = |kind: &str, object: &str| format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n");
    let named = r#""namespace":"n","name":"x","resourceVersion":"5""#;
    let external = r#""spec":{"type":"ExternalName","externalName":"a..b"}"#;
    for (kind, object) in [
        (
            Kind::Service,
            format!("{{\"metadata\":{{{named}}},{external}}}"),
        ),
        (
            Kind::Service,
            format!("{{\"metadata\":{{{named}}},\"spec\":{{\"ports\":7}}}}"),
        ),
        (
            Kind::Slice,
            format!("{{\"metadata\":{{{named}}},\"endpoints\":[{{\"addresses\":9}}]}}"),
        ),
    ] {
        let body = event("MODIFIED", &object);
        let heard = decode(kind, Encoding::Json, Shape::Watch, &[body.as_bytes()]);
        assert_eq!(
            (&*heard.events, &*heard.version),
            (&["-n/x".to_owned()][..], "5")
        );
    }
    // In protobuf too: the specification ends within its second field.
    let body = frame(
        "MODIFIED",
        &[meta("n", "x", "6", &[]), field(2, [2 << 3 | 2, 9])].concat(),
    );
    let heard = decode(Kind::Service, Encoding::Protobuf, Shape::Watch, &[&body]);
    assert_eq!(
        (&*heard.events, &*heard.version),
        (&["-n/x".to_owned()][..], "6")
    );
    // A slice of a service that cannot be belongs to none, as which the store lets it go.
    let labelled = format!(
        "{{\"metadata\":{{{named},\"labels\":{{\"kubernetes.io/service-name\":\"Foo_Bar\"}}}}}}"
    );
    for (kind, expect) in [("MODIFIED", "+n/x"), ("DELETED", "-n/x")] {
        let body = event(kind, &labelled);
        let heard = decode(
            Kind::Slice,
            Encoding::Json,
            Shape::Watch,
            &[body.as_bytes()],
        );
        assert_eq!(heard.events, [expect]);
    }
}

#[test]
fn a_bookmark_that_cannot_be_read_is_skipped() {
    let body = r#"{"type":"BOOKMARK","object":{"metadata":7}}
{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"8"}}}
"#;
    let heard = decode(Kind::Pod, Encoding::Json, Shape::Watch, &[body.as_bytes()]);
    assert_eq!(
        (&*heard.events, heard.is_broken),
        (&["bookmark false".to_owned()][..], false)
    );
}

#[test]
fn a_list_that_is_cut_off_or_none_is_not_believed() {
    for (encoding, body) in lists() {
        for len in 0..body.len() - 12 {
            let heard = decode(Kind::Service, encoding, Shape::List, &[&body[..len]]);
            assert_eq!(heard.end, None, "{encoding:?} {len}");
        }
    }
    for (encoding, body) in [
        (Encoding::Json, &b"{}"[..]),
        (Encoding::Json, b"[]"),
        (Encoding::Json, b"null"),
        (Encoding::Json, b"<html>{}</html>"),
        (Encoding::Json, br#"{"items":[]}"#),
        (Encoding::Json, br#"{"metadata":{},"items":[]}"#),
        (Encoding::Json, br#"{"metadata":[],"items":[]}"#),
        (Encoding::Protobuf, b"k8s\0"),
        (Encoding::Protobuf, b"k8s\x01"),
        (Encoding::Protobuf, b"{}"),
    ] {
        let heard = decode(Kind::Service, encoding, Shape::List, &[body]);
        assert_eq!(heard.end, None, "{}", String::from_utf8_lossy(body));
    }
    let empty = list("5", "", &[]);
    let heard = decode(Kind::Service, Encoding::Protobuf, Shape::List, &[&empty]);
    assert_eq!(heard.end, Some(("5".to_owned(), String::new())));
}

#[test]
fn what_is_too_large_is_passed_over() {
    let large = "x".repeat(limits::KUBE_OBJECT_OCTETS);
    let item = [service("default", "large", "2"), field(9, &large)].concat();
    let items = [
        service("default", "one", "1"),
        item.clone(),
        service("default", "three", "3"),
    ];
    let json = format!(
        r#"{{"metadata":{{"resourceVersion":"1"}},"items":[{{"metadata":{{"name":"one","namespace":"default"}}}},{{"x":"{large}"}},{{"metadata":{{"name":"three","namespace":"default"}}}}]}}"#
    );
    let frames = [
        frame("ADDED", &items[0]),
        frame("ADDED", &item),
        frame("ADDED", &items[2]),
    ];
    for (encoding, shape, body) in [
        (Encoding::Protobuf, Shape::List, list("1", "", &items)),
        (Encoding::Json, Shape::List, json.into_bytes()),
        (Encoding::Protobuf, Shape::Watch, frames.concat()),
    ] {
        let parts: Vec<&[u8]> = body.chunks(100_000).collect();
        let heard = decode(Kind::Service, encoding, shape, &parts);
        assert_eq!(
            heard.events,
            ["+default/one", "+default/three"],
            "{encoding:?}"
        );
    }
}

#[test]
fn skipped_objects_are_counted_and_told_once() {
    let registry = Registry::new();
    let lines = capture::lines(|| {
        let item = r#"{"metadata":{"name":"a\nb","namespace":"default"}}"#;
        let body =
            format!(r#"{{"metadata":{{"resourceVersion":"1"}},"items":[{item},{item},7,{item}]}}"#);
        let mut refusals = Refusals::counted_in(&registry, Kind::Import);
        let mut decoder = Decoder::new(Kind::Import, Encoding::Json, Shape::List);
        let fed = decoder.feed(body.as_bytes(), &mut refusals, &mut |event| {
            panic!("{event:?}")
        });
        assert!(fed.is_ok() && decoder.end().is_ok());
    });
    let name = "percoredns_kubernetes_skipped_objects_total";
    let skipped = registry.value(name, &[("kind", "serviceimports")]);
    assert_eq!(skipped, Some(3.0));
    assert_eq!(
        lines,
        [
            "[WARNING] plugin/kubernetes: Skipped (part of) serviceimports \"default/a\\nb\": its name or namespace is not a DNS name; \
             0 more since the last such line"
        ]
    );
}

#[test]
fn failures_in_both_encodings() {
    let json =
        br#"{"kind":"Status","message":"slow down","code":429,"details":{"retryAfterSeconds":3}}"#;
    let details = field(5, write::number(5, 3));
    let status = [field(3, "slow down"), details, write::number(6, 429)].concat();
    for (encoding, body) in [
        (Encoding::Json, json.to_vec()),
        (Encoding::Protobuf, write::wrap("Status", &status)),
    ] {
        let failure = failure(429, encoding, &body);
        assert_eq!((failure.code, failure.retry_after_s), (429, 3));
        assert_eq!(failure.message, "slow down");
    }
    assert_eq!(failure(403, Encoding::Json, b"<html>").code, 403);
}

proptest! {
    #[test]
    fn any_cut_gives_the_same(cuts in prop::collection::vec(0usize..4_000, 0..40)) {
        for shape in [Shape::List, Shape::Watch] {
            let bodies = if shape == Shape::List { lists() } else { watches() };
            for (encoding, body) in bodies {
                let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
                cuts.extend([0, body.len()]);
                cuts.sort_unstable();
                let parts: Vec<&[u8]> = cuts.windows(2).map(|cut| &body[cut[0]..cut[1]]).collect();
                let whole = decode(Kind::Service, encoding, shape, &[&body]);
                prop_assert_eq!(decode(Kind::Service, encoding, shape, &parts), whole);
            }
        }
    }

    #[test]
    fn damage_never_panics(at in 0usize..4_000, octets in prop::collection::vec(any::<u8>(), 0..16)) {
        for shape in [Shape::List, Shape::Watch] {
            let bodies = if shape == Shape::List { lists() } else { watches() };
            for (encoding, mut body) in bodies {
                let at = at % body.len();
                let end = (at + octets.len()).min(body.len());
                body.splice(at..end, octets.iter().copied());
                for kind in [Kind::Namespace, Kind::Service, Kind::Slice, Kind::Pod, Kind::Import] {
                    decode(kind, encoding, shape, &[&body]);
                }
            }
        }
    }

    #[test]
    fn garbage_never_panics(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        for shape in [Shape::List, Shape::Watch] {
            for encoding in [Encoding::Protobuf, Encoding::Json] {
                decode(Kind::Slice, encoding, shape, &[&octets]);
                decode(Kind::Slice, encoding, shape, &[b"k8s\0", &octets]);
            }
        }
    }
}
