//! SIGTERM with lameduck, SIGINT once and twice, SIGQUIT, SIGHUP.

use std::time::{Duration, Instant};

use crate::client;
use crate::server::{Server, free_port};

fn with_lameduck(duration: &str) -> (Server, u16) {
    let port = free_port();
    let server = Server::start(&format!(
        ".:0 {{\n  health 127.0.0.1:{port} {{\n    lameduck {duration}\n  }}\n  whoami\n}}\n"
    ));
    (server, port)
}

#[test]
fn sigterm_answers_until_lameduck_has_passed_and_exits_0() {
    let (mut server, health) = with_lameduck("1500ms");
    let begin = Instant::now();
    server.signal(libc::SIGTERM);
    server.wait_for(|line| line == "[INFO] SIGTERM: Shutting down servers then terminating");
    server.wait_for(|line| line.contains("Going into lameduck mode for 1.5s"));
    while begin.elapsed() < Duration::from_millis(1000) {
        assert_eq!(server.ask("example.org A").rcode, "NOERROR");
        assert_eq!(
            client::tcp(server.addr(".:"), "example.org A").rcode,
            "NOERROR"
        );
        assert_eq!(client::http(health, "/health"), Some((200, "OK".into())));
    }
    assert_eq!(server.wait(), 0);
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(1500), "{took:?}");
}

#[test]
fn sigterm_without_lameduck_ends_at_once() {
    let mut server = Server::start(".:0 {\n  whoami\n}\n");
    let addr = server.addr(".:");
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait(), 0);
    assert_eq!(
        client::try_udp(addr, "example.org A", Duration::from_millis(200)),
        None
    );
}

#[test]
fn sigint_waits_and_a_second_one_does_not() {
    let (mut server, _) = with_lameduck("300ms");
    server.signal(libc::SIGINT);
    server.wait_for(|line| line == "[INFO] SIGINT: Shutting down");
    assert_eq!(server.wait(), 0);

    let (mut server, _) = with_lameduck("1m");
    server.signal(libc::SIGINT);
    server.wait_for(|line| line.contains("Going into lameduck mode"));
    server.signal(libc::SIGINT);
    assert_eq!(server.wait(), 2);
    server.wait_for(|line| line == "[INFO] SIGINT: Force quit");
}

#[test]
fn sigquit_ends_without_lameduck() {
    let (mut server, _) = with_lameduck("1m");
    server.signal(libc::SIGQUIT);
    assert_eq!(server.wait(), 0);
    server.wait_for(|line| line == "[INFO] SIGQUIT: Quitting process immediately");
}

#[test]
fn sighup_and_sigusr2_change_nothing() {
    let mut server = Server::start(".:0 {\n  whoami\n}\n");
    server.signal(libc::SIGHUP);
    server.signal(libc::SIGUSR2);
    server.wait_for(|line| line.contains("SIGUSR2"));
    assert_eq!(server.ask("example.org A").rcode, "NOERROR");
    assert!(server.is_running());
    assert!(!server.lines().iter().any(|line| line.contains("Reloading")));
}
