//! Tests of *acl*.

use super::*;
use crate::testing::directive::set_up_error;
use crate::testing::{Host, check_seen};

/// One letter for each query: `a`llowed, `b`locked, `f`iltered, `d`ropped.
fn ask(acl: &str, queries: &[&str]) -> String {
    let text = format!("example.org:53 {{\n {acl}\n whoami\n}}\n");
    let host = Host::new(&text).unwrap_or_else(|error| panic!("{error}"));
    let letter = |query: &&str| {
        let seen = host.ask(query);
        match (seen.rcode.as_str(), seen.additional.len()) {
            ("", _) => 'd',
            ("REFUSED", 0) => 'b',
            ("NOERROR", 0) => 'f',
            ("NOERROR", 2) => 'a',
            other => panic!("{query}: {other:?}"),
        }
    };
    queries.iter().map(letter).collect()
}

#[test]
fn actions_by_address() {
    let queries = [
        "a.example.org A from=192.168.0.1",
        "a.example.org A from=192.168.1.1",
        "a.example.org A from=10.0.0.1",
        "a.example.org A from=2001:db8::1",
        "a.example.org A from=2001:db9::1",
    ];
    for (acl, expect) in [
        ("acl {\n block\n }", "bbbbb"),
        ("acl {\n FILTER\n }", "fffff"),
        ("acl {\n Drop\n }", "ddddd"),
        ("acl {\n allow\n }", "aaaaa"),
        ("acl {\n }", "aaaaa"),
        ("acl", "aaaaa"),
        ("acl {\n block net 192.168.0.0/16\n }", "bbaaa"),
        ("acl {\n block net 192.168.0.1 2001:db8::1\n }", "baaba"),
        (
            "acl {\n block net 10.0.0.0/8 192.168.0.0/24 2001:db8::/32\n }",
            "babba",
        ),
        ("acl {\n block net *\n }", "bbbbb"),
        ("acl {\n block net 10.0.0.1 *\n }", "bbbbb"),
        ("acl {\n block net 0.0.0.0/0\n }", "bbbaa"),
        // The first line that matches decides.
        (
            "acl {\n allow net 192.168.0.0/24\n block net 192.168.0.0/16\n filter net 10.0.0.1\n drop\n }",
            "abfdd",
        ),
        (
            "acl {\n allow net 192.168.0.0/16 2001:db8::/32\n block\n }",
            "aabab",
        ),
        // Allow ends all; no match goes on with the next rule set.
        (
            "acl {\n allow net 10.0.0.0/8\n }\n acl {\n block\n }",
            "bbabb",
        ),
        (
            "acl {\n filter net 10.0.0.0/8\n }\n acl {\n drop net 192.168.0.1\n }",
            "dafaa",
        ),
    ] {
        assert_eq!(ask(acl, &queries), expect, "{acl}");
    }
}

#[test]
fn actions_by_type_and_name() {
    let queries = [
        "a.example.org A",
        "A.Sub.Example.Org AAAA +tcp",
        "a.example.org TXT bufsize=1232",
        "a.sub.example.org TYPE300 +do",
    ];
    for (acl, expect) in [
        ("acl {\n block type A\n }", "baaa"),
        ("acl {\n block type A TXT\n }", "baba"),
        ("acl {\n block TYPE A net 127.0.0.1\n }", "baaa"),
        ("acl {\n block Net 10.0.0.1 type A\n }", "aaaa"),
        ("acl {\n block type A net 127.0.0.0/8 type AAAA\n }", "bbaa"),
        ("acl {\n block type *\n }", "bbbb"),
        ("acl {\n block type A *\n }", "bbbb"),
        ("acl {\n block type TYPE300\n }", "aaab"),
        ("acl sub.example.org {\n block\n }", "abab"),
        ("acl example.net {\n block\n }", "aaaa"),
        (
            "acl example.org sub.example.org {\n filter type AAAA\n }",
            "afaa",
        ),
    ] {
        assert_eq!(ask(acl, &queries), expect, "{acl}");
    }
}

#[test]
fn denials_say_why() {
    let host = Host::new(".:53 {\n acl {\n block type A\n filter type AAAA\n }\n whoami\n}\n");
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    let ede = |code: u8| vec![(option::EDE, vec![0, code])];
    for (query, rcode, opt) in [
        ("a.x A", "REFUSED", (4096, true, ede(15))),
        ("a.x A +tcp", "REFUSED", (4096, true, ede(15))),
        ("a.x A bufsize=1232", "REFUSED", (1232, false, ede(15))),
        (
            "a.x AAAA bufsize=1232 +do",
            "NOERROR",
            (1232, true, ede(17)),
        ),
        (
            "a.x AAAA opt=10:0102030405060708",
            "NOERROR",
            (4096, false, ede(17)),
        ),
    ] {
        let seen = host.ask(query);
        check_seen(
            &seen,
            query,
            &format!("rcode: {rcode}\nflags: qr rd\nanswer:\nauthority:\nadditional:"),
        );
        assert_eq!(seen.opt, Some(opt), "{query}");
    }
    check_seen(&host.ask("a.x A class=CH"), "", "rcode: REFUSED");
}

#[test]
fn outcomes_are_counted() {
    // A view of its own keeps other tests out of these series; here the address does.
    let text = "acl.test:53 {\n bind 127.0.0.9\n acl {\n block type A\n filter type AAAA\n drop type TXT\n }\n acl sub.acl.test acl.test {\n block type MX\n }\n whoami\n}\n";
    let host = Host::new(text).unwrap_or_else(|error| panic!("{error}"));
    host.ask_all(&[
        "acl.test A",
        "a.acl.test A",
        "acl.test AAAA",
        "acl.test TXT",
        "acl.test NS",
        "a.sub.acl.test MX",
    ]);
    for (what, zone, expect) in [
        ("blocked", "acl.test.", 2.0),
        ("blocked", "sub.acl.test.", 1.0),
        ("filtered", "acl.test.", 1.0),
        ("dropped", "acl.test.", 1.0),
    ] {
        let name = format!("coredns_acl_{what}_requests_total");
        let labels = [
            ("server", "dns://127.0.0.9:53"),
            ("zone", zone),
            ("view", ""),
        ];
        assert_eq!(
            registry().value(&name, &labels),
            Some(expect),
            "{what} {zone}"
        );
    }
    let labels = [("server", "dns://127.0.0.9:53"), ("view", "")];
    assert_eq!(
        registry().value("coredns_acl_allowed_requests_total", &labels),
        Some(1.0)
    );
}

#[test]
fn wrong_lines_are_refused() {
    for (line, expect) in [
        (
            "deny",
            "unexpected token \"deny\"; expect 'allow', 'block', 'filter' or 'drop'",
        ),
        ("block A", "unexpected token \"A\"; expect 'type | net'"),
        ("block type", "no token specified in \"type\" section"),
        ("block NET", "no token specified in \"net\" section"),
        (
            "block type net 10.0.0.0/8",
            "no token specified in \"type\" section",
        ),
        ("block type a", "unexpected token \"a\"; expect legal QTYPE"),
        (
            "block type ABC",
            "unexpected token \"ABC\"; expect legal QTYPE",
        ),
        (
            "block net 10.0.0.0/33",
            "illegal CIDR notation \"10.0.0.0/33\"",
        ),
        ("block net 10.0.0", "illegal CIDR notation \"10.0.0/32\""),
        ("block net ::g", "illegal CIDR notation \"::g/128\""),
    ] {
        let expect = format!("Corefile:3 - Error during parsing: {expect}");
        assert_eq!(
            set_up_error::<Acl>("acl", &format!("acl {{\n {line}\n}}")),
            expect
        );
    }
}
