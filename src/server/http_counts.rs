//! What one core counts of HTTP: responses by listener and status, and what was ended for its own fault.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::RefCell;
use std::rc::Rc;

use http::StatusCode;

use crate::telemetry::metrics::{Counter, registry};

/// Counters of one core.
pub(super) struct HttpCounts {
    /// One for each family and listener that there was in the life of the process.
    servers: RefCell<Vec<(&'static str, String, Rc<Responses>)>>,
    refused: [Counter; REASONS.len()],
}

/// Responses of one listener.
pub(super) struct Responses([Counter; STATUSES.len()]);

/// Why a stream or a connection was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// As many queries of the connection as may wait do.
    Streams,
    /// The client takes no replies.
    Unread,
    /// Octets without end that ask for nothing.
    Flood,
    /// The client broke the protocol.
    Protocol,
    /// A request did not come in whole, or a reply was not taken, in time.
    Timeout,
}

impl HttpCounts {
    pub(super) fn new() -> HttpCounts {
        let refused = |reason| {
            registry().counter(
                "percoredns_http_refused_total",
                "Streams and connections of HTTP that were ended because of what the client did or did not do.",
                &[("reason", reason)],
            )
        };
        HttpCounts {
            servers: RefCell::default(),
            refused: REASONS.map(refused),
        }
    }

    /// The counters of a listener, which are made once for each core: `family` is the metric, `server` the label.
    pub(super) fn responses(&self, family: &'static str, server: &str) -> Rc<Responses> {
        let mut servers = self.servers.borrow_mut();
        let same = |row: &&(&str, String, Rc<Responses>)| row.0 == family && row.1 == server;
        if let Some((_, _, responses)) = servers.iter().find(same) {
            return responses.clone();
        }
        let counter = |status| {
            let labels = [("server", server), ("status", status)];
            registry().counter(
                family,
                "Responses of DNS over HTTPS, by HTTP status.",
                &labels,
            )
        };
        let responses = Rc::new(Responses(STATUSES.map(|(_, text)| counter(text))));
        servers.push((family, server.to_owned(), responses.clone()));
        responses
    }

    pub(super) fn refused(&self, reason: Refused) {
        self.refused[reason as usize].inc();
    }
}

impl Responses {
    /// Counts one.
    pub(super) fn count(&self, status: StatusCode) {
        let at = STATUSES.iter().position(|row| row.0 == status);
        // Those are all that we send.
        if let Some(counter) = at.and_then(|at| self.0.get(at)) {
            counter.inc();
        }
    }
}

/// In the order of [`Refused`].
const REASONS: [&str; 5] = ["streams", "unread", "flood", "protocol", "timeout"];

const STATUSES: [(StatusCode, &str); 5] = [
    (StatusCode::OK, "200"),
    (StatusCode::BAD_REQUEST, "400"),
    (StatusCode::NOT_FOUND, "404"),
    (StatusCode::REQUEST_TIMEOUT, "408"),
    (StatusCode::INTERNAL_SERVER_ERROR, "500"),
];
