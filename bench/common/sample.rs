//! Messages and names that the benches work on.

use std::fmt::Write;

use percoredns::wire::name::NameBuf;

/// A query for an A record of `name` as dig sends it: RD and AD, an OPT record with a client cookie.
pub fn query(name: &str) -> Vec<u8> {
    query_for(name, 1)
}

/// The same for records of another type.
pub fn query_for(name: &str, qtype: u8) -> Vec<u8> {
    let mut message = b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\x01".to_vec();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, qtype, 0, 1]);
    message.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08COOKIE42");
    message
}

/// The name most asked in a cluster looks like this: long, many labels, not lower case everywhere.
pub const LONG_NAME: &str =
    "Payments-api.checkout-production.svc.cluster.local.eu-central-1.compute.internal";
/// And this is a usual one.
pub const NAME: &str = "www.example.org";

/// `count` different hosts of example.org in a random but repeatable order, so that neighbours in the order are none in memory.
pub fn shuffled_hosts(count: usize) -> Vec<NameBuf> {
    // A step that shares no factor with the count visits each host once; this prime shares none with round numbers.
    let host = |n: usize| format!("h{:07}.example.org", n * 7_368_787 % count);
    (0..count)
        .map(|n| NameBuf::from_text(&host(n)).expect("a valid name"))
        .collect()
}

/// A query for each of `count` hosts, in the order of [`shuffled_hosts`].
pub fn queries(count: usize) -> Vec<Vec<u8>> {
    shuffled_hosts(count)
        .iter()
        .map(|name| query(&name.to_string()))
        .collect()
}

/// A zone file for example.org with `hosts` hosts that have one address each.
pub fn zone_text(hosts: usize) -> String {
    let mut text = "$ORIGIN example.org.\n$TTL 86400\n@ IN SOA ns1 admin 1 7200 3600 86400 300\n@ IN NS ns1\nns1 IN A 192.0.2.1\n".to_owned();
    for n in 0..hosts {
        let [_, a, b, c] = (n as u32).to_be_bytes();
        writeln!(text, "h{n:07} IN A 10.{a}.{b}.{c}").expect("a String takes all");
    }
    text
}

/// The same hosts as lines of a hosts file.
pub fn hosts_text(hosts: usize) -> String {
    let mut text = String::new();
    for n in 0..hosts {
        let [_, a, b, c] = (n as u32).to_be_bytes();
        writeln!(text, "10.{a}.{b}.{c} h{n:07}.example.org").expect("a String takes all");
    }
    text
}
