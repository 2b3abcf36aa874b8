//! `erratic { drop [N]; truncate [N]; delay [N [DURATION]]; large }`.

use std::num::IntErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Config;
use crate::corefile::{Args, SetupError, ZoneName};
use crate::lang::duration;
use crate::plugin::SetupCx;
use crate::search::Fixed;

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
    let seen = Arc::new(AtomicU64::new(0));
    let mut config = Config {
        drop: 2,
        delay: 0,
        delay_time: Duration::ZERO,
        truncate: 0,
        large: false,
        seen: seen.clone(),
    };
    let mut is_drop_given = false;
    while args.next() {
        while args.next_block() {
            match args.val() {
                "drop" => {
                    if let Some(every) = every(args, 1)?.0 {
                        config.drop = every;
                        is_drop_given = true;
                    }
                }
                "delay" => {
                    let (count, time) = every(args, 2)?;
                    config.delay = count.unwrap_or(2);
                    config.delay_time = time.unwrap_or(Duration::from_millis(100));
                }
                "truncate" => config.truncate = every(args, 1)?.0.unwrap_or(2),
                "large" => config.large = true,
                other => return Err(args.unknown_property(other)),
            }
        }
    }
    if (config.delay > 0 || config.truncate > 0) && !is_drop_given {
        config.drop = 0;
    }
    // For tests of *autopath*.
    let search = ["a.example.org.", "b.example.org."];
    let search = search.into_iter().filter_map(ZoneName::new).collect();
    let offers = &cx.settings.offers;
    offers.offer_search("erratic", Arc::new(Fixed(search)));
    // For tests of *ready*: yes after the third and the fourth query, no before and after.
    cx.life
        .readiness
        .register(cx.block_index, "erratic", move || {
            (3..5).contains(&seen.load(Ordering::Relaxed))
        });
    Ok(config)
}

/// `[N [DURATION]]`, of which `most` words may stand.
fn every(args: &mut Args<'_>, most: usize) -> Result<(Option<u64>, Option<Duration>), SetupError> {
    let words = args.remaining_args();
    if words.len() > most {
        return Err(args.arg_err());
    }
    let Some(text) = words.first() else {
        return Ok((None, None));
    };
    let count: i32 = text.parse().map_err(|error: std::num::ParseIntError| {
        let reason = match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        SetupError::plain(format!("strconv.ParseInt: parsing {text:?}: {reason}"))
    })?;
    let count = u64::try_from(count)
        .map_err(|_| SetupError::plain(format!("illegal amount value given {text:?}")))?;
    let time = words
        .get(1)
        .map(|text| duration::parse_non_negative(text).map_err(SetupError::plain));
    Ok((Some(count), time.transpose()?))
}
