//! All blocks of a store one after the other, as a snapshot keeps them.
//!
//! ```text
//!   for namespaces, services, slices, pods:   number 4 | length 4 | block ...   and then: END 4 | 0 4
//! ```
//! It is taken in steps between which the store goes on changing, so what comes later may name what came too early to be there. Who reads
//! it leaves that out. Services are written without the numbers of their slices, which name their service themselves.

use std::sync::atomic::Ordering;

use super::super::Kinds;
use super::super::block::{self, Keep, ServiceBlock};
use super::super::pods::Room;
use super::{Family, Writer};
use crate::kube::store::Store;
use crate::limits;
use crate::runtime::clock;
use crate::runtime::epoch::Pin;

/// What a dump says beside its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outline {
    /// What was kept of all endpoints and pods.
    pub keep: Keep,
    /// The kinds that are complete.
    pub kinds: Kinds,
    /// What keys are made with.
    pub salt: [u8; 16],
    /// See [`Store::modified_s`].
    pub modified_s: u64,
    /// See [`Store::externally_modified_s`].
    pub externally_modified_s: u64,
    /// Unix seconds at which all of it was known to be so.
    pub written_s: u64,
}

/// A dump that is being taken.
pub struct Dump {
    ends: [u32; PARTS],
    released: [u64; PARTS],
    part: usize,
    number: u32,
    scratch: Vec<u8>,
}

impl Writer {
    /// Begins a dump at that time, in seconds since 1970.
    pub fn dump(&self, now_s: u64) -> (Outline, Dump) {
        let status = &self.store.status;
        let synced = Kinds(status.synced.load(Ordering::Acquire));
        let kinds = Kinds::of_bits(synced.bits());
        // As long as nothing else was heard, what is known is as old as it was.
        let written_s = match self.store.is_restored(kinds) {
            true => status.written_s.load(Ordering::Relaxed),
            false => {
                let stale_ns = self.store.stale_ns(self.watched).unwrap_or(0);
                now_s.saturating_sub(stale_ns / clock::SECOND)
            }
        };
        let outline = Outline {
            keep: synced.keep(),
            kinds,
            salt: self.salt,
            modified_s: self.store.modified_s(),
            externally_modified_s: self.store.externally_modified_s(),
            written_s,
        };
        let dump = Dump {
            ends: self.families().map(|family| family.numbers.all().end),
            released: self.families().map(|family| family.numbers.released()),
            part: 0,
            number: 0,
            scratch: Vec::new(),
        };
        (outline, dump)
    }

    /// Whether each number stood for one object alone while the dump was taken.
    pub fn vouches_for(&self, dump: &Dump) -> bool {
        let pairs = self.families().into_iter().zip(dump.released);
        pairs
            .into_iter()
            .all(|(family, before)| family.numbers.released() - before < RESTING)
    }

    pub(super) fn families(&self) -> [&Family; PARTS] {
        [&self.namespaces, &self.services, &self.slices, &self.pods]
    }
}

impl Dump {
    /// Appends some blocks; false when there are no more.
    pub fn step(&mut self, store: &Store, out: &mut Vec<u8>) -> bool {
        let pin = Pin::new();
        let full = out.len() + limits::KUBE_SNAPSHOT_STEP_OCTETS;
        while let Some(end) = self.ends.get(self.part) {
            while self.number < *end {
                if out.len() >= full {
                    return true;
                }
                let number = self.number;
                self.number += 1;
                let mut room = Room::default();
                let Some(octets) = load(store, self.part, number, &pin, &mut room) else {
                    continue;
                };
                let octets = if self.part == SERVICES {
                    block::with_slices(&ServiceBlock::read(octets), &[], &mut self.scratch);
                    &self.scratch
                } else {
                    octets
                };
                put(out, number, octets);
            }
            put(out, END, &[]);
            self.part += 1;
            self.number = 0;
        }
        false
    }
}

/// The block of a kind with a number.
fn load<'a>(
    store: &Store,
    part: usize,
    number: u32,
    pin: &'a Pin,
    room: &'a mut Room,
) -> Option<&'a [u8]> {
    match [&store.namespaces, &store.services, &store.slices].get(part) {
        Some(shelf) => shelf.load(number, pin),
        None => store.pods.load(number, pin, room),
    }
}

fn put(out: &mut Vec<u8>, number: u32, octets: &[u8]) {
    out.extend(number.to_le_bytes());
    out.extend((octets.len() as u32).to_le_bytes());
    out.extend(octets);
}

/// Kinds of blocks: namespaces, services, slices, pods.
pub(super) const PARTS: usize = 4;
pub(super) const SERVICES: usize = 1;
/// Instead of a number, behind the last block of a part.
pub(super) const END: u32 = u32::MAX;
/// Numbers that may come free during a dump: none of them is used again before as many others did.
const RESTING: u64 = limits::KUBE_NUMBERS_RESTING as u64;

const _: () = assert!(END > limits::KUBE_OBJECTS);
