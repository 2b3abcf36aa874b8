//! A directive of the tests alone: it panics on the way down, while waiting, or on the way up, as the first label says.

use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::plugin::{Flow, OpenCx, Plugin, Query, SetupCx, TaskCx};

/// See the module.
pub struct Panicker;

impl Plugin for Panicker {
    type Config = ();

    fn setup(args: &mut Args<'_>, _: &mut SetupCx<'_>) -> Result<(), SetupError> {
        while args.next() {}
        Ok(())
    }

    fn open(_: &Arc<()>, _: &OpenCx<'_>) -> Self {
        Self
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        match query.name() {
            [4, b'd', b'o', b'w', b'n', ..] => panic!("down"),
            [4, b'w', b'a', b'i', b't', ..] => Flow::Park,
            _ => {
                query.respond();
                Flow::Reply
            }
        }
    }

    async fn wait_query(&self, _: &mut Query, _: &TaskCx) -> Flow {
        panic!("wait")
    }
}
