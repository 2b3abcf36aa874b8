//! `loop`: no arguments, and a hook that sends the probe once the configuration serves.

use std::sync::{Arc, OnceLock};

use super::probe::{self, Watch};
use super::{Config, exit};
use crate::corefile::{Args, SetupError, ZoneName};
use crate::plugin::SetupCx;

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
    let mut occurrences = 0;
    while args.next() {
        occurrences += 1;
        if occurrences > 1 {
            return Err(args.once_err());
        }
        if args.next_arg() {
            return Err(args.arg_err());
        }
    }
    let zone = cx.zones.first().cloned().unwrap_or_else(ZoneName::root);
    let watch = Arc::new(Watch::new(&zone));
    let servers = Arc::new(OnceLock::new());
    let (watched, known) = (watch.clone(), servers.clone());
    cx.life.on_start.push(Box::new(move |started| {
        probe::start(watched, known, started.listeners.clone());
    }));
    let stopped = watch.clone();
    cx.life.on_stop.push(Box::new(move || stopped.stop()));
    Ok(Config {
        zone,
        watch,
        servers,
        end: exit,
    })
}
