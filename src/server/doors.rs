//! What the fuzz targets call of this room: readers of what HTTP clients send, which are nobody else's to call.

use std::collections::BTreeSet;

use http::request::Parts;
use quinn_proto::{Dir, Side, StreamId};

use super::doh::{self, Wants};
use super::stream::http::grpc;
use crate::transport::h2_authority::Authorities;
use crate::transport::h3;

/// Reads the stream of a request over HTTP/3 that has ended: octets of its fields (names and values) and of its body. `None`: it is refused.
pub fn http3_request(stream: &[u8]) -> Option<(usize, usize)> {
    let (head, body) = h3::request::read(stream).ok()?;
    let fields = head.headers.iter();
    let octets = fields.map(|(name, value)| name.as_str().len() + value.len());
    Some((octets.sum(), body.len()))
}

/// Reads the streams of one way of an HTTP/3 client: stream `nth`, below `limits::H3_SIDE_STREAMS`, then octets of it, then whether they are
/// its last. Returns the octets that are kept until more come; `None`: the connection is ended.
pub fn http3_side_streams<'a>(parts: impl Iterator<Item = (u64, &'a [u8], bool)>) -> Option<usize> {
    let mut peer = h3::Peer::new(h3::End::Client);
    let mut stopped = BTreeSet::new();
    for (nth, octets, is_over) in parts {
        let id = StreamId::new(Side::Client, Dir::Uni, nth);
        // As a connection does: nothing of it is read any more.
        if !stopped.contains(&nth) && peer.take(id, octets, is_over).ok()? == h3::Side::Unknown {
            stopped.insert(nth);
        }
    }
    Some(peer.kept())
}

/// Octets that an HTTP/2 client sends, which come `piece_len` at a time, as they are handed to h2.
pub fn http2_received(octets: &mut [u8], piece_len: usize) {
    let mut authorities = Authorities::default();
    for piece in octets.chunks_mut(piece_len) {
        authorities.mend(piece);
    }
}

/// The message of a DoH request whose head this is, be it in wire form or as JSON parameters; `None`: it is in the body, or refused.
pub fn doh_message(head: &Parts) -> Option<Vec<u8>> {
    match doh::wants(head, true) {
        Wants::Ask(_, message) => Some(message.to_vec()),
        _ => None,
    }
}

/// The message in the whole body of a gRPC call; `None`: the call ends with a status.
pub fn grpc_message(body: &[u8]) -> Option<&[u8]> {
    grpc::message(body).ok()
}
