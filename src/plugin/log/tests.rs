//! Tests of *log*.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::plugin::Proto;
use crate::runtime::clock::fake::FakeClock;
use crate::telemetry::log::capture;
use crate::testing::directive::{query, set_up, set_up_error};
use crate::wire::edns;
use crate::wire::name::NameBuf;
use crate::wire::rcode::Rcode;
use crate::wire::reply::Section;
use crate::wire::{flag, types};

fn open(lines: &str) -> Log {
    set_up::<Log>("log", lines).unwrap().open(&["log"])
}

fn logged(plugin: &Log, query: &mut Query) -> Vec<String> {
    let clock = FakeClock::start();
    if query.start_ns == query.now_ns {
        // Answered from memory, 37 microseconds ago.
        query.start_ns = clock::now_ns();
        query.now_ns = query.start_ns;
        clock.advance(Duration::from_micros(37));
    }
    capture::lines(|| assert_eq!(plugin.on_reply(query), Flow::Next))
}

/// The lines of one query under these directives.
fn check(lines: &str, mut query: Query, expect: &[&str]) {
    assert_eq!(logged(&open(lines), &mut query), expect, "{lines}");
}

fn answered(name: &str) -> Query {
    let mut query = query(name, types::A);
    (query.start_ns, query.now_ns) = (1_000, 37_991_251);
    let owner = query.name_buf();
    let reply = query.respond();
    reply.set_flag(flag::AA, true);
    reply.push(
        Section::Answer,
        owner.as_wire(),
        types::A,
        1,
        60,
        &[192, 0, 2, 1],
    );
    query
}

fn with_rcode(rcode: Rcode) -> Query {
    let mut query = query("example.org.", types::A);
    query.respond_rcode(rcode);
    query
}

#[test]
fn the_common_format_is_the_default() {
    let line = "[INFO] 10.240.0.1:40212 - 29008 \"A IN example.org. udp 29 false 512\" NOERROR qr,aa,rd 56 0.037990251s";
    for lines in ["log", "log .", "log example.org", "log ORG. {common}"] {
        check(lines, answered("Example.org."), &[line]);
    }
    check(
        "log . {combined}",
        answered("example.org."),
        &[&format!("{line} \"0\"")],
    );
}

#[test]
fn edns_tcp_and_ipv6_show() {
    let mut query = answered("example.org.");
    query.peer = "[::1]:50759".parse::<SocketAddr>().unwrap().into();
    query.local = "[::2]:53".parse::<SocketAddr>().unwrap().into();
    query.edns.ensure(4096);
    query.edns.flags = edns::DO;
    check("log . {remote}", answered("a."), &["[INFO] 10.240.0.1"]);
    let plugin = open("log . \"{remote} {port} {local} {>do} {>bufsize} {proto}\"");
    assert_eq!(
        logged(&plugin, &mut query),
        ["[INFO] [::1] 50759 [::2] true 4096 udp"]
    );
    query.proto = Proto::Tcp;
    assert_eq!(
        logged(&plugin, &mut query),
        ["[INFO] [::1] 50759 [::2] true 65535 tcp"]
    );
}

#[test]
fn the_size_of_the_reply_counts_its_own_opt_record() {
    let plugin = open("log . {rsize}");
    let mut query = answered("example.org.");
    assert_eq!(logged(&plugin, &mut query), ["[INFO] 56"]);
    query.reply.edns.ensure(1232);
    assert_eq!(logged(&plugin, &mut query), ["[INFO] 67"]);
}

#[test]
fn a_reply_that_the_server_will_write_is_shown_as_it_will_be() {
    let mut query = query("example.org.", types::A);
    query.flags |= flag::CD;
    query.fail(Rcode::SERVFAIL, "no next plugin found");
    let line = "[INFO] 10.240.0.1:40212 - 29008 \"A IN example.org. udp 29 false 512\" SERVFAIL qr,rd,cd 29 0.000037s";
    check("log", query, &[line]);
}

#[test]
fn a_dropped_query_has_no_reply_values() {
    let mut query = query("example.org.", types::A);
    query.answer = Answer::Dropped;
    let line =
        "[INFO] 10.240.0.1:40212 - 29008 \"A IN example.org. udp 29 false 512\" - - 0 0.000037s";
    check("log", query, &[line]);
}

#[test]
fn names_choose_the_first_rule_that_matches() {
    let lines = "log example.org \"one {name}\"\nlog org example.net \"two {name}\"";
    check(
        lines,
        answered("a.Example.org."),
        &["[INFO] one a.example.org."],
    );
    check(lines, answered("b.org."), &["[INFO] two b.org."]);
    check(
        lines,
        answered("example.net."),
        &["[INFO] two example.net."],
    );
    check(lines, answered("notexample.net."), &[]);
    // The first one that matches is used alone, also when its classes keep it silent.
    let lines = "log example.org {\n class error\n}\nlog . {name}";
    check(lines, answered("example.org."), &[]);
}

#[test]
fn a_single_argument_is_a_name_even_with_braces() {
    let config = set_up::<Log>("log", "log {name}").unwrap().config;
    assert_eq!(config[0].scope, ZoneName::new("{name}").unwrap());
    assert_eq!(*config[0].format, Format::common());
    // And the last of several is a name if it has no brace.
    assert_eq!(set_up::<Log>("log", "log a b").unwrap().config.len(), 2);
}

#[test]
fn classes_filter() {
    let mut denial = query("example.org.", types::A);
    let owner = denial.name_buf();
    denial.respond().push(
        Section::Authority,
        owner.as_wire(),
        types::SOA,
        1,
        60,
        &[0; 22],
    );
    let mut dropped = query("example.org.", types::A);
    dropped.answer = Answer::Dropped;
    let mut refused = query("example.org.", types::A);
    refused.unwritten(Rcode::REFUSED);
    let mut outcomes = [
        (answered("example.org."), "success", "NOERROR"),
        (denial, "denial", "NODATA"),
        (with_rcode(Rcode::NXDOMAIN), "denial", "NXDOMAIN"),
        (with_rcode(Rcode::SERVFAIL), "error", "SERVERERROR"),
        (refused, "error", "OTHERERROR"),
        (dropped, "error", "OTHERERROR"),
    ];
    for wanted in ["success", "denial", "error"] {
        let plugin = open(&format!("log . x{{}} {{\n class {wanted}\n}}"));
        for (query, class, _) in &mut outcomes {
            assert_eq!(
                logged(&plugin, query).len(),
                usize::from(*class == wanted),
                "{class} {wanted}"
            );
        }
    }
    for classes in [
        "class all",
        "class denial success\n class error",
        "class error all",
    ] {
        let plugin = open(&format!("log {{\n {classes}\n}}"));
        for (query, ..) in &mut outcomes {
            assert_eq!(logged(&plugin, query).len(), 1, "{classes}");
        }
    }
    let plugin = open("log . \"{/log/class} {/log/type} {/no/label}\"");
    for (query, class, kind) in &mut outcomes {
        assert_eq!(logged(&plugin, query), ["[INFO] - - -"], "metadata is off");
        query.meta.enabled = true;
        assert_eq!(logged(&plugin, query), [format!("[INFO] {class} {kind} -")]);
    }
}

#[test]
fn unknown_placeholders_and_odd_values() {
    let mut query = query("a\\010b.", 65_280);
    query.qclass = 3;
    query.respond_rcode(Rcode(3841));
    check(
        "log . \"{type} {class} {name} {rcode} {nope} {>id\"",
        query,
        &["[INFO] TYPE65280 CH a\\010b. 3841 {nope} {>id"],
    );
}

#[test]
fn wrong_lines_are_refused() {
    for (lines, expect) in [
        ("log {\n class abracadabra\n}", "invalid Class: abracadabra"),
        (
            "log {\n class\n}",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'class'",
        ),
        (
            "log {\n unknown\n}",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'unknown'",
        ),
        (
            "log a..b",
            "Corefile:2 - Error during parsing: 'a..b' is not a domain name",
        ),
    ] {
        assert_eq!(set_up_error::<Log>("log", lines), expect);
    }
}

proptest! {
    #[test]
    fn the_line_is_that_of_the_format(
        labels in proptest::collection::vec("[a-zA-Z0-9_-]{1,20}", 0..6),
        qtype in prop_oneof![Just(1u16), Just(28), Just(65), 0u16..400],
        peer: SocketAddr, is_tcp: bool, shows_opcode: bool,
        octets in 0usize..70_000, id: u16, opcode in 0u16..16, dnssec_ok: bool, reply_octets in 0usize..70_000,
        spent_ns in prop_oneof![0u64..2_000_000, 0u64..2_000_000_000, Just(1_000_000_000), Just(1_000)],
        rcode: u16, flags: u16,
    ) {
        let name = NameBuf::from_text(&format!("{}.", labels.join("."))).unwrap();
        let facts = Facts {
            name: name.as_wire(),
            qtype,
            qclass: 1,
            proto: if is_tcp { Proto::Tcp } else { Proto::Udp },
            octets,
            peer,
            local: peer,
            id,
            opcode,
            dnssec_ok,
            size_limit: 4096,
            spent_ns,
            rcode: Some(Rcode(rcode)),
            reply_flags: Some(flags),
            reply_octets,
            meta: None,
        };
        let format = Format::parse_log(if shows_opcode { "{combined}" } else { "{common}" });
        prop_assert_eq!(format.is_ready(), Some(shows_opcode));
        let mut expected = String::new();
        format.render(&facts, &mut expected).unwrap();
        match facts.line(shows_opcode) {
            Some(line) => prop_assert_eq!(line.to_string(), expected),
            None => prop_assert!(octets > usize::from(u16::MAX)),
        }
    }
}
