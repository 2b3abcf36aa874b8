//! The gRPC service.

use http::Request;

use super::super::grpc;
use super::peer::{COREFILE, QUERY, Seen, against, fetch};

fn call() -> http::request::Builder {
    Request::post("http://localhost/coredns.dns.DnsService/Query")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

/// A body with one message that has `fields`.
fn body(flag: u8, fields: &[u8]) -> Vec<u8> {
    let len = (fields.len() as u32).to_be_bytes();
    [&[flag][..], &len, fields].concat()
}

fn packet(message: &[u8]) -> Vec<u8> {
    let mut fields = vec![0x0a];
    let mut len = message.len();
    while len > 0x7f {
        fields.push(len as u8 | 0x80);
        len >>= 7;
    }
    fields.push(len as u8);
    [&fields[..], message].concat()
}

fn status(seen: &Seen) -> &str {
    let trailers = seen.trailers.as_ref().unwrap_or(&seen.fields);
    trailers.get("grpc-status").unwrap().to_str().unwrap()
}

#[test]
fn a_call_gives_the_reply_in_a_packet() {
    let corefile = COREFILE.replace("KEY", "grpc://.:0");
    against(&corefile, move |peer| async move {
        let send = peer.h2().await;
        let plain = body(0, &packet(QUERY));
        // Fields of every kind that we do not know, and the message twice: the last one counts.
        let mut fields = vec![
            0x10, 0xff, 0x01, 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x25, 1, 2, 3, 4,
        ];
        fields.extend_from_slice(&[0x0a, 1, 9, 0x2a, 2, 1, 2]);
        fields.extend_from_slice(&packet(QUERY));
        let mut replies = Vec::new();
        for sent in [plain, body(0, &fields)] {
            let seen = fetch(&send, call().body(()).unwrap(), Some(&sent))
                .await
                .unwrap();
            assert_eq!((seen.status, status(&seen)), (200, "0"));
            assert_eq!(seen.field("content-type"), "application/grpc");
            replies.push(grpc::message(&seen.body).unwrap().to_vec());
        }
        assert_eq!(replies[0], replies[1]);
        assert_eq!(replies[0][2] & 0x80, 0x80);
    });
}

#[test]
fn calls_that_fail_say_how() {
    let corefile = COREFILE.replace("KEY", "grpc://.:0");
    against(&corefile, move |peer| async move {
        let send = peer.h2().await;
        let mut response = QUERY.to_vec();
        response[2] |= 0x80;
        for (sent, expect) in [
            (body(0, &packet(&[0; 5])), "3"),
            (body(0, &packet(&response)), "3"),
            (body(0, &[]), "3"),
            (vec![], "3"),
            (vec![0, 0, 0], "3"),
            (body(0, &[0x0a, 200, 1]), "3"),
            (body(0, &[0x0b]), "3"),
            (body(0, &[0x80; 12]), "3"),
            (
                [body(0, &packet(QUERY)), body(0, &packet(QUERY))].concat(),
                "3",
            ),
            (body(1, &packet(QUERY)), "12"),
            (body(0, &packet(&[0; 65_536])), "8"),
            (body(0, &packet(&[0; 70_000])), "8"),
        ] {
            let seen = fetch(&send, call().body(()).unwrap(), Some(&sent))
                .await
                .unwrap();
            let start = &sent[..sent.len().min(12)];
            assert_eq!((seen.status, status(&seen)), (200, expect), "{start:?}");
        }
        let other = Request::post("http://localhost/coredns.dns.DnsService/Watch")
            .header("content-type", "application/grpc+proto");
        let seen = fetch(&send, other.body(()).unwrap(), Some(&[]))
            .await
            .unwrap();
        assert_eq!((seen.status, status(&seen)), (200, "12"));
        let get = Request::get("http://localhost/coredns.dns.DnsService/Query");
        let seen = fetch(&send, get.body(()).unwrap(), None).await.unwrap();
        assert_eq!(seen.status, 405);
        let text = Request::post("http://localhost/coredns.dns.DnsService/Query")
            .header("content-type", "application/grpcx");
        let seen = fetch(&send, text.body(()).unwrap(), Some(&[]))
            .await
            .unwrap();
        assert_eq!(seen.status, 415);
    });
}

#[test]
fn silence_is_internal_and_late_replies_come() {
    for (erratic, expect) in [("drop 1", "13"), ("delay 1 5ms\n  drop 0", "0")] {
        let corefile = format!("grpc://.:0 {{\n erratic {{\n  {erratic}\n }}\n}}\n");
        against(&corefile, move |peer| async move {
            let send = peer.h2().await;
            let sent = body(0, &packet(QUERY));
            let seen = fetch(&send, call().body(()).unwrap(), Some(&sent))
                .await
                .unwrap();
            assert_eq!(status(&seen), expect);
        });
    }
}
