//! Watches and WatchLists.

use super::client::get;
use super::{pod, served, service, until};
use crate::kube::record::{Kind, Object};
use crate::testing::kube_api::{Api, Verb, WatchList};

const INITIAL: &str =
    "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";

fn watch(api: &Api, path: &str) -> super::client::Answer<std::net::TcpStream> {
    let version = api.version();
    get(
        api,
        &format!("{path}?watch=1&allowWatchBookmarks=true&resourceVersion={version}"),
    )
}

#[test]
fn a_watch_tells_what_changes() {
    let api = served(1);
    let mut watch = watch(&api, "/api/v1/services");
    assert_eq!(
        (watch.code, watch.header("content-type")),
        (200, "application/json")
    );
    api.put(service("ns", "new"));
    api.put(Object::Namespace("unheard".into()));
    api.put(service("ns", "s0"));
    api.remove(Kind::Service, "ns", "new");
    let first = watch.event().unwrap();
    assert_eq!(
        (&first["type"], &first["object"]["kind"]),
        (&"ADDED".into(), &"Service".into())
    );
    assert_eq!(first["object"]["metadata"]["resourceVersion"], "1002");
    assert_eq!(watch.told(), "MODIFIED ns/s0");
    let last = watch.event().unwrap();
    assert_eq!(last["type"], "DELETED");
    // The version is that of the removal.
    assert_eq!(
        last["object"]["metadata"]["resourceVersion"],
        api.version().to_string()
    );
    api.bookmark();
    let bookmark = watch.event().unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(
        bookmark["object"]["metadata"]["resourceVersion"],
        api.version().to_string()
    );
    assert_eq!(api.count(Verb::Watch, Some(Kind::Service)), 1);
    assert_eq!(api.watches(), 1);
    watch.close();
    until("the watch is gone", || api.watches() == 0);
}

#[test]
fn a_watch_begins_at_its_version() {
    let api = served(3);
    let mut watch = get(&api, "/api/v1/services?watch=1&resourceVersion=1001");
    assert_eq!([watch.told(), watch.told()], ["ADDED ns/s1", "ADDED ns/s2"]);
    // From anywhere: what is there, and no bookmark.
    let mut watch = get(&api, "/api/v1/services?watch=1&resourceVersion=0");
    assert_eq!(watch.told(), "ADDED ns/s0");
    assert_eq!([watch.told(), watch.told()], ["ADDED ns/s1", "ADDED ns/s2"]);
    api.put(service("ns", "s1"));
    assert_eq!(watch.told(), "MODIFIED ns/s1");
}

#[test]
fn a_watch_ends_with_its_time() {
    let api = served(1);
    let mut watch = get(
        &api,
        "/api/v1/services?watch=1&resourceVersion=1001&timeoutSeconds=1",
    );
    assert_eq!(watch.told(), "end");
}

#[test]
fn bookmarks_come_by_themselves_where_they_are_allowed() {
    let api = served(1);
    api.script(|script| script.bookmark_interval_ms = 20);
    let mut with = watch(&api, "/api/v1/services");
    assert_eq!([with.told(), with.told()], ["BOOKMARK", "BOOKMARK"]);
    let mut without = get(&api, "/api/v1/services?watch=1&resourceVersion=1001");
    api.bookmark();
    api.put(service("ns", "new"));
    assert_eq!(without.told(), "ADDED ns/new");
}

#[test]
fn what_enters_or_leaves_a_selection_comes_or_goes() {
    let api = Api::new();
    api.put_all([pod("ns", "a", "db"), pod("other", "b", "web")]);
    let version = api.version();
    let target = "/api/v1/namespaces/ns/pods?labelSelector=app%3Dweb&watch=1";
    let fields = "fieldSelector=status.phase!%3DFailed";
    let mut watch = get(
        &api,
        &format!("{target}&{fields}&resourceVersion={version}"),
    );
    api.put(pod("other", "b", "web"));
    api.put(pod("ns", "a", "web"));
    assert_eq!(watch.told(), "ADDED ns/a");
    let mut failed = pod("ns", "a", "web");
    failed.phase = "Failed".into();
    api.put(failed.clone());
    let event = watch.event().unwrap();
    assert_eq!(event["type"], "DELETED");
    assert_eq!(event["object"]["status"]["phase"], "Running");
    api.put(failed);
    api.put(pod("ns", "a", "web"));
    assert_eq!(watch.told(), "ADDED ns/a");
}

#[test]
fn a_watch_list_begins_with_what_is_there() {
    let api = served(2);
    let mut watch = get(&api, &format!("/api/v1/services?{INITIAL}"));
    assert_eq!([watch.told(), watch.told()], ["ADDED ns/s0", "ADDED ns/s1"]);
    let end = watch.event().unwrap();
    let meta = &end["object"]["metadata"];
    assert_eq!(
        (&end["type"], &end["object"]["kind"]),
        (&"BOOKMARK".into(), &"Service".into())
    );
    assert_eq!(meta["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(meta["resourceVersion"], api.version().to_string());
    api.put(service("ns", "s0"));
    assert_eq!(watch.told(), "MODIFIED ns/s0");
    assert_eq!(api.count(Verb::WatchList, Some(Kind::Service)), 1);
    assert_eq!(api.count(Verb::Watch, None), 0);
    let mut future = get(
        &api,
        &format!("/api/v1/services?{INITIAL}&resourceVersion=99999"),
    );
    assert_eq!(
        (future.code, &future.json()["reason"]),
        (504, &"Timeout".into())
    );
}

#[test]
fn servers_without_watch_lists() {
    let api = served(1);
    let target = format!("/api/v1/services?{INITIAL}");
    api.script(|script| script.watch_list = WatchList::GateOff);
    let mut answer = get(&api, &target);
    assert_eq!(
        (answer.code, &answer.json()["reason"]),
        (422, &"Invalid".into())
    );
    api.script(|script| script.watch_list = WatchList::OldStore);
    let mut answer = get(&api, &target);
    assert_eq!(answer.code, 200);
    assert_eq!([answer.told(), answer.told()], ["ERROR 500", "end"]);
    // Other watches are as ever.
    assert_eq!(get(&api, "/api/v1/services?watch=1").told(), "ADDED ns/s0");
}

#[test]
fn after_a_restart_old_watches_end_and_old_versions_are_gone() {
    let api = served(1);
    let version = api.version();
    let old = watch(&api, "/api/v1/services");
    api.restart();
    let mut old = old;
    assert!(
        super::client::Answer::octets(&mut old).is_err(),
        "cut, not ended"
    );
    let target = format!("/api/v1/services?watch=1&resourceVersion={version}");
    let mut again = get(&api, &target);
    assert_eq!(again.code, 200);
    assert_eq!([again.told(), again.told()], ["ERROR 410", "end"]);
    let list = get(&api, "/api/v1/services").json();
    assert_eq!(super::client::names(&list), ["ns/s0"]);
    let mut again = watch(&api, "/api/v1/services");
    api.put(service("ns", "new"));
    assert_eq!(again.told(), "ADDED ns/new");
}

#[test]
fn a_watch_that_falls_behind_is_told_so() {
    let api = served(1);
    let mut watch = watch(&api, "/api/v1/services");
    api.put(service("ns", "heard"));
    assert_eq!(watch.told(), "ADDED ns/heard");
    api.compact();
    let event = watch.event().unwrap();
    assert_eq!(
        (&event["object"]["code"], &event["object"]["reason"]),
        (&410.into(), &"Expired".into())
    );
    assert_eq!(watch.told(), "end");
}
