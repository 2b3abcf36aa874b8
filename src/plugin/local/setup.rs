//! `local { localhost_prefix on|off }`.

use super::Config;
use crate::corefile::{Args, SetupError};

pub(super) fn parse(args: &mut Args<'_>) -> Result<Config, SetupError> {
    let mut config = Config { prefix: true };
    while args.next() {
        args.expect_line_end()?;
        while args.next_block() {
            match args.val() {
                "localhost_prefix" => config.prefix = on_or_off(args)?,
                other => return Err(args.unknown_property(other)),
            }
        }
    }
    Ok(config)
}

fn on_or_off(args: &mut Args<'_>) -> Result<bool, SetupError> {
    match args.remaining_args()[..] {
        ["on"] => Ok(true),
        ["off"] => Ok(false),
        [other] => Err(args.err(format!(
            "localhost_prefix expects 'on' or 'off', got {other:?}"
        ))),
        _ => Err(args.arg_err()),
    }
}
