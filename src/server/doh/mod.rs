//! DNS over HTTPS (RFC 8484) apart from its transport: from the head and body of a request to a message, from an outcome to a response.
//!
//! ```text
//!   request -> wants --Ask--------------> ask -> Now(response) | Later(waits) -> late(form, reply)
//!                    --Body--> body ----> ask
//!                    --Refuse-> error
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

mod forwarded;
mod json;
mod query;
#[cfg(test)]
mod tests;

pub(super) use forwarded::client;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::session::{Outcome, Session, Waits};
use crate::limits;
use crate::transport::http_forms::{DOH_PATH, DOH_TYPE};
use crate::wire::{name, types};

/// What the head of a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// An answer to this message.
    Ask(Form, Vec<u8>),
    /// An answer to the message in its body, of at most `limits::MESSAGE_OCTETS`.
    Body,
    /// Nothing that there is: the status, and a text for whoever looks.
    Refuse(StatusCode, &'static str),
}

/// How the reply is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As a message.
    Wire,
    /// As JSON, in the form that public resolvers use.
    Json,
}

/// What became of a request.
pub(super) enum Answered {
    Now(Response<Bytes>),
    /// Its reply makes the response with [`late`].
    Later(Waits),
}

/// Reads the head of a request. The content type does not matter, as with CoreDNS. `has_json`: there is a JSON form too.
pub(super) fn wants(head: &Parts, has_json: bool) -> Wants {
    if head.uri.path() != DOH_PATH {
        return Wants::Refuse(StatusCode::NOT_FOUND, "not found");
    }
    let parameters = head.uri.query().unwrap_or_default();
    let is_get = head.method == Method::GET;
    if !is_get && head.method != Method::POST {
        return Wants::Refuse(StatusCode::BAD_REQUEST, "invalid request");
    }
    if has_json && json::is_meant(head, parameters) {
        return match json::message(parameters) {
            Ok(message) => Wants::Ask(Form::Json, message),
            Err(reason) => Wants::Refuse(StatusCode::BAD_REQUEST, reason),
        };
    }
    if !is_get {
        return Wants::Body;
    }
    match query::message(parameters) {
        Ok(message) => Wants::Ask(Form::Wire, message),
        Err(reason) => Wants::Refuse(StatusCode::BAD_REQUEST, reason),
    }
}

/// Asks, without waiting.
pub(super) fn ask(session: &Session, form: Form, message: &[u8]) -> Answered {
    session.ask(message, |outcome| match outcome {
        Outcome::Reply(reply) => {
            Answered::Now(response(form, reply, || Bytes::copy_from_slice(reply)))
        }
        Outcome::Rejected(_) => Answered::Now(error(StatusCode::BAD_REQUEST, "invalid request")),
        Outcome::Silent => Answered::Now(silence()),
        Outcome::Waits(waits) => Answered::Later(waits),
    })
}

/// The response to what had to wait.
pub(super) fn late(form: Form, reply: Option<Vec<u8>>) -> Response<Bytes> {
    let Some(reply) = reply else {
        return silence();
    };
    let reply = Bytes::from(reply);
    response(form, &reply, || reply.clone())
}

/// A response without a reply.
pub(super) fn error(status: StatusCode, text: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    fields.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    response
}

/// CoreDNS's words for what a plugin wants no reply to.
fn silence() -> Response<Bytes> {
    error(StatusCode::INTERNAL_SERVER_ERROR, "No response")
}

fn response(form: Form, reply: &[u8], wire: impl FnOnce() -> Bytes) -> Response<Bytes> {
    let (kind, body) = match form {
        Form::Wire => (DOH_TYPE, wire()),
        Form::Json => match json::text(reply) {
            Some(text) => ("application/dns-json", Bytes::from(text)),
            None => {
                return error(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the reply has no JSON form; ask for application/dns-message",
                );
            }
        },
    };
    let mut fields = HeaderMap::with_capacity(4);
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(CACHE_CONTROL, max_age(lowest_ttl(reply)));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let mut response = Response::new(body);
    *response.headers_mut() = fields;
    response
}

/// `max-age=N`, written without a detour over text.
fn max_age(seconds: u32) -> HeaderValue {
    const PREFIX: &[u8] = b"max-age=";
    let mut octets = *b"max-age=0000000000";
    let (mut at, mut rest) = (octets.len(), seconds);
    while at == octets.len() || rest > 0 {
        at -= 1;
        // A digit, in an octet.
        octets[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    octets.copy_within(at.., PREFIX.len());
    let len = PREFIX.len() + octets.len() - at;
    HeaderValue::from_bytes(&octets[..len]).unwrap_or(HeaderValue::from_static("max-age=0"))
}

/// The lowest TTL of all records but OPT, an hour at most; 0 if there is none (RFC 8484 section 5.1).
fn lowest_ttl(reply: &[u8]) -> u32 {
    let count = |at: usize| -> u32 {
        let octets = reply.get(at..at + 2);
        octets.map_or(0, |two| u32::from(u16::from_be_bytes([two[0], two[1]])))
    };
    let (questions, records) = (count(4), count(6) + count(8) + count(10));
    let mut lowest = None;
    let mut at = 12;
    for _ in 0..questions {
        match name::skip(reply, at) {
            Ok(end) => at = end + 4,
            Err(_) => return 0,
        }
    }
    for _ in 0..records {
        let Ok(end) = name::skip(reply, at) else {
            return 0;
        };
        let Some(&[t0, t1, _, _, a, b, c, d, l0, l1]) =
            reply.get(end..end + 10).and_then(|fixed| fixed.as_array())
        else {
            return 0;
        };
        if u16::from_be_bytes([t0, t1]) != types::OPT {
            let ttl = u32::from_be_bytes([a, b, c, d]);
            lowest = Some(lowest.map_or(ttl, |least: u32| least.min(ttl)));
        }
        at = end + 10 + usize::from(u16::from_be_bytes([l0, l1]));
    }
    lowest.unwrap_or(0).min(limits::HTTP_MAX_AGE_S)
}
