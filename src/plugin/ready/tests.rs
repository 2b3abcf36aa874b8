//! Tests of *ready*.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::control::Control;
use crate::testing::directive::{Directive, set_up, set_up_error};

fn ready(lines: &str) -> Directive<Ready> {
    set_up("ready", lines).unwrap()
}

/// One request on a kept connection: status and body.
fn ask(stream: &mut TcpStream) -> (u16, String) {
    ask_for(stream, "/ready")
}

fn ask_for(stream: &mut TcpStream, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    let mut octet = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut octet).unwrap();
        head.push(octet[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (
        head[9..12].parse().unwrap(),
        String::from_utf8(body).unwrap(),
    )
}

#[test]
fn it_waits_for_plugins_and_stops_at_shutdown() {
    let control = Control::start().unwrap();
    let life = ready("ready 127.0.0.1:0").life;
    let is_ready = Arc::new(AtomicBool::new(false));
    let check = Arc::clone(&is_ready);
    life.readiness
        .register(0, "kubernetes", move || check.load(Ordering::SeqCst));
    life.readiness.register(0, "erratic", || true);
    let is_stale = Arc::new(AtomicBool::new(false));
    let age = Arc::clone(&is_stale);
    life.readiness.register_age(0, "kubernetes", move || {
        let is_stale = age.load(Ordering::SeqCst);
        is_stale.then_some(Duration::from_secs(37))
    });
    let bound = life.endpoints.bind(None).unwrap();
    bound.serve(&control);
    let addr = bound.local_addr("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(addr).unwrap();
    assert_eq!(ask(&mut stream), (503, "kubernetes".into()));
    let current = ask_for(&mut stream, "/ready/current");
    assert_eq!(current, (503, "kubernetes".into()));
    is_ready.store(true, Ordering::SeqCst);
    assert_eq!(ask(&mut stream), (200, "OK".into()));
    is_ready.store(false, Ordering::SeqCst);
    assert_eq!(ask(&mut stream), (200, "OK".into()), "once is enough");
    let mut is_current = || ask_for(&mut stream, "/ready/current");
    assert_eq!(is_current(), (200, "OK".into()));
    is_stale.store(true, Ordering::SeqCst);
    let stale = (503, "kubernetes: stale for 37s".into());
    assert_eq!(is_current(), stale);
    assert_eq!(ask(&mut stream), (200, "OK".into()), "it can answer");
    life.on_drain.into_iter().for_each(|hook| hook());
    assert_eq!(ask(&mut stream), (503, "Shutting down".into()));
    assert!(TcpStream::connect(addr).is_err(), "no new connections");
}

#[test]
fn continuously_asks_again() {
    let life = ready("ready :0 {\n monitor continuously\n}").life;
    let is_ready = Arc::new(AtomicBool::new(true));
    let check = Arc::clone(&is_ready);
    life.readiness
        .register(0, "nomad", move || check.load(Ordering::SeqCst));
    assert_eq!(life.readiness.not_ready(), None);
    is_ready.store(false, Ordering::SeqCst);
    assert_eq!(life.readiness.not_ready().as_deref(), Some("nomad"));
}

#[test]
fn addresses() {
    for (lines, addr) in [
        ("ready", ":8181"),
        ("ready localhost:1234", "localhost:1234"),
        ("ready {\n monitor until-ready\n}", ":8181"),
    ] {
        assert_eq!(
            ready(lines).life.endpoints.addresses().collect::<Vec<_>>(),
            [addr]
        );
    }
}

#[test]
fn wrong_lines_are_refused() {
    for (lines, expect) in [
        (
            "ready\nready",
            "this plugin can only be used once per Server Block",
        ),
        (
            "ready localhost",
            "address localhost: missing port in address",
        ),
        (
            "ready :1 :2",
            "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after ':2'",
        ),
        (
            "ready {\n foo\n}",
            "Corefile:3 - Error during parsing: unknown property 'foo'",
        ),
        (
            "ready {\n monitor\n}",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'monitor'",
        ),
        (
            "ready {\n monitor foo\n}",
            "Corefile:3 - Error during parsing: monitor type 'foo' not supported",
        ),
    ] {
        assert_eq!(set_up_error::<Ready>("ready", lines), expect);
    }
}
