//! Replies that come later than the event their query came with.

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
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use quinn_proto::StreamId;

use crate::runtime;
use crate::server::doh::Form;
use crate::server::session::Waits;

/// What the tasks of queries that waited leave for their driver: no more than queries may wait on a core.
#[derive(Default)]
pub(super) struct Late {
    replies: RefCell<Vec<Reply>>,
    waker: RefCell<Option<Waker>>,
}

/// Whose reply it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct To {
    /// Where the connection stands, and which one of those that stood there.
    pub(super) handle: usize,
    pub(super) serial: u64,
    pub(super) stream: StreamId,
    /// How the reply is written, over HTTP/3.
    pub(super) form: Form,
}

pub(super) struct Reply {
    pub(super) to: To,
    /// `None`: nothing is sent, or the query panicked.
    pub(super) octets: Option<Vec<u8>>,
}

/// One of the streams of a listener that wait, on all cores, until it is dropped.
pub(super) struct Worker(Arc<AtomicUsize>);

impl Worker {
    /// `None` if as many as may are waiting; a `max` of 0 is no bound.
    pub(super) fn take(workers: &Arc<AtomicUsize>, max: usize) -> Option<Worker> {
        let worker = Worker(workers.clone());
        let before = workers.fetch_add(1, Ordering::Relaxed);
        (max == 0 || before < max).then_some(worker)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Late {
    /// Who is woken when there is a reply.
    pub(super) fn register(&self, waker: &Waker) {
        let mut slot = self.waker.borrow_mut();
        match &mut *slot {
            Some(old) => old.clone_from(waker),
            None => *slot = Some(waker.clone()),
        }
    }

    /// Waits for the reply of a query in a task of its own.
    pub(super) fn wait_for(self: &Rc<Self>, to: To, waits: Waits, worker: Worker) {
        let mut place = InFlight {
            late: self.clone(),
            reply: Some(Reply { to, octets: None }),
        };
        runtime::spawn(async move {
            let octets = waits.reply().await;
            drop(worker);
            if let Some(reply) = &mut place.reply {
                reply.octets = octets;
            }
        });
    }

    /// Moves what has come behind `into`.
    pub(super) fn take(&self, into: &mut Vec<Reply>) {
        into.append(&mut self.replies.borrow_mut());
    }
}

/// A query that waits; tells its driver even if its task panics.
struct InFlight {
    late: Rc<Late>,
    reply: Option<Reply>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.late.replies.borrow_mut().extend(self.reply.take());
        if let Some(waker) = &*self.late.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}
