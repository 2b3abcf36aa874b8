//! Slots that are reused, named by keys that are not: a key of a freed slot finds nothing.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

/// Names one value of a [`Slab`]: slot in the low half, generation in the high half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl Key {
    fn new(slot: usize, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | slot as u64)
    }

    /// The key as the 64 bits that the kernel hands back with an event.
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    /// The key that [`Key::to_bits`] was called on.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    fn slot(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Values in reusable slots; at most `bound` of them.
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    bound: usize,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    /// An empty slab for at most `bound <= u32::MAX` values.
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            bound,
        }
    }

    /// Stores a value; hands it back when the slab is full.
    pub(crate) fn insert(&mut self, value: T) -> Result<Key, T> {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.slots[slot as usize];
            entry.value = Some(value);
            return Ok(Key::new(slot as usize, entry.generation));
        }
        if self.slots.len() >= self.bound {
            return Err(value);
        }
        self.slots.push(Slot {
            generation: 0,
            value: Some(value),
        });
        Ok(Key::new(self.slots.len() - 1, 0))
    }

    /// The value of a key that is still in use.
    pub(crate) fn value_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.slots.get_mut(key.slot())?;
        if entry.generation != key.generation() {
            return None;
        }
        entry.value.as_mut()
    }

    /// Takes the value out and frees its slot.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.slots.get_mut(key.slot())?;
        if entry.generation != key.generation() {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        // A slot whose generations are used up would repeat old keys, so it is given up: once in 2^32 uses.
        if entry.generation != 0 {
            self.free.push(key.slot() as u32);
        }
        Some(value)
    }

    /// Takes every value out.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        let keys: Vec<Key> = (0..self.slots.len())
            .map(|slot| Key::new(slot, self.slots[slot].generation))
            .collect();
        keys.into_iter()
            .filter_map(|key| self.remove(key))
            .collect()
    }

    /// How many values are stored.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_freed_slot_finds_nothing() {
        let mut slab = Slab::new(4);
        let first = slab.insert('a').unwrap();
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b').unwrap();
        assert_ne!(first, second);
        assert_eq!(slab.value_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.value_mut(second), Some(&mut 'b'));
        assert_eq!(Key::from_bits(second.to_bits()), second);
    }

    #[test]
    fn a_full_slab_hands_the_value_back() {
        let mut slab = Slab::new(2);
        let first = slab.insert(1).unwrap();
        slab.insert(2).unwrap();
        assert_eq!(slab.insert(3), Err(3));
        slab.remove(first);
        assert_eq!(slab.len(), 1);
        assert!(slab.insert(3).is_ok());
        let mut all = slab.drain();
        all.sort_unstable();
        assert_eq!(all, [2, 3]);
        assert_eq!(slab.len(), 0);
    }
}
