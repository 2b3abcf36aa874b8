//! What the tasks of queries that waited leave for their connection.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use crate::runtime;
use crate::server::session::Waits;

/// Queries of one connection that wait, and what they leave, `L`, when they do no more.
#[derive(Default)]
pub(super) struct Late<L> {
    /// Replies that the connection has not taken yet.
    pub(super) left: RefCell<L>,
    /// Queries that wait; the connection bounds them.
    in_flight: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

impl<L: 'static> Late<L> {
    /// How many queries wait.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Whom to wake when a query waits no more.
    pub(super) fn register(&self, waker: &Waker) {
        let mut slot = self.waker.borrow_mut();
        match &mut *slot {
            Some(old) => old.clone_from(waker),
            None => *slot = Some(waker.clone()),
        }
    }

    /// Waits for a reply in a task of its own and lets `leave` put it where the connection looks.
    pub(super) fn wait_for(
        self: &Rc<Self>,
        waits: Waits,
        leave: impl FnOnce(&mut L, Option<Vec<u8>>) + 'static,
    ) {
        self.in_flight.set(self.in_flight.get() + 1);
        let place = InFlight(self.clone());
        runtime::spawn(async move {
            let reply = waits.reply().await;
            leave(&mut place.0.left.borrow_mut(), reply);
        });
    }
}

/// A query of a connection that waits; gives its place back even if its task panics.
struct InFlight<L>(Rc<Late<L>>);

impl<L> Drop for InFlight<L> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        if let Some(waker) = &*self.0.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}
