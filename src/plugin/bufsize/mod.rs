//! *bufsize*: bounds the UDP payload size that a query advertises.

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::plugin::{Flow, OpenCx, PlainFlow, PlainPart, PlainQuery, Plugin, Query, SetupCx};

/// See the README beside this file.
pub struct Bufsize(u16);

impl Plugin for Bufsize {
    type Config = u16;

    fn setup(args: &mut Args<'_>, _: &mut SetupCx<'_>) -> Result<u16, SetupError> {
        setup::parse(args)
    }

    fn open(config: &Arc<u16>, _: &OpenCx<'_>) -> Bufsize {
        Bufsize(**config)
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        if query.edns.present {
            query.edns.udp_size = query.edns.udp_size.min(self.0);
        }
        Flow::Next
    }

    fn plain_part(&self) -> PlainPart {
        PlainPart::QUERY
    }

    fn plain_query(&self, query: &mut PlainQuery<'_>, _: &mut [u8]) -> PlainFlow {
        query.udp_size = query.udp_size.min(self.0);
        PlainFlow::Next
    }
}
