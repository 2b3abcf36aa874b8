//! *bind*: the addresses that a server block listens on.

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::plugin::{OpenCx, Plugin, SetupCx};

/// See the README beside this file.
pub struct Bind;

impl Plugin for Bind {
    type Config = ();

    const HANDLER: bool = false;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
        setup::parse(args, cx)
    }

    fn open(_: &Arc<()>, _: &OpenCx<'_>) -> Bind {
        Bind
    }
}
