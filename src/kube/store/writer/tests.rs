//! Lists that cannot be, outages and what the log tells of them, and delays.

use std::time::{Duration, SystemTime};

use super::lists::Programming;
use super::*;
use crate::kube::record::{Endpoint, Object, Reach, Service, Sink, Slice};
use crate::runtime::clock::fake::FakeClock;
use crate::telemetry::log::capture;
use crate::telemetry::metrics::Registry;

const BASE: [Kind; 3] = [Kind::Namespace, Kind::Service, Kind::Slice];

fn new() -> Writer {
    Writer::new(Arc::new(Store::new()), Keep::default())
}

fn service(name: &str, reach: Reach) -> Object {
    Object::Service(Service {
        namespace: "default".into(),
        name: name.into(),
        reach,
        ..Service::default()
    })
}

/// A slice of `of` with one endpoint, that changed at `triggered_s`.
fn slice(of: &str, last: u8, triggered_s: Option<u64>) -> Object {
    let at = |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
    Object::Slice(Slice {
        namespace: "default".into(),
        name: format!("{of}-1"),
        service: of.into(),
        endpoints: vec![Endpoint {
            ip: IpAddr::from([10, 0, 0, last]),
            hostname: String::new(),
            target: String::new(),
            zone: String::new(),
        }],
        triggered: triggered_s.map(at),
        ..Slice::default()
    })
}

fn objects() -> Vec<Object> {
    vec![
        Object::Namespace("default".into()),
        service("kubernetes", Reach::ClusterIp),
        service("db", Reach::Headless),
        slice("kubernetes", 1, None),
        slice("db", 2, Some(0)),
    ]
}

fn list(writer: &mut Writer, kind: Kind, objects: &[Object]) {
    writer.list_begins(kind);
    let of_kind = objects.iter().filter(|object| object.kind() == kind);
    of_kind.for_each(|object| writer.put(object));
    writer.list_ends(kind);
}

fn filled() -> Writer {
    let mut writer = new();
    BASE.into_iter()
        .for_each(|kind| list(&mut writer, kind, &objects()));
    writer
}

#[test]
fn an_empty_list_of_what_every_cluster_has_changes_nothing() {
    for kind in BASE {
        let mut writer = filled();
        let (known, changes) = (writer.len(kind), writer.store().changes());
        let lines = capture::lines(|| list(&mut writer, kind, &[]));
        assert_eq!(
            (writer.len(kind), writer.store().changes()),
            (known, changes)
        );
        let name = kind.name();
        let told = format!(
            "[WARNING] plugin/kubernetes: A list of {name} is empty, which no cluster's is: the {known} that are known stay"
        );
        assert_eq!(lines, [told]);
        // The next list counts again, however short it is.
        let first = objects().into_iter().find(|object| object.kind() == kind);
        list(&mut writer, kind, &[first.expect("one of each kind")]);
        assert_eq!(writer.len(kind), 1);
    }
}

#[test]
fn an_empty_list_counts_where_it_can_be() {
    // At the first time, of a selection, and of what need not be there.
    let mut writer = new();
    BASE.into_iter()
        .for_each(|kind| list(&mut writer, kind, &[]));
    assert!(writer.store().is_synced(Kinds::BASE));
    let mut writer = filled();
    writer.set_never_empty(Kinds::BASE.without(Kind::Service));
    let lines = capture::lines(|| list(&mut writer, Kind::Service, &[]));
    assert_eq!((writer.len(Kind::Service), lines), (0, Vec::new()));
    let pod = Object::Pod(record::Pod {
        namespace: "default".into(),
        name: "p".into(),
        ips: vec![IpAddr::from([10, 0, 0, 9])],
        labels: Vec::new(),
    });
    list(&mut writer, Kind::Pod, &[pod]);
    list(&mut writer, Kind::Pod, &[]);
    assert_eq!(writer.len(Kind::Pod), 0);
}

#[test]
fn an_outage_is_told_once_and_so_is_its_end() {
    let clock = FakeClock::start();
    let mut writer = filled();
    let lines = capture::lines(|| {
        for _ in 0..3 {
            writer.lost(Kind::Service);
            writer.lost(Kind::Slice);
            clock.advance(Duration::from_secs(20));
        }
        // Two of three is no outage, and what nobody follows is none at all.
        writer.lost(Kind::Pod);
    });
    assert_eq!(lines, [""; 0]);
    let lines = capture::lines(|| {
        for _ in 0..3 {
            BASE.into_iter().for_each(|kind| writer.lost(kind));
            clock.advance(Duration::from_secs(20));
        }
        writer.heard(Kind::Namespace);
        writer.heard(Kind::Slice);
        writer.lost(Kind::Slice);
    });
    let lost = "[WARNING] plugin/kubernetes: The Kubernetes API cannot be reached; what is known of the cluster is answered on";
    assert_eq!(lines, [lost]);
    let lines = capture::lines(|| {
        writer.heard(Kind::Slice);
        writer.heard(Kind::Service);
        writer.heard(Kind::Service);
    });
    let back = "[INFO] plugin/kubernetes: The Kubernetes API is back after 2m0s";
    assert_eq!(lines, [back]);
    // A watch that fails for a moment is nobody's business.
    let lines = capture::lines(|| {
        writer.lost(Kind::Slice);
        writer.heard(Kind::Slice);
    });
    assert_eq!(lines, [""; 0]);
}

#[test]
fn delays_of_changes_are_counted() {
    let clock = FakeClock::start();
    let now_s = clock::wall_s();
    let registry = Registry::new();
    let mut writer = new();
    writer.programming = Programming::counted_in(&registry);
    let name = "coredns_kubernetes_dns_programming_duration_seconds";
    let labels = [("service_kind", "headless_with_selector")];
    let count = || registry.value(name, &labels).unwrap_or(0.0);
    BASE.into_iter()
        .for_each(|kind| list(&mut writer, kind, &objects()));
    assert_eq!(count(), 0.0, "the first list");
    for (object, expect, why) in [
        (slice("db", 3, Some(now_s - 3)), 1.0, "a change"),
        (slice("db", 3, Some(now_s - 3)), 1.0, "the same again"),
        (slice("db", 4, None), 1.0, "nobody says when"),
        (slice("db", 5, Some(now_s + 9)), 2.0, "clocks differ"),
        (slice("kubernetes", 6, Some(now_s)), 2.0, "not headless"),
    ] {
        writer.put(&object);
        assert_eq!(count(), expect, "{why}");
    }
    let mut text = String::new();
    registry.encode(&mut text);
    let line =
        |le: &str| format!("{name}_bucket{{service_kind=\"headless_with_selector\",le=\"{le}\"}}");
    for (le, expect) in [("0.001", 1), ("2.048", 1), ("4.096", 2), ("524.288", 2)] {
        assert!(text.contains(&format!("{} {expect}\n", line(le))), "{text}");
    }
    // A change while the server was away took as long as it took.
    clock.advance(Duration::from_secs(100));
    BASE.into_iter().for_each(|kind| writer.lost(kind));
    let changed = [slice("db", 7, Some(now_s)), slice("kubernetes", 6, None)];
    list(&mut writer, Kind::Slice, &changed);
    assert_eq!(count(), 3.0);
}

// === bounds ===

#[test]
fn what_a_list_leaves_out_is_removed_in_steps() {
    let (count, mut writer) = (limits::KUBE_SWEPT * 2 + 10, new());
    writer.set_never_empty(Kinds::NONE);
    let named = |nth: usize| match slice("web", 1, None) {
        Object::Slice(slice) => Object::Slice(Slice {
            name: format!("web-{nth}"),
            ..slice
        }),
        other => other,
    };
    let all: Vec<Object> = (0..count).map(named).collect();
    list(&mut writer, Kind::Slice, &all);
    assert!(!writer.sweep(Kind::Slice), "there is nothing to remove");
    list(&mut writer, Kind::Slice, &[]);
    assert_eq!(writer.len(Kind::Slice), count - limits::KUBE_SWEPT);
    // What is named meanwhile is there, though the list knew nothing of it.
    writer.put(&all[count - 1]);
    assert!(writer.sweep(Kind::Slice));
    assert_eq!(writer.len(Kind::Slice), count - 2 * limits::KUBE_SWEPT);
    while writer.sweep(Kind::Slice) {}
    assert_eq!(writer.len(Kind::Slice), 1);
    let pin = Pin::new();
    let view = writer.store().view(&pin);
    assert_eq!(view.slices_at(IpAddr::from([10, 0, 0, 1])).count(), 1);
    // A list that begins meanwhile ends the sweep, and its own does the rest.
    list(&mut writer, Kind::Slice, &all);
    list(&mut writer, Kind::Slice, &[]);
    writer.list_begins(Kind::Slice);
    assert!(!writer.sweep(Kind::Slice));
    all.iter().for_each(|slice| writer.put(slice));
    writer.list_ends(Kind::Slice);
    while writer.sweep(Kind::Slice) {}
    assert_eq!(writer.len(Kind::Slice), count);
}

#[test]
fn what_there_is_no_room_for_is_told() {
    let mut writer = new();
    let told = |writer: &mut Writer, object: &Object| capture::lines(|| writer.put(object));
    let Object::Slice(mut large) = slice("web", 1, None) else {
        panic!("a slice");
    };
    large.endpoints = vec![large.endpoints[0].clone(); limits::KUBE_SLICE_ENDPOINTS];
    let full = Object::Slice(large.clone());
    assert_eq!(told(&mut writer, &full), Vec::<String>::new());
    large.endpoints.push(large.endpoints[0].clone());
    let lines = told(&mut writer, &Object::Slice(large));
    assert!(
        lines[0].contains("endpointslices \"default/web-1\": it has too many endpoints"),
        "{lines:?}"
    );
    for (kind, object, name) in [
        (Kind::Namespace, Object::Namespace("new".into()), "new"),
        (
            Kind::Service,
            service("new", Reach::Headless),
            "default/new",
        ),
        (Kind::Slice, slice("new", 3, None), "default/new-1"),
    ] {
        let mut writer = new();
        writer.put(&service("web", Reach::Headless));
        let family = match kind {
            Kind::Namespace => &mut writer.namespaces,
            Kind::Slice => &mut writer.slices,
            _ => &mut writer.services,
        };
        family
            .numbers
            .resume(limits::KUBE_OBJECTS, std::iter::empty());
        let lines = told(&mut writer, &object);
        let expect = format!("{} {name:?}: there are too many", kind.name());
        assert!(lines[0].contains(&expect), "{lines:?}");
    }
}

#[test]
fn more_slices_than_a_service_may_have_are_told() {
    let mut writer = new();
    let named = |nth: usize| {
        Object::Slice(Slice {
            namespace: "default".into(),
            name: format!("web-{nth}"),
            service: "web".into(),
            ..Slice::default()
        })
    };
    (0..limits::KUBE_SERVICE_SLICES).for_each(|nth| writer.put(&named(nth)));
    let lines = capture::lines(|| writer.put(&named(limits::KUBE_SERVICE_SLICES)));
    assert!(
        lines[0].contains("its service has too many slices"),
        "{lines:?}"
    );
    assert_eq!(writer.len(Kind::Slice), limits::KUBE_SERVICE_SLICES);
}
