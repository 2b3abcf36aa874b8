//! How long a task thread has had its CPU without a break, and when it offers it to others.
//!
//! Measured: a packet thread that has just run has used up what is its by right, and when a query wakes it a moment later the kernel
//! (EEVDF) leaves the CPU to a busy task thread, until that sleeps or the next tick of the clock: for 1 ms and more, time and again. A
//! look at who is waiting takes the kernel less than a microsecond.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use crate::limits;
use crate::runtime::clock::{MICROSECOND, Nanos};

/// Time on the CPU since others last had it or nobody wanted it.
#[derive(Debug, Default)]
pub(crate) struct Stint {
    since_ns: Nanos,
    /// The last time that is known.
    seen_ns: Nanos,
}

impl Stint {
    /// The thread runs again after its wait, if it had to wait.
    pub(crate) fn resume(&mut self, now_ns: Nanos) {
        if now_ns.saturating_sub(self.seen_ns) > BREAK_NS {
            self.since_ns = now_ns;
        }
        self.seen_ns = now_ns;
    }

    /// The thread has run on until now; whether this has been long enough. If so, the next stint begins.
    pub(crate) fn is_over(&mut self, now_ns: Nanos) -> bool {
        self.seen_ns = now_ns;
        let is_over = now_ns.saturating_sub(self.since_ns) >= limits::STINT_NS;
        if is_over {
            self.since_ns = now_ns;
        }
        is_over
    }
}

/// Lets others that wait for this CPU have it.
pub(crate) fn yield_cpu() {
    // SAFETY: the call takes nothing and cannot fail on Linux.
    unsafe { libc::sched_yield() };
}

/// A wait that finds something at once takes less than this; a longer one is a sleep.
const BREAK_NS: Nanos = 5 * MICROSECOND;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_after_its_time_and_begins_anew_with_each_sleep() {
        let mut stint = Stint::default();
        let start = 1_000_000_000;
        stint.resume(start);
        assert!(!stint.is_over(start + limits::STINT_NS - 1));
        // Waits that take no time are no break.
        stint.resume(start + limits::STINT_NS);
        assert!(stint.is_over(start + limits::STINT_NS));
        let next = start + limits::STINT_NS;
        assert!(!stint.is_over(next + limits::STINT_NS - 1));
        // A sleep is.
        let awake = next + limits::STINT_NS + BREAK_NS;
        stint.resume(awake);
        assert!(!stint.is_over(awake + 1));
        assert!(stint.is_over(awake + limits::STINT_NS));
    }
}
