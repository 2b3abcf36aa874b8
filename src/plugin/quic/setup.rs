//! `quic { max_streams N; worker_pool_size N }`.

use crate::corefile::{Args, SetupError};
use crate::plugin::{SetupCx, transport_bound};

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
    while args.next() {
        args.expect_line_end()?;
        while args.next_block() {
            let bounds = &mut cx.settings.bounds;
            let (name, bound) = match args.val() {
                "max_streams" => ("max_streams", &mut bounds.quic.streams),
                "worker_pool_size" => ("worker_pool_size", &mut bounds.quic_workers),
                other => return Err(args.err(format!("unknown property '{other}'"))),
            };
            transport_bound(args, bound)?;
            if *bound == Some(0) {
                return Err(args.err(format!("{name} value must be positive: 0")));
            }
        }
    }
    Ok(())
}
