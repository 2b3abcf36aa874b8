//! One shard: buckets that every thread reads, and the eviction order that its one writer keeps.

use std::{
    cell::UnsafeCell,
    ptr::NonNull,
    sync::atomic::{
        AtomicBool, AtomicU64, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use crossbeam::{epoch, utils::CachePadded};

use super::{
    Key, Pin, Table,
    entry::{self, Entry, Header, NewEntry},
    index::Index,
    link::{Link, Tags},
    sieve::Sieve,
};
use crate::limits;

/// Why an entry was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The reply does not ask the key's question, or an offset points outside of it.
    #[error("the reply does not fit its key")]
    Malformed,
    /// It alone is larger than what the table's shard may hold.
    #[error("the reply is larger than the cache")]
    TooLarge,
    /// Somebody else is writing this shard, which its home thread alone may do.
    #[error("the cache shard is being written by another thread")]
    Busy,
}

/// Part of a store: the keys whose home is one core.
pub(super) struct Shard {
    /// Heads of the entry chains.
    buckets: Index,
    tables: [CachePadded<Counts>; 2],
    /// Held while a writer is at work. Never contended where the design is kept; with it the design is not needed for safety.
    writing: AtomicBool,
    orders: UnsafeCell<[Sieve; 2]>,
}

/// What one table of a shard holds; written by the writer, read by anyone.
struct Counts {
    entries_max: usize,
    octets_max: AtomicUsize,
    entries: AtomicUsize,
    octets: AtomicUsize,
    evictions: AtomicU64,
}

// SAFETY: `orders` and the cells in the entries are touched only by who holds `writing`; all else that is shared is atomic. The
// raw pointers are entries, which any thread may free.
unsafe impl Send for Shard {}
// SAFETY: as above.
unsafe impl Sync for Shard {}

// === impl Shard: reading ===

impl Shard {
    /// A shard for so many entries in each table; see [`super::Plan`] for the rest.
    pub(super) fn new(
        [success_max, denial_max]: [usize; 2],
        grace_s: u32,
        huge_pages: bool,
    ) -> Self {
        let counts = |entries_max: usize| {
            CachePadded::new(Counts {
                entries_max,
                octets_max: AtomicUsize::new(octets_of(entries_max)),
                entries: AtomicUsize::new(0),
                octets: AtomicUsize::new(0),
                evictions: AtomicU64::new(0),
            })
        };
        Shard {
            // Seldom are both tables full, and then a bucket holds two on average, which the tags tell apart.
            buckets: Index::new(success_max.max(denial_max), huge_pages),
            tables: [counts(success_max), counts(denial_max)],
            writing: AtomicBool::new(false),
            orders: UnsafeCell::new([
                Sieve::new(success_max, grace_s),
                Sieve::new(denial_max, grace_s),
            ]),
        }
    }

    /// The entries of `key`, of either table, without regard to their age.
    #[inline]
    pub(super) fn lookup<'p>(&'p self, _pin: &'p Pin, key: &Key<'_>) -> [Option<Entry<'p>>; 2] {
        let mut found = [None; 2];
        let tag = Tags::of(key.hash);
        let mut head = self.buckets.at(key.hash).load(Acquire);
        while let Some(at) = head.leading_to(tag) {
            // SAFETY: `at` was linked when the pin was already held, so it is not freed before the pin is dropped; Acquire
            // makes its contents visible.
            let entry = unsafe { Entry::new(at) };
            if entry.matches(key) {
                found[entry.table() as usize] = Some(entry);
            }
            // SAFETY: as above.
            head = unsafe { at.as_ref() }.next.load(Acquire);
        }
        found
    }

    /// Asks the CPU for the bucket of `hash`.
    pub(super) fn prefetch_bucket(&self, hash: u64) {
        prefetch(self.buckets.at(hash));
    }

    /// Asks the CPU for the first entry of the bucket of `hash`, unless none there has the hash.
    pub(super) fn prefetch_entry(&self, hash: u64) {
        if let Some(at) = self
            .buckets
            .at(hash)
            .load(Relaxed)
            .leading_to(Tags::of(hash))
        {
            let line = at.as_ptr().cast::<u8>().cast_const();
            prefetch(line);
            // The reply itself follows the header.
            prefetch(line.wrapping_add(size_of::<Header>()));
        }
    }

    pub(super) fn entries(&self, table: Table) -> usize {
        self.tables[table as usize].entries.load(Relaxed)
    }

    pub(super) fn octets(&self, table: Table) -> usize {
        self.tables[table as usize].octets.load(Relaxed)
    }

    pub(super) fn entries_max(&self, table: Table) -> usize {
        self.tables[table as usize].entries_max
    }

    /// Entries that both tables may hold.
    pub(super) fn capacity(&self) -> usize {
        self.tables.iter().map(|counts| counts.entries_max).sum()
    }

    /// Bounds the octets of `table` to so many, and to what its capacity allows.
    pub(super) fn bound_octets(&self, table: Table, octets_max: usize) {
        let counts = &self.tables[table as usize];
        let octets_max = octets_max.min(octets_of(counts.entries_max));
        counts.octets_max.store(octets_max, Relaxed);
    }

    /// All buckets, each the head of a chain; for who looks at every entry.
    pub(super) fn buckets(&self) -> &[Link] {
        self.buckets.all()
    }

    pub(super) fn evictions(&self, table: Table) -> u64 {
        self.tables[table as usize].evictions.load(Relaxed)
    }
}

// === impl Shard: writing ===

impl Shard {
    pub(super) fn insert(
        &self,
        table: Table,
        key: &Key<'_>,
        new: &NewEntry<'_>,
        now_ns: u64,
    ) -> Result<usize, Refused> {
        let counts = &self.tables[table as usize];
        let size = entry::size_of_entry(new);
        if counts.entries_max == 0 || size > counts.octets_max.load(Relaxed) {
            return Err(Refused::TooLarge);
        }
        let mut writer = self.write().ok_or(Refused::Busy)?;
        let at = entry::allocate(table, key, new, now_ns)?;
        Ok(writer.link(table, key, at, now_ns))
    }

    /// Takes out the entry of `key`; whether there was one (None: somebody else is writing).
    pub(super) fn remove(&self, table: Table, key: &Key<'_>) -> Option<bool> {
        let mut writer = self.write()?;
        let Some((place, at)) = writer.find(table, key) else {
            return Some(false);
        };
        // SAFETY: `at` is linked at `place` and stands in the order of its table.
        unsafe {
            writer.order(table).remove(at);
            writer.unlink(place, at);
        }
        Some(true)
    }

    fn write(&self) -> Option<Writing<'_>> {
        if self.writing.swap(true, Acquire) {
            return None;
        }
        Some(Writing {
            shard: self,
            guard: epoch::pin(),
        })
    }
}

/// The right to change a shard, one at a time.
struct Writing<'a> {
    shard: &'a Shard,
    guard: epoch::Guard,
}

impl<'a> Writing<'a> {
    fn order(&mut self, table: Table) -> &mut Sieve {
        // SAFETY: `writing` is held, and the borrow of self keeps this the only reference.
        unsafe { &mut (&mut *self.shard.orders.get())[table as usize] }
    }

    /// Publishes `at`, in the place of an older answer or of whom the table can best do without; how many had to go.
    fn link(&mut self, table: Table, key: &Key<'_>, at: NonNull<Header>, now_ns: u64) -> usize {
        // SAFETY: `at` is ours, fresh from `allocate`, until it is published below.
        let new = unsafe { at.as_ref() };
        let counts = &self.shard.tables[table as usize];
        if let Some((place, old)) = self.find(table, key) {
            // SAFETY: `old` is linked at `place` and stands in the order of its table. Readers on `old` go on to its `next`.
            unsafe {
                self.order(table).replace(old, at);
                new.next.store(old.as_ref().next.load(Relaxed), Relaxed);
                place.store(place.load(Relaxed).with_entry(at), Release);
                self.retire(old);
            }
            add(&counts.entries, 1);
            add(&counts.octets, new.size());
            // A larger answer may push others out.
            return self.make_room(table, 0, 0, now_ns);
        }
        let evicted = self.make_room(table, 1, new.size(), now_ns);
        // SAFETY: `at` is alive and in no queue.
        unsafe { self.order(table).push(at) };
        let bucket = self.shard.buckets.at(new.hash());
        let rest = bucket.load(Relaxed);
        new.next.store(rest, Relaxed);
        add(&counts.entries, 1);
        add(&counts.octets, new.size());
        bucket.store(rest.behind(at, Tags::of(new.hash())), Release);
        evicted
    }

    /// Evicts until `entries` more with `octets` in all would fit; how many went. After the bound in octets has shrunk it takes
    /// more than one call.
    fn make_room(&mut self, table: Table, entries: usize, octets: usize, now_ns: u64) -> usize {
        let counts = &self.shard.tables[table as usize];
        let octets_max = counts.octets_max.load(Relaxed);
        let mut evicted = 0;
        while evicted < limits::CACHE_EVICTIONS_AT_ONCE
            && (counts.entries.load(Relaxed) + entries > counts.entries_max
                || counts.octets.load(Relaxed) + octets > octets_max)
        {
            // SAFETY: the order holds entries of this shard, and `writing` is held.
            let Some(victim) = (unsafe { self.order(table).evict(now_ns) }) else {
                break;
            };
            let Some(place) = self.place_of(victim) else {
                break;
            };
            // SAFETY: it is linked at `place`, and `evict` took it out of the order.
            unsafe { self.unlink(place, victim) };
            evicted += 1;
            counts
                .evictions
                .store(counts.evictions.load(Relaxed) + 1, Relaxed);
        }
        evicted
    }

    /// The entry of `key` in `table` and the link that leads to it.
    fn find(&self, table: Table, key: &Key<'_>) -> Option<(&'a Link, NonNull<Header>)> {
        self.walk(key.hash, |at| {
            // SAFETY: linked, so alive.
            let header = unsafe { at.as_ref() };
            // SAFETY: as above.
            header.has_hash(key.hash)
                && header.table() == table
                && unsafe { entry::same_question(at, key) }
        })
    }

    /// The link that leads to `at`.
    fn place_of(&self, at: NonNull<Header>) -> Option<&'a Link> {
        // SAFETY: linked, so alive.
        self.walk(unsafe { at.as_ref() }.hash(), |other| other == at)
            .map(|(place, _)| place)
    }

    /// The first entry wanted in the chain of `hash`, and the link that leads to it, good until an entry is unlinked.
    fn walk(
        &self,
        hash: u64,
        wanted: impl Fn(NonNull<Header>) -> bool,
    ) -> Option<(&'a Link, NonNull<Header>)> {
        let mut place: *const Link = self.shard.buckets.at(hash);
        loop {
            // SAFETY: a bucket of the shard, or the `next` of a linked entry: alive, as only we unlink, and what we unlink is
            // not freed while our guard is pinned.
            let link = unsafe { &*place };
            let at = link.load(Relaxed).entry()?;
            if wanted(at) {
                return Some((link, at));
            }
            // SAFETY: linked, so alive.
            place = unsafe { &raw const at.as_ref().next };
        }
    }

    /// # Safety
    /// `at` is linked at `place`, and in no eviction queue.
    unsafe fn unlink(&self, place: &Link, at: NonNull<Header>) {
        // SAFETY: by contract; not freed while our guard is pinned.
        let header = unsafe { at.as_ref() };
        place.store(header.next.load(Relaxed), Release);
        self.retag(header.hash());
        // SAFETY: by contract.
        unsafe { self.retire(at) };
    }

    /// Takes the tags of what is gone from the links of the chain of `hash`. Up to then they promise too much, which costs a
    /// reader a step and nothing else. Chains have one or two entries.
    fn retag(&self, hash: u64) {
        let mut link = self.shard.buckets.at(hash);
        loop {
            let old = link.load(Relaxed);
            let mut tags = Tags::NONE;
            let mut next = old.entry();
            while let Some(at) = next {
                // SAFETY: linked, so alive.
                let header = unsafe { at.as_ref() };
                tags = tags.and(Tags::of(header.hash()));
                next = header.next.load(Relaxed).entry();
            }
            let Some(at) = old.entry() else { return };
            let exact = old.with_tags(tags);
            if exact != old {
                link.store(exact, Release);
            }
            // SAFETY: linked, so alive.
            link = unsafe { &(*at.as_ptr()).next };
        }
    }

    /// Frees `at` once no reader can be looking at it.
    ///
    /// # Safety
    /// `at` is no longer linked, and in no eviction queue.
    unsafe fn retire(&self, at: NonNull<Header>) {
        // SAFETY: by contract; alive until the deferred call.
        let header = unsafe { at.as_ref() };
        let counts = &self.shard.tables[header.table() as usize];
        counts
            .entries
            .store(counts.entries.load(Relaxed).saturating_sub(1), Relaxed);
        counts.octets.store(
            counts.octets.load(Relaxed).saturating_sub(header.size()),
            Relaxed,
        );
        // SAFETY: unlinked, so that only readers pinned before now can hold it; the epoch outlasts them. It is freed once.
        unsafe { self.guard.defer_unchecked(move || entry::free(at)) };
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.shard.writing.store(false, Release);
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        for bucket in self.buckets.all() {
            let mut next = bucket.load(Relaxed).entry();
            while let Some(at) = next {
                // SAFETY: the shard is borrowed by every reader and writer, so none is left; each entry is linked once.
                unsafe {
                    next = at.as_ref().next.load(Relaxed).entry();
                    entry::free(at);
                }
            }
        }
    }
}

#[cfg(test)]
impl Shard {
    pub(super) fn assert_links(&self) {
        for bucket in self.buckets.all() {
            let mut head = bucket.load(Relaxed);
            while let Some(at) = head.entry() {
                let (mut tags, mut next) = (Tags::NONE, Some(at));
                while let Some(behind) = next {
                    // SAFETY: linked, and tests that call this write from this thread alone.
                    let header = unsafe { behind.as_ref() };
                    tags = tags.and(Tags::of(header.hash()));
                    next = header.next.load(Relaxed).entry();
                }
                assert!(head == head.with_tags(tags));
                // SAFETY: as above.
                head = unsafe { at.as_ref() }.next.load(Relaxed);
            }
        }
    }
}

fn octets_of(entries_max: usize) -> usize {
    entries_max.saturating_mul(limits::CACHE_ENTRY_OCTETS_MEAN)
}

fn add(counter: &AtomicUsize, by: usize) {
    counter.store(counter.load(Relaxed) + by, Relaxed);
}

/// Asks the CPU to fetch the line at `at`; harmless for any address.
fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; it never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
