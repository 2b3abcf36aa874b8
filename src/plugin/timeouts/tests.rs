//! Tests of *timeouts*.

use std::time::Duration;

use super::*;
use crate::testing::directive::{set_up, set_up_error};

#[test]
fn options_are_settings_of_the_block() {
    let seconds = |n| Some(Duration::from_secs(n));
    let check = |lines: &str, expect: [Option<Duration>; 3], queries| {
        let settings = set_up::<Timeouts>("timeouts", lines).unwrap().settings;
        let got = [
            settings.read_timeout,
            settings.write_timeout,
            settings.idle_timeout,
        ];
        assert_eq!(got, expect, "{lines}");
        assert_eq!(settings.max_tcp_queries, queries, "{lines}");
    };
    check("timeouts {\n read 30s\n}", [seconds(30), None, None], None);
    check(
        "timeouts {\n read 1\n write 24h\n idle 1m30s\n maxtcpqueries 100\n}",
        [seconds(1), seconds(86_400), seconds(90)],
        Some(100),
    );
    check(
        "timeouts {\n idle 2\n maxtcpqueries 5\n}\ntimeouts {\n idle 3\n maxtcpqueries -1\n}",
        [None, None, seconds(3)],
        None,
    );
    check(
        "timeouts {\n maxtcpqueries 99999999999\n}",
        [None, None, None],
        Some(u32::MAX),
    );
}

#[test]
fn wrong_lines_are_refused() {
    for (lines, line, expect) in [
        ("timeouts", 2, "timeouts block with no timeouts specified"),
        (
            "timeouts {\n}",
            3,
            "timeouts block with no timeouts specified",
        ),
        (
            "timeouts 10s",
            2,
            "Wrong argument count or unexpected line ending after '10s'",
        ),
        (
            "timeouts {\n read\n}",
            3,
            "Wrong argument count or unexpected line ending after 'read'",
        ),
        (
            "timeouts {\n read 1 2\n}",
            3,
            "Wrong argument count or unexpected line ending after '2'",
        ),
        ("timeouts {\n read soon\n}", 3, "failed to parse duration"),
        (
            "timeouts {\n write 900ms\n}",
            3,
            "timeout provided '900ms' needs to be between 1 second and 24 hours",
        ),
        (
            "timeouts {\n idle -1\n}",
            3,
            "timeout provided '-1s' needs to be between 1 second and 24 hours",
        ),
        (
            "timeouts {\n idle 24h1s\n}",
            3,
            "timeout provided '24h0m1s' needs to be between 1 second and 24 hours",
        ),
        ("timeouts {\n connect 1s\n}", 3, "unknown option: 'connect'"),
        (
            "timeouts {\n maxtcpqueries 0\n}",
            3,
            "maxtcpqueries provided '0' needs to be -1 or a positive integer",
        ),
        (
            "timeouts {\n maxtcpqueries x\n}",
            3,
            "maxtcpqueries provided 'x' needs to be -1 or a positive integer",
        ),
    ] {
        let expect = format!("Corefile:{line} - Error during parsing: {expect}");
        assert_eq!(set_up_error::<Timeouts>("timeouts", lines), expect);
    }
}
