//! From received bytes to reply bytes: the one path of every transport.
//!
//! ```text
//!   short: a plain query that memory answers         (see `short`; else nothing has happened)
//!   admit: parse, opcode, counts, class, EDNS version   (no plugin has run)
//!     -> a name that the server itself answers (see `own`)
//!     -> route: zone, DS rule, views
//!     -> chain down and up
//!     -> finish: EDNS echo, size, compression, TC
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use super::admission;
use super::own;
use super::running::Running;
use super::short::Glance;
use crate::cache;
pub use crate::plugin::Arrival;
use crate::plugin::{Answer, Query, Run};
use crate::wire::flag;
use crate::wire::query::{self, Parsed, Verdict};
use crate::wire::rcode::Rcode;

/// What became of a message.
pub enum Served {
    /// So many octets of reply stand in the output buffer.
    Reply(usize),
    /// Refused before anything was looked up, because the message is none that a server takes. So many octets of the reply that UDP and
    /// TCP send stand in the output buffer, none where they send nothing; HTTP, QUIC and gRPC have an error of their own.
    Rejected(usize),
    /// Nothing is sent.
    Silent,
    /// A plugin waits; the query stays in the [`Desk`] for whoever can run it on.
    Parked(Run),
}

/// Buffers that are used again for each message of a thread.
#[derive(Default)]
pub struct Desk {
    glance: Glance,
    parsed: Parsed,
    /// The query in hand.
    pub query: Box<Query>,
}

/// Answers one message, or parks it. The packet thread does the same in steps, for a batch at a time.
pub fn message(
    running: &Running,
    desk: &mut Desk,
    bytes: &[u8],
    arrival: &Arrival,
    out: &mut [u8],
) -> Served {
    let glance = &mut desk.glance;
    if glance.look(running, arrival.listener, bytes)
        && let Some(len) = glance.answer(running, bytes, arrival, &cache::Pin::new(), out)
    {
        return Served::Reply(len);
    }
    long(running, desk, bytes, arrival, out)
}

/// The long way of a message, for whatever is not answered on the short one.
pub fn long(
    running: &Running,
    desk: &mut Desk,
    bytes: &[u8],
    arrival: &Arrival,
    out: &mut [u8],
) -> Served {
    let verdict = query::parse(bytes, &mut desk.parsed);
    if verdict == Verdict::Ignore {
        return Served::Rejected(0);
    }
    let query = &mut *desk.query;
    query.begin(&mut desk.parsed, bytes.len());
    query.peer = arrival.peer.into();
    query.local = arrival.local.into();
    query.proto = arrival.proto;
    (query.start_ns, query.now_ns) = (arrival.now_ns, arrival.now_ns);
    query.route.generation = running.config.generation;
    query.route.listener = arrival.listener;
    match admission::admit(running, verdict, query, desk.parsed.has_question) {
        Ok(()) if own::answer(&running.config, query) => {
            admission::dropped(running, query, Rcode::NOERROR);
            return finish(running, query, out);
        }
        Ok(()) => {}
        Err(admission::Refusal::Bare(rcode)) => {
            let len = bare(query, desk.parsed.has_question, rcode, out);
            return match verdict {
                Verdict::Reject(_) => Served::Rejected(len),
                _ => Served::Reply(len),
            };
        }
        Err(admission::Refusal::Shaped(rcode)) => {
            query.respond_rcode(rcode);
            return finish(running, query, out);
        }
    }
    guarded(running, query, out)
}

/// Routes, runs and shapes the reply, turning a panic into SERVFAIL unless *debug* wants it to surface.
fn guarded(running: &Running, query: &mut Query, out: &mut [u8]) -> Served {
    let listener = query.route.listener as usize;
    let is_debug = running
        .config
        .listeners
        .get(listener)
        .is_some_and(|listener| listener.debug);
    if is_debug {
        return run_and_finish(running, query, out);
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| run_and_finish(running, query, out)));
    outcome.unwrap_or_else(|_| {
        admission::recovered(running, query);
        finish(running, query, out)
    })
}

fn run_and_finish(running: &Running, query: &mut Query, out: &mut [u8]) -> Served {
    match route_and_run(running, query) {
        run @ Run::Parked(_) => Served::Parked(run),
        Run::Done => finish(running, query, out),
    }
}

fn route_and_run(running: &Running, query: &mut Query) -> Run {
    match running.route(query) {
        Ok(chain) => chain.run(query),
        Err(rcode) => {
            admission::dropped(running, query, rcode);
            query.unwritten(rcode);
            Run::Done
        }
    }
}

/// Shapes the outcome of a chain into reply bytes.
pub fn finish(running: &Running, query: &mut Query, out: &mut [u8]) -> Served {
    match query.answer {
        Answer::Dropped => return Served::Silent,
        Answer::Written => {}
        Answer::Unwritten(rcode) => {
            query.respond_rcode(rcode);
        }
        Answer::Open => {
            query.respond_rcode(Rcode::SERVFAIL);
        }
    }
    let config = &running.config;
    let idle = match query.proto.has_keepalive() {
        true => idle(running, query),
        false => None,
    };
    query
        .fit(&config.echoed_options, idle, out)
        .map_or(Served::Silent, Served::Reply)
}

/// How long a connection of the query's listener may be without queries.
fn idle(running: &Running, query: &Query) -> Option<Duration> {
    let listener = running.config.listeners.get(query.route.listener as usize);
    Some(listener?.timeouts.idle)
}

/// A rejection before any plugin: the header and, where it could be read, the question. Only RD and CD are copied from the query.
fn bare(query: &mut Query, has_question: bool, rcode: Rcode, out: &mut [u8]) -> usize {
    let opcode = if rcode == Rcode::FORMERR {
        0
    } else {
        query.opcode()
    };
    let flags = query.flags & (flag::RD | flag::CD);
    query.edns.clear();
    let reply = query.respond_rcode(rcode);
    reply.flags = flags;
    let mut question = query.asked();
    if !has_question {
        question.name = &[];
    }
    query
        .reply
        .pack(query.id, opcode, &question, out)
        .unwrap_or_default()
}

// === on a task thread ===

/// Turns a query that a panic left in any state into SERVFAIL, counted and logged.
pub fn recover_from_panic(running: &Running, query: &mut Query) {
    query.salvage();
    admission::recovered(running, query);
}

/// Awaits a future; `None` if it panicked.
pub fn unpanicking<F: Future + Unpin>(mut future: F) -> impl Future<Output = Option<F::Output>> {
    poll_fn(
        move |cx| match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut future).poll(cx))) {
            Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(None),
        },
    )
}
