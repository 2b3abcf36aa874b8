//! `bufsize [SIZE]`.

use crate::corefile::{Args, SetupError};

/// Only the first of several directives counts, as in CoreDNS.
pub(super) fn parse(args: &mut Args<'_>) -> Result<u16, SetupError> {
    args.next();
    match args.remaining_args()[..] {
        [] => Ok(DEFAULT),
        [word] => word
            .parse()
            .ok()
            .filter(|size| (512..=4096).contains(size))
            .ok_or_else(|| args.arg_err()),
        _ => Err(args.arg_err()),
    }
}

/// What DNS Flag Day 2020 recommends: it fits one packet on nearly every path.
const DEFAULT: u16 = 1232;
