//! HTTP/3 (RFC 9114) as far as DNS over HTTPS needs it: requests that are whole, responses that are whole.
//!
//! Runs on: data core.
//!
//! **Invariant**: octets in, meaning out; nothing is kept between two messages, and nothing is longer than its bound.
//!
//! A message is looked at when its stream has ended, and is short by a bound; so there is nothing to keep between two packets but octets.
//! Both ends use it: listeners read [`request`]s, upstreams read [`response`]s, and each writes the other.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

mod qpack;
pub(crate) mod request;
pub(crate) mod response;
mod side;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use side::{End, Peer, Side};

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use quinn_proto::VarInt;

use crate::limits::{H3_FRAMING_OCTETS, HTTP_HEADER_OCTETS, MESSAGE_OCTETS};

/// Error codes (RFC 9114 section 8.1, RFC 9204 section 6).
pub(crate) mod code {
    pub(crate) const NO_ERROR: u32 = 0x100;
    pub(crate) const STREAM_CREATION_ERROR: u32 = 0x103;
    pub(crate) const CLOSED_CRITICAL_STREAM: u32 = 0x104;
    pub(crate) const FRAME_UNEXPECTED: u32 = 0x105;
    pub(crate) const FRAME_ERROR: u32 = 0x106;
    pub(crate) const EXCESSIVE_LOAD: u32 = 0x107;
    pub(crate) const ID_ERROR: u32 = 0x108;
    pub(crate) const SETTINGS_ERROR: u32 = 0x109;
    pub(crate) const MISSING_SETTINGS: u32 = 0x10a;
    pub(crate) const REQUEST_REJECTED: u32 = 0x10b;
    pub(crate) const REQUEST_CANCELLED: u32 = 0x10c;
    pub(crate) const REQUEST_INCOMPLETE: u32 = 0x10d;
    pub(crate) const MESSAGE_ERROR: u32 = 0x10e;
    pub(crate) const QPACK_DECOMPRESSION_FAILED: u32 = 0x200;
    pub(crate) const QPACK_ENCODER_STREAM_ERROR: u32 = 0x201;
    pub(crate) const QPACK_DECODER_STREAM_ERROR: u32 = 0x202;
}

/// What is wrong with a request or a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its stream ends, with this code.
    Stream(u32),
    /// The connection ends, with this code and reason.
    Connection(u32, &'static str),
}

/// The stream type of our control stream, and our settings on it: as much of header fields as is taken; all else is the default, which
/// is no dynamic table.
pub(crate) const SETTINGS: &[u8] = &[
    0x00, // control stream
    0x04, 0x05, // SETTINGS, 5 octets
    0x06, 0x80, 0x00, 0x40, 0x00, // SETTINGS_MAX_FIELD_SECTION_SIZE: 16,384
];
const _: () = assert!(HTTP_HEADER_OCTETS == 0x4000);

/// Octets of the longest stream that can be a request or a response.
pub(crate) const STREAM_OCTETS: usize = HTTP_HEADER_OCTETS + MESSAGE_OCTETS + H3_FRAMING_OCTETS;

/// Reads the stream of a message: its head, by `read_head`, which passes over one that is not the last with `None`, and its body.
fn read<H>(
    mut stream: &[u8],
    read_head: impl Fn(&[u8]) -> Result<Option<H>, Fault>,
) -> Result<(H, Cow<'_, [u8]>), Fault> {
    let mut head = None;
    let mut body = Cow::Borrowed(&[][..]);
    let mut has_trailers = false;
    while !stream.is_empty() {
        let (kind, payload) = frame(&mut stream).ok_or(CUT)?;
        match (kind, &head) {
            (frame_type::HEADERS, None) => head = read_head(payload)?,
            (frame_type::HEADERS, Some(_)) if !has_trailers => {
                has_trailers = true;
                qpack::decode(payload, |_, _| {}).map_err(fault)?;
            }
            (frame_type::DATA, Some(_)) if !has_trailers => match body.is_empty() {
                true => body = Cow::Borrowed(payload),
                false => body.to_mut().extend(payload),
            },
            (kind, _) if frame_type::is_misplaced(kind) => {
                return Err(Fault::Connection(
                    code::FRAME_UNEXPECTED,
                    "a frame that has no place in a message",
                ));
            }
            // Frames of unknown types are ignored (section 9).
            _ => {}
        }
    }
    match head {
        Some(head) => Ok((head, body)),
        None => Err(Fault::Stream(code::REQUEST_INCOMPLETE)),
    }
}

/// Reads a block of fields: `pseudo` is given name and value of those of the protocol, which come before all others (section 4.3), and says
/// whether they are right.
fn read_fields(
    block: &[u8],
    headers: &mut HeaderMap,
    mut pseudo: impl FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), Fault> {
    let mut is_good = true;
    qpack::decode(block, |name, value| {
        is_good &= match name {
            [b':', name @ ..] => headers.is_empty() && pseudo(name, value),
            _ => match (
                HeaderName::from_lowercase(name),
                HeaderValue::from_bytes(value),
            ) {
                (Ok(name), Ok(value)) => {
                    is_of_http3(&name, &value) && headers.try_append(name, value).is_ok()
                }
                _ => false,
            },
        };
    })
    .map_err(fault)?;
    match is_good {
        true => Ok(()),
        false => Err(Fault::Stream(code::MESSAGE_ERROR)),
    }
}

/// Writes a message as it stands on its stream.
fn write(pseudo: &[(&str, &str)], headers: &HeaderMap, body: &[u8], out: &mut Vec<u8>) {
    let mut block = Vec::with_capacity(64);
    qpack::write_prefix(&mut block);
    for (name, value) in pseudo {
        qpack::write_field(name, value.as_bytes(), &mut block);
    }
    for (name, value) in headers {
        qpack::write_field(name.as_str(), value.as_bytes(), &mut block);
    }
    write_frame(frame_type::HEADERS, &block, out);
    if !body.is_empty() {
        write_frame(frame_type::DATA, body, out);
    }
}

/// Types of frames (section 7.2).
mod frame_type {
    pub(super) const DATA: u64 = 0;
    pub(super) const HEADERS: u64 = 1;
    pub(super) const CANCEL_PUSH: u64 = 3;
    pub(super) const SETTINGS: u64 = 4;
    pub(super) const PUSH_PROMISE: u64 = 5;
    pub(super) const GOAWAY: u64 = 7;
    pub(super) const MAX_PUSH_ID: u64 = 0xd;

    /// Those that are known and belong elsewhere, those of HTTP/2 among them (section 7.2.8).
    pub(super) fn is_misplaced(kind: u64) -> bool {
        matches!(
            kind,
            DATA | HEADERS
                | CANCEL_PUSH
                | SETTINGS
                | PUSH_PROMISE
                | GOAWAY
                | MAX_PUSH_ID
                | 2
                | 6
                | 8
                | 9
        )
    }
}

/// Takes a frame from the front; `None`: it is not whole.
fn frame<'a>(octets: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let mut rest = *octets;
    let (kind, len) = (varint(&mut rest)?, varint(&mut rest)?);
    let (payload, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *octets = rest;
    Some((kind, payload))
}

fn write_frame(kind: u64, payload: &[u8], out: &mut Vec<u8>) {
    // Types are below 64; lengths are those of messages and a few fields.
    out.push(kind as u8);
    let len = payload.len() as u32;
    match len {
        0..64 => out.push(len as u8),
        64..16_384 => out.extend((len as u16 | 0x4000).to_be_bytes()),
        _ => out.extend((len | 0x8000_0000).to_be_bytes()),
    }
    out.extend(payload);
}

/// An integer of QUIC (RFC 9000 section 16).
fn varint(octets: &mut &[u8]) -> Option<u64> {
    let first = *octets.first()?;
    let (number, rest) = octets.split_at_checked(1 << (first >> 6))?;
    *octets = rest;
    let value = number
        .iter()
        .fold(0, |value, &octet| value << 8 | u64::from(octet));
    // The two bits of the length are the highest.
    Some(value & VarInt::MAX.into_inner() >> (62 - (8 * number.len() - 2)))
}

/// Fields of a connection make a message malformed (section 4.2).
fn is_of_http3(name: &HeaderName, value: &HeaderValue) -> bool {
    match name.as_str() {
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => false,
        "te" => value == "trailers",
        _ => true,
    }
}

fn fault(wrong: qpack::Wrong) -> Fault {
    match wrong {
        qpack::Wrong::Block => Fault::Connection(
            code::QPACK_DECOMPRESSION_FAILED,
            "header fields that cannot be read",
        ),
        qpack::Wrong::Long => Fault::Stream(code::EXCESSIVE_LOAD),
    }
}

/// A stream that ends within a frame (section 7.1).
const CUT: Fault = Fault::Connection(code::FRAME_ERROR, "a frame that is cut");
