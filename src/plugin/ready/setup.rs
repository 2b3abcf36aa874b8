//! `ready [ADDRESS] { monitor until-ready|continuously }`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::admin::{Handler, Readiness, Response};
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
    life.endpoints.add(
        addr,
        PATH,
        handler(Arc::clone(&life.readiness), Arc::clone(&draining)),
    );
    let stopper = life.endpoints.stopper(addr, PATH);
    life.on_drain.push(Box::new(move || {
        draining.store(true, Ordering::SeqCst);
        stopper.stop();
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

fn handler(readiness: Arc<Readiness>, draining: Arc<AtomicBool>) -> Handler {
    Arc::new(move || {
        if draining.load(Ordering::SeqCst) {
            return Response::text(503, "Shutting down");
        }
        match readiness.not_ready() {
            None => Response::text(200, "OK"),
            Some(names) => {
                log::info(
                    Some("ready"),
                    format_args!("Plugins not ready: \"{names}\""),
                );
                Response::text(503, names)
            }
        }
    })
}

const PATH: &str = "/ready";
