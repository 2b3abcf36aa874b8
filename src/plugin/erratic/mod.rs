//! *erratic*: drops, delays and truncates its replies, so that clients can be tested.

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::corefile::{Args, SetupError};
use crate::limits::NAME_OCTETS;
use crate::plugin::{Flow, OpenCx, Plugin, Query, SetupCx, TaskCx};
use crate::runtime;
use crate::wire::name::NameBuf;
use crate::wire::rcode::Rcode;
use crate::wire::reply::{Reply, Section};
use crate::wire::{flag, types};

/// See the README beside this file.
pub struct Erratic {
    config: Arc<Config>,
    row: usize,
}

/// Every so many queries something happens; 0 is never.
pub struct Config {
    drop: u64,
    delay: u64,
    delay_time: Duration,
    truncate: u64,
    large: bool,
    /// Queries seen by all threads: which of them are dropped must not depend on the core they come to.
    seen: Arc<AtomicU64>,
}

impl Plugin for Erratic {
    type Config = Config;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
        setup::parse(args, cx)
    }

    fn open(config: &Arc<Config>, core: &OpenCx<'_>) -> Erratic {
        Erratic {
            config: config.clone(),
            row: core.row,
        }
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        let nth = self.config.seen.fetch_add(1, Ordering::Relaxed);
        if is_turn(nth, self.config.drop) {
            return Flow::Drop;
        }
        if is_turn(nth, self.config.delay) {
            query.stash(self.row, nth);
            return Flow::Park;
        }
        self.answer(query, nth)
    }

    async fn wait_query(&self, query: &mut Query, cx: &TaskCx) -> Flow {
        let nth = query.unstash::<u64>(cx.row()).map_or(1, |nth| *nth);
        runtime::sleep(self.config.delay_time).await;
        self.answer(query, nth)
    }
}

impl Erratic {
    fn answer(&self, query: &mut Query, nth: u64) -> Flow {
        let name = query.name_buf();
        let cut = is_turn(nth, self.config.truncate);
        let qtype = query.qtype;
        if !matches!(qtype, types::A | types::AAAA | types::AXFR) {
            query.unwritten(Rcode::SERVFAIL);
            return Flow::Reply;
        }
        let reply = query.respond();
        reply.set_flag(flag::AA, true);
        match qtype {
            types::A => {
                let copies = if self.config.large { 30 } else { 1 };
                (0..copies).for_each(|_| push(reply, &name, types::A, &A));
            }
            types::AAAA => push(reply, &name, types::AAAA, &AAAA),
            _ => transfer(reply, &name, !cut),
        }
        if qtype != types::AXFR {
            reply.set_flag(flag::TC, cut);
        }
        Flow::Reply
    }
}

/// A small zone. Without its closing SOA record the client sees a transfer that broke off.
fn transfer(reply: &mut Reply, zone: &NameBuf, complete: bool) {
    let (Some(a), Some(b)) = (below(b"\x01a", zone), below(b"\x01b", zone)) else {
        return;
    };
    let mut soa = a.as_wire().to_vec();
    soa.extend_from_slice(b"\x0ahostmaster");
    soa.extend_from_slice(zone.as_wire());
    for number in [1u32, 7200, 3600, 1_209_600, 3600] {
        soa.extend(number.to_be_bytes());
    }
    push(reply, zone, types::SOA, &soa);
    push(reply, zone, types::NS, b.as_wire());
    push(reply, zone, types::NS, a.as_wire());
    push(reply, &a, types::AAAA, &AAAA);
    push(reply, &b, types::AAAA, &AAAA);
    if complete {
        push(reply, zone, types::SOA, &soa);
    }
}

fn push(reply: &mut Reply, owner: &NameBuf, rtype: u16, rdata: &[u8]) {
    let owner = owner.as_wire();
    reply.push(Section::Answer, owner, rtype, types::CLASS_IN, 0, rdata);
}

/// A name with a label in front; none where that would be too long.
fn below(label: &[u8], zone: &NameBuf) -> Option<NameBuf> {
    let wire = [label, zone.as_wire()].concat();
    // The SOA record has a longer name, `hostmaster`.
    let fits = wire.len() + 10 <= NAME_OCTETS;
    NameBuf::from_wire(&wire).ok().filter(|_| fits)
}

fn is_turn(nth: u64, every: u64) -> bool {
    every > 0 && nth.is_multiple_of(every)
}

const A: [u8; 4] = [192, 0, 2, 53];
const AAAA: [u8; 16] = [
    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53,
];
