//! `timeouts { read D; write D; idle D; maxtcpqueries N }`.

use std::time::Duration;

use crate::corefile::{Args, SetupError};
use crate::lang::duration::{GoDuration, parse_seconds_or};
use crate::plugin::SetupCx;

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
    while args.next() {
        args.expect_line_end()?;
        let mut given = 0;
        while args.next_block() {
            let settings = &mut *cx.settings;
            match args.val() {
                "read" => settings.read_timeout = Some(timeout(args)?),
                "write" => settings.write_timeout = Some(timeout(args)?),
                "idle" => settings.idle_timeout = Some(timeout(args)?),
                "maxtcpqueries" => settings.max_tcp_queries = max_queries(args)?,
                other => return Err(args.err(format!("unknown option: '{other}'"))),
            }
            given += 1;
        }
        if given == 0 {
            return Err(args.err("timeouts block with no timeouts specified"));
        }
    }
    Ok(())
}

fn only<'a>(args: &mut Args<'a>) -> Result<&'a str, SetupError> {
    match args.remaining_args()[..] {
        [word] => Ok(word),
        _ => Err(args.arg_err()),
    }
}

fn timeout(args: &mut Args<'_>) -> Result<Duration, SetupError> {
    let span = parse_seconds_or(only(args)?).map_err(|error| args.err(error))?;
    let in_range = (LEAST..=MOST).contains(&span);
    span.to_std().filter(|_| in_range).ok_or_else(|| {
        args.err(format!(
            "timeout provided '{span}' needs to be between 1 second and 24 hours"
        ))
    })
}

/// -1 is no limit.
fn max_queries(args: &mut Args<'_>) -> Result<Option<u32>, SetupError> {
    let word = only(args)?;
    match word.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(count) if count > 0 => Ok(Some(u32::try_from(count).unwrap_or(u32::MAX))),
        _ => Err(args.err(format!(
            "maxtcpqueries provided '{word}' needs to be -1 or a positive integer"
        ))),
    }
}

const LEAST: GoDuration = GoDuration::from_secs(1);
const MOST: GoDuration = GoDuration::from_secs(24 * 3600);
