//! Tests of *rewrite*.

mod edns;
mod setup;

use proptest::prelude::*;
use std::io::Write as _;

use super::*;
use crate::testing::directive::{query, set_up};
use crate::testing::{Host, check_seen};
use crate::wire::name::Text;
use crate::wire::reply::{Reply, Section};
use crate::wire::{rdata, types};

fn open(lines: &str) -> Rewrite {
    set_up::<Rewrite>("rewrite", lines)
        .unwrap_or_else(|e| panic!("{lines}: {e}"))
        .open(&["rewrite"])
}

/// The question that the next plugin sees.
fn seen(lines: &str, name: &str) -> String {
    let mut query = query(name, types::A);
    assert_eq!(open(lines).on_query(&mut query), Flow::Next, "{lines}");
    Text(query.name()).to_string()
}

fn check(lines: &str, name: &str, expect: &str) {
    assert_eq!(seen(lines, name), expect, "{lines}: {name}");
}

fn wire(name: &str) -> NameBuf {
    NameBuf::from_text(name).unwrap()
}

/// Appends a record given as `owner TTL TYPE target-or-address`.
fn push(reply: &mut Reply, section: Section, record: &str) {
    let words: Vec<&str> = record.split_whitespace().collect();
    let [owner, ttl, rtype, data] = words[..] else {
        panic!("{record}")
    };
    let rtype = types::parse(rtype).unwrap();
    let target = || wire(data).as_wire().to_vec();
    let octets = match rtype {
        types::A => data
            .parse::<std::net::Ipv4Addr>()
            .unwrap()
            .octets()
            .to_vec(),
        types::MX => [&[0, 10][..], &target()].concat(),
        types::SRV => [&[0, 0, 0, 0, 0, 53][..], &target()].concat(),
        types::SOA => [target(), wire("mail.").as_wire().to_vec(), vec![0; 20]].concat(),
        types::NAPTR => [&[0, 1, 0, 1, 1, b'u', 0, 0][..], &target()].concat(),
        _ => target(),
    };
    reply.push(
        section,
        wire(owner).as_wire(),
        rtype,
        1,
        ttl.parse().unwrap(),
        &octets,
    );
}

/// Records as `owner TTL TYPE target-or-address`, in order.
fn records(reply: &Reply) -> Vec<String> {
    let show = |record: &crate::wire::reply::Record| {
        let octets = reply.rdata(record);
        let data = match rdata::first_name(record.rtype, octets) {
            Some(range) => Text(&octets[range]).to_string(),
            None => octets
                .iter()
                .map(u8::to_string)
                .collect::<Vec<_>>()
                .join("."),
        };
        format!(
            "{} {} {} {data}",
            Text(reply.owner(record)),
            record.ttl,
            types::Type(record.rtype)
        )
    };
    reply.records().iter().map(show).collect()
}

/// Sends a question through and a reply back; gives the records that the client gets.
fn reverted(lines: &str, name: &str, answers: &[&str]) -> Vec<String> {
    let plugin = open(lines);
    let mut query = query(name, types::A);
    assert_eq!(plugin.on_query(&mut query), Flow::Next);
    let reply = query.respond();
    for record in answers {
        push(reply, Section::Answer, record);
    }
    assert_eq!(plugin.on_reply(&mut query), Flow::Next);
    assert_eq!(
        Text(query.name()).to_string(),
        name.to_lowercase(),
        "question restored"
    );
    records(&query.reply)
}

fn check_reply(lines: &str, name: &str, answers: &[&str], expect: &[&str]) {
    assert_eq!(reverted(lines, name, answers), expect, "{lines}");
}

#[test]
fn exact_names() {
    check(
        "rewrite name example.org example.com",
        "Example.Org.",
        "example.com.",
    );
    check(
        "rewrite name exact example.org. example.com.",
        "example.org.",
        "example.com.",
    );
    check(
        "rewrite stop name EXACT example.org Example.COM",
        "example.org.",
        "example.com.",
    );
    check(
        "rewrite name example.org example.com",
        "a.example.org.",
        "a.example.org.",
    );
}

#[test]
fn prefixes_suffixes_and_substrings_get_a_final_dot() {
    check(
        "rewrite name prefix foo bar",
        "foo.example.com.",
        "bar.example.com.",
    );
    check(
        "rewrite name prefix foo bar",
        "food.example.com.",
        "food.example.com.",
    );
    check(
        "rewrite name prefix foo. bar.",
        "foo.example.com.",
        "bar.example.com.",
    );
    check(
        "rewrite name suffix com org",
        "foo.example.com.",
        "foo.example.org.",
    );
    check(
        "rewrite name suffix .com .org",
        "foo.example.com.",
        "foo.example.org.",
    );
    check(
        "rewrite name suffix com org",
        "com.coredns.",
        "com.coredns.",
    );
    check(
        "rewrite name suffix .in.rocks nginx.rocks",
        "a.in.rocks.",
        "anginx.rocks.",
    );
    check(
        "rewrite name substring us-west-1.example consul",
        "ftp.us-west-1.example.org.",
        "ftp.consul.org.",
    );
    check("rewrite name substring a b", "a.a.", "b.b.");
    check(
        "rewrite name substring service svc",
        "x.services.",
        "x.services.",
    );
}

#[test]
fn regular_expressions_fill_groups() {
    let rule = r"rewrite name regex (.*)-(us-west-1)\.coredns\.rocks {1}.service.{2}.consul";
    check(
        rule,
        "ftp-us-west-1.coredns.rocks.",
        "ftp.service.us-west-1.consul.",
    );
    check(rule, "ftp.coredns.rocks.", "ftp.coredns.rocks.");
    check("rewrite name regex (a)(b)? {1}x{2}.org", "a.", "ax.org.");
    check("rewrite name regex (.*)\\.a\\. {1}.{1}.b", "x.a.", "x.x.b.");
    check("rewrite name regex ^A$ b", "a.", "a.");
}

#[test]
fn rules_run_in_order_until_one_stops() {
    check("rewrite name a b\nrewrite name b c", "a.", "b.");
    check("rewrite continue name a b\nrewrite name b c", "a.", "c.");
    check("rewrite stop name x y\nrewrite name a b", "a.", "b.");
    check(
        "rewrite CONTINUE {\n name a b\n}\nrewrite stop {\n name\n b\n c\n}",
        "a.",
        "c.",
    );
}

#[test]
fn types_and_classes() {
    let plugin = open("rewrite continue type any hinfo\nrewrite class CH IN");
    let mut query = query("a.", 255);
    query.qclass = 3;
    assert_eq!(plugin.on_query(&mut query), Flow::Next);
    assert_eq!((query.qtype, query.qclass), (types::HINFO, 1));
    query.respond();
    plugin.on_reply(&mut query);
    assert_eq!((query.qtype, query.qclass), (255, 3));
    assert_eq!(query.asked().qtype, 255);
}

#[test]
fn an_invalid_name_is_a_failure() {
    let mut query = query("example.org.", types::A);
    assert_eq!(
        open("rewrite name example.org example..org").on_query(&mut query),
        Flow::Reply
    );
    assert_eq!(query.answer, Answer::Unwritten(Rcode::SERVFAIL));
    assert_eq!(
        query.error.as_deref(),
        Some("invalid name after rewrite: example..org.")
    );
    assert_eq!(Text(query.name()).to_string(), "example.org.");
    let long = format!("rewrite name prefix a {}", "b".repeat(64));
    assert_eq!(
        open(&long).on_query(&mut crate::testing::directive::query("a.x.", 1)),
        Flow::Reply
    );
}

#[test]
fn exact_rules_turn_answers_back() {
    let lines = "rewrite name example.org service.consul";
    check_reply(
        lines,
        "Example.org.",
        &[
            "service.consul. 5 A 192.0.2.1",
            "service.consul. 5 CNAME x.Service.consul.",
            "other. 5 A 192.0.2.1",
        ],
        &[
            "example.org. 5 A 192.0.2.1",
            "example.org. 5 CNAME x.example.org.",
            "other. 5 A 192.0.2.1",
        ],
    );
    check_reply(
        "rewrite name exact example.org b answer auto",
        "example.org.",
        &["b. 5 A 192.0.2.1"],
        &["example.org. 5 A 192.0.2.1"],
    );
    // Part of a label is no ending.
    check_reply(
        lines,
        "example.org.",
        &["aservice.consul. 5 A 192.0.2.1"],
        &["aservice.consul. 5 A 192.0.2.1"],
    );
}

#[test]
fn other_rules_turn_answers_back_only_if_told() {
    let answers = &["foo.org. 5 A 192.0.2.1"];
    check_reply("rewrite name suffix com org", "foo.com.", answers, answers);
    check_reply(
        "rewrite name suffix com org answer auto",
        "foo.com.",
        answers,
        &["foo.com. 5 A 192.0.2.1"],
    );
    check_reply(
        "rewrite name prefix bar foo answer auto",
        "bar.org.",
        answers,
        &["bar.org. 5 A 192.0.2.1"],
    );
    check_reply(
        "rewrite name substring x.com foo.org answer auto",
        "x.com.",
        answers,
        &["x.com. 5 A 192.0.2.1"],
    );
    check_reply(
        "rewrite name regex (.*)[.]com {1}.org answer auto",
        "foo.com.",
        &["foo.org. 5 A 192.0.2.1"],
        &["foo.com. 5 A 192.0.2.1"],
    );
    // A suffix is turned back wherever it stands.
    check_reply(
        "rewrite name suffix .com .org answer auto",
        "foo.com.",
        &[
            "foo.org. 5 CNAME www.foo.org.",
            "www.foo.org. 5 A 192.0.2.1",
        ],
        &[
            "foo.com. 5 CNAME www.foo.com.",
            "www.foo.com. 5 A 192.0.2.1",
        ],
    );
}

#[test]
fn explicit_answers() {
    let block = r"rewrite stop {
        name regex (.*)\.coredns\.rocks {1}.consul
        answer name (.*)\.consul {1}.coredns.rocks
    }";
    check_reply(
        block,
        "ftp.coredns.rocks.",
        &["ftp.consul. 5 CNAME x.consul.", "x.consul. 5 A 192.0.2.1"],
        &[
            "ftp.coredns.rocks. 5 CNAME x.consul.",
            "x.coredns.rocks. 5 A 192.0.2.1",
        ],
    );
    let both = r"rewrite name regex a b answer name ^b\.$ a value ^c\.$ d answer value ^d\.$ e";
    // Values in reverse order: the last rule sees the target first.
    check_reply(both, "a.", &["b. 5 CNAME c."], &["a. 5 CNAME d."]);
    check_reply(
        "rewrite name exact a b answer value ^c[.]$ d",
        "a.",
        &["b. 5 CNAME c."],
        &["a. 5 CNAME d."],
    );
}

#[test]
fn values_of_all_types_with_a_target() {
    for rtype in ["SRV", "MX", "CNAME", "NS", "DNAME", "NAPTR", "SOA", "PTR"] {
        check_reply(
            "rewrite name a b",
            "a.",
            &[&format!("b. 5 {rtype} x.b.")],
            &[&format!("a. 5 {rtype} x.a.")],
        );
    }
}

#[test]
fn all_sections_are_turned_back() {
    let plugin = open("rewrite name a b");
    let mut query = query("a.", types::A);
    plugin.on_query(&mut query);
    let reply = query.respond();
    push(reply, Section::Authority, "b. 5 NS ns.b.");
    push(reply, Section::Additional, "ns.b. 5 A 192.0.2.1");
    plugin.on_reply(&mut query);
    assert_eq!(
        records(&query.reply),
        ["a. 5 NS ns.a.", "ns.a. 5 A 192.0.2.1"]
    );
}

#[test]
fn chained_rules_unwind_in_reverse() {
    let lines = "rewrite continue name a b\nrewrite name b c";
    check_reply(lines, "a.", &["c. 5 A 192.0.2.1"], &["a. 5 A 192.0.2.1"]);
    check_reply(
        lines,
        "a.",
        &["x.b. 5 A 192.0.2.1"],
        &["x.a. 5 A 192.0.2.1"],
    );
}

#[test]
fn ttl_bounds() {
    let check = |rule: &str, name: &str, ttl: u32, expect: u32| {
        let got = reverted(
            &format!("rewrite {rule}"),
            name,
            &[&format!("{name} {ttl} A 192.0.2.1")],
        );
        assert_eq!(got, [format!("{name} {expect} A 192.0.2.1")], "{rule}");
    };
    check("ttl example.org 15", "example.org.", 300, 15);
    check("ttl example.org 15", "example.com.", 300, 300);
    check("ttl exact example.org 15", "example.org.", 1, 15);
    check("ttl prefix a 15-30", "a.org.", 5, 15);
    check("ttl suffix org 15-30", "a.org.", 300, 30);
    check("ttl substring org -30", "a.org.", 300, 30);
    check("ttl substring org -30", "a.org.", 3, 3);
    check("ttl regex ^a 60-", "a.org.", 3, 60);
    check("ttl regex ^a 60-", "a.org.", 300, 300);
}

#[test]
fn rcodes() {
    let check = |rule: &str, before: Rcode, after: Rcode| {
        let plugin = open(&format!("rewrite {rule}"));
        let mut query = query("example.org.", types::A);
        plugin.on_query(&mut query);
        query.respond_rcode(before);
        plugin.on_reply(&mut query);
        assert_eq!(query.reply.rcode, after, "{rule}");
    };
    check(
        "rcode example.org NXDOMAIN NOERROR",
        Rcode::NXDOMAIN,
        Rcode::NOERROR,
    );
    check(
        "rcode exact example.org 3 0",
        Rcode::NXDOMAIN,
        Rcode::NOERROR,
    );
    check(
        "rcode suffix org nxdomain refused",
        Rcode::NXDOMAIN,
        Rcode::REFUSED,
    );
    check(
        "rcode regex ^x NXDOMAIN NOERROR",
        Rcode::NXDOMAIN,
        Rcode::NXDOMAIN,
    );
    check(
        "rcode example.org NXDOMAIN NOERROR",
        Rcode::REFUSED,
        Rcode::REFUSED,
    );
    check("rcode example.org SERVFAIL 23", Rcode::SERVFAIL, Rcode(23));
    check(
        "rcode example.org NOTIMPL BADSIG",
        Rcode::NOTIMP,
        Rcode::BADVERS,
    );
}

#[test]
fn a_failure_after_a_rule_that_stops_is_written_here() {
    let plugin = open("rewrite rcode example.org SERVFAIL NOERROR");
    let mut query = query("example.org.", types::A);
    plugin.on_query(&mut query);
    query.fail(Rcode::SERVFAIL, "no upstream");
    plugin.on_reply(&mut query);
    assert_eq!(
        (query.answer, query.reply.rcode, query.writer),
        (Answer::Written, Rcode::NOERROR, "rewrite")
    );
    assert_eq!(query.error.as_deref(), Some("no upstream"));
    // Without a rule that stops it stays unwritten, and without a rule at all.
    for lines in [
        "rewrite continue rcode example.org SERVFAIL NOERROR",
        "rewrite name a b",
    ] {
        let plugin = open(lines);
        plugin.on_query(&mut query);
        query.fail(Rcode::SERVFAIL, "no upstream");
        plugin.on_reply(&mut query);
        assert_eq!(query.answer, Answer::Unwritten(Rcode::SERVFAIL), "{lines}");
    }
}

// === end to end ===

/// A Corefile whose `ZONE` is a file with these records.
fn host(name: &str, zone: &str, corefile: &str) -> Host {
    let path =
        std::env::temp_dir().join(format!("percoredns-rewrite-{name}-{}", std::process::id()));
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(b"@ 60 IN SOA ns. mail. 1 60 60 60 60\n@ 60 IN NS ns.\n")
        .unwrap();
    file.write_all(zone.as_bytes()).unwrap();
    Host::new(&corefile.replace("ZONE", path.to_str().unwrap())).unwrap()
}

#[test]
fn the_client_gets_its_own_question_back() {
    let host = host(
        "names",
        "www 60 IN A 192.0.2.1\n",
        "example.org:53 example.com:53 {\n rewrite name suffix .example.com .example.org answer auto\n file ZONE example.org\n}\n",
    );
    check_seen(
        &host.ask("WWW.Example.Com A"),
        "",
        "rcode: NOERROR\nanswer: WWW.Example.Com. 60 IN A 192.0.2.1",
    );
    check_seen(
        &host.ask("nope.example.com A"),
        "",
        "rcode: NXDOMAIN\nanswer:",
    );
}

#[test]
fn cname_targets_are_looked_up_anew() {
    let zone = "www 60 IN CNAME cdn-a\ncdn-a 60 IN A 192.0.2.1\ncdn-b 60 IN CNAME cdn-c\ncdn-c 60 IN A 192.0.2.2\n";
    let expect = "rcode: NOERROR
        answer: www.example.org. 60 IN CNAME cdn-b.example.org.
        answer: cdn-b.example.org. 60 IN CNAME cdn-c.example.org.
        answer: cdn-c.example.org. 60 IN A 192.0.2.2";
    for (nth, rule) in [
        "cdn-a.example.org cdn-b.example.org",
        "exact cdn-a.example.org. cdn-b.example.org.",
        "prefix cdn-a cdn-b",
        "suffix a.example.org b.example.org",
        "substring n-a n-b",
        r"regex (cdn-)a(.*) {1}b{2}",
    ]
    .into_iter()
    .enumerate()
    {
        let corefile = format!("example.org:53 {{\n rewrite cname {rule}\n file ZONE\n}}\n");
        let host = host(&format!("cname-{nth}"), zone, &corefile);
        check_seen(&host.ask("www.example.org A"), rule, expect);
        // Not a CNAME, or another target: nothing changes.
        check_seen(
            &host.ask("cdn-c.example.org A"),
            rule,
            "answer: cdn-c.example.org. 60 IN A 192.0.2.2",
        );
    }
}

#[test]
fn a_cname_rule_that_leads_in_circles_ends() {
    let zone = "www 60 IN CNAME a\na 60 IN CNAME www\n";
    let corefile = "example.org:53 {\n rewrite cname regex (.*) {1}x\n file ZONE\n}\n";
    let seen = host("circle", zone, corefile).ask("www.example.org A");
    assert!(!seen.rcode.is_empty());
}

proptest! {
    #[test]
    fn any_rule_is_taken_or_refused(words in prop::collection::vec(
        prop::sample::select(vec![
            "name", "exact", "prefix", "suffix", "substring", "regex", "answer", "auto", "value", "a", "b.c", "(.*)", "{1}", "stop",
            "continue", "type", "class", "A", "IN", "edns0", "local", "nsid", "subnet", "set", "unset", "1", "24", "ttl", "5-", "rcode", "0",
            "cname", "revert", "{qname}", "{a/b}",
        ]), 0..10)
    ) {
        let line = format!("rewrite {}", words.join(" "));
        if let Ok(directive) = set_up::<Rewrite>("rewrite", &line) {
            let plugin = directive.open(&["rewrite"]);
            let mut query = query("x.b.c.", types::A);
            if plugin.on_query(&mut query) == Flow::Next {
                push(query.respond(), Section::Answer, "b.c. 5 CNAME x.b.c.");
                plugin.on_reply(&mut query);
            }
        }
    }
}
