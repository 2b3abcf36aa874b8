//! One value from one thread to a task of another.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::UnsafeCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;

/// The other end was dropped without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other end is gone")]
pub struct Gone;

/// Sends the value, from any thread.
pub struct Tx<T: Send> {
    shared: Arc<Shared<T>>,
}

/// Receives the value: a future of it.
#[must_use = "nothing is received unless it is awaited"]
pub struct Rx<T: Send> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    /// EMPTY -> FULL (by the sender, with the value) -> EMPTY_AGAIN (by the receiver, which takes it); or -> GONE.
    state: AtomicU8,
    value: UnsafeCell<Option<T>>,
    waker: AtomicWaker,
}

const EMPTY: u8 = 0;
const FULL: u8 = 1;
const TAKEN: u8 = 2;
const GONE: u8 = 3;

// SAFETY: `value` is written by the one sender before it sets FULL (release) and read by the one receiver after it saw
// FULL (acquire), so never by both at once; the value itself crosses threads, hence `T: Send`.
unsafe impl<T: Send> Sync for Shared<T> {}

/// Makes a channel for one value.
pub fn oneshot<T: Send>() -> (Tx<T>, Rx<T>) {
    let shared = Arc::new(Shared {
        state: AtomicU8::new(EMPTY),
        value: UnsafeCell::new(None),
        waker: AtomicWaker::new(),
    });
    let tx = Tx {
        shared: Arc::clone(&shared),
    };
    (tx, Rx { shared })
}

impl<T: Send> Tx<T> {
    /// Sends the value; hands it back when the receiver is gone.
    pub fn send(self, value: T) -> Result<(), T> {
        if self.is_closed() {
            return Err(value);
        }
        // SAFETY: the state is EMPTY or GONE, and stays so until this sender, of which there is one and which is
        // consumed here, changes it; in both the receiver does not touch the value.
        unsafe { *self.shared.value.get() = Some(value) };
        match self
            .shared
            .state
            .compare_exchange(EMPTY, FULL, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => {
                self.shared.waker.wake();
                Ok(())
            }
            // SAFETY: the receiver is gone, so this sender alone holds the value it has just put in.
            Err(_) => match unsafe { (*self.shared.value.get()).take() } {
                Some(value) => Err(value),
                None => Ok(()),
            },
        }
    }

    /// True when nobody waits for the value any more.
    pub fn is_closed(&self) -> bool {
        self.shared.state.load(Ordering::Acquire) == GONE
    }
}

impl<T: Send> Drop for Tx<T> {
    fn drop(&mut self) {
        // After `send` the state is FULL or later and this does nothing.
        let closed =
            self.shared
                .state
                .compare_exchange(EMPTY, GONE, Ordering::AcqRel, Ordering::Acquire);
        if closed.is_ok() {
            self.shared.waker.wake();
        }
    }
}

impl<T: Send> Rx<T> {
    fn take(&self) -> Option<Result<T, Gone>> {
        match self.shared.state.load(Ordering::Acquire) {
            EMPTY => None,
            FULL => {
                self.shared.state.store(TAKEN, Ordering::Release);
                // SAFETY: FULL was set by the sender after it wrote the value, and the sender touches it no more.
                unsafe { (*self.shared.value.get()).take() }.map(Ok)
            }
            _ => Some(Err(Gone)),
        }
    }
}

impl<T: Send> Future for Rx<T> {
    type Output = Result<T, Gone>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.take() {
            return Poll::Ready(outcome);
        }
        self.shared.waker.register(cx.waker());
        // Again: a value sent before the waker was registered woke nobody.
        match self.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }
}

impl<T: Send> Drop for Rx<T> {
    fn drop(&mut self) {
        // Only from EMPTY: a value that is FULL is dropped with the channel.
        let _ =
            self.shared
                .state
                .compare_exchange(EMPTY, GONE, Ordering::AcqRel, Ordering::Acquire);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Waker;
    use std::thread;

    use super::*;

    fn poll_once<T: Send>(rx: &mut Rx<T>) -> Poll<Result<T, Gone>> {
        Pin::new(rx).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_value_arrives_once() {
        let (tx, mut rx) = oneshot();
        assert_eq!(poll_once(&mut rx), Poll::Pending);
        assert_eq!(tx.send(7), Ok(()));
        assert_eq!(poll_once(&mut rx), Poll::Ready(Ok(7)));
        assert_eq!(poll_once(&mut rx), Poll::Ready(Err(Gone)));
    }

    #[test]
    fn each_end_learns_that_the_other_is_gone() {
        let (tx, mut rx) = oneshot::<u8>();
        drop(tx);
        assert_eq!(poll_once(&mut rx), Poll::Ready(Err(Gone)));
        let (tx, rx) = oneshot();
        drop(rx);
        assert!(tx.is_closed());
        assert_eq!(tx.send("late"), Err("late"));
    }

    #[test]
    fn every_value_is_dropped_once_whoever_goes_first() {
        struct Counted<'a>(&'a AtomicUsize);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let rounds = if cfg!(miri) { 20 } else { 2_000 };
        let drops = AtomicUsize::new(0);
        for _ in 0..rounds {
            let (tx, rx) = oneshot();
            thread::scope(|scope| {
                scope.spawn(|| drop(tx.send(Counted(&drops))));
                drop(rx);
            });
        }
        assert_eq!(drops.load(Ordering::Relaxed), rounds);
    }
}
