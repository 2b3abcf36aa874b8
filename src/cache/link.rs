//! A link to an entry that also says what is to be found behind it, so that a name that is not there costs no look at those
//! that are.

use std::{
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, Ordering},
};

use super::entry::Header;

/// A bucket, or the way from an entry to the next of its bucket.
///
/// **Invariant**: it holds null, or an entry and the tags of that entry and of all behind it.
pub(super) struct Link(AtomicPtr<Header>);

/// What a [`Link`] holds: an address in the lower 48 bits, which is all that user space has, and [`Tags`] in the upper 16.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Head(*mut Header);

/// The way to an entry's neighbour in its eviction queue, or null: an address alone, in six octets.
#[derive(Clone, Copy)]
pub(super) struct Neighbour([u16; 3]);

/// A set of hashes, as one bit of 16 for each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Tags(usize);

impl Link {
    pub(super) fn load(&self, order: Ordering) -> Head {
        Head(self.0.load(order))
    }

    pub(super) fn store(&self, head: Head, order: Ordering) {
        self.0.store(head.0, order);
    }

    /// A link that leads nowhere.
    pub(super) const fn nowhere() -> Link {
        Link(AtomicPtr::new(ptr::null_mut()))
    }
}

impl Head {
    /// The first entry, if the tag of what is looked for is among those behind it.
    #[inline]
    pub(super) fn leading_to(self, tag: Tags) -> Option<NonNull<Header>> {
        if self.0.addr() & tag.0 == 0 {
            return None;
        }
        self.entry()
    }

    #[inline]
    pub(super) fn entry(self) -> Option<NonNull<Header>> {
        NonNull::new(self.0.map_addr(|addr| addr & ADDRESS))
    }

    /// The same place in the chain with another entry of the same hash.
    pub(super) fn with_entry(self, at: NonNull<Header>) -> Head {
        Head(at.as_ptr().map_addr(|addr| addr | self.0.addr() & !ADDRESS))
    }

    pub(super) fn with_tags(self, tags: Tags) -> Head {
        Head(self.0.map_addr(|addr| addr & ADDRESS | tags.0))
    }

    /// A chain that begins with `at`, and goes on as this one.
    pub(super) fn behind(self, at: NonNull<Header>, tag: Tags) -> Head {
        let tags = self.0.addr() & !ADDRESS | tag.0;
        debug_assert_eq!(at.addr().get() & !ADDRESS, 0, "an address of user space");
        Head(at.as_ptr().map_addr(|addr| addr | tags))
    }
}

impl Neighbour {
    pub(super) const NONE: Neighbour = Neighbour([0; 3]);

    pub(super) fn to(at: *mut Header) -> Neighbour {
        let addr = at.expose_provenance();
        debug_assert_eq!(addr & !ADDRESS, 0, "an address of user space");
        Neighbour([addr as u16, (addr >> 16) as u16, (addr >> 32) as u16])
    }

    pub(super) fn entry(self) -> *mut Header {
        let [low, middle, high] = self.0.map(usize::from);
        ptr::with_exposed_provenance_mut(high << 32 | middle << 16 | low)
    }
}

impl Tags {
    pub(super) const NONE: Tags = Tags(0);

    /// From bits of the hash that choose neither the bucket (the lower 28) nor, but for very many cores, the shard.
    #[inline]
    pub(super) fn of(hash: u64) -> Tags {
        Tags(1 << (ADDRESS_BITS + (hash >> 28 & 15) as u32))
    }

    pub(super) fn and(self, other: Tags) -> Tags {
        Tags(self.0 | other.0)
    }
}

const ADDRESS_BITS: u32 = 48;
const ADDRESS: usize = (1 << ADDRESS_BITS) - 1;

const _: () = assert!(
    usize::BITS == 64,
    "tags live in the upper bits of an address"
);
