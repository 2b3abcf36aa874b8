//! What is the same on every transport: answers, and what is refused before any plugin has seen it.

pub mod clients;

use std::net::SocketAddr;

use percoredns::testing::authority::Authority;

use crate::client::query;
use crate::server::{Folder, Server};
use clients::{Got, Transport, ask};

/// A server with a listener for each transport.
struct World {
    server: Server,
    authority: Authority,
}

impl World {
    fn start(runtime: &str, lines: &str) -> World {
        let authority = Authority::new();
        let (cert, key) = authority.server("dns", &["dns.test"]);
        let folder = Folder::new();
        folder.write("db", include_str!("../../data/example/db.example.org"));
        let keys = ".:0 tls://.:0 https://.:0 https3://.:0 quic://.:0 grpc://.:0";
        let corefile = format!("{keys} {{\n tls {cert} {key}\n {lines}\n}}\n");
        let server = Server::with(folder, &corefile, |command| {
            command.args(["-runtime", runtime]);
        });
        World { server, authority }
    }

    fn ask(&self, transport: Transport, host: &str, message: &[u8]) -> Got {
        let prefix = transport.key().trim_end_matches('0');
        let to = SocketAddr::new(host.parse().unwrap(), self.server.addr(prefix).port());
        ask(transport, to, &self.authority, message)
    }
}

/// Answers whatever is below test.
const TEMPLATE: &str = "template ANY ANY test {\n answer \"{{ .Name }} 60 IN A 192.0.2.7\"\n }";

/// The server answers each of these in the same way, whatever carries them.
const BATTERY: &[&str] = &[
    "example.org SOA",
    "example.org MX +do",
    "www.example.org A",
    "WWW.Example.ORG A bufsize=1232",
    "www.example.org AAAA bufsize=4096",
    "nothing.example.org TXT",
    "nothing.example.org TXT +do",
    "deep.wild.example.org A",
    "example.org ANY",
    "probe.test A",
    "version.bind TXT class=CH",
    "elsewhere.test A -rd",
];

#[test]
fn every_transport_gives_the_same_octets() {
    for runtime in ["auto", "epoll"] {
        let lines = format!("file db example.org\n {TEMPLATE}");
        let world = World::start(runtime, &lines);
        for host in ["127.0.0.1", "::1"] {
            for text in BATTERY {
                let message = query(0, text);
                let Got::Reply(plain) = world.ask(Transport::Udp, host, &message) else {
                    panic!("{text}: no reply over UDP");
                };
                for transport in Transport::ALL {
                    let got = world.ask(transport, host, &message);
                    assert_eq!(
                        got,
                        Got::Reply(plain.clone()),
                        "{text} over {transport:?} to {host}"
                    );
                }
            }
        }
    }
}

/// A message with one thing that is not as it should be.
fn spoilt(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = query(0, "probe.test A bufsize=1232");
    change(&mut message);
    message
}

/// What is no query that a server takes: bare transports give the reply of UDP, the others an error of their own.
fn rejected() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("QR", spoilt(|message| message[2] |= 0x80)),
        ("opcode IQUERY", spoilt(|message| message[2] |= 1 << 3)),
        ("opcode STATUS", spoilt(|message| message[2] |= 2 << 3)),
        ("opcode UPDATE", spoilt(|message| message[2] |= 5 << 3)),
        ("opcode DSO", spoilt(|message| message[2] |= 6 << 3)),
        ("no question", spoilt(|message| message[5] = 0)),
        ("two questions", spoilt(|message| message[5] = 2)),
        (
            "65,535 questions",
            spoilt(|message| message[4..6].fill(0xff)),
        ),
        ("two answers", spoilt(|message| message[7] = 2)),
        ("65,535 answers", spoilt(|message| message[6..8].fill(0xff))),
        ("two authorities", spoilt(|message| message[9] = 2)),
        ("three additionals", spoilt(|message| message[11] = 3)),
        ("half a header", spoilt(|message| message.truncate(7))),
        ("half a name", spoilt(|message| message.truncate(16))),
        (
            "a name that points ahead",
            spoilt(|message| message[12] = 0xc0),
        ),
        (
            "half an OPT record",
            spoilt(|message| message.truncate(message.len() - 3)),
        ),
        (
            "an OPT record that lies",
            spoilt(|message| *message.last_mut().unwrap() = 9),
        ),
    ]
}

/// What is a query, though none that gets an answer: the reply is the same everywhere.
fn answered() -> Vec<(&'static str, Vec<u8>)> {
    let opt = |message: &mut Vec<u8>, option: &[u8]| {
        *message.last_mut().unwrap() = option.len() as u8;
        message.extend_from_slice(option);
    };
    vec![
        ("opcode NOTIFY", spoilt(|message| message[2] |= 4 << 3)),
        ("EDNS version 1", {
            spoilt(|message| {
                let at = message.len() - 5;
                message[at] = 1;
            })
        }),
        (
            "a cookie of 9 octets",
            spoilt(|message| opt(message, &[0, 10, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9])),
        ),
        (
            "a cookie of 8 octets",
            spoilt(|message| opt(message, &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])),
        ),
        (
            "an unknown option",
            spoilt(|message| opt(message, &[0xff, 0, 0, 1, 7])),
        ),
        ("class HS", {
            spoilt(|message| {
                let at = message.len() - 12;
                message[at] = 4;
            })
        }),
        ("another zone's", query(0, "elsewhere.example A")),
        ("blocked by acl", query(0, "blocked.test A")),
    ]
}

#[test]
fn admission_is_the_same_on_every_transport() {
    let acl = "acl blocked.test {\n block\n }\n acl dropped.test {\n drop\n }";
    let lines = format!("{acl}\n {TEMPLATE}");
    for runtime in ["auto", "epoll"] {
        let world = World::start(runtime, &lines);
        let check = |what: &str, message: &[u8], is_refused: bool| {
            let plain = world.ask(Transport::Udp, "127.0.0.1", message);
            for transport in Transport::ALL {
                let got = world.ask(transport, "127.0.0.1", message);
                if is_refused && !transport.is_bare() {
                    assert!(
                        matches!(got, Got::Refused(_)),
                        "{what} over {transport:?}: {got:?}"
                    );
                } else {
                    assert_eq!(got, plain, "{what} over {transport:?}");
                }
            }
        };
        for (what, message) in rejected() {
            check(what, &message, true);
        }
        for (what, message) in answered() {
            check(what, &message, false);
        }
        // A plugin wants no reply: no octet where there is nothing else, and an error where there must be an end.
        check("dropped by acl", &query(0, "dropped.test A"), true);
    }
}
