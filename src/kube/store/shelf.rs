//! Blocks of octets by number, in places that never move: a reader may hold a number while the shelf grows.

use std::collections::VecDeque;
use std::sync::OnceLock;

use crate::limits;
use crate::runtime::Zeroed;
use crate::runtime::epoch::{Octets, Pin};

/// What readers see.
#[derive(Default)]
pub(super) struct Shelf {
    /// The nth row has `FIRST << n` places.
    rows: [OnceLock<Zeroed<Octets>>; ROWS],
}

/// Which places are free; the writer's.
#[derive(Default)]
pub(super) struct Numbers {
    /// Numbers below this one were given out once.
    used: u32,
    /// In the order in which they came free. A number is used again only after many others were, since a reader may still hold it.
    free: VecDeque<u32>,
    /// Numbers that came free so far.
    released: u64,
}

impl Shelf {
    #[inline]
    pub(super) fn load<'p>(&self, number: u32, pin: &'p Pin) -> Option<&'p [u8]> {
        let (row, at) = place(number);
        self.rows.get(row)?.get()?.get(at)?.load(pin)
    }

    pub(super) fn replace(&self, number: u32, octets: &[u8]) {
        if let Some(place) = self.place_mut(number) {
            place.replace(octets);
        }
    }

    pub(super) fn clear(&self, number: u32) {
        let (row, at) = place(number);
        let row = self.rows.get(row).and_then(OnceLock::get);
        if let Some(place) = row.and_then(|row| row.get(at)) {
            place.clear();
        }
    }

    fn place_mut(&self, number: u32) -> Option<&Octets> {
        let (row, at) = place(number);
        let new_row = || Zeroed::new(FIRST << row);
        self.rows.get(row)?.get_or_init(new_row).get(at)
    }
}

impl Numbers {
    /// A number that nothing has; `None` when all are taken.
    pub(super) fn take(&mut self) -> Option<u32> {
        if self.free.len() > limits::KUBE_NUMBERS_RESTING {
            return self.free.pop_front();
        }
        if self.used < limits::KUBE_OBJECTS {
            self.used += 1;
            return Some(self.used - 1);
        }
        self.free.pop_front()
    }

    pub(super) fn give_back(&mut self, number: u32) {
        self.released += 1;
        self.free.push_back(number);
    }

    /// Numbers that came free so far. While fewer than `limits::KUBE_NUMBERS_RESTING` do, none is given out for the second time.
    pub(super) fn released(&self) -> u64 {
        self.released
    }

    /// Makes all numbers below `used` count as given out, but for the `free` ones.
    pub(super) fn resume(&mut self, used: u32, free: impl Iterator<Item = u32>) {
        self.used = used.min(limits::KUBE_OBJECTS);
        self.free.extend(free);
    }

    /// All numbers that may be in use.
    pub(super) fn all(&self) -> std::ops::Range<u32> {
        0..self.used
    }
}

/// Row and place in it.
#[inline]
pub(super) fn place(number: u32) -> (usize, usize) {
    // Rows begin at FIRST * (2^n - 1).
    let scaled = number / FIRST as u32 + 1;
    let row = scaled.ilog2() as usize;
    let start = FIRST * ((1 << row) - 1);
    (row, number as usize - start)
}

/// Places of the first row.
pub(super) const FIRST: usize = 256;
/// So many that the last place is beyond all numbers.
pub(super) const ROWS: usize = 16;

const _: () = assert!(FIRST * ((1 << ROWS) - 1) >= limits::KUBE_OBJECTS as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_dense_and_distinct() {
        let mut next = (0, 0);
        for number in 0..FIRST as u32 * 20 {
            assert_eq!(place(number), next);
            next = match next.1 + 1 == FIRST << next.0 {
                true => (next.0 + 1, 0),
                false => (next.0, next.1 + 1),
            };
        }
        assert!(place(limits::KUBE_OBJECTS - 1).0 < ROWS);
    }

    #[test]
    fn blocks_come_and_go() {
        let (shelf, pin) = (Shelf::default(), Pin::new());
        assert_eq!(shelf.load(1_000, &pin), None);
        shelf.replace(1_000, b"abc");
        assert_eq!(shelf.load(1_000, &pin), Some(&b"abc"[..]));
        assert_eq!(shelf.load(999, &pin), None);
        shelf.clear(1_000);
        assert_eq!(shelf.load(1_000, &pin), None);
        assert_eq!(shelf.load(u32::MAX, &pin), None);
    }

    #[test]
    fn a_number_rests_before_it_is_used_again() {
        let mut numbers = Numbers::default();
        let first = numbers.take().unwrap();
        numbers.give_back(first);
        assert_ne!(numbers.take(), Some(first));
        for number in 1_000_000..1_000_000 + limits::KUBE_NUMBERS_RESTING as u32 {
            numbers.give_back(number);
        }
        assert_eq!(numbers.take(), Some(first));
    }
}
