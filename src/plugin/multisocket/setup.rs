//! `multisocket [NUMBER]`.

use std::num::IntErrorKind;

use crate::corefile::{Args, SetupError};
use crate::plugin::SetupCx;

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
    args.next();
    let words = args.remaining_args();
    if words.len() > 1 || args.next() {
        return Err(args.arg_err());
    }
    cx.settings.sockets = Some(match words[..] {
        [word, ..] => number(word).map_err(SetupError::plain)?,
        [] => cx.cores,
    });
    Ok(())
}

fn number(word: &str) -> Result<usize, String> {
    let number: i64 = word.parse().map_err(|error: std::num::ParseIntError| {
        let reason = match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("invalid num sockets: strconv.Atoi: parsing {word:?}: {reason}")
    })?;
    if number < 1 {
        return Err(format!("num sockets can not be zero or negative: {number}"));
    }
    usize::try_from(number)
        .ok()
        .filter(|number| *number <= MOST)
        .ok_or_else(|| format!("num sockets exceeds maximum ({MOST}): {number}"))
}

/// CoreDNS's number.
const MOST: usize = 1024;
