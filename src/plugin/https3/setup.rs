//! `https3 { max_streams N; max_connections N }`.

use crate::corefile::{Args, SetupError};
use crate::plugin::{SetupCx, transport_bound};

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
    while args.next() {
        args.expect_line_end()?;
        while args.next_block() {
            let bounds = &mut cx.settings.bounds.https3;
            match args.val() {
                "max_streams" => transport_bound(args, &mut bounds.streams)?,
                "max_connections" => transport_bound(args, &mut bounds.connections)?,
                other => return Err(args.err(format!("unknown property '{other}'"))),
            }
        }
    }
    Ok(())
}
