//! `reload [INTERVAL [JITTER]]`.

use std::sync::mpsc;

use crate::corefile::{Args, SetupError};
use crate::lang::duration::{self, GoDuration};
use crate::plugin::SetupCx;
use crate::telemetry::{log, registry};

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
    args.next();
    let words = args.remaining_args();
    if words.len() > 2 {
        return Err(args.arg_err());
    }
    let span = |nth: usize, default: GoDuration| match words.get(nth) {
        Some(word) => duration::parse(word).map_err(SetupError::plain),
        None => Ok(default),
    };
    let interval = span(0, INTERVAL)?;
    if interval < LEAST_INTERVAL {
        return Err(SetupError::plain(format!(
            "interval value must be greater or equal to {LEAST_INTERVAL}"
        )));
    }
    let jitter = span(1, JITTER)?;
    if jitter < LEAST_JITTER && jitter != GoDuration::ZERO {
        return Err(SetupError::plain(format!(
            "jitter value must be greater or equal to {LEAST_JITTER}"
        )));
    }
    let jitter = jitter.min(GoDuration(interval.nanos() / 2));
    // Neither is negative, so both have a standard form.
    let period = interval.to_std().zip(jitter.to_std());
    if cx.life.reload.is_none() {
        announce(cx);
    }
    cx.life.reload = period;
    Ok(())
}

/// Says which configuration runs, in the log and as a metric for as long as it does.
fn announce(cx: &mut SetupCx<'_>) {
    let digest = cx.digest.to_owned();
    let (keep, kept) = mpsc::channel();
    cx.life.on_start.push(Box::new(move |_| {
        log::info(
            Some("reload"),
            format_args!("Running configuration SHA512 = {digest}"),
        );
        let labels = [("hash", "sha512"), ("value", digest.as_str())];
        let flag = registry().flag("coredns_reload_version_info", HELP, &labels);
        // The other end lives in the stop hook of this configuration.
        let _ = keep.send(flag);
    }));
    cx.life.on_stop.push(Box::new(move || drop(kept)));
}

const INTERVAL: GoDuration = GoDuration::from_secs(30);
const JITTER: GoDuration = GoDuration::from_secs(15);
const LEAST_INTERVAL: GoDuration = GoDuration::from_secs(2);
const LEAST_JITTER: GoDuration = GoDuration::from_secs(1);
const HELP: &str = "Always 1; the label tells the digest of the configuration that runs.";
