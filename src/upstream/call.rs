//! A client's query as upstreams are asked it.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use super::message::{Request, RequestBuffer};
use crate::limits;
use crate::plugin::Query;
use crate::runtime::clock::{MILLISECOND, Nanos};
use crate::wire::reply::Question;

/// What is asked of an upstream.
pub struct Call {
    /// The query.
    pub request: RequestBuffer,
    /// Octets that a reply over UDP may have.
    pub room: usize,
    /// A reading of the monotonic clock after which no answer is of use.
    pub deadline: Nanos,
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
        }
    }
}
