//! Tests of *hosts*: options, answers, reloads, size.

use std::fs;
use std::time::Instant;

use super::table::Builder;
use super::*;
use crate::control::Control;
use crate::plugin::{Answer, Started};
use crate::telemetry::log::capture;
use crate::telemetry::metrics::registry;
use crate::testing::directive::{Directive, query, set_up, set_up_error};
use crate::testing::files::Dir;
use crate::testing::{Host, check, check_seen};

const FILE: &str = "# a comment
127.0.0.1 localhost localhost.domain
::1 localhost
192.0.2.1 Alpha.Example.ORG alpha # both are kept
192.0.2.2 alpha.example.org
2001:db8::1%eth0 alpha.example.org
::ffff:192.0.2.9 mapped.example.org
192.0.2.7 *.wild.example.org
192.0.2.8 exact.wild.example.org
not-an-address x.example.org
192.0.2.10
fe80::1\tTabbed.example.org\r
";

/// A configuration with `FILE` and options, in front of *whoami*.
fn host(options: &str) -> (Dir, Host) {
    let dir = Dir::new();
    let file = dir.write("hosts", FILE);
    let corefile = format!(".:53 {{\n hosts {file} {options}\n whoami\n}}\n");
    let host = Host::new(&corefile).unwrap_or_else(|error| panic!("{error}"));
    (dir, host)
}

fn ask(options: &str, table: &[(&str, &str)]) {
    let (_dir, host) = host(options);
    for (query, expect) in table {
        check_seen(&host.ask(query), query, expect);
    }
}

/// What whoami says: the query was passed on.
const PASSED: &str = "rcode: NOERROR\nflags: qr aa rd\nanswer:";

fn passed(host: &Host, query: &str) {
    let seen = host.ask(query);
    check_seen(&seen, query, PASSED);
    assert_eq!(seen.additional.len(), 2, "{query}: {seen:?}");
}

#[test]
fn names_have_their_addresses() {
    let two = "rcode: NOERROR
        flags: qr aa rd
        answer: alpha.example.org. 3600 IN A 192.0.2.1
        answer: alpha.example.org. 3600 IN A 192.0.2.2
        authority:
        additional:";
    ask(
        "",
        &[
            ("alpha.example.org A", two),
            ("alpha.example.org A +tcp", two),
            ("alpha.example.org A +do", two),
            ("alpha.example.org A bufsize=1232 from=2001:db8::9", two),
            (
                "aLPHA.example.org A -rd +cd",
                "flags: qr aa cd\nanswer: aLPHA.example.org. 3600 IN A 192.0.2.1\nanswer: aLPHA.example.org. 3600 IN A 192.0.2.2",
            ),
            (
                "alpha AAAA",
                "rcode: NOERROR\nflags: qr aa rd\nanswer:\nauthority:\nadditional:",
            ),
            (
                "alpha.example.org AAAA",
                "answer: alpha.example.org. 3600 IN AAAA 2001:db8::1",
            ),
            (
                "mapped.example.org A",
                "answer: mapped.example.org. 3600 IN A 192.0.2.9",
            ),
            (
                "tabbed.example.org AAAA",
                "answer: tabbed.example.org. 3600 IN AAAA fe80::1",
            ),
            ("localhost A", "answer: localhost. 3600 IN A 127.0.0.1"),
            (
                "alpha.example.org MX",
                "rcode: NOERROR\nflags: qr aa rd\nanswer:\nauthority:\nadditional:",
            ),
        ],
    );
}

#[test]
fn unknown_names_fail_or_fall_through() {
    ask(
        "",
        &[
            ("x.example.org A", "rcode: SERVFAIL\nflags: qr rd\nanswer:"),
            ("x.example.org TXT", "rcode: SERVFAIL"),
            ("example.org A", "rcode: SERVFAIL"),
            ("x.example.org A class=CH", "rcode: REFUSED"),
        ],
    );
    let (_dir, host) = host("{\n fallthrough example.org\n }");
    for query in ["x.example.org A", "example.org A", "x.example.org MX"] {
        passed(&host, query);
    }
    check_seen(&host.ask("x.example.net A"), "", "rcode: SERVFAIL");
    // The name is known: nothing falls through.
    check_seen(
        &host.ask("alpha.example.org TXT"),
        "",
        "answer:\nadditional:",
    );
}

#[test]
fn other_types_fall_through_where_that_is_asked_for() {
    let (_dir, host) = host("{\n fallthrough example.org\n fallthrough_unsupported\n }");
    passed(&host, "alpha.example.org TXT");
    check_seen(
        &host.ask("mapped.example.org AAAA"),
        "",
        "answer:\nadditional:",
    );
    check_seen(&host.ask("alpha TXT"), "", "rcode: NOERROR\nadditional:");
    check_seen(&host.ask("x.example.net TXT"), "", "rcode: SERVFAIL");
}

#[test]
fn addresses_have_their_names() {
    ask(
        "example.org",
        &[
            (
                "1.2.0.192.in-addr.arpa PTR",
                "rcode: NOERROR
                 flags: qr aa rd
                 answer: 1.2.0.192.in-addr.arpa. 3600 IN PTR alpha.example.org.",
            ),
            (
                "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6.arpa PTR",
                "answer: 1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6.arpa. 3600 IN PTR alpha.example.org.",
            ),
        ],
    );
    let (_dir, all) = host("");
    let two = "answer: 1.2.0.192.in-addr.arpa. 3600 IN PTR alpha.example.org.
        answer: 1.2.0.192.in-addr.arpa. 3600 IN PTR alpha.";
    check_seen(&all.ask("1.2.0.192.in-addr.arpa PTR"), "", two);
    for query in [
        "9.9.9.9.in-addr.arpa PTR",
        "2.0.192.in-addr.arpa PTR",
        "7.2.0.192.in-addr.arpa PTR", // only a wildcard
        "alpha.example.org PTR",
    ] {
        passed(&all, query);
    }
    // A reverse name is no host.
    check_seen(&all.ask("1.2.0.192.in-addr.arpa A"), "", "rcode: SERVFAIL");
    let (_dir, without) = host("{\n no_reverse\n }");
    passed(&without, "1.2.0.192.in-addr.arpa PTR");
}

#[test]
fn a_star_stands_for_one_label() {
    ask(
        "",
        &[
            (
                "a.Wild.example.org A",
                "answer: a.Wild.example.org. 3600 IN A 192.0.2.7",
            ),
            (
                "exact.wild.example.org A",
                "answer: exact.wild.example.org. 3600 IN A 192.0.2.8",
            ),
            ("a.wild.example.org AAAA", "rcode: NOERROR\nanswer:"),
            ("a.b.wild.example.org A", "rcode: SERVFAIL"),
            ("wild.example.org A", "rcode: SERVFAIL"),
            (". A", "rcode: SERVFAIL"),
        ],
    );
}

#[test]
fn lines_of_the_corefile_are_added() {
    let options = "{\n 192.0.2.3 alpha.example.org\n ttl 60\n 2001:db8::2 \"beta.example.org\" gamma.example.org\n fallthrough\n ttl 90 s\n reload 1h\n no_reverse\n }";
    ask(
        options,
        &[
            (
                "alpha.example.org A",
                "answer: alpha.example.org. 90 IN A 192.0.2.1
                 answer: alpha.example.org. 90 IN A 192.0.2.2
                 answer: alpha.example.org. 90 IN A 192.0.2.3",
            ),
            (
                "gamma.example.org AAAA",
                "answer: gamma.example.org. 90 IN AAAA 2001:db8::2",
            ),
        ],
    );
    check(
        ".:53 {\n hosts /nonexistent/hosts {\n 192.0.2.1 a.example.org\n }\n}\n",
        "a.example.org A",
        "answer: a.example.org. 3600 IN A 192.0.2.1",
    );
}

#[test]
fn names_outside_the_zones_pass() {
    let (_dir, host) = host("example.net 10.0.0.0/8 {\n 192.0.2.3 a.example.net a.example.org\n }");
    passed(&host, "alpha.example.org A");
    passed(&host, "a.example.org A");
    check_seen(
        &host.ask("a.example.net A"),
        "",
        "answer: a.example.net. 3600 IN A 192.0.2.3",
    );
    check_seen(&host.ask("b.example.net A"), "", "rcode: SERVFAIL");
    check_seen(&host.ask("1.0.0.10.in-addr.arpa A"), "", "rcode: SERVFAIL");
    // The block's own zones are the default.
    let dir = Dir::new();
    let file = dir.write("hosts", "192.0.2.1 a.x a.y\n");
    check(
        &format!("x:53 {{\n hosts {file}\n}}\ny:53 {{\n hosts {file} y\n}}\n"),
        "1.2.0.192.in-addr.arpa PTR",
        "rcode: REFUSED",
    );
}

#[test]
fn the_default_file_is_that_of_the_system() {
    let host = Host::new(".:53 {\n hosts\n}\n").unwrap_or_else(|error| panic!("{error}"));
    let text = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let known = text
        .lines()
        .any(|line| line.starts_with("127.0.0.1") && line.contains("localhost"));
    let want = if known { "NOERROR" } else { "SERVFAIL" };
    assert_eq!(host.ask("localhost A").rcode, want);
}

#[test]
fn a_relative_file_is_below_root() {
    let dir = Dir::new();
    dir.write("hosts.txt", "192.0.2.1 a.x\n");
    let root = dir.path().display();
    check(
        &format!(".:53 {{\n hosts hosts.txt\n root {root}\n}}\n"),
        "a.x A",
        "answer: a.x. 3600 IN A 192.0.2.1",
    );
}

#[test]
fn a_file_that_is_missing_or_a_directory_is_a_warning() {
    let dir = Dir::new();
    let path = dir.path().display();
    let warned = |lines: &str| {
        let mut lines = capture::lines(|| {
            set_up::<Hosts>("hosts", lines).unwrap_or_else(|error| panic!("{error}"));
        });
        // Another test may have debug lines switched on.
        lines.retain(|line| !line.starts_with("[DEBUG]"));
        lines
    };
    assert_eq!(
        warned(&format!("hosts {path}/none")),
        [format!(
            "[WARNING] plugin/hosts: File does not exist: {path}/none"
        )]
    );
    let lines = warned(&format!("hosts {path}"));
    assert_eq!(
        lines.first(),
        Some(&format!(
            "[WARNING] plugin/hosts: Hosts file \"{path}\" is a directory"
        ))
    );
    let file = dir.write("file", "");
    let error = set_up_error::<Hosts>("hosts", &format!("hosts {file}/below"));
    assert_eq!(
        error,
        format!(
            "Corefile:2 - Error during parsing: unable to access hosts file '{file}/below': stat {file}/below: not a directory"
        )
    );
}

#[test]
fn wrong_lines_are_refused() {
    let at = |line: u32, what: &str| format!("Corefile:{line} - Error during parsing: {what}");
    for (lines, expect) in [
        (
            "hosts\nhosts",
            "this plugin can only be used once per Server Block".to_owned(),
        ),
        (
            "hosts {\n fallthrough\n 192.0.2.1 a\n}",
            at(4, "unknown property '192.0.2.1'"),
        ),
        ("hosts {\n ttl\n}", at(3, "ttl needs a time in second")),
        ("hosts {\n ttl x\n}", at(3, "ttl needs a number of second")),
        ("hosts {\n ttl 0\n}", at(3, "ttl provided is invalid")),
        ("hosts {\n ttl -1\n}", at(3, "ttl provided is invalid")),
        ("hosts {\n ttl 65536\n}", at(3, "ttl provided is invalid")),
        (
            "hosts {\n reload\n}",
            at(3, "reload needs a duration (zero seconds to disable)"),
        ),
        (
            "hosts {\n reload 1s 2s\n}",
            at(3, "reload needs a duration (zero seconds to disable)"),
        ),
        (
            "hosts {\n reload 1\n}",
            at(3, "invalid duration for reload '1'"),
        ),
        (
            "hosts {\n reload -1s\n}",
            at(3, "invalid negative duration for reload '-1s'"),
        ),
        (
            "hosts {\n fallthrough_unsupported\n}",
            at(4, "fallthrough_unsupported requires fallthrough"),
        ),
    ] {
        assert_eq!(set_up_error::<Hosts>("hosts", lines), expect, "{lines}");
    }
    for lines in [
        "hosts {\n ttl 1\n reload 0s\n}",
        "hosts {\n ttl 65535\n fallthrough_unsupported\n fallthrough\n}",
    ] {
        assert!(set_up::<Hosts>("hosts", lines).is_ok(), "{lines}");
    }
}

fn answers(plugin: &Hosts, name: &str) -> Vec<Vec<u8>> {
    let mut query = query(name, types::A);
    plugin.on_query(&mut query);
    if query.answer != Answer::Written {
        return Vec::new();
    }
    let reply = &query.reply;
    reply
        .records()
        .iter()
        .map(|record| reply.rdata(record).to_vec())
        .collect()
}

#[test]
fn a_changed_file_is_read_again() {
    let dir = Dir::new();
    let file = dir.write("hosts", "192.0.2.1 a\n");
    let mut directive: Directive<Hosts> = set_up(
        "hosts",
        &format!("hosts {file} {{\n 192.0.2.9 b\n reload 3s\n}}"),
    )
    .unwrap();
    let plugin = directive.open(&["hosts"]);
    assert_eq!(answers(&plugin, "a"), [[192, 0, 2, 1]]);
    let mut work = directive.life.periodic.pop().unwrap();
    assert_eq!(work.interval.as_secs(), 3);
    let control = Control::start().unwrap();
    let started = Started {
        control,
        listeners: Vec::new(),
        reloaded: false,
    };
    directive
        .life
        .on_start
        .drain(..)
        .for_each(|hook| hook(&started));
    let entries = || registry().value("coredns_hosts_entries", &[("hostsfile", &file)]);
    assert_eq!(entries(), Some(4.0));

    (work.work)();
    assert_eq!(answers(&plugin, "a"), [[192, 0, 2, 1]]);
    dir.write("hosts", "192.0.2.1 a\n192.0.2.2 a c\n");
    (work.work)();
    assert_eq!(answers(&plugin, "a"), [[192, 0, 2, 1], [192, 0, 2, 2]]);
    assert_eq!(answers(&plugin, "b"), [[192, 0, 2, 9]]);
    assert_eq!(entries(), Some(8.0));
    let changed = registry().value("coredns_hosts_reload_timestamp_seconds", &[]);
    assert!(changed.unwrap_or_default() > 1e9, "{changed:?}");

    fs::remove_file(&file).unwrap();
    (work.work)();
    assert_eq!(answers(&plugin, "c"), [[192, 0, 2, 2]]);
}

#[test]
fn reload_0_never_reads_again() {
    let directive: Directive<Hosts> = set_up("hosts", "hosts {\n reload 0s\n}").unwrap();
    assert!(directive.life.periodic.is_empty());
    let directive: Directive<Hosts> = set_up("hosts", "hosts").unwrap();
    assert_eq!(directive.life.periodic[0].interval.as_secs(), 5);
}

#[test]
fn a_long_file_loads_quickly_and_every_line_is_found() {
    let mut text = String::new();
    let addr = |i: u32| std::net::Ipv4Addr::from(0x0a00_0000 + i);
    for i in 0..100_000 {
        text += &format!("{} host-{i}.example.org\n", addr(i));
    }
    let zones = [ZoneName::root()];
    let began = Instant::now();
    let mut builder = Builder::new(&zones, true);
    builder.read(text.as_bytes());
    let table = builder.finish();
    // Generous: this is a build without optimisation on a busy machine.
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    assert_eq!(table.len(), 200_000);
    for i in (0..100_000).step_by(37) {
        let name = NameBuf::from_text(&format!("host-{i}.example.org")).unwrap();
        let hash = crate::wire::name::hash(name.as_wire());
        let entry = table.host(name.as_wire(), hash).expect("the name");
        assert_eq!(table.v4(entry), [addr(i).octets()]);
    }
    let name = NameBuf::from_text("host-x.example.org").unwrap();
    let hash = crate::wire::name::hash(name.as_wire());
    assert!(table.host(name.as_wire(), hash).is_none());
}

#[test]
fn an_empty_table_knows_nothing() {
    let table = Table::default();
    assert!(table.host(b"\0", 1).is_none() && table.len() == 0);
}
