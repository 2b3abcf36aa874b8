//! One exchange over a connection that was opened for it and is closed behind it: probes, and upstreams that are told of each client.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::rc::Rc;
use std::time::Duration;

use super::Error;
use super::dial::Opened;
use super::form::Form;
use super::http2::Http2;
use super::message::RequestBuffer;
use super::pipeline::Pipeline;
use super::session::Carrier;
use super::tcp;
use crate::runtime;
use crate::wire::reply::Reply;

/// Asks and reads the answer into `reply`, within `wait`. `form` is that of an upstream which speaks HTTP/2.
///
/// # Errors
/// No reply in time, or none at all.
pub(super) async fn exchange(
    opened: Opened,
    form: Option<&Rc<Form>>,
    request: &mut RequestBuffer,
    wait: Duration,
    reply: &mut Reply,
) -> Result<(), Error> {
    match (opened, form) {
        (Opened::Quic(quic), _) => over(&quic, request, wait, reply).await,
        (opened, Some(form)) => {
            let http = Http2::start(opened, Rc::clone(form)).await?;
            over(&http, request, wait, reply).await
        }
        (Opened::Tls(tls), None) => over(&Pipeline::start(tls)?, request, wait, reply).await,
        (Opened::Plain(mut stream), None) => {
            tcp::exchange(&mut stream, request, wait, reply).await?;
            Ok(())
        }
    }
}

async fn over(
    carrier: &impl Carrier,
    request: &mut RequestBuffer,
    wait: Duration,
    reply: &mut Reply,
) -> Result<(), Error> {
    match runtime::timeout(wait, carrier.exchange(request, reply)).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(carrier.timeout()),
    }
}
