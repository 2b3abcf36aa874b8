//! The store of one server block: its shards, who may read and who may write them.

use std::{cell::Cell, marker::PhantomData, sync::Arc};

use super::{Entry, Key, NewEntry, Pin, Refused, Table, shard::Shard};

/// All answers that one *cache* directive keeps, for the whole process.
pub struct Store {
    shards: Box<[Shard]>,
    /// The core of each part of the range of hashes: as many parts for a core as its share is.
    homes: Box<[u16]>,
    grace_s: u32,
}

/// What a store may hold, and how it is laid out.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One for each core's shard; without any there is one shard.
    pub shares: Vec<Share>,
    /// Entries of the success table, in total over all shards, exactly.
    pub success: usize,
    /// Entries of the denial table.
    pub denial: usize,
    /// Seconds past its lifetime for which an entry may still be asked for (serve_stale).
    pub grace_s: u32,
}

/// One core's part of a store.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Of the entries that the store holds, as many are this core's as its weight is of the sum of all.
    pub weight: u32,
    /// Whether a large index is to lie in huge pages.
    pub huge_pages: bool,
}

impl Default for Share {
    fn default() -> Share {
        Share {
            weight: 1,
            huge_pages: false,
        }
    }
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
            shares: vec![Share::default(); cores],
            success,
            denial,
            grace_s,
        })
    }

    /// A store with one shard for each of the plan's shares.
    pub fn planned(plan: &Plan) -> Arc<Store> {
        let homes = homes(&plan.shares);
        let default = [Share::default()];
        let shares = if plan.shares.is_empty() {
            &default
        } else {
            &plan.shares[..]
        };
        let shard = |(core, share): (usize, &Share)| {
            let part = Part::of_core(&homes, core);
            let entries_max = [part.of(plan.success), part.of(plan.denial)];
            Shard::new(entries_max, plan.grace_s, share.huge_pages)
        };
        Arc::new(Store {
            shards: shares.iter().enumerate().map(shard).collect(),
            homes,
            grace_s: plan.grace_s,
        })
    }

    /// Sets how many octets of entries the store may hold in all, besides what its capacity bounds. What is too much goes as
    /// new entries come.
    pub fn bound_octets(&self, octets_max: usize) {
        let capacity = self.capacity();
        for shard in &self.shards {
            for table in [Table::Success, Table::Denial] {
                let part = Part {
                    before: 0,
                    upto: shard.entries_max(table),
                    total: capacity,
                };
                shard.bound_octets(table, part.of(octets_max));
            }
        }
    }

    /// Seconds past its lifetime for which an entry may still be asked for.
    pub fn grace_s(&self) -> u32 {
        self.grace_s
    }

    pub(super) fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Entries that it may hold, both tables together.
    pub fn capacity(&self) -> usize {
        self.shards.iter().map(Shard::capacity).sum()
    }

    /// The core whose task thread alone stores answers under `hash`.
    #[inline]
    pub fn home(&self, hash: u64) -> usize {
        // Multiply and shift: spreads the upper half of the hash over the parts without a division.
        usize::from(self.homes[(((hash >> 32) * self.homes.len() as u64) >> 32) as usize])
    }

    /// Looks `key` up in both tables. Never waits, allocates nothing; expired entries are found too.
    #[inline(always)] // of two callers one is the path of every hit
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

/// One part for each unit of each core's weight, weights reduced by what divides them all, or to what the table has room for.
fn homes(shares: &[Share]) -> Box<[u16]> {
    let weights = || shares.iter().map(|share| share.weight);
    let divisor = weights()
        .fold(0, |divisor, weight| gcd(weight, divisor))
        .max(1);
    let sum: usize = weights().map(|weight| (weight / divisor) as usize).sum();
    let parts = weights().enumerate().flat_map(|(core, weight)| {
        let core = u16::try_from(core).unwrap_or(u16::MAX);
        let units = (weight / divisor) as usize;
        let units = match sum {
            ..=PARTS => units,
            // Even the smallest has one.
            _ => (units * PARTS / sum).max(units.min(1)),
        };
        std::iter::repeat_n(core, units)
    });
    let parts: Box<[u16]> = parts.collect();
    if parts.is_empty() {
        // No weight at all: the first core has everything.
        return Box::new([0]);
    }
    parts
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A piece of a whole; the pieces of any number add up to it.
struct Part {
    before: usize,
    upto: usize,
    total: usize,
}

impl Part {
    /// What `homes` gives a core.
    fn of_core(homes: &[u16], core: usize) -> Part {
        let upto = |core: usize| {
            homes
                .iter()
                .filter(|&&home| usize::from(home) < core)
                .count()
        };
        Part {
            before: upto(core),
            upto: upto(core + 1),
            total: homes.len(),
        }
    }

    fn of(&self, whole: usize) -> usize {
        let at = |part: usize| whole as u128 * part as u128 / self.total.max(1) as u128;
        // No more than `whole`, which is a usize.
        (at(self.upto) - at(self.before)) as usize
    }
}

/// Parts of the range of hashes; a hundred cores differ by as much as a hundredth of a percent then.
const PARTS: usize = 4_096;
