//! DNS over HTTPS by HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use http::Request;

use super::peer::{
    COREFILE, Peer, QUERY, QUERY_TEXT, against, against_tuned, build, fetch, frame, frames, get,
    hello, post, refused,
};
use crate::lang::cidr::Net;
use crate::plugin::Carry;
use crate::runtime::clock::fake::FakeClock;
use crate::runtime::{self, Backend, block_on};
use crate::tune::Settings;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn doh() -> String {
    COREFILE.replace("KEY", "https://.:0")
}

#[test]
fn get_and_post_give_the_same_message() {
    against(&doh(), move |peer| async move {
        let send = peer.h2().await;
        let target = format!("/dns-query?dns={QUERY_TEXT}");
        let got = fetch(&send, get(&target), None).await.unwrap();
        assert_eq!(got.status, 200);
        assert_eq!(got.field("content-type"), "application/dns-message");
        assert_eq!(got.field("cache-control"), "max-age=0");
        assert_eq!(got.field("content-length"), got.body.len().to_string());
        assert_eq!(got.body[2] & 0x80, 0x80);
        let posted = fetch(&send, post(), Some(QUERY)).await.unwrap();
        // whoami tells the client's port, which is that of the connection.
        assert_eq!(posted.body, got.body);
    });
}

#[test]
fn an_address_without_brackets_is_an_authority() {
    against(&doh(), move |peer| async move {
        let target = format!("/dns-query?dns={QUERY_TEXT}");
        let rest = [&[0x82, 0x87, 0x04, target.len() as u8], target.as_bytes()].concat();
        // As it is, for the table; what the table has then, under a name that is not in it, and again; in Huffman code.
        let blocks = [
            [&rest[..], b"\x41\x08::1:8443"].concat(),
            [&rest[..], b"\xbe\x40\x01x\x01y"].concat(),
            [&rest[..], b"\xbf\xbe"].concat(),
            [&rest[..], b"\x41\x87\xb9\x70\x37\x1e\x69\xa6\x7f"].concat(),
        ];
        let mut tcp = peer.tcp().await;
        let mut octets = hello();
        for (nth, block) in (0..).zip(&blocks) {
            octets.extend(frame(1, END_STREAM | END_HEADERS, 2 * nth + 1, block));
        }
        tcp.write_all(&octets).await.unwrap();
        tcp.shutdown_write().unwrap();
        let seen = frames(&mut tcp).await;
        // Status 200 is the first field of each.
        let good = seen
            .iter()
            .filter(|frame| frame.0 == 1 && frame.3.first() == Some(&0x88));
        assert_eq!(good.count(), blocks.len(), "{seen:?}");
    });
}

#[test]
fn what_is_wrong_has_a_status() {
    against(&doh(), move |peer| async move {
        let send = peer.h2().await;
        for (request, body, status, text) in [
            (get("/"), None, 404, "not found"),
            (
                get("/dns-query"),
                None,
                400,
                "no 'dns' query parameter found",
            ),
            (
                get("/dns-query?dns=*"),
                None,
                400,
                "'dns' is not base64url without padding",
            ),
            (get("/dns-query?dns=AAEC"), None, 400, "invalid request"),
            (post(), Some(&[][..]), 400, "invalid request"),
            (post(), Some(&[0; 11][..]), 400, "invalid request"),
            (
                post(),
                Some(&[0; 65_536][..]),
                400,
                "request body too large",
            ),
        ] {
            let target = request.uri().to_string();
            let seen = fetch(&send, request, body).await.unwrap();
            let got = (seen.status, std::str::from_utf8(&seen.body).unwrap());
            assert_eq!(got, (status, text), "{target}");
        }
        // QR set, and UPDATE: refused on every transport.
        for second in [0x81, 0x28] {
            let mut message = QUERY.to_vec();
            message[2] = second;
            let seen = fetch(&send, post(), Some(&message)).await.unwrap();
            assert_eq!(seen.status, 400, "{second:x}");
        }
        let delete = Request::delete("http://localhost/dns-query?dns=AAEC");
        let seen = fetch(&send, delete.body(()).unwrap(), None).await.unwrap();
        assert_eq!(seen.status, 400);
        let seen = fetch(&send, post(), Some(QUERY)).await.unwrap();
        assert_eq!(seen.status, 200, "the connection goes on");
    });
}

#[test]
fn silence_is_a_status_too() {
    against(
        "https://.:0 {\n erratic {\n  drop 1\n }\n}\n",
        |peer| async move {
            let send = peer.h2().await;
            let seen = fetch(&send, post(), Some(QUERY)).await.unwrap();
            assert_eq!((seen.status, &seen.body[..]), (500, &b"No response"[..]));
        },
    );
}

#[test]
fn many_requests_of_one_connection_are_answered_though_they_wait() {
    let corefile = "https://.:0 {\n erratic {\n  delay 1 10ms\n  drop 0\n }\n}\n";
    against(corefile, move |peer| async move {
        let send = peer.h2().await;
        let (done, all) = (std::rc::Rc::new(std::cell::Cell::new(0)), 200);
        let event = runtime::local::Event::new();
        for nth in 0..all {
            let (send, done, event) = (send.clone(), done.clone(), event.clone());
            runtime::spawn(async move {
                let mut message = QUERY.to_vec();
                message[..2].copy_from_slice(&u16::to_be_bytes(nth));
                let seen = fetch(&send, post(), Some(&message)).await.unwrap();
                assert_eq!((seen.status, &seen.body[..2]), (200, &message[..2]));
                done.set(done.get() + 1);
                event.notify();
            });
        }
        while done.get() < all {
            event.wait().await;
        }
    });
}

#[test]
fn a_body_may_come_in_pieces_and_a_reply_through_a_small_window() {
    against(&doh(), move |peer| async move {
        let mut small = h2::client::Builder::new();
        small.initial_window_size(10);
        let send = peer.h2_with(&small).await;
        let mut ready = send.clone().ready().await.unwrap();
        let (response, mut stream) = ready.send_request(post(), false).unwrap();
        for octet in &QUERY[..QUERY.len() - 1] {
            let piece = Bytes::copy_from_slice(&[*octet]);
            stream.send_data(piece, false).unwrap();
            runtime::yield_now().await;
        }
        stream.send_data(Bytes::from_static(&[1]), true).unwrap();
        let seen = super::peer::see(response.await.unwrap()).await;
        assert_eq!(
            (seen.status, seen.field("content-length")),
            (200, &*seen.body.len().to_string())
        );
        assert!(seen.body.len() > 30);
    });
}

#[test]
fn a_listener_that_goes_lets_requests_finish() {
    let corefile = "https://.:0 {\n erratic {\n  delay 1 10ms\n  drop 0\n }\n}\n";
    against(corefile, move |mut peer| async move {
        let send = peer.h2().await;
        let mut ready = send.clone().ready().await.unwrap();
        let (response, mut stream) = ready.send_request(post(), false).unwrap();
        stream.send_data(Bytes::from_static(QUERY), true).unwrap();
        runtime::sleep(Duration::from_millis(2)).await;
        peer.close();
        assert_eq!(response.await.unwrap().status(), 200);
    });
}

#[test]
fn connections_beyond_the_bound_are_closed_and_a_reload_keeps_the_count() {
    let corefile = "https://.:0 {\n https {\n  max_connections 2\n }\n whoami\n}\n";
    let carry = Carry::default();
    let config = build(corefile, Settings::floating(1), &carry);
    let done = block_on(Backend::Epoll, async move {
        let peer = Peer::start(config);
        let first = peer.h2().await;
        let second = peer.h2().await;
        for send in [&first, &second] {
            assert_eq!(fetch(send, post(), Some(QUERY)).await.unwrap().status, 200);
        }
        let mut third = peer.tcp().await;
        assert!(!matches!(third.read(&mut [0; 1]).await, Ok(1..)));
        peer.env
            .open(build(corefile, Settings::floating(1), &carry));
        let mut fourth = peer.tcp().await;
        assert!(!matches!(fourth.read(&mut [0; 1]).await, Ok(1..)));
        drop((first, second));
        // The places of those that end are free again.
        for _ in 0..1_000 {
            runtime::sleep(Duration::from_millis(1)).await;
            if peer.env.connections.count() == 0 {
                break;
            }
        }
        let fifth = peer.h2().await;
        assert_eq!(
            fetch(&fifth, post(), Some(QUERY)).await.unwrap().status,
            200
        );
    });
    done.unwrap();
}

#[test]
fn trusted_proxies_and_json_are_settings_of_the_process() {
    let tuned = Settings {
        doh_json: true,
        doh_trusted_proxies: [Net::parse("127.0.0.0/8").unwrap()].into_iter().collect(),
        ..Settings::floating(1)
    };
    let ask = |peer: Peer| async move {
        let send = peer.h2().await;
        let request = Request::get("http://localhost/dns-query?name=example.org")
            .header("accept", "application/dns-json")
            .header("x-forwarded-for", "192.0.2.77");
        fetch(&send, request.body(()).unwrap(), None).await.unwrap()
    };
    against_tuned(&doh(), tuned, move |peer| async move {
        let seen = ask(peer).await;
        assert_eq!(seen.field("content-type"), "application/dns-json");
        let text = String::from_utf8(seen.body).unwrap();
        assert!(
            text.starts_with("{\"Status\":0,") && text.contains("\"192.0.2.77\""),
            "{text}"
        );
    });
    against(&doh(), move |peer| async move {
        assert_eq!(ask(peer).await.status, 400, "not without the setting");
    });
}

#[test]
fn an_idle_connection_is_told_goodbye_and_a_slow_body_is_reset() {
    let _clock = FakeClock::start();
    let config = build(&doh(), Settings::floating(1), &Carry::default());
    let before = refused("timeout");
    let done = block_on(Backend::Epoll, async {
        let peer = Peer::start(config);
        let send = peer.h2().await;
        let mut ready = send.clone().ready().await.unwrap();
        let (response, mut stream) = ready.send_request(post(), false).unwrap();
        stream
            .send_data(Bytes::from_static(&QUERY[..5]), false)
            .unwrap();
        let error = response.await.unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
        assert_eq!(fetch(&send, post(), Some(QUERY)).await.unwrap().status, 200);
        while peer.env.connections.count() > 0 {
            runtime::sleep(Duration::from_secs(1)).await;
        }
    });
    done.unwrap();
    assert!(refused("timeout") > before);
}
