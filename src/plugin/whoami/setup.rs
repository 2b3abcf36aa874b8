//! `whoami`: nothing to configure.

use crate::corefile::{Args, SetupError};

pub(super) fn parse(args: &mut Args<'_>) -> Result<(), SetupError> {
    while args.next() {
        if args.next_arg() || args.next_block() {
            return Err(args.arg_err());
        }
    }
    Ok(())
}
