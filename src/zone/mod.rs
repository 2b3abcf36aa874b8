//! Parsed authoritative zones and the lookup in them.
//!
//! Runs on: pure.
//!
//! **Invariant**: a published zone is immutable; lookups allocate nothing.
//!
//! ```text
//! text -> parallel (chunks) -> lex (entries of tokens) -> entries (directives, owner, TTL, type) -> rdata (fields -> wire)
//!                                                             |                                        |
//!                                                             +------------- build (parts) ------------+
//!                                                                             |
//!                     a transfer (wire records) ----------------------------->+--> assemble --> tree (Zone)
//!
//! tree --> lookup --> Sink (reply: records of a Reply)
//!      `-> direct --> the octets that are sent
//! ```

mod assemble;
mod build;
mod direct;
mod entries;
mod generate;
mod lex;
mod load;
mod lookup;
mod name;
mod parallel;
mod part;
mod rdata;
mod record;
mod reply;
mod special;
mod tail;
#[cfg(test)]
mod tests;
mod tree;

pub use build::{Builder, Reject};
pub use load::{LoadError, Loaded, load_file, load_text, load_with};
pub use lookup::{Kind, Outcome, Section, Sink};
pub use name::{NameError, WireName, label_count, name_octets};
pub use record::{TextRecord, parse_record};
pub use reply::join;
pub use tree::{Cursor, Record, Zone};

/// The record types that zone code treats by name (IANA numbers).
pub mod rtype {
    #![allow(missing_docs)]
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const DNAME: u16 = 39;
    pub const DS: u16 = 43;
    pub const RRSIG: u16 = 46;
    pub const NSEC: u16 = 47;
    pub const DNSKEY: u16 = 48;
    pub const NSEC3: u16 = 50;
    pub const NSEC3PARAM: u16 = 51;
    pub const SVCB: u16 = 64;
    pub const HTTPS: u16 = 65;
    pub const ANY: u16 = 255;
}

/// The only class that zones hold (RFC 1035 section 3.2.4: IN).
pub const CLASS_IN: u16 = 1;
