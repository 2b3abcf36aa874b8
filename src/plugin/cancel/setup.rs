//! `cancel [DURATION]`.

use std::time::Duration;

use crate::corefile::{Args, SetupError};
use crate::lang::duration;

pub(super) fn parse(args: &mut Args<'_>) -> Result<Duration, SetupError> {
    let mut after = Duration::from_millis(5001);
    while args.next() {
        match args.remaining_args()[..] {
            [] => after = Duration::from_millis(5001),
            [text] => {
                let span = duration::parse(text)
                    .map_err(|_| args.err(format!("invalid duration: {text:?}")))?;
                after = match span.to_std() {
                    Some(span) if !span.is_zero() => span,
                    _ => return Err(args.err(format!("invalid negative duration: {text:?}"))),
                };
            }
            _ => return Err(args.arg_err()),
        }
        if args.next_block() {
            return Err(args.unknown_property(args.val()));
        }
    }
    Ok(after)
}
