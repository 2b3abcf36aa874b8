//! What the queries of one connection have in common, whatever its transport, and the one way in which they are answered.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use super::config::Listener;
use super::running::Running;
use super::serve::{self, Arrival, Desk, Served};
use super::tasks::{self, Env, Place};
use crate::limits;
use crate::plugin::{Proto, Query, Run, TaskEnv};
use crate::runtime::clock;
use crate::runtime::local::Event;
use crate::wire::rcode::Rcode;

/// What the connections of one socket share with the loop that accepts them.
pub(super) struct Accepting {
    /// Index of the listener in the newest configuration; `None` once no configuration has it.
    pub(super) listener: Cell<Option<u16>>,
    /// Notified when `listener` becomes `None`.
    pub(super) closed: Event,
}

impl Accepting {
    pub(super) fn new(listener: u16) -> Rc<Accepting> {
        Rc::new(Accepting {
            listener: Cell::new(Some(listener)),
            closed: Event::new(),
        })
    }

    /// No configuration has the listener any more: connections end what they are answering.
    pub(super) fn close(&self) {
        self.listener.set(None);
        self.closed.notify();
    }
}

/// One client that asks over a connection.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) env: Rc<Env>,
    pub(super) accepting: Rc<Accepting>,
    /// The client, and the address it connected to.
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) proto: Proto,
}

/// What became of a message.
pub(super) enum Outcome<'a> {
    /// The reply.
    Reply(&'a [u8]),
    /// No query that a server takes. The reply that UDP and TCP send, empty where they send nothing; the others have an error of their own.
    Rejected(&'a [u8]),
    /// Nothing is sent: a plugin wants it so.
    Silent,
    /// A plugin waits. What comes later counts against the core's places until it is dropped.
    Waits(Waits),
}

/// A query that waits for its reply.
pub(super) struct Waits {
    env: Rc<Env>,
    query: Box<Query>,
    run: Run,
    _place: Place,
}

impl Session {
    /// Answers one message and hands the outcome to `then`. Does not wait.
    pub(super) fn ask<T>(&self, message: &[u8], then: impl FnOnce(Outcome<'_>) -> T) -> T {
        let (Some(running), Some(listener)) = (self.env.newest(), self.accepting.listener.get())
        else {
            return then(Outcome::Silent);
        };
        let arrival = Arrival {
            peer: self.peer,
            local: self.local,
            proto: self.proto,
            listener,
            now_ns: clock::now_ns(),
        };
        SCRATCH.with_borrow_mut(|(desk, out)| {
            out.resize(limits::MESSAGE_OCTETS, 0);
            match serve::message(&running, desk, message, &arrival, out) {
                Served::Reply(len) => {
                    let outcome = then(Outcome::Reply(&out[..len]));
                    self.env.start_background(&mut desk.query);
                    outcome
                }
                Served::Rejected(len) => then(Outcome::Rejected(&out[..len])),
                Served::Silent => then(Outcome::Silent),
                Served::Parked(run) => self.park(&running, desk, run, out, then),
            }
        })
    }

    fn park<T>(
        &self,
        running: &Running,
        desk: &mut Desk,
        run: Run,
        out: &mut [u8],
        then: impl FnOnce(Outcome<'_>) -> T,
    ) -> T {
        if let Some(place) = self.env.reserve() {
            return then(Outcome::Waits(Waits {
                env: self.env.clone(),
                query: desk.query.leave(),
                run,
                _place: place,
            }));
        }
        desk.query.unwritten(Rcode::SERVFAIL);
        match serve::finish(running, &mut desk.query, out) {
            Served::Reply(len) => then(Outcome::Reply(&out[..len])),
            _ => then(Outcome::Silent),
        }
    }

    /// Its listener in the newest configuration; `None` once it has none.
    pub(super) fn with_listener<T>(&self, look: impl FnOnce(&Listener) -> T) -> Option<T> {
        let listener = usize::from(self.accepting.listener.get()?);
        let running = self.env.newest()?;
        running.config.listeners.get(listener).map(look)
    }
}

impl Waits {
    /// Runs on until there is a reply; `None`: nothing is sent.
    pub(super) async fn reply(mut self) -> Option<Vec<u8>> {
        tasks::complete(&self.env, &mut self.query, self.run).await
    }
}

thread_local! {
    /// Desk and reply buffer of this thread, used between two awaits only.
    static SCRATCH: RefCell<(Desk, Vec<u8>)> = RefCell::default();
}
