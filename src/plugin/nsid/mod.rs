//! *nsid*: tells clients that ask which server answered them (RFC 5001).

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::plugin::{Answer, Flow, OpenCx, PlainPart, Plugin, Query, SetupCx};
use crate::wire::edns::option;

/// See the README beside this file.
pub struct Nsid(Arc<String>);

impl Plugin for Nsid {
    type Config = String;

    fn setup(args: &mut Args<'_>, _: &mut SetupCx<'_>) -> Result<String, SetupError> {
        setup::parse(args)
    }

    fn open(config: &Arc<String>, _: &OpenCx<'_>) -> Nsid {
        Nsid(config.clone())
    }

    /// A plain query has no options.
    fn plain_part(&self) -> PlainPart {
        PlainPart::NONE
    }

    fn on_reply(&self, query: &mut Query) -> Flow {
        if query.answer == Answer::Written && query.edns.find(option::NSID).is_some() {
            let edns = &mut query.reply.edns;
            edns.ensure(query.edns.udp_size);
            edns.retain(|code, _| code != option::NSID);
            edns.push(option::NSID, self.0.as_bytes());
        }
        Flow::Next
    }
}
