//! Connections that carry several queries at a time: which of them carries the next, when one more is opened, and when one is given up.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::Error;
use super::core::refuse;
use super::idle::Rules;
use super::message::RequestBuffer;
use super::tcp::Failure;
use crate::runtime;
use crate::runtime::clock::{self, MILLISECOND, Nanos};
use crate::runtime::local::Event;
use crate::wire::reply::Reply;

/// A protocol over a connection that was opened.
pub(super) trait Carrier: 'static {
    /// Queries at which a further connection is a good idea.
    const EASY: usize;
    /// Connections of one core and upstream.
    const SESSIONS: usize;

    /// Queries that the connection may carry at a time; 0 once it is over.
    fn room(&self) -> usize;

    /// The error of an exchange whose time ran out.
    fn timeout(&self) -> Error;

    /// Asks and reads the answer into `reply`. Bound the wait with a timeout; it may be dropped at any time.
    fn exchange(
        &self,
        request: &mut RequestBuffer,
        reply: &mut Reply,
    ) -> impl Future<Output = Result<(), Failure>>;
}

/// Opens a connection.
pub(super) type Dial<C> = Rc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<C, Error>>>>>;

/// The connections of one core to one upstream.
pub(super) struct Sessions<C: 'static> {
    shared: Rc<Shared<C>>,
}

struct Shared<C> {
    rules: Rules,
    dial: Dial<C>,
    list: RefCell<Vec<Rc<Session<C>>>>,
    /// The attempt that is under way; there is one at a time.
    attempt: RefCell<Option<Rc<Attempt<C>>>>,
    is_swept: Cell<bool>,
}

struct Session<C> {
    carrier: C,
    created: Nanos,
    /// When the last query ended.
    used: Cell<Nanos>,
    /// When the last answer came.
    heard: Cell<Nanos>,
    in_flight: Cell<usize>,
    is_retired: Cell<bool>,
}

/// An attempt to connect, which several queries may wait for. It goes on when they give up.
struct Attempt<C> {
    ended: Event,
    is_over: Cell<bool>,
    /// What came of it; none where its task was dropped.
    outcome: RefCell<Option<Outcome<C>>>,
}

type Outcome<C> = Result<Rc<Session<C>>, Rc<Error>>;

/// A place on a connection.
pub(super) struct Use<C> {
    session: Rc<Session<C>>,
    /// The connection was there already.
    pub(super) was_kept: bool,
}

/// What [`Sessions::pick`] found.
enum Pick<C> {
    Use(Rc<Session<C>>),
    /// None, but there may be one more.
    Dial,
    Full,
}

impl<C: Carrier> Sessions<C> {
    /// No connections; `rules.max_idle` bounds their number as well.
    pub(super) fn new(rules: Rules, dial: Dial<C>) -> Sessions<C> {
        Sessions {
            shared: Rc::new(Shared {
                rules: Rules {
                    max_idle: rules.max_idle.clamp(1, C::SESSIONS),
                    ..rules
                },
                dial,
                list: RefCell::new(Vec::new()),
                attempt: RefCell::new(None),
                is_swept: Cell::new(false),
            }),
        }
    }

    /// Waits for a place until `deadline`.
    ///
    /// # Errors
    /// Why no connection could be opened; [`Error::Busy`], counted, when all are full.
    pub(super) async fn acquire(&self, deadline: Nanos) -> Result<Use<C>, Error> {
        let mut was_kept = true;
        for _ in 0..ATTEMPTS {
            match self.pick() {
                Pick::Use(session) => return Ok(session.enter(was_kept)),
                Pick::Full => return Err(refuse()),
                Pick::Dial => was_kept = false,
            }
            let Some(attempt) = self.attempt() else {
                return Err(refuse());
            };
            let ended = attempt.ended.wait();
            if !attempt.is_over.get() {
                let left = Duration::from_nanos(deadline.saturating_sub(clock::now_ns()));
                if runtime::timeout(left, ended).await.is_err() {
                    return Err(Error::Late);
                }
            }
            match attempt.outcome.take() {
                Some(Err(error)) => {
                    // For all that wait.
                    attempt.outcome.replace(Some(Err(Rc::clone(&error))));
                    // This thread had no place for the connection's task, which is no fault of the upstream.
                    return Err(match *error {
                        Error::Busy => refuse(),
                        _ => Error::Shared(error),
                    });
                }
                // A server may take a connection and end it, as one does that wants a certificate. The exchange is told why.
                Some(Ok(session)) if session.carrier.room() == 0 => {
                    attempt.outcome.replace(Some(Ok(Rc::clone(&session))));
                    return Ok(session.enter(was_kept));
                }
                outcome => drop(attempt.outcome.replace(outcome)),
            }
        }
        // Others were quicker each time.
        Err(refuse())
    }

    fn pick(&self) -> Pick<C> {
        let shared = &self.shared;
        shared.drop_old(clock::now_ns());
        let list = shared.list.borrow();
        let can_grow = list.len() < shared.rules.max_idle;
        let Some(best) = list.iter().min_by_key(|session| session.in_flight.get()) else {
            return Pick::Dial;
        };
        let best = Rc::clone(best);
        drop(list);
        let count = best.in_flight.get();
        if count >= C::EASY && can_grow {
            // In the background: this query takes what is there.
            drop(self.attempt());
        }
        match (count < best.carrier.room(), can_grow) {
            (true, _) => Pick::Use(best),
            (false, true) => Pick::Dial,
            (false, false) => Pick::Full,
        }
    }

    /// The attempt under way, or a new one; none if this thread has no place for its task.
    fn attempt(&self) -> Option<Rc<Attempt<C>>> {
        let mut slot = self.shared.attempt.borrow_mut();
        if let Some(attempt) = &*slot {
            return Some(Rc::clone(attempt));
        }
        let attempt = Rc::new(Attempt {
            ended: Event::new(),
            is_over: Cell::new(false),
            outcome: RefCell::new(None),
        });
        let running = Running {
            attempt: Rc::clone(&attempt),
            shared: Rc::downgrade(&self.shared),
        };
        let dialled = (self.shared.dial)();
        let work = async move {
            let outcome = dialled.await;
            running.end(outcome);
        };
        // Not to be dropped while the slot is borrowed: that ends the attempt.
        let refused = runtime::try_spawn(work);
        if refused.is_ok() {
            *slot = Some(Rc::clone(&attempt));
        }
        drop(slot);
        refused.is_ok().then_some(attempt)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shared.list.borrow().len()
    }
}

/// The task of an attempt; whatever ends it, those that wait go on.
struct Running<C> {
    attempt: Rc<Attempt<C>>,
    shared: Weak<Shared<C>>,
}

impl<C: Carrier> Running<C> {
    fn end(self, outcome: Result<C, Error>) {
        let outcome = outcome.map(|carrier| Rc::new(Session::new(carrier)));
        if let (Ok(session), Some(shared)) = (&outcome, self.shared.upgrade()) {
            shared.list.borrow_mut().push(Rc::clone(session));
            shared.start_sweep();
        }
        self.attempt.outcome.replace(Some(outcome.map_err(Rc::new)));
    }
}

impl<C> Drop for Running<C> {
    fn drop(&mut self) {
        self.attempt.is_over.set(true);
        if let Some(shared) = self.shared.upgrade() {
            let mut slot = shared.attempt.borrow_mut();
            if slot
                .as_ref()
                .is_some_and(|slot| Rc::ptr_eq(slot, &self.attempt))
            {
                *slot = None;
            }
        }
        self.attempt.ended.notify();
    }
}

impl<C: Carrier> Shared<C> {
    fn drop_old(&self, now: Nanos) {
        let Rules {
            expire, max_age, ..
        } = self.rules;
        // One that was just opened is still to be used, even where nothing is kept.
        let expire = expire.max(SWEEP_PAUSE_MIN);
        let is_good = |session: &Rc<Session<C>>| {
            !session.is_retired.get()
                && session.carrier.room() > 0
                && (max_age == 0 || now.saturating_sub(session.created) <= max_age)
                && (session.in_flight.get() > 0 || now.saturating_sub(session.used.get()) <= expire)
        };
        let mut list = self.list.borrow_mut();
        if list.iter().all(is_good) {
            return;
        }
        let (good, old) = std::mem::take(&mut *list).into_iter().partition(is_good);
        *list = good;
        // Whoever waits on an old one keeps it. Closing may run anything, so the list is free again by then.
        drop(list);
        let old: Vec<Rc<Session<C>>> = old;
        drop(old);
    }

    /// Closes what is idle while no query comes; ends when nothing is left.
    fn start_sweep(self: &Rc<Self>) {
        if self.is_swept.replace(true) {
            return;
        }
        let weak = Rc::downgrade(self);
        let pause = Duration::from_nanos(self.rules.expire.max(SWEEP_PAUSE_MIN));
        let sweeper = async move {
            loop {
                runtime::sleep(pause).await;
                let Some(shared) = weak.upgrade() else {
                    return;
                };
                shared.drop_old(clock::now_ns());
                if shared.list.borrow().is_empty() {
                    shared.is_swept.set(false);
                    return;
                }
            }
        };
        if runtime::try_spawn(sweeper).is_err() {
            self.is_swept.set(false);
        }
    }
}

impl<C> Session<C> {
    fn enter(self: Rc<Self>, was_kept: bool) -> Use<C> {
        self.in_flight.set(self.in_flight.get() + 1);
        Use {
            session: self,
            was_kept,
        }
    }

    fn new(carrier: C) -> Session<C> {
        let now = clock::now_ns();
        Session {
            carrier,
            created: now,
            used: Cell::new(now),
            heard: Cell::new(now),
            in_flight: Cell::new(0),
            is_retired: Cell::new(false),
        }
    }
}

impl<C> Use<C> {
    pub(super) fn carrier(&self) -> &C {
        &self.session.carrier
    }

    /// Notes that an answer came.
    pub(super) fn note_heard(&self) {
        self.session.heard.set(clock::now_ns());
    }

    /// Gives the connection to no further query.
    pub(super) fn retire(&self) {
        self.session.is_retired.set(true);
    }

    /// Retires a connection from which nothing came since a query was sent: the other side may be gone without a word.
    pub(super) fn note_silence(&self, since: Nanos) {
        if self.session.heard.get() < since {
            self.retire();
        }
    }
}

impl<C> Drop for Use<C> {
    fn drop(&mut self) {
        let session = &self.session;
        session
            .in_flight
            .set(session.in_flight.get().saturating_sub(1));
        session.used.set(clock::now_ns());
    }
}

/// Connections that one query waits for before it gives up.
const ATTEMPTS: usize = 4;
/// Between two looks at what is idle, at least.
const SWEEP_PAUSE_MIN: Nanos = 10 * MILLISECOND;
