//! Tests of QUIC, with a client on a socket of its own.

mod client;
mod http3;
mod misuse;
mod proxied;
mod upstream;

use std::time::Duration;

use client::{Client, Got, Identity, Server, framed, query, with_options};
use quinn_proto::{ConnectionError, Dir};

use crate::runtime::{self, Backend};
use crate::server::quic::doq;
use crate::telemetry::metrics::registry;
use crate::wire::types;

/// Every backend that there is.
fn on_backends(check: impl Fn(Backend)) {
    check(Backend::Epoll);
    #[cfg(feature = "glommio")]
    match runtime::probe() {
        Ok(()) => check(Backend::Glommio),
        Err(refusal) => eprintln!("SKIPPED: no io_uring: {refusal}"),
    }
}

const HOSTS: &str = "hosts {\n 192.0.2.1 one.test\n 192.0.2.2 two.test\n fallthrough\n }\n whoami";

#[test]
fn queries_are_answered_whole_and_in_any_number() {
    on_backends(|backend| {
        let identity = Identity::new();
        let server = Server::start(backend, &identity, "quic://.:0", HOSTS, 1);
        let mut client = Client::connect(server.addr, identity.client_config("doq", false));
        let reply = client.ask(&query("one.test", types::A));
        assert_eq!(reply[..4], [0, 0, 0x85, 0]);
        assert!(reply.ends_with(&[192, 0, 2, 1]), "{reply:?}");
        // More than are granted at first, in rounds, in one packet or many.
        for round in 0..8 {
            let mut ids = Vec::new();
            while ids.len() < 200
                && let Some(id) = client.quic.streams().open(Dir::Bi)
            {
                client.write(id, &framed(&query("two.test", types::A)), true);
                ids.push(id);
            }
            assert!(ids.len() >= 8, "round {round}: {}", ids.len());
            for id in ids {
                assert!(client.reply(id).ends_with(&[192, 0, 2, 2]));
            }
        }
        client.until(|client| client.quic.streams().open(Dir::Bi).is_some());
        client.close();
        assert_eq!(server.stop(), 0);
    });
}

#[test]
fn replies_are_those_of_udp_but_not_cut() {
    let identity = Identity::new();
    let body = "erratic {\n large\n drop 0\n }";
    let server = Server::start(Backend::Epoll, &identity, "quic://.:0", body, 1);
    let mut client = Client::connect(server.addr, identity.client_config("doq", false));
    let reply = client.ask(&query("large.test", types::A));
    assert_eq!(reply[2] & 2, 0, "TC");
    assert_eq!(reply[7], 30);
    // With EDNS the reply has an OPT record, and padding is echoed or made, never an error.
    let padded = with_options(query("large.test", types::A), &[0, 12, 0, 4, 0, 0, 0, 0]);
    let reply = client.ask(&padded);
    assert_eq!((reply[3] & 15, reply[11]), (0, 1));
}

#[test]
fn late_replies_come_in_the_order_in_which_they_are_ready() {
    on_backends(|backend| {
        let identity = Identity::new();
        // The first of two waits.
        let body = "erratic {\n delay 2 100ms\n drop 0\n }";
        let server = Server::start(backend, &identity, "quic://.:0", body, 1);
        let mut client = Client::connect(server.addr, identity.client_config("doq", false));
        let late = client.open(Dir::Bi, &framed(&query("late.test", types::A)), true);
        let soon = client.open(Dir::Bi, &framed(&query("soon.test", types::A)), true);
        client.reply(soon);
        assert_eq!(client.got[&late], Got::default());
        assert!(client.reply(late).ends_with(&[192, 0, 2, 53]));
    });
}

#[test]
fn a_query_without_reply_resets_its_stream_alone() {
    let identity = Identity::new();
    let body = "erratic {\n drop 2\n }";
    let server = Server::start(Backend::Epoll, &identity, "quic://.:0", body, 1);
    let mut client = Client::connect(server.addr, identity.client_config("doq", false));
    let dropped = client.open(Dir::Bi, &framed(&query("a.test", types::A)), true);
    client.until(|client| client.got[&dropped].reset == Some(doq::code::INTERNAL_ERROR.into()));
    assert!(!client.ask(&query("a.test", types::A)).is_empty());
}

#[test]
fn a_connection_outlives_the_address_of_its_client() {
    on_backends(|backend| {
        let identity = Identity::new();
        let server = Server::start(backend, &identity, "quic://.:0", HOSTS, 4);
        for _ in 0..4 {
            let mut client = Client::connect(server.addr, identity.client_config("doq", false));
            for _ in 0..6 {
                client.socket = client::bound();
                let reply = client.ask(&query("one.test", types::A));
                assert!(reply.ends_with(&[192, 0, 2, 1]));
            }
            client.close();
        }
        assert_eq!(server.stop(), 0);
    });
}

#[test]
fn early_data_asks_queries_and_nothing_else() {
    on_backends(|backend| {
        let identity = Identity::new();
        let server = Server::start(backend, &identity, "quic://.:0", HOSTS, 2);
        let config = identity.client_config("doq", true);
        let mut first = Client::connect(server.addr, config.clone());
        first.ask(&query("one.test", types::A));
        first.close();
        let mut client = Client::new(server.addr, config);
        assert!(client.quic.has_0rtt(), "no ticket came");
        let early = client.open(Dir::Bi, &framed(&query("one.test", types::A)), true);
        let transfer = client.open(Dir::Bi, &framed(&query("one.test", types::AXFR)), true);
        let mut notify = query("one.test", types::SOA);
        notify[2] = 0x20;
        let notify = client.open(Dir::Bi, &framed(&notify), true);
        assert!(client.reply(early).ends_with(&[192, 0, 2, 1]));
        assert!(client.quic.accepted_0rtt());
        // They are answered too, after the handshake.
        client.reply(transfer);
        client.reply(notify);
        client.close();
        assert_eq!(server.stop(), 0);
    });
}

#[test]
fn what_must_wait_for_the_handshake() {
    assert!(doq::is_replayable(&query("a.test", types::A)));
    for qtype in [types::AXFR, types::IXFR] {
        assert!(!doq::is_replayable(&query("a.test", qtype)));
    }
    for opcode in 1..16 {
        let mut message = query("a.test", types::A);
        message[2] = opcode << 3;
        assert!(!doq::is_replayable(&message), "{opcode}");
    }
    assert!(!doq::is_replayable(&[]));
    assert!(!doq::is_replayable(&[0; 12]));
}

#[test]
fn a_listener_that_goes_ends_its_connections() {
    let identity = Identity::new();
    let server = Server::start(Backend::Epoll, &identity, "quic://.:0", HOSTS, 1);
    let mut client = Client::connect(server.addr, identity.client_config("doq", false));
    client.ask(&query("one.test", types::A));
    assert_eq!(server.stop(), 0);
    assert_eq!(client.close_code(), u64::from(doq::code::NO_ERROR));
}

fn refused_streams(reason: &str) -> f64 {
    registry()
        .value(
            "percoredns_quic_refused_streams_total",
            &[("reason", reason)],
        )
        .unwrap_or(0.0)
}

/// A datagram that makes the driver panic as a fault of ours would.
pub(super) const DIE: &[u8] = b"die";

#[test]
fn a_driver_that_panics_is_followed_by_another() {
    on_backends(|backend| {
        let identity = Identity::new();
        let server = Server::start(backend, &identity, "quic://.:0", HOSTS, 1);
        let config = identity.client_config("doq", false);
        let mut client = Client::connect(server.addr, config.clone());
        client.ask(&query("one.test", types::A));
        let panics = || registry().value("coredns_panics_total", &[]).unwrap_or(0.0);
        let before = panics();
        client.socket.send_to(DIE, server.addr).unwrap();
        // What a connection that is gone sends is answered by a stateless reset, which ends it at once.
        let id = client.quic.streams().open(Dir::Bi).unwrap();
        client.write(id, &framed(&query("one.test", types::A)), true);
        client.until(|client| client.lost == Some(ConnectionError::Reset));
        assert!(panics() > before);
        let mut next = Client::connect(server.addr, config.clone());
        assert!(
            next.ask(&query("one.test", types::A))
                .ends_with(&[192, 0, 2, 1])
        );
        next.close();
        // The counts of the driver that is gone are given back.
        assert_eq!(server.stop(), 0);
    });
}

/// Long enough for what is sent to arrive.
const A_MOMENT: Duration = Duration::from_millis(100);
