//! HTTP/3 over the wire, written by hand.

use super::*;
use crate::runtime::Backend;

/// A request of these fields, each literal, and a body.
fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let mut block = vec![0, 0];
    let fields = [
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
    ];
    for (name, value) in fields {
        block.push(0x20 | 7);
        // The names are 5 to 10 octets; 7 is where a length continues.
        if name.len() < 7 {
            block.pop();
            block.push(0x20 | name.len() as u8);
        } else {
            block.push(name.len() as u8 - 7);
        }
        block.extend(name.as_bytes());
        block.push(value.len() as u8);
        block.extend(value.as_bytes());
    }
    let mut octets = vec![1, block.len() as u8 | 0x40, 0];
    octets[1] = 0x40;
    octets[2] = block.len() as u8;
    octets.extend(block);
    if !body.is_empty() {
        octets.extend([0, body.len() as u8]);
        octets.extend(body);
    }
    octets
}

/// The body of a response that has one HEADERS and one DATA frame, and whether it is a good one.
fn response(octets: &[u8]) -> (bool, Vec<u8>) {
    assert_eq!(octets[0], 1, "{octets:?}");
    let (head_len, at) = match octets[1] {
        len @ 0..64 => (usize::from(len), 2),
        high => (usize::from(high & 0x3f) << 8 | usize::from(octets[2]), 3),
    };
    // Status 200 stands at 25 of the static table.
    let is_ok = octets[at + 2] == 0xc0 | 25;
    let data = &octets[at + head_len..];
    assert_eq!(data[0], 0);
    let body = if data[1] < 64 { &data[2..] } else { &data[3..] };
    (is_ok, body.to_vec())
}

const CONTROL: &[u8] = &[0, 4, 0];

fn connected(server: &Server, identity: &Identity) -> Client {
    let mut client = Client::connect(server.addr, identity.client_config("h3", false));
    client.open(Dir::Uni, CONTROL, false);
    client
}

#[test]
fn requests_are_answered() {
    on_backends(|backend| {
        let identity = Identity::new();
        let server = Server::start(backend, &identity, "https3://.:0", HOSTS, 1);
        let mut client = connected(&server, &identity);
        let message = query("one.test", types::A);
        let mut ask = |octets: &[u8]| {
            let id = client.open(Dir::Bi, octets, true);
            response(&client.whole(id))
        };
        let (is_ok, body) = ask(&request("POST", "/dns-query", &message));
        assert!(is_ok && body.ends_with(&[192, 0, 2, 1]));
        let get = "/dns-query?dns=AAABAAABAAAAAAAAA29uZQR0ZXN0AAABAAE";
        let (is_ok, same) = ask(&request("GET", get, &[]));
        assert!(is_ok);
        assert_eq!(same, body);
        for (method, path, body) in [
            ("GET", "/", &[][..]),
            ("GET", "/dns-query", &[]),
            ("GET", "/dns-query?dns=*", &[]),
            ("PUT", "/dns-query", b"x"),
            ("POST", "/dns-query", b"x"),
        ] {
            assert!(!ask(&request(method, path, body)).0, "{method} {path}");
        }
        client.close();
        assert_eq!(server.stop(), 0);
    });
}

#[test]
fn late_and_missing_replies_are_responses_too() {
    let identity = Identity::new();
    let body = "erratic {\n delay 2 50ms\n drop 3\n }";
    let server = Server::start(Backend::Epoll, &identity, "https3://.:0", body, 1);
    let mut client = connected(&server, &identity);
    let mut outcomes = Vec::new();
    for _ in 0..6 {
        let asked = request("POST", "/dns-query", &query("a.test", types::A));
        let id = client.open(Dir::Bi, &asked, true);
        outcomes.push(response(&client.whole(id)).0);
    }
    assert_eq!(
        outcomes.iter().filter(|is_ok| !**is_ok).count(),
        2,
        "{outcomes:?}"
    );
}

/// What ends the connection on a stream of that kind, and with which code.
fn check_close(dir: Dir, octets: &[u8], is_whole: bool, expect: u64) {
    let identity = Identity::new();
    let server = Server::start(Backend::Epoll, &identity, "https3://.:0", HOSTS, 1);
    let mut client = connected(&server, &identity);
    client.open(dir, octets, is_whole);
    assert_eq!(client.close_code(), expect, "{octets:?}");
}

#[test]
fn what_breaks_the_protocol_closes_the_connection() {
    // A second control stream, a push stream, an encoder and a decoder that speak of a dynamic table, an encoder that ends.
    check_close(Dir::Uni, &[0, 4, 0], false, 0x103);
    check_close(Dir::Uni, &[1, 0], false, 0x103);
    check_close(Dir::Uni, &[2, 0x3f, 0x10], false, 0x201);
    check_close(Dir::Uni, &[3, 0x01], false, 0x202);
    check_close(Dir::Uni, &[2, 0x20], true, 0x104);
    // A frame that is cut, data before a head, settings on a request, fields of a dynamic table.
    check_close(Dir::Bi, &[1, 9, 0], true, 0x106);
    check_close(Dir::Bi, &[0, 1, 0], true, 0x105);
    check_close(Dir::Bi, &[4, 0], true, 0x105);
    check_close(Dir::Bi, &[1, 3, 2, 0, 0x80], true, 0x200);
}

#[test]
fn what_is_wrong_with_one_request_ends_its_stream_alone() {
    let identity = Identity::new();
    let server = Server::start(Backend::Epoll, &identity, "https3://.:0", HOSTS, 1);
    let mut client = connected(&server, &identity);
    // No head, a head without a path, a head of far too many fields.
    let long = [&[1, 0x48, 0x02, 0, 0][..], &[0xd1; 2048]].concat();
    for (octets, code) in [
        (&[0x21, 0][..], 0x10d),
        (&[1, 4, 0, 0, 0xd1, 0xd7], 0x10e),
        (&long, 0x107),
    ] {
        let id = client.open(Dir::Bi, octets, true);
        client.until(|client| client.got[&id].reset == Some(code));
    }
    // Streams of kinds that nobody knows, and frames of such types, are ignored.
    client.open(Dir::Uni, &[0x21, 1, 2, 3], false);
    client.turn(A_MOMENT);
    let asked = request("POST", "/dns-query", &query("one.test", types::A));
    let asked = [&[0x21, 3, 9, 9, 9][..], &asked].concat();
    let id = client.open(Dir::Bi, &asked, true);
    assert!(response(&client.whole(id)).0);
}
