//! Many values that begin as all zeros, of which those that are never written take no memory.
//!
//! The allocator would write the zeros itself: it cannot tell which of its memory the kernel has just given it.

use std::alloc::{Layout, handle_alloc_error};
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU64;

use crate::limits;

/// A type of which all zeros are a value.
///
/// # Safety
/// They are, and it has a size.
pub unsafe trait Zero {}

// SAFETY: the atomic of the number zero.
unsafe impl Zero for AtomicU64 {}

/// So many values in a place that never moves. Fewer than `limits::PAGES_OCTETS` of them are in an ordinary box, since the kernel allows a
/// process only so many mappings.
pub struct Zeroed<T: Zero>(Place<T>);

enum Place<T> {
    Small(Box<[T]>),
    /// Invariant: a private mapping of `len` values, all of them initialized, which this value owns.
    Large {
        start: NonNull<T>,
        len: usize,
    },
}

// SAFETY: the mapping is owned by this value alone, as a box owns what is in it.
unsafe impl<T: Zero + Send> Send for Zeroed<T> {}
// SAFETY: only shared references are given out, as from a box.
unsafe impl<T: Zero + Sync> Sync for Zeroed<T> {}

impl<T: Zero> Zeroed<T> {
    /// So many zeros.
    pub fn new(len: usize) -> Zeroed<T> {
        let octets = len.saturating_mul(size_of::<T>());
        if octets < limits::PAGES_OCTETS {
            // SAFETY: `Zero` says that zeros are a value.
            return Zeroed(Place::Small(unsafe {
                Box::new_zeroed_slice(len).assume_init()
            }));
        }
        // SAFETY: a new private mapping touches no memory that anything else uses.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                octets,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        match NonNull::new(start.cast::<T>()) {
            Some(values) if start != libc::MAP_FAILED => {
                Zeroed(Place::Large { start: values, len })
            }
            _ => handle_alloc_error(Layout::new::<T>()),
        }
    }
}

impl<T: Zero> Deref for Zeroed<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match &self.0 {
            Place::Small(values) => values,
            // SAFETY: the invariant of the place; a mapping is aligned to a page.
            Place::Large { start, len } => unsafe { slice::from_raw_parts(start.as_ptr(), *len) },
        }
    }
}

impl<T: Zero> Drop for Zeroed<T> {
    fn drop(&mut self) {
        if let Place::Large { start, len } = self.0 {
            // SAFETY: the values are initialized and this is their end; the range is the whole mapping, from which nothing borrows any
            // more. Should it stay mapped, that harms nobody.
            unsafe {
                ptr::slice_from_raw_parts_mut(start.as_ptr(), len).drop_in_place();
                libc::munmap(start.as_ptr().cast(), len * size_of::<T>());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use super::*;

    /// Counts itself while it is not zero.
    struct Counted(Option<Arc<()>>);
    // SAFETY: `None` of a pointer that is never null is all zeros.
    unsafe impl Zero for Counted {}

    #[test]
    fn small_or_large_it_is_zeros_until_it_is_written() {
        for len in [0, 1, 100, limits::PAGES_OCTETS / 8, 1 << 20] {
            let words = Zeroed::<AtomicU64>::new(len);
            assert_eq!(words.len(), len);
            if let Some(last) = words.last() {
                assert_eq!(last.swap(7, Ordering::Relaxed), 0);
                assert_eq!(words[len - 1].load(Ordering::Relaxed), 7);
            }
            let rest = words.iter().rev().skip(1);
            assert!(
                rest.take(5_000)
                    .all(|word| word.load(Ordering::Relaxed) == 0)
            );
        }
    }

    #[test]
    fn what_is_in_it_is_dropped_with_it() {
        for len in [10, limits::PAGES_OCTETS] {
            let one = Arc::new(());
            let mut values = Zeroed::<Counted>::new(len);
            let place = match &mut values.0 {
                Place::Small(small) => &mut small[3],
                // SAFETY: within the mapping, which is borrowed exclusively.
                Place::Large { start, .. } => unsafe { start.add(3).as_mut() },
            };
            place.0 = Some(Arc::clone(&one));
            assert_eq!(Arc::strong_count(&one), 2);
            drop(values);
            assert_eq!(Arc::strong_count(&one), 1);
        }
    }
}
