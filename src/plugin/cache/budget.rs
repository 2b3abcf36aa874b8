//! The bound in octets that all stores of the process share, each by its capacity.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::cache::Store;

/// The stores that share one bound.
pub(super) struct Budget {
    octets_max: usize,
    stores: Mutex<Vec<Weak<Store>>>,
}

/// A store's part of the budget. When it is dropped the others get what it had.
pub(super) struct Part {
    budget: Arc<Budget>,
    store: Weak<Store>,
}

impl Budget {
    pub(super) fn new(octets_max: usize) -> Arc<Budget> {
        Arc::new(Budget {
            octets_max,
            stores: Mutex::default(),
        })
    }

    /// Takes a store in; all parts change.
    pub(super) fn admit(self: &Arc<Self>, store: &Arc<Store>) -> Part {
        let part = Part {
            budget: Arc::clone(self),
            store: Arc::downgrade(store),
        };
        self.divide(|stores| stores.push(part.store.clone()));
        part
    }

    fn divide(&self, change: impl FnOnce(&mut Vec<Weak<Store>>)) {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut stores);
        let living: Vec<Arc<Store>> = stores.iter().filter_map(Weak::upgrade).collect();
        let total: usize = living.iter().map(|store| store.capacity()).sum();
        for store in living {
            let part = self.octets_max as u128 * store.capacity() as u128 / total.max(1) as u128;
            // No more than `octets_max`, which is a usize.
            store.bound_octets(part as usize);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let own = &self.store;
        self.budget
            .divide(|stores| stores.retain(|store| !store.ptr_eq(own)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Key, NewEntry, Table};
    use crate::wire::name;

    /// Fills the success table with entries of about 1.1 kB and tells how many octets it holds.
    fn fill(store: &Arc<Store>) -> usize {
        for n in 0..2_000u16 {
            let [a, b] = n.to_be_bytes();
            let name = [2, a, b, 0];
            let mut wire = vec![0; 12];
            wire.extend_from_slice(&name);
            wire.extend_from_slice(&[0, 1, 0, 1]);
            wire.resize(1_000, 7);
            let new = NewEntry {
                wire: &wire,
                ttl_offsets: &[],
                ttl_s: 60,
                uncompressed_len: 0,
                wildcard: b"",
                hits: 0,
            };
            let key = Key::new(name::hash(&name), &name, 1, 1, false, false);
            let writer = store.writer(store.home(key.hash)).unwrap();
            writer.insert(Table::Success, &key, &new, 0).unwrap();
        }
        store.octets(Table::Success)
    }

    #[test]
    fn stores_share_by_capacity_and_inherit_from_those_that_go() {
        let budget = Budget::new(1_000_000);
        let large = Store::new(1, 3_000, 0, 0);
        let large_part = budget.admit(&large);
        let near = |held: usize, expect: usize| held <= expect && held > expect * 9 / 10;
        assert!(near(fill(&large), 1_000_000));
        let small = Store::new(1, 1_000, 0, 0);
        let _small_part = budget.admit(&small);
        assert!(near(fill(&small), 250_000));
        assert!(near(fill(&large), 750_000));
        // Threads may hold a store a little longer than its configuration.
        drop(large_part);
        assert!(near(fill(&small), 1_000_000));
    }
}
