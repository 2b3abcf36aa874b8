//! DNS over HTTPS by HTTP/1.1, octet by octet.

use std::time::Duration;

use super::peer::{COREFILE, Peer, QUERY, QUERY_TEXT, against, build};
use crate::plugin::Carry;
use crate::runtime::clock::fake::FakeClock;
use crate::runtime::{Backend, TcpStream, block_on};
use crate::tune::Settings;

fn doh() -> String {
    COREFILE.replace("KEY", "https://.:0")
}

async fn read_all(tcp: &mut TcpStream) -> String {
    let (mut octets, mut chunk) = (Vec::new(), vec![0; 65_536]);
    while let Ok(count @ 1..) = tcp.read(&mut chunk).await {
        octets.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8_lossy(&octets).into_owned()
}

/// All that comes back for what is sent, in pieces, before the client ends.
async fn talk(peer: &Peer, pieces: &[&[u8]]) -> String {
    let mut tcp = peer.tcp().await;
    for piece in pieces {
        // The server may have ended the connection.
        let _ = tcp.write_all(piece).await;
        crate::runtime::yield_now().await;
    }
    let _ = tcp.shutdown_write();
    read_all(&mut tcp).await
}

#[test]
fn requests_follow_each_other_and_a_half_closed_client_gets_all() {
    let get = format!("GET /dns-query?dns={QUERY_TEXT} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let post = format!(
        "POST /dns-query HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        QUERY.len()
    );
    against(&doh(), move |peer| {
        let (get, post) = (get.clone(), post.clone());
        async move {
            let many = get.repeat(40);
            let text = talk(&peer, &[many.as_bytes()]).await;
            assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 40, "{text}");
            let pieces = [post.as_bytes(), &QUERY[..3], &QUERY[3..], get.as_bytes()];
            let text = talk(&peer, &pieces).await;
            assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{text}");
            assert!(text.contains("application/dns-message") && text.contains("max-age=0"));
            let text = talk(&peer, &[b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"]).await;
            assert!(text.starts_with("HTTP/1.1 404 "), "{text}");
        }
    });
}

#[test]
fn any_host_will_do() {
    against(&doh(), move |peer| async move {
        for host in ["::1:8443", "[::1]:8443", "192.0.2.1", ""] {
            let get = format!("GET /dns-query?dns={QUERY_TEXT} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let text = talk(&peer, &[get.as_bytes()]).await;
            assert!(text.starts_with("HTTP/1.1 200 "), "{host}: {text}");
        }
    });
}

#[test]
fn what_waits_is_answered_to_a_half_closed_client() {
    let corefile = "https://.:0 {\n erratic {\n  delay 1 10ms\n  drop 0\n }\n}\n";
    let get = format!("GET /dns-query?dns={QUERY_TEXT} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    against(corefile, move |peer| {
        let get = get.repeat(3);
        async move {
            let text = talk(&peer, &[get.as_bytes()]).await;
            assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{text}");
        }
    });
}

#[test]
fn what_is_too_large_is_refused() {
    against(&doh(), move |peer| async move {
        let head = "POST /dns-query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65536\r\n\r\n";
        let text = talk(&peer, &[head.as_bytes(), &[0; 65_536]]).await;
        assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
        let field = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(40_000));
        let text = talk(&peer, &[field.as_bytes()]).await;
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
        let fields = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100));
        let text = talk(&peer, &[fields.as_bytes()]).await;
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
        let text = talk(&peer, &[b"\x16\x03\x01\x02\x00\x01\x00\x01"]).await;
        assert!(!text.contains(" 200 "), "{text}");
    });
}

#[test]
fn what_comes_too_slowly_is_ended() {
    let _clock = FakeClock::start();
    let config = build(&doh(), Settings::floating(1), &Carry::default());
    let done = block_on(Backend::Epoll, async {
        let peer = Peer::start(config);
        // A head that never ends, a body that never ends, and nothing.
        let mut head = peer.tcp().await;
        head.write_all(b"GET /dns-query?dns=AAAB HTTP/1.1\r\nX")
            .await
            .unwrap();
        assert_eq!(read_all(&mut head).await, "");
        let mut body = peer.tcp().await;
        let start = b"POST /dns-query HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1";
        body.write_all(start).await.unwrap();
        let text = read_all(&mut body).await;
        assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
        let mut silent = peer.tcp().await;
        assert_eq!(read_all(&mut silent).await, "");
        while peer.env.connections.count() > 0 {
            crate::runtime::sleep(Duration::from_secs(1)).await;
        }
    });
    done.unwrap();
}
