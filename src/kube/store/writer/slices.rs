//! Slices of endpoints, and what leads to them.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::super::block::{self, Head, SliceBlock};
use super::super::ip_hash;
use super::{NO_NUMBER, Writer, hashes};
use crate::kube::record::{self, Kind};
use crate::limits;
use crate::runtime::epoch::Pin;

impl Writer {
    /// Of an object by its names; two of 64 bits are equal for one pair in 2^64. A snapshot keeps keys and not names, so it takes a hash that
    /// the next process computes alike.
    pub(super) fn key(&self, namespace: &str, name: &str) -> u64 {
        let mut sum = Sha256::new_with_prefix(self.salt);
        sum.update(namespace);
        sum.update([0]);
        sum.update(name);
        let sum: [u8; 32] = sum.finalize().into();
        sum.first_chunk()
            .map_or(0, |head| u64::from_le_bytes(*head))
    }

    pub(super) fn find_slice(&self, key: u64) -> Option<u32> {
        let pin = Pin::new();
        let mut found = self.slice_keys.find(key as u32, &pin);
        found.find(|number| {
            let block = self.store.slices.load(*number, &pin).map(SliceBlock::read);
            block.is_some_and(|block| block.key == key)
        })
    }

    pub(super) fn put_slice(&mut self, slice: &record::Slice) {
        let key = self.key(&slice.namespace, &slice.name);
        let known = self.find_slice(key);
        if slice.service.is_empty() {
            // It belonged to a service and does not any more.
            known
                .into_iter()
                .for_each(|number| self.remove_slice(number));
            return;
        }
        let place = [&*slice.namespace, &*slice.name];
        if slice.endpoints.len() > limits::KUBE_SLICE_ENDPOINTS {
            self.refuse(Kind::Slice, &place, "it has too many endpoints");
        }
        let Some(namespace) = self.namespace(&slice.namespace) else {
            return self.refuse(Kind::Slice, &place, NO_NUMBER);
        };
        let head = Head {
            namespace,
            name: slice.service.as_bytes(),
            is_imported: slice.is_imported,
        };
        let Some(service) = self.service(&head) else {
            return self.refuse(Kind::Slice, &place, NO_NUMBER);
        };
        let number = match known {
            Some(number) if self.slice_service(number) == Some(service) => number,
            known => {
                known
                    .into_iter()
                    .for_each(|number| self.remove_slice(number));
                match self.new_slice(namespace, service, key) {
                    Ok(number) => number,
                    Err(reason) => {
                        self.forget_service(service);
                        return self.refuse(Kind::Slice, &place, reason);
                    }
                }
            }
        };
        self.slices.mark(number, self.lists[Kind::Slice as usize]);
        if self.write_slice(number, slice, (namespace, service, key)) {
            self.count_delay(service, slice);
        }
    }

    pub(super) fn slice_service(&self, number: u32) -> Option<u32> {
        let pin = Pin::new();
        let octets = self.store.slices.load(number, &pin)?;
        Some(SliceBlock::read(octets).service)
    }

    /// A slice with nothing in it, which its service knows of; or why there is none.
    pub(super) fn new_slice(
        &mut self,
        namespace: u32,
        service: u32,
        key: u64,
    ) -> Result<u32, &'static str> {
        let number = self.slices.take().ok_or(NO_NUMBER)?;
        let empty = record::Slice::default();
        block::write_slice(
            &mut self.scratch,
            &empty,
            (namespace, service, key),
            self.keep,
        );
        self.store.slices.replace(number, &self.scratch);
        if !self.attach(service, number) {
            self.store.slices.clear(number);
            self.slices.numbers.give_back(number);
            return Err("its service has too many slices");
        }
        self.slice_keys
            .insert(&mut self.fills.slice_keys, key as u32, number);
        self.slices.len += 1;
        Ok(number)
    }

    /// Publishes the slice if it is not as it was, and says whether it did.
    pub(super) fn write_slice(
        &mut self,
        number: u32,
        slice: &record::Slice,
        place: (u32, u32, u64),
    ) -> bool {
        let pin = Pin::new();
        let store = Arc::clone(&self.store);
        let Some(old_octets) = store.slices.load(number, &pin) else {
            return false;
        };
        let old = SliceBlock::read(old_octets);
        block::write_slice(&mut self.scratch, slice, place, self.keep);
        if self.scratch == old_octets {
            return false;
        }
        let new = SliceBlock::read(&self.scratch);
        // Readers verify at the block, so what leads to it is put first and taken away last.
        let fills = &mut self.fills;
        for ip in new.ips().filter(|ip| old.at(*ip).next().is_none()) {
            store
                .endpoint_ips
                .insert(&mut fills.endpoint_ips, ip_hash(ip), number);
        }
        let (old_names, new_names) = (hashes(&old), hashes(&new));
        for hash in new_names
            .iter()
            .filter(|hash| old_names.binary_search(hash).is_err())
        {
            store
                .endpoint_names
                .insert(&mut fills.endpoint_names, *hash, number);
        }
        store.slices.replace(number, &self.scratch);
        for ip in old.ips().filter(|ip| new.at(*ip).next().is_none()) {
            store
                .endpoint_ips
                .remove(&mut fills.endpoint_ips, ip_hash(ip), number);
        }
        for hash in old_names
            .iter()
            .filter(|hash| new_names.binary_search(hash).is_err())
        {
            store
                .endpoint_names
                .remove(&mut fills.endpoint_names, *hash, number);
        }
        self.changed(false);
        true
    }

    pub(super) fn remove_slice(&mut self, number: u32) {
        self.remove_slices(&[number]);
    }

    pub(super) fn remove_slices(&mut self, numbers: &[u32]) {
        let pin = Pin::new();
        let store = Arc::clone(&self.store);
        let mut gone: Vec<(u32, u32, u64)> = Vec::with_capacity(numbers.len());
        for number in numbers {
            let Some(octets) = store.slices.load(*number, &pin) else {
                continue;
            };
            let old = SliceBlock::read(octets);
            let place = (old.namespace, old.service, old.key);
            self.write_slice(*number, &record::Slice::default(), place);
            gone.push((old.service, *number, old.key));
        }
        gone.sort_unstable();
        for of_service in gone.chunk_by(|one, other| one.0 == other.0) {
            let numbers: Vec<u32> = of_service.iter().map(|(_, number, _)| *number).collect();
            of_service
                .first()
                .into_iter()
                .for_each(|(service, ..)| self.detach(*service, &numbers));
        }
        for (_, number, key) in gone {
            store.slices.clear(number);
            self.slice_keys
                .remove(&mut self.fills.slice_keys, key as u32, number);
            self.slices.numbers.give_back(number);
            self.slices.len -= 1;
        }
    }
}
