//! *reload*: looks at the Corefile now and then and takes a new one over.

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::plugin::{OpenCx, Plugin, SetupCx};

/// See the README beside this file. The supervisor does the work.
pub struct Reload;

impl Plugin for Reload {
    type Config = ();

    const HANDLER: bool = false;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
        setup::parse(args, cx)
    }

    fn open(_: &Arc<()>, _: &OpenCx<'_>) -> Reload {
        Reload
    }
}
