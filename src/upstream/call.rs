//! A client's query as upstreams are asked it.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use super::Pool;
use super::message::{Request, RequestBuffer};
use crate::limits;
use crate::plugin::Query;
use crate::runtime::clock::{MILLISECOND, Nanos};
use crate::transport::proxy::Ends;
use crate::wire::reply::Question;

/// What is asked of an upstream.
pub struct Call {
    /// The query.
    pub request: RequestBuffer,
    /// Octets that a reply over UDP may have.
    pub room: usize,
    /// A reading of the monotonic clock after which no answer is of use.
    pub deadline: Nanos,
    /// Whom the query is from and which address was asked, for upstreams that are told of it. None: this server asks for itself.
    pub client: Option<Box<Ends>>,
}

impl Call {
    /// What is to be asked for a client: its question in its own case unless the name was rewritten, until five seconds from now or its
    /// own deadline.
    pub fn of(query: &Query, now: Nanos) -> Call {
        let (asked, seen) = (query.asked().name, query.name());
        let is_own = asked.eq_ignore_ascii_case(seen);
        let question = Question {
            name: if is_own { asked } else { seen },
            qtype: query.qtype,
            qclass: query.qclass,
        };
        let request = RequestBuffer::new(&Request {
            flags: query.flags,
            question,
            edns: &query.edns,
        });
        let deadline = now + limits::FORWARD_DEADLINE_MS * MILLISECOND;
        Call {
            request,
            room: query.size_limit(),
            deadline: query
                .deadline_ns
                .map_or(deadline, |ns| ns.get().min(deadline)),
            client: None,
        }
    }

    /// Notes the client if this upstream is told of clients.
    pub fn introduce(&mut self, query: &Query, to: &Pool) {
        if to.health().endpoint().is_proxied {
            self.client = Some(Box::new(Ends {
                source: *query.peer,
                destination: *query.local,
            }));
        }
    }
}
