//! Replies that were written straight to the buffer that is sent: what their writer tells about them.

use super::rcode::Rcode;

/// A whole message without OPT; its id is 0, and of the flags only QR, AA and the rcode are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Octets of the message.
    pub len: usize,
    /// Octets it would take with no name compressed: the size that logs and metrics report.
    pub uncompressed_len: usize,
    /// Its rcode.
    pub rcode: Rcode,
    /// Its address records, where the answer section is made of them.
    pub addresses: Option<AddressRun>,
    /// CoreDNS's option `fallthrough` applies: the name has no records of its own.
    pub may_fall_through: bool,
    /// A wildcard made the answer, which is metadata.
    pub is_wildcard: bool,
}

/// Address records of the answer section that *loadbalance* may permute: they stand one after the other with one owner, type and
/// TTL, so that swapping rdata swaps records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRun {
    /// Where the rdata of the first one stands in the message.
    pub rdata_at: u16,
    /// Octets from one rdata to the next.
    pub stride: u16,
    /// How many there are.
    pub count: u16,
    /// Octets of rdata: 4 or 16.
    pub octets: u8,
}
