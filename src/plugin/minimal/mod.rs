//! *minimal*: leaves out of an answer what the client did not ask for.

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::plugin::{Answer, Flow, OpenCx, Plugin, Query, SetupCx};
use crate::wire::kind::Kind;
use crate::wire::reply::Section;
use crate::wire::u16_at;

/// See the README beside this file.
pub struct Minimal;

impl Plugin for Minimal {
    type Config = ();

    fn setup(args: &mut Args<'_>, _: &mut SetupCx<'_>) -> Result<(), SetupError> {
        setup::parse(args)
    }

    fn open(_: &Arc<()>, _: &OpenCx<'_>) -> Minimal {
        Minimal
    }

    fn on_reply(&self, query: &mut Query) -> Flow {
        if query.answer != Answer::Written || query.is_transfer() {
            return Flow::Next;
        }
        if Kind::of(&query.reply, query.opcode(), query.qtype) != Kind::NoError {
            return Flow::Next;
        }
        query.reply.edns.clear();
        let is_bare = |packed: &[u8]| {
            let count = |at| u16_at(packed, at).unwrap_or(0);
            count(8) == 0 && count(10) == 0
        };
        // A stored answer is opened only where there is something to leave out.
        if !query.reply.packed().is_some_and(is_bare)
            && let Some(reply) = query.written()
        {
            reply.retain(|record| record.section == Section::Answer);
        }
        Flow::Next
    }
}
