//! *file*: answers from zones in master files.

mod setup;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::cmp::Ordering;
use std::sync::Arc;

use crate::control::{Published, Subscriber};
use crate::corefile::{Args, Fall, SetupError};
use crate::plugin::{
    Answer, Flow, OpenCx, PlainFlow, PlainPart, PlainQuery, Plugin, Query, SetupCx, TaskCx,
};
use crate::telemetry::log;
use crate::wire::name::{NameBuf, Suffixes, Text};
use crate::wire::rcode::Rcode;
use crate::zone::{self, Kind, Outcome, Zone};

/// See the README beside this file.
pub struct File {
    zones: Vec<Served>,
    fall: Fall,
    is_last: bool,
}

/// The zones of a block's *file* directives.
pub struct Config {
    /// By [`order`] of the origin in wire form, ascending, to find one by binary search.
    zones: Vec<(Box<[u8]>, Arc<Slot>)>,
    fall: Fall,
}

/// A zone that is replaced when its file changes; `None` until the file could be read.
type Slot = Published<Option<Zone>>;

struct Served {
    origin: Box<[u8]>,
    zone: RefCell<Subscriber<Option<Zone>>>,
}

impl Plugin for File {
    type Config = Config;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
        setup::parse(args, cx)
    }

    fn open(config: &Arc<Config>, core: &OpenCx<'_>) -> File {
        let served = |(origin, slot): &(Box<[u8]>, Arc<Slot>)| Served {
            origin: origin.clone(),
            zone: RefCell::new(slot.subscribe()),
        };
        File {
            zones: config.zones.iter().map(served).collect(),
            fall: config.fall.clone(),
            is_last: core.row + 1 >= core.handlers.len(),
        }
    }

    fn refresh(&self) {
        for served in &self.zones {
            served.zone.borrow_mut().refresh();
        }
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        let Some(served) = self.find(query.name()) else {
            if self.is_last {
                query.unwritten(Rcode::REFUSED);
                return Flow::Reply;
            }
            return Flow::Next;
        };
        // Transfers are the business of *transfer*, which stands above.
        if query.is_transfer() {
            query.unwritten(Rcode::REFUSED);
            return Flow::Reply;
        }
        if query.opcode() == OPCODE_NOTIFY {
            let origin = Text(&served.origin);
            log::info(
                Some("file"),
                format_args!("Dropping notify from {} for {origin}", query.peer.ip()),
            );
            return Flow::Drop;
        }
        match self.answer(served, query) {
            None => {
                query.unwritten(Rcode::SERVFAIL);
                Flow::Reply
            }
            Some(outcome) if outcome.may_fall_through() && self.fall.through(query.name()) => {
                query.answer = Answer::Open;
                Flow::Next
            }
            Some(outcome) if outcome.kind == Kind::Chase => Flow::Park,
            Some(_) => Flow::Reply,
        }
    }

    fn plain_part(&self) -> PlainPart {
        PlainPart::QUERY
    }

    /// What the zone writes straight to wire; the rest, refusals too, takes the long way.
    fn plain_query(&self, query: &mut PlainQuery<'_>, out: &mut [u8]) -> PlainFlow {
        let plain = query.plain;
        let name = plain.name();
        let served = match (self.zones.as_slice(), self.is_last) {
            // The zone itself tells whether it holds the name.
            ([served], true) => Some(served),
            _ => self.find(name),
        };
        let Some(served) = served else {
            return match self.is_last {
                true => PlainFlow::Long,
                false => PlainFlow::Next,
            };
        };
        let mut subscriber = served.zone.borrow_mut();
        let Some(zone) = subscriber.current() else {
            return PlainFlow::Long;
        };
        let out = query.clip(out);
        let question = query.question();
        match zone.write_reply(
            name,
            plain.hash,
            plain.qtype,
            plain.dnssec_ok,
            question,
            out,
        ) {
            Some(written) if written.may_fall_through && self.fall.through(name) => PlainFlow::Next,
            written => query.replied(written),
        }
    }

    /// Looks the end of a CNAME chain up that this zone does not hold.
    async fn wait_query(&self, query: &mut Query, cx: &TaskCx) -> Flow {
        let outcome = self
            .find(query.name())
            .and_then(|served| self.answer(served, query));
        let Some(outcome) = outcome else {
            query.unwritten(Rcode::SERVFAIL);
            return Flow::Reply;
        };
        // Without a target, the zone has been replaced since the query parked.
        let target = outcome
            .target
            .map(|target| NameBuf::from_wire(target.as_slice()));
        let Some(Ok(target)) = target else {
            return Flow::Reply;
        };
        let child = cx.lookup(query, &target, query.qtype).await;
        let end = (child.answer == Answer::Written).then_some(&child.reply);
        zone::join(
            &mut query.reply,
            child.rcode().unwrap_or(Rcode::SERVFAIL),
            end,
        );
        Flow::Reply
    }
}

impl File {
    /// The zone with the longest origin that holds `name`.
    fn find(&self, name: &[u8]) -> Option<&Served> {
        Suffixes::new(name).find_map(|suffix| {
            let at = self
                .zones
                .binary_search_by(|served| order(&served.origin, suffix))
                .ok()?;
            self.zones.get(at)
        })
    }

    /// Writes the reply from the zone; `None` while there is no zone.
    fn answer(&self, served: &Served, query: &mut Query) -> Option<Outcome> {
        let mut subscriber = served.zone.borrow_mut();
        let zone = subscriber.current().as_ref()?;
        let (qtype, dnssec) = (query.qtype, query.dnssec_ok());
        let (name, reply) = query.respond_to_name();
        // A name without records here may be served by another block of the listener (a cluster's zone, a forwarded one),
        // so it is asked for as CoreDNS does; so is one that another zone of this directive is closer to.
        let elsewhere = |target: &[u8], exists: bool| {
            !exists
                || self
                    .find(target)
                    .is_some_and(|other| other.origin != served.origin)
        };
        let outcome = zone.answer(name, qtype, dnssec, reply, elsewhere);
        if let Some(wildcard) = outcome.wildcard(zone) {
            query.meta.set("zone/wildcard", || wildcard.to_string());
        }
        Some(outcome)
    }
}

/// The order in which origins are searched: by length, then by octets, since most names of another length need no look.
fn order(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

const OPCODE_NOTIFY: u16 = 4;
