//! What one end writes the other reads.

use bytes::Bytes;
use http::{Request, Response};

use super::*;

fn answer(status: u16, body: &'static [u8]) -> Vec<u8> {
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/dns-message");
    let mut out = Vec::new();
    response::write(&response.body(Bytes::from_static(body)).unwrap(), &mut out);
    out
}

#[test]
fn requests_are_read_as_they_are_written() {
    let request = Request::post("https://dns.example:8443/dns-query?a=b")
        .header("accept", "application/dns-message")
        .body(())
        .unwrap();
    let mut out = Vec::new();
    request::write(&request, b"body", &mut out);
    let (head, body) = request::read(&out).unwrap();
    assert_eq!((head.method.as_str(), &*body), ("POST", &b"body"[..]));
    assert_eq!(head.uri.to_string(), "/dns-query?a=b");
    assert_eq!(head.headers["accept"], "application/dns-message");
}

#[test]
fn any_authority_will_do() {
    for authority in ["::1:8443", "[::1]:8443", "dns.example", ""] {
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", authority),
            (":path", "/dns-query"),
        ];
        let mut out = Vec::new();
        write(&fields, &HeaderMap::new(), b"", &mut out);
        let (head, _) = request::read(&out).unwrap();
        assert_eq!(head.uri.path(), "/dns-query", "{authority}");
    }
}

#[test]
fn responses_are_read_as_they_are_written() {
    let out = answer(200, b"body");
    let (head, body) = response::read(&out).unwrap();
    assert_eq!((head.status.as_u16(), &*body), (200, &b"body"[..]));
    assert_eq!(head.headers["content-type"], "application/dns-message");
    // An interim one before it is none.
    let both = [answer(103, b""), answer(404, b"")].concat();
    let (head, body) = response::read(&both).unwrap();
    assert_eq!((head.status.as_u16(), body.len()), (404, 0));
}

#[test]
fn what_is_no_response_is_a_fault() {
    let incomplete = Err(Fault::Stream(code::REQUEST_INCOMPLETE));
    let malformed = Err(Fault::Stream(code::MESSAGE_ERROR));
    let head = |fields: &[(&str, &str)]| {
        let mut out = Vec::new();
        write(fields, &HeaderMap::new(), b"", &mut out);
        out
    };
    let check = |stream: &[u8], want: Result<(), Fault>| {
        assert_eq!(response::read(stream).map(drop), want, "{stream:02x?}");
    };
    check(&[], incomplete);
    check(&answer(100, b""), incomplete);
    check(&head(&[]), malformed);
    check(&head(&[(":status", "2")]), malformed);
    check(&head(&[(":status", "200"), (":status", "200")]), malformed);
    check(&head(&[(":status", "200"), (":path", "/")]), malformed);
    check(
        &head(&[(":status", "200"), ("connection", "close")]),
        malformed,
    );
    let whole = answer(200, b"body");
    check(&whole[..whole.len() - 1], Err(CUT));
    // A push was never allowed.
    let pushed = [&whole[..], &[5, 1, 0]].concat();
    let Err(Fault::Connection(code, _)) = response::read(&pushed) else {
        panic!("it was read");
    };
    assert_eq!(code, code::FRAME_UNEXPECTED);
}

proptest::proptest! {
    #[test]
    fn any_stream_is_read(stream in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..96)) {
        let _ = (request::read(&stream), response::read(&stream));
    }
}
