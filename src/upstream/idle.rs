//! Sockets between two exchanges, oldest first.

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
use std::rc::Rc;

use crate::runtime;
use crate::runtime::clock::{self, MILLISECOND, Nanos};

/// A socket and its history.
pub(super) struct Kept<T> {
    pub(super) io: T,
    created: Nanos,
    used: Nanos,
    uses: u32,
}

impl<T> Kept<T> {
    pub(super) fn new(io: T) -> Kept<T> {
        let now = clock::now_ns();
        Kept {
            io,
            created: now,
            used: now,
            uses: 0,
        }
    }
}

/// When a socket is not used again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Idle for longer than this.
    pub(super) expire: Nanos,
    /// Open for longer than this; 0 = no limit.
    pub(super) max_age: Nanos,
    /// As many are kept already.
    pub(super) max_idle: usize,
    /// Used as often as this.
    pub(super) max_uses: u32,
}

/// The idle sockets of one pool and protocol, in the order in which they were last used.
pub(super) struct Idle<T> {
    shared: Rc<Shared<T>>,
}

struct Shared<T> {
    rules: Rules,
    list: RefCell<VecDeque<Kept<T>>>,
    is_swept: Cell<bool>,
}

impl<T: 'static> Idle<T> {
    pub(super) fn new(rules: Rules) -> Idle<T> {
        Idle {
            shared: Rc::new(Shared {
                rules,
                list: RefCell::new(VecDeque::new()),
                is_swept: Cell::new(false),
            }),
        }
    }

    /// The socket that has been idle longest: source ports take turns.
    pub(super) fn take(&self) -> Option<Kept<T>> {
        let now = clock::now_ns();
        self.shared.drop_expired(now);
        loop {
            let kept = self.shared.list.borrow_mut().pop_front()?;
            let max_age = self.shared.rules.max_age;
            if max_age == 0 || now.saturating_sub(kept.created) <= max_age {
                return Some(kept);
            }
        }
    }

    /// Keeps a socket for the next exchange, if the rules allow.
    pub(super) fn give(&self, mut kept: Kept<T>) {
        let rules = &self.shared.rules;
        kept.used = clock::now_ns();
        kept.uses = kept.uses.saturating_add(1);
        if kept.uses >= rules.max_uses || self.len() >= rules.max_idle || rules.expire == 0 {
            return;
        }
        self.shared.list.borrow_mut().push_back(kept);
        if !self.shared.is_swept.get() {
            self.shared.is_swept.set(self.sweep());
        }
    }

    /// Closes all of them.
    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut *self.shared.list.borrow_mut());
        drop(all);
    }

    pub(super) fn len(&self) -> usize {
        self.shared.list.borrow().len()
    }

    /// Closes what expires while no query comes; ends when nothing is left. False if the thread has no place for one more task.
    fn sweep(&self) -> bool {
        let shared = Rc::downgrade(&self.shared);
        let mut at = clock::now_ns().saturating_add(self.shared.rules.expire);
        let sweeper = async move {
            loop {
                runtime::sleep_until(at.saturating_add(SWEEP_LATE)).await;
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                shared.drop_expired(clock::now_ns());
                let Some(used) = shared.list.borrow().front().map(|kept| kept.used) else {
                    shared.is_swept.set(false);
                    return;
                };
                at = used.saturating_add(shared.rules.expire);
            }
        };
        runtime::try_spawn(sweeper).is_ok()
    }
}

impl<T> Shared<T> {
    fn drop_expired(&self, now: Nanos) {
        loop {
            let mut list = self.list.borrow_mut();
            match list.front() {
                Some(kept) if now.saturating_sub(kept.used) > self.rules.expire => {
                    let expired = list.pop_front();
                    drop(list);
                    drop(expired);
                }
                _ => return,
            }
        }
    }
}

/// How late an expired socket may be closed, so that many go at a time.
const SWEEP_LATE: Nanos = 10 * MILLISECOND;
