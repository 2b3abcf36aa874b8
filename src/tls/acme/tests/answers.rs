//! Answers to DNS challenges on the path of a query.

use super::super::hold::{self, Held};
use super::super::settings::answer_name;
use crate::limits;
use crate::testing::{Host, check_seen};

fn hold(domain: &str, values: &[&str]) -> Held {
    let name = answer_name(domain).unwrap();
    let values = values.iter().map(|value| (name, (*value).to_owned()));
    hold::names(values.collect()).unwrap()
}

fn host(body: &str) -> Host {
    Host::new(&format!("example.test {{\n{body}\n}}\n")).unwrap()
}

#[test]
fn a_name_has_its_values_for_as_long_as_they_are_held() {
    let host = host("whoami");
    let query = "_ACME-challenge.Long.example.test TXT";
    let check = |query: &str, expect: &str| check_seen(&host.ask(query), query, expect);
    let none = "rcode: NOERROR\nanswer:";
    check(query, none);
    let first = hold("long.example.test", &["one"]);
    let second = hold("*.long.example.test", &["two"]);
    let both = "rcode: NOERROR\nflags: qr aa rd\nanswer: _acme-challenge.long.example.test. 0 IN TXT \"one\"\n\
                answer: _acme-challenge.long.example.test. 0 IN TXT \"two\"\nauthority:\nadditional:";
    check("_acme-challenge.long.example.test TXT", both);
    check("_acme-challenge.long.example.test ANY +tcp", both);
    drop(first);
    check(
        "_acme-challenge.long.example.test TXT +do",
        "answer: _acme-challenge.long.example.test. 0 IN TXT \"two\"",
    );
    drop(second);
    check(query, none);
}

#[test]
fn other_types_get_none_and_other_names_the_zone() {
    let _held = hold("types.example.test", &["value"]);
    let host = host("whoami");
    for qtype in ["A", "NS", "CNAME", "SOA"] {
        let query = format!("_acme-challenge.types.example.test {qtype}");
        check_seen(
            &host.ask(&query),
            &query,
            "rcode: NOERROR\nflags: qr aa rd\nanswer:\nadditional:",
        );
    }
    for query in [
        "_acme-challenge.other.example.test TXT",
        "_acme-challenger.types.example.test TXT",
        "a._acme-challenge.types.example.test TXT",
        "types.example.test TXT",
    ] {
        let seen = host.ask(query);
        assert_eq!(
            (seen.answer.len(), seen.additional.len()),
            (0, 2),
            "{query}: whoami's"
        );
    }
    // Another class is for the blocks.
    let query = "_acme-challenge.types.example.test TXT class=CH";
    check_seen(&host.ask(query), query, "rcode: REFUSED");
}

#[test]
fn no_block_keeps_an_authority_away() {
    let _held = hold("blocked.example.test", &["value"]);
    let expect = "rcode: NOERROR\nanswer: _acme-challenge.blocked.example.test. 0 IN TXT \"value\"";
    let query = "_acme-challenge.blocked.example.test TXT";
    check_seen(&host("acl {\n block\n}").ask(query), query, expect);
    let elsewhere = Host::new("elsewhere.test {\n whoami\n}\n").unwrap();
    check_seen(&elsewhere.ask(query), query, expect);
}

#[test]
fn the_short_way_is_barred_for_these_names_alone() {
    let host = host("hosts {\n 192.0.2.1 _acme-challenge.short.example.test www.example.test\n}");
    let queries = ["_acme-challenge.short.example.test A", "www.example.test A"];
    let are_short = || {
        let both = host.ask_both_ways(&queries);
        both.iter()
            .map(|both| both.short.is_some())
            .collect::<Vec<_>>()
    };
    let held = hold("short.example.test", &["value"]);
    assert_eq!(are_short(), [false, true]);
    let seen = host.ask(queries[0]);
    assert_eq!(
        seen.answer,
        Vec::<String>::new(),
        "no address while it has a value"
    );
    drop(held);
    let seen = host.ask(queries[0]);
    assert_eq!(seen.answer.len(), 1);
}

#[test]
fn there_is_a_bound() {
    let name = answer_name("bound.example.test").unwrap();
    let values = vec![(name, "value".to_owned()); limits::ACME_ANSWERS + 1];
    let error = hold::names(values).err().unwrap();
    assert_eq!(error, "too many challenges are under way at once");
    let host = host("whoami");
    assert_eq!(
        host.ask("_acme-challenge.bound.example.test TXT")
            .answer
            .len(),
        0
    );
}
