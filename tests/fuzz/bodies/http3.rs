//! Any octets as what an HTTP/3 client sends: a request, and streams of one way, whole or in pieces.

use percoredns::limits::{H3_CONTROL_OCTETS, H3_SIDE_STREAMS, HTTP_HEADER_OCTETS};
use percoredns::server::doors::{http3_request, http3_side_streams};

/// One input. As streams of one way each piece begins with an octet: its stream, whether it is the last, and its length.
pub fn run(octets: &[u8]) {
    if let Some((fields, body)) = http3_request(octets) {
        assert!(fields <= HTTP_HEADER_OCTETS, "{fields}");
        assert!(body <= octets.len());
    }
    let mut rest = octets;
    let pieces = std::iter::from_fn(|| {
        let (&first, after) = rest.split_first()?;
        let (piece, after) = after.split_at(usize::from(first >> 4).min(after.len()));
        rest = after;
        Some((
            u64::from(first) % u64::from(H3_SIDE_STREAMS),
            piece,
            first & 8 != 0,
        ))
    });
    if let Some(kept) = http3_side_streams(pieces) {
        assert!(
            kept <= H3_SIDE_STREAMS as usize * (H3_CONTROL_OCTETS + 16),
            "{kept}"
        );
    }
    // One stream is the same whole and octet by octet.
    let whole = http3_side_streams(std::iter::once((0, octets, false)));
    let cut = octets.chunks(1).map(|octet| (0, octet, false));
    assert_eq!(whole, http3_side_streams(cut));
}
