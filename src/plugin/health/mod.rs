//! *health*: says over HTTP that the process is alive.

mod selfcheck;
mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::plugin::{OpenCx, Plugin, SetupCx};

/// See the README beside this file.
pub struct Health;

impl Plugin for Health {
    type Config = ();
    const HANDLER: bool = false;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
        setup::parse(args, cx)
    }

    fn open(_: &Arc<()>, _: &OpenCx<'_>) -> Health {
        Health
    }
}

const NAME: &str = "health";
const PATH: &str = "/health";
