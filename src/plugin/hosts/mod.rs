//! *hosts*: answers from a file in the form of `/etc/hosts` and from lines of the Corefile.

mod metrics;
mod setup;
mod table;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::Arc;

use crate::control::{Published, Subscriber};
use crate::corefile::{Args, Fall, SetupError, ZoneName};
use crate::plugin::{Flow, OpenCx, PlainFlow, PlainPart, PlainQuery, Plugin, Query, SetupCx};
use crate::wire::direct;
use crate::wire::name::NameBuf;
use crate::wire::rcode::Rcode;
use crate::wire::reply::{Reply, Section};
use crate::wire::{flag, types};

use table::{Entry, Table};

/// See the README beside this file.
pub struct Hosts {
    config: Arc<Config>,
    table: RefCell<Subscriber<Table>>,
}

/// What a block's *hosts* says.
pub struct Config {
    table: Arc<Published<Table>>,
    zones: Vec<ZoneName>,
    ttl: u32,
    fall: Fall,
    unsupported_falls: bool,
}

impl Plugin for Hosts {
    type Config = Config;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
        setup::parse(args, cx)
    }

    fn open(config: &Arc<Config>, _: &OpenCx<'_>) -> Hosts {
        Hosts {
            config: config.clone(),
            table: RefCell::new(config.table.subscribe()),
        }
    }

    fn refresh(&self) {
        self.table.borrow_mut().refresh();
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        let name = query.name_buf();
        let wire = name.as_wire();
        let mut subscriber = self.table.borrow_mut();
        let table = subscriber.current();
        if query.qtype == types::PTR {
            // Reverse zones need not be among the zones; an address that is not here is somebody else's.
            return match table.find(wire, query.hash()) {
                Some(entry) => self.point(query, &name, table, entry),
                None => Flow::Next,
            };
        }
        if !self.config.zones.iter().any(|zone| zone.is_suffix_of(wire)) {
            return Flow::Next;
        }
        let falls = self.config.fall.through(wire);
        let Some(entry) = table.host(wire, query.hash()) else {
            if falls {
                return Flow::Next;
            }
            // NXDOMAIN needs an SOA record, which a hosts file does not have.
            query.unwritten(Rcode::SERVFAIL);
            return Flow::Reply;
        };
        let ttl = self.config.ttl;
        let push = |reply: &mut Reply, rdata: &[u8], rtype| {
            reply.push(Section::Answer, wire, rtype, types::CLASS_IN, ttl, rdata);
        };
        match query.qtype {
            types::A => {
                let reply = authoritative(query);
                let addrs = table.v4(entry).iter();
                addrs.for_each(|addr| push(reply, addr, types::A));
            }
            types::AAAA => {
                let reply = authoritative(query);
                let addrs = table.v6(entry).iter();
                addrs.for_each(|addr| push(reply, addr, types::AAAA));
            }
            _ if falls && self.config.unsupported_falls => return Flow::Next,
            _ => drop(authoritative(query)),
        }
        Flow::Reply
    }

    fn plain_part(&self) -> PlainPart {
        PlainPart::QUERY
    }

    /// Addresses of names; what is not here, and all other types, take the long way.
    fn plain_query(&self, query: &mut PlainQuery<'_>, out: &mut [u8]) -> PlainFlow {
        let plain = query.plain;
        let name = plain.name();
        let mut subscriber = self.table.borrow_mut();
        let table = subscriber.current();
        let in_zones = || self.config.zones.iter().any(|zone| zone.is_suffix_of(name));
        let entry = match plain.qtype {
            types::PTR => table.find(name, plain.hash),
            _ if in_zones() => table.host(name, plain.hash),
            _ => return PlainFlow::Next,
        };
        let Some(entry) = entry else {
            return match plain.qtype == types::PTR || self.config.fall.through(name) {
                true => PlainFlow::Next,
                false => PlainFlow::Long,
            };
        };
        let (question, ttl) = (query.question(), self.config.ttl);
        let out = query.clip(out);
        let written = match plain.qtype {
            types::A => direct::write_addresses(out, question, ttl, table.v4(entry)),
            types::AAAA => direct::write_addresses(out, question, ttl, table.v6(entry)),
            _ => None,
        };
        query.replied(written)
    }
}

impl Hosts {
    fn point(&self, query: &mut Query, name: &NameBuf, table: &Table, entry: &Entry) -> Flow {
        let mut targets = table.targets(entry).peekable();
        if targets.peek().is_none() {
            return Flow::Next;
        }
        let reply = authoritative(query);
        for target in targets {
            reply.push(
                Section::Answer,
                name.as_wire(),
                types::PTR,
                types::CLASS_IN,
                self.config.ttl,
                target,
            );
        }
        Flow::Reply
    }
}

fn authoritative(query: &mut Query) -> &mut Reply {
    let reply = query.respond();
    reply.set_flag(flag::AA, true);
    reply
}
