//! `https { max_connections N }`.

use crate::corefile::{Args, SetupError};
use crate::plugin::{SetupCx, transport_bound};

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
    while args.next() {
        args.expect_line_end()?;
        while args.next_block() {
            match args.val() {
                "max_connections" => {
                    transport_bound(args, &mut cx.settings.bounds.https.connections)?;
                }
                other => return Err(args.err(format!("unknown property '{other}'"))),
            }
        }
    }
    Ok(())
}
