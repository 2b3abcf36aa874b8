//! Tests of *errors*.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::*;
use crate::control::Control;
use crate::plugin::Started;
use crate::telemetry::log::capture;
use crate::testing::directive::{Directive, query, set_up, set_up_error};
use crate::wire::rcode::Rcode;
use crate::wire::types;

fn failed(reason: &str) -> Query {
    let mut query = query("Example.ORG.", types::A);
    query.fail(Rcode::SERVFAIL, reason);
    query
}

/// Runs failures through one instance after the start hooks, then the stop hooks; returns the lines of each part.
fn run(lines: &str, reasons: &[&str]) -> (Vec<String>, Vec<String>) {
    let control = Control::start().unwrap();
    let mut directive: Directive<Errors> = set_up("errors", lines).unwrap();
    start(&mut directive, &control);
    let plugin = directive.open(&["errors"]);
    let served = capture::lines(|| {
        for reason in reasons {
            assert_eq!(plugin.on_reply(&mut failed(reason)), Flow::Next);
        }
    });
    let stopped = capture::lines(|| directive.life.on_stop.drain(..).for_each(|hook| hook()));
    (served, stopped)
}

fn start(directive: &mut Directive<Errors>, control: &Control) {
    let started = Started {
        control: control.clone(),
        listeners: Vec::new(),
        reloaded: false,
    };
    directive
        .life
        .on_start
        .drain(..)
        .for_each(|hook| hook(&started));
}

#[test]
fn a_failure_is_one_line() {
    let (lines, _) = run("errors", &["read udp 10.0.0.1:1->10.0.0.2:53: i/o timeout"]);
    let expect =
        "[ERROR] plugin/errors: 2 example.org. A: read udp 10.0.0.1:1->10.0.0.2:53: i/o timeout";
    assert_eq!(lines, [expect]);
}

#[test]
fn the_outcome_is_left_alone() {
    let plugin = set_up::<Errors>("errors", "errors")
        .unwrap()
        .open(&["errors"]);
    let lines = capture::lines(|| {
        let mut query = failed("x");
        plugin.on_reply(&mut query);
        assert_eq!(
            (query.rcode(), query.error.as_deref()),
            (Some(Rcode::SERVFAIL), Some("x"))
        );
    });
    assert_eq!(lines.len(), 1);
}

#[test]
fn what_did_not_fail_is_not_logged() {
    let plugin = set_up::<Errors>("errors", "errors stdout")
        .unwrap()
        .open(&["errors"]);
    let lines = capture::lines(|| {
        let mut query = query("example.org.", types::A);
        query.respond();
        plugin.on_reply(&mut query);
        query.unwritten(Rcode::REFUSED);
        plugin.on_reply(&mut query);
    });
    assert_eq!(lines, Vec::<String>::new());
}

#[test]
fn unknown_types_and_other_rcodes_are_numbers() {
    let plugin = set_up::<Errors>("errors", "errors")
        .unwrap()
        .open(&["errors"]);
    let lines = capture::lines(|| {
        let mut query = query(".", 65_280);
        query.fail(Rcode::NOTIMP, "odd");
        plugin.on_reply(&mut query);
    });
    assert_eq!(lines, ["[ERROR] plugin/errors: 4 . TYPE65280: odd"]);
}

#[test]
fn similar_errors_are_counted_and_summed_up() {
    let lines = "errors {\n consolidate 5m \"i/o timeout$\" warning\n consolidate 30s ^no\n}";
    let reasons = [
        "a: i/o timeout",
        "no route: i/o timeout",
        "other",
        "no route",
        "b: i/o timeout",
    ];
    let (served, stopped) = run(lines, &reasons);
    assert_eq!(served, ["[ERROR] plugin/errors: 2 example.org. A: other"]);
    let expect = [
        "[WARNING] plugin/errors: 3 errors like 'i/o timeout$' occurred in last 5m0s",
        "[ERROR] plugin/errors: 1 errors like '^no' occurred in last 30s",
    ];
    assert_eq!(stopped, expect);
}

#[test]
fn show_first_logs_the_first_in_full() {
    let lines = "errors {\n consolidate 1m ^a info show_first\n consolidate 1m ^b show_first\n}";
    let (served, stopped) = run(lines, &["a1", "a2", "b1", "a3"]);
    let expect = [
        "[INFO] plugin/errors: 2 example.org. A: a1",
        "[ERROR] plugin/errors: 2 example.org. A: b1",
    ];
    assert_eq!(served, expect);
    // The only one of its kind was logged already.
    assert_eq!(
        stopped,
        ["[INFO] plugin/errors: 3 errors like '^a' occurred in last 1m0s"]
    );
}

#[test]
fn after_the_stop_errors_are_logged_one_by_one() {
    let control = Control::start().unwrap();
    let mut directive: Directive<Errors> =
        set_up("errors", "errors {\n consolidate 1m x\n}").unwrap();
    start(&mut directive, &control);
    directive.life.on_stop.drain(..).for_each(|hook| hook());
    let plugin = directive.open(&["errors"]);
    let lines = capture::lines(|| {
        plugin.on_reply(&mut failed("x"));
    });
    assert_eq!(lines, ["[ERROR] plugin/errors: 2 example.org. A: x"]);
}

#[test]
fn the_period_ends_by_itself_and_counts_are_shared() {
    let control = Control::start().unwrap();
    let mut directive: Directive<Errors> =
        set_up("errors", "errors {\n consolidate 20ms x debug\n}").unwrap();
    start(&mut directive, &control);
    let (first, second) = (directive.open(&["errors"]), directive.open(&["errors"]));
    let pattern = &directive.config.patterns[0];
    for _ in 0..2 {
        first.on_reply(&mut failed("x"));
        second.on_reply(&mut failed("x"));
        let deadline = Instant::now() + Duration::from_secs(10);
        while pattern.count.load(Ordering::SeqCst) > 0 {
            assert!(Instant::now() < deadline, "the summary never came");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn stacktrace_is_a_setting_of_the_block() {
    assert!(
        set_up::<Errors>("errors", "errors {\n stacktrace\n}")
            .unwrap()
            .settings
            .stacktrace
    );
    assert!(
        !set_up::<Errors>("errors", "errors")
            .unwrap()
            .settings
            .stacktrace
    );
}

#[test]
fn wrong_lines_are_refused() {
    for (lines, expect) in [
        (
            "errors a.log",
            "Corefile:2 - Error during parsing: invalid log file: a.log",
        ),
        (
            "errors stdout b",
            "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'b'",
        ),
        (
            "errors\nerrors",
            "this plugin can only be used once per Server Block",
        ),
        (
            "errors {\n visible\n}",
            "Corefile:3 - Syntax error: Unexpected token 'visible', expecting 'Unknown field visible'",
        ),
        (
            "errors {\n consolidate 1m\n}",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after '1m'",
        ),
        (
            "errors {\n consolidate 1 .*\n}",
            "Corefile:3 - Error during parsing: time: missing unit in duration \"1\"",
        ),
        (
            "errors {\n consolidate 1m .* loud\n}",
            "Corefile:3 - Error during parsing: unknown log level argument in consolidate: loud",
        ),
        (
            "errors {\n consolidate 1m .* show_first warning\n}",
            "Corefile:3 - Error during parsing: log level 'warning' must come before show_first in consolidate",
        ),
        (
            "errors {\n consolidate 1m .* warning loud\n}",
            "Corefile:3 - Error during parsing: unknown option in consolidate: loud",
        ),
        (
            "errors {\n consolidate 1m .* warning show_first x\n}",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'x'",
        ),
    ] {
        assert_eq!(set_up_error::<Errors>("errors", lines), expect);
    }
    let error = set_up_error::<Errors>("errors", "errors {\n consolidate 1m ())\n}");
    assert!(
        error.starts_with("Corefile:3 - Error during parsing: error parsing regexp: "),
        "{error}"
    );
}
