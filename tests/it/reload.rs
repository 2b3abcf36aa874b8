//! SIGUSR1 and the *reload* directive: all or nothing, and nothing lost.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{self, Tcp};
use crate::server::{Folder, Server, free_port};
use crate::upstream::Upstream;

const COMPLETE: &str = "[INFO] Reloading complete";

fn zone(serial: u32, address: &str) -> String {
    format!(
        "$ORIGIN example.org.\n@ 60 IN SOA ns host {serial} 7200 3600 1209600 60\n@ 60 IN NS ns\nns 60 IN A {address}\n"
    )
}

#[test]
fn by_the_complete_line_the_new_configuration_answers() {
    let folder = Folder::new();
    folder.write("db1", &zone(1, "192.0.2.1"));
    folder.write("db2", &zone(2, "192.0.2.2"));
    let port = free_port();
    let corefile = |db: &str| format!("example.org:{port} {{\n  file {db}\n}}\n");
    let server = Server::with(folder, &corefile("db1"), |_| {});
    let addr = server.addr("example.org.:");
    let mut held = Tcp::open(addr);
    for round in 0..6 {
        let (db, want) = [("db2", "192.0.2.2"), ("db1", "192.0.2.1")][round % 2];
        assert_eq!(server.reload(&corefile(db)), COMPLETE);
        // Several sockets, so that every core is asked.
        for _ in 0..8 {
            let udp = client::udp(addr, "ns.example.org A");
            assert_eq!(udp.answer, [format!("ns.example.org. 60 IN A {want}")]);
            assert_eq!(client::tcp(addr, "ns.example.org A").answer, udp.answer);
        }
        let kept = held.ask(7, "ns.example.org A");
        assert_eq!(
            kept.answer,
            [format!("ns.example.org. 60 IN A {want}")],
            "an open connection"
        );
    }
    assert_eq!(
        server
            .lines()
            .iter()
            .filter(|line| *line == "[INFO] Reloading")
            .count(),
        6
    );
}

#[test]
fn new_listeners_serve_and_dropped_ones_are_closed() {
    let (keep, old, new) = (free_port(), free_port(), free_port());
    let corefile = |other: u16| format!(".:{keep} .:{other} {{\n  whoami\n}}\n");
    let server = Server::start(&corefile(old));
    let addr = |port| SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(client::udp(addr(old), "example.org A").rcode, "NOERROR");
    assert_eq!(server.reload(&corefile(new)), COMPLETE);
    for port in [keep, new] {
        assert_eq!(client::udp(addr(port), "example.org A").rcode, "NOERROR");
        assert_eq!(client::tcp(addr(port), "example.org A").rcode, "NOERROR");
    }
    assert_eq!(
        client::try_udp(addr(old), "example.org A", Duration::from_millis(300)),
        None
    );
    crate::server::eventually("the TCP listener is closed", || {
        TcpStream::connect_timeout(&addr(old), Duration::from_secs(1)).is_err()
    });
    // Nobody holds the port: another program can have it at once.
    drop(TcpListener::bind(addr(old)).expect("a free port"));
    drop(std::net::UdpSocket::bind(addr(old)).expect("a free port"));
}

/// A server with every endpoint, for reloads that fail.
struct Full {
    server: Server,
    text: String,
    ports: [u16; 3],
}

impl Full {
    fn start() -> Full {
        let ports = [free_port(), free_port(), free_port()];
        let dns = free_port();
        let text = format!(
            ".:{dns} {{\n  health 127.0.0.1:{}\n  ready 127.0.0.1:{}\n  prometheus 127.0.0.1:{}\n  errors\n  whoami\n}}\n",
            ports[0], ports[1], ports[2]
        );
        Full {
            server: Server::start(&text),
            text,
            ports,
        }
    }

    fn check_endpoints(&self) {
        let [health, ready, metrics] = self.ports;
        assert_eq!(client::http(health, "/health"), Some((200, "OK".into())));
        assert_eq!(client::http(ready, "/ready"), Some((200, "OK".into())));
        let (status, body) = client::http(metrics, "/metrics").expect("metrics");
        assert_eq!(status, 200);
        assert!(body.contains("coredns_build_info"));
        assert_eq!(self.server.ask("example.org A").rcode, "NOERROR");
    }

    #[track_caller]
    fn check_refused(&self, corefile: &str, reason: &str) {
        let before = self.server.lines().len();
        let outcome = self.server.reload(corefile);
        assert!(
            outcome.starts_with("[ERROR] Restart failed: ") && outcome.contains(reason),
            "{outcome}"
        );
        let lines = self.server.lines();
        assert_eq!(
            lines[before..]
                .iter()
                .filter(|line| line.contains(reason))
                .count(),
            1,
            "one line says it: {lines:?}"
        );
        self.check_endpoints();
    }
}

#[test]
fn a_reload_that_fails_changes_nothing() {
    let full = Full::start();
    full.check_endpoints();
    let holder = TcpListener::bind("0.0.0.0:0").unwrap();
    let held = holder.local_addr().unwrap().port();
    let text = &full.text;
    full.check_refused(
        &text.replace("errors", "erors"),
        "Unknown directive 'erors'",
    );
    full.check_refused(&text[..text.len() - 2], "Syntax error");
    full.check_refused(&text.replace("whoami", "whoami x"), "plugin/whoami");
    // What is bound last fails after everything else was bound.
    full.check_refused(
        &format!("{text}.:{held} {{\n  whoami\n}}\n"),
        &format!(":{held}: bind: address already in use"),
    );
    let health = format!("health 127.0.0.1:{}", full.ports[0]);
    full.check_refused(
        &text.replace(&health, &format!("health 127.0.0.1:{held}")),
        "address already in use",
    );
    std::fs::remove_file(full.server.folder.path().join("Corefile")).unwrap();
    full.server.signal(libc::SIGUSR1);
    full.server.wait_for(|line| {
        line.starts_with("[ERROR] Restart failed: ") && line.contains("no such file")
    });
    full.check_endpoints();
    // And then a good one is taken.
    assert_eq!(full.server.reload(text), COMPLETE);
    full.check_endpoints();
}

#[test]
fn endpoints_answer_all_through_a_reload() {
    let full = Full::start();
    let stop = AtomicBool::new(false);
    let [health, ready, _] = full.ports;
    let failures = thread::scope(|scope| {
        let probe = scope.spawn(|| {
            let mut failures = 0;
            while !stop.load(Ordering::SeqCst) {
                for (port, path) in [(health, "/health"), (ready, "/ready")] {
                    failures += usize::from(client::http(port, path) != Some((200, "OK".into())));
                }
            }
            failures
        });
        for _ in 0..5 {
            assert_eq!(full.server.reload(&full.text), COMPLETE);
        }
        stop.store(true, Ordering::SeqCst);
        probe.join().unwrap()
    });
    assert_eq!(failures, 0);
}

#[test]
fn the_directive_takes_a_changed_file_over_and_tries_a_broken_one_once() {
    let corefile = |address: &str| {
        format!(".:0 {{\n  reload 2s 0s\n  hosts {{\n    {address} a.example\n  }}\n}}\n")
    };
    let server = Server::start(&corefile("192.0.2.1"));
    server.wait_for(|line| {
        line.starts_with("[INFO] plugin/reload: Running configuration SHA512 = ")
            && line.len() == "[INFO] plugin/reload: Running configuration SHA512 = ".len() + 128
    });
    assert_eq!(
        server.ask("a.example A").answer,
        ["a.example. 3600 IN A 192.0.2.1"]
    );
    server.folder.write("Corefile", &corefile("192.0.2.2"));
    server.wait_for(|line| line == COMPLETE);
    assert_eq!(
        server.ask("a.example A").answer,
        ["a.example. 3600 IN A 192.0.2.2"]
    );
    server.folder.write("Corefile", ".:0 {\n  nonsense\n}\n");
    let is_failure = |line: &str| {
        line.starts_with("[ERROR]") && line.contains("Corefile changed but reload failed")
    };
    server.wait_for(is_failure);
    server.folder.write("Corefile", ".:0 {\n  whoami\n");
    let is_unreadable =
        |line: &str| line.starts_with("[WARNING] plugin/reload: Corefile parse failed: Corefile:");
    server.wait_for(is_unreadable);
    thread::sleep(Duration::from_millis(2500));
    assert_eq!(
        server
            .lines()
            .iter()
            .filter(|line| is_unreadable(line))
            .count(),
        1
    );
    assert_eq!(
        server
            .lines()
            .iter()
            .filter(|line| is_failure(line))
            .count(),
        1
    );
    assert_eq!(server.ask("a.example A").answer.len(), 1);
}

#[test]
fn the_cache_survives_a_reload_of_the_same_block() {
    let upstream = Upstream::start();
    let port = free_port();
    let corefile = |extra: &str| {
        format!(
            ".:{port} {{\n  cache 60\n  forward . {}\n}}\n{extra}",
            upstream.addr
        )
    };
    let server = Server::start(&corefile(""));
    assert_eq!(server.ask("kept.example A").answer.len(), 1);
    assert_eq!(upstream.asked(), 1);
    for extra in ["", "example.net:0 {\n  whoami\n}\n"] {
        assert_eq!(server.reload(&corefile(extra)), COMPLETE);
        for _ in 0..4 {
            assert_eq!(server.ask("kept.example A").answer.len(), 1);
        }
        assert_eq!(upstream.asked(), 1, "asked again after a reload");
    }
}

#[test]
fn queries_that_wait_for_an_upstream_are_answered_across_a_reload() {
    let upstream = Upstream::start();
    let port = free_port();
    let corefile = format!(".:{port} {{\n  forward . {}\n}}\n", upstream.addr);
    let server = Server::start(&corefile);
    let addr = server.addr(".:");
    let socket = client::connected(addr);
    let mut tcp = Tcp::open(addr);
    socket.send(&client::query(1, "slow1.example A")).unwrap();
    tcp.send(&client::query(2, "slow2.example A")).unwrap();
    thread::sleep(Duration::from_millis(100));
    assert_eq!(server.reload(&corefile), COMPLETE);
    socket.set_read_timeout(Some(client::PATIENCE)).unwrap();
    let mut buffer = [0; 512];
    let len = socket.recv(&mut buffer).expect("a reply after the reload");
    assert_eq!(client::decode(&buffer[..len]).rcode, "NOERROR");
    assert_eq!(
        client::decode(&tcp.receive().expect("a reply")).rcode,
        "NOERROR"
    );
}

/// Queries a second: what a debug build on a busy machine serves without effort.
const RATE: u32 = 400;

#[test]
fn reloads_under_load_lose_nothing() {
    let folder = Folder::new();
    folder.write("db", &zone(1, "192.0.2.1"));
    let port = free_port();
    let corefile = |nth: usize| {
        format!(
            "example.org:{port} {{\n  multisocket {}\n  file db\n}}\n.:{port} {{\n  whoami\n}}\nn{nth}.example:{port} {{\n  whoami\n}}\n",
            [2, 2, 5, 1][nth % 4]
        )
    };
    let server = Server::with(folder, &corefile(0), |_| {});
    let addr = server.addr("example.org.:");
    let stop = AtomicBool::new(false);
    let (sent, bad) = thread::scope(|scope| {
        let load = scope.spawn(|| load(addr, &stop));
        for nth in 1..=20 {
            assert_eq!(server.reload(&corefile(nth)), COMPLETE);
            thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::SeqCst);
        load.join().unwrap()
    });
    assert!(sent > 100, "only {sent} queries were sent");
    assert_eq!(bad, Vec::<String>::new(), "of {sent} queries");
}

/// Sockets of an address that stays but whose number changes, and an address that becomes narrower and wider again.
#[test]
fn reloads_that_change_the_sockets_of_a_port_keep_it_answering() {
    let port = free_port();
    let corefile = |extra: &str| format!(".:{port} {{\n  {extra}\n  whoami\n}}\n");
    let steps = [
        "multisocket 1",
        "multisocket 5",
        "bind 127.0.0.1",
        "errors",
        "multisocket 2",
    ];
    let server = Server::start(&corefile("errors"));
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    for step in steps.iter().cycle().take(10) {
        assert_eq!(server.reload(&corefile(step)), COMPLETE, "{step}");
        for _ in 0..16 {
            assert_eq!(
                client::udp(addr, "example.org A").rcode,
                "NOERROR",
                "{step}"
            );
            assert_eq!(
                client::tcp(addr, "example.org A").rcode,
                "NOERROR",
                "{step}"
            );
        }
    }
}

/// Asks at a fixed rate from many sockets until it is told to stop; returns how many were sent and what went wrong.
fn load(addr: SocketAddr, stop: &AtomicBool) -> (usize, Vec<String>) {
    let sockets: Vec<_> = (0..16).map(|_| client::connected(addr)).collect();
    for socket in &sockets {
        socket.set_nonblocking(true).unwrap();
    }
    let (begin, mut sent, mut bad) = (Instant::now(), 0usize, Vec::new());
    let mut open = std::collections::HashSet::new();
    let mut last_sent = Instant::now();
    loop {
        let is_over = stop.load(Ordering::SeqCst);
        let due = (begin.elapsed().as_secs_f64() * f64::from(RATE)) as usize;
        while !is_over && sent < due && sent < usize::from(u16::MAX) {
            let id = sent as u16;
            let name = ["ns.example.org A", "example.net A"][sent % 2];
            let socket = &sockets[sent % sockets.len()];
            match socket.send(&client::query(id, name)) {
                Ok(_) => drop(open.insert(id)),
                Err(error) => bad.push(format!("query {id}: {error}")),
            }
            (sent, last_sent) = (sent + 1, Instant::now());
        }
        let mut buffer = [0; 512];
        for socket in &sockets {
            while let Ok(len) = socket.recv(&mut buffer) {
                let reply = client::decode(&buffer[..len]);
                if !open.remove(&reply.id) {
                    bad.push(format!("reply {} twice", reply.id));
                }
                if reply.rcode != "NOERROR" {
                    bad.push(format!("reply {}: {}", reply.id, reply.rcode));
                }
            }
        }
        let is_late = last_sent.elapsed() > Duration::from_secs(5);
        if is_over && (open.is_empty() || is_late) {
            bad.extend(open.iter().map(|id| format!("query {id} was lost")));
            return (sent, bad);
        }
        thread::sleep(Duration::from_micros(500));
    }
}
