//! From a hash to numbers of blocks: open addressing, one writer, readers that never wait.
//!
//! A slot is one word, `hash << 32 | number + 1`. Whatever a reader finds it must verify at the block, so a slot that changes under it
//! costs nothing but a look. A table that is full is replaced by a larger one as a whole; the old one stays as it is for who reads it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::runtime::epoch::{Pin, Slot};

/// What readers see.
pub(super) struct Index {
    slots: Slot<Box<[AtomicU64]>>,
}

/// How full an index is; the writer's.
#[derive(Default)]
pub(super) struct Fill {
    /// Slots that hold a number.
    live: usize,
    /// Those and the removed ones.
    used: usize,
}

impl Default for Index {
    fn default() -> Index {
        Index {
            slots: Slot::empty(),
        }
    }
}

impl Index {
    /// Numbers that were put there under `hash`, and perhaps others.
    #[inline]
    pub(super) fn find<'p>(&self, hash: u32, pin: &'p Pin) -> Candidates<'p> {
        let slots = self.slots.load(pin).map_or(&[][..], |slots| slots);
        Candidates {
            slots,
            hash,
            at: hash as usize,
            left: slots.len(),
        }
    }

    /// Puts a number under `hash`; it may be there twice if it is put twice.
    pub(super) fn insert(&self, fill: &mut Fill, hash: u32, number: u32) {
        let pin = Pin::new();
        let slots = self.slots.load(&pin).map_or(&[][..], |slots| slots);
        if (fill.used + 1) * FULL.1 > slots.len() * FULL.0 {
            // Half as many again, so that it is not rebuilt soon.
            self.rebuild(slots, fill, (fill.live + 1) * 3 / 2);
        }
        let slots = self.slots.load(&pin).map_or(&[][..], |slots| slots);
        if put(slots, word(hash, number)) {
            fill.used += 1;
        }
        fill.live += 1;
    }

    /// Takes a number away; false if it is not there.
    pub(super) fn remove(&self, fill: &mut Fill, hash: u32, number: u32) -> bool {
        let pin = Pin::new();
        let slots = self.slots.load(&pin).map_or(&[][..], |slots| slots);
        let found =
            probe(slots, hash).find(|slot| slot.load(Ordering::Relaxed) == word(hash, number));
        let Some(slot) = found else { return false };
        slot.store(REMOVED, Ordering::Release);
        fill.live -= 1;
        true
    }

    /// Makes room for so many more numbers at once, since growing step by step moves each of them again and again.
    pub(super) fn reserve(&self, fill: &mut Fill, more: usize) {
        let pin = Pin::new();
        let slots = self.slots.load(&pin).map_or(&[][..], |slots| slots);
        if (fill.used + more) * FULL.1 > slots.len() * FULL.0 {
            self.rebuild(slots, fill, fill.live + more);
        }
    }

    #[cold]
    fn rebuild(&self, old: &[AtomicU64], fill: &mut Fill, room: usize) {
        let len = ((room + 1) * FULL.1 / FULL.0)
            .next_power_of_two()
            .max(SLOTS_MIN);
        let new: Box<[AtomicU64]> = (0..len).map(|_| AtomicU64::new(EMPTY)).collect();
        let words = old.iter().map(|slot| slot.load(Ordering::Relaxed));
        for word in words.filter(|word| *word != EMPTY && *word != REMOVED) {
            put(&new, word);
        }
        fill.used = fill.live;
        self.slots.replace(new);
    }
}

/// Numbers to be verified, at most as many as there are slots.
#[derive(Clone)]
pub(super) struct Candidates<'p> {
    slots: &'p [AtomicU64],
    hash: u32,
    at: usize,
    left: usize,
}

impl Iterator for Candidates<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        while self.left > 0 {
            let slot = &self.slots[self.at & (self.slots.len() - 1)];
            let word = slot.load(Ordering::Acquire);
            if word == EMPTY {
                return None;
            }
            self.at += 1;
            self.left -= 1;
            if (word >> 32) as u32 == self.hash && word != REMOVED {
                return Some(word as u32 - 1);
            }
        }
        None
    }
}

/// True if an empty slot was used, false if one whose number was removed.
fn put(slots: &[AtomicU64], word: u64) -> bool {
    let is_free = |slot: &&AtomicU64| matches!(slot.load(Ordering::Relaxed), EMPTY | REMOVED);
    // A table is never full, so there is one.
    let Some(slot) = probe(slots, (word >> 32) as u32).find(is_free) else {
        return false;
    };
    slot.swap(word, Ordering::Release) == EMPTY
}

fn probe(slots: &[AtomicU64], hash: u32) -> impl Iterator<Item = &AtomicU64> {
    let start = hash as usize & slots.len().saturating_sub(1);
    slots[start..].iter().chain(&slots[..start])
}

fn word(hash: u32, number: u32) -> u64 {
    u64::from(hash) << 32 | (u64::from(number) + 1)
}

const EMPTY: u64 = 0;
/// No number is behind it, since numbers are stored plus one.
const REMOVED: u64 = 1 << 32;
/// Slots in use, removed ones included: at most 3 of 4.
const FULL: (usize, usize) = (3, 4);
const SLOTS_MIN: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_was_put_and_not_removed(steps in prop::collection::vec((any::<bool>(), 0u32..40, 0u32..8), 1..600)) {
            let (index, mut fill) = (Index::default(), Fill::default());
            let mut model: Vec<(u32, u32)> = Vec::new();
            for (is_put, hash, number) in steps {
                let hash = hash.wrapping_mul(0x2545_f491);
                let known = model.iter().position(|row| *row == (hash, number));
                match (is_put, known) {
                    (true, None) => {
                        index.insert(&mut fill, hash, number);
                        model.push((hash, number));
                    }
                    (true, Some(_)) => {}
                    (false, known) => {
                        prop_assert_eq!(index.remove(&mut fill, hash, number), known.is_some());
                        if let Some(at) = known {
                            model.remove(at);
                        }
                    }
                }
                let pin = Pin::new();
                let mut found: Vec<_> = index.find(hash, &pin).collect();
                let mut expected: Vec<_> = model.iter().filter(|row| row.0 == hash).map(|row| row.1).collect();
                found.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn an_empty_index_finds_nothing() {
        assert_eq!(Index::default().find(7, &Pin::new()).next(), None);
    }

    #[test]
    fn coming_and_going_does_not_make_it_grow() {
        let (index, mut fill) = (Index::default(), Fill::default());
        for round in 0..100_000u32 {
            index.insert(&mut fill, round.wrapping_mul(0x9e37_79b9), 1);
            assert!(index.remove(&mut fill, round.wrapping_mul(0x9e37_79b9), 1));
        }
        let pin = Pin::new();
        assert_eq!(index.slots.load(&pin).unwrap().len(), SLOTS_MIN);
    }
}
