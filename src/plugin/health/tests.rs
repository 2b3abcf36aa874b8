//! Tests of *health*.

use std::sync::mpsc;
use std::time::Duration;

use super::selfcheck::{Meter, SelfCheck, warn};
use super::*;
use crate::admin::probe;
use crate::control::Control;
use crate::telemetry::log::capture;
use crate::telemetry::registry;
use crate::testing::directive::{Directive, set_up, set_up_error};

fn health(lines: &str) -> Directive<Health> {
    set_up("health", lines).unwrap()
}

#[test]
fn it_answers_ok_on_its_path() {
    let control = Control::start().unwrap();
    let bound = health("health 127.0.0.1:0")
        .life
        .endpoints
        .bind(None)
        .unwrap();
    bound.serve(&control);
    let addr = bound.local_addr("127.0.0.1:0").unwrap();
    let (send, receive) = mpsc::channel();
    control.spawn("test", async move {
        for path in ["/health", "/healthz"] {
            send.send(probe(addr, path, Duration::from_secs(3)).await.unwrap())
                .unwrap();
        }
    });
    assert_eq!(
        (receive.recv().unwrap(), receive.recv().unwrap()),
        (200, 404)
    );
}

#[test]
fn settings_and_their_defaults() {
    for (lines, addr, lameduck_ms) in [
        ("health", ":8080", 0),
        ("health localhost:8091", "localhost:8091", 0),
        ("health {\n lameduck 1s\n}", ":8080", 1000),
        ("health :1 {\n lameduck 1m30s\n}", ":1", 90_000),
        ("health :1 {\n lameduck -1s\n}", ":1", 0),
        ("health :1 {\n}", ":1", 0),
        // Several lines are one, and the last value of each setting counts.
        ("health :1 {\n lameduck 5s\n}\nhealth :2", ":2", 5000),
        (
            "health :1 {\n lameduck 5s\n lameduck 2s\n}\nhealth",
            ":1",
            2000,
        ),
    ] {
        let life = health(lines).life;
        assert_eq!(
            life.endpoints.addresses().collect::<Vec<_>>(),
            [addr],
            "{lines}"
        );
        assert_eq!(life.lameduck, Duration::from_millis(lameduck_ms), "{lines}");
        let said = capture::lines(|| life.on_drain.into_iter().for_each(|hook| hook()));
        assert_eq!(said.len(), usize::from(lameduck_ms > 0), "{lines}");
    }
}

#[test]
fn lameduck_is_announced() {
    let life = health("health {\n lameduck 5s\n}").life;
    let said = capture::lines(|| life.on_drain.into_iter().for_each(|hook| hook()));
    assert_eq!(
        said,
        ["[INFO] plugin/health: Going into lameduck mode for 5s"]
    );
}

#[test]
fn the_process_asks_itself() {
    let control = Control::start().unwrap();
    let bound = health("health 127.0.0.1:0")
        .life
        .endpoints
        .bind(None)
        .unwrap();
    bound.serve(&control);
    let addr = bound.local_addr("127.0.0.1:0").unwrap().to_string();
    let (duration, failures) = (
        "coredns_health_request_duration_seconds",
        "coredns_health_request_failures_total",
    );
    let value = |name| registry().value(name, &[]).unwrap_or(0.0);
    let (asked, failed) = (value(duration), value(failures));
    let check = SelfCheck::new(&addr);
    check.start(&control);
    for _ in 0..100 {
        if value(duration) > asked {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    check.stop();
    assert!(value(duration) > asked);
    drop(bound);
    let (send, receive) = mpsc::channel();
    control.spawn("test", async move {
        Meter::new(&addr).check().await;
        send.send(()).unwrap();
    });
    receive.recv().unwrap();
    assert!(value(failures) > failed);
}

#[test]
fn slow_and_failed_checks_are_warned_of() {
    let lines = capture::lines(|| {
        warn(":8080", Ok::<(), &str>(()), Duration::from_millis(900));
        warn(":8080", Ok::<(), &str>(()), Duration::from_millis(1500));
        warn(":8080", Err("connection refused"), Duration::from_millis(1));
    });
    let expect = [
        "[WARNING] plugin/health: Local health request to \"http://:8080/health\" took more than 1s: 1.5s",
        "[WARNING] plugin/health: Local health request to \"http://:8080/health\" failed: connection refused",
    ];
    assert_eq!(lines, expect);
}

#[test]
fn wrong_lines_are_refused() {
    for (lines, expect) in [
        (
            "health localhost",
            "address localhost: missing port in address",
        ),
        (
            "health :1 :2",
            "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after ':2'",
        ),
        (
            "health {\n lameduck\n}",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'lameduck'",
        ),
        (
            "health {\n lameduck 5s 6s\n}",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after '6s'",
        ),
        (
            "health {\n lameduck bla\n}",
            "unable to parse lameduck duration value: \"bla\": time: invalid duration \"bla\"",
        ),
        (
            "health {\n foo 5s\n}",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'foo'",
        ),
    ] {
        assert_eq!(set_up_error::<Health>("health", lines), expect);
    }
}
