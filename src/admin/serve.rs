//! Accepting connections and answering their requests.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};

use super::timed::Timed;
use super::{Phase, Response, SharedRoutes, lock};
use crate::control::panic_text;
use crate::limits;
use crate::telemetry::metrics::SharedCounter;
use crate::telemetry::{log, panics, registry};

/// Serves one socket until its phase says otherwise.
pub(super) async fn accept(
    addr: String,
    socket: TcpListener,
    routes: SharedRoutes,
    mut phase: watch::Receiver<Phase>,
) {
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => {
            return log::error(None, format_args!("Cannot serve http on {addr}: {error}"));
        }
    };
    let room = Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase != Phase::Open) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => match Arc::clone(&room).try_acquire_owned() {
                Ok(permit) => {
                    let connection = connection(stream, Arc::clone(&routes), phase.clone());
                    tokio::spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(_) => refused().inc(),
            },
            Err(error) if is_of_connection(&error) => {}
            // Out of descriptors or memory: the connection stays queued, so an immediate retry would spin.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(stream: TcpStream, routes: SharedRoutes, mut phase: watch::Receiver<Phase>) {
    // Answers are one segment or a stream of full ones; an error leaves the default, which only costs time.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Timed::new(stream, TIMEOUT));
    let service = service_fn(|request| {
        let response = respond(&routes, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut served = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(TIMEOUT)
            .max_headers(limits::ADMIN_HEADERS)
            .max_buf_size(limits::ADMIN_HEADER_OCTETS)
            .serve_connection(io, service)
    );
    tokio::select! {
        // Whatever ended it concerns the client alone.
        _ = served.as_mut() => return,
        _ = phase.wait_for(|phase| *phase == Phase::Closed) => {}
    }
    served.as_mut().graceful_shutdown();
    let _ = served.await;
}

fn respond<B>(routes: &SharedRoutes, request: &Request<B>) -> hyper::Response<Full<Bytes>> {
    let handler = lock(routes).get(request.uri().path()).cloned();
    let Some(handler) = handler else {
        let mut response = build(Response::text(404, "404 page not found\n"));
        response.headers_mut().insert(
            "x-content-type-options",
            HeaderValue::from_static("nosniff"),
        );
        return response;
    };
    match catch_unwind(AssertUnwindSafe(|| handler())) {
        Ok(response) => build(response),
        Err(payload) => {
            panics().inc();
            let (path, text) = (request.uri().path(), panic_text(&*payload));
            log::error(
                None,
                format_args!("Recovered from panic in http handler of {path}: {text}"),
            );
            build(Response::text(500, "internal error\n"))
        }
    }
}

fn build(response: Response) -> hyper::Response<Full<Bytes>> {
    let mut built = hyper::Response::new(Full::new(Bytes::from(response.body)));
    *built.status_mut() =
        StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    built.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static(response.content_type),
    );
    built
}

/// Errors of the connection that was to be accepted, not of the listener (accept(2)).
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

fn refused() -> &'static SharedCounter {
    static REFUSED: OnceLock<SharedCounter> = OnceLock::new();
    REFUSED.get_or_init(|| {
        let help = "Connections to admin endpoints closed because their limit was reached.";
        registry().shared_counter("percoredns_admin_connections_refused_total", help, &[])
    })
}

const TIMEOUT: Duration = Duration::from_secs(limits::ADMIN_TIMEOUT_S);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
