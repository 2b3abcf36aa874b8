//! A dump taken back into an empty store. It is looked at twice: first every block of it, then the store is filled.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::block::{self, Keep, PodBlock, ServiceBlock, SliceBlock, check};
use super::super::pods::Room;
use super::super::{Kinds, ip_hash, name_hash, service_hash};
use super::dump::{END, Outline, PARTS};
use super::{Family, Writer, hashes};
use crate::kube::record::{Kind, Sink};
use crate::limits;
use crate::runtime::epoch::Pin;

/// Why a dump was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Something is known already, which is newer.
    #[error("the cluster is known already")]
    Known,
    /// It contradicts itself.
    #[error("it makes no sense")]
    Senseless,
}

impl Writer {
    /// Takes back all of a dump, or nothing.
    ///
    /// # Errors
    /// Why nothing has changed.
    pub fn restore(&mut self, outline: &Outline, body: &[u8]) -> Result<(), Refused> {
        let is_new = self.families().iter().all(|family| family.is_new());
        if !is_new || self.store.status.synced.load(Ordering::Acquire) != 0 {
            return Err(Refused::Known);
        }
        let parts = cut(body).ok_or(Refused::Senseless)?;
        // Under it each of half a million pins is a counter and no fence.
        let _pin = Pin::new();
        self.salt = outline.salt;
        let [namespaces, services, slices, pods] = parts;
        self.restore_namespaces(namespaces);
        let pairs = self.restore_services(services, slices);
        self.restore_slices(slices, pairs);
        self.restore_pods(pods);
        for number in 0..namespaces.used {
            self.forget_namespace(number);
        }
        let status = &self.store.status;
        for (cell, value) in [
            (&status.modified_s, outline.modified_s),
            (&status.externally_modified_s, outline.externally_modified_s),
            (&status.written_s, outline.written_s),
        ] {
            cell.store(value, Ordering::Release);
        }
        let kinds = outline.kinds;
        status.restored.store(kinds.bits(), Ordering::Release);
        let synced = kinds.with(outline.keep);
        status.synced.store(synced.bits(), Ordering::Release);
        Ok(())
    }

    /// Forgets all objects of a kind that nobody watches any more.
    pub fn forget(&mut self, kind: Kind) {
        let list = &mut self.lists[kind as usize];
        *list = list.wrapping_add(1);
        let mut goes_on = self.begin_sweep(kind);
        while goes_on {
            goes_on = self.sweep(kind);
        }
        let gone = Kinds::NONE.and(kind).with(Keep::ALL);
        let status = &self.store.status;
        status.lost_ns[kind as usize].store(0, Ordering::Release);
        for bits in [&status.synced, &status.restored, &status.live] {
            bits.fetch_and(!gone.bits(), Ordering::AcqRel);
        }
    }

    fn restore_namespaces(&mut self, part: Part<'_>) {
        let store = Arc::clone(&self.store);
        self.tenants = vec![0; part.used as usize];
        let fill = &mut self.fills.namespaces;
        store.namespace_index.reserve(fill, part.count);
        for (number, octets) in part.blocks() {
            let Some((exists, name)) = octets.split_first() else {
                continue;
            };
            store.namespaces.replace(number, octets);
            store
                .namespace_index
                .insert(fill, name_hash(name, 0), number);
            self.namespaces.len += usize::from(*exists != 0);
        }
        self.namespaces.resume(part.used, |number| {
            store.namespaces.load(number, &Pin::new()).is_some()
        });
    }

    /// Puts the services and returns the slices that each has, as pairs of their numbers in order.
    fn restore_services(&mut self, part: Part<'_>, slices: Part<'_>) -> Vec<(u32, u32)> {
        let store = Arc::clone(&self.store);
        let pin = Pin::new();
        let has_namespace = |number: u32| store.namespaces.load(number, &pin).is_some();
        // By number, the namespace of the service.
        let mut homes: Vec<Option<u32>> = vec![None; part.used as usize];
        for (number, octets) in part.blocks() {
            let namespace = ServiceBlock::read(octets).namespace;
            if let Some(home) = homes.get_mut(number as usize) {
                *home = Some(namespace).filter(|namespace| has_namespace(*namespace));
            }
        }
        let own = slices.blocks().filter_map(|(number, octets)| {
            let slice = SliceBlock::read(octets);
            let home = homes.get(slice.service as usize).copied().flatten()?;
            (home == slice.namespace).then_some((slice.service, number))
        });
        let mut pairs: Vec<(u32, u32)> = own.collect();
        pairs.sort_unstable();
        self.reserve_services(part.count);
        let (mut rest, mut numbers) = (&pairs[..], Vec::new());
        for (number, octets) in part.blocks() {
            // Both are in the order of the services, and a slice is only here if its service is.
            let behind = rest.partition_point(|pair| pair.0 <= number);
            let (own, others) = rest.split_at(behind);
            rest = others;
            numbers.clear();
            let few = own.iter().take(limits::KUBE_SERVICE_SLICES);
            numbers.extend(few.flat_map(|pair| pair.1.to_le_bytes()));
            if homes.get(number as usize).copied().flatten().is_some() {
                self.restore_service(number, &ServiceBlock::read(octets), &numbers);
            }
        }
        self.services.resume(part.used, |number| {
            store.services.load(number, &Pin::new()).is_some()
        });
        pairs
    }

    fn reserve_services(&mut self, count: usize) {
        let (store, fills) = (&self.store, &mut self.fills);
        store.service_index.reserve(&mut fills.services, count);
        store.service_ips.reserve(&mut fills.service_ips, count);
    }

    fn restore_service(&mut self, number: u32, block: &ServiceBlock<'_>, slices: &[u8]) {
        if !block.is_present() && slices.is_empty() {
            return;
        }
        block::with_slices(block, slices, &mut self.scratch);
        let store = Arc::clone(&self.store);
        store.services.replace(number, &self.scratch);
        let hash = service_hash(block.namespace, block.name, block.is_imported());
        let fills = &mut self.fills;
        store
            .service_index
            .insert(&mut fills.services, hash, number);
        if block.is_present() {
            self.services.len += 1;
            self.imports += usize::from(block.is_imported());
            for ip in block.cluster_ips().filter(|_| !block.is_imported()) {
                let fill = &mut fills.service_ips;
                store.service_ips.insert(fill, ip_hash(ip), number);
            }
            for ip in block.external_ips() {
                let fill = &mut fills.external_ips;
                store.external_ips.insert(fill, ip_hash(ip), number);
            }
        }
        self.add_tenant(block.namespace);
    }

    fn restore_slices(&mut self, part: Part<'_>, pairs: Vec<(u32, u32)>) {
        let store = Arc::clone(&self.store);
        let fills = &mut self.fills;
        store
            .endpoint_ips
            .reserve(&mut fills.endpoint_ips, part.items);
        self.slice_keys.reserve(&mut fills.slice_keys, pairs.len());
        let mut is_kept = vec![false; part.used as usize];
        for of_service in pairs.chunk_by(|one, other| one.0 == other.0) {
            for (_, number) in of_service.iter().take(limits::KUBE_SERVICE_SLICES) {
                if let Some(is_kept) = is_kept.get_mut(*number as usize) {
                    *is_kept = true;
                }
            }
        }
        let is_kept = |number: u32| is_kept.get(number as usize) == Some(&true);
        for (number, octets) in part.blocks().filter(|(number, _)| is_kept(*number)) {
            let block = SliceBlock::read(octets);
            store.slices.replace(number, octets);
            for ip in block.ips() {
                let fill = &mut fills.endpoint_ips;
                store.endpoint_ips.insert(fill, ip_hash(ip), number);
            }
            for hash in hashes(&block) {
                let fill = &mut fills.endpoint_names;
                store.endpoint_names.insert(fill, hash, number);
            }
            let fill = &mut fills.slice_keys;
            self.slice_keys.insert(fill, block.key as u32, number);
            self.slices.len += 1;
        }
        self.slices.resume(part.used, is_kept);
    }

    fn restore_pods(&mut self, part: Part<'_>) {
        let store = Arc::clone(&self.store);
        let fills = &mut self.fills;
        store.pod_ips.reserve(&mut fills.pod_ips, part.items);
        self.pod_keys.reserve(&mut fills.pod_keys, part.count);
        for (number, octets) in part.blocks() {
            let block = PodBlock::read(octets);
            if store
                .namespaces
                .load(block.namespace, &Pin::new())
                .is_none()
            {
                continue;
            }
            store.pods.replace(number, octets);
            let fills = &mut self.fills;
            for ip in block.ips() {
                store
                    .pod_ips
                    .insert(&mut fills.pod_ips, ip_hash(ip), number);
            }
            self.pod_keys
                .insert(&mut fills.pod_keys, block.key as u32, number);
            self.add_tenant(block.namespace);
            self.pods.len += 1;
        }
        self.pods.resume(part.used, |number| {
            let pin = Pin::new();
            store
                .pods
                .load(number, &pin, &mut Room::default())
                .is_some()
        });
    }
}

impl Family {
    fn is_new(&self) -> bool {
        self.numbers.all().end == 0
    }

    fn resume(&mut self, used: u32, is_taken: impl Fn(u32) -> bool) {
        self.numbers
            .resume(used, (0..used).filter(|number| !is_taken(*number)));
        self.stamps = vec![0; used as usize];
    }
}

// === what a dump is cut into ===

/// Says how many addresses a block is found by, if it makes sense.
type Check = fn(&[u8]) -> Option<usize>;

/// The blocks of one part, all of which make sense for themselves.
#[derive(Clone, Copy)]
struct Part<'a> {
    octets: &'a [u8],
    count: usize,
    /// Addresses of endpoints or pods.
    items: usize,
    /// One more than the highest number.
    used: u32,
}

impl<'a> Part<'a> {
    /// In the order of their numbers.
    fn blocks(self) -> impl Iterator<Item = (u32, &'a [u8])> {
        let mut rest = self.octets;
        std::iter::from_fn(move || take(&mut rest))
    }
}

/// Checks the parts of a dump; `None` if a block makes no sense or there is more or less than these parts.
fn cut(body: &[u8]) -> Option<[Part<'_>; PARTS]> {
    let checks: [Check; PARTS] = [check::namespace, check::service, check::slice, check::pod];
    let mut rest = body;
    let mut parts = [Part {
        octets: &[],
        count: 0,
        items: 0,
        used: 0,
    }; PARTS];
    for (part, check) in parts.iter_mut().zip(checks) {
        let start = rest;
        loop {
            let before = rest;
            let (number, octets) = take(&mut rest)?;
            if number == END {
                octets.is_empty().then_some(())?;
                part.octets = &start[..start.len() - before.len()];
                break;
            }
            // Numbers rise, so no block is there twice.
            (number >= part.used && number < limits::KUBE_OBJECTS).then_some(())?;
            part.used = number + 1;
            part.count += 1;
            part.items += check(octets)?;
        }
    }
    rest.is_empty().then_some(parts)
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    let (number, behind) = rest.split_first_chunk()?;
    let (len, behind) = behind.split_first_chunk()?;
    let (octets, behind) = behind.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *rest = behind;
    Some((u32::from_le_bytes(*number), octets))
}
