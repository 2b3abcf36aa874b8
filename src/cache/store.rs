//! The store of one server block: its shards, who may read and who may write them.

use std::{cell::Cell, marker::PhantomData, sync::Arc};

use super::{Entry, Key, NewEntry, Pin, Refused, Table, shard::Shard};

/// All answers that one *cache* directive keeps, for the whole process.
pub struct Store {
    shards: Box<[Shard]>,
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
    /// A store with one shard for each of `cores`; the capacities are entries in total over all shards, exactly. `grace_s`
    /// says how many seconds past its lifetime an entry may still be asked for (serve_stale).
    pub fn new(
        cores: usize,
        success_capacity: usize,
        denial_capacity: usize,
        grace_s: u32,
    ) -> Arc<Store> {
        let cores = cores.max(1);
        let share =
            |capacity: usize, core: usize| capacity / cores + usize::from(core < capacity % cores);
        let shard = |core| {
            Shard::new(
                share(success_capacity, core),
                share(denial_capacity, core),
                grace_s,
            )
        };
        Arc::new(Store {
            shards: (0..cores).map(shard).collect(),
        })
    }

    /// The core whose task thread alone stores answers under `hash`.
    pub fn home(&self, hash: u64) -> usize {
        // Multiply and shift: spreads the upper half of the hash over the cores without a division.
        (((hash >> 32) * self.shards.len() as u64) >> 32) as usize
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

    /// The store it writes to.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }
}
