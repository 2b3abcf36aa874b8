//! SIGTERM with lameduck, SIGINT once and twice, SIGQUIT, SIGHUP.

use std::time::{Duration, Instant};

use crate::client;
use crate::server::{Folder, Server, eventually, free_port};

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

#[test]
fn files_are_read_again_until_lameduck_has_passed_but_ready_says_no_at_once() {
    let (health, ready) = (free_port(), free_port());
    let folder = Folder::new();
    folder.write("names", "192.0.2.1 a.example\n");
    let corefile = format!(
        ".:0 {{\n  health 127.0.0.1:{health} {{\n    lameduck 30s\n  }}\n  ready 127.0.0.1:{ready}\n  \
         hosts names {{\n    reload 100ms\n  }}\n}}\n"
    );
    let server = Server::with(folder, &corefile, |_| {});
    assert_eq!(client::http(ready, "/ready"), Some((200, "OK".into())));
    server.signal(libc::SIGTERM);
    server.wait_for(|line| line.contains("Going into lameduck mode"));
    let says_no = || client::http(ready, "/ready").is_none_or(|(status, _)| status == 503);
    eventually("ready says no", says_no);
    // Another size: the file's time of change may not have moved on.
    server.folder.write("names", "192.0.2.222 a.example\n");
    eventually("the changed file is served", || {
        server.ask("a.example A").answer == ["a.example. 3600 IN A 192.0.2.222"]
    });
    assert_eq!(client::http(health, "/health"), Some((200, "OK".into())));
}

#[test]
fn a_reload_that_takes_long_is_cut_short() {
    let mut server = Server::start(".:0 {\n  whoami\n}\n");
    // Opening a pipe that nobody writes to takes for ever.
    let pipe = server.folder.path().join("db");
    let name = std::ffi::CString::new(pipe.to_str().unwrap()).unwrap();
    // SAFETY: the path is a string that ends with a null octet.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    server
        .folder
        .write("Corefile", "example.org:0 {\n  file db\n}\n");
    server.signal(libc::SIGUSR1);
    server.wait_for(|line| line == "[INFO] Reloading");
    assert_eq!(server.ask("example.org A").rcode, "NOERROR");
    let begin = Instant::now();
    server.signal(libc::SIGTERM);
    server.wait_for(|line| line == "[ERROR] Restart failed: the process is to end");
    assert_eq!(server.wait(), 0);
    assert!(begin.elapsed() < Duration::from_secs(2));
}
