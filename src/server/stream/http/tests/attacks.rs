//! What peers do that mean harm: each ends its own connection, at the bound that is for it, and nobody else notices.

use std::time::Duration;

use super::peer::{
    COREFILE, Frame, Peer, QUERY, against, build, fetch, frame, frames, frames_until, get_block,
    goaway, hello, post, refused,
};
use crate::limits;
use crate::plugin::Carry;
use crate::runtime::clock::fake::FakeClock;
use crate::runtime::{self, Backend, TcpStream, block_on};
use crate::tune::Settings;

const PROTOCOL_ERROR: u8 = 1;
const FRAME_SIZE_ERROR: u8 = 6;
const REFUSED_STREAM: u8 = 7;
const ENHANCE_YOUR_CALM: u8 = 0xb;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn doh() -> String {
    COREFILE.replace("KEY", "https://.:0")
}

/// Writes as much as the server takes.
async fn write(tcp: &mut TcpStream, octets: &[u8]) {
    let _ = runtime::timeout(Duration::from_secs(5), tcp.write_all(octets)).await;
}

/// Sends octets, expects that the connection ends with that reason, and that another client is served. Of what is sent after the bound no
/// more than the server takes to forget it: else the kernel would drop what it said last.
async fn check_ended(peer: &Peer, octets: &[u8], reason: u8) {
    let bystander = peer.h2().await;
    let mut tcp = peer.tcp().await;
    write(&mut tcp, &hello()).await;
    write(&mut tcp, octets).await;
    let ended = runtime::timeout(Duration::from_secs(5), frames(&mut tcp)).await;
    let ended = ended.expect("the connection ends");
    assert_eq!(goaway(&ended), Some(reason));
    let seen = fetch(&bystander, post(), Some(QUERY)).await.unwrap();
    assert_eq!(seen.status, 200);
}

/// The same with each backend, and that it is counted as `refusal`.
fn check_refused(octets: &[u8], reason: u8, refusal: &str) {
    let before = refused(refusal);
    let sent = octets.to_vec();
    against(&doh(), move |peer| {
        let sent = sent.clone();
        async move { check_ended(&peer, &sent, reason).await }
    });
    let first_header = &octets[..9];
    assert!(refused(refusal) > before, "{reason} {first_header:?}");
}

#[test]
fn rapid_reset_ends_the_connection() {
    let mut octets = Vec::new();
    for nth in 0..10 * limits::HTTP_RESETS_UNSEEN as u32 {
        octets.extend(frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            2 * nth + 1,
            &get_block(),
        ));
        octets.extend(frame(RST_STREAM, 0, 2 * nth + 1, &[0, 0, 0, 8]));
    }
    check_refused(&octets, ENHANCE_YOUR_CALM, "flood");
}

#[test]
fn a_flood_of_continuations_ends_the_connection() {
    let mut octets = frame(HEADERS, END_STREAM, 1, &get_block());
    for _ in 0..5 * limits::HTTP_HEADER_OCTETS / 1_120 {
        let field = [&b"\0\x01x\x7f\xe1\x07"[..], &[b'y'; 1_120]].concat();
        octets.extend(frame(CONTINUATION, 0, 1, &field));
    }
    check_refused(&octets, ENHANCE_YOUR_CALM, "flood");
}

#[test]
fn floods_of_settings_and_pings_end_the_connection() {
    for (kind, payload) in [(SETTINGS, vec![0, 3, 0, 0, 0, 9]), (PING, vec![0; 8])] {
        let one = frame(kind, 0, 0, &payload);
        let octets =
            one.repeat((limits::HTTP_IDLE_OCTETS + limits::HTTP_DRAINED_OCTETS / 2) / one.len());
        check_refused(&octets, ENHANCE_YOUR_CALM, "flood");
    }
}

#[test]
fn broken_frames_end_the_connection() {
    let all = END_STREAM | END_HEADERS;
    // Data on a stream that was never opened, headers on an even one, a frame that is too large, HPACK out of its table (for which h2 says
    // PROTOCOL_ERROR where RFC 9113 section 4.3 has COMPRESSION_ERROR).
    for (octets, reason) in [
        (frame(0, 0, 7, &[0; 3]), PROTOCOL_ERROR),
        (frame(HEADERS, all, 2, &get_block()), PROTOCOL_ERROR),
        (frame(0, 0, 1, &[0; 20_000]), FRAME_SIZE_ERROR),
        (
            frame(HEADERS, all, 1, &[0xff, 0xff, 0xff, 0x0f]),
            PROTOCOL_ERROR,
        ),
    ] {
        check_refused(&octets, reason, "protocol");
    }
}

#[test]
fn fields_that_are_too_large_are_refused_alone() {
    against(&doh(), move |peer| async move {
        let send = peer.h2().await;
        let large = http::Request::get("http://localhost/dns-query?dns=AAAB")
            .header("x", "y".repeat(limits::HTTP_HEADER_OCTETS));
        let seen = fetch(&send, large.body(()).unwrap(), None).await;
        assert_eq!(seen.unwrap().status, 431);
        let seen = fetch(&send, post(), Some(QUERY)).await.unwrap();
        assert_eq!(seen.status, 200);
    });
}

#[test]
fn resets_do_not_make_room_for_more_queries_that_wait() {
    let corefile = "https://.:0 {\n erratic {\n  delay 1 20s\n  drop 0\n }\n}\n";
    let before = refused("streams");
    against(corefile, move |peer| async move {
        let mut tcp = peer.tcp().await;
        write(&mut tcp, &hello()).await;
        let (mut seen, mut octets) = (Vec::new(), Vec::new());
        for nth in 0..2 * limits::HTTP_STREAMS as u32 {
            let stream = 2 * nth + 1;
            let block = get_block();
            octets.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &block));
            octets.extend(frame(PING, 0, 0, &[0; 8]));
            write(&mut tcp, &octets).await;
            // So the server has seen the request before it is reset, and counts no rapid reset.
            let is_ack = |frame: &Frame| (frame.0, frame.1) == (PING, ACK);
            frames_until(&mut tcp, &mut seen, is_ack).await;
            octets = frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        }
        let is_refused = |frame: &&Frame| frame.0 == RST_STREAM && frame.3[3] == REFUSED_STREAM;
        assert_eq!(seen.iter().filter(is_refused).count(), limits::HTTP_STREAMS);
        assert_eq!(goaway(&seen), None);
    });
    assert!(refused("streams") - before >= limits::HTTP_STREAMS as f64);
}

#[test]
fn replies_that_are_not_taken_are_given_up() {
    let _clock = FakeClock::start();
    let config = build(&doh(), Settings::floating(1), &Carry::default());
    let before = refused("timeout");
    let done = block_on(Backend::Epoll, async {
        let peer = Peer::start(config);
        let mut tcp = peer.tcp().await;
        write(&mut tcp, &hello()).await;
        // No window for any stream.
        write(&mut tcp, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
        write(
            &mut tcp,
            &frame(HEADERS, END_STREAM | END_HEADERS, 1, &get_block()),
        )
        .await;
        let seen = frames(&mut tcp).await;
        let reset = seen.iter().find(|frame| frame.0 == RST_STREAM);
        assert_eq!(
            reset.map(|frame| (frame.2, frame.3[3])),
            Some((1, 8)),
            "{seen:?}"
        );
        assert_eq!(goaway(&seen), Some(0), "then it is idle");
    });
    done.unwrap();
    assert!(refused("timeout") > before);
}

#[test]
fn a_half_closed_client_gets_what_it_asked_for() {
    let corefile = "https://.:0 {\n erratic {\n  delay 1 10ms\n  drop 0\n }\n}\n";
    against(corefile, move |peer| async move {
        let mut tcp = peer.tcp().await;
        let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, &get_block());
        write(&mut tcp, &[hello(), request].concat()).await;
        tcp.shutdown_write().unwrap();
        let seen = frames(&mut tcp).await;
        assert!(
            seen.iter().any(|frame| (frame.0, frame.2) == (0, 1)),
            "{seen:?}"
        );
    });
}

#[test]
fn a_peer_that_says_no_hello_is_closed() {
    let _clock = FakeClock::start();
    let config = build(&doh(), Settings::floating(1), &Carry::default());
    let done = block_on(Backend::Epoll, async {
        let peer = Peer::start(config);
        for start in [&b"P"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n"] {
            let mut tcp = peer.tcp().await;
            write(&mut tcp, start).await;
            frames(&mut tcp).await;
        }
        assert_eq!(peer.env.connections.count(), 0);
    });
    done.unwrap();
}
