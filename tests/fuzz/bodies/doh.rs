//! Any octets as the target of a DoH request, and as the body of a call of the gRPC service.

use http::{Request, Uri};
use percoredns::limits::MESSAGE_OCTETS;
use percoredns::server::doors::{doh_message, grpc_message};

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
