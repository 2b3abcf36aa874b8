//! Tests of *chaos*.

use super::*;
use crate::testing::directive::set_up_error;
use crate::testing::{Host, check, check_seen};
use crate::transport::interfaces;
use crate::version::NAME_VERSION;

fn corefile(lines: &str) -> String {
    format!(".:53 {{\n {lines}\n whoami\n}}\n")
}

#[test]
fn the_version_is_told() {
    let host = Host::new(&corefile("chaos Percy-1 \"A. B.\" \"C. D.\" \"A. B.\""))
        .unwrap_or_else(|error| panic!("{error}"));
    for query in ["Version.Bind", "version.bind"] {
        for rest in ["", " +tcp", " +do", " bufsize=1232 from=2001:db8::1"] {
            let expect = format!(
                "rcode: NOERROR\nflags: qr rd\nanswer: {query}. 0 CH TXT \"Percy-1\"\nauthority:\nadditional:"
            );
            let query = format!("{query} TXT class=CH{rest}");
            check_seen(&host.ask(&query), &query, &expect);
        }
    }
    let expect = "answer: version.server. 0 CH TXT \"Percy-1\"";
    check_seen(
        &host.ask("version.server TXT class=CH"),
        "version.server",
        expect,
    );
    let own = format!("answer: version.bind. 0 CH TXT \"{NAME_VERSION}\"");
    check(&corefile("chaos"), "version.bind TXT class=CH", &own);
    check(
        &corefile("chaos x"),
        "authors.bind TXT class=CH",
        "answer: authors.bind. 0 CH TXT \"The percoredns authors\"",
    );
}

#[test]
fn authors_come_one_by_one_in_any_order() {
    let host = Host::new(&corefile("chaos x b a c a")).unwrap_or_else(|error| panic!("{error}"));
    let mut firsts = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let mut answer = host.ask("authors.bind TXT class=CH").answer;
        firsts.insert(answer[0].clone());
        answer.sort();
        let expect = ["a", "b", "c"].map(|author| format!("authors.bind. 0 CH TXT \"{author}\""));
        assert_eq!(answer, expect);
    }
    assert_eq!(firsts.len(), 3);
}

#[test]
fn the_machine_is_named() {
    let name = interfaces::hostname();
    for query in ["hostname.bind", "id.server"] {
        let expect = format!("answer: {query}. 0 CH TXT \"{name}\"");
        check(
            &corefile("chaos"),
            &format!("{query} TXT class=CH"),
            &expect,
        );
    }
}

#[test]
fn texts_are_cut_at_255_octets() {
    let long = "x".repeat(300);
    let expect = format!("answer: version.bind. 0 CH TXT \"{}\"", "x".repeat(255));
    for lines in [format!("chaos {long}"), format!("chaos {long} a")] {
        check(&corefile(&lines), "version.bind TXT class=CH", &expect);
    }
}

#[test]
fn everything_else_passes() {
    for query in [
        "version.bind A class=CH",
        "version.bind TXT",
        "example.org TXT class=CH",
        "x.version.bind TXT class=CH",
    ] {
        check(&corefile("chaos"), query, "flags: qr aa rd\nanswer:");
    }
}

#[test]
fn a_block_is_refused() {
    assert_eq!(
        set_up_error::<Chaos>("chaos", "chaos x {\n hide\n}"),
        "Corefile:3 - Error during parsing: unknown property 'hide'"
    );
}
