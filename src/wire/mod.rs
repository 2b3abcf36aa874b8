//! Bytes of a DNS message to meaning and back.
//!
//! Runs on: pure.
//!
//! **Invariant**: no I/O, no clock, no allocation after warm-up; every read is bounds-checked.
//!
//! [`query::parse`] reads what a client sent, [`reply::Reply`] is an answer under construction (or a stored one, still packed), and
//! [`scrub::fit`] turns it into the bytes that go out.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

pub mod direct;
pub mod edns;
pub mod kind;
pub mod name;
pub mod plain;
pub mod query;
pub mod rcode;
pub mod rdata;
pub mod reply;
pub mod scrub;
pub mod sheet;
pub mod types;

/// Octets of the header of a message (RFC 1035 section 4.1.1).
pub const HEADER: usize = 12;

/// Bits of the second 16-bit word of the header (RFC 1035 section 4.1.1, RFC 4035 section 3).
pub mod flag {
    /// Response.
    pub const QR: u16 = 0x8000;
    /// Authoritative answer.
    pub const AA: u16 = 0x0400;
    /// Truncated.
    pub const TC: u16 = 0x0200;
    /// Recursion desired.
    pub const RD: u16 = 0x0100;
    /// Recursion available.
    pub const RA: u16 = 0x0080;
    /// Reserved.
    pub const Z: u16 = 0x0040;
    /// Authentic data.
    pub const AD: u16 = 0x0020;
    /// Checking disabled.
    pub const CD: u16 = 0x0010;
    /// Mask of the opcode.
    pub const OPCODE: u16 = 0x7800;
    /// Mask of the four low bits of the rcode.
    pub const RCODE: u16 = 0x000f;
}

/// Why bytes are not a DNS message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The message ends inside a field.
    #[error("message is cut short")]
    Short,
    /// A label or a compression pointer breaks RFC 1035 section 4.1.4.
    #[error("bad domain name")]
    Name,
    /// Rdata does not have the shape of its type.
    #[error("bad rdata")]
    Rdata,
}

/// Reads a big-endian 16-bit number at `at`.
pub fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Malformed> {
    match bytes.get(at..at + 2) {
        Some(b) => Ok(u16::from_be_bytes([b[0], b[1]])),
        None => Err(Malformed::Short),
    }
}

/// Reads a big-endian 32-bit number at `at`.
pub fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    match bytes.get(at..at + 4) {
        Some(b) => Ok(u32::from_be_bytes([b[0], b[1], b[2], b[3]])),
        None => Err(Malformed::Short),
    }
}
