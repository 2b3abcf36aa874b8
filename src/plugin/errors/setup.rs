//! `errors [stdout] { stacktrace; consolidate DURATION REGEXP [LEVEL] [show_first] }`.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::consolidate::{Consolidation, Level, Pattern};
use crate::corefile::{Args, SetupError};
use crate::lang::duration;
use crate::lang::regexp::Regexp;
use crate::plugin::SetupCx;

pub(super) fn parse(
    args: &mut Args<'_>,
    cx: &mut SetupCx<'_>,
) -> Result<Arc<Consolidation>, SetupError> {
    let mut patterns = Vec::new();
    let mut occurrences = 0;
    while args.next() {
        occurrences += 1;
        if occurrences > 1 {
            return Err(args.once_err());
        }
        match args.remaining_args()[..] {
            [] | ["stdout"] => {}
            [other] => return Err(args.err(format!("invalid log file: {other}"))),
            _ => return Err(args.arg_err()),
        }
        while args.next_block() {
            match args.val() {
                "stacktrace" => {
                    args.expect_line_end()?;
                    cx.settings.stacktrace = true;
                }
                "consolidate" => patterns.push(Arc::new(pattern(args)?)),
                other => return Err(args.syntax_err(&format!("Unknown field {other}"))),
            }
        }
    }
    let consolidation = Arc::new(Consolidation::new(patterns));
    if !consolidation.patterns.is_empty() {
        let (start, stop) = (Arc::clone(&consolidation), Arc::clone(&consolidation));
        cx.life.on_start.push(Box::new(move |started| {
            start.start(started.control.clone())
        }));
        cx.life.on_stop.push(Box::new(move || stop.stop()));
    }
    Ok(consolidation)
}

fn pattern(args: &mut Args<'_>) -> Result<Pattern, SetupError> {
    let words = args.remaining_args();
    let [period, regexp, options @ ..] = &words[..] else {
        return Err(args.arg_err());
    };
    let (level, show_first) = match options {
        [] => (None, false),
        ["show_first"] => (None, true),
        [level] => (Some(*level), false),
        ["show_first", level] if Level::parse(level).is_some() => {
            return Err(args.err(format!(
                "log level '{level}' must come before show_first in consolidate"
            )));
        }
        [level, "show_first"] => (Some(*level), true),
        [_, other] => return Err(args.err(format!("unknown option in consolidate: {other}"))),
        _ => return Err(args.arg_err()),
    };
    let level = match level {
        None => Level::Error,
        Some(word) => Level::parse(word).ok_or_else(|| {
            args.err(format!("unknown log level argument in consolidate: {word}"))
        })?,
    };
    Ok(Pattern {
        period: duration::parse(period).map_err(|error| args.err(error))?,
        regexp: Regexp::compile(regexp).map_err(|error| args.err(error))?,
        level,
        show_first,
        count: AtomicU32::new(0),
    })
}
