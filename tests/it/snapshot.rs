//! The cache's snapshot, over several lives of the process: what one knew the next one answers while its upstream says nothing.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::{self, Reply};
use crate::server::{Folder, Server, eventually, free_port};
use crate::upstream::Upstream;

const FILE: &str = "cache.snapshot";
/// The shortest interval that is allowed: 10 s.
const SETTINGS: &str =
    "[global]\ncache_snapshot = \"cache.snapshot\"\ncache_snapshot_interval = \"10s\"\n";

/// A life of the server in this folder.
#[track_caller]
fn start(folder: Folder, upstream: &Upstream) -> Server {
    start_with(folder, upstream, "")
}

/// The same with a line more in its Corefile.
#[track_caller]
fn start_with(folder: Folder, upstream: &Upstream, line: &str) -> Server {
    folder.write("tune.toml", SETTINGS);
    let corefile = format!(
        ".:0 {{\n  {line}\n  cache\n  forward . {}\n}}\n",
        upstream.addr
    );
    Server::with(folder, &corefile, |command| {
        command.args(["-tune", "tune.toml"]);
    })
}

/// Ends a life with SIGTERM, which must be an orderly end; its folder stays.
#[track_caller]
fn end(mut server: Server) -> Folder {
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait(), 0);
    std::mem::replace(&mut server.folder, Folder::new())
}

/// Ends a life with SIGKILL.
fn kill(mut server: Server) -> Folder {
    std::mem::replace(&mut server.folder, Folder::new())
}

fn file(folder: &Folder) -> PathBuf {
    folder.path().join(FILE)
}

/// The TTL of the first record.
#[track_caller]
fn ttl(reply: &Reply) -> u32 {
    let record = reply.answer.iter().chain(&reply.authority).next();
    let record = record.unwrap_or_else(|| panic!("no record: {reply:?}"));
    let word = record.split(' ').nth(1).expect("a TTL");
    word.parse().expect("seconds")
}

/// Asks for both names until they have aged, so that a TTL which begins anew at 60 can be told from one that goes on.
#[track_caller]
fn fill(server: &Server) -> u32 {
    assert_eq!(server.ask("nx.example A").rcode, "NXDOMAIN");
    let mut left = 60;
    eventually("the answer ages", || {
        left = ttl(&server.ask("www.example A"));
        left < 60
    });
    left
}

/// Both names are answered without the upstream, with no more than `left` seconds to live; names that nobody knows are not.
#[track_caller]
fn check_warm(server: &Server, upstream: &Upstream, left: u32) {
    let asked = upstream.asked();
    for (query, rcode) in [("www.example A", "NOERROR"), ("nx.example A", "NXDOMAIN")] {
        for reply in [server.ask(query), client::tcp(server.addr(".:"), query)] {
            assert_eq!(reply.rcode, rcode);
            assert!((1..=left).contains(&ttl(&reply)), "{left}: {reply:?}");
        }
    }
    assert_eq!(upstream.asked(), asked, "the cache knew");
    check_unknown(server, "never.example A");
}

#[track_caller]
fn check_unknown(server: &Server, query: &str) {
    let reply = client::try_udp(server.addr(".:"), query, Duration::from_millis(300));
    assert_eq!(reply, None, "the upstream is silent");
}

#[track_caller]
fn check_loaded(server: &Server, entries: usize) {
    let expect = format!("[INFO] plugin/cache: {entries} answers from {FILE}, 0 were out of date");
    server.wait_for(|line| line == expect);
}

#[test]
fn what_was_known_at_an_orderly_end_is_answered_at_once() {
    let (upstream, port) = (Upstream::start(), free_port());
    let metrics = format!("prometheus 127.0.0.1:{port}");
    let first = start_with(Folder::new(), &upstream, &metrics);
    let left = fill(&first);
    let folder = end(first);
    upstream.silence();
    let second = start_with(folder, &upstream, &metrics);
    check_loaded(&second, 2);
    let (_, body) = client::http(port, "/metrics").expect("the metrics");
    let loaded = "percoredns_cache_snapshot_loaded_entries";
    assert_eq!(client::metric(&body, loaded, &[]), 2.0, "{body}");
    check_warm(&second, &upstream, left);
    // Nor does a life without an upstream forget.
    let third = start_with(end(second), &upstream, &metrics);
    check_loaded(&third, 2);
    check_warm(&third, &upstream, left);
}

#[test]
fn a_killed_process_leaves_what_was_written_last() {
    let upstream = Upstream::start();
    let first = start(Folder::new(), &upstream);
    let left = fill(&first);
    let path = file(&first.folder);
    eventually("the interval passes", || path.exists());
    let written = fs::read(&path).unwrap();
    assert_eq!(first.ask("late.example A").rcode, "NOERROR");
    let folder = kill(first);
    assert_eq!(
        fs::read(file(&folder)).unwrap(),
        written,
        "killed between two writes"
    );
    upstream.silence();
    let second = start(folder, &upstream);
    check_loaded(&second, 2);
    check_warm(&second, &upstream, left);
    check_unknown(&second, "late.example A");
}

#[test]
fn killed_before_the_first_write_it_begins_empty_and_says_nothing() {
    let upstream = Upstream::start();
    let first = start(Folder::new(), &upstream);
    assert_eq!(first.ask("www.example A").rcode, "NOERROR");
    let folder = kill(first);
    assert!(!file(&folder).exists());
    let asked = upstream.asked();
    let second = start(folder, &upstream);
    assert_eq!(ttl(&second.ask("www.example A")), 60);
    assert_eq!(upstream.asked(), asked + 1);
    let about = |line: &&String| line.contains(FILE);
    assert_eq!(second.lines().iter().filter(about).count(), 0);
}

#[test]
fn a_damaged_file_is_one_line_and_a_normal_start() {
    let upstream = Upstream::start();
    let first = start(Folder::new(), &upstream);
    fill(&first);
    let mut folder = end(first);
    let good = fs::read(file(&folder)).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for (bad, reason) in [
        (&flipped[..], "it is damaged: its checksum is wrong"),
        (
            &good[..good.len() - 1],
            "it is cut short or has something behind it",
        ),
        (b"", "it is cut short or has something behind it"),
    ] {
        fs::write(file(&folder), bad).unwrap();
        let asked = upstream.asked();
        let server = start(folder, &upstream);
        // Asked anew, and remembered as ever.
        assert_eq!(ttl(&server.ask("www.example A")), 60);
        assert_eq!(server.ask("www.example A").rcode, "NOERROR");
        assert_eq!(upstream.asked(), asked + 1);
        let expect = format!(
            "[WARNING] plugin/cache: snapshot {FILE} is ignored, the cache begins empty: {reason}"
        );
        server.wait_for(|line| line == expect);
        let lines = server.lines();
        let about: Vec<&String> = lines.iter().filter(|line| line.contains(FILE)).collect();
        assert_eq!(about, [&expect]);
        folder = end(server);
    }
    // The end wrote a whole one in its place.
    upstream.silence();
    let last = start(folder, &upstream);
    check_loaded(&last, 1);
    assert_eq!(last.ask("www.example A").rcode, "NOERROR");
}
