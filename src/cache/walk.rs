//! A look at every entry of a store, a few at a time, while it is being used.

use std::sync::atomic::Ordering::Acquire;

use super::{Pin, Store, entry::Entry};

/// The steps of a walk. What is stored or evicted meanwhile may be seen or not.
pub(super) struct Steps<'s> {
    store: &'s Store,
    shard: usize,
    bucket: usize,
}

impl Store {
    /// Begins a walk.
    pub(super) fn steps(&self) -> Steps<'_> {
        Steps {
            store: self,
            shard: 0,
            bucket: 0,
        }
    }
}

impl<'s> Steps<'s> {
    /// The entries of the next `BUCKETS` buckets; None at the end.
    pub(super) fn next<'p>(&mut self, _pin: &'p Pin) -> Option<impl Iterator<Item = Entry<'p>>>
    where
        's: 'p,
    {
        let buckets = loop {
            let all = self.store.shards().get(self.shard)?.buckets();
            let rest = all.get(self.bucket..).unwrap_or(&[]);
            if !rest.is_empty() {
                break &rest[..rest.len().min(BUCKETS)];
            }
            self.shard += 1;
            self.bucket = 0;
        };
        self.bucket += buckets.len();
        let chain = |mut head: super::link::Head| {
            std::iter::from_fn(move || {
                // SAFETY: linked when the pin was already held, so it is not freed before the pin is dropped; Acquire makes its
                // contents visible.
                let entry: Entry<'p> = unsafe { Entry::new(head.entry()?) };
                head = entry.next();
                Some(entry)
            })
        };
        Some(
            buckets
                .iter()
                .flat_map(move |bucket| chain(bucket.load(Acquire))),
        )
    }
}

/// Buckets of one step: some 100 KiB of entries, a fraction of a millisecond.
const BUCKETS: usize = 1_024;
