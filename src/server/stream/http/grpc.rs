//! CoreDNS's gRPC service, `coredns.dns.DnsService/Query`, apart from HTTP/2: heads, the message in its body, and how calls end.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::transport::http_forms::{
    GRPC_PATH, GRPC_STATUS, GRPC_TYPE, Unframed, frame_grpc, unframe_grpc,
};

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
    let after = kind.and_then(|kind| kind.strip_prefix(GRPC_TYPE.as_bytes()));
    if !after.is_some_and(|after| matches!(after, [] | [b'+' | b';', ..])) {
        return Err(bare(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    if head.uri.path() != GRPC_PATH {
        return Err(failure(Status::Unimplemented, "unknown service or method"));
    }
    Ok(())
}

/// The DNS message in a whole body.
///
/// # Errors
/// How the call ends.
pub(in crate::server) fn message(body: &[u8]) -> Result<&[u8], Response<()>> {
    let invalid = |text| failure(Status::InvalidArgument, text);
    unframe_grpc(body).map_err(|unframed| match unframed {
        Unframed::Empty => invalid("the call has no message"),
        Unframed::Compressed => failure(Status::Unimplemented, "compressed messages are not taken"),
        Unframed::Length => invalid("not exactly one message"),
        Unframed::Packet => invalid("the message is no DnsPacket"),
        Unframed::TooLong => too_long(),
    })
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
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from(Status::Ok as u16));
    (bare(StatusCode::OK), frame_grpc(message), trailers)
}

/// A call that ends without a reply.
pub(super) fn failure(status: Status, text: &'static str) -> Response<()> {
    let mut response = bare(StatusCode::OK);
    let fields = response.headers_mut();
    fields.insert(GRPC_STATUS, HeaderValue::from(status as u16));
    fields.insert(MESSAGE, HeaderValue::from_static(text));
    response
}

fn bare(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(GRPC_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
