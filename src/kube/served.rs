//! A cluster as one server block serves it: what *kubernetes* says once and other directives of the block go by.

use std::net::IpAddr;
use std::sync::Arc;

use super::Cluster;
use super::labels::{DASHED, write_dashed};
use super::record::Reach;
use super::schema::{self, Branch, Request, Schema, is_reverse, reverse_address};
use super::store::{Endpoint, Kinds, Namespace, Service, Slice, View};
use crate::corefile::{Fall, ZoneName, longest_match};
use crate::runtime::epoch::Pin;

/// See the module.
pub struct Served {
    /// What is known.
    pub cluster: Arc<Cluster>,
    /// The zones of the block's *kubernetes*.
    pub zones: Vec<ZoneName>,
    /// The first of them that is no reverse zone: names of addresses are in it.
    pub primary_zone: ZoneName,
    /// What must have been heard of before a name can be denied, with the parts that names come from.
    pub kinds: Kinds,
    /// Only these namespaces are seen, lower-case names; all of them where there are none.
    pub namespaces: Vec<Box<[u8]>>,
    /// Endpoints without host names have those of their pods (`endpoint_pod_names`).
    pub names_pods: bool,
    /// Of its records, in seconds; *k8s_external* has it for those that lead to addresses.
    pub ttl_s: u32,
    /// Pods are watched (`pods verified`).
    pub knows_pods: bool,
    /// Names of pods are answered, verified or not.
    pub answers_pods: bool,
    /// Which names that are not there the next plugin is asked for.
    pub fall: Fall,
    /// Addresses of this server, but no loopback ones.
    pub local_ips: Vec<IpAddr>,
}

impl Served {
    /// What is known now, as long as the pin is held.
    #[inline]
    pub fn view<'p>(&'p self, pin: &'p Pin) -> View<'p> {
        self.cluster.store().view(pin)
    }

    /// Whether all that answers depend on has been heard of.
    #[inline]
    pub fn is_synced(&self) -> bool {
        self.cluster.store().is_synced(self.kinds)
    }

    /// Whether the lower-case wire name is the cluster's to answer, now and here: a *cache* above neither keeps it nor answers it from what it
    /// kept before.
    pub fn owns(&self, view: View<'_>, name: &[u8]) -> bool {
        let Some(zone) = longest_match(&self.zones, name) else {
            return false;
        };
        if is_reverse(zone) {
            let ip = reverse_address(name);
            return ip.is_some_and(|ip| {
                view.services_at(ip).next().is_some() || view.slices_at(ip).next().is_some()
            });
        }
        // While nothing is known, nothing falls through.
        if !self.fall.through(name) || !self.is_synced() {
            return true;
        }
        let schema = Schema {
            multicluster: true,
            zonal: true,
        };
        match schema::read(name, zone.wire().len(), schema) {
            Request::Branch(Branch::Fixed) => true,
            Request::Branch(Branch::Namespace(namespace)) => {
                self.namespace(view, namespace).is_some()
            }
            Request::Branch(Branch::PodNamespace(namespace)) | Request::Pod { namespace, .. } => {
                self.answers_pods && self.namespace(view, namespace).is_some()
            }
            Request::Service(asked) => {
                let namespace = self.namespace(view, asked.namespace);
                let is_there = |namespace| {
                    let service = |is_imported| view.service(namespace, asked.service, is_imported);
                    service(false).or_else(|| service(true)).is_some()
                };
                namespace.is_some_and(is_there)
            }
            Request::Unknown => false,
        }
    }

    /// The namespace of that lower-case name, if it exists and is seen.
    #[inline]
    pub fn namespace(&self, view: View<'_>, name: &[u8]) -> Option<Namespace> {
        let is_seen =
            self.namespaces.is_empty() || self.namespaces.iter().any(|known| **known == *name);
        view.namespace(name).filter(|_| is_seen)
    }

    /// Whether what is in that namespace is seen when it is found by its address. As in CoreDNS, a namespace that does not exist hides it
    /// only where `namespaces` is set.
    pub fn shows(&self, view: View<'_>, namespace: Namespace) -> bool {
        self.namespaces.is_empty()
            || self
                .namespace(view, view.namespace_name(namespace))
                .is_some()
    }

    /// The name of an endpoint; `None`: its dashed address.
    #[inline]
    pub fn own_label<'p>(&self, endpoint: &Endpoint<'p>) -> Option<&'p [u8]> {
        if !endpoint.hostname.is_empty() {
            return Some(endpoint.hostname);
        }
        let is_name = self.names_pods && (1..=63).contains(&endpoint.target.len());
        is_name.then_some(endpoint.target)
    }

    /// The label of an endpoint in names.
    pub fn label<'r>(&self, endpoint: &Endpoint<'r>, room: &'r mut [u8; DASHED]) -> &'r [u8] {
        match self.own_label(endpoint) {
            Some(name) => name,
            None => write_dashed(endpoint.ip, room),
        }
    }

    /// The slices that this server is an endpoint of, each with its service: all of a headless service, otherwise one for each service.
    pub fn own_slices<'p>(
        &'p self,
        view: View<'p>,
    ) -> impl Iterator<Item = (Slice<'p>, Service<'p>)> {
        let all = move || {
            let found = self.local_ips.iter();
            let found = found.flat_map(move |local| view.slices_at(*local));
            found.filter_map(|(slice, _)| Some((slice, slice.service()?)))
        };
        // It has a few addresses and is behind a few services.
        let new = move |(nth, (slice, service)): (usize, (Slice<'p>, Service<'p>))| {
            let is_same = |earlier: (Slice<'p>, Service<'p>)| match service.reach() {
                Reach::Headless => earlier.0.order() == slice.order(),
                _ => earlier.1.is(&service),
            };
            let is_new = !all().take(nth).any(is_same);
            is_new.then_some((slice, service))
        };
        all().enumerate().filter_map(new)
    }
}
