//! Tests of *erratic*.

use std::time::Instant;

use super::*;
use crate::testing::directive::{Directive, set_up, set_up_error};
use crate::testing::{Host, Seen};

fn ask(options: &str, query: &str, count: usize) -> Vec<Seen> {
    let text = format!(".:53 {{\n erratic {options}\n}}\n");
    let host = Host::new(&text).unwrap_or_else(|error| panic!("{error}"));
    host.ask_all(&vec![query; count])
}

/// `.` for a reply, `-` for none, `t` for a cut one.
fn pattern(options: &str, query: &str) -> String {
    let mark = |seen: &Seen| match (seen.rcode.as_str(), seen.flags.contains("tc")) {
        ("", _) => '-',
        (_, true) => 't',
        _ => '.',
    };
    ask(options, query, 6).iter().map(mark).collect()
}

#[test]
fn every_so_many_queries_something_happens() {
    for (options, expect) in [
        ("", "-.-.-."),
        ("{\n drop\n}", "-.-.-."),
        ("{\n drop 3\n}", "-..-.."),
        ("{\n drop 1\n}", "------"),
        ("{\n drop 0\n}", "......"),
        ("{\n truncate\n}", "t.t.t."),
        ("{\n truncate 3\n}", "t..t.."),
        ("{\n truncate 1\n drop 2\n}", "-t-t-t"),
        ("{\n delay 6 1ms\n}", "......"),
        ("{\n delay 1 1ms\n truncate 2\n}", "t.t.t."),
        ("{\n delay 0 1ms\n}", "-.-.-."),
        ("{\n large\n}", "-.-.-."),
    ] {
        let block = if options.is_empty() {
            String::new()
        } else {
            options.replace('\n', "\n ")
        };
        assert_eq!(pattern(&block, "a.x A"), expect, "{options}");
    }
    assert_eq!(pattern("", "a.x TXT +tcp"), "-.-.-.");
}

#[test]
fn addresses_are_fixed() {
    let one = |options: &str, query: &str| ask(options, query, 1).remove(0);
    let seen = one("{\n drop 0\n }", "A.x A");
    assert_eq!(
        (seen.answer, seen.flags.as_str()),
        (vec!["A.x. 0 IN A 192.0.2.53".to_owned()], "qr aa rd")
    );
    let seen = one("{\n drop 0\n }", "a.x AAAA bufsize=1232 from=2001:db8::1");
    assert_eq!(seen.answer, ["a.x. 0 IN AAAA 2001:db8::53"]);
    assert_eq!(one("{\n drop 0\n large\n }", "a.x A +tcp").answer.len(), 30);
    assert_eq!(one("{\n drop 0\n large\n }", "a.x AAAA").answer.len(), 1);
    let seen = one("{\n drop 0\n }", "a.x TXT");
    assert_eq!((seen.rcode.as_str(), seen.answer.len()), ("SERVFAIL", 0));
}

#[test]
fn a_small_zone_can_be_transferred() {
    let types = |options: &str, name: &str| {
        let seen = ask(options, &format!("{name} AXFR +tcp"), 1).remove(0);
        let kind = |line: &String| line.split(' ').nth(3).unwrap_or_default().to_owned();
        seen.answer.iter().map(kind).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(types("{\n drop 0\n }", "x"), "SOA NS NS AAAA AAAA SOA");
    assert_eq!(types("{\n truncate 1\n }", "x"), "SOA NS NS AAAA AAAA");
    let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(60));
    assert_eq!(types("{\n drop 0\n }", &long), "");
}

#[test]
fn a_delay_takes_its_time() {
    let began = Instant::now();
    let seen = ask("{\n delay 2 30ms\n }", "a.x A", 2);
    assert!(began.elapsed().as_millis() >= 30);
    assert!(seen.iter().all(|seen| seen.rcode == "NOERROR"), "{seen:?}");
    let began = Instant::now();
    ask("{\n delay\n }", "a.x TXT", 1);
    assert!(began.elapsed().as_millis() >= 100);
}

#[test]
fn it_is_ready_for_two_queries() {
    let directive: Directive<Erratic> = set_up("erratic", "erratic").unwrap();
    directive.life.readiness.watch(0, true);
    let ready: String = (0..7)
        .map(|_| {
            let ready = directive.life.readiness.not_ready().is_none();
            directive.config.seen.fetch_add(1, Ordering::Relaxed);
            if ready { 'y' } else { 'n' }
        })
        .collect();
    assert_eq!(ready, "nnnyynn");
}

#[test]
fn wrong_lines_are_refused() {
    for (lines, expect) in [
        (
            "erratic {\n drop x\n}",
            "strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (
            "erratic {\n drop 9999999999\n}",
            "strconv.ParseInt: parsing \"9999999999\": value out of range",
        ),
        (
            "erratic {\n truncate -1\n}",
            "illegal amount value given \"-1\"",
        ),
        ("erratic {\n delay 1 x\n}", "time: invalid duration \"x\""),
        (
            "erratic {\n lose\n}",
            "Corefile:3 - Error during parsing: unknown property 'lose'",
        ),
        (
            "erratic {\n drop 1 2\n}",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after '2'",
        ),
        (
            "erratic {\n delay 1 2s 3\n}",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after '3'",
        ),
    ] {
        assert_eq!(set_up_error::<Erratic>("erratic", lines), expect);
    }
}
