//! Endpoints over real sockets on loopback.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::limits;
use crate::telemetry::panics;

fn answer(body: &'static str) -> Handler {
    Arc::new(move || Response::text(200, body))
}

fn endpoints(addr: &str, routes: &[(&str, Handler)]) -> Endpoints {
    let mut endpoints = Endpoints::new();
    for (path, handler) in routes {
        endpoints.add(addr, path, Arc::clone(handler));
    }
    endpoints
}

fn connect(bound: &Bound, addr: &str) -> TcpStream {
    let stream = TcpStream::connect(bound.local_addr(addr).unwrap()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// The whole reply of one request on a connection of its own.
fn fetch(bound: &Bound, addr: &str, request: &str) -> String {
    let mut stream = connect(bound, addr);
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

fn get(bound: &Bound, addr: &str, path: &str) -> String {
    fetch(
        bound,
        addr,
        &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    )
}

/// One request on a kept connection; the body must be `OK`.
fn get_kept(stream: &mut TcpStream, path: &str) -> String {
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        .unwrap();
    let mut reply = Vec::new();
    let mut octet = [0];
    while !reply.ends_with(b"\r\n\r\nOK")
        && !reply.ends_with(b"\r\n\r\nno")
        && stream.read(&mut octet).unwrap() > 0
    {
        reply.push(octet[0]);
    }
    String::from_utf8(reply).unwrap()
}

#[test]
fn a_path_answers_and_others_do_not() {
    let control = Control::start().unwrap();
    let addr = "127.0.0.1:0";
    let busy: Handler = Arc::new(|| Response::text(503, "a,b"));
    let bound = endpoints(addr, &[("/health", answer("OK")), ("/ready", busy)])
        .bind(None)
        .unwrap();
    bound.serve(&control);
    let health = get(&bound, addr, "/health");
    assert!(
        health.starts_with("HTTP/1.1 200 OK\r\n") && health.ends_with("\r\n\r\nOK"),
        "{health}"
    );
    assert!(
        health.contains("content-type: text/plain; charset=utf-8\r\n"),
        "{health}"
    );
    assert!(get(&bound, addr, "/health?verbose=1").ends_with("\r\n\r\nOK"));
    let ready = get(&bound, addr, "/ready");
    assert!(
        ready.starts_with("HTTP/1.1 503 ") && ready.ends_with("\r\n\r\na,b"),
        "{ready}"
    );
    for path in ["/", "/healthz", "/health/"] {
        let reply = get(&bound, addr, path);
        assert!(
            reply.starts_with("HTTP/1.1 404 ") && reply.ends_with("\r\n\r\n404 page not found\n"),
            "{reply}"
        );
    }
    let head = fetch(
        &bound,
        addr,
        "HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

#[test]
fn a_reload_carries_the_socket_and_swaps_the_routes() {
    let control = Control::start().unwrap();
    let addr = "127.0.0.1:0";
    let old = endpoints(addr, &[("/a", answer("OK")), ("/x", answer("no"))])
        .bind(None)
        .unwrap();
    old.serve(&control);
    let mut kept = connect(&old, addr);
    assert!(get_kept(&mut kept, "/x").ends_with("no"));
    let new = endpoints(addr, &[("/x", answer("OK"))])
        .bind(Some(&old))
        .unwrap();
    assert!(
        get_kept(&mut kept, "/x").ends_with("no"),
        "bound is not yet served"
    );
    new.serve(&control);
    assert_eq!(new.local_addr(addr), old.local_addr(addr));
    drop(old);
    assert!(
        get_kept(&mut kept, "/x").ends_with("OK"),
        "kept connections see the new routes"
    );
    assert!(get(&new, addr, "/a").starts_with("HTTP/1.1 404 "));
    assert!(get(&new, addr, "/x").ends_with("OK"));
}

#[test]
fn a_failed_bind_changes_nothing() {
    let control = Control::start().unwrap();
    let addr = "127.0.0.1:0";
    let old = endpoints(addr, &[("/a", answer("OK"))]).bind(None).unwrap();
    old.serve(&control);
    let squatter = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = squatter.local_addr().unwrap().to_string();
    let mut wanted = endpoints(addr, &[("/a", answer("no"))]);
    wanted.add(&taken, "/a", answer("no"));
    let error = wanted.bind(Some(&old)).err().unwrap();
    assert_eq!(
        error,
        format!("listen tcp {taken}: bind: address already in use")
    );
    assert!(get(&old, addr, "/a").ends_with("OK"));
}

#[test]
fn a_dropped_address_closes_at_once() {
    let control = Control::start().unwrap();
    let addr = "127.0.0.1:0";
    let old = endpoints(addr, &[("/a", answer("OK"))]).bind(None).unwrap();
    old.serve(&control);
    let real = old.local_addr(addr).unwrap();
    let mut kept = connect(&old, addr);
    assert!(get_kept(&mut kept, "/a").ends_with("OK"));
    let new = Endpoints::new().bind(Some(&old)).unwrap();
    new.serve(&control);
    drop(old);
    assert!(TcpStream::connect(real).is_err());
    assert_eq!(
        kept.read(&mut [0]).unwrap(),
        0,
        "idle kept connections are closed"
    );
}

#[test]
fn an_address_stops_accepting_when_all_its_owners_say_so() {
    let control = Control::start().unwrap();
    let addr = "127.0.0.1:0";
    let mut wanted = endpoints(addr, &[("/ready", answer("OK")), ("/health", answer("OK"))]);
    let (ready, health) = (
        wanted.stopper(addr, "/ready"),
        wanted.stopper(addr, "/health"),
    );
    let unknown = wanted.stopper("unknown:1", "/ready");
    ready.stop(); // not bound yet: nothing to stop
    let bound = wanted.bind(None).unwrap();
    bound.serve(&control);
    let real = bound.local_addr(addr).unwrap();
    let mut kept = connect(&bound, addr);
    assert!(get_kept(&mut kept, "/ready").ends_with("OK"));
    unknown.stop();
    ready.stop();
    assert!(get(&bound, addr, "/health").ends_with("OK"));
    health.stop();
    assert!(TcpStream::connect(real).is_err());
    assert!(get_kept(&mut kept, "/ready").ends_with("OK"));
}

#[test]
fn a_panic_in_a_handler_is_one_answer() {
    let control = Control::start().unwrap();
    let addr = "127.0.0.1:0";
    let calls = AtomicUsize::new(0);
    let handler: Handler = Arc::new(move || {
        assert!(calls.fetch_add(1, Ordering::SeqCst) > 0, "on purpose");
        Response::text(200, "OK")
    });
    let before = panics().value();
    let bound = endpoints(addr, &[("/a", handler)]).bind(None).unwrap();
    bound.serve(&control);
    assert!(get(&bound, addr, "/a").starts_with("HTTP/1.1 500 "));
    assert!(panics().value() > before);
    assert!(get(&bound, addr, "/a").ends_with("OK"));
}

#[test]
fn large_and_malformed_requests_are_refused() {
    let control = Control::start().unwrap();
    let addr = "127.0.0.1:0";
    let bound = endpoints(addr, &[("/a", answer("OK"))]).bind(None).unwrap();
    bound.serve(&control);
    let long = format!(
        "GET /a HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "y".repeat(limits::ADMIN_HEADER_OCTETS * 2)
    );
    let many = format!(
        "GET /a HTTP/1.1\r\n{}\r\n",
        "X: y\r\n".repeat(limits::ADMIN_HEADERS + 1)
    );
    for request in [&long, &many, "\0\0\0\r\n\r\n"] {
        let mut stream = connect(&bound, addr);
        // The server may close before it has read all of it.
        let _ = stream.write_all(request.as_bytes());
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        assert!(
            !reply.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&reply)
        );
    }
    assert!(get(&bound, addr, "/a").ends_with("OK"));
}

#[test]
fn slow_clients_are_cut() {
    let control = Control::start().unwrap();
    let addr = "127.0.0.1:0";
    let huge: Handler = Arc::new(|| Response::text(200, "x".repeat(64 << 20)));
    let bound = endpoints(addr, &[("/a", answer("OK")), ("/huge", huge)])
        .bind(None)
        .unwrap();
    bound.serve(&control);
    let start = Instant::now();
    let silent = connect(&bound, addr);
    let mut half = connect(&bound, addr);
    half.write_all(b"GET /a HT").unwrap();
    let mut idle = connect(&bound, addr);
    assert!(get_kept(&mut idle, "/a").ends_with("OK"));
    let mut deaf = connect(&bound, addr);
    deaf.write_all(b"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut trickle = connect(&bound, addr);
    let threads: Vec<_> = [silent, half, idle]
        .into_iter()
        .map(|mut stream| thread::spawn(move || stream.read_to_end(&mut Vec::new()).map(|_| ())))
        .chain([thread::spawn(move || {
            trickle.write_all(b"GET /a HTTP/1.1\r\nX: ")?;
            while trickle.write_all(b"y").is_ok() && start.elapsed() < Duration::from_secs(15) {
                thread::sleep(Duration::from_millis(200));
            }
            Ok(())
        })])
        .collect();
    for thread in threads {
        // A reset is as good an end as a close.
        let _ = thread.join().unwrap();
    }
    let elapsed = start.elapsed();
    assert!(
        elapsed > Duration::from_secs(4) && elapsed < Duration::from_secs(10),
        "{elapsed:?}"
    );
    let mut body = Vec::new();
    let _ = deaf.read_to_end(&mut body);
    assert!(
        body.len() < 64 << 20,
        "a client that does not read is cut off"
    );
}

#[test]
fn connections_beyond_the_limit_are_refused() {
    let control = Control::start().unwrap();
    let addr = "127.0.0.1:0";
    let bound = endpoints(addr, &[("/a", answer("OK"))]).bind(None).unwrap();
    bound.serve(&control);
    let mut first = connect(&bound, addr);
    assert!(get_kept(&mut first, "/a").ends_with("OK"));
    let open: Vec<TcpStream> = (1..limits::ADMIN_CONNECTIONS)
        .map(|_| connect(&bound, addr))
        .collect();
    let mut over = connect(&bound, addr);
    assert!(matches!(over.read(&mut [0]), Ok(0) | Err(_)));
    assert!(get_kept(&mut first, "/a").ends_with("OK"));
    drop(open);
}

#[test]
fn a_probe_reads_the_status() {
    let control = Control::start().unwrap();
    let bound = endpoints(":0", &[("/health", answer("OK"))])
        .bind(None)
        .unwrap();
    bound.serve(&control);
    let port = bound.local_addr(":0").unwrap().port();
    let addr = self_address(&format!(":{port}")).unwrap();
    let ask = |addr, path: &'static str| {
        let (send, receive) = std::sync::mpsc::channel();
        control.spawn("probe", async move {
            send.send(probe(addr, path, Duration::from_secs(3)).await.ok())
                .unwrap();
        });
        receive.recv().unwrap()
    };
    assert_eq!(ask(addr, "/health"), Some(200));
    assert_eq!(ask(addr, "/nothing"), Some(404));
    drop(bound);
    assert_eq!(ask(addr, "/health"), None);
}
