//! Rules about EDNS options.

use std::net::SocketAddr;

use super::super::*;
use super::open;
use crate::plugin::Proto;
use crate::testing::Host;
use crate::testing::directive::query;
use crate::wire::edns::{Edns, option};
use crate::wire::types;

/// The options that the next plugin sees; `before` has the client's.
fn options(lines: &str, before: &[(u16, &[u8])], change: impl FnOnce(&mut Query)) -> Edns {
    let mut query = query("Example.org.", types::AAAA);
    if !before.is_empty() {
        query.edns.ensure(1232);
    }
    before
        .iter()
        .for_each(|(code, data)| query.edns.push(*code, data));
    change(&mut query);
    open(lines).on_query(&mut query);
    query.edns.clone()
}

fn check_options(lines: &str, before: &[(u16, &[u8])], expect: &[(u16, &[u8])]) {
    let edns = options(lines, before, |_| {});
    assert_eq!(edns.iter().collect::<Vec<_>>(), expect, "{lines}");
}

#[test]
fn local_options() {
    check_options(
        "rewrite edns0 local set 0xffee 0x61626364",
        &[],
        &[(0xffee, b"abcd")],
    );
    check_options(
        "rewrite edns0 local set 65518 abcd",
        &[(0xffee, b"x"), (10, b"y")],
        &[(0xffee, b"abcd"), (10, b"y")],
    );
    check_options(
        "rewrite edns0 local append 0xffee b",
        &[(0xffee, b"a")],
        &[(0xffee, b"a"), (0xffee, b"b")],
    );
    check_options(
        "rewrite edns0 local replace 0xffee b",
        &[(0xffee, b"a")],
        &[(0xffee, b"b")],
    );
    check_options(
        "rewrite edns0 local replace 0xffee b",
        &[(10, b"a")],
        &[(10, b"a")],
    );
    check_options(
        "rewrite edns0 local unset 0xffee",
        &[(0xffee, b"a"), (10, b"y")],
        &[(10, b"y")],
    );
    check_options("rewrite edns0 local unset 0xffee", &[], &[]);
    let added = options("rewrite edns0 local set 0xffee a", &[], |_| {});
    assert_eq!(
        (added.present, added.udp_size, added.flags),
        (true, 4096, 0)
    );
    assert!(!options("rewrite edns0 local unset 0xffee", &[], |_| {}).present);
}

#[test]
fn a_rule_that_changes_nothing_does_not_stop() {
    let lines = "rewrite edns0 local replace 0xffee x\nrewrite edns0 local set 0xffed y";
    check_options(lines, &[], &[(0xffed, b"y")]);
}

#[test]
fn variables() {
    let check = |variable: &str, expect: &[u8]| {
        let edns = options(
            &format!("rewrite edns0 local set 0xffee {variable}"),
            &[],
            |query| {
                query.local = "127.0.0.1:5353".parse::<SocketAddr>().unwrap().into();
                query.meta.enabled = true;
                query.meta.set("geoip/city/name", || "Berlin".into());
                query.proto = Proto::Tcp;
            },
        );
        assert_eq!(
            edns.find(0xffee),
            (!expect.is_empty()).then_some(expect),
            "{variable}"
        );
        assert_eq!(edns.present, !expect.is_empty(), "{variable}");
    };
    check("{qname}", b"Example.org.");
    check("{qtype}", &[0, 28]);
    check("{client_ip}", &[10, 240, 0, 1]);
    check("{client_port}", &40212_u16.to_be_bytes());
    check("{protocol}", b"tcp");
    check("{server_ip}", &[127, 0, 0, 1]);
    check("{server_port}", &5353_u16.to_be_bytes());
    check("{geoip/city/name}", b"Berlin");
    check("{no/such}", b"");
    check_options(
        "rewrite edns0 local append 0xffee {protocol}",
        &[(0xffee, b"a")],
        &[(0xffee, b"a")],
    );
    let renamed = "rewrite continue name example.org b\nrewrite edns0 local set 0xffee {qname}";
    check_options(renamed, &[], &[(0xffee, b"b.")]);
}

#[test]
fn nsid_and_subnet() {
    check_options("rewrite edns0 nsid set", &[], &[(option::NSID, b"")]);
    check_options(
        "rewrite edns0 nsid replace",
        &[(option::NSID, b"x")],
        &[(option::NSID, b"")],
    );
    check_options("rewrite edns0 nsid unset", &[(option::NSID, b"")], &[]);
    check_options(
        "rewrite edns0 subnet set 20 56",
        &[],
        &[(8, &[0, 1, 20, 0, 10, 240, 0])],
    );
    check_options("rewrite edns0 subnet set 0 0", &[], &[(8, &[0, 1, 0, 0])]);
    check_options(
        "rewrite edns0 subnet set 10 0",
        &[],
        &[(8, &[0, 1, 10, 0, 10, 192])],
    );
    check_options(
        "rewrite edns0 subnet append 24 56",
        &[(8, b"xxxx")],
        &[(8, b"xxxx")],
    );
    check_options("rewrite edns0 subnet unset", &[(8, b"xxxx")], &[]);
    let v6 = options("rewrite edns0 subnet set 24 36", &[], |query| {
        query.peer = "[2001:db8:ffff::1]:53"
            .parse::<SocketAddr>()
            .unwrap()
            .into();
    });
    assert_eq!(
        v6.find(8),
        Some(&[0, 2, 36, 0, 0x20, 1, 0x0d, 0xb8, 0xf0][..])
    );
}

#[test]
fn options_are_turned_back_with_revert() {
    let pass = |lines: &str, before: &[(u16, &[u8])]| {
        let plugin = open(lines);
        let mut query = query("a.", types::A);
        query.edns.ensure(1232);
        before
            .iter()
            .for_each(|(code, data)| query.edns.push(*code, data));
        plugin.on_query(&mut query);
        let sent = query.edns.clone();
        query.respond().edns = sent;
        plugin.on_reply(&mut query);
        let list = |edns: &Edns| {
            edns.iter()
                .map(|(code, data)| (code, data.to_vec()))
                .collect::<Vec<_>>()
        };
        assert_eq!(list(&query.edns), list(&query.reply.edns), "{lines}");
        list(&query.edns)
    };
    assert_eq!(pass("rewrite edns0 local set 0xffee new revert", &[]), []);
    assert_eq!(
        pass(
            "rewrite edns0 local set 0xffee new revert",
            &[(0xffee, b"old")]
        ),
        [(0xffee, b"old".to_vec())]
    );
    assert_eq!(
        pass("rewrite edns0 local set 0xffee new", &[(0xffee, b"old")]),
        [(0xffee, b"new".to_vec())]
    );
    assert_eq!(pass("rewrite edns0 subnet set 24 56 revert", &[]), []);
    assert_eq!(pass("rewrite edns0 nsid set revert", &[]), []);
    // A reply without OPT record is no trouble.
    let plugin = open("rewrite edns0 local set 0xffee new revert");
    let mut query = query("a.", types::A);
    plugin.on_query(&mut query);
    query.respond();
    plugin.on_reply(&mut query);
    assert!(!query.edns.present && !query.reply.edns.present);
}

#[test]
fn local_codes_are_echoed() {
    let corefile = ".:53 {\n rewrite edns0 local set 65518 0x61\n whoami\n}\n";
    let host = Host::new(corefile).unwrap();
    assert_eq!(
        host.ask("a. A bufsize=1232").opt,
        Some((1232, false, vec![(65518, b"a".to_vec())]))
    );
    // A client without EDNS gets none, although the plugins saw some.
    assert_eq!(host.ask("a. A").opt, None);
}
