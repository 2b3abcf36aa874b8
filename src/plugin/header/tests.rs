//! Tests of *header*.

use super::*;
use crate::testing::check;
use crate::testing::directive::{set_up, set_up_error};

fn flags(rules: &str, query: &str, expect: &str) {
    let corefile = format!(".:53 {{\n header {{\n {rules}\n }}\n whoami\n}}\n");
    check(
        &corefile,
        query,
        &format!("rcode: NOERROR\nflags: {expect}"),
    );
}

#[test]
fn flags_of_replies_are_changed() {
    flags("response clear aa", "a.x A", "qr rd");
    flags(
        "RESPONSE Set RA\n response clear rd Aa",
        "a.x A +tcp",
        "qr ra",
    );
    flags("set ra", "a.x A -rd bufsize=1232", "qr aa ra");
    flags("clear aa rd", "a.x A +do", "qr");
    // In order: the last one wins.
    flags("response set ra\n response clear ra", "a.x A", "qr aa rd");
    flags(
        "response clear ra\n response set ra",
        "a.x A",
        "qr aa rd ra",
    );
}

#[test]
fn flags_of_queries_are_changed_for_what_follows() {
    // The reply copies RD from the query as it is.
    flags("query clear rd", "a.x A", "qr aa");
    flags("query set rd", "a.x A -rd", "qr aa rd");
    flags("query set rd\n response clear rd", "a.x A -rd", "qr aa");
    flags("query set aa ra", "a.x A", "qr aa rd");
}

#[test]
fn what_the_server_writes_is_left_alone() {
    check(
        ".:53 {\n header {\n response set ra aa\n }\n hosts /nonexistent\n}\n",
        "a.x A",
        "rcode: SERVFAIL\nflags: qr rd",
    );
}

#[test]
fn wrong_lines_are_refused() {
    for (lines, expect) in [
        (
            "header {\n answer set aa\n}",
            "setting up rule: invalid selector=answer should be query or response",
        ),
        (
            "header {\n query\n}",
            "setting up rule: no flag action provided",
        ),
        (
            "header {\n response set\n}",
            "setting up rule: invalid length for flags, at least one should be provided",
        ),
        (
            "header {\n set\n}",
            "setting up rule: invalid length for flags, at least one should be provided",
        ),
        (
            "header {\n response flip aa\n}",
            "setting up rule: unknown flag action=flip, should be set or clear",
        ),
        (
            "header {\n response set AD\n}",
            "setting up rule: unknown/unsupported flag=ad",
        ),
        (
            "header",
            "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'header'",
        ),
        (
            "header {\n}",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after '}'",
        ),
    ] {
        assert_eq!(set_up_error::<Header>("header", lines), expect);
    }
    assert!(set_up::<Header>("header", "header\nheader {\n set aa\n}").is_ok());
}
