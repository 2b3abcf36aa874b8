//! *chaos*: answers questions of class CH for the version, the authors and the name of the server.

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::plugin::{Flow, OpenCx, PlainPart, Plugin, Query, SetupCx};
use crate::upstream;
use crate::wire::name::NameBuf;
use crate::wire::reply::{Reply, Section};
use crate::wire::types;

/// See the README beside this file.
pub struct Chaos(Arc<Config>);

/// Texts as rdata: one character string each.
pub struct Config {
    version: Vec<u8>,
    authors: Vec<Vec<u8>>,
    hostname: Vec<u8>,
}

impl Plugin for Chaos {
    type Config = Config;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
        cx.settings.any_class = true;
        setup::parse(args)
    }

    fn open(config: &Arc<Config>, _: &OpenCx<'_>) -> Chaos {
        Chaos(config.clone())
    }

    /// A plain query is of class IN.
    fn plain_part(&self) -> PlainPart {
        PlainPart::NONE
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        if (query.qclass, query.qtype) != (types::CLASS_CH, types::TXT) {
            return Flow::Next;
        }
        let name = query.name_buf();
        match name.as_wire() {
            b"\x07version\x04bind\0" | b"\x07version\x06server\0" => {
                push(query.respond(), &name, &self.0.version);
            }
            b"\x08hostname\x04bind\0" | b"\x02id\x06server\0" => {
                push(query.respond(), &name, &self.0.hostname);
            }
            b"\x07authors\x04bind\0" => {
                let reply = query.respond();
                self.0
                    .authors
                    .iter()
                    .for_each(|author| push(reply, &name, author));
                let records = reply.records_mut();
                for nth in (1..records.len()).rev() {
                    records.swap(nth, upstream::below(nth + 1));
                }
            }
            _ => return Flow::Next,
        }
        Flow::Reply
    }
}

fn push(reply: &mut Reply, name: &NameBuf, rdata: &[u8]) {
    reply.push(
        Section::Answer,
        name.as_wire(),
        types::TXT,
        types::CLASS_CH,
        0,
        rdata,
    );
}
