//! How HTTP carries queries and replies: where DNS over HTTPS has them (RFC 8484), and the frame that CoreDNS's gRPC service puts around them.
//!
//! A gRPC body is a flag for compression, a length of four octets, and a `DnsPacket { bytes msg = 1; }`.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderName;

use crate::limits;

/// Why a body is not one message of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unframed {
    /// It is shorter than flag and length.
    Empty,
    /// The message is compressed.
    Compressed,
    /// Not exactly one message.
    Length,
    /// No protobuf.
    Packet,
    /// The DNS message is longer than such messages are.
    TooLong,
}

/// Puts a DNS message, of at most 65,535 octets, into the body of a call or of a reply.
pub fn frame_grpc(message: &[u8]) -> Bytes {
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
    body.freeze()
}

/// The DNS message in a whole body; an empty one where the packet has none.
///
/// # Errors
/// It is not exactly one message.
pub fn unframe_grpc(body: &[u8]) -> Result<&[u8], Unframed> {
    let Some((&[flag, a, b, c, d], rest)) = body.split_first_chunk() else {
        return Err(Unframed::Empty);
    };
    if flag != 0 {
        return Err(Unframed::Compressed);
    }
    if u32::from_be_bytes([a, b, c, d]) as usize != rest.len() {
        return Err(Unframed::Length);
    }
    let message = packet(rest).ok_or(Unframed::Packet)?;
    match message.len() <= limits::MESSAGE_OCTETS {
        true => Ok(message),
        false => Err(Unframed::TooLong),
    }
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

/// Where DNS over HTTPS is asked.
pub const DOH_PATH: &str = "/dns-query";
/// The media type of its messages.
pub const DOH_TYPE: &str = "application/dns-message";
/// The method of CoreDNS's gRPC service.
pub const GRPC_PATH: &str = "/coredns.dns.DnsService/Query";
/// The media type of gRPC; what follows it says how messages are encoded.
pub const GRPC_TYPE: &str = "application/grpc";
/// How a call ended, in the trailers.
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// Octets of the longest body of gRPC that is read.
pub const GRPC_BODY_OCTETS: usize = limits::MESSAGE_OCTETS + limits::GRPC_EXTRA_OCTETS;
/// Field 1, with a length in front.
const FIELD_MSG: u8 = 1 << 3 | 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_of_every_length_come_back() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 65_535] {
            let message = vec![7; len];
            let body = frame_grpc(&message);
            assert!(body.len() <= GRPC_BODY_OCTETS);
            assert_eq!(unframe_grpc(&body), Ok(&message[..]), "{len}");
            let cut = &body[..body.len() - 1];
            assert_eq!(unframe_grpc(cut), Err(Unframed::Length));
        }
    }

    #[test]
    fn other_bodies_are_told_apart() {
        let check = |body: &[u8], want| assert_eq!(unframe_grpc(body), want, "{body:?}");
        // Another field before it, none at all, and two, of which the last counts.
        check(b"\0\0\0\0\x06\x10\x85\x01\x0a\x01x", Ok(b"x"));
        check(b"\0\0\0\0\0", Ok(b""));
        check(b"\0\0\0\0\x06\x0a\x01x\x0a\x01y", Ok(b"y"));
        check(b"\0\0\0\0", Err(Unframed::Empty));
        check(b"\x01\0\0\0\x03\x0a\x01x", Err(Unframed::Compressed));
        check(b"\0\0\0\0\x02\x0a\x01x", Err(Unframed::Length));
        // A kind that is no more, field 0, a length beyond the end, a number without one.
        for packet in [&b"\x0b"[..], b"\x02\0", b"\x0a\x09", b"\x0a\xff"] {
            let body = [&[0, 0, 0, 0, packet.len() as u8], packet].concat();
            check(&body, Err(Unframed::Packet));
        }
        let long = frame_grpc(&[0; limits::MESSAGE_OCTETS + 1]);
        check(&long, Err(Unframed::TooLong));
    }

    proptest! {
        #[test]
        fn any_body_is_read(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = unframe_grpc(&body);
        }
    }
}
