//! Values that one thread replaces while others read them: what was replaced is freed when nobody can hold it any more.
//!
//! A reader holds a [`Pin`], taken once per batch of packets; whatever it finds stays readable until the pin is dropped. Readers only
//! load, so they never wait and write nothing that other cores read.

use std::mem::MaybeUninit;
use std::sync::atomic::Ordering;

use crossbeam::epoch::{self, Atomic, Guard, Owned};

use super::zeroed::Zero;

/// Keeps everything found under it readable. Dropped before a thread sleeps, since nothing that was replaced meanwhile can be freed
/// while it lives.
pub struct Pin(Guard);

impl Pin {
    /// Pins the current thread.
    pub fn new() -> Self {
        Pin(epoch::pin())
    }

    /// Lets go of everything found so far and pins again; cheaper than a new pin.
    pub fn renew(&mut self) {
        self.0.repin();
    }
}

impl Default for Pin {
    fn default() -> Self {
        Pin::new()
    }
}

// === impl Slot ===

/// A place for one value, or for none.
pub struct Slot<T: Send + Sync + 'static>(Atomic<T>);

impl<T: Send + Sync + 'static> Slot<T> {
    /// An empty place.
    pub const fn empty() -> Slot<T> {
        Slot(Atomic::null())
    }

    /// What is there.
    #[inline]
    pub fn load<'p>(&self, pin: &'p Pin) -> Option<&'p T> {
        // SAFETY: the slot holds null or what `replace` put there, valid and shared immutably since. It is destroyed by a deferred call
        // alone, which runs after all guards of now are gone, and 'p is the life of one.
        unsafe { self.0.load(Ordering::Acquire, &pin.0).as_ref() }
    }

    /// Puts a value there in place of the old one; readers see one or the other.
    pub fn replace(&self, value: T) {
        let guard = epoch::pin();
        let old = self.0.swap(Owned::new(value), Ordering::AcqRel, &guard);
        if !old.is_null() {
            // SAFETY: swapped out, so that only readers pinned before now can hold it, and no other call gets it: it is freed once.
            unsafe { guard.defer_destroy(old) };
        }
    }
}

impl<T: Send + Sync + 'static> Drop for Slot<T> {
    fn drop(&mut self) {
        let guard = epoch::pin();
        let old = std::mem::replace(&mut self.0, Atomic::null()).load(Ordering::Acquire, &guard);
        if !old.is_null() {
            // SAFETY: as in `replace`. A reader may have outlived the slot, not its pin.
            unsafe { guard.defer_destroy(old) };
        }
    }
}

// === impl Octets ===

// SAFETY: a place holds one pointer, and `Atomic::null` is that with all bits zero, as a test makes sure.
unsafe impl Zero for Octets {}

/// A place for a block of octets, or for none: eight octets here, and as many in front of the block.
pub struct Octets(Atomic<[MaybeUninit<u8>]>);

impl Octets {
    /// An empty place.
    pub const fn empty() -> Octets {
        Octets(Atomic::null())
    }

    /// What is there.
    #[inline]
    pub fn load<'p>(&self, pin: &'p Pin) -> Option<&'p [u8]> {
        // SAFETY: as in `Slot::load`.
        let octets = unsafe { self.0.load(Ordering::Acquire, &pin.0).as_ref() }?;
        // SAFETY: `replace` wrote every octet before it published the block.
        Some(unsafe { octets.assume_init_ref() })
    }

    /// Puts a copy of these octets there.
    pub fn replace(&self, octets: &[u8]) {
        let mut block = Owned::<[MaybeUninit<u8>]>::init(octets.len());
        block.write_copy_of_slice(octets);
        let guard = epoch::pin();
        let old = self.0.swap(block, Ordering::AcqRel, &guard);
        if !old.is_null() {
            // SAFETY: as in `Slot::replace`.
            unsafe { guard.defer_destroy(old) };
        }
    }

    /// Takes away what is there.
    pub fn clear(&self) {
        let guard = epoch::pin();
        let old = self.0.swap(epoch::Shared::null(), Ordering::AcqRel, &guard);
        if !old.is_null() {
            // SAFETY: as in `Slot::replace`.
            unsafe { guard.defer_destroy(old) };
        }
    }
}

impl Drop for Octets {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::thread;

    use super::*;
    use crate::runtime::Zeroed;

    #[test]
    fn a_row_is_of_empty_places() {
        let empty = Octets::empty();
        // SAFETY: a place is as large as the array, and both are plain memory.
        let octets: [u8; size_of::<Octets>()] = unsafe { std::mem::transmute_copy(&empty) };
        assert_eq!(octets, [0; size_of::<Octets>()]);
        let (row, pin) = (Zeroed::<Octets>::new(3), Pin::new());
        assert!(row.iter().all(|place| place.load(&pin).is_none()));
        row[1].replace(b"abc");
        assert_eq!(row[1].load(&pin), Some(&b"abc"[..]));
        assert_eq!(row[2].load(&pin), None);
    }

    #[test]
    fn octets_are_replaced_under_readers() {
        const ROUNDS: usize = 2_000;
        let place = Arc::new(Octets::empty());
        let is_done = Arc::new(AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut seen = 0;
                    while !is_done.load(Ordering::Relaxed) || seen == 0 {
                        let pin = Pin::new();
                        if let Some(octets) = place.load(&pin) {
                            // Whole blocks only: all octets are one number, which is the length, too.
                            assert!(
                                octets
                                    .iter()
                                    .all(|octet| usize::from(*octet) == octets.len())
                            );
                            seen += 1;
                        }
                    }
                });
            }
            for round in 0..ROUNDS {
                let len = 1 + round % 200;
                place.replace(&vec![len as u8; len]);
            }
            is_done.store(true, Ordering::Relaxed);
        });
        place.clear();
        assert!(place.load(&Pin::new()).is_none());
    }

    #[test]
    fn a_value_outlives_its_place_under_a_pin_and_is_dropped_once() {
        static DROPS: AtomicUsize = AtomicUsize::new(0);
        struct Counted(u32);
        impl Drop for Counted {
            fn drop(&mut self) {
                DROPS.fetch_add(1, Ordering::SeqCst);
            }
        }
        let slot = Slot::empty();
        slot.replace(Counted(1));
        let pin = Pin::new();
        let first = slot.load(&pin).unwrap();
        slot.replace(Counted(2));
        let second = slot.load(&pin).unwrap();
        drop(slot);
        assert_eq!((first.0, second.0, DROPS.load(Ordering::SeqCst)), (1, 2, 0));
        drop(pin);
        // Deferred calls run when some thread pins often enough.
        for _ in 0..100_000 {
            if DROPS.load(Ordering::SeqCst) == 2 {
                break;
            }
            let guard = epoch::pin();
            guard.flush();
            drop(guard);
            thread::yield_now();
        }
        assert_eq!(DROPS.load(Ordering::SeqCst), 2);
    }
}
