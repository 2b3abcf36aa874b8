//! CoreDNS's gRPC service, `coredns.dns.DnsService/Query`, apart from HTTP/2: heads, the message in its body, and how calls end.
//!
//! A call's body is a flag for compression, a length of four octets, and a `DnsPacket { bytes msg = 1; }`.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::limits;

/// How a call ends: gRPC's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// With a reply.
    Ok = 0,
    /// No message that a server takes.
    InvalidArgument = 3,
    /// Longer than a message may be.
    ResourceExhausted = 8,
    /// No such service or method, or compressed.
    Unimplemented = 12,
    /// There is no reply.
    Internal = 13,
}

/// Whether the head is that of our method.
///
/// # Errors
/// The response.
pub(super) fn check(head: &Parts) -> Result<(), Response<()>> {
    if head.method != Method::POST {
        return Err(bare(StatusCode::METHOD_NOT_ALLOWED));
    }
    let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let after = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    if !after.is_some_and(|after| matches!(after, [] | [b'+' | b';', ..])) {
        return Err(bare(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    if head.uri.path() != METHOD {
        return Err(failure(Status::Unimplemented, "unknown service or method"));
    }
    Ok(())
}

/// The DNS message in a whole body.
///
/// # Errors
/// How the call ends.
pub(super) fn message(body: &[u8]) -> Result<&[u8], Response<()>> {
    let invalid = |text| failure(Status::InvalidArgument, text);
    let Some((&[flag, a, b, c, d], rest)) = body.split_first_chunk() else {
        return Err(invalid("the call has no message"));
    };
    if flag != 0 {
        return Err(failure(
            Status::Unimplemented,
            "compressed messages are not taken",
        ));
    }
    if u32::from_be_bytes([a, b, c, d]) as usize != rest.len() {
        return Err(invalid("not exactly one message"));
    }
    let message = packet(rest).ok_or_else(|| invalid("the message is no DnsPacket"))?;
    if message.len() > limits::MESSAGE_OCTETS {
        return Err(too_long());
    }
    Ok(message)
}

/// The end of a call whose message is too long.
pub(super) fn too_long() -> Response<()> {
    failure(
        Status::ResourceExhausted,
        "the message is longer than DNS messages are",
    )
}

/// The head of a reply, its body, and the trailers that go with it.
pub(super) fn reply(message: &[u8]) -> (Response<()>, Bytes, HeaderMap) {
    let mut length = [0; 5];
    let length = varint(message.len(), &mut length);
    let packet_len = 1 + length.len() + message.len();
    let mut body = BytesMut::with_capacity(5 + packet_len);
    body.put_u8(0);
    // A message has at most 65,535 octets.
    body.put_u32(packet_len as u32);
    body.put_u8(FIELD_MSG);
    body.put_slice(length);
    body.put_slice(message);
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(STATUS, HeaderValue::from(Status::Ok as u16));
    (bare(StatusCode::OK), body.freeze(), trailers)
}

/// A call that ends without a reply.
pub(super) fn failure(status: Status, text: &'static str) -> Response<()> {
    let mut response = bare(StatusCode::OK);
    let fields = response.headers_mut();
    fields.insert(STATUS, HeaderValue::from(status as u16));
    fields.insert(MESSAGE, HeaderValue::from_static(text));
    response
}

fn bare(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// The field `msg` of a `DnsPacket`, empty if it has none; others are skipped. `None`: it is no message of protobuf.
fn packet(mut rest: &[u8]) -> Option<&[u8]> {
    let mut message: &[u8] = &[];
    while !rest.is_empty() {
        let key = take_varint(&mut rest)?;
        if key >> 3 == 0 {
            return None;
        }
        match key & 7 {
            0 => drop(take_varint(&mut rest)?),
            1 => rest = rest.get(8..)?,
            2 => {
                let len = usize::try_from(take_varint(&mut rest)?).ok()?;
                let (value, after) = rest.split_at_checked(len)?;
                if key == u64::from(FIELD_MSG) {
                    // Of several the last one counts.
                    message = value;
                }
                rest = after;
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(message)
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for nth in 0..10 {
        let (&octet, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(octet & 0x7f) << (7 * nth);
        if octet < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Writes a number that fits 32 bits.
fn varint(mut number: usize, out: &mut [u8; 5]) -> &[u8] {
    let mut len = 0;
    for octet in out.iter_mut() {
        *octet = (number & 0x7f) as u8;
        number >>= 7;
        len += 1;
        if number == 0 {
            break;
        }
        *octet |= 0x80;
    }
    &out[..len]
}

/// Octets of the longest body that is read.
pub(super) const BODY_OCTETS: usize = limits::MESSAGE_OCTETS + limits::GRPC_EXTRA_OCTETS;
/// Field 1, with a length in front.
const FIELD_MSG: u8 = 1 << 3 | 2;
const METHOD: &str = "/coredns.dns.DnsService/Query";
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
