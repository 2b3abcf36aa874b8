//! A vector whose memory, once it is large, comes from the kernel and goes back to it.
//!
//! The allocator keeps what is freed for later, which is right for what comes and goes with queries. What a zone file takes while it is
//! read, and a large zone when it is replaced, would stay with the process for good: an idle server allocates nothing that would
//! make the allocator look. Growing remaps pages instead of copying them, and room that was asked for and not used is never touched.

use std::alloc::{Layout, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

use crate::limits;

/// A vector of plain values. Below `limits::PAGES_OCTETS` it is an ordinary one, so that thousands of small zones take no mapping each.
pub struct PageVec<T: Copy> {
    store: Store<T>,
}

enum Store<T: Copy> {
    Small(Vec<T>),
    Large(Mapping<T>),
}

/// Invariant: `start` is a private mapping of `room` values, aligned to a page; the first `len <= room` of them are initialized.
struct Mapping<T: Copy> {
    start: NonNull<T>,
    len: usize,
    room: usize,
}

// SAFETY: the mapping is owned by this value alone, as a Vec owns its buffer.
unsafe impl<T: Copy + Send> Send for Mapping<T> {}
// SAFETY: shared access only reads, as with a Vec.
unsafe impl<T: Copy + Sync> Sync for Mapping<T> {}

// === impl PageVec ===

impl<T: Copy> PageVec<T> {
    /// An empty one with room for so many values.
    pub fn with_room(values: usize) -> Self {
        let store = if values.saturating_mul(size_of::<T>()) < limits::PAGES_OCTETS {
            Store::Small(Vec::with_capacity(values))
        } else {
            Store::Large(Mapping::new(values))
        };
        Self { store }
    }

    /// So many times the same value.
    pub fn filled(value: T, count: usize) -> Self {
        let mut filled = Self::with_room(count);
        filled.resize(count, value);
        filled
    }

    /// Appends one value.
    #[inline]
    pub fn push(&mut self, value: T) {
        self.extend_from_slice(&[value]);
    }

    /// Appends values.
    #[inline]
    pub fn extend_from_slice(&mut self, values: &[T]) {
        self.reserve(values.len());
        match &mut self.store {
            Store::Small(vec) => vec.extend_from_slice(values),
            Store::Large(mapping) => mapping.append(values),
        }
    }

    /// Cuts it to `len`, or fills it up with `value`.
    pub fn resize(&mut self, len: usize, value: T) {
        self.reserve(len.saturating_sub(self.len()));
        match &mut self.store {
            Store::Small(vec) => vec.resize(len, value),
            Store::Large(mapping) => mapping.resize(len, value),
        }
    }

    /// Gives back the room that is not used.
    pub fn shrink(&mut self) {
        match &mut self.store {
            Store::Small(vec) => vec.shrink_to_fit(),
            Store::Large(mapping) if mapping.len > 0 => mapping.remap(mapping.len),
            Store::Large(_) => self.store = Store::Small(Vec::new()),
        }
    }

    #[inline]
    fn reserve(&mut self, more: usize) {
        let needed = self.len() + more;
        match &mut self.store {
            Store::Small(vec) if needed * size_of::<T>() >= limits::PAGES_OCTETS => {
                let mut mapping = Mapping::new(needed * 2);
                mapping.append(vec);
                self.store = Store::Large(mapping);
            }
            Store::Large(mapping) if needed > mapping.room => mapping.remap(needed * 2),
            _ => {}
        }
    }
}

impl<T: Copy> Default for PageVec<T> {
    fn default() -> Self {
        Self {
            store: Store::Small(Vec::new()),
        }
    }
}

impl<T: Copy> Deref for PageVec<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match &self.store {
            Store::Small(vec) => vec,
            // SAFETY: the first `len` values are initialized, and borrowed as long as `self`.
            Store::Large(mapping) => unsafe {
                std::slice::from_raw_parts(mapping.start.as_ptr(), mapping.len)
            },
        }
    }
}

impl<T: Copy> DerefMut for PageVec<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.store {
            Store::Small(vec) => vec,
            // SAFETY: as above, and the borrow is exclusive.
            Store::Large(mapping) => unsafe {
                std::slice::from_raw_parts_mut(mapping.start.as_ptr(), mapping.len)
            },
        }
    }
}

// === impl Mapping ===

impl<T: Copy> Mapping<T> {
    /// Room for `room > 0` values, none of them touched.
    fn new(room: usize) -> Self {
        // SAFETY: a new private mapping touches no memory that anything else uses.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                Self::octets(room),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        Self {
            start: Self::checked(start),
            len: 0,
            room,
        }
    }

    /// Changes the room, to at least `len` and one value.
    fn remap(&mut self, room: usize) {
        // SAFETY: the range is the whole mapping that this value owns; nobody borrows from it while `self` is borrowed exclusively.
        let start = unsafe {
            libc::mremap(
                self.start.as_ptr().cast(),
                Self::octets(self.room),
                Self::octets(room),
                libc::MREMAP_MAYMOVE,
            )
        };
        self.start = Self::checked(start);
        self.room = room;
    }

    fn append(&mut self, values: &[T]) {
        assert!(values.len() <= self.room - self.len, "reserved before");
        // SAFETY: the room behind `len` is mapped and suffices; `values` is borrowed, so it is not part of this mapping.
        unsafe {
            let end = self.start.as_ptr().add(self.len);
            ptr::copy_nonoverlapping(values.as_ptr(), end, values.len());
        }
        self.len += values.len();
    }

    fn resize(&mut self, len: usize, value: T) {
        assert!(len <= self.room, "reserved before");
        for at in self.len..len {
            // SAFETY: `at` is below `room`, so it is mapped and this value's own.
            unsafe { self.start.as_ptr().add(at).write(value) };
        }
        self.len = len;
    }

    /// Of so many values. What has no number of its own is more than the kernel maps.
    fn octets(room: usize) -> usize {
        room.saturating_mul(size_of::<T>())
    }

    fn checked(start: *mut libc::c_void) -> NonNull<T> {
        match NonNull::new(start.cast::<T>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => start,
            // As a Vec does when there is no memory.
            _ => handle_alloc_error(Layout::new::<T>()),
        }
    }
}

impl<T: Copy> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: the range is the whole mapping that this value owns, and nothing borrows from it any more. A failure would leave
        // it mapped, which harms nobody.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), Self::octets(self.room));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kilobytes of anonymous memory of this process.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("RssAnon:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn it_grows_from_small_to_large_and_keeps_its_values() {
        let mut values = PageVec::with_room(0);
        let count = 4 * limits::PAGES_OCTETS as u32;
        for n in 0..count {
            values.push(n);
        }
        assert!((0..count).eq(values.iter().copied()));
        values[7] = 70;
        values.shrink();
        assert_eq!(
            (values.len(), values[6], values[7]),
            (count as usize, 6, 70)
        );
        values.extend_from_slice(&[1, 2]);
        assert_eq!(values[count as usize..], [1, 2]);
        values.resize(3, 0);
        assert_eq!(*values, [0, 1, 2]);
        values.resize(5, 9);
        assert_eq!(*values, [0, 1, 2, 9, 9]);
        values.resize(0, 0);
        values.shrink();
        assert!(values.is_empty());
        assert!(
            PageVec::filled(3u64, 100_000)
                .iter()
                .all(|&value| value == 3)
        );
    }

    /// Kilobytes of the memory that `octets` owns; other threads do not count.
    fn resident_of(octets: &PageVec<u8>) -> usize {
        let mut pages = vec![0u8; (256 << 20) / 4096];
        let start = octets.as_ptr().cast_mut().cast();
        // SAFETY: the mapping begins at a page and is 256 MiB long; there is an octet for each page of it.
        assert_eq!(
            unsafe { libc::mincore(start, 256 << 20, pages.as_mut_ptr()) },
            0
        );
        pages.iter().filter(|page| **page & 1 == 1).count() * 4
    }

    #[test]
    fn room_is_not_touched_and_memory_goes_back() {
        let mut octets = PageVec::with_room(256 << 20);
        octets.push(1u8);
        assert!(resident_of(&octets) < 64 << 10, "room was touched");
        octets.resize(128 << 20, 1);
        assert!(resident_of(&octets) >= 128 << 10);
        let before = resident();
        drop(octets);
        assert!(resident() < before - (64 << 10), "memory was kept");
    }
}
