//! *any*: answers queries for all types at once with one small record.

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::plugin::{Flow, OpenCx, PlainFlow, PlainPart, PlainQuery, Plugin, Query, SetupCx};
use crate::wire::reply::Section;
use crate::wire::types;

/// See the README beside this file.
pub struct Any;

impl Plugin for Any {
    type Config = ();

    fn setup(args: &mut Args<'_>, _: &mut SetupCx<'_>) -> Result<(), SetupError> {
        setup::parse(args);
        Ok(())
    }

    fn open(_: &Arc<()>, _: &OpenCx<'_>) -> Any {
        Any
    }

    fn plain_part(&self) -> PlainPart {
        PlainPart::QUERY
    }

    fn plain_query(&self, query: &mut PlainQuery<'_>, _: &mut [u8]) -> PlainFlow {
        match query.plain.qtype {
            types::ANY => PlainFlow::Long,
            _ => PlainFlow::Next,
        }
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        if query.qtype != types::ANY {
            return Flow::Next;
        }
        let name = query.name_buf();
        query.respond().push(
            Section::Answer,
            name.as_wire(),
            types::HINFO,
            types::CLASS_IN,
            TTL,
            RDATA,
        );
        Flow::Reply
    }
}

/// Two character strings (RFC 8482 section 4.2).
const RDATA: &[u8] = b"\x0dANY obsoleted\x0cSee RFC 8482";
const TTL: u32 = 8482;
