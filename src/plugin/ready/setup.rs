//! `ready [ADDRESS] { monitor until-ready|continuously }`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::admin::{Handler, Readiness, Response, Stopper};
use crate::corefile::{Args, SetupError, split_host_port};
use crate::plugin::SetupCx;
use crate::telemetry::log;

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
    let mut addr = ":8181";
    let mut continuously = false;
    let mut occurrences = 0;
    while args.next() {
        occurrences += 1;
        if occurrences > 1 {
            return Err(args.once_err());
        }
        match args.remaining_args()[..] {
            [] => {}
            [given] => {
                split_host_port(given).map_err(SetupError::plain)?;
                addr = given;
            }
            _ => return Err(args.arg_err()),
        }
        while args.next_block() {
            match args.val() {
                "monitor" => continuously = monitor(args)?,
                other => return Err(args.unknown_property(other)),
            }
        }
    }
    let life = &mut *cx.life;
    life.readiness.watch(cx.block_index, continuously);
    let draining = Arc::new(AtomicBool::new(false));
    for path in PATHS {
        let (readiness, draining) = (Arc::clone(&life.readiness), Arc::clone(&draining));
        let answer = handler(readiness, draining, path == CURRENT_PATH);
        life.endpoints.add(addr, path, answer);
    }
    let stoppers = PATHS.map(|path| life.endpoints.stopper(addr, path));
    life.on_drain.push(Box::new(move || {
        draining.store(true, Ordering::SeqCst);
        stoppers.iter().for_each(Stopper::stop);
    }));
    Ok(())
}

fn monitor(args: &mut Args<'_>) -> Result<bool, SetupError> {
    match args.remaining_args()[..] {
        ["until-ready"] => Ok(false),
        ["continuously"] => Ok(true),
        [other] => Err(args.err(format!("monitor type '{other}' not supported"))),
        _ => Err(args.arg_err()),
    }
}

/// `is_age_told`: what can be answered must be current, too.
fn handler(readiness: Arc<Readiness>, draining: Arc<AtomicBool>, is_age_told: bool) -> Handler {
    Arc::new(move || {
        if draining.load(Ordering::SeqCst) {
            return Response::text(503, "Shutting down");
        }
        if let Some(names) = readiness.not_ready() {
            log::info(
                Some("ready"),
                format_args!("Plugins not ready: \"{names}\""),
            );
            return Response::text(503, names);
        }
        match is_age_told.then(|| readiness.stale()).flatten() {
            None => Response::text(200, "OK"),
            Some(lines) => Response::text(503, lines),
        }
    })
}

const CURRENT_PATH: &str = "/ready/current";
const PATHS: [&str; 2] = ["/ready", CURRENT_PATH];
