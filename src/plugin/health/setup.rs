//! `health [ADDRESS] { lameduck DURATION }`, several lines are one.

use std::sync::Arc;
use std::time::Duration;

use super::selfcheck::SelfCheck;
use super::{NAME, PATH};
use crate::admin::Response;
use crate::corefile::{Args, SetupError, split_host_port};
use crate::lang::duration::{self, GoDuration};
use crate::plugin::SetupCx;
use crate::telemetry::log;

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
    let mut addr = ":8080";
    let mut lameduck = GoDuration::ZERO;
    while args.next() {
        match args.remaining_args()[..] {
            [] => {}
            [given] => {
                split_host_port(given).map_err(SetupError::plain)?;
                addr = given;
            }
            _ => return Err(args.arg_err()),
        }
        while args.next_block() {
            if args.val() != "lameduck" {
                return Err(args.arg_err());
            }
            let [text] = args.remaining_args()[..] else {
                return Err(args.arg_err());
            };
            lameduck = duration::parse(text).map_err(|error| {
                SetupError::plain(format!(
                    "unable to parse lameduck duration value: \"{text}\": {error}"
                ))
            })?;
        }
    }
    let life = &mut *cx.life;
    life.endpoints
        .add(addr, PATH, Arc::new(|| Response::text(200, "OK")));
    // A negative duration is none.
    if let Some(wait) = lameduck.to_std().filter(|wait| *wait > Duration::ZERO) {
        life.lameduck = life.lameduck.max(wait);
        life.on_drain.push(Box::new(move || {
            log::info(
                Some(NAME),
                format_args!("Going into lameduck mode for {lameduck}"),
            );
        }));
    }
    let check = Arc::new(SelfCheck::new(addr));
    let stopped = Arc::clone(&check);
    life.on_start
        .push(Box::new(move |started| check.start(&started.control)));
    life.on_stop.push(Box::new(move || stopped.stop()));
    Ok(())
}
