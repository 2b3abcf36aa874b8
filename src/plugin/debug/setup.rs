//! `debug`: nothing to configure.

use crate::corefile::{Args, SetupError};
use crate::plugin::SetupCx;

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
    while args.next() {
        if args.next_arg() {
            return Err(args.arg_err());
        }
        cx.settings.debug = true;
    }
    Ok(())
}
