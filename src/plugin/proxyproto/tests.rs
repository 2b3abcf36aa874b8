//! Tests of *proxyproto*.

use super::*;
use crate::lang::cidr::Net;
use crate::testing::directive::{set_up, set_up_error};
use crate::testing::{Host, check};
use crate::transport::proxy::{Policy, Tracking, Treatment};

fn policy(lines: &str) -> Policy {
    let directive = set_up::<Proxyproto>("proxyproto", lines);
    let settings = directive.unwrap_or_else(|error| panic!("{lines}: {error}"));
    let policy = settings.settings.proxies.expect("a policy");
    (*policy).clone()
}

#[test]
fn who_is_believed() {
    let check = |lines: &str, allow: &[&str], others| {
        let nets = allow.iter().map(|net| Net::parse(net).unwrap());
        let expect = Policy {
            allow: nets.collect(),
            others,
            tracking: None,
        };
        assert_eq!(policy(lines), expect, "{lines}");
    };
    check("proxyproto", &[], Treatment::Use);
    check("proxyproto {\n}", &[], Treatment::Use);
    check("proxyproto {\n allow\n}", &[], Treatment::Use);
    check("proxyproto {\n default reject\n}", &[], Treatment::Reject);
    let lines = "proxyproto {\n allow 127.0.0.1/8 ::1/128\n}";
    check(lines, &["127.0.0.0/8", "::1/128"], Treatment::Ignore);
    let lines = "proxyproto {\n allow 10.0.0.0/8\n allow 192.0.2.0/24\n default SKIP\n}";
    check(lines, &["10.0.0.0/8", "192.0.2.0/24"], Treatment::Skip);
    let lines = "proxyproto {\n default use\n default ignore\n allow 10.0.0.0/8\n}";
    check(lines, &["10.0.0.0/8"], Treatment::Ignore);
    let lines = "proxyproto {\n allow 10.0.0.0/8\n}\nproxyproto {\n default reject\n}";
    check(lines, &["10.0.0.0/8"], Treatment::Reject);
}

#[test]
fn sessions_are_tracked_for_a_time() {
    let check = |option: &str, expect: Option<(u64, usize)>| {
        let lines = format!("proxyproto {{\n udp_session_tracking {option}\n}}");
        let expect = expect.map(|(ttl_ms, sessions)| Tracking {
            ttl_ns: ttl_ms * 1_000_000,
            sessions,
        });
        assert_eq!(policy(&lines).tracking, expect, "{option}");
    };
    check("28s", Some((28_000, 10_240)));
    check("1m30s 20000", Some((90_000, 20_000)));
    check("500ms 1", Some((500, 1)));
    // As in CoreDNS, these turn it off.
    check("0", None);
    check("-5s", None);
}

#[test]
fn wrong_lines_are_refused() {
    for (lines, expect) in [
        (
            "proxyproto on",
            "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'on'",
        ),
        (
            "proxyproto {\n allow 10.0.0.0/8 10.0.0.1\n}",
            "10.0.0.1: invalid CIDR address: 10.0.0.1",
        ),
        (
            "proxyproto {\n default\n}",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'default'",
        ),
        (
            "proxyproto {\n default require\n}",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'require'",
        ),
        (
            "proxyproto {\n default use skip\n}",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'skip'",
        ),
        (
            "proxyproto {\n udp_session_tracking\n}",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'udp_session_tracking'",
        ),
        (
            "proxyproto {\n udp_session_tracking 1s 2 3\n}",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after '3'",
        ),
        (
            "proxyproto {\n udp_session_tracking soon\n}",
            "udp_session_tracking: invalid duration \"soon\": time: invalid duration \"soon\"",
        ),
        (
            "proxyproto {\n udp_session_tracking 1s 0\n}",
            "udp_session_tracking: invalid max sessions \"0\": must be a positive integer",
        ),
        (
            "proxyproto {\n udp_session_tracking 1s many\n}",
            "udp_session_tracking: invalid max sessions \"many\": must be a positive integer",
        ),
        (
            "proxyproto {\n udp_session_tracking 1s 1048577\n}",
            "udp_session_tracking: max sessions 1048577 exceeds what memory is kept for (1048576)",
        ),
        (
            "proxyproto {\n deny 10.0.0.0/8\n}",
            "Corefile:3 - Error during parsing: unknown option 'deny'",
        ),
    ] {
        assert_eq!(set_up_error::<Proxyproto>("proxyproto", lines), expect);
    }
    let error = Host::new(".:53 {\n proxyproto {\n  allow x\n }\n}\n").err();
    let expect = "plugin/proxyproto: x: invalid CIDR address: x";
    assert_eq!(error.as_deref(), Some(expect));
}

#[test]
fn it_has_no_place_in_the_chain() {
    check(
        ".:53 {\n proxyproto\n whoami\n}\n",
        "example.org A",
        "rcode: NOERROR\nanswer:",
    );
}
