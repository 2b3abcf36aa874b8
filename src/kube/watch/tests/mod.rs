//! The watcher against the scripted server.

mod board;
mod credentials;
mod faults;

use super::*;
use crate::kube::access::Source;
use crate::kube::record::{Endpoint, Import, Object, Pod, Service, Slice};
use crate::telemetry::metrics::registry;
use crate::testing::kube_api::{Api, Cluster, Stored, Verb, WatchList};
use board::{Board, Scene, access, wait};

fn service(name: &str) -> Object {
    Object::Service(Service {
        namespace: "shop".into(),
        name: name.into(),
        cluster_ips: vec!["10.96.0.1".parse().unwrap()],
        ..Service::default()
    })
}

fn slice(name: &str) -> Object {
    Object::Slice(Slice {
        namespace: "shop".into(),
        name: name.into(),
        service: "web".into(),
        endpoints: vec![Endpoint {
            ip: "10.1.0.1".parse().unwrap(),
            hostname: "web-0".into(),
            target: "web-0".into(),
            zone: "a".into(),
        }],
        ..Slice::default()
    })
}

fn pod(name: &str) -> Object {
    Object::Pod(Pod {
        namespace: "shop".into(),
        name: name.into(),
        ips: vec!["10.1.0.1".parse().unwrap()],
        labels: vec![("app".into(), "web".into())],
    })
}

fn base() -> Wanted {
    Wanted {
        slices: true,
        ..Wanted::default()
    }
}

fn everything() -> Wanted {
    Wanted {
        pods: true,
        imports: true,
        ..base()
    }
}

const KINDS: [Kind; 5] = [
    Kind::Namespace,
    Kind::Service,
    Kind::Slice,
    Kind::Pod,
    Kind::Import,
];

fn fill(api: &Api) -> Vec<Object> {
    let import = Object::Import(Import {
        namespace: "shop".into(),
        name: "web".into(),
        ips: vec!["10.42.0.1".parse().unwrap()],
        ..Import::default()
    });
    let objects = vec![
        Object::Namespace("shop".into()),
        service("web"),
        slice("web-1"),
        pod("web-0"),
        import,
    ];
    api.put_all(objects.iter().cloned().map(Stored::from));
    objects
}

#[test]
fn all_kinds_in_step_in_every_way_of_listing_and_in_both_encodings() {
    for watch_list in [WatchList::Works, WatchList::GateOff, WatchList::OldStore] {
        for is_json_only in [false, true] {
            let api = Api::new();
            api.script(|script| {
                script.watch_list = watch_list;
                script.is_json_only = is_json_only;
            });
            let objects = fill(&api);
            let scene = Scene::new(&api, everything());
            scene.wait(|board| KINDS.iter().all(|kind| board.is_synced(*kind)));
            scene.wait(|board| objects.iter().all(|object| board.has(object)));
            // However much there is to be removed, it all is.
            scene.wait(|board| board.sweeps == 0);
            assert_eq!(scene.board(|board| board.len()), 5);

            let changed = Object::Service(Service {
                external_name: "example.org".into(),
                reach: crate::kube::record::Reach::Elsewhere,
                namespace: "shop".into(),
                name: "web".into(),
                ..Service::default()
            });
            api.put(changed.clone());
            api.put(service("new"));
            api.remove(Kind::Pod, "shop", "web-0");
            api.remove(Kind::Slice, "shop", "web-1");
            scene.wait(|board| {
                board.has(&changed) && board.has(&service("new")) && board.len() == 4
            });
            let lists = api.count(Verb::List, None);
            assert_eq!(lists > 0, watch_list != WatchList::Works);
        }
    }
}

#[test]
fn protobuf_is_asked_for_but_not_of_custom_resources() {
    let api = Api::new();
    let scene = Scene::new(&api, everything());
    scene.wait(|board| KINDS.iter().all(|kind| board.is_synced(*kind)));
    for asked in api.asked() {
        let wants_protobuf = asked
            .accept
            .starts_with("application/vnd.kubernetes.protobuf");
        assert_eq!(
            wants_protobuf,
            asked.kind != Some(Kind::Import),
            "{asked:?}"
        );
    }
}

#[test]
fn selectors() {
    let api = Api::new();
    let labelled = |object: Object, app: &str| Stored::labelled(object, &[("app", app)]);
    api.put(labelled(Object::Namespace("a".into()), "x"));
    api.put(labelled(Object::Namespace("b".into()), "y"));
    api.put(labelled(service("in"), "web"));
    api.put(labelled(service("out"), "db"));
    api.put(pod("alive"));
    let mut dead: Stored = pod("dead").into();
    dead.phase = "Succeeded".into();
    api.put(dead);
    let wanted = Wanted {
        labels: Some("app in (web,other)".into()),
        namespace_labels: Some("app=x".into()),
        slices: true,
        pods: true,
        imports: false,
    };
    let scene = Scene::new(&api, wanted);
    scene.wait(|board| KINDS[..4].iter().all(|kind| board.is_synced(*kind)));
    scene.board(|board| {
        assert!(board.has(&Object::Namespace("a".into())));
        assert!(board.has(&service("in")) && board.has(&pod("alive")));
        assert_eq!(board.len(), 3);
        assert!(!board.is_synced(Kind::Import));
    });
}

#[test]
fn a_large_cluster_whole_and_in_pages() {
    for watch_list in [WatchList::Works, WatchList::GateOff] {
        let api = Api::new();
        api.script(|script| script.watch_list = watch_list);
        api.load(Cluster::new(3_000, 2, 1_500));
        let scene = Scene::new(&api, everything());
        scene.wait(|board| KINDS.iter().all(|kind| board.is_synced(*kind)));
        for kind in KINDS {
            let count = scene.board(|board| board.count(kind));
            assert_eq!(count, api.len(kind), "{kind:?}");
        }
    }
}

#[test]
fn pages_where_the_server_must_ask_its_store() {
    let api = Api::new();
    api.script(|script| {
        script.watch_list = WatchList::GateOff;
        // What is in memory cannot be had.
        script.refusals.push(crate::testing::kube_api::Refusal {
            verb: Some(Verb::List),
            kind: Some(Kind::Service),
            code: 410,
            times: 1,
            ..Default::default()
        });
    });
    api.load(Cluster::new(1_200, 1, 0));
    let scene = Scene::new(&api, base());
    scene.wait(|board| board.is_synced(Kind::Service));
    assert_eq!(scene.board(|board| board.count(Kind::Service)), 1_200);
    // One that was refused, and three pages of 500.
    assert_eq!(api.count(Verb::List, Some(Kind::Service)), 4);
    let asked = api.asked();
    let paged = asked.iter().filter(|one| one.target.contains("continue="));
    assert_eq!(paged.count(), 2);
}

#[test]
fn requests_are_counted() {
    let api = Api::new();
    let host = api.addr().to_string();
    let scene = Scene::new(&api, base());
    scene.wait(|board| board.is_synced(Kind::Service) && board.is_synced(Kind::Slice));
    let value = |name: &str, labels: &[(&str, &str)]| {
        let name = format!("coredns_kubernetes_rest_client_{name}");
        registry().value(&name, labels).unwrap_or(0.0)
    };
    let host = ("host", &*host);
    let count = value(
        "requests_total",
        &[("code", "200"), ("method", "GET"), host],
    );
    assert!(count >= 2.0, "{count}");
    for name in ["request_duration_seconds", "rate_limiter_duration_seconds"] {
        assert!(value(name, &[("verb", "GET"), host]) >= 2.0, "{name}");
    }
    drop(scene);
    api.stop();
    let scene = Scene::new(&api, base());
    let labels = [("code", "<error>"), ("method", "GET"), host];
    wait(|| value("requests_total", &labels) > 0.0);
    drop(scene);
}

#[test]
fn dropping_ends_the_watches() {
    let api = Api::new();
    let scene = Scene::new(&api, base());
    wait(|| api.watches() == 3);
    drop(scene);
    wait(|| api.watches() == 0);
}

#[test]
fn a_panic_over_an_object_is_survived() {
    let api = Api::new();
    let before = panics().value();
    let scene = Scene::new(&api, base());
    scene.wait(|board| board.is_synced(Kind::Service));
    scene.board(|board| board.panics_at = Some("bomb".into()));
    api.put(service("bomb"));
    api.put(service("web"));
    wait(|| panics().value() > before);
    scene.wait(|board| board.has(&service("web")) && board.losses == 1);
}
