//! What the script makes go wrong.

use std::io::Read;
use std::net::TcpStream;
use std::time::Instant;

use super::client::{JSON, ask, get, names};
use super::{served, service, until};
use crate::kube::record::Kind;
use crate::testing::kube_api::{Api, Fault, Refusal, Trouble, Verb};

const LIST: &str = "/api/v1/services";

fn once(api: &Api, verb: Verb, after: usize, fault: Fault) {
    api.script(|script| script.troubles.push(Trouble::once(verb, after, fault)));
}

#[test]
fn a_token_is_asked_for_and_changes() {
    let api = served(1);
    api.script(|script| script.token = Some("first".into()));
    let code = |token: &str| {
        ask(
            &api,
            LIST,
            JSON,
            &format!("Authorization: Bearer {token}\r\n"),
        )
        .code
    };
    let mut none = get(&api, LIST);
    assert_eq!(
        (none.code, &none.json()["reason"]),
        (401, &"Unauthorized".into())
    );
    assert_eq!([code("first"), code("second")], [200, 401]);
    api.script(|script| script.token = Some("second".into()));
    assert_eq!([code("first"), code("second")], [401, 200]);
}

#[test]
fn requests_are_refused_as_often_as_the_test_wants() {
    let api = served(1);
    api.script(|script| {
        script.refusals = vec![
            Refusal::all(403, 2),
            Refusal {
                kind: Some(Kind::Pod),
                retry_after_s: Some(3),
                ..Refusal::all(429, 1)
            },
            Refusal {
                verb: Some(Verb::Watch),
                ..Refusal::all(500, 1)
            },
        ];
    });
    let code = |target: &str| get(&api, target).code;
    assert_eq!(
        [code(LIST), code("/api/v1/pods"), code(LIST)],
        [403, 403, 200]
    );
    let mut busy = get(&api, "/api/v1/pods");
    assert_eq!((busy.code, busy.header("retry-after")), (429, "3"));
    let status = busy.json();
    assert_eq!(status["details"]["retryAfterSeconds"], 3);
    assert_eq!(status["reason"], "TooManyRequests");
    assert_eq!(code("/api/v1/pods"), 200);
    assert_eq!(
        [code("/api/v1/pods?watch=1"), code("/api/v1/pods?watch=1")],
        [500, 200]
    );
    let codes: Vec<u16> = api.asked().iter().map(|asked| asked.code).collect();
    assert_eq!(codes, [403, 403, 200, 429, 200, 500, 200]);
}

#[test]
fn a_stopped_server_refuses_and_comes_back_at_its_address() {
    let api = served(1);
    for _ in 0..3 {
        api.stop();
        let error = TcpStream::connect(api.addr()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        api.start();
        assert_eq!(names(&get(&api, LIST).json()), ["ns/s0"]);
    }
}

#[test]
fn a_polite_stop_keeps_watches() {
    let api = served(1);
    let mut watch = get(&api, "/api/v1/services?watch=1&resourceVersion=1001");
    api.drain();
    TcpStream::connect(api.addr()).unwrap_err();
    api.put(service("ns", "late"));
    assert_eq!(watch.told(), "ADDED ns/late");
    api.stop();
    assert!(watch.octets().is_err());
    api.start();
    assert_eq!(names(&get(&api, LIST).json()), ["ns/late", "ns/s0"]);
}

#[test]
fn a_start_after_a_polite_stop_is_a_new_process() {
    let api = served(1);
    let target = format!("/api/v1/services?watch=1&resourceVersion={}", api.version());
    let mut old = get(&api, &target);
    api.drain();
    api.start();
    old.octets().unwrap_err();
    assert_eq!(get(&api, &target).told(), "ERROR 410");
}

#[test]
fn a_list_breaks_in_the_middle_of_an_object() {
    let api = served(2);
    let whole = get(&api, LIST).octets().unwrap();
    once(&api, Verb::List, 300, Fault::Break);
    let mut broken = get(&api, LIST);
    assert_eq!(broken.exactly(300), whole[..300]);
    broken.octets().unwrap_err();
    once(&api, Verb::List, 300, Fault::End);
    assert_eq!(get(&api, LIST).octets().unwrap(), whole[..300]);
    assert_eq!(get(&api, LIST).octets().unwrap(), whole);
}

#[test]
fn a_watch_breaks_in_the_middle_of_an_object() {
    let api = served(1);
    once(&api, Verb::Watch, 50, Fault::Break);
    let mut broken = get(&api, "/api/v1/services?watch=1");
    assert!(broken.exactly(50).starts_with(b"{\"type\":\"ADDED\""));
    broken.octets().unwrap_err();
    assert_eq!(get(&api, "/api/v1/services?watch=1").told(), "ADDED ns/s0");
}

#[test]
fn garbage_follows() {
    let api = served(1);
    let whole = get(&api, LIST).octets().unwrap();
    once(&api, Verb::List, 10, Fault::Garbage);
    let octets = get(&api, LIST).octets().unwrap();
    assert_eq!(octets[..10], whole[..10]);
    assert_eq!(octets.len(), 266);
    assert!(octets[10..].iter().all(|octet| *octet >= 0x80));
}

#[test]
fn a_stream_stalls_until_the_client_goes() {
    let api = served(1);
    once(&api, Verb::Watch, 10, Fault::Stall);
    let mut stalled = get(&api, "/api/v1/services?watch=1");
    stalled.exactly(10);
    assert_eq!(api.watches(), 1);
    stalled.close();
    until("the watch is gone", || api.watches() == 0);
}

#[test]
fn a_slow_stream_brings_everything() {
    let api = served(1);
    let whole = get(&api, LIST).octets().unwrap();
    once(&api, Verb::List, 0, Fault::Slow(whole.len() * 2));
    let before = Instant::now();
    assert_eq!(get(&api, LIST).octets().unwrap(), whole);
    // Ten steps of fifty milliseconds, of which nobody waits for the last.
    assert!(before.elapsed().as_millis() >= 450);
}

#[test]
fn answers_are_delayed() {
    let api = served(1);
    api.script(|script| script.delay_ms = 100);
    let before = Instant::now();
    assert_eq!(get(&api, LIST).code, 200);
    assert!(before.elapsed().as_millis() >= 100);
}

#[test]
fn a_large_cluster_is_listed_as_it_is_made() {
    let api = Api::new();
    api.load(crate::testing::kube_api::Cluster::new(2000, 2, 0));
    let mut answer = get(&api, LIST);
    let mut first = [0; 1];
    answer.read_exact(&mut first).unwrap();
    let rest = answer.octets().unwrap();
    let list = [&first[..], &rest].concat();
    let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(names(&list).len(), 2000);
}
