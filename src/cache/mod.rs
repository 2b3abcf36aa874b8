//! The answer store: one shard per core, read by every thread without a lock.
//!
//! Runs on: data core.
//!
//! **Invariant**: a shard is written by its home task thread only; readers never wait, and what a reader found stays
//! readable until its [`Pin`] is dropped.
//!
//! ```text
//!   Key --hash--> home shard --hash--> bucket ==> entry ==> entry --> null      (readers: atomic loads under a Pin)
//!                     |
//!                     +-- success: probation queue, main queue, hand            (home task thread only)
//!                     +-- denial:  probation queue, main queue, hand
//! ```
//!
//! A link (`==>`) holds 16 bits beside the address that say which hashes are behind it, so a miss ends at the bucket and a hit at
//! its entry, most often: with a million entries each step is a miss of the processor's caches. Shards are as large as the
//! shares of their cores.
//!
//! One [`Store`] belongs to one server block with *cache*, so blocks and views never see each other's answers. A store has a
//! success and a denial table, each with its own quota of entries and octets, behind one index: a lookup is one walk and
//! returns what either table holds. An entry is one allocation (header, TTL offsets, the packed reply), never changed after
//! it was published except for its marks; a new answer replaces it and the old one is freed when no reader can hold it.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

mod entry;
mod flight;
mod index;
mod link;
mod shard;
mod sieve;
pub mod snapshot;
mod store;
mod walk;

use crate::wire::name;

pub use crate::runtime::epoch::Pin;
pub use entry::{Entry, NewEntry, Patch};
pub use flight::{Flights, Role, Ticket};
pub use shard::Refused;
pub use store::{Found, Plan, ShardWriter, Share, Store};

/// Which of a store's two tables an entry lives in; each has its own capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Answers, delegations and empty NOERROR without SOA.
    Success = 0,
    /// NXDOMAIN, NODATA and errors.
    Denial = 1,
}

/// What an answer is stored under; two keys are equal when every field is, the hash alone decides nothing.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The keyed hash of the name, mixed with the other fields.
    pub hash: u64,
    /// The QNAME in wire format, lower-cased, root label included; at most `limits::NAME_OCTETS` long.
    pub name: &'a [u8],
    /// QTYPE.
    pub qtype: u16,
    /// QCLASS.
    pub qclass: u16,
    /// The query's DO bit: an answer with signatures is not one without.
    pub dnssec_ok: bool,
    /// The query's CD bit: an unvalidated answer must not reach those who asked for validation (RFC 4035 section 4.7).
    pub checking_disabled: bool,
}

impl<'a> Key<'a> {
    /// The key of a question whose lower-cased `name` has the keyed hash `name_hash` ([`name::hash`]).
    pub fn new(
        name_hash: u64,
        name: &'a [u8],
        qtype: u16,
        qclass: u16,
        dnssec_ok: bool,
        checking_disabled: bool,
    ) -> Self {
        Key {
            hash: name::question_hash(name_hash, qtype, qclass, dnssec_ok, checking_disabled),
            name,
            qtype,
            qclass,
            dnssec_ok,
            checking_disabled,
        }
    }
}

#[cfg(test)]
mod tests;
