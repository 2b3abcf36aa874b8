//! *cancel*: bounds the time that a query may wait.

mod setup;
#[cfg(test)]
mod tests;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use crate::corefile::{Args, SetupError};
use crate::plugin::{Flow, OpenCx, PlainPart, Plugin, Query, SetupCx};

/// See the README beside this file.
pub struct Cancel {
    after_ns: u64,
}

impl Plugin for Cancel {
    type Config = Duration;

    fn setup(args: &mut Args<'_>, _: &mut SetupCx<'_>) -> Result<Duration, SetupError> {
        setup::parse(args)
    }

    fn open(after: &Arc<Duration>, _: &OpenCx<'_>) -> Cancel {
        Cancel {
            after_ns: u64::try_from(after.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// What is answered from memory waits for nothing.
    fn plain_part(&self) -> PlainPart {
        PlainPart::NONE
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        let deadline = query.now_ns.saturating_add(self.after_ns);
        // An internal lookup has the deadline of the query it is made for.
        let earlier = query
            .deadline_ns
            .map_or(deadline, |ns| ns.get().min(deadline));
        query.deadline_ns = NonZeroU64::new(earlier);
        Flow::Next
    }
}
