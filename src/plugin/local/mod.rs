//! *local*: answers for localhost and for the reverse zones that never leave a machine.

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::plugin::{Flow, OpenCx, PlainFlow, PlainPart, PlainQuery, Plugin, Query, SetupCx};
use crate::telemetry::metrics::Counter;
use crate::telemetry::{log, registry};
use crate::wire::name::{Suffixes, Text};
use crate::wire::rcode::Rcode;
use crate::wire::reply::{Reply, Section};
use crate::wire::types::{self, Type};

/// See the README beside this file.
pub struct Local {
    prefix: bool,
    intercepted: Counter,
}

/// What the block says.
pub struct Config {
    /// Whether `localhost.example.org` is taken for localhost.
    prefix: bool,
}

impl Plugin for Local {
    type Config = Config;

    fn setup(args: &mut Args<'_>, _: &mut SetupCx<'_>) -> Result<Config, SetupError> {
        setup::parse(args)
    }

    fn open(config: &Arc<Config>, _: &OpenCx<'_>) -> Local {
        Local {
            prefix: config.prefix,
            intercepted: registry().counter("coredns_local_localhost_requests_total", HELP, &[]),
        }
    }

    fn plain_part(&self) -> PlainPart {
        PlainPart::QUERY
    }

    fn plain_query(&self, query: &mut PlainQuery<'_>, _: &mut [u8]) -> PlainFlow {
        let name = query.plain.name();
        match self.intercepts(name) || zone_of(name).is_some() {
            true => PlainFlow::Long,
            false => PlainFlow::Next,
        }
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        let name = query.name_buf();
        let name = name.as_wire();
        if self.intercepts(name) {
            self.intercepted.inc();
            if log::debug_enabled() {
                note(query);
            }
            let qtype = query.qtype;
            if !loopback(query.respond(), name, qtype) {
                start_of_authority(query.respond(), name);
            }
            return Flow::Reply;
        }
        let Some(zone) = zone_of(name) else {
            return Flow::Next;
        };
        let qtype = query.qtype;
        answer(query.respond(), name, zone, qtype);
        Flow::Reply
    }
}

impl Local {
    /// Whether the name stands for localhost.
    fn intercepts(&self, name: &[u8]) -> bool {
        if name.len() <= LOCALHOST.len() {
            return false;
        }
        let is_below =
            name.ends_with(LOCALHOST) && Suffixes::new(name).any(|suffix| suffix == LOCALHOST);
        is_below || self.prefix && name.starts_with(&LOCALHOST[..10])
    }
}

/// The zone of ours that holds the name.
fn zone_of(name: &[u8]) -> Option<&[u8]> {
    if !ZONES.iter().any(|zone| name.ends_with(zone)) {
        return None;
    }
    Suffixes::new(name).find(|suffix| ZONES.contains(suffix))
}

#[cold]
fn note(query: &Query) {
    let (name, qtype) = (Text(query.name()).to_string(), Type(query.qtype));
    log::debug(
        Some("local"),
        format_args!(
            "Intercepting localhost query for {name:?} {qtype}, from {}",
            query.peer.ip()
        ),
    );
}

/// Answers inside one of the zones.
fn answer(reply: &mut Reply, name: &[u8], zone: &[u8], qtype: u16) {
    let is_apex = name.len() == zone.len();
    match qtype {
        _ if name == LOCALHOST && loopback(reply, name, qtype) => {}
        types::SOA if is_apex => push(reply, Section::Answer, name, types::SOA, SOA),
        types::NS if is_apex => push(reply, Section::Answer, name, types::NS, LOCALHOST),
        types::PTR if name == LOOPBACK => {
            push(reply, Section::Answer, name, types::PTR, LOCALHOST);
        }
        _ => {
            if !is_apex && name != LOOPBACK {
                reply.rcode = Rcode::NXDOMAIN;
            }
            start_of_authority(reply, zone);
        }
    }
}

/// The loopback address of that family, if the type is one.
fn loopback(reply: &mut Reply, name: &[u8], qtype: u16) -> bool {
    match qtype {
        types::A => push(reply, Section::Answer, name, qtype, &[127, 0, 0, 1]),
        types::AAAA => push(reply, Section::Answer, name, qtype, &1u128.to_be_bytes()),
        _ => return false,
    }
    true
}

fn start_of_authority(reply: &mut Reply, owner: &[u8]) {
    push(reply, Section::Authority, owner, types::SOA, SOA);
}

fn push(reply: &mut Reply, section: Section, owner: &[u8], rtype: u16, rdata: &[u8]) {
    reply.push(section, owner, rtype, types::CLASS_IN, TTL, rdata);
}

const LOCALHOST: &[u8] = b"\x09localhost\0";
const LOOPBACK: &[u8] = b"\x011\x010\x010\x03127\x07in-addr\x04arpa\0";
const ZONES: [&[u8]; 4] = [
    LOCALHOST,
    b"\x010\x07in-addr\x04arpa\0",
    b"\x03127\x07in-addr\x04arpa\0",
    b"\x03255\x07in-addr\x04arpa\0",
];
/// One week: what these names stand for does not change.
const TTL: u32 = 604_800;
/// `localhost. root.localhost. 1 0 0 0 604800`
const SOA: &[u8] = b"\x09localhost\0\x04root\x09localhost\0\
    \0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x09\x3a\x80";
const HELP: &str = "Queries for names that stand for localhost.";
