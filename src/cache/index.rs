//! The buckets of a shard: plain zeroed memory, in huge pages where that is wanted and it is large.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    ptr::{self, NonNull},
    slice,
};

use super::link::Link;

/// A power of two of buckets, found by the lower bits of a hash.
pub(super) struct Index {
    buckets: NonNull<Link>,
    mask: usize,
    /// Whether the memory came from the kernel and not from the allocator.
    is_mapped: bool,
}

// SAFETY: it owns its memory, and links are atomics.
unsafe impl Send for Index {}
// SAFETY: as above.
unsafe impl Sync for Index {}

impl Index {
    /// An index for so many entries. With `huge_pages` and at least one huge page long, it asks the kernel for them: a lookup
    /// among a million then misses no address translation. Below, a page of 2 MiB would only cost memory.
    pub(super) fn new(entries: usize, huge_pages: bool) -> Index {
        let count = entries.next_power_of_two();
        let octets = count * size_of::<Link>();
        let mapped = if huge_pages && octets >= HUGE_PAGE {
            map(octets)
        } else {
            None
        };
        let buckets = mapped.unwrap_or_else(|| allocate(count));
        Index {
            buckets: buckets.cast(),
            mask: count - 1,
            is_mapped: mapped.is_some(),
        }
    }

    /// The bucket of `hash`. The home core was chosen by the upper half of the hash, the bucket is by the lower.
    #[inline]
    pub(super) fn at(&self, hash: u64) -> &Link {
        // SAFETY: masked, it is one of the `mask + 1` buckets, which live as long as self.
        unsafe { self.buckets.add(hash as usize & self.mask).as_ref() }
    }

    /// All buckets.
    pub(super) fn all(&self) -> &[Link] {
        // SAFETY: `mask + 1` links, zeroed, which is null, and alive as long as self.
        unsafe { slice::from_raw_parts(self.buckets.as_ptr(), self.mask + 1) }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let octets = (self.mask + 1) * size_of::<Link>();
        if self.is_mapped {
            // SAFETY: mapped by `map` with this length; nobody has a link of it any more.
            unsafe { libc::munmap(self.buckets.as_ptr().cast(), octets) };
        } else {
            // SAFETY: from `allocate` with this layout.
            unsafe { dealloc(self.buckets.as_ptr().cast(), layout(self.mask + 1)) }
        }
    }
}

/// Asked for zeroed, a large index costs only the pages that it touches.
fn allocate(count: usize) -> NonNull<u8> {
    let layout = layout(count);
    // SAFETY: a power of two of links is at least one.
    NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

fn layout(count: usize) -> Layout {
    // SAFETY: alignment of a pointer; `count` is at most twice `limits::CACHE_CAPACITY` rounded up, far below isize::MAX octets.
    unsafe { Layout::from_size_align_unchecked(count * size_of::<Link>(), align_of::<Link>()) }
}

/// Anonymous memory that the kernel may back with huge pages; None where it has none to give.
fn map(octets: usize) -> Option<NonNull<u8>> {
    let (access, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new private mapping touches nothing that exists.
    let at = unsafe { libc::mmap(ptr::null_mut(), octets, access, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return None;
    }
    // Refused by a kernel without transparent huge pages; the memory is good all the same.
    // SAFETY: the mapping is ours and so long.
    unsafe { libc::madvise(at, octets, libc::MADV_HUGEPAGE) };
    NonNull::new(at.cast())
}

/// On x86-64 and, with pages of 4 KiB, on aarch64.
const HUGE_PAGE: usize = 2 << 20;
