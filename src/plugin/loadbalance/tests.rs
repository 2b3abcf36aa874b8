//! Tests of *loadbalance*.

use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::telemetry::log::capture;
use crate::testing::directive::{Directive, query, set_up, set_up_error};
use crate::testing::files::Dir;
use crate::testing::{Host, check_seen};
use crate::wire::reply::Question;

const NAME: &[u8] = b"\x01a\x01x\0";

/// Records as `section type last-octet`, for example `an A 1`.
fn push(query: &mut Query, records: &str) {
    let reply = &mut query.reply;
    for record in records.split(", ").filter(|record| !record.is_empty()) {
        let words: Vec<&str> = record.split(' ').collect();
        let section = match words[0] {
            "an" => Section::Answer,
            "au" => Section::Authority,
            _ => Section::Additional,
        };
        let last: u8 = words[2].parse().unwrap();
        let (rtype, rdata) = match words[1] {
            "A" => (types::A, vec![192, 0, 2, last]),
            "AAAA" => (
                types::AAAA,
                [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[last]].concat(),
            ),
            "MX" => (types::MX, vec![0, last, 1, b'm', 0]),
            "CNAME" => (types::CNAME, vec![1, b'a' + last, 0]),
            "NS" => (types::NS, vec![1, b'a' + last, 0]),
            other => panic!("{other}"),
        };
        reply.push(section, NAME, rtype, 1, 60, &rdata);
    }
}

fn show(reply: &Reply) -> String {
    let name = |record: &Record| {
        let section = ["an", "au", "ad"][record.section as usize];
        let rdata = reply.rdata(record);
        let last = match record.rtype {
            types::MX => rdata[1],
            types::CNAME | types::NS => rdata[1] - b'a',
            _ => rdata[rdata.len() - 1],
        };
        format!("{section} {} {last}", types::Type(record.rtype))
    };
    reply
        .records()
        .iter()
        .map(name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Runs the plugin over the reply so often and counts what came out.
fn outcomes(
    plugin: &Loadbalance,
    qtype: u16,
    records: &str,
    runs: usize,
) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for _ in 0..runs {
        let mut query = query("a.x", qtype);
        query.respond();
        push(&mut query, records);
        plugin.on_reply(&mut query);
        *seen.entry(show(&query.reply)).or_insert(0) += 1;
    }
    seen
}

fn plugin(lines: &str) -> Loadbalance {
    let directive: Directive<Loadbalance> =
        set_up("loadbalance", lines).unwrap_or_else(|error| panic!("{error}"));
    directive.open(&["loadbalance"])
}

#[test]
fn addresses_come_in_any_order() {
    for lines in ["loadbalance", "loadbalance round_robin"] {
        let seen = outcomes(&plugin(lines), types::A, "an A 1, an A 2, an A 3", 1200);
        assert_eq!(seen.len(), 6, "{seen:?}");
        assert!(
            seen.values().all(|count| (120..=280).contains(count)),
            "{seen:?}"
        );
        let seen = outcomes(&plugin(lines), types::A, "an A 1, an A 2", 400);
        assert!(
            seen.len() == 2 && seen.values().all(|count| *count > 120),
            "{seen:?}"
        );
    }
}

#[test]
fn groups_have_their_order() {
    let plugin = plugin("loadbalance");
    let only = |records: &str, expect: &str| {
        let seen = outcomes(&plugin, types::A, records, 20);
        assert_eq!(seen.into_keys().collect::<Vec<_>>(), [expect]);
    };
    only(
        "an A 1, an NS 2, an CNAME 3, an NS 1, an CNAME 1",
        "an CNAME 3, an CNAME 1, an NS 2, an NS 1, an A 1",
    );
    only(
        "an MX 1, an A 1, ad NS 1, au NS 3, au NS 2",
        "an A 1, an MX 1, au NS 3, au NS 2, ad NS 1",
    );
    only("", "");
    let seen = outcomes(
        &plugin,
        types::MX,
        "an MX 1, an MX 2, au NS 1, ad A 1, ad AAAA 1",
        200,
    );
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(
        seen.contains_key("an MX 2, an MX 1, au NS 1, ad AAAA 1, ad A 1"),
        "{seen:?}"
    );
}

#[test]
fn errors_transfers_and_what_nobody_wrote_stay() {
    let plugin = plugin("loadbalance");
    let records = "an A 1, an A 2, an A 3, an A 4, an A 5";
    for qtype in [types::AXFR, types::IXFR] {
        assert_eq!(outcomes(&plugin, qtype, records, 50).len(), 1);
    }
    let mut query = query("a.x", types::A);
    for _ in 0..50 {
        query.respond_rcode(Rcode::NXDOMAIN);
        push(&mut query, records);
        plugin.on_reply(&mut query);
        assert_eq!(show(&query.reply), records);
        query.unwritten(Rcode::SERVFAIL);
        plugin.on_reply(&mut query);
        assert_eq!(show(&query.reply), records);
    }
}

#[test]
fn stored_answers_are_shuffled_too() {
    let plugin = plugin("loadbalance");
    let store = |records: &str| {
        let mut stored = query("a.x", types::A);
        stored.respond();
        push(&mut stored, records);
        let question = Question {
            name: NAME,
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
    let mut one = store("an A 1, au NS 1, ad A 2");
    plugin.on_reply(&mut one);
    assert!(one.reply.packed().is_some(), "opened for nothing");
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let mut two = store("an A 1, an A 2");
        plugin.on_reply(&mut two);
        seen.insert(show(&two.reply));
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn preferred_networks_come_first() {
    let plugin =
        plugin("loadbalance {\n prefer 192.0.2.4/31 2001:db8::/32\n prefer 192.0.2.1/32\n}");
    let seen = outcomes(
        &plugin,
        types::A,
        "an NS 7, an A 1, an AAAA 2, an A 4, an A 9, an CNAME 1",
        20,
    );
    assert_eq!(
        seen.into_keys().collect::<Vec<_>>(),
        ["an CNAME 1, an A 4, an AAAA 2, an A 1, an A 9, an NS 7"]
    );
    // Within a network the order is any.
    let seen = outcomes(&plugin, types::A, "an A 4, an A 5, an A 9", 100);
    assert_eq!(
        seen.into_keys().collect::<Vec<_>>(),
        ["an A 4, an A 5, an A 9", "an A 5, an A 4, an A 9"]
    );
    let seen = outcomes(&plugin, types::A, "ad A 9, ad A 1", 50);
    assert_eq!(seen.into_keys().collect::<Vec<_>>(), ["ad A 1, ad A 9"]);
}

const WEIGHTS: &str = "# weights
A.x
192.0.2.1 9
  2001:db8::2   4

b.x.
192.0.2.2 200
";

#[test]
fn weights_draw_the_first_address() {
    let dir = Dir::new();
    let file = dir.write("weights", WEIGHTS);
    let plugin = plugin(&format!("loadbalance weighted {file}"));
    let seen = outcomes(&plugin, types::A, "an A 2, an A 1, an CNAME 1", 2000);
    let first = seen.get("an CNAME 1, an A 1, an A 2").copied().unwrap_or(0);
    // Nine of ten, since an address without a weight has 1.
    assert!(
        seen.len() == 2 && (1740..=1860).contains(&first),
        "{seen:?}"
    );
    let seen = outcomes(&plugin, types::SRV, "an MX 1, ad A 3, ad AAAA 2", 1000);
    let first = seen.get("an MX 1, ad AAAA 2, ad A 3").copied().unwrap_or(0);
    assert!(seen.len() == 2 && (730..=870).contains(&first), "{seen:?}");
    // Other types, and sections without addresses, stay as they are.
    assert_eq!(
        outcomes(&plugin, types::MX, "an MX 1, ad A 3, ad A 1", 50).len(),
        1
    );
    assert_eq!(
        outcomes(&plugin, types::A, "an MX 1, an CNAME 2, au A 1, au A 2", 50)
            .into_keys()
            .collect::<Vec<_>>(),
        ["an MX 1, an CNAME 2, au A 1, au A 2"]
    );
}

#[test]
fn a_changed_weight_file_is_read_again() {
    let dir = Dir::new();
    let file = dir.write("weights", "a.x\n192.0.2.1 255\n");
    let line = format!("[INFO] plugin/loadbalance: Successfully reloaded weight file {file}");
    let mut directive = None;
    let lines = capture::lines(|| {
        let set_up = set_up::<Loadbalance>(
            "loadbalance",
            &format!("loadbalance weighted {file} {{\n reload 5s\n}}"),
        );
        directive = set_up.ok();
    });
    assert_eq!(lines, [line.as_str()]);
    let mut directive = directive.unwrap();
    let mut work = directive.life.periodic.pop().unwrap();
    assert_eq!(work.interval.as_secs(), 5);
    let mut reload = || capture::lines(|| (work.work)());
    assert_eq!(reload(), Vec::<String>::new());
    dir.write("weights", "a.x\n192.0.2.2 255\n");
    assert_eq!(reload(), [line.as_str()]);
    let plugin = directive.open(&["loadbalance"]);
    let seen = outcomes(&plugin, types::A, "an A 1, an A 2", 400);
    assert!(
        seen.get("an A 2, an A 1").copied().unwrap_or(0) > 380,
        "{seen:?}"
    );
    dir.write("weights", "a.x\n192.0.2.2 256\n");
    let wrong =
        format!("[ERROR] plugin/loadbalance: wrong weight value:\"256\" in weight file {file}");
    assert_eq!(reload(), [wrong]);
    assert_eq!(reload(), Vec::<String>::new());
    fs::remove_file(&file).unwrap();
    assert_eq!(
        reload(),
        [format!(
            "[ERROR] plugin/loadbalance: weight file open error: {file}"
        )]
    );
    let seen = outcomes(&plugin, types::A, "an A 1, an A 2", 400);
    assert!(
        seen.get("an A 2, an A 1").copied().unwrap_or(0) > 380,
        "{seen:?}"
    );
}

#[test]
fn a_weight_file_that_is_missing_may_come_later() {
    let lines = capture::lines(|| {
        let directive: Directive<Loadbalance> =
            set_up("loadbalance", "loadbalance weighted /nonexistent").unwrap();
        assert_eq!(directive.life.periodic[0].interval.as_secs(), 30);
    });
    assert_eq!(
        lines,
        [
            "[WARNING] plugin/loadbalance: Failed to open weight file:weight file open error. Will try again in 30s"
        ]
    );
    let error = set_up_error::<Loadbalance>(
        "loadbalance",
        "loadbalance weighted /nonexistent {\n reload 0s\n}",
    );
    assert_eq!(error, "weight file open error: /nonexistent");
}

#[test]
fn a_relative_weight_file_is_below_root() {
    let dir = Dir::new();
    dir.write("w", WEIGHTS);
    let text = format!(
        ".:53 {{\n root {}\n loadbalance weighted w\n whoami\n}}\n",
        dir.path().display()
    );
    let host = Host::new(&text).unwrap_or_else(|error| panic!("{error}"));
    check_seen(&host.ask("a.x A"), "", "rcode: NOERROR");
}

#[test]
fn wrong_weight_files_are_refused() {
    let dir = Dir::new();
    for (text, expect) in [
        (
            "192.0.2.1\n",
            "wrong domain name:\"192.0.2.1\" in weight file FILE. (Maybe a missing weight value?)",
        ),
        (
            "a..x\n",
            "wrong domain name:\"a..x\" in weight file FILE. (Maybe a missing weight value?)",
        ),
        (
            "a.x\n192.0.2 1\n",
            "wrong IP address:\"192.0.2\" in weight file FILE",
        ),
        (
            "a.x\n192.0.2.1 0\n",
            "wrong weight value:\"0\" in weight file FILE",
        ),
        (
            "a.x\n192.0.2.1 -1\n",
            "wrong weight value:\"-1\" in weight file FILE",
        ),
        ("192.0.2.1 1\n", "missing domain name in weight file FILE"),
        (
            "a.x\n192.0.2.1 1 # one\n",
            "could not parse weight line:\"192.0.2.1 1 # one\" in weight file FILE",
        ),
    ] {
        let file = dir.write("weights", text);
        let error =
            set_up_error::<Loadbalance>("loadbalance", &format!("loadbalance weighted {file}"));
        assert_eq!(error, expect.replace("FILE", &file));
    }
}

#[test]
fn wrong_lines_are_refused() {
    let at = |line: u32, what: &str| format!("Corefile:{line} - Error during parsing: {what}");
    for (lines, expect) in [
        ("loadbalance random", "unknown policy: random".to_owned()),
        (
            "loadbalance round_robin x",
            at(2, "unknown property for round_robin"),
        ),
        (
            "loadbalance weighted",
            at(2, "missing weight file argument"),
        ),
        ("loadbalance weighted a b", at(2, "unexpected argument(s)")),
        (
            "loadbalance weighted a {\n reload\n}",
            at(3, "reload duration value is missing"),
        ),
        (
            "loadbalance weighted a {\n reload 1s 2s\n}",
            at(3, "unexpected argument"),
        ),
        (
            "loadbalance weighted a {\n reload 1\n}",
            at(3, "invalid reload duration '1'"),
        ),
        (
            "loadbalance weighted a {\n reload -1s\n}",
            at(3, "invalid reload duration '-1s'"),
        ),
        (
            "loadbalance weighted a {\n prefer 10.0.0.0/8\n}",
            at(3, "unknown property 'prefer'"),
        ),
        (
            "loadbalance {\n reload 1s\n}",
            at(3, "unknown property 'reload'"),
        ),
        (
            "loadbalance {\n prefer 10.0.0.0\n}",
            at(
                3,
                "invalid CIDR \"10.0.0.0\": invalid CIDR address: 10.0.0.0",
            ),
        ),
    ] {
        assert_eq!(
            set_up_error::<Loadbalance>("loadbalance", lines),
            expect,
            "{lines}"
        );
    }
}
