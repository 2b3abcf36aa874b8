//! *debug*: debug lines in the log, and panics that are not caught.

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::plugin::{OpenCx, Plugin, SetupCx};

/// See the README beside this file.
pub struct Debug;

impl Plugin for Debug {
    type Config = ();

    const HANDLER: bool = false;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
        setup::parse(args, cx)
    }

    fn open(_: &Arc<()>, _: &OpenCx<'_>) -> Debug {
        Debug
    }
}
