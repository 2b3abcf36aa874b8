//! What a task may do: start others, sleep, bound a wait, give way.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::future::Future;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::runtime::clock::{self, Nanos};
use crate::runtime::exec;

/// The time of a [`timeout`] ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline has passed")]
pub struct Elapsed;

/// Starts a task on this task thread. It is polled after the current one, never inside it.
///
/// A panic ends this task only and is counted ([`crate::runtime::panics`]). When `limits::TASKS_PER_CORE` are alive,
/// or off a task thread, the future is dropped unpolled and counted ([`crate::runtime::refused`]); whoever waits for
/// a [`crate::runtime::local::oneshot`] of it sees that it is gone.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    drop(try_spawn(future));
}

/// Starts a task like [`spawn`], but hands the future back when it is refused.
pub fn try_spawn<F>(future: F) -> Result<(), F>
where
    F: Future<Output = ()> + 'static,
{
    let outcome = match exec::current() {
        Some(exec) => exec.spawn(future),
        None => Err(future),
    };
    if outcome.is_err() {
        exec::count_refused();
    }
    outcome
}

/// Waits for a duration. Off a task thread, or with too many timers armed, it ends at once.
pub fn sleep(duration: Duration) -> Sleep {
    let ns = u64::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX);
    sleep_until(clock::now_ns().saturating_add(ns))
}

/// Waits until a reading of [`clock::now_ns`].
pub fn sleep_until(deadline: Nanos) -> Sleep {
    Sleep {
        deadline,
        armed: None,
    }
}

/// Runs a future for at most a duration from now on; it ends with this one, whether or not the time ran out.
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    Timeout {
        future,
        sleep: sleep(duration),
    }
}

/// The future of [`timeout`]. Not an `async fn`, which would keep room for the inner future twice: once as its argument and once
/// where it is polled.
#[derive(Debug)]
#[must_use = "nothing runs unless it is awaited"]
pub struct Timeout<F> {
    future: F,
    sleep: Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `future` is pinned as long as this is: nothing moves out of it, and there is no `Drop` that could. `sleep` is `Unpin`.
        let (future, sleep) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.future), &mut this.sleep)
        };
        if let Poll::Ready(value) = future.poll(cx) {
            return Poll::Ready(Ok(value));
        }
        Pin::new(sleep).poll(cx).map(|()| Err(Elapsed))
    }
}

/// Lets the other ready tasks run once.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(move |cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The future of [`sleep`]; dropping it disarms the timer.
#[derive(Debug)]
#[must_use = "a timer does nothing unless it is awaited"]
pub struct Sleep {
    deadline: Nanos,
    /// The number of its timer, which with the deadline is the key.
    armed: Option<NonZeroU64>,
}

impl Sleep {
    /// When it ends, on the monotonic clock.
    pub fn deadline(&self) -> Nanos {
        self.deadline
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(exec) = exec::current() else {
            exec::count_refused();
            return Poll::Ready(());
        };
        if let Some(id) = self.armed {
            let key = (self.deadline, id);
            let rewoken = exec.timers().borrow_mut().rewake(key, cx.waker());
            if rewoken.is_ok() {
                return Poll::Pending;
            }
            self.armed = None;
            return Poll::Ready(());
        }
        if clock::now_ns() >= self.deadline {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let key = exec.timers().borrow_mut().arm(self.deadline, waker);
        self.armed = key.map(|(_, id)| id);
        if self.armed.is_none() {
            exec::count_refused();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.armed
            && let Some(exec) = exec::current()
        {
            let waker = exec.timers().borrow_mut().disarm((self.deadline, id));
            drop(waker);
        }
    }
}
