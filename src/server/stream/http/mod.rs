//! HTTP on a stream: DNS over HTTPS (RFC 8484) by HTTP/2 and HTTP/1.1, and CoreDNS's gRPC service by HTTP/2.
//!
//! ```text
//!   stream -> HttpIo: octets in turns, one write for each
//!               -> two (h2): DoH, gRPC
//!               -> one (hyper): DoH
//!                     -> doh, grpc: what a request means, what a response says
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

pub(in crate::server) mod grpc;
mod one;
#[cfg(test)]
mod tests;
mod two;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;

use crate::runtime;
use crate::server::config::Timeouts;
use crate::server::doh;
use crate::server::http_counts::Responses;
use crate::server::session::Session;
use crate::transport::http_io::{HttpIo, reply_len};
use crate::transport::stream::Stream;
use crate::tune::Settings;

/// What the requests of a connection have in common.
struct Site {
    session: Session,
    timeouts: Timeouts,
    responses: Rc<Responses>,
    tune: Arc<Settings>,
}

impl Site {
    /// `None`: its listener is gone.
    fn new(session: Session, timeouts: Timeouts) -> Option<Site> {
        let tune = session.env.newest()?.config.tune.clone();
        let counts = &session.env.http;
        let responses = session.with_listener(|listener| {
            counts.responses("coredns_dns_https_responses_total", &listener.label)
        })?;
        Some(Site {
            session,
            timeouts,
            responses,
            tune,
        })
    }

    /// Asks for whom a trusted proxy names, else for the peer.
    fn ask_for(
        &self,
        client: Option<SocketAddr>,
        form: doh::Form,
        message: &[u8],
    ) -> doh::Answered {
        match client {
            None => doh::ask(&self.session, form, message),
            Some(peer) => {
                let session = Session {
                    peer,
                    ..self.session.clone()
                };
                doh::ask(&session, form, message)
            }
        }
    }

    fn client(&self, head: &Parts) -> Option<SocketAddr> {
        let trusted = &self.tune.doh_trusted_proxies;
        doh::client(&head.headers, self.session.peer, trusted)
    }

    /// No configuration has its listener any more.
    fn is_closed(&self) -> bool {
        self.session.accepting.listener.get().is_none()
    }
}

/// Answers DNS over HTTPS until the connection ends.
pub(super) async fn serve_doh(session: Session, stream: Stream, timeouts: Timeouts) {
    let agreed = stream.alpn().map(|name| name == b"h2");
    let (is_plain, io) = (
        matches!(stream, Stream::Plain(_)),
        HttpIo::new(stream, reply_len),
    );
    let is_two = match agreed {
        Some(is_two) => is_two,
        None if is_plain => {
            let start = poll_fn(|cx| io.poll_begins_with(cx, PREFACE));
            match runtime::timeout(timeouts.read, start).await {
                Ok(Ok(Some(is_two))) => is_two,
                _ => return,
            }
        }
        None => false,
    };
    let Some(site) = Site::new(session, timeouts) else {
        return;
    };
    if is_two {
        Box::pin(two::serve(site, io, two::Service::Doh)).await;
    } else {
        Box::pin(one::serve(site, io)).await;
    }
}

/// Answers gRPC calls until the connection ends. `streams_max`: calls that may be open, 0 for no bound.
pub(super) async fn serve_grpc(
    session: Session,
    stream: Stream,
    timeouts: Timeouts,
    streams_max: usize,
) {
    if let Some(site) = Site::new(session, timeouts) {
        let service = two::Service::Grpc { streams_max };
        two::serve(site, HttpIo::new(stream, reply_len), service).await;
    }
}

/// How HTTP/2 begins without TLS (RFC 9113 section 3.4); no method of HTTP/1.1 does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";
