//! Flags, where the Corefile comes from, what is printed, exit codes.

use std::process::Stdio;

use crate::client;
use crate::server::{Folder, Server, command, run};

#[test]
fn version_names_itself_and_the_corefile_it_runs() {
    let folder = Folder::new();
    let (code, out, err) = run(&folder, &["-version"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let mut lines = out.lines();
    assert_eq!(
        lines.next(),
        Some(concat!("percoredns-", env!("CARGO_PKG_VERSION")))
    );
    assert!(
        lines
            .next()
            .is_some_and(|line| line.contains("CoreDNS-1.14.7")),
        "{out}"
    );
    assert_eq!(run(&folder, &["--version=true"]), (0, out, String::new()));
}

#[test]
fn plugins_are_listed_sorted() {
    let (code, out, err) = run(&Folder::new(), &["-plugins"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let names: Vec<&str> = out.lines().collect();
    assert!(names.is_sorted(), "{out}");
    for name in ["errors", "file", "health", "log", "prometheus", "whoami"] {
        assert!(names.contains(&name), "{name}\n{out}");
    }
}

#[test]
fn exit_codes_of_the_command_line() {
    #[track_caller]
    fn check(args: &[&str], code: i32, text: &str) {
        let (got, out, err) = run(&Folder::new(), args);
        assert_eq!((got, out.as_str()), (code, ""), "{args:?}\n{err}");
        assert!(err.contains(text), "{args:?}\n{err}");
    }
    check(&["-h"], 0, "Usage of ");
    check(&["--help"], 0, "  -conf file\n");
    check(
        &["-nope"],
        2,
        "flag provided but not defined: -nope\nUsage of ",
    );
    check(&["-p"], 2, "flag needs an argument: -p\n");
    check(
        &["start", "now"],
        1,
        "extra command line arguments: [start now]\n",
    );
    check(
        &["-conf", "missing"],
        1,
        "open missing: no such file or directory\n",
    );
    check(&["-cores", "x", "-p", "0"], 1, "x");
}

#[test]
fn a_wrong_corefile_stops_the_start_with_file_and_line() {
    #[track_caller]
    fn check(corefile: &str, text: &str) {
        let folder = Folder::new();
        folder.write("Corefile", corefile);
        let (code, _, err) = run(&folder, &["-conf", "Corefile"]);
        assert_eq!(code, 1, "{err}");
        assert!(err.contains(text), "{err}");
    }
    check(
        ".:0 {\n  whoami\n  foo\n}\n",
        "Corefile:3 - Error during parsing: Unknown directive 'foo'",
    );
    check(".:0 {\n  whoami\n", "Corefile:");
    check(".:0 {\n  whoami x\n}\n", "plugin/whoami: Corefile:2 - ");
    check(
        "tls://.:0 {\n  tls no.pem no.key\n  whoami\n}\n",
        "plugin/tls: Corefile:2 - Error during parsing: open no.pem: no such file or directory",
    );
    check(
        ".:5300 {\n}\n.:5300 {\n}\n",
        "cannot serve dns://.:5300 - it is already defined",
    );
    check(".:0 {\n  file missing.zone. {\n    nope\n  }\n}\n", "nope");
    check(":0 {\n}\n", "zone is not a valid domain name");
}

#[test]
fn directives_that_are_not_built_are_named() {
    let folder = Folder::new();
    folder.write("Corefile", ".:0 {\n  route53\n}\n");
    let (code, _, err) = run(&folder, &["-conf", "Corefile"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("route53") && err.contains("not built"),
        "{err}"
    );
}

#[test]
fn without_a_corefile_the_built_in_one_runs() {
    let mut plain = command(&Folder::new());
    let folder = Folder::new();
    plain.current_dir(folder.path()).args(["-dns.port", "0"]);
    let server = Server::spawn(plain, folder);
    let reply = server.ask("example.org A");
    assert_eq!(
        (reply.rcode.as_str(), reply.flags.as_str()),
        ("NOERROR", "qr aa rd")
    );
    assert_eq!(reply.additional.len(), 2, "{reply:?}");
    server.wait_for(|line| line.contains("\"A IN example.org. udp "));
}

#[test]
fn a_corefile_without_blocks_counts_as_none() {
    let folder = Folder::new();
    folder.write("Corefile", "# nothing\n(snippet) {\n  whoami\n}\n");
    let mut command = command(&folder);
    command.args(["-p", "0"]);
    let server = Server::spawn(command, folder);
    assert_eq!(server.ask("example.org A").rcode, "NOERROR");
}

#[test]
fn the_corefile_may_come_from_standard_input() {
    let folder = Folder::new();
    let mut command = command(&folder);
    command.args(["-conf", "stdin"]).stdin(Stdio::piped());
    let mut server = Server::spawn(command, folder);
    server.feed(".:0 {\n  whoami\n}\n");
    assert_eq!(server.ask("example.org A").rcode, "NOERROR");
    // A reload reads the same text again.
    server.signal(libc::SIGUSR1);
    server.wait_for(|line| line == "[INFO] Reloading complete");
    assert_eq!(server.ask("example.org A").rcode, "NOERROR");
}

#[test]
fn the_environment_reaches_the_corefile() {
    let server = Server::with(
        Folder::new(),
        "{$ZONE}:{%PORT%} {\n  whoami\n}\n",
        |command| {
            command.env("ZONE", "example.net").env("PORT", "0");
        },
    );
    let addr = server.addr("example.net.:");
    assert_eq!(client::udp(addr, "a.example.net A").rcode, "NOERROR");
    assert_eq!(client::udp(addr, "example.org A").rcode, "REFUSED");
}

#[test]
fn quiet_prints_neither_listeners_nor_version() {
    let folder = Folder::new();
    let port = crate::server::free_port();
    folder.write("Corefile", &format!(".:{port} {{\n  whoami\n  log\n}}\n"));
    let mut command = command(&folder);
    command.arg("-quiet");
    let server = Server::spawn(command, folder);
    let addr = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    crate::server::eventually("it answers", || {
        client::try_udp(addr, "example.org A", std::time::Duration::from_millis(100)).is_some()
    });
    let lines = server.lines();
    assert!(
        !lines
            .iter()
            .any(|line| line.starts_with(".:") || line.starts_with("percoredns-")),
        "{lines:?}"
    );
}

#[test]
fn the_pidfile_lives_as_long_as_the_process() {
    let mut server = Server::with(Folder::new(), ".:0 {\n  whoami\n}\n", |command| {
        command.args(["-pidfile", "pid"]);
    });
    let path = server.folder.path().join("pid");
    let mut text = String::new();
    crate::server::eventually("the pidfile is there", || {
        text = std::fs::read_to_string(&path).unwrap_or_default();
        !text.is_empty()
    });
    assert_eq!(text, format!("{}\n", server.id()));
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait(), 0);
    assert!(!path.exists());
}

#[test]
fn a_pidfile_that_cannot_be_written_is_only_logged() {
    let server = Server::with(Folder::new(), ".:0 {\n  whoami\n}\n", |command| {
        command.args(["-pidfile", "missing/pid"]);
    });
    server.wait_for(|line| line.starts_with("[ERROR] Could not write pidfile:"));
    assert_eq!(server.ask("example.org A").rcode, "NOERROR");
}
