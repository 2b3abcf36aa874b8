//! Who has to go when a table is full: SIEVE with a probation queue in front, so that names asked once push out only names
//! asked once.
//!
//! ```text
//!            new --> [ probation: a tenth ] --visited--> [ main ]     hand moves from oldest to newest in main:
//!                           |                            ^    |         visited -> spare it, clear the bit
//!                        evicted --> ghost --asked again-+  evicted     not visited -> evict it
//! ```
//! Spared entries keep their place (SIEVE, Zhang et al., NSDI 2024); that is why a hit writes nothing but a bit. The ghost
//! remembers 16 bits of each hash that probation turned away: without it a working set a little larger than probation would
//! be asked for and turned away for ever while main grows cold.

use std::ptr::{self, NonNull};

use super::{entry::Header, link::Neighbour};
use crate::limits;

/// The eviction order of one table of one shard. Its pointers are entries that the shard holds, so its methods are called by
/// the shard's writer only.
pub(super) struct Sieve {
    probation: Queue,
    main: Queue,
    /// The next of `main` to be judged; null = begin at its oldest.
    hand: *mut Header,
    /// Entries that may stand in probation while the table is full.
    probation_max: usize,
    /// Bits 32 to 47 of the hashes that probation turned away last, direct-mapped by the lower halves. One stranger in 65,536 passes
    /// for one of them, and is put into main at once.
    ghost: Box<[u16]>,
    /// Seconds past its lifetime for which an entry is still worth keeping.
    grace_s: u32,
}

impl Sieve {
    pub(super) fn new(capacity: usize, grace_s: u32) -> Self {
        let probation_max = (capacity / limits::CACHE_PROBATION_PART).max(1);
        let ghost = vec![0; capacity.next_power_of_two()].into_boxed_slice();
        Sieve {
            probation: Queue::EMPTY,
            main: Queue::EMPTY,
            hand: ptr::null_mut(),
            probation_max,
            ghost,
            grace_s,
        }
    }

    /// Takes in a new entry.
    ///
    /// # Safety
    /// `at` is alive and in no queue; the caller is the shard's only writer. So for the other methods, with `at` in this sieve.
    pub(super) unsafe fn push(&mut self, at: NonNull<Header>) {
        // SAFETY: by contract.
        unsafe {
            if self.forget(at.as_ref().hash()) {
                self.establish(at);
            } else {
                self.probation.push(at);
            }
        }
    }

    /// Puts `new` where `old` stands.
    ///
    /// # Safety
    /// See [`Self::push`]; `new` is in no queue.
    pub(super) unsafe fn replace(&mut self, old: NonNull<Header>, new: NonNull<Header>) {
        // SAFETY: by contract, and neighbours of an entry in a queue are alive.
        unsafe {
            new.as_ref().inherit_visit(old.as_ref());
            let queue = if old.as_ref().is_in_main() {
                new.as_ref().set_in_main();
                &mut self.main
            } else {
                &mut self.probation
            };
            queue.replace(old, new);
        }
        if self.hand == old.as_ptr() {
            self.hand = new.as_ptr();
        }
    }

    /// # Safety
    /// See [`Self::push`].
    pub(super) unsafe fn remove(&mut self, at: NonNull<Header>) {
        // SAFETY: by contract.
        unsafe {
            if self.hand == at.as_ptr() {
                self.hand = at.as_ref().newer.get().entry();
            }
            let queue = if at.as_ref().is_in_main() {
                &mut self.main
            } else {
                &mut self.probation
            };
            queue.unlink(at);
        }
    }

    /// Takes out the entry that is least worth keeping; None if there is none.
    ///
    /// # Safety
    /// See [`Self::push`].
    pub(super) unsafe fn evict(&mut self, now_ns: u64) -> Option<NonNull<Header>> {
        for _ in 0..limits::CACHE_EVICTION_STEPS {
            let from_probation = self.main.len == 0 || self.probation.len > self.probation_max;
            let candidate = if from_probation {
                self.probation.oldest()
            } else {
                self.at_hand()
            }?;
            // SAFETY: the candidate comes out of a queue of this sieve.
            let header = unsafe { candidate.as_ref() };
            let dead = header.ttl_left_s(now_ns) <= -i64::from(self.grace_s);
            if dead || !header.take_visited() {
                // SAFETY: as above.
                unsafe { self.remove(candidate) };
                if from_probation {
                    self.remember(header.hash());
                }
                return Some(candidate);
            }
            if from_probation {
                // SAFETY: as above; after `unlink` it is in no queue.
                unsafe {
                    self.probation.unlink(candidate);
                    self.establish(candidate);
                }
            } else {
                self.hand = header.newer.get().entry();
            }
        }
        // So many in a row were visited, and the next call goes on behind them: this once the latest comer has to go.
        let candidate = NonNull::new(self.probation.newest).or_else(|| self.at_hand())?;
        // SAFETY: the candidate comes out of a queue of this sieve.
        unsafe { self.remove(candidate) };
        Some(candidate)
    }

    /// Puts into main what was asked for twice.
    ///
    /// Its first pass of the hand is free. Else the hand would chase the newest comers, and what is behind it and long cold
    /// would stay for ever; probation already does the quick demotion that SIEVE leaves to the hand.
    ///
    /// # Safety
    /// See [`Self::push`].
    unsafe fn establish(&mut self, at: NonNull<Header>) {
        // SAFETY: by contract.
        unsafe {
            at.as_ref().set_in_main();
            at.as_ref().mark_visited();
            self.main.push(at);
        }
    }

    fn remember(&mut self, hash: u64) {
        let slot = hash as usize & (self.ghost.len() - 1);
        self.ghost[slot] = (hash >> 32) as u16;
    }

    /// Whether probation turned `hash` away not long ago; a second question gets an answer of its own.
    fn forget(&mut self, hash: u64) -> bool {
        let slot = hash as usize & (self.ghost.len() - 1);
        // Empty slots hold 0; a hash that begins so is at worst put into main at once.
        let seen = self.ghost[slot] == (hash >> 32) as u16;
        if seen {
            self.ghost[slot] = 0;
        }
        seen
    }

    fn at_hand(&self) -> Option<NonNull<Header>> {
        NonNull::new(self.hand).or_else(|| self.main.oldest())
    }
}

/// A doubly linked list through the entries' own `newer` and `older`.
struct Queue {
    newest: *mut Header,
    oldest: *mut Header,
    len: usize,
}

impl Queue {
    const EMPTY: Queue = Queue {
        newest: ptr::null_mut(),
        oldest: ptr::null_mut(),
        len: 0,
    };

    fn oldest(&self) -> Option<NonNull<Header>> {
        NonNull::new(self.oldest)
    }

    /// # Safety
    /// `at` is alive and in no queue; only the shard's writer calls. So for the other methods, with `at` in this queue.
    unsafe fn push(&mut self, at: NonNull<Header>) {
        // SAFETY: `at` by contract, `newest` because members of a queue are alive.
        unsafe {
            at.as_ref().newer.set(Neighbour::NONE);
            at.as_ref().older.set(Neighbour::to(self.newest));
            match NonNull::new(self.newest) {
                Some(newest) => newest.as_ref().newer.set(Neighbour::to(at.as_ptr())),
                None => self.oldest = at.as_ptr(),
            }
        }
        self.newest = at.as_ptr();
        self.len += 1;
    }

    /// # Safety
    /// See [`Self::push`].
    unsafe fn unlink(&mut self, at: NonNull<Header>) {
        // SAFETY: by contract; neighbours are members and alive.
        let (newer, older) = unsafe {
            (
                at.as_ref().newer.get().entry(),
                at.as_ref().older.get().entry(),
            )
        };
        // SAFETY: as above.
        unsafe { self.join(older, newer, older, newer) };
        self.len -= 1;
    }

    /// # Safety
    /// See [`Self::push`]; `new` is alive and in no queue.
    unsafe fn replace(&mut self, old: NonNull<Header>, new: NonNull<Header>) {
        // SAFETY: by contract; neighbours are members and alive.
        unsafe {
            let (newer, older) = (
                old.as_ref().newer.get().entry(),
                old.as_ref().older.get().entry(),
            );
            new.as_ref().newer.set(Neighbour::to(newer));
            new.as_ref().older.set(Neighbour::to(older));
            self.join(older, newer, new.as_ptr(), new.as_ptr());
        }
    }

    /// Makes `to_newer` the older neighbour of `newer`, and `to_older` the newer neighbour of `older`.
    ///
    /// # Safety
    /// `older` and `newer` are members of this queue or null (the end of it).
    unsafe fn join(
        &mut self,
        older: *mut Header,
        newer: *mut Header,
        to_newer: *mut Header,
        to_older: *mut Header,
    ) {
        // SAFETY: by contract.
        unsafe {
            match NonNull::new(newer) {
                Some(newer) => newer.as_ref().older.set(Neighbour::to(to_newer)),
                None => self.newest = to_newer,
            }
            match NonNull::new(older) {
                Some(older) => older.as_ref().newer.set(Neighbour::to(to_older)),
                None => self.oldest = to_older,
            }
        }
    }
}
