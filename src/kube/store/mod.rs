//! What is known of a cluster: namespaces, services, slices of endpoints and pods, in blocks that are replaced one by one.
//!
//! Runs on: control thread ([`Writer`]), data core ([`View`]).
//!
//! **Invariant**: a reader never waits; it sees each object as it was or as it is, never in between.
//!
//! ```text
//!   name  --service index-->  service block --slice numbers--> slice blocks (endpoints)
//!   address --service_ips, external_ips, endpoint_ips, pod_ips--> numbers, verified at the block
//! ```
//! An index may lead to a block that has been replaced meanwhile, so whatever it gives is compared with what was looked for.

mod block;
mod index;
mod pods;
mod shelf;
#[cfg(test)]
mod tests;
mod writer;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use self::block::{PodBlock, ServiceBlock, SliceBlock};
use self::index::Index;
use self::pods::Pods;
use self::shelf::Shelf;
use super::record::{Kind, Reach};
use crate::runtime::clock;
use crate::runtime::epoch::Pin;
use crate::wire::name;

pub use block::{Addresses, Endpoint, External, Externals, Keep, Port, Ports};
pub use writer::{Dump, Outline, Refused, Writer};

/// The state of one cluster, as its watcher knows it.
pub struct Store {
    namespaces: Shelf,
    namespace_index: Index,
    services: Shelf,
    service_index: Index,
    service_ips: Index,
    external_ips: Index,
    slices: Shelf,
    endpoint_ips: Index,
    endpoint_names: Index,
    pods: Pods,
    pod_ips: Index,
    status: Status,
}

/// How fresh a store is.
#[derive(Default)]
struct Status {
    /// A bit for each [`Kind`] that is in step with the server, or once was, and for each part of [`Keep`] that all its objects have.
    synced: AtomicU32,
    /// A bit for each kind whose watch is up.
    live: AtomicU32,
    /// Unix seconds of the last change that answers about cluster addresses depend on.
    modified_s: AtomicU64,
    /// The same for those from outside of the cluster.
    externally_modified_s: AtomicU64,
    /// A bit for each kind that is known from a snapshot alone.
    restored: AtomicU32,
    /// Unix seconds at which that snapshot was written; 0 if there was none.
    written_s: AtomicU64,
    /// For each kind, monotonic nanoseconds at which its watch was lost; 0 while it is up, and before it was.
    lost_ns: [AtomicU64; KINDS],
    /// Changes that were published.
    changes: AtomicU64,
}

impl Store {
    /// An empty one that is in step with nothing.
    pub fn new() -> Store {
        Store {
            namespaces: Shelf::default(),
            namespace_index: Index::default(),
            services: Shelf::default(),
            service_index: Index::default(),
            service_ips: Index::default(),
            external_ips: Index::default(),
            slices: Shelf::default(),
            endpoint_ips: Index::default(),
            endpoint_names: Index::default(),
            pods: Pods::default(),
            pod_ips: Index::default(),
            status: Status::default(),
        }
    }

    /// What is known now, as long as the pin is held.
    #[inline]
    pub fn view<'p>(&'p self, pin: &'p Pin) -> View<'p> {
        View { store: self, pin }
    }

    /// Whether all objects of these kinds have been heard of once, with all parts that are asked for.
    #[inline]
    pub fn is_synced(&self, kinds: Kinds) -> bool {
        self.status.synced.load(Ordering::Acquire) & kinds.0 == kinds.0
    }

    /// Whether the watches of these kinds are up.
    pub fn is_live(&self, kinds: Kinds) -> bool {
        let kinds = kinds.0 & KINDS_MASK;
        self.status.live.load(Ordering::Acquire) & kinds == kinds
    }

    /// Whether something of these kinds is known from a snapshot alone.
    pub fn is_restored(&self, kinds: Kinds) -> bool {
        self.status.restored.load(Ordering::Acquire) & kinds.0 != 0
    }

    /// How old the oldest of what is known of these kinds may be, as far as anybody knows: the process before counts too. `None` while their
    /// watches are up, and before anything is known.
    pub fn stale_ns(&self, kinds: Kinds) -> Option<u64> {
        if self.is_live(kinds) {
            return None;
        }
        if let Some(since_ns) = self.stale_since_ns(kinds)
            && !self.is_restored(kinds)
        {
            return Some(clock::now_ns().saturating_sub(since_ns));
        }
        let written_s = self.status.written_s.load(Ordering::Acquire);
        let age_s = clock::wall_s().saturating_sub(written_s);
        (written_s != 0).then(|| age_s.saturating_mul(clock::SECOND))
    }

    /// Monotonic nanoseconds since which the one of the watches has been down that was lost first; `None` while they are up or before they
    /// were.
    pub fn stale_since_ns(&self, kinds: Kinds) -> Option<u64> {
        let each = self.status.lost_ns.iter().enumerate();
        let asked = each.filter(|(kind, _)| kinds.0 & (1 << kind) != 0);
        let lost_ns = asked.map(|(_, lost_ns)| lost_ns.load(Ordering::Acquire));
        lost_ns.filter(|lost_ns| *lost_ns != 0).min()
    }

    /// Unix seconds of the last change: the SOA serial of cluster zones.
    #[inline]
    pub fn modified_s(&self) -> u64 {
        self.status.modified_s.load(Ordering::Relaxed)
    }

    /// Unix seconds of the last change that is seen from outside of the cluster.
    pub fn externally_modified_s(&self) -> u64 {
        self.status.externally_modified_s.load(Ordering::Relaxed)
    }

    /// Changes published so far; one that leaves everything as it is does not count.
    pub fn changes(&self) -> u64 {
        self.status.changes.load(Ordering::Relaxed)
    }
}

impl Default for Store {
    fn default() -> Store {
        Store::new()
    }
}

/// A set of [`Kind`]s, and of what of them is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// None.
    pub const NONE: Kinds = Kinds(0);
    /// Those without which no question can be answered.
    pub const BASE: Kinds = Kinds::NONE
        .and(Kind::Namespace)
        .and(Kind::Service)
        .and(Kind::Slice);

    /// These with those parts of them that are kept.
    pub const fn with(self, keep: Keep) -> Kinds {
        let mut bits = self.0;
        if self.holds(Kind::Slice) {
            bits |= (keep.targets as u32 * TARGETS) | (keep.zones as u32 * ZONES);
        }
        if self.holds(Kind::Pod) {
            bits |= keep.pods as u32 * PODS;
        }
        Kinds(bits)
    }

    /// Parts that are among them.
    const fn keep(self) -> Keep {
        Keep {
            targets: self.0 & TARGETS != 0,
            zones: self.0 & ZONES != 0,
            pods: self.0 & PODS != 0,
        }
    }

    /// These and another one.
    pub const fn and(self, kind: Kind) -> Kinds {
        Kinds(self.0 | 1 << kind as u32)
    }

    /// As octets of a file have them; bits that stand for nothing are passed over.
    pub(super) const fn of_bits(bits: u32) -> Kinds {
        Kinds(bits & KINDS_MASK)
    }

    /// See [`Kinds::of_bits`].
    pub(super) const fn bits(self) -> u32 {
        self.0
    }

    /// These without one of them.
    pub const fn without(self, kind: Kind) -> Kinds {
        Kinds(self.0 & !(1 << kind as u32))
    }

    /// Whether the kind is among them.
    pub const fn holds(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }
}

/// How many kinds there are.
const KINDS: usize = Kind::Import as usize + 1;
const KINDS_MASK: u32 = Kinds::BASE.and(Kind::Pod).and(Kind::Import).0;
/// Bits of the parts of [`Keep`].
const TARGETS: u32 = 1 << 8;
const ZONES: u32 = 1 << 9;
const PODS: u32 = 1 << 10;

// === impl View ===

/// A store that is being read.
#[derive(Clone, Copy)]
pub struct View<'p> {
    store: &'p Store,
    pin: &'p Pin,
}

/// A namespace that exists or did: a number that names it for as long as anything is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespace(u32);

impl<'p> View<'p> {
    /// The namespace of that lower-case name, if it exists.
    #[inline]
    pub fn namespace(self, name: &[u8]) -> Option<Namespace> {
        let found = self
            .store
            .namespace_index
            .find(name_hash(name, 0), self.pin);
        found.map(Namespace).find(|namespace| {
            let block = self.store.namespaces.load(namespace.0, self.pin);
            block
                .and_then(<[u8]>::split_first)
                .is_some_and(|(exists, known)| *exists != 0 && known == name)
        })
    }

    /// Its name.
    pub fn namespace_name(self, namespace: Namespace) -> &'p [u8] {
        let block = self.store.namespaces.load(namespace.0, self.pin);
        block.and_then(|block| block.get(1..)).unwrap_or_default()
    }

    /// The service of that lower-case name; `is_imported`: that of the cluster set.
    #[inline]
    pub fn service(
        self,
        namespace: Namespace,
        name: &[u8],
        is_imported: bool,
    ) -> Option<Service<'p>> {
        let hash = service_hash(namespace.0, name, is_imported);
        let mut found = self.store.service_index.find(hash, self.pin);
        found.find_map(|number| {
            let service = self.numbered(number)?;
            let block = service.block();
            let is_it = block.is_present()
                && block.namespace == namespace.0
                && block.is_imported() == is_imported
                && block.name == name;
            is_it.then_some(service)
        })
    }

    /// Services of this cluster with that cluster address.
    pub fn services_at(self, ip: IpAddr) -> impl Iterator<Item = Service<'p>> {
        let found = self.store.service_ips.find(ip_hash(ip), self.pin);
        found.filter_map(move |number| {
            let service = self.numbered(number)?;
            let is_it = service.block().is_present()
                && !service.block().is_imported()
                && service.cluster_ips().any(|known| known == ip);
            is_it.then_some(service)
        })
    }

    /// Services that are reached at that address from outside of the cluster.
    pub fn services_exposed_at(self, ip: IpAddr) -> impl Iterator<Item = Service<'p>> {
        let found = self.store.external_ips.find(ip_hash(ip), self.pin);
        found.filter_map(move |number| {
            let service = self.numbered(number)?;
            let is_it = service.block().external_ips().any(|known| known == ip);
            is_it.then_some(service)
        })
    }

    /// Slices with an endpoint of that address, imported ones too.
    pub fn slices_at(
        self,
        ip: IpAddr,
    ) -> impl Iterator<Item = (Slice<'p>, Endpoint<'p>)> + Clone + use<'p> {
        let found = self.store.endpoint_ips.find(ip_hash(ip), self.pin);
        let slices = found.filter_map(move |number| self.slice(number));
        slices.flat_map(move |slice| slice.block().at(ip).map(move |endpoint| (slice, endpoint)))
    }

    /// Pods with that address; none unless pods are watched.
    #[inline]
    pub fn pods_at(self, ip: IpAddr) -> impl Iterator<Item = Pod<'p>> {
        let found = self.store.pod_ips.find(ip_hash(ip), self.pin);
        found.filter_map(move |number| {
            if let Some(slim) = self.store.pods.slim(number) {
                return (slim.ip == ip).then_some(Pod {
                    namespace: slim.namespace,
                    block: None,
                });
            }
            let block = self.store.pods.block(number, self.pin)?;
            block.ips().any(|known| known == ip).then_some(Pod {
                namespace: block.namespace,
                block: Some(block),
            })
        })
    }

    #[inline]
    fn numbered(self, number: u32) -> Option<Service<'p>> {
        let octets = self.store.services.load(number, self.pin)?;
        Some(Service {
            view: self,
            number,
            octets,
        })
    }

    fn slice(self, number: u32) -> Option<Slice<'p>> {
        let octets = self.store.slices.load(number, self.pin)?;
        Some(Slice {
            view: self,
            number,
            octets,
        })
    }
}

/// A service.
#[derive(Clone, Copy)]
pub struct Service<'p> {
    view: View<'p>,
    number: u32,
    octets: &'p [u8],
}

impl<'p> Service<'p> {
    /// What is asked of it is read, and no more.
    #[inline(always)]
    fn block(&self) -> ServiceBlock<'p> {
        ServiceBlock::read(self.octets)
    }

    /// Its name in lower case.
    pub fn name(&self) -> &'p [u8] {
        self.block().name
    }

    /// Its namespace.
    pub fn namespace(&self) -> Namespace {
        Namespace(self.block().namespace)
    }

    /// How it is reached.
    #[inline]
    pub fn reach(&self) -> Reach {
        self.block().reach()
    }

    /// Cluster addresses, in the order of the object.
    #[inline]
    pub fn cluster_ips(&self) -> Addresses<'p> {
        self.block().cluster_ips()
    }

    /// Ports, in the order of the object.
    #[inline]
    pub fn ports(&self) -> Ports<'p> {
        self.block().ports()
    }

    /// The name that an ExternalName service stands for, in lower-case wire form; empty where there is none or it is no name.
    pub fn other_name(&self) -> &'p [u8] {
        self.block().other_name
    }

    /// Whether both are the same object.
    pub fn is(&self, other: &Service<'_>) -> bool {
        self.number == other.number
    }

    /// Ways in from outside of the cluster.
    pub fn externals(&self) -> Externals<'p> {
        self.block().externals()
    }

    /// Its slices.
    pub fn slices(&self) -> impl Iterator<Item = Slice<'p>> + Clone + use<'p> {
        let (view, number) = (self.view, self.number);
        self.block().slice_numbers().filter_map(move |slice| {
            let slice = view.slice(slice)?;
            // The number may have come to another service since the block was read.
            (slice.block().service == number).then_some(slice)
        })
    }

    /// The endpoints with that address, each with its slice.
    pub fn endpoints_at(
        &self,
        ip: IpAddr,
    ) -> impl Iterator<Item = (Slice<'p>, Endpoint<'p>)> + use<'p> {
        let number = self.number;
        let found = self.view.slices_at(ip);
        found.filter(move |(slice, _)| slice.block().service == number)
    }

    /// The endpoints whose host name or target is that lower-case name.
    pub fn endpoints_named<'n>(
        &self,
        name: &'n [u8],
    ) -> impl Iterator<Item = (Slice<'p>, Endpoint<'p>)> + use<'p, 'n> {
        let (view, number) = (self.view, self.number);
        let hash = name_hash(name, number);
        let found = view.store.endpoint_names.find(hash, view.pin);
        let slices = found.filter_map(move |slice| view.slice(slice));
        let own = slices.filter(move |slice| slice.block().service == number);
        own.flat_map(move |slice| {
            let named =
                move |endpoint: &Endpoint<'_>| endpoint.hostname == name || endpoint.target == name;
            slice
                .endpoints()
                .filter(named)
                .map(move |endpoint| (slice, endpoint))
        })
    }
}

/// Some endpoints of a service, with one set of ports.
#[derive(Clone, Copy)]
pub struct Slice<'p> {
    view: View<'p>,
    number: u32,
    octets: &'p [u8],
}

impl<'p> Slice<'p> {
    #[inline(always)]
    fn block(&self) -> SliceBlock<'p> {
        SliceBlock::read(self.octets)
    }

    /// The service, if there is one.
    pub fn service(&self) -> Option<Service<'p>> {
        let service = self.view.numbered(self.block().service)?;
        service.block().is_present().then_some(service)
    }

    /// The namespace of it and of its service.
    pub fn namespace(&self) -> Namespace {
        Namespace(self.block().namespace)
    }

    /// The name of its service, which may not exist (yet).
    pub fn service_name(&self) -> &'p [u8] {
        self.view
            .numbered(self.block().service)
            .map_or(&[], |service| service.block().name)
    }

    /// Whether it belongs to a service of the cluster set.
    pub fn is_imported(&self) -> bool {
        self.view
            .numbered(self.block().service)
            .is_some_and(|service| service.block().is_imported())
    }

    /// The cluster that it was imported from; empty for this one.
    pub fn cluster(&self) -> &'p [u8] {
        self.block().cluster
    }

    /// Its ports; none stands for any.
    #[inline]
    pub fn ports(&self) -> Ports<'p> {
        self.block().ports()
    }

    /// Ready endpoints.
    pub fn endpoints(&self) -> impl Iterator<Item = Endpoint<'p>> + Clone + use<'p> {
        let block = self.block();
        (0..block.len()).filter_map(move |nth| block.nth(nth))
    }

    /// Endpoints.
    pub fn len(&self) -> usize {
        self.block().len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An endpoint with that address.
    pub fn at(&self, ip: IpAddr) -> Option<Endpoint<'p>> {
        self.block().at(ip).next()
    }

    /// Whether both belong to one service.
    pub fn is_of_service_of(&self, other: &Slice<'_>) -> bool {
        self.block().service == other.block().service
    }

    /// Whether endpoints with different names have one address.
    pub fn repeats_addresses(&self) -> bool {
        self.block().repeats_addresses()
    }

    /// An order of slices, the same as long as they live; mostly that in which they came.
    pub fn order(&self) -> u32 {
        self.number
    }

    /// The octets of the IPv4 addresses.
    #[inline]
    pub fn v4(&self) -> &'p [[u8; 4]] {
        self.block().v4
    }

    /// The octets of the IPv6 addresses.
    #[inline]
    pub fn v6(&self) -> &'p [[u8; 16]] {
        self.block().v6
    }
}

/// A pod.
#[derive(Clone, Copy)]
pub struct Pod<'p> {
    namespace: u32,
    block: Option<PodBlock<'p>>,
}

impl<'p> Pod<'p> {
    /// Its namespace.
    pub fn namespace(&self) -> Namespace {
        Namespace(self.namespace)
    }

    /// Its name; empty unless names of pods are kept ([`Keep::pods`]).
    pub fn name(&self) -> &'p [u8] {
        self.block.map_or(&[], |block| block.name)
    }

    /// Its labels; none unless names of pods are kept.
    pub fn labels(&self) -> impl Iterator<Item = (&'p [u8], &'p [u8])> + use<'p> {
        self.block.into_iter().flat_map(|block| block.labels())
    }
}

// === hashes ===

/// Keyed, since those who name services in a cluster need not be those who run it.
#[inline]
fn name_hash(name: &[u8], of: u32) -> u32 {
    let salted = name::hash(name) ^ u64::from(of).wrapping_mul(SPREAD);
    (name::question_hash(salted, 0, 0, false, false) >> 32) as u32
}

#[inline]
fn service_hash(namespace: u32, name: &[u8], is_imported: bool) -> u32 {
    name_hash(name, namespace ^ u32::from(is_imported) << 31)
}

/// The name's hash takes letters for equal that differ in case, which octets of an address do not.
#[inline]
fn ip_hash(ip: IpAddr) -> u32 {
    let mix = |word: u64| name::question_hash(word, 0, 0, false, false);
    let hash = match ip {
        IpAddr::V4(ip) => mix(ip.to_bits().into()),
        IpAddr::V6(ip) => mix(mix((ip.to_bits() >> 64) as u64) ^ ip.to_bits() as u64),
    };
    (hash >> 32) as u32
}

const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
