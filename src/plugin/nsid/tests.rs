//! Tests of *nsid*.

use super::*;
use crate::testing::Host;
use crate::testing::directive::{query, set_up, set_up_error};
use crate::transport::interfaces;
use crate::wire::types;

fn options(lines: &str, query: &str) -> Option<Vec<(u16, Vec<u8>)>> {
    let host = Host::new(&format!(".:53 {{\n {lines}\n whoami\n}}\n"));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    host.ask(query).opt.map(|opt| opt.2)
}

#[test]
fn who_asks_is_told() {
    let told = |text: &str| Some(vec![(option::NSID, text.as_bytes().to_vec())]);
    assert_eq!(options("nsid ns1", "a.x A opt=3:"), told("ns1"));
    assert_eq!(options("nsid ns1", "a.x A opt=3: +tcp"), told("ns1"));
    assert_eq!(
        options("nsid rack 7 unit 3", "a.x A opt=3:"),
        told("rack 7 unit 3")
    );
    assert_eq!(options("nsid \"\"", "a.x A opt=3:"), told(""));
    let name = interfaces::hostname();
    assert_eq!(options("nsid", "a.x A opt=3: +do"), told(&name));
}

#[test]
fn who_does_not_ask_is_not_told() {
    assert_eq!(options("nsid ns1", "a.x A"), None);
    assert_eq!(options("nsid ns1", "a.x A bufsize=1232"), Some(vec![]));
    assert_eq!(
        options("nsid ns1", "a.x A opt=10:0102030405060708"),
        Some(vec![(option::COOKIE, vec![1, 2, 3, 4, 5, 6, 7, 8])])
    );
}

#[test]
fn another_servers_id_is_replaced() {
    let plugin = set_up::<Nsid>("nsid", "nsid mine").unwrap().open(&["nsid"]);
    let mut query = query("a.x", types::A);
    query.edns.ensure(1232);
    query.edns.push(option::NSID, &[]);
    plugin.on_reply(&mut query);
    assert!(!query.reply.edns.present, "nothing was written");
    let reply = query.respond();
    reply.edns.ensure(1232);
    reply.edns.push(option::EDE, &[0, 3]);
    reply.edns.push(option::NSID, b"theirs");
    plugin.on_reply(&mut query);
    let options: Vec<_> = query.reply.edns.iter().collect();
    assert_eq!(
        options,
        [(option::EDE, &[0, 3][..]), (option::NSID, b"mine")]
    );
}

#[test]
fn it_stands_once() {
    assert_eq!(
        set_up_error::<Nsid>("nsid", "nsid a\nnsid b"),
        "this plugin can only be used once per Server Block"
    );
}
