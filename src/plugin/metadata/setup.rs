//! `metadata`: the zones.

use crate::corefile::{Args, SetupError, ZoneName, origins_from_args_or_block};
use crate::plugin::SetupCx;

pub(super) fn parse(args: &mut Args<'_>, cx: &SetupCx<'_>) -> Result<Vec<ZoneName>, SetupError> {
    args.next();
    let zones = origins_from_args_or_block(&args.remaining_args(), cx.zones);
    if args.next_block() || args.next() {
        return Err(args.arg_err());
    }
    Ok(zones)
}
