//! `prometheus [ADDRESS] { runtime_metrics; tls WEBCONFIG }`.

use std::sync::Arc;

use crate::admin::{Handler, Response};
use crate::corefile::{Args, SetupError, split_host_port};
use crate::plugin::SetupCx;
use crate::telemetry::{log, panics, registry};

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
    let mut addr = "localhost:9153";
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
                "runtime_metrics" => {
                    args.expect_line_end()?;
                    let message =
                        format_args!("runtime_metrics: there is no Go runtime to report on");
                    log::warning(Some("prometheus"), message);
                }
                "tls" => {
                    let message = "tls is not built into percoredns yet: serve /metrics on a local address instead";
                    return Err(args.err(message));
                }
                other => return Err(args.err(format!("unknown option: {other}"))),
            }
        }
    }
    // So that the counter is in the first answer already.
    panics();
    let handler: Handler = Arc::new(|| {
        let mut body = String::new();
        registry().encode(&mut body);
        Response {
            status: 200,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body,
        }
    });
    cx.life.endpoints.add(addr, "/metrics", handler);
    Ok(())
}
