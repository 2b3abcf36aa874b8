use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::kube::record::{Object, Pod, Service};
use crate::runtime::epoch::Pin;
use crate::testing::kube_api::{Api, Verb};

fn cluster(api: &Api) -> Cluster {
    let access = Access {
        source: Source::Endpoint {
            url: api.url(),
            tls: None,
        },
        qps: 10_000.0,
        burst: 10_000,
        in_flight: 0,
    };
    Cluster::new(access, Selectors::default())
}

fn service(name: &str) -> Object {
    Object::Service(Service {
        namespace: "shop".into(),
        name: name.into(),
        ..Service::default()
    })
}

fn knows(cluster: &Cluster, name: &str) -> bool {
    let pin = Pin::new();
    let view = cluster.store().view(&pin);
    let namespace = view.namespace(b"shop");
    namespace.is_some_and(|shop| view.service(shop, name.as_bytes(), false).is_some())
}

/// Waits for something that must come about.
#[track_caller]
fn wait(mut until: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !until() {
        assert!(Instant::now() < patience, "it did not come about");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_configuration_that_comes_to_nothing_leaves_the_watcher_alone() {
    let (api, control) = (Api::new(), Control::start().unwrap());
    api.put(Object::Namespace("shop".into()));
    api.put(Object::Pod(Pod {
        namespace: "shop".into(),
        name: "web-0".into(),
        ips: vec!["10.1.0.1".parse().unwrap()],
        ..Pod::default()
    }));
    let cluster = cluster(&api);
    cluster.want(Kinds::BASE, Keep::default());
    cluster.start(&control);
    wait(|| cluster.store().is_live(Kinds::BASE) && cluster.is_complete());
    // Set up, but never in force.
    let more = Kinds::BASE.and(Kind::Pod);
    cluster.want(more, Keep::default());
    api.put(service("new"));
    wait(|| knows(&cluster, "new"));
    assert!(cluster.is_complete(), "a snapshot is written on");
    // One that has nothing new to say changes nothing, one that has does.
    cluster.start(&control);
    wait(|| cluster.store().is_synced(more) && cluster.len(Kind::Pod) == 1);
    wait(|| api.count(Verb::WatchList, None) == 3 + 4);
    cluster.want(more, Keep::default());
    cluster.start(&control);
    api.put(service("newer"));
    wait(|| knows(&cluster, "newer"));
    assert_eq!(api.count(Verb::WatchList, None), 3 + 4);
}

#[test]
fn what_is_kept_from_now_on_is_not_denied_before_it_is_there() {
    let (api, control) = (Api::new(), Control::start().unwrap());
    let cluster = cluster(&api);
    cluster.want(Kinds::BASE, Keep::default());
    cluster.start(&control);
    wait(|| cluster.is_complete());
    let zones = Keep {
        zones: true,
        ..Keep::default()
    };
    let more = Kinds::BASE.with(zones);
    // The API server is away when a configuration comes that needs them.
    api.stop();
    cluster.want(more, zones);
    cluster.start(&control);
    let store = cluster.store();
    assert!(store.is_synced(Kinds::BASE) && !store.is_synced(more) && !cluster.is_complete());
    api.start();
    wait(|| store.is_synced(more) && cluster.is_complete());
}

#[test]
fn slices_are_watched_where_somebody_wants_them() {
    let (api, control) = (Api::new(), Control::start().unwrap());
    let cluster = cluster(&api);
    let few = Kinds::BASE.without(Kind::Slice);
    cluster.want(few, Keep::default());
    cluster.start(&control);
    wait(|| cluster.is_complete() && cluster.store().is_live(few));
    assert_eq!(api.count(Verb::WatchList, Some(Kind::Slice)), 0);
    // A snapshot without them is whole for who does not want them.
    assert!(!cluster.store().is_synced(Kinds::BASE));
    cluster.want(Kinds::BASE, Keep::default());
    cluster.start(&control);
    wait(|| cluster.store().is_synced(Kinds::BASE));
    assert_eq!(api.count(Verb::WatchList, Some(Kind::Slice)), 1);
}
