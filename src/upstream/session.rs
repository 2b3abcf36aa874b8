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

use super::core::refuse;
use super::idle::Rules;
use super::message::RequestBuffer;
use super::tcp::Failure;
use super::{Error, Protocol};
use crate::limits;
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
    /// What carries its octets.
    const OVER: Protocol;

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
    /// The attempts that are under way, oldest first: `0 <= len <= limits::UPSTREAM_DIALS`.
    attempts: RefCell<Vec<Rc<Attempt<C>>>>,
    /// An attempt ended.
    changed: Event,
    /// Queries that look for a place.
    seeking: Cell<usize>,
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
    begun: Nanos,
    /// What came of it; none while it goes on, and where its task was dropped.
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
    /// No connections. `rules` are for those without a query; with queries there are as many as it takes.
    pub(super) fn new(rules: Rules, dial: Dial<C>) -> Sessions<C> {
        Sessions {
            shared: Rc::new(Shared {
                rules: Rules {
                    max_idle: rules.max_idle.max(1),
                    ..rules
                },
                dial,
                list: RefCell::new(Vec::new()),
                attempts: RefCell::new(Vec::new()),
                changed: Event::new(),
                seeking: Cell::new(0),
                is_swept: Cell::new(false),
            }),
        }
    }

    /// Waits for a place until `deadline`: where it is `alone`, on a connection that nobody has used, if there may be one more.
    ///
    /// # Errors
    /// Why no connection could be opened; [`Error::Busy`], counted, when all are full.
    pub(super) async fn acquire(&self, alone: bool, deadline: Nanos) -> Result<Use<C>, Error> {
        let shared = &*self.shared;
        let _seeker = Seeker::new(&shared.seeking);
        let (mut was_kept, mut failed) = (true, 0);
        let mut failure: Option<Rc<Error>> = None;
        // Waits for another connection rather than queue far back on a busy one.
        let mut is_patient = true;
        loop {
            match self.pick(alone, is_patient) {
                Pick::Use(session) => return Ok(session.enter(was_kept)),
                Pick::Full => return Err(refuse()),
                Pick::Dial => was_kept = false,
            }
            // Others that were begun at the same time may fare better, as where a server bounds the connections of a client.
            if let Some(error) = failure.take()
                && (failed == limits::UPSTREAM_DIALS || !shared.has_young())
            {
                // This thread had no place for the connection's task, which is no fault of the upstream.
                return Err(match *error {
                    Error::Busy => refuse(),
                    _ => Error::Shared(error),
                });
            }
            let Some(attempt) = self.join(alone) else {
                if std::mem::take(&mut is_patient) {
                    continue;
                }
                return Err(refuse());
            };
            let changed = shared.changed.wait();
            let now = clock::now_ns();
            let end = match is_patient && !shared.list.borrow().is_empty() {
                true => deadline.min(now.saturating_add(PATIENCE)),
                false => deadline,
            };
            let left = Duration::from_nanos(end.saturating_sub(now));
            if runtime::timeout(left, changed).await.is_err() {
                if end < deadline {
                    is_patient = false;
                    continue;
                }
                return Err(Error::Late(C::OVER));
            }
            let outcome = attempt.outcome.borrow().clone();
            match outcome {
                Some(Err(error)) => {
                    failed += 1;
                    failure = Some(error);
                    is_patient = false;
                }
                // A server may take a connection and end it, as one does that wants a certificate. The exchange is told why.
                Some(Ok(session)) if session.carrier.room() == 0 => {
                    return Ok(session.enter(was_kept));
                }
                // There is a new connection, or another attempt ended.
                _ => {}
            }
        }
    }

    fn pick(&self, alone: bool, is_patient: bool) -> Pick<C> {
        let shared = &self.shared;
        shared.drop_old(clock::now_ns());
        let list = shared.list.borrow();
        let can_grow = list.len() < C::SESSIONS;
        let suited = list
            .iter()
            .filter(|session| !(alone && can_grow) || session.is_fresh());
        let Some(best) = suited.min_by_key(|session| session.in_flight.get()) else {
            return Pick::Dial;
        };
        let best = Rc::clone(best);
        drop(list);
        let count = best.in_flight.get();
        if count >= C::EASY && shared.wants_more() {
            // In the background: this query takes what is there.
            drop(self.dial());
        }
        let room = match is_patient && can_grow {
            true => best.carrier.room().min(2 * C::EASY),
            false => best.carrier.room(),
        };
        match (count < room, can_grow) {
            (true, _) => Pick::Use(best),
            (false, true) => Pick::Dial,
            (false, false) => Pick::Full,
        }
    }

    /// An attempt to wait for: the latest, or one more where that hangs or is spoken for; none if this thread has no place for its task.
    fn join(&self, alone: bool) -> Option<Rc<Attempt<C>>> {
        let shared = &self.shared;
        let latest = shared.attempts.borrow().last().cloned();
        if latest.is_none() || alone || !shared.has_young() || shared.wants_more() {
            return self.dial().or(latest);
        }
        latest
    }

    /// A new attempt; none if there are as many as may be, or this thread has no place for its task.
    fn dial(&self) -> Option<Rc<Attempt<C>>> {
        let shared = &self.shared;
        let under_way = shared.attempts.borrow().len();
        if under_way >= limits::UPSTREAM_DIALS
            || under_way + shared.list.borrow().len() >= C::SESSIONS
        {
            return None;
        }
        let attempt = Rc::new(Attempt {
            begun: clock::now_ns(),
            outcome: RefCell::new(None),
        });
        let running = Running {
            attempt: Rc::clone(&attempt),
            shared: Rc::downgrade(shared),
        };
        let dialled = (shared.dial)();
        shared.attempts.borrow_mut().push(Rc::clone(&attempt));
        let work = async move {
            let outcome = dialled.await;
            running.end(outcome);
        };
        // One that is refused is dropped, and so ends the attempt.
        runtime::try_spawn(work).is_ok().then_some(attempt)
    }

    /// Retires the connections from which nothing came since then: what ended one of them may have ended all.
    pub(super) fn retire_silent(&self, since: Nanos) {
        for session in self.shared.list.borrow().iter() {
            if session.heard.get() < since {
                session.is_retired.set(true);
            }
        }
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
        if let Some(shared) = self.shared.upgrade() {
            let mut attempts = shared.attempts.borrow_mut();
            attempts.retain(|attempt| !Rc::ptr_eq(attempt, &self.attempt));
            drop(attempts);
            shared.changed.notify();
        }
    }
}

impl<C: Carrier> Shared<C> {
    /// Whether there are more queries than what is open and what is being opened carries easily.
    fn wants_more(&self) -> bool {
        let list = self.list.borrow();
        let in_flight: usize = list.iter().map(|session| session.in_flight.get()).sum();
        let carriers = list.len() + self.attempts.borrow().len();
        in_flight + self.seeking.get() > C::EASY * carriers
    }

    /// Whether an attempt is under way that may well succeed. One that hangs does not tell of a server that is back.
    fn has_young(&self) -> bool {
        let latest = self.attempts.borrow().last().map(|attempt| attempt.begun);
        latest.is_some_and(|begun| clock::now_ns().saturating_sub(begun) < YOUNG)
    }

    fn drop_old(&self, now: Nanos) {
        let Rules {
            expire,
            max_age,
            max_idle,
            ..
        } = self.rules;
        // One that was just opened is still to be used, even where nothing is kept.
        let expire = expire.max(SWEEP_PAUSE_MIN);
        let mut idle = 0;
        let is_old = |session: &mut Rc<Session<C>>| {
            let is_idle = session.in_flight.get() == 0;
            if session.is_retired.get()
                || session.carrier.room() == 0
                || (max_age != 0 && now.saturating_sub(session.created) > max_age)
                || (is_idle && now.saturating_sub(session.used.get()) > expire)
            {
                return true;
            }
            idle += usize::from(is_idle && !session.is_fresh());
            is_idle && idle > max_idle
        };
        let old: Vec<Rc<Session<C>>> = self.list.borrow_mut().extract_if(.., is_old).collect();
        // Whoever waits on an old one keeps it. Closing may run anything, so the list is free again by now.
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

    /// Whether no query has used it so far.
    fn is_fresh(&self) -> bool {
        self.in_flight.get() == 0 && self.used.get() == self.created
    }
}

impl<C> Use<C> {
    pub(super) fn carrier(&self) -> &C {
        &self.session.carrier
    }

    /// Whether the connection carried an answer so far, to anybody.
    pub(super) fn has_answered(&self) -> bool {
        self.session.heard.get() > self.session.created
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

/// A query that looks for a place.
struct Seeker<'a>(&'a Cell<usize>);

impl Seeker<'_> {
    fn new(seeking: &Cell<usize>) -> Seeker<'_> {
        seeking.set(seeking.get() + 1);
        Seeker(seeking)
    }
}

impl Drop for Seeker<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// How long a query waits for a better connection than there is: many handshakes, and little of what a read may take.
const PATIENCE: Nanos = 500 * MILLISECOND;
/// An attempt that takes longer counts as one that hangs.
const YOUNG: Nanos = limits::UPSTREAM_DIAL_MS_MIN * MILLISECOND;
/// Between two looks at what is idle, at least.
const SWEEP_PAUSE_MIN: Nanos = 10 * MILLISECOND;
