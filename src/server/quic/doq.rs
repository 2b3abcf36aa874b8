//! DNS over QUIC (RFC 9250): one query on each stream, behind two octets of length, and one reply.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::RefCell;

use crate::limits;
use crate::wire::edns::option;
use crate::wire::query::{self, OPCODE_QUERY, Parsed};
use crate::wire::types;

/// Error codes (RFC 9250 section 4.3).
pub(super) mod code {
    /// Nothing is wrong.
    pub(in crate::server::quic) const NO_ERROR: u32 = 0;
    /// We could not.
    pub(in crate::server::quic) const INTERNAL_ERROR: u32 = 1;
    /// The client does what it must not.
    pub(in crate::server::quic) const PROTOCOL_ERROR: u32 = 2;
    /// It is too much.
    pub(in crate::server::quic) const EXCESSIVE_LOAD: u32 = 4;
}

/// The message of a whole stream. An error is one of the protocol, which ends the connection (section 4.3.3).
pub(super) fn message(stream: &[u8]) -> Result<&[u8], &'static str> {
    let Some((len, message)) = stream.split_first_chunk::<2>() else {
        return Err("a stream without a query");
    };
    if usize::from(u16::from_be_bytes(*len)) != message.len() {
        return Err("a stream that is not one query");
    }
    match message {
        [0, 0, ..] => {}
        _ => return Err("the message id must be 0"),
    }
    if has_keepalive(message) {
        return Err("edns-tcp-keepalive has no place in QUIC");
    }
    Ok(message)
}

/// Octets of a stream that are of use.
pub(super) const STREAM_OCTETS: usize = 2 + limits::MESSAGE_OCTETS;

/// Writes a reply as it stands on its stream.
pub(super) fn write(reply: &[u8], out: &mut Vec<u8>) {
    // No reply is longer than `limits::MESSAGE_OCTETS`.
    out.extend((reply.len() as u16).to_be_bytes());
    out.extend(reply);
}

/// Whether asking twice does no more than asking once, so that early data, which anybody may send again, may ask it (section 4.5).
pub(super) fn is_replayable(message: &[u8]) -> bool {
    PARSED.with_borrow_mut(|parsed| {
        query::parse(message, parsed);
        let is_transfer = matches!(parsed.qtype, types::AXFR | types::IXFR);
        let opcode = message
            .get(2)
            .map_or(0, |flags| u16::from(flags >> 3 & 0xf));
        opcode == OPCODE_QUERY && parsed.has_question && !is_transfer
    })
}

/// Whether the query has an edns-tcp-keepalive option (section 5.5.2). Queries that end with an OPT record without options, or have no
/// additional record, are told without parsing.
fn has_keepalive(message: &[u8]) -> bool {
    let has_none = message.get(10..12) == Some(&[0, 0]);
    if has_none
        || message.ends_with(&[0, 0])
            && message.get(message.len().saturating_sub(11)..message.len().saturating_sub(8))
                == Some(&[0, 0, 41])
    {
        return false;
    }
    PARSED.with_borrow_mut(|parsed| {
        query::parse(message, parsed);
        parsed.edns.find(option::TCP_KEEPALIVE).is_some()
    })
}

thread_local! {
    /// Where messages are parsed to look at them.
    static PARSED: RefCell<Parsed> = RefCell::default();
}
