//! *tls*: the certificate that encrypted listeners show.
//!
//! Runs on: set-up; files are looked at again on the control thread.
//!
//! **Invariant**: a file that changes to something unusable leaves what works.

#[cfg(feature = "acme")]
mod acme;
mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::plugin::{OpenCx, Plugin, SetupCx};

/// See the README beside this file.
pub struct Tls;

impl Plugin for Tls {
    type Config = ();

    const HANDLER: bool = false;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
        setup::parse(args, cx)
    }

    fn open(_: &Arc<()>, _: &OpenCx<'_>) -> Tls {
        Tls
    }
}
