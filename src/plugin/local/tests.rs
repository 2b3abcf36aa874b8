//! Tests of *local*.

use super::*;
use crate::testing::check;
use crate::testing::directive::{query, set_up, set_up_error};

const COREFILE: &str = ".:53 {\n local\n whoami\n}\n";

fn soa(owner: &str) -> String {
    format!(
        "answer:\nauthority: {owner} 604800 IN SOA localhost. root.localhost. 1 0 0 0 604800\nadditional:"
    )
}

#[test]
fn localhost_has_the_loopback_addresses() {
    for (query, expect) in [
        ("LocalHost A", "LocalHost. 604800 IN A 127.0.0.1"),
        ("localhost AAAA +tcp", "localhost. 604800 IN AAAA ::1"),
        (
            "a.b.localhost A +do",
            "a.b.localhost. 604800 IN A 127.0.0.1",
        ),
        (
            "localhost.example.org A bufsize=1232",
            "localhost.example.org. 604800 IN A 127.0.0.1",
        ),
        (
            "localhost.localhost AAAA",
            "localhost.localhost. 604800 IN AAAA ::1",
        ),
        ("localhost NS", "localhost. 604800 IN NS localhost."),
        (
            "localhost SOA",
            "localhost. 604800 IN SOA localhost. root.localhost. 1 0 0 0 604800",
        ),
        (
            "127.in-addr.arpa NS",
            "127.in-addr.arpa. 604800 IN NS localhost.",
        ),
        (
            "255.in-addr.arpa SOA",
            "255.in-addr.arpa. 604800 IN SOA localhost. root.localhost. 1 0 0 0 604800",
        ),
        (
            "1.0.0.127.in-addr.arpa PTR",
            "1.0.0.127.in-addr.arpa. 604800 IN PTR localhost.",
        ),
    ] {
        let expect =
            format!("rcode: NOERROR\nflags: qr rd\nanswer: {expect}\nauthority:\nadditional:");
        check(COREFILE, query, &expect);
    }
}

#[test]
fn other_types_and_names_are_denied() {
    for (query, rcode, owner) in [
        ("localhost MX", "NOERROR", "localhost."),
        ("a.localhost TXT", "NOERROR", "a.localhost."),
        ("a.localhost SOA", "NOERROR", "a.localhost."),
        (
            "localhost.example.org NS",
            "NOERROR",
            "localhost.example.org.",
        ),
        ("0.in-addr.arpa A", "NOERROR", "0.in-addr.arpa."),
        ("127.in-addr.arpa PTR", "NOERROR", "127.in-addr.arpa."),
        ("1.0.0.127.in-addr.arpa A", "NOERROR", "127.in-addr.arpa."),
        (
            "2.0.0.127.in-addr.arpa PTR",
            "NXDOMAIN",
            "127.in-addr.arpa.",
        ),
        ("0.127.in-addr.arpa NS", "NXDOMAIN", "127.in-addr.arpa."),
        (
            "255.255.255.255.in-addr.arpa PTR",
            "NXDOMAIN",
            "255.in-addr.arpa.",
        ),
    ] {
        check(
            COREFILE,
            query,
            &format!("rcode: {rcode}\nflags: qr rd\n{}", soa(owner)),
        );
    }
}

#[test]
fn other_names_pass() {
    for query in [
        "example.org A",
        "notlocalhost A",
        "mylocalhost.example.org A",
        "126.in-addr.arpa A",
        ". NS",
    ] {
        check(COREFILE, query, "flags: qr aa rd\nanswer:");
    }
    check(COREFILE, "localhost A class=CH", "rcode: REFUSED");
}

#[test]
fn the_prefix_can_be_left_alone() {
    let text = ".:53 {\n local {\n localhost_prefix off\n }\n whoami\n}\n";
    check(text, "localhost.example.org A", "flags: qr aa rd\nanswer:");
    check(
        text,
        "a.localhost A",
        "answer: a.localhost. 604800 IN A 127.0.0.1",
    );
    check(
        text,
        "localhost A",
        "answer: localhost. 604800 IN A 127.0.0.1",
    );
    let text = ".:53 {\n local {\n localhost_prefix off\n localhost_prefix on\n }\n whoami\n}\n";
    check(
        text,
        "localhost.x A",
        "answer: localhost.x. 604800 IN A 127.0.0.1",
    );
}

#[test]
fn interceptions_are_counted() {
    let plugin = set_up::<Local>("local", "local").unwrap().open(&["local"]);
    for name in ["localhost", "a.localhost", "localhost.x", "x"] {
        plugin.on_query(&mut query(name, types::A));
    }
    assert_eq!(plugin.intercepted.value(), 2);
}

#[test]
fn wrong_lines_are_refused() {
    for (lines, expect) in [
        (
            "local x",
            "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'x'",
        ),
        (
            "local {\n x\n}",
            "Corefile:3 - Error during parsing: unknown property 'x'",
        ),
        (
            "local {\n localhost_prefix\n}",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'localhost_prefix'",
        ),
        (
            "local {\n localhost_prefix yes\n}",
            "Corefile:3 - Error during parsing: localhost_prefix expects 'on' or 'off', got \"yes\"",
        ),
    ] {
        assert_eq!(set_up_error::<Local>("local", lines), expect);
    }
}
