//! From the reply of the plugins below to an entry, and to what the client gets.

use std::cell::RefCell;

use super::policy::{self, Kind};
use super::{Desk, key, wants_ad};
use crate::cache::{NewEntry, Pin, Table};
use crate::corefile::longest_match;
use crate::limits;
use crate::plugin::{Answer, Query};
use crate::runtime::clock;
use crate::wire::name;
use crate::wire::rcode::Rcode;
use crate::wire::reply::{Question, Reply};
use crate::wire::{self, Malformed, flag};

/// Why the plugins below were asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Nothing usable was there.
    Answer,
    /// To take the place of an entry; only a better one may.
    Refresh {
        /// Hits that the new entry inherits.
        hits: u32,
    },
}

/// What became of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settled {
    /// It was stored where a lookup now finds it.
    pub(super) stored: bool,
    /// It is an answer that may take the place of a stale one, stored or not.
    pub(super) accepted: bool,
    /// It had AD, which the client may not have been shown.
    pub(super) authentic: bool,
}

impl Desk {
    /// Stores the reply if it may be, and gives it the TTL and the flags that the client gets.
    pub(super) fn settle(&self, query: &mut Query, purpose: Purpose) -> Settled {
        let nothing = Settled {
            stored: false,
            accepted: false,
            authentic: false,
        };
        if query.answer != Answer::Written {
            return nothing;
        }
        if query.reply.open().is_err() {
            query.fail(
                Rcode::SERVFAIL,
                "plugin/cache: a plugin below made a reply that cannot be read",
            );
            return nothing;
        }
        let wall_s = query.dnssec_ok().then(clock::wall_s);
        let kind = policy::classify(&query.reply, query.name(), query.qtype, wall_s);
        let ttl_s = self.config.ttl_s(kind, &query.reply);
        let authentic = query.reply.has_flag(flag::AD);
        let whole = !query.reply.has_flag(flag::TC);
        // A failure is no refresh, and neither is what would hide a positive answer that is preferred.
        let yields =
            self.config.prefer_positive && kind != Kind::Answer && self.has_positive(query);
        let accepted = whole && !matches!(kind, Kind::Failure | Kind::Other) && !yields;
        let stored = match purpose {
            _ if ttl_s == 0 || !whole => false,
            Purpose::Answer => self.keep(query, kind, kind.table(), ttl_s, 0),
            Purpose::Refresh { hits } if accepted => {
                self.keep(query, kind, kind.table(), ttl_s, hits)
            }
            Purpose::Refresh { .. } if yields && kind != Kind::Failure => {
                // Kept beside the positive answer, which goes on answering for as long as it may.
                self.keep(query, kind, kind.table().map(|_| Table::Denial), ttl_s, 0);
                false
            }
            Purpose::Refresh { .. } => false,
        };
        let shows_ad = wants_ad(query);
        let reply = &mut query.reply;
        reply
            .records_mut()
            .iter_mut()
            .for_each(|record| record.ttl = ttl_s);
        reply.edns.clear();
        if !shows_ad {
            reply.set_flag(flag::AD, false);
        }
        Settled {
            stored,
            accepted,
            authentic,
        }
    }

    /// Whether a positive answer is still usable, fresh or stale.
    fn has_positive(&self, query: &Query) -> bool {
        let pin = Pin::new();
        let mut found = self.config.kept.store.lookup(&pin, &key(query));
        found.denial = None;
        let Some(entry) = found.success else {
            return false;
        };
        entry.answer_count() > 0 && policy::choose(&self.config, found, query.now_ns).is_some()
    }

    /// Stores the reply in `table`; whether it is there now.
    fn keep(&self, query: &Query, kind: Kind, table: Option<Table>, ttl_s: u32, hits: u32) -> bool {
        let (Some(table), Some(writer)) = (table, &self.writer) else {
            return false;
        };
        let key = key(query);
        let disabled = &self.config.limits(table).disabled;
        // A query that found its home core gone ends elsewhere; its answer is not worth a message.
        if writer.store().home(key.hash) != self.core
            || longest_match(disabled, query.name()).is_some()
        {
            return false;
        }
        let question = Question {
            name: query.name(),
            qtype: query.qtype,
            qclass: query.qclass,
        };
        let wildcard = query
            .meta
            .find("zone/wildcard")
            .and_then(|text| name::NameBuf::from_text(text).ok());
        let outcome = with_packed(&query.reply, &question, |wire, ttl_offsets| {
            let new = NewEntry {
                wire,
                ttl_offsets,
                ttl_s,
                uncompressed_len: query
                    .reply
                    .full_len(question.len())
                    .min(usize::from(u16::MAX)) as u16,
                wildcard: wildcard.as_ref().map_or(&[], |name| name.as_wire()),
                hits,
            };
            writer.insert(table, &key, &new, query.now_ns).ok()
        });
        let counters = self.metrics.of(query);
        let Some(evicted) = outcome else {
            counters.drops.inc();
            return false;
        };
        counters.evicted(table, evicted);
        // The latest answer is the one that holds; a failure is none.
        match table {
            Table::Success => writer.remove(Table::Denial, &key),
            Table::Denial if kind == Kind::Failure || self.config.prefer_positive => false,
            Table::Denial => writer.remove(Table::Success, &key),
        };
        true
    }
}

/// Packs the reply into this thread's scratch and finds its TTLs; None if it does not fit a message.
fn with_packed<T>(
    reply: &Reply,
    question: &Question<'_>,
    then: impl FnOnce(&[u8], &[u16]) -> Option<T>,
) -> Option<T> {
    thread_local!(static SCRATCH: RefCell<(Vec<u8>, Vec<u16>)> = const { RefCell::new((Vec::new(), Vec::new())) });
    SCRATCH.with_borrow_mut(|(wire, offsets)| {
        wire.resize(limits::MESSAGE_OCTETS, 0);
        let len = reply.pack(0, 0, question, wire)?;
        let wire = &wire[..len];
        let whole = wire::u16_at(wire, 2).is_ok_and(|flags| flags & flag::TC == 0);
        (whole && find_ttls(wire, offsets).is_ok()).then_some(())?;
        then(wire, offsets)
    })
}

/// Finds the TTL field of every record of a message with one question.
fn find_ttls(wire: &[u8], offsets: &mut Vec<u16>) -> Result<(), Malformed> {
    offsets.clear();
    let mut at = name::skip(wire, wire::HEADER)? + 4;
    while at < wire.len() {
        at = name::skip(wire, at)?;
        // A message has at most 65535 octets.
        offsets.push((at + 4) as u16);
        at += 10 + usize::from(wire::u16_at(wire, at + 8)?);
    }
    Ok(())
}
