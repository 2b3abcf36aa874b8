//! Any octets as the target of a DoH request, as the body of a call of the gRPC service, and as frames of HTTP/2.

use http::{Request, Uri};
use percoredns::limits::MESSAGE_OCTETS;
use percoredns::server::doors::{doh_message, grpc_message, http2_received};

/// One input.
pub fn run(octets: &[u8]) {
    for path in [&b"/dns-query?"[..], b""] {
        if let Ok(target) = Uri::try_from([path, octets].concat()) {
            target_of_request(&target);
        }
    }
    if let Some(message) = grpc_message(octets) {
        assert!(message.len() <= MESSAGE_OCTETS && message.len() <= octets.len());
    }
    frames(octets);
}

/// The frames behind a preface are the same to h2 whole and in pieces, and again, and differ from what was sent only where a colon became a
/// letter.
fn frames(octets: &[u8]) {
    let sent = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], octets].concat();
    let mut whole = sent.clone();
    http2_received(&mut whole, sent.len());
    for piece_len in [1, 7] {
        let mut cut = sent.clone();
        http2_received(&mut cut, piece_len);
        assert_eq!(cut, whole);
    }
    for (&before, &after) in sent.iter().zip(&whole) {
        // In Huffman code the letter has one more bit.
        assert!((before, after) == (b':', b'B') || before & after == before);
    }
    let mut again = whole.clone();
    http2_received(&mut again, sent.len());
    assert_eq!(again, whole);
}

fn target_of_request(target: &Uri) {
    for accept in ["*/*", "application/dns-json"] {
        let request = Request::get(target).header("accept", accept);
        let (head, ()) = request.body(()).expect("a good target").into_parts();
        if let Some(message) = doh_message(&head) {
            assert_eq!(target.path(), "/dns-query");
            assert!(message.len() <= MESSAGE_OCTETS);
        }
    }
}
