//! `minimal`: nothing to configure.

use crate::corefile::{Args, SetupError};

/// Only the first of several directives counts, as in CoreDNS.
pub(super) fn parse(args: &mut Args<'_>) -> Result<(), SetupError> {
    args.next();
    if args.next_arg() {
        return Err(args.arg_err());
    }
    Ok(())
}
