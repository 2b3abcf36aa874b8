//! The short way of a block: a [`Plain`] query is answered from memory without a [`Query`](super::Query), without records, and with one copy.
//!
//! ```text
//!   plain_query, downwards: decides, leaves no trace     -> one row writes the whole reply
//!   plain_reply, upwards:   may reorder what was written
//!   plain_done:             counts and logs, cannot fail
//! ```
//! At any step before the last a row may say that this query needs the long way. Nothing has happened then, and the query starts anew as a
//! `Query`; hence the rule that only `plain_done` counts. A plugin that knows nothing of all this bars the way: in a block with *template*
//! above *cache* every query takes the long one.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::net::SocketAddr;

use super::chain::Chain;
use super::query::{Arrival, SocketAddrSlot};
use crate::cache::{Entry, Pin};
use crate::wire::direct::Written;
use crate::wire::plain::Plain;
use crate::wire::{HEADER, flag, scrub};

/// What a plugin does on the short way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlainPart {
    /// It must see every query as a [`Query`](super::Query): rows below it are reached by the long way only.
    #[default]
    Bars,
    /// It has these steps; with none of them it has nothing to do for a query that is answered from memory.
    Steps {
        /// [`plain_query`](super::Plugin::plain_query) is called.
        query: bool,
        /// [`plain_reply`](super::Plugin::plain_reply) is called.
        reply: bool,
        /// [`plain_done`](super::Plugin::plain_done) is called.
        done: bool,
        /// What it answers from is larger than the CPU's caches, so that [`plain_prefetch`](super::Plugin::plain_prefetch) pays.
        prefetch: bool,
    },
}

impl PlainPart {
    /// Nothing to do.
    pub const NONE: PlainPart = PlainPart::Steps {
        query: false,
        reply: false,
        done: false,
        prefetch: false,
    };
    /// Only a decision on the way down.
    pub const QUERY: PlainPart = PlainPart::Steps {
        query: true,
        reply: false,
        done: false,
        prefetch: false,
    };
    /// A decision, and something to count when the reply is certain.
    pub const QUERY_DONE: PlainPart = PlainPart::Steps {
        query: true,
        reply: false,
        done: true,
        prefetch: false,
    };
    /// Only the order of what was written.
    pub const REPLY: PlainPart = PlainPart::Steps {
        query: false,
        reply: true,
        done: false,
        prefetch: false,
    };
    /// Only counting or logging.
    pub const DONE: PlainPart = PlainPart::Steps {
        query: false,
        reply: false,
        done: true,
        prefetch: false,
    };
}

/// What is to be fetched ahead, for a whole batch one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// What leads to the answer.
    Index,
    /// The answer, which what leads to it tells the place of.
    Answer,
}

/// What a step of the short way says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainFlow {
    /// Go on with the next row.
    Next,
    /// The reply stands in the buffer, and [`PlainQuery::written`] describes it.
    Reply,
    /// This query needs the long way.
    Long,
}

/// A query on the short way.
pub struct PlainQuery<'a> {
    /// The question and the header.
    pub plain: &'a Plain,
    /// The message that it was read from.
    pub message: &'a [u8],
    /// Where it came from and when, that is, when its batch was read; see [`PlainQuery::client`].
    pub arrival: &'a Arrival,
    /// Index into the block's sites.
    pub site: u16,
    /// Keeps cache entries readable.
    pub pin: &'a Pin,
    /// The client's UDP payload size as the plugins lower it.
    pub udp_size: u16,
    /// The stored answer that was written, where it was one.
    pub entry: Option<Entry<'a>>,
    /// The row that answered, once one did.
    pub row: usize,
    /// The reply, once it stands in the buffer.
    pub written: Written,
}

impl PlainQuery<'_> {
    /// The client; an IPv4-mapped address as IPv4.
    #[inline]
    pub fn client(&self) -> SocketAddr {
        SocketAddrSlot::from(self.arrival.peer).0
    }

    /// Takes over what was written, if anything could be.
    pub fn replied(&mut self, written: Option<Written>) -> PlainFlow {
        match written {
            Some(written) => {
                self.written = written;
                PlainFlow::Reply
            }
            None => PlainFlow::Long,
        }
    }

    /// The question section as the client wrote it.
    pub fn question(&self) -> &[u8] {
        self.plain.question(self.message)
    }

    /// Octets that a reply may take without its OPT record.
    pub fn room(&self) -> usize {
        self.size_limit() - self.plain.opt_len()
    }

    /// As much of a buffer as a reply may take without its OPT record.
    pub fn clip<'o>(&self, out: &'o mut [u8]) -> &'o mut [u8] {
        let len = self.room().min(out.len());
        &mut out[..len]
    }

    /// Octets that a reply may take.
    pub fn size_limit(&self) -> usize {
        let edns = self.plain.udp_size.map(|_| self.udp_size);
        scrub::limit(self.arrival.proto.cuts_replies(), edns)
    }

    /// Completes what was written: id, the flags that a reply copies, the OPT record. Returns its length.
    #[inline]
    fn complete(&self, out: &mut [u8]) -> Option<usize> {
        let len = self.written.len;
        let header: &mut [u8; HEADER] = out.first_chunk_mut()?;
        header[..2].copy_from_slice(&self.plain.id.to_be_bytes());
        let flags = u16::from_be_bytes([header[2], header[3]]);
        let flags = flags | self.plain.flags & (flag::RD | flag::CD);
        header[2..4].copy_from_slice(&flags.to_be_bytes());
        if self.plain.udp_size.is_none() {
            return Some(len);
        }
        // No reply of the short way has an additional section of 65,535 records.
        let additionals = u16::from_be_bytes([header[10], header[11]]) + 1;
        header[10..].copy_from_slice(&additionals.to_be_bytes());
        let rest = out.get_mut(len..)?;
        let used = self.plain.write_opt(self.message, self.udp_size, rest)?;
        Some(len + used)
    }
}

/// The rows of a chain that have a part in the short way, down to the first that bars it.
#[derive(Default)]
pub(super) struct PlainRows {
    rows: Box<[PlainRow]>,
    /// Whether one of them has a step `reply`.
    reorders: bool,
    /// The first that wants to fetch ahead: what stands below it is asked only where it has no answer.
    prefetcher: Option<usize>,
}

struct PlainRow {
    row: usize,
    query: bool,
    reply: bool,
    done: bool,
}

impl PlainRows {
    /// `parts` are those of all rows, in order.
    pub(super) fn new(parts: impl Iterator<Item = PlainPart>) -> PlainRows {
        let (mut rows, mut prefetcher) = (Vec::new(), None);
        for (row, part) in parts.enumerate() {
            let PlainPart::Steps {
                query,
                reply,
                done,
                prefetch,
            } = part
            else {
                break;
            };
            if prefetch && prefetcher.is_none() {
                prefetcher = Some(row);
            }
            if query || reply || done {
                rows.push(PlainRow {
                    row,
                    query,
                    reply,
                    done,
                });
            }
        }
        // Nothing is answered below the last row that decides.
        let deciding = rows.iter().rposition(|row| row.query);
        rows.truncate(deciding.map_or(0, |last| last + 1));
        PlainRows {
            reorders: rows.iter().any(|row| row.reply),
            prefetcher,
            rows: rows.into(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Chain {
    /// Whether plain queries may be tried on the short way.
    pub fn takes_plain(&self) -> bool {
        !self.plain.is_empty()
    }

    /// Whether [`Chain::prefetch_plain`] is worth its time.
    pub fn prefetches(&self) -> bool {
        self.plain.prefetcher.is_some()
    }

    /// Asks the CPU for what the answer to a query will be read from.
    pub fn prefetch_plain(&self, plain: &Plain, what: Fetch) {
        if let Some(row) = self.plain.prefetcher {
            self.rows[row].plain_prefetch(plain, what);
        }
    }

    /// Answers a plain query into `out`; returns the length of the reply. `None`: it needs the long way, and nothing has happened.
    pub fn answer_plain<'a>(&'a self, query: &mut PlainQuery<'a>, out: &mut [u8]) -> Option<usize> {
        let rows = &self.plain.rows;
        let mut at = 0;
        loop {
            let row = rows.get(at)?;
            if row.query {
                match self.rows[row.row].plain_query(query, out) {
                    PlainFlow::Next => {}
                    PlainFlow::Long => return None,
                    PlainFlow::Reply => {
                        query.row = row.row;
                        break;
                    }
                }
            }
            at += 1;
        }
        if self.plain.reorders && !self.reorder_plain(query, &rows[..at], out) {
            return None;
        }
        let len = query.complete(out)?;
        for row in rows[..=at].iter().rev().filter(|row| row.done) {
            self.rows[row.row].plain_done(query, &out[..len]);
        }
        Some(len)
    }

    /// Kept out of `answer_plain`: what a plugin keeps at hand for it would be loaded for blocks without such a plugin, too.
    #[inline(never)]
    fn reorder_plain(&self, query: &PlainQuery<'_>, rows: &[PlainRow], out: &mut [u8]) -> bool {
        let mut rows = rows.iter().rev().filter(|row| row.reply);
        rows.all(|row| self.rows[row.row].plain_reply(query, out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_that_wants_it_fetches_ahead_whatever_answers_below() {
        let large = PlainPart::Steps {
            query: true,
            reply: false,
            done: true,
            prefetch: true,
        };
        let of = |parts: &[PlainPart]| PlainRows::new(parts.iter().copied()).prefetcher;
        assert_eq!(
            of(&[PlainPart::DONE, large, PlainPart::QUERY, large]),
            Some(1)
        );
        assert_eq!(of(&[PlainPart::DONE, PlainPart::QUERY]), None);
        assert_eq!(of(&[PlainPart::Bars, large]), None);
    }
}
