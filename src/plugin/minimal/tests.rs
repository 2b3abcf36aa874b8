//! Tests of *minimal*.

use super::*;
use crate::testing::check;
use crate::testing::directive::{query, set_up, set_up_error};
use crate::testing::files::Dir;
use crate::wire::edns::option;
use crate::wire::types;

const ZONE: &str = "$ORIGIN x.
@ 60 SOA ns h 1 2 3 4 5
@ 60 NS ns
ns 60 A 192.0.2.1
a 60 A 192.0.2.2
@ 60 MX 1 ns
sub 60 NS ns.sub
ns.sub 60 A 192.0.2.3
";

#[test]
fn only_the_answer_stays() {
    let dir = Dir::new();
    let file = dir.write("zone", ZONE);
    let text = format!("x:53 {{\n minimal\n file {file}\n}}\n");
    for query in [
        "a.x A",
        "a.x A +tcp",
        "a.x A bufsize=1232",
        "a.x A +do from=2001:db8::1",
    ] {
        check(
            &text,
            query,
            "rcode: NOERROR\nflags: qr aa rd\nanswer: a.x. 60 IN A 192.0.2.2\nauthority:\nadditional:",
        );
    }
    check(
        &text,
        "x MX",
        "answer: x. 60 IN MX 1 ns.x.\nauthority:\nadditional:",
    );
    // What denies or refers is needed whole.
    check(
        &text,
        "b.x A",
        "rcode: NXDOMAIN\nauthority: x. 60 IN SOA ns.x. h.x. 1 2 3 4 5",
    );
    check(
        &text,
        "a.x TXT",
        "rcode: NOERROR\nauthority: x. 60 IN SOA ns.x. h.x. 1 2 3 4 5",
    );
    check(
        &text,
        "a.sub.x A",
        "rcode: NOERROR
         answer:
         authority: sub.x. 60 IN NS ns.sub.x.
         additional: ns.sub.x. 60 IN A 192.0.2.3",
    );
    check(
        ".:53 {\n minimal\n whoami\n}\n",
        "a.x A",
        "rcode: NOERROR\nadditional:",
    );
}

#[test]
fn options_of_the_reply_go() {
    let plugin = set_up::<Minimal>("minimal", "minimal")
        .unwrap()
        .open(&["minimal"]);
    let mut query = query("a.x", types::A);
    plugin.on_reply(&mut query);
    let reply = query.respond();
    reply.push(
        Section::Answer,
        b"\x01a\x01x\0",
        types::A,
        1,
        60,
        &[192, 0, 2, 1],
    );
    reply.edns.ensure(1232);
    reply.edns.push(option::EDE, &[0, 3]);
    plugin.on_reply(&mut query);
    assert!(!query.reply.edns.present);
    assert_eq!(query.reply.records().len(), 1);
}

#[test]
fn stored_answers_are_cut_too() {
    let plugin = set_up::<Minimal>("minimal", "minimal")
        .unwrap()
        .open(&["minimal"]);
    let store = |authority: bool| {
        let mut stored = query("a.x", types::A);
        let question = stored.asked().name.to_vec();
        let reply = stored.respond();
        reply.push(
            Section::Answer,
            b"\x01a\x01x\0",
            types::A,
            1,
            60,
            &[192, 0, 2, 1],
        );
        if authority {
            reply.push(
                Section::Authority,
                b"\x01x\0",
                types::NS,
                1,
                60,
                b"\x02ns\x01x\0",
            );
        }
        let question = crate::wire::reply::Question {
            name: &question,
            qtype: types::A,
            qclass: 1,
        };
        let mut octets = vec![0; 512];
        let len = stored.reply.pack(1, 0, &question, &mut octets).unwrap();
        octets.truncate(len);
        let mut query = query("a.x", types::A);
        query
            .respond()
            .set_packed(len, |out| out.extend_from_slice(&octets));
        query
    };
    let mut bare = store(false);
    plugin.on_reply(&mut bare);
    assert!(bare.reply.packed().is_some(), "opened for nothing");
    let mut full = store(true);
    plugin.on_reply(&mut full);
    assert_eq!(full.reply.records().len(), 1);
}

#[test]
fn takes_nothing() {
    for (lines, expect) in [
        (
            "minimal x",
            "Wrong argument count or unexpected line ending after 'x'",
        ),
        (
            "minimal {\n x\n}",
            "Unexpected token '{', expecting argument",
        ),
    ] {
        let expect = format!("Corefile:2 - Error during parsing: {expect}");
        assert_eq!(set_up_error::<Minimal>("minimal", lines), expect);
    }
}
