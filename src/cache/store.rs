//! The store of one server block: its shards, who may read and who may write them.

use std::{cell::Cell, marker::PhantomData, sync::Arc};

use super::{Entry, Key, NewEntry, Pin, Refused, Table, shard::Shard};

/// All answers that one *cache* directive keeps, for the whole process.
pub struct Store {
    shards: Box<[Shard]>,
    /// The core of each part of the range of hashes: as many parts for a core as its share is.
    homes: Box<[u16]>,
}

/// What a store may hold, and how it is laid out.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Weight of each core's shard, from 1 to 100: of the entries that a store holds, a core has as many as its part of the sum is.
    /// One for each core; there is at least one.
    pub shares: Vec<u16>,
    /// Entries of the success table, in total over all shards, exactly.
    pub success: usize,
    /// Entries of the denial table.
    pub denial: usize,
    /// Seconds past its lifetime for which an entry may still be asked for (serve_stale).
    pub grace_s: u32,
    /// Whether a large index is to be kept in huge pages.
    pub huge_pages: bool,
}

/// What a store knows about a key, fresh or not.
#[derive(Clone, Copy)]
pub struct Found<'p> {
    /// The entry in the success table.
    pub success: Option<Entry<'p>>,
    /// The entry in the denial table.
    pub denial: Option<Entry<'p>>,
}

/// The right to change one core's shard; it belongs to that core's task thread.
pub struct ShardWriter {
    store: Arc<Store>,
    core: usize,
    // Not Sync: one thread writes a shard.
    thread: PhantomData<Cell<()>>,
}

// === impl Store ===

impl Store {
    /// A store with an equal shard for each of `cores`, in pages of the usual size; see [`Plan`].
    pub fn new(cores: usize, success: usize, denial: usize, grace_s: u32) -> Arc<Store> {
        Store::planned(&Plan {
            shares: vec![1; cores.max(1)],
            success,
            denial,
            grace_s,
            huge_pages: false,
        })
    }

    /// A store with one shard for each of the plan's shares.
    pub fn planned(plan: &Plan) -> Arc<Store> {
        let homes = homes(&plan.shares);
        let upto = |core: usize| {
            homes
                .iter()
                .filter(|&&home| usize::from(home) < core)
                .count()
        };
        let part = |capacity: usize, core: usize| {
            let before = capacity * upto(core) / homes.len();
            capacity * upto(core + 1) / homes.len() - before
        };
        let shard = |core| {
            let entries_max = [part(plan.success, core), part(plan.denial, core)];
            Shard::new(entries_max, plan)
        };
        Arc::new(Store {
            shards: (0..plan.shares.len().max(1)).map(shard).collect(),
            homes,
        })
    }

    /// The core whose task thread alone stores answers under `hash`.
    #[inline]
    pub fn home(&self, hash: u64) -> usize {
        // Multiply and shift: spreads the upper half of the hash over the parts without a division.
        usize::from(self.homes[(((hash >> 32) * self.homes.len() as u64) >> 32) as usize])
    }

    /// Looks `key` up in both tables. Never waits, allocates nothing; expired entries are found too.
    pub fn lookup<'p>(&'p self, pin: &'p Pin, key: &Key<'_>) -> Found<'p> {
        let [success, denial] = self.shards[self.home(key.hash)].lookup(pin, key);
        Found { success, denial }
    }

    /// Starts fetching what a later [`Self::lookup`] of `hash` reads first; for a whole batch before its first lookup.
    pub fn prefetch_bucket(&self, hash: u64) {
        self.shards[self.home(hash)].prefetch_bucket(hash);
    }

    /// Starts fetching the entry that `hash` leads to; after [`Self::prefetch_bucket`] had time to arrive.
    pub fn prefetch_entry(&self, hash: u64) {
        self.shards[self.home(hash)].prefetch_entry(hash);
    }

    /// The writer of `core`'s shard; None if there is no such core.
    ///
    /// Only that core's task thread should ask. Two that write at once stay sound, but one of them is refused.
    pub fn writer(self: &Arc<Self>, core: usize) -> Option<ShardWriter> {
        (core < self.shards.len()).then(|| ShardWriter {
            store: Arc::clone(self),
            core,
            thread: PhantomData,
        })
    }

    /// Entries in `table`, expired ones included.
    pub fn len(&self, table: Table) -> usize {
        self.shards.iter().map(|shard| shard.entries(table)).sum()
    }

    /// Whether neither table holds anything.
    pub fn is_empty(&self) -> bool {
        self.len(Table::Success) + self.len(Table::Denial) == 0
    }

    /// Octets that the entries of `table` take, without the index.
    pub fn octets(&self, table: Table) -> usize {
        self.shards.iter().map(|shard| shard.octets(table)).sum()
    }

    /// Entries pushed out of `table` by others since the start.
    pub fn evictions(&self, table: Table) -> u64 {
        self.shards.iter().map(|shard| shard.evictions(table)).sum()
    }
}

#[cfg(test)]
impl Store {
    /// Checks every link of every chain: what it promises is there, and nothing else.
    pub(super) fn assert_links(&self) {
        self.shards.iter().for_each(Shard::assert_links);
    }
}

// === impl ShardWriter ===

impl ShardWriter {
    /// Stores an answer under `key`, in the place of an older one in the same table; the key's home must be this core. Returns how
    /// many other entries had to go.
    pub fn insert(
        &self,
        table: Table,
        key: &Key<'_>,
        new: &NewEntry<'_>,
        now_ns: u64,
    ) -> Result<usize, Refused> {
        debug_assert_eq!(
            self.store.home(key.hash),
            self.core,
            "the key lives on another core"
        );
        self.store.shards[self.core].insert(table, key, new, now_ns)
    }

    /// Takes the entry of `key` out of `table`; whether there was one.
    pub fn remove(&self, table: Table, key: &Key<'_>) -> bool {
        self.store.shards[self.core]
            .remove(table, key)
            .unwrap_or(false)
    }

    /// Entries of `table` in this core's shard, expired ones included.
    pub fn len(&self, table: Table) -> usize {
        self.store.shards[self.core].entries(table)
    }

    /// The store it writes to.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }
}

/// One part for each unit of each core's share, shares reduced by what divides them all.
fn homes(shares: &[u16]) -> Box<[u16]> {
    let divisor = shares.iter().fold(0, |divisor, &share| gcd(share, divisor));
    let parts = shares.iter().enumerate().flat_map(|(core, &share)| {
        let core = u16::try_from(core).unwrap_or(u16::MAX);
        std::iter::repeat_n(core, usize::from(share / divisor.max(1)))
    });
    let parts: Box<[u16]> = parts.collect();
    if parts.is_empty() {
        // No share at all: the first core has everything.
        return Box::new([0]);
    }
    parts
}

fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}
