//! The one who writes: it turns what a watcher hears into blocks, and publishes those that differ from what is there.
//!
//! A list marks what it names with its stamp; what has an older one when the list ends is gone. So a relist of an unchanged cluster
//! changes nothing, and takes no memory but for one object at a time.

mod dump;
mod lists;
mod restore;
mod slices;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::RngExt;
use rand::rngs::StdRng;

use self::lists::{Outage, Programming};
use super::block::{self, Body, Head, Keep, PodBlock, ServiceBlock, SliceBlock};
use super::index::{Fill, Index};
use super::pods::Room;
use super::shelf::Numbers;
use super::{KINDS, Kinds, Namespace, Store, ip_hash, name_hash, service_hash};
use crate::kube::decode::Refusals;
use crate::kube::record::{self, Kind};
use crate::limits;
use crate::runtime::clock;
use crate::runtime::epoch::Pin;
use crate::telemetry::metrics::registry;

pub use dump::{Dump, Outline};
pub use restore::Refused;

/// Writes one store.
pub struct Writer {
    store: Arc<Store>,
    keep: Keep,
    namespaces: Family,
    services: Family,
    /// Of the services, those of the cluster set.
    imports: usize,
    slices: Family,
    pods: Family,
    /// Blocks that name the namespace, by its number.
    tenants: Vec<u32>,
    /// Counts the lists of each kind.
    lists: [u32; KINDS],
    fills: Fills,
    slice_keys: Index,
    pod_keys: Index,
    /// A block in the making.
    scratch: Vec<u8>,
    /// What keys of slices and pods are made with, since those who name objects should not be able to name two alike.
    salt: [u8; 16],
    /// Objects that the list in hand of each kind named.
    named: [u32; KINDS],
    /// Kinds of which every cluster has some.
    never_empty: Kinds,
    /// Kinds that the watcher follows.
    watched: Kinds,
    /// What was kept when the list in hand of each kind began.
    listed: [Keep; KINDS],
    /// The number at which the sweep after the last list of each kind goes on; `u32::MAX` where it is over.
    swept: [u32; KINDS],
    /// What was not taken for want of room.
    refusals: [Refusals; KINDS],
    outage: Outage,
    programming: Programming,
}

/// The numbers of one kind of blocks.
#[derive(Default)]
struct Family {
    numbers: Numbers,
    /// The list that named the block last, by number.
    stamps: Vec<u32>,
    /// Objects that are there.
    len: usize,
}

#[derive(Default)]
struct Fills {
    namespaces: Fill,
    services: Fill,
    service_ips: Fill,
    external_ips: Fill,
    endpoint_ips: Fill,
    endpoint_names: Fill,
    slice_keys: Fill,
    pod_ips: Fill,
    pod_keys: Fill,
}

impl Family {
    fn take(&mut self) -> Option<u32> {
        let number = self.numbers.take()?;
        let len = (number as usize + 1).max(self.stamps.len());
        self.stamps.resize(len, 0);
        Some(number)
    }

    fn mark(&mut self, number: u32, list: u32) {
        if let Some(stamp) = self.stamps.get_mut(number as usize) {
            *stamp = list;
        }
    }

    fn is_unmarked(&self, number: u32, list: u32) -> bool {
        self.stamps
            .get(number as usize)
            .is_some_and(|stamp| *stamp != list)
    }
}

impl Writer {
    /// A writer of an empty store; there must be no other.
    pub fn new(store: Arc<Store>, keep: Keep) -> Writer {
        Writer {
            store,
            keep,
            namespaces: Family::default(),
            services: Family::default(),
            imports: 0,
            slices: Family::default(),
            pods: Family::default(),
            tenants: Vec::new(),
            lists: [0; KINDS],
            fills: Fills::default(),
            slice_keys: Index::default(),
            pod_keys: Index::default(),
            scratch: Vec::new(),
            salt: rand::make_rng::<StdRng>().random(),
            named: [0; KINDS],
            never_empty: Kinds::BASE,
            watched: Kinds::BASE,
            listed: [Keep::default(); KINDS],
            swept: [u32::MAX; KINDS],
            refusals: Kind::ALL.map(Refusals::new),
            outage: Outage::default(),
            programming: Programming::counted_in(registry()),
        }
    }

    /// The store.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What of endpoints and pods is kept from now on. What came before has it after the next list.
    pub fn set_keep(&mut self, keep: Keep) {
        self.keep = keep;
    }

    /// What is kept.
    pub fn keep(&self) -> Keep {
        self.keep
    }

    /// Objects of a kind that are there.
    pub fn len(&self, kind: Kind) -> usize {
        match kind {
            Kind::Namespace => self.namespaces.len,
            Kind::Service => self.services.len - self.imports,
            Kind::Import => self.imports,
            Kind::Slice => self.slices.len,
            Kind::Pod => self.pods.len,
        }
    }

    /// Which kinds the watcher follows: the server is there while their watches are up.
    pub fn set_watched(&mut self, watched: Kinds) {
        self.watched = watched;
    }

    /// See [`Writer::set_watched`].
    pub fn watched(&self) -> Kinds {
        self.watched
    }

    /// Of which kinds an empty list is no reason to forget what is known; all of [`Kinds::BASE`] at first. A selection may be empty.
    pub fn set_never_empty(&mut self, kinds: Kinds) {
        self.never_empty = kinds;
    }

    fn changed(&self, is_external: bool) {
        let status = &self.store.status;
        status.modified_s.store(clock::wall_s(), Ordering::Relaxed);
        if is_external {
            status
                .externally_modified_s
                .store(clock::wall_s(), Ordering::Relaxed);
        }
        status.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts and tells what there is no room for.
    fn refuse(&mut self, kind: Kind, place: &[&str; 2], reason: &str) {
        let name = place.join("/");
        self.refusals[kind as usize].note(name.trim_start_matches('/'), reason);
    }

    // === namespaces ===

    /// The number of the name, taken now if it has none. Whoever keeps it counts as a tenant.
    fn namespace(&mut self, name: &str) -> Option<u32> {
        if let Some(number) = self.find_namespace(name) {
            return Some(number);
        }
        let number = self.namespaces.take()?;
        let len = self.namespaces.stamps.len();
        self.tenants.resize(len, 0);
        self.tenants[number as usize] = 0;
        self.write_namespace(number, name.as_bytes(), false);
        let hash = name_hash(name.as_bytes(), 0);
        self.store
            .namespace_index
            .insert(&mut self.fills.namespaces, hash, number);
        Some(number)
    }

    fn find_namespace(&self, name: &str) -> Option<u32> {
        let pin = Pin::new();
        let mut found = self
            .store
            .namespace_index
            .find(name_hash(name.as_bytes(), 0), &pin);
        found.find(|number| {
            let block = self.store.namespaces.load(*number, &pin);
            block.and_then(|block| block.get(1..)) == Some(name.as_bytes())
        })
    }

    fn write_namespace(&self, number: u32, name: &[u8], exists: bool) {
        let mut block = Vec::with_capacity(1 + name.len());
        block.push(u8::from(exists));
        block.extend(name);
        self.store.namespaces.replace(number, &block);
    }

    fn exists(&self, number: u32) -> bool {
        let pin = Pin::new();
        let block = self.store.namespaces.load(number, &pin);
        block
            .and_then(<[u8]>::first)
            .is_some_and(|exists| *exists != 0)
    }

    fn put_namespace(&mut self, name: &str) {
        let Some(number) = self.namespace(name) else {
            return self.refuse(Kind::Namespace, &["", name], NO_NUMBER);
        };
        self.namespaces
            .mark(number, self.lists[Kind::Namespace as usize]);
        if !self.exists(number) {
            self.write_namespace(number, name.as_bytes(), true);
            self.namespaces.len += 1;
            self.changed(false);
        }
    }

    fn remove_namespace(&mut self, number: u32) {
        if !self.exists(number) {
            return;
        }
        let pin = Pin::new();
        let name = self.store.view(&pin).namespace_name(Namespace(number));
        self.write_namespace(number, name, false);
        self.namespaces.len -= 1;
        self.changed(false);
        self.forget_namespace(number);
    }

    fn add_tenant(&mut self, namespace: u32) {
        if let Some(tenants) = self.tenants.get_mut(namespace as usize) {
            *tenants += 1;
        }
    }

    fn drop_tenant(&mut self, namespace: u32) {
        if let Some(tenants) = self.tenants.get_mut(namespace as usize) {
            *tenants = tenants.saturating_sub(1);
        }
        self.forget_namespace(namespace);
    }

    /// Lets the number go if nothing needs it any more.
    fn forget_namespace(&mut self, number: u32) {
        if self.tenants.get(number as usize) != Some(&0) || self.exists(number) {
            return;
        }
        let pin = Pin::new();
        let name = self.store.view(&pin).namespace_name(Namespace(number));
        let hash = name_hash(name, 0);
        if self
            .store
            .namespace_index
            .remove(&mut self.fills.namespaces, hash, number)
        {
            self.store.namespaces.clear(number);
            self.namespaces.numbers.give_back(number);
        }
    }

    // === services ===

    fn find_service(&self, namespace: u32, name: &[u8], is_imported: bool) -> Option<u32> {
        let pin = Pin::new();
        let mut found = self
            .store
            .service_index
            .find(service_hash(namespace, name, is_imported), &pin);
        found.find(|number| {
            let block = self
                .store
                .services
                .load(*number, &pin)
                .map(ServiceBlock::read);
            block.is_some_and(|block| {
                block.namespace == namespace
                    && block.name == name
                    && block.is_imported() == is_imported
            })
        })
    }

    /// The number of the service, made now with nothing in it if there is none.
    fn service(&mut self, head: &Head<'_>) -> Option<u32> {
        if let Some(number) = self.find_service(head.namespace, head.name, head.is_imported) {
            return Some(number);
        }
        let number = self.services.take()?;
        block::write_service(&mut self.scratch, head, None, &[]);
        self.store.services.replace(number, &self.scratch);
        let hash = service_hash(head.namespace, head.name, head.is_imported);
        self.store
            .service_index
            .insert(&mut self.fills.services, hash, number);
        self.add_tenant(head.namespace);
        Some(number)
    }

    fn put_service(&mut self, place: [&str; 2], is_imported: bool, body: &Body<'_>) {
        let kind = if is_imported {
            Kind::Import
        } else {
            Kind::Service
        };
        let [namespace, name] = place;
        let Some(namespace) = self.namespace(namespace) else {
            return self.refuse(kind, &place, NO_NUMBER);
        };
        let head = Head {
            namespace,
            name: name.as_bytes(),
            is_imported,
        };
        let Some(number) = self.service(&head) else {
            return self.refuse(kind, &place, NO_NUMBER);
        };
        self.services.mark(number, self.lists[kind as usize]);
        self.write_service(number, &head, Some(body));
    }

    /// Publishes the service if it is not as it was.
    fn write_service(&mut self, number: u32, head: &Head<'_>, body: Option<&Body<'_>>) {
        let pin = Pin::new();
        let store = Arc::clone(&self.store);
        let Some(old_octets) = store.services.load(number, &pin) else {
            return;
        };
        let old = ServiceBlock::read(old_octets);
        block::write_service(&mut self.scratch, head, body, old.slices);
        if self.scratch == old_octets {
            return;
        }
        let new = ServiceBlock::read(&self.scratch);
        self.services.len += usize::from(new.is_present());
        self.services.len -= usize::from(old.is_present());
        if head.is_imported {
            self.imports += usize::from(new.is_present());
            self.imports -= usize::from(old.is_present());
        }
        // Those of the cluster set are not found by address.
        let most = if head.is_imported { 0 } else { usize::MAX };
        let (old_ips, new_ips) = (old.cluster_ips().take(most), new.cluster_ips().take(most));
        let (old_ways, new_ways) = (old.external_ips(), new.external_ips());
        let fills = &mut self.fills;
        for ip in without(new_ips.clone(), &old_ips) {
            store
                .service_ips
                .insert(&mut fills.service_ips, ip_hash(ip), number);
        }
        for ip in without(new_ways.clone(), &old_ways) {
            store
                .external_ips
                .insert(&mut fills.external_ips, ip_hash(ip), number);
        }
        store.services.replace(number, &self.scratch);
        for ip in without(old_ips, &new_ips) {
            store
                .service_ips
                .remove(&mut fills.service_ips, ip_hash(ip), number);
        }
        for ip in without(old_ways, &new_ways) {
            store
                .external_ips
                .remove(&mut fills.external_ips, ip_hash(ip), number);
        }
        let is_external = !old.externals().eq(new.externals());
        self.changed(is_external);
        self.forget_service(number);
    }

    fn remove_service(&mut self, number: u32) {
        let pin = Pin::new();
        let store = Arc::clone(&self.store);
        let Some(octets) = store.services.load(number, &pin) else {
            return;
        };
        let old = ServiceBlock::read(octets);
        let head = Head {
            namespace: old.namespace,
            name: old.name,
            is_imported: old.is_imported(),
        };
        self.write_service(number, &head, None);
    }

    /// Takes the block away if neither the service nor a slice of it is left.
    fn forget_service(&mut self, number: u32) {
        let pin = Pin::new();
        let store = Arc::clone(&self.store);
        let Some(octets) = store.services.load(number, &pin) else {
            return;
        };
        let block = ServiceBlock::read(octets);
        if block.is_present() || !block.slices.is_empty() {
            return;
        }
        let hash = service_hash(block.namespace, block.name, block.is_imported());
        store
            .service_index
            .remove(&mut self.fills.services, hash, number);
        store.services.clear(number);
        self.services.numbers.give_back(number);
        self.drop_tenant(block.namespace);
    }

    fn write_slices(&mut self, service: u32, slices: &[u8]) {
        let pin = Pin::new();
        let store = Arc::clone(&self.store);
        let Some(octets) = store.services.load(service, &pin) else {
            return;
        };
        block::with_slices(&ServiceBlock::read(octets), slices, &mut self.scratch);
        store.services.replace(service, &self.scratch);
    }

    /// False if the service has as many slices as are kept.
    fn attach(&mut self, service: u32, slice: u32) -> bool {
        let pin = Pin::new();
        let store = Arc::clone(&self.store);
        let Some(octets) = store.services.load(service, &pin) else {
            return false;
        };
        let mut slices = ServiceBlock::read(octets).slices.to_vec();
        if slices.len() / 4 >= limits::KUBE_SERVICE_SLICES {
            return false;
        }
        slices.extend(slice.to_le_bytes());
        self.write_slices(service, &slices);
        true
    }

    /// Takes several slices, by number in order, from their service: its block is written once for all of them.
    fn detach(&mut self, service: u32, slices: &[u32]) {
        let pin = Pin::new();
        let store = Arc::clone(&self.store);
        let Some(octets) = store.services.load(service, &pin) else {
            return;
        };
        let numbers = ServiceBlock::read(octets).slice_numbers();
        let left: Vec<u8> = numbers
            .filter(|number| slices.binary_search(number).is_err())
            .flat_map(u32::to_le_bytes)
            .collect();
        self.write_slices(service, &left);
        self.forget_service(service);
    }

    // === pods ===

    fn find_pod(&self, key: u64) -> Option<u32> {
        let pin = Pin::new();
        let mut found = self.pod_keys.find(key as u32, &pin);
        found.find(|number| {
            let mut room = Room::default();
            let octets = self.store.pods.load(*number, &pin, &mut room);
            octets.is_some_and(|octets| PodBlock::read(octets).key == key)
        })
    }

    fn put_pod(&mut self, pod: &record::Pod) {
        let key = self.key(&pod.namespace, &pod.name);
        let known = self.find_pod(key);
        if pod.ips.is_empty() {
            known.into_iter().for_each(|number| self.remove_pod(number));
            return;
        }
        let place = [&*pod.namespace, &*pod.name];
        let Some(namespace) = self.namespace(&pod.namespace) else {
            return self.refuse(Kind::Pod, &place, NO_NUMBER);
        };
        let number = match known {
            Some(number) => number,
            None => {
                let Some(number) = self.pods.take() else {
                    return self.refuse(Kind::Pod, &place, NO_NUMBER);
                };
                block::write_pod(
                    &mut self.scratch,
                    &record::Pod::default(),
                    (namespace, key),
                    self.keep,
                );
                self.store.pods.replace(number, &self.scratch);
                self.pod_keys
                    .insert(&mut self.fills.pod_keys, key as u32, number);
                self.add_tenant(namespace);
                self.pods.len += 1;
                number
            }
        };
        self.pods.mark(number, self.lists[Kind::Pod as usize]);
        self.write_pod(number, pod, (namespace, key));
    }

    fn write_pod(&mut self, number: u32, pod: &record::Pod, place: (u32, u64)) {
        let (pin, mut room) = (Pin::new(), Room::default());
        let store = Arc::clone(&self.store);
        let Some(old_octets) = store.pods.load(number, &pin, &mut room) else {
            return;
        };
        let old = PodBlock::read(old_octets);
        block::write_pod(&mut self.scratch, pod, place, self.keep);
        if self.scratch == old_octets {
            return;
        }
        let new = PodBlock::read(&self.scratch);
        let has = |block: &PodBlock<'_>, ip: IpAddr| block.ips().any(|known| known == ip);
        let fill = &mut self.fills.pod_ips;
        for ip in new.ips().filter(|ip| !has(&old, *ip)) {
            store.pod_ips.insert(fill, ip_hash(ip), number);
        }
        store.pods.replace(number, &self.scratch);
        for ip in old.ips().filter(|ip| !has(&new, *ip)) {
            store.pod_ips.remove(fill, ip_hash(ip), number);
        }
        self.changed(false);
    }

    fn remove_pod(&mut self, number: u32) {
        let (pin, mut room) = (Pin::new(), Room::default());
        let store = Arc::clone(&self.store);
        let Some(octets) = store.pods.load(number, &pin, &mut room) else {
            return;
        };
        let old = PodBlock::read(octets);
        self.write_pod(number, &record::Pod::default(), (old.namespace, old.key));
        store.pods.clear(number);
        self.pod_keys
            .remove(&mut self.fills.pod_keys, old.key as u32, number);
        self.pods.numbers.give_back(number);
        self.pods.len -= 1;
        self.drop_tenant(old.namespace);
    }
}

/// Those of `some` that are not among `others`.
fn without<'i>(
    some: impl Iterator<Item = IpAddr> + 'i,
    others: &'i (impl Iterator<Item = IpAddr> + Clone),
) -> impl Iterator<Item = IpAddr> + 'i {
    some.filter(|ip| !others.clone().any(|known| known == *ip))
}

/// Hashes under which the endpoints of a slice are found by name, sorted, each once.
fn hashes(block: &SliceBlock<'_>) -> Vec<u32> {
    let mut hashes: Vec<u32> = block
        .names()
        .map(|name| name_hash(name, block.service))
        .collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

const NO_NUMBER: &str = "there are too many";
