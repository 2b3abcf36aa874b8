//! Whole configurations without sockets.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::testing::files::Dir;
use crate::testing::{Host, Seen};

/// Fails instead of waiting for ever.
fn ask_in_time(corefile: String, queries: &'static [&'static str]) -> Vec<Seen> {
    let (done, outcome) = mpsc::channel();
    thread::spawn(move || {
        let host = Host::new(&corefile).unwrap();
        // A failed test may be gone.
        let _ = done.send(host.ask_all(queries));
    });
    outcome
        .recv_timeout(Duration::from_secs(20))
        .expect("the queries wait for each other")
}

#[test]
fn chains_that_circle_between_two_cached_zones_end() {
    let dir = Dir::new();
    let soa = "@ 60 IN SOA ns h 1 60 60 60 60\n@ 60 IN NS ns\nns 60 IN A 192.0.2.1\n";
    let one = dir.write("one", &format!("{soa}x 60 IN CNAME y.two.test.\n"));
    let two = dir.write("two", &format!("{soa}y 60 IN CNAME x.one.test.\n"));
    let corefile =
        format!("one.test {{\n cache\n file {one}\n}}\ntwo.test {{\n cache\n file {two}\n}}\n");
    let seen = ask_in_time(corefile, &["x.one.test A", "y.two.test A"]);
    for seen in seen {
        assert!(!seen.rcode.is_empty());
        assert!(!seen.answer.is_empty(), "{seen:?}");
    }
}

// === the short way ===

const ZONE: &str = "@ 300 IN SOA ns h 1 60 60 60 60\n@ 300 IN NS ns\n@ 300 IN MX 5 ns\nns 300 IN A 192.0.2.1\nwww 300 IN A 192.0.2.2\n\
    www 300 IN AAAA 2001:db8::2\nmany 300 IN A 192.0.2.3\nmany 300 IN A 192.0.2.4\nalias 300 IN CNAME many\n*.wild 300 IN A 192.0.2.5\n\
    deep.ent 300 IN TXT \"text\"\nsub 300 IN NS ns.sub\nns.sub 300 IN A 192.0.2.6\n";

/// What is asked of each Corefile, in several spellings.
const QUESTIONS: &[&str] = &[
    "www.example.org A",
    "WWW.Example.ORG A",
    "www.example.org A bufsize=1232",
    "www.example.org A opt=10:0102030405060708",
    "www.example.org A opt=3:",
    "www.example.org A class=CH",
    "www.example.org A +do",
    "www.example.org A -rd",
    "www.example.org A +cd +ad",
    "www.example.org AAAA",
    "www.example.org A +tcp",
    "www.example.org MX",
    "many.example.org A",
    "alias.example.org A",
    "a.wild.example.org A",
    "ent.example.org A",
    "deep.ent.example.org TXT",
    "nothing.example.org A",
    "host.sub.example.org A",
    "example.org SOA",
    "example.org NS",
    "example.org MX",
    "example.org DS",
    "printer.example.net A",
    "printer.example.net AAAA",
    "printer.example.net TXT",
    "unknown.example.net A",
    "5.2.0.192.in-addr.arpa PTR",
    "localhost A",
    ". NS",
];

/// The two ways give the same octets; returns how many questions the short one answered.
fn check_both_ways(directives: &str, questions: &[&str]) -> usize {
    let dir = Dir::new();
    let zone = dir.write("zone", ZONE);
    let directives = directives.replace("ZONE", &zone);
    let corefile = format!(".:53 {{\n{directives}\n}}\n");
    let host = Host::new(&corefile).unwrap_or_else(|error| panic!("{corefile}\n{error}"));
    let mut short = 0;
    for (both, question) in host.ask_both_ways(questions).iter().zip(questions) {
        if let Some(octets) = &both.short {
            assert_eq!(*octets, both.long, "{question} of {directives}");
            short += 1;
        }
    }
    short
}

#[test]
fn the_short_way_gives_the_octets_of_the_long_one() {
    let hosts = "hosts {\n 192.0.2.5 printer.example.net\n fallthrough\n}\n";
    let cases = [
        ("cache\nfile ZONE example.org".to_owned(), 20),
        (
            "bufsize 512\nerrors\ncache\nfile ZONE example.org".to_owned(),
            20,
        ),
        ("file ZONE example.org".to_owned(), 10),
        (
            format!("{hosts}\nfile ZONE example.org {{\n fallthrough\n}}"),
            10,
        ),
        (format!("any\nlocal\nchaos\nnsid x\n{hosts}"), 2),
        (format!("errors\n{hosts}"), 2),
    ];
    for (directives, least) in cases {
        let short = check_both_ways(&directives, QUESTIONS);
        assert!(short >= least, "{short} of {directives}");
    }
}

#[test]
fn what_must_see_every_query_bars_the_short_way() {
    let file = "cache\nfile ZONE example.org";
    for directives in ["whoami", "metadata\ncache\nfile ZONE example.org"] {
        assert_eq!(check_both_ways(directives, QUESTIONS), 0, "{directives}");
    }
    let denied = format!("acl {{\n block type A net 127.0.0.0/8\n}}\n{file}");
    assert_eq!(check_both_ways(&denied, &["www.example.org A"]), 0);
    assert_eq!(check_both_ways(&denied, &["www.example.org AAAA"]), 1);
    let allowed = format!("acl {{\n block net 192.0.2.0/24\n}}\n{file}");
    assert_eq!(check_both_ways(&allowed, &["www.example.org A"]), 1);
}

#[test]
fn a_reply_that_has_to_be_cut_is_not_copied() {
    let dir = Dir::new();
    let text: String = (0..40)
        .map(|n| format!("big 60 IN A 192.0.2.{n}\n"))
        .collect();
    let zone = dir.write("zone", &format!("{ZONE}{text}"));
    let host = Host::new(&format!(".:53 {{\n cache\n file {zone} example.org\n}}\n")).unwrap();
    let questions = [
        "big.example.org A",
        "big.example.org A bufsize=700",
        "big.example.org A bufsize=1232",
        "big.example.org A +tcp",
    ];
    let lens = host
        .ask_both_ways(&questions)
        .into_iter()
        .map(|both| (both.short.map(|octets| octets.len()), both.long.len()));
    let lens: Vec<_> = lens.collect();
    assert!(lens[0].0.is_none() && lens[0].1 <= 512, "{lens:?}");
    assert!(lens[1].0.is_none() && lens[1].1 <= 700, "{lens:?}");
    assert!(
        lens[2].0 == Some(lens[2].1) && lens[3].0 == Some(lens[3].1),
        "{lens:?}"
    );
}

#[test]
fn direct_replies_come_from_the_longest_origin_and_leave_what_falls_through() {
    let dir = Dir::new();
    let zone = |serial, rest| {
        format!(
            "@ 60 IN SOA ns h {serial} 60 60 60 60\n@ 60 IN NS ns\nns 60 IN A 192.0.2.1\n{rest} 60 IN A 192.0.2.9\n"
        )
    };
    let (outer, inner) = (
        dir.write("outer", &zone(1, "a")),
        dir.write("inner", &zone(2, "b")),
    );
    let missing = format!("{outer}.none");
    // Which of the questions are answered on the short way; those that are get the octets of the long one.
    let check = |directives: &str, questions: &[&str], expected: &[bool]| {
        let host = Host::new(&format!(".:53 {{\n{directives}\n}}\n")).unwrap();
        for ((both, question), expected) in host
            .ask_both_ways(questions)
            .iter()
            .zip(questions)
            .zip(expected)
        {
            assert_eq!(
                both.short.is_some(),
                *expected,
                "{question} of {directives}"
            );
            assert!(
                both.short
                    .as_ref()
                    .is_none_or(|octets| *octets == both.long),
                "{question}"
            );
        }
    };
    let questions = ["a.z A", "b.sub.z A", "a.sub.z A", "a.y A", "z SOA"];
    let two = format!("file {outer} z\nfile {inner} sub.z");
    check(&two, &questions, &[true, true, true, false, false]);
    check(
        &format!("file {outer} z"),
        &questions,
        &[true, true, true, false, false],
    );
    let falls = format!(
        "hosts {{\n 192.0.2.7 x.n.z\n fallthrough\n}}\nfile {outer} z {{\n fallthrough n.z\n}}\nwhoami"
    );
    let questions = ["a.z AAAA", "m.z A", "y.n.z A", "x.n.z A"];
    check(&falls, &questions, &[true, true, false, true]);
    check(&format!("file {missing} z"), &["a.z A"], &[false]);
}
