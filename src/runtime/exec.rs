//! The scheduler of a task thread: the same for both backends, which differ only in how the thread waits.
//!
//! ```text
//!  foreign thread: wake -> injected -> (if the thread waits) eventfd in the poll set
//!  own thread:     wake -> ready
//!                             |
//!  turn: injected -> ready, expired timers -> ready, poll <= TASKS_PER_TURN of ready
//! ```
//!
//! Tasks live in a slab here even under glommio, which runs the scheduler as its one task: glommio's own tasks abort
//! the process when a destructor panics, count their wakers in 16 bits and outlive an executor that ended.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::task::{Context, Poll, Wake, Waker};

use crossbeam::queue::SegQueue;

use crate::limits;
use crate::runtime::clock::{self, Nanos};
use crate::runtime::eventfd::EventFd;
use crate::runtime::reactor::Reactor;
use crate::runtime::slab::{Key, Slab};
use crate::runtime::stint::{self, Stint};
use crate::runtime::timers::Timers;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Exec>>> = const { RefCell::new(None) };
}

static PANICS: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);
static ON_PANIC: OnceLock<fn(&str)> = OnceLock::new();

type BoxedTask = Pin<Box<dyn Future<Output = ()>>>;

/// What a task thread owns. Never leaves its thread.
pub(crate) struct Exec {
    shared: Arc<Shared>,
    /// `None` in a slot = the task is being polled right now.
    tasks: RefCell<Slab<Option<BoxedTask>>>,
    ready: RefCell<VecDeque<Arc<Header>>>,
    timers: RefCell<Timers>,
    due: RefCell<Vec<Waker>>,
    stint: RefCell<Stint>,
    closing: Cell<bool>,
    reactor: Rc<Reactor>,
}

/// The part of an executor that other threads may touch.
pub(crate) struct Shared {
    /// Woken by other threads. Bounded by the number of tasks: a task is queued once until it is polled.
    injected: SegQueue<Arc<Header>>,
    /// True from before the last look at `injected` until the thread runs again.
    waiting: AtomicBool,
    /// Nothing is polled any more; what is injected now would stay for ever.
    closed: AtomicBool,
    /// Part of the poll set: ends its wait.
    event: EventFd,
}

struct Header {
    shared: Arc<Shared>,
    key: Key,
    queued: AtomicBool,
}

/// How many tasks panicked since the process started. A panic ends its own task only.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// How many tasks and timers were refused because a task thread had too many, or because none runs here.
pub fn refused() -> u64 {
    REFUSED.load(Ordering::Relaxed)
}

/// Sets what is called with the message of each panic of a task, on the thread where it happened. Only the first
/// call has an effect.
pub fn on_panic(hook: fn(&str)) {
    let _ = ON_PANIC.set(hook);
}

/// The executor of this thread, if it is a task thread.
pub(crate) fn current() -> Option<Rc<Exec>> {
    CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
}

pub(crate) fn count_refused() {
    REFUSED.fetch_add(1, Ordering::Relaxed);
}

// === impl Exec ===

impl Exec {
    /// Makes this thread a task thread until [`Exec::close`]; an error when it is one already.
    pub(crate) fn enter() -> io::Result<Rc<Self>> {
        let event = EventFd::new()?;
        let reactor = Rc::new(Reactor::new(&event)?);
        let exec = Rc::new(Self {
            shared: Arc::new(Shared {
                injected: SegQueue::new(),
                waiting: AtomicBool::new(false),
                closed: AtomicBool::new(false),
                event,
            }),
            tasks: RefCell::new(Slab::new(limits::TASKS_PER_CORE)),
            ready: RefCell::new(VecDeque::new()),
            timers: RefCell::new(Timers::new()),
            due: RefCell::new(Vec::new()),
            stint: RefCell::default(),
            closing: Cell::new(false),
            reactor,
        });
        CURRENT.with(|current| {
            let mut current = current.borrow_mut();
            if current.is_some() {
                return Err(nested());
            }
            *current = Some(Rc::clone(&exec));
            Ok(())
        })?;
        Ok(exec)
    }

    pub(crate) fn reactor(&self) -> &Rc<Reactor> {
        &self.reactor
    }

    pub(crate) fn timers(&self) -> &RefCell<Timers> {
        &self.timers
    }

    /// Starts a task; hands the future back when there are too many or the thread ends.
    pub(crate) fn spawn<F>(&self, future: F) -> Result<(), F>
    where
        F: Future<Output = ()> + 'static,
    {
        if self.closing.get() || self.tasks.borrow().len() >= limits::TASKS_PER_CORE {
            return Err(future);
        }
        let inserted = self.tasks.borrow_mut().insert(Some(Box::pin(future)));
        // The slab has room, or its slots have run through all their names; then the task is dropped like one refused.
        let Ok(key) = inserted else {
            count_refused();
            return Ok(());
        };
        self.ready.borrow_mut().push_back(Arc::new(Header {
            shared: Arc::clone(&self.shared),
            key,
            queued: AtomicBool::new(true),
        }));
        Ok(())
    }

    /// Polls what is ready, at most `limits::TASKS_PER_TURN` tasks; `stop` is asked after each and ends the turn.
    /// True when more is ready.
    pub(crate) fn turn(&self, mut stop: impl FnMut() -> bool) -> bool {
        self.shared.waiting.store(false, Ordering::Relaxed);
        while let Some(header) = self.shared.injected.pop() {
            self.ready.borrow_mut().push_back(header);
        }
        let now_ns = clock::now_ns();
        self.expire(now_ns);
        self.stint.borrow_mut().resume(now_ns);
        for _ in 0..limits::TASKS_PER_TURN {
            let header = self.ready.borrow_mut().pop_front();
            let Some(header) = header else { break };
            self.poll(header);
            if stop() {
                break;
            }
            if self.stint.borrow_mut().is_over(clock::now_ns()) {
                stint::yield_cpu();
            }
        }
        !self.ready.borrow().is_empty()
    }

    /// Announces that the thread is about to wait: from here on a wake from anywhere ends the wait. False when work
    /// has arrived meanwhile; then the thread must not wait.
    pub(crate) fn prepare_to_wait(&self) -> bool {
        self.shared.waiting.store(true, Ordering::SeqCst);
        // Pairs with the fence in `Shared::notify`: either we see the injected task or the waker sees `waiting`.
        fence(Ordering::SeqCst);
        if self.shared.injected.is_empty() {
            return true;
        }
        self.shared.waiting.store(false, Ordering::Relaxed);
        false
    }

    /// How long the thread may wait for its next timer; `None` = no timer is armed.
    pub(crate) fn wait_ns(&self) -> Option<Nanos> {
        let deadline = self.timers.borrow().next_deadline()?;
        #[cfg(any(test, feature = "testing"))]
        if clock::fake::now().is_some() {
            return Some(clock::MILLISECOND);
        }
        Some(deadline.saturating_sub(clock::now_ns()))
    }

    /// Moves a faked clock to the next timer when nothing else can run.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn jump_fake_clock(&self) {
        if self.ready.borrow().is_empty()
            && self.shared.injected.is_empty()
            && let Some(deadline) = self.timers.borrow().next_deadline()
        {
            clock::fake::jump_to(deadline);
        }
    }

    /// Drops every task, then lets the thread go. Again: nothing.
    pub(crate) fn close(&self) {
        if self.closing.replace(true) {
            return;
        }
        loop {
            let tasks = self.tasks.borrow_mut().drain();
            if tasks.is_empty() {
                break;
            }
            for task in tasks.into_iter().flatten() {
                guard(|| drop(task));
            }
        }
        self.ready.borrow_mut().clear();
        self.shared.closed.store(true, Ordering::SeqCst);
        while self.shared.injected.pop().is_some() {}
        let gone = CURRENT.with(|current| current.borrow_mut().take());
        drop(gone);
    }

    fn expire(&self, now: Nanos) {
        let mut due = self.due.take();
        self.timers.borrow_mut().expire(now, &mut due);
        for waker in due.drain(..) {
            waker.wake();
        }
        self.due.replace(due);
    }

    fn poll(&self, header: Arc<Header>) {
        // From here on a wake queues the task again: it may concern what this poll has passed already.
        header.queued.swap(false, Ordering::AcqRel);
        let key = header.key;
        let task = self
            .tasks
            .borrow_mut()
            .value_mut(key)
            .and_then(Option::take);
        let Some(mut task) = task else { return };
        let waker = Waker::from(header);
        let polled = guard(|| task.as_mut().poll(&mut Context::from_waker(&waker)));
        match polled {
            Some(Poll::Pending) => {
                if let Some(slot) = self.tasks.borrow_mut().value_mut(key) {
                    *slot = Some(task);
                }
            }
            Some(Poll::Ready(())) | None => {
                guard(|| drop(task));
                self.tasks.borrow_mut().remove(key);
            }
        }
    }
}

/// Closes an executor when its thread is done with it, also by a panic.
pub(crate) struct Closer(Rc<Exec>);

impl Closer {
    pub(crate) fn new(exec: Rc<Exec>) -> Self {
        Self(exec)
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.close();
    }
}

pub(crate) fn nested() -> io::Error {
    io::Error::other("this thread runs an executor already")
}

// === impl Shared, Header ===

impl Shared {
    fn notify(&self) {
        // Pairs with the fence in `Exec::prepare_to_wait`.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) && self.waiting.swap(false, Ordering::AcqRel) {
            self.event.signal();
        }
    }
}

impl Wake for Header {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) || self.shared.closed.load(Ordering::SeqCst) {
            return;
        }
        let local = CURRENT.try_with(|current| match &*current.borrow() {
            Some(exec) if Arc::ptr_eq(&exec.shared, &self.shared) => {
                exec.ready.borrow_mut().push_back(Arc::clone(self));
                true
            }
            _ => false,
        });
        // A wake on the own thread needs no signal: that thread is not waiting.
        if local != Ok(true) {
            self.shared.injected.push(Arc::clone(self));
            self.shared.notify();
            // It may have closed since, and then nobody empties the queue any more, which holds itself by what is in it.
            if self.shared.closed.load(Ordering::SeqCst) {
                while self.shared.injected.pop().is_some() {}
            }
        }
    }
}

/// Runs a piece of a task; `None` when it panicked, which is counted and reported.
fn guard<T>(run: impl FnOnce() -> T) -> Option<T> {
    // What the closure left half-done is dropped with its task; the executor's own state is never borrowed here.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(value) => Some(value),
        Err(payload) => {
            PANICS.fetch_add(1, Ordering::Relaxed);
            if let Some(hook) = ON_PANIC.get() {
                hook(panic_message(&*payload));
            }
            None
        }
    }
}

/// The text of a panic.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "panic without a message"
    }
}
