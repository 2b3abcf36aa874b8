//! The timers of one task thread: wakers by deadline, removed the moment their future is dropped.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::task::Waker;

use crate::limits;
use crate::runtime::clock::Nanos;

/// Names an armed timer: deadline first, so that the map is in the order of expiry.
pub(crate) type TimerKey = (Nanos, NonZeroU64);

/// The timer has gone off.
#[derive(Debug)]
pub(crate) struct Gone;

/// Wakers in the order of their deadlines. At most `limits::TIMERS_PER_CORE`.
pub(crate) struct Timers {
    armed: BTreeMap<TimerKey, Waker>,
    last_id: u64,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self {
            armed: BTreeMap::new(),
            last_id: 0,
        }
    }

    /// Arms a timer; `None` when there are too many.
    pub(crate) fn arm(&mut self, deadline: Nanos, waker: Waker) -> Option<TimerKey> {
        if self.armed.len() >= limits::TIMERS_PER_CORE {
            return None;
        }
        self.last_id += 1;
        let key = (deadline, NonZeroU64::new(self.last_id)?);
        self.armed.insert(key, waker);
        Some(key)
    }

    /// Changes who is woken; `Err` when the timer has gone off. A waker that is no longer needed is handed back, to be
    /// dropped when nothing is borrowed: the last waker of a task may drop what it holds, even timers.
    pub(crate) fn rewake(&mut self, key: TimerKey, waker: &Waker) -> Result<Option<Waker>, Gone> {
        match self.armed.get_mut(&key) {
            Some(old) if old.will_wake(waker) => Ok(None),
            Some(old) => Ok(Some(std::mem::replace(old, waker.clone()))),
            None => Err(Gone),
        }
    }

    /// Disarms a timer; its waker is handed back for the same reason.
    pub(crate) fn disarm(&mut self, key: TimerKey) -> Option<Waker> {
        self.armed.remove(&key)
    }

    /// Moves the wakers of every timer due at `now` into `due`, earliest first.
    pub(crate) fn expire(&mut self, now: Nanos, due: &mut Vec<Waker>) {
        while let Some(entry) = self.armed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            due.push(entry.remove());
        }
    }

    /// When the next timer goes off.
    pub(crate) fn next_deadline(&self) -> Option<Nanos> {
        self.armed.first_key_value().map(|(key, _)| key.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn timers_go_off_in_order_and_not_after_disarming() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut timers = Timers::new();
        let late = timers.arm(30, waker.clone()).unwrap();
        let gone = timers.arm(10, waker.clone()).unwrap();
        let early = timers.arm(20, waker.clone()).unwrap();
        assert!(timers.disarm(gone).is_some());
        assert_eq!(timers.next_deadline(), Some(20));
        let mut due = Vec::new();
        timers.expire(19, &mut due);
        assert!(due.is_empty());
        timers.expire(20, &mut due);
        assert_eq!(due.len(), 1);
        assert!(timers.rewake(early, &waker).is_err());
        assert!(timers.rewake(late, &waker).is_ok());
        assert!(timers.rewake(late, Waker::noop()).unwrap().is_some());
        assert_eq!(timers.next_deadline(), Some(30));
    }
}
