//! Waiting between tasks of one task thread: no atomics, no locks, not `Send`.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

pub use crate::runtime::oneshot::Gone;

// === oneshot ===

/// Sends one value to a task of this thread.
pub struct Tx<T> {
    slot: Rc<Slot<T>>,
}

/// Receives one value: a future of it.
#[must_use = "nothing is received unless it is awaited"]
pub struct Rx<T> {
    slot: Rc<Slot<T>>,
}

struct Slot<T> {
    value: Cell<Option<T>>,
    waker: Cell<Option<Waker>>,
    gone: Cell<bool>,
}

/// Makes a channel for one value within this thread.
pub fn oneshot<T>() -> (Tx<T>, Rx<T>) {
    let slot = Rc::new(Slot {
        value: Cell::new(None),
        waker: Cell::new(None),
        gone: Cell::new(false),
    });
    let tx = Tx {
        slot: Rc::clone(&slot),
    };
    (tx, Rx { slot })
}

impl<T> Tx<T> {
    /// Sends the value; hands it back when the receiver is gone.
    pub fn send(self, value: T) -> Result<(), T> {
        if self.is_closed() {
            return Err(value);
        }
        self.slot.value.set(Some(value));
        Ok(())
    }

    /// True when nobody waits for the value any more.
    pub fn is_closed(&self) -> bool {
        self.slot.gone.get()
    }
}

impl<T> Drop for Tx<T> {
    fn drop(&mut self) {
        self.slot.gone.set(true);
        if let Some(waker) = self.slot.waker.take() {
            waker.wake();
        }
    }
}

impl<T> Future for Rx<T> {
    type Output = Result<T, Gone>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(value) = self.slot.value.take() {
            return Poll::Ready(Ok(value));
        }
        if self.slot.gone.get() {
            return Poll::Ready(Err(Gone));
        }
        self.slot.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl<T> Drop for Rx<T> {
    fn drop(&mut self) {
        self.slot.gone.set(true);
    }
}

// === Event ===

/// Something that happens again and again, which any number of tasks may wait for.
#[derive(Clone, Debug, Default)]
pub struct Event {
    inner: Rc<Happened>,
}

#[derive(Debug, Default)]
struct Happened {
    count: Cell<u64>,
    waiting: RefCell<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    slots: Vec<Rc<WakerSlot>>,
    /// Number of slots at which those that gave up are taken off, so that it stays below twice the living.
    prune_at: usize,
}

#[derive(Default)]
struct WakerSlot(Cell<Option<Waker>>);

impl std::fmt::Debug for WakerSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WakerSlot")
    }
}

impl Event {
    /// An event that has not happened.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets it happen: every task that waits now goes on.
    pub fn notify(&self) {
        self.inner.count.set(self.inner.count.get() + 1);
        for slot in self.inner.waiting.take().slots {
            if let Some(waker) = slot.0.take() {
                waker.wake();
            }
        }
    }

    /// Waits until it happens after this call (not after the first poll), so nothing is missed in between.
    pub fn wait(&self) -> impl Future<Output = ()> + 'static {
        let inner = Rc::clone(&self.inner);
        let seen = inner.count.get();
        let mut slot: Option<Rc<WakerSlot>> = None;
        poll_fn(move |cx| {
            if inner.count.get() != seen {
                return Poll::Ready(());
            }
            let slot = slot.get_or_insert_with(|| inner.waiting.borrow_mut().add());
            slot.0.set(Some(cx.waker().clone()));
            Poll::Pending
        })
    }
}

impl Waiting {
    fn add(&mut self) -> Rc<WakerSlot> {
        if self.slots.len() >= self.prune_at {
            self.slots.retain(|slot| Rc::strong_count(slot) > 1);
            self.prune_at = PRUNE_MIN.max(2 * self.slots.len());
        }
        let slot = Rc::default();
        self.slots.push(Rc::clone(&slot));
        slot
    }
}

// === Semaphore ===

/// Lets a bounded number of tasks into something, first come, first served.
#[derive(Clone)]
pub struct Semaphore {
    inner: Rc<Permits>,
}

struct Permits {
    free: Cell<usize>,
    waiting: RefCell<VecDeque<Tx<Permit>>>,
    /// Length of `waiting` at which those that gave up are taken off, so that it stays below twice the living.
    prune_at: Cell<usize>,
}

/// Leave to be inside; dropping it lets the next one in.
pub struct Permit {
    inner: Rc<Permits>,
}

impl Semaphore {
    /// A semaphore with `permits` places.
    pub fn new(permits: usize) -> Self {
        Self {
            inner: Rc::new(Permits {
                free: Cell::new(permits),
                waiting: RefCell::new(VecDeque::new()),
                prune_at: Cell::new(PRUNE_MIN),
            }),
        }
    }

    /// Enters if there is a free place.
    pub fn try_acquire(&self) -> Option<Permit> {
        let free = self.inner.free.get().checked_sub(1)?;
        self.inner.free.set(free);
        Some(Permit {
            inner: Rc::clone(&self.inner),
        })
    }

    /// Waits for a place. It may be dropped at any time; its turn then passes on.
    pub async fn acquire(&self) -> Permit {
        loop {
            if let Some(permit) = self.try_acquire() {
                return permit;
            }
            let (tx, rx) = oneshot();
            self.inner.enqueue(tx);
            if let Ok(permit) = rx.await {
                return permit;
            }
        }
    }

    /// How many tasks wait, those that gave up not yet taken off.
    pub fn waiting(&self) -> usize {
        self.inner.waiting.borrow().len()
    }
}

impl Permits {
    fn enqueue(&self, tx: Tx<Permit>) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= self.prune_at.get() {
            waiting.retain(|tx| !tx.is_closed());
            self.prune_at.set(PRUNE_MIN.max(2 * waiting.len()));
        }
        waiting.push_back(tx);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut place = Some(());
        while place.is_some() {
            let next = self.inner.waiting.borrow_mut().pop_front();
            let Some(next) = next else { break };
            if !next.is_closed() {
                let permit = Permit {
                    inner: Rc::clone(&self.inner),
                };
                place = None;
                // Not closed was just seen, and nothing ran since. Were the permit handed back, its drop would pass it on.
                drop(next.send(permit));
            }
        }
        if place.is_some() {
            self.inner.free.set(self.inner.free.get() + 1);
        }
    }
}

const PRUNE_MIN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_that_gave_up_do_not_pile_up() {
        let event = Event::new();
        let mut cx = Context::from_waker(Waker::noop());
        let mut kept = Box::pin(event.wait());
        assert!(kept.as_mut().poll(&mut cx).is_pending());
        for _ in 0..1_000 {
            assert!(Box::pin(event.wait()).as_mut().poll(&mut cx).is_pending());
            assert!(kept.as_mut().poll(&mut cx).is_pending());
        }
        assert!(event.inner.waiting.borrow().slots.len() <= 2 * PRUNE_MIN);
        event.notify();
        assert!(kept.as_mut().poll(&mut cx).is_ready());

        let semaphore = Semaphore::new(1);
        let held = semaphore.try_acquire();
        for _ in 0..1_000 {
            assert!(
                Box::pin(semaphore.acquire())
                    .as_mut()
                    .poll(&mut cx)
                    .is_pending()
            );
        }
        assert!(semaphore.waiting() <= 2 * PRUNE_MIN);
        drop(held);
        assert!(semaphore.try_acquire().is_some());
    }
}
