//! Records of endpoints, as *kubernetes* and *k8s_external* write them straight to wire.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::net::IpAddr;

use super::Served;
use super::labels::{DASHED, dashed_address};
use super::record::Protocol;
use super::store::{Endpoint, Port, Service, Slice};
use crate::corefile::ZoneName;
use crate::limits::NAME_OCTETS;
use crate::wire::reply::Section;
use crate::wire::sheet::{Name, Place, QNAME, Rest, Sheet};
use crate::wire::types;

/// A question below one of the zones.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The zone.
    pub zone: &'a ZoneName,
    /// QNAME in lower case.
    pub name: &'a [u8],
    /// QTYPE.
    pub qtype: u16,
    /// The question section as the reply repeats it.
    pub section: &'a [u8],
    /// The id of the message: a number that differs from query to query.
    pub salt: u16,
}

impl Question<'_> {
    /// The zone, as the question has it.
    pub fn zone_rest(&self) -> Rest<'static> {
        Rest::Asked(self.name.len() - self.zone.wire().len())
    }
}

/// How a question has its records written.
#[derive(Clone, Copy)]
pub struct Records<'s> {
    /// The cluster.
    pub served: &'s Served,
    /// Of address records; SRV records have that of *kubernetes*.
    pub ttl_s: u32,
}

/// The ports that are asked for.
#[derive(Clone, Copy)]
pub struct Filter<'p> {
    /// Their name; empty stands for any.
    port: &'p [u8],
    protocol: Protocols,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocols {
    Any,
    One(Protocol),
    /// That of no port.
    Other,
}

/// All ports.
pub const ANY: Filter<'static> = Filter {
    port: &[],
    protocol: Protocols::Any,
};

/// Some endpoints of a service.
#[derive(Clone, Copy)]
pub enum Endpoints<'p> {
    /// Those with such a port.
    All(Filter<'p>),
    /// By host name or target, and cluster.
    Named(&'p [u8], &'p [u8]),
    /// By address, and cluster.
    At(IpAddr, &'p [u8]),
    /// In a zone of nodes.
    Zone(&'p [u8]),
}

// === impl Records ===

impl Records<'_> {
    /// The endpoints that a label in front of a service stands for; `None`: there are none.
    pub fn labelled<'p>(
        &self,
        service: Service<'p>,
        label: &'p [u8],
        cluster: &'p [u8],
    ) -> Option<Endpoints<'p>> {
        let at = dashed_address(label).map(|ip| Endpoints::At(ip, cluster));
        // A host name may look like an address.
        let named = Endpoints::Named(label, cluster);
        at.filter(|at| self.is_there(service, *at))
            .or_else(|| self.is_there(service, named).then_some(named))
    }

    /// Whether there is one.
    pub fn is_there<'p>(&self, service: Service<'p>, which: Endpoints<'p>) -> bool {
        match which {
            // A slice tells at a look.
            Endpoints::All(filter) => service
                .slices()
                .any(|slice| !slice.is_empty() && filter.admits_any(slice.ports())),
            _ => {
                let mut any = false;
                self.each(service, which, |_, _| {
                    any = true;
                    false
                });
                any
            }
        }
    }

    /// Writes the address, if it is of the type that is asked for.
    pub fn address(&self, sheet: &mut Sheet<'_>, qtype: u16, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) if qtype == types::A => sheet.addresses(self.ttl_s, &[ip.octets()]),
            IpAddr::V6(ip) if qtype == types::AAAA => sheet.addresses(self.ttl_s, &[ip.octets()]),
            _ => {}
        }
    }

    /// Writes the addresses of endpoints, of the type that is asked for. Where they do not all fit, `salt` says which one comes first.
    pub fn addresses<'p>(
        &self,
        sheet: &mut Sheet<'_>,
        qtype: u16,
        service: Service<'p>,
        which: Endpoints<'p>,
        salt: u16,
    ) {
        match (which, qtype) {
            (Endpoints::All(filter), types::A) => {
                self.all_addresses(sheet, service, filter, salt, |slice| slice.v4());
            }
            (Endpoints::All(filter), _) => {
                self.all_addresses(sheet, service, filter, salt, |slice| slice.v6());
            }
            _ => self.each(service, which, |slice, endpoint| {
                if self.is_first(service, which, slice, &endpoint) {
                    self.address(sheet, qtype, endpoint.ip);
                }
                !sheet.is_cut()
            }),
        }
    }

    fn all_addresses<'p, const N: usize>(
        &self,
        sheet: &mut Sheet<'_>,
        service: Service<'p>,
        filter: Filter<'p>,
        salt: u16,
        family: impl Fn(&Slice<'p>) -> &'p [[u8; N]],
    ) where
        [u8; N]: Into<IpAddr>,
    {
        let meant = |slice: &Slice<'p>| filter.admits_any(slice.ports());
        let slices = service.slices().filter(meant);
        let (mut count, mut total) = (0, 0);
        slices.clone().for_each(|slice| {
            count += 1;
            total += family(&slice).len();
        });
        let start = match sheet.holds_addresses::<N>(total) {
            true => 0,
            false => usize::from(salt) % total.max(1),
        };
        // The slice in which the first address is, and which of its addresses that is.
        let (mut before, mut first) = (0, start);
        for slice in slices.clone() {
            if first < family(&slice).len() {
                break;
            }
            first -= family(&slice).len();
            before += 1;
        }
        let turned = slices.clone().skip(before).chain(slices.take(before));
        for (nth, slice) in turned.enumerate() {
            let addresses = family(&slice);
            if count == 1 && !slice.repeats_addresses() {
                let (head, tail) = addresses.split_at(first.min(addresses.len()));
                sheet.addresses(self.ttl_s, tail);
                sheet.addresses(self.ttl_s, head);
                return;
            }
            let turn = if nth == 0 { first } else { 0 };
            for place in (turn..addresses.len()).chain(0..turn.min(addresses.len())) {
                // Those of one slice are sorted.
                let is_repeated = place > 0 && addresses[place - 1] == addresses[place];
                let is_first = |endpoint: Endpoint<'p>| {
                    self.is_first(service, Endpoints::All(filter), slice, &endpoint)
                };
                if !is_repeated && slice.at(addresses[place].into()).is_none_or(is_first) {
                    sheet.addresses(self.ttl_s, &[addresses[place]]);
                }
                if sheet.is_cut() {
                    return;
                }
            }
        }
    }

    /// Writes SRV records of endpoints, and their addresses. The label of the service, below which endpoints are named, begins at octet
    /// `service_at` of QNAME.
    pub fn ports<'p>(
        &self,
        sheet: &mut Sheet<'_>,
        service_at: usize,
        service: Service<'p>,
        which: Endpoints<'p>,
    ) {
        let filter = which.filter();
        let weight = weight(self.count(service, which));
        self.each(service, which, |slice, endpoint| {
            for port in numbers(slice.ports(), filter) {
                if self.is_new_target(service, which, (slice, &endpoint), port) {
                    self.with_name(sheet.name_len(), service_at, slice, &endpoint, |name| {
                        sheet.service(&QNAME, self.served.ttl_s, weight, port, name);
                    });
                }
                if sheet.is_cut() {
                    return false;
                }
            }
            !sheet.is_cut()
        });
        if sheet.is_cut() {
            return;
        }
        sheet.section(Section::Additional);
        self.each(service, which, |slice, endpoint| {
            let has_number = numbers(slice.ports(), filter).next().is_some();
            if has_number && self.is_new_address(service, which, slice, &endpoint) {
                self.with_name(sheet.name_len(), service_at, slice, &endpoint, |name| {
                    sheet.address(name, self.ttl_s, endpoint.ip);
                });
            }
            !sheet.is_cut()
        });
    }

    /// Endpoints times ports, as far as that matters: all weights beyond a hundred are one.
    fn count<'p>(&self, service: Service<'p>, which: Endpoints<'p>) -> usize {
        let filter = which.filter();
        let ports_of = |slice: &Slice<'p>| match slice.ports().next() {
            None => 1,
            Some(_) => slice.ports().filter(|port| filter.admits(port)).count(),
        };
        let mut count = 0;
        match which {
            Endpoints::All(_) => {
                for slice in service.slices() {
                    count += slice.len() * ports_of(&slice);
                }
            }
            _ => self.each(service, which, |slice, _| {
                count += ports_of(&slice);
                count < 100
            }),
        }
        count
    }

    /// Calls `visit` for the endpoints until it says false; one that two slices hold comes twice.
    fn each<'p>(
        &self,
        service: Service<'p>,
        which: Endpoints<'p>,
        mut visit: impl FnMut(Slice<'p>, Endpoint<'p>) -> bool,
    ) {
        match which {
            Endpoints::All(filter) => {
                let slices = service.slices();
                for slice in slices.filter(|slice| filter.admits_any(slice.ports())) {
                    if !slice.endpoints().all(|endpoint| visit(slice, endpoint)) {
                        return;
                    }
                }
            }
            Endpoints::Zone(_) => {
                for slice in service.slices() {
                    let mut endpoints = slice.endpoints();
                    let is_meant = |endpoint: &Endpoint<'p>| self.admits(which, slice, endpoint);
                    if !endpoints.all(|endpoint| !is_meant(&endpoint) || visit(slice, endpoint)) {
                        return;
                    }
                }
            }
            Endpoints::Named(name, _) => {
                for (slice, endpoint) in service.endpoints_named(name) {
                    if self.admits(which, slice, &endpoint) && !visit(slice, endpoint) {
                        return;
                    }
                }
            }
            Endpoints::At(ip, _) => {
                for (slice, endpoint) in service.endpoints_at(ip) {
                    if self.admits(which, slice, &endpoint) && !visit(slice, endpoint) {
                        return;
                    }
                }
            }
        }
    }

    /// Whether the endpoint is one of those that are meant.
    fn admits(&self, which: Endpoints<'_>, slice: Slice<'_>, endpoint: &Endpoint<'_>) -> bool {
        match which {
            Endpoints::All(filter) => filter.admits_any(slice.ports()),
            Endpoints::Zone(zone) => *zone == *endpoint.zone,
            Endpoints::Named(name, cluster) => {
                *slice.cluster() == *cluster && self.served.own_label(endpoint) == Some(name)
            }
            Endpoints::At(ip, cluster) => {
                *slice.cluster() == *cluster
                    && endpoint.ip == ip
                    && self.served.own_label(endpoint).is_none()
            }
        }
    }

    // Slices may overlap, and endpoints share names. Of those that would make one record, the one in the first slice makes it; which is
    // the first is told by an order of slices, so that nobody walks over all of them.

    /// Whether no other endpoint that is meant has the address and comes before.
    fn is_first<'p>(
        &self,
        service: Service<'p>,
        which: Endpoints<'p>,
        slice: Slice<'p>,
        endpoint: &Endpoint<'p>,
    ) -> bool {
        let mut others = service.endpoints_at(endpoint.ip);
        !others.any(|(other, twin)| {
            (other.order(), twin.hostname) < (slice.order(), endpoint.hostname)
                && self.admits(which, other, &twin)
        })
    }

    /// The same among those with the same name.
    fn is_new_address<'p>(
        &self,
        service: Service<'p>,
        which: Endpoints<'p>,
        slice: Slice<'p>,
        endpoint: &Endpoint<'p>,
    ) -> bool {
        let mut others = service.endpoints_at(endpoint.ip);
        !others.any(|(other, twin)| {
            other.order() < slice.order()
                && *other.cluster() == *slice.cluster()
                && self.served.own_label(&twin) == self.served.own_label(endpoint)
                && self.admits(which, other, &twin)
        })
    }

    /// Whether no other endpoint that is meant makes an SRV record with the same target and port and comes before.
    fn is_new_target<'p>(
        &self,
        service: Service<'p>,
        which: Endpoints<'p>,
        (slice, endpoint): (Slice<'p>, &Endpoint<'p>),
        port: u16,
    ) -> bool {
        let label = self.served.own_label(endpoint);
        let is_before = |(other, twin): (Slice<'p>, Endpoint<'p>)| {
            (other.order(), twin.ip) < (slice.order(), endpoint.ip)
                && *other.cluster() == *slice.cluster()
                && self.served.own_label(&twin) == label
                && self.admits(which, other, &twin)
                && other
                    .ports()
                    .any(|other| other.number == port && which.filter().admits(&other))
        };
        match label {
            Some(name) => !service.endpoints_named(name).any(is_before),
            None => !service.endpoints_at(endpoint.ip).any(is_before),
        }
    }

    /// Calls `use_name` with the full name of an endpoint, written with a pointer into the question, unless it is longer than names can be.
    fn with_name(
        &self,
        name_len: usize,
        service_at: usize,
        slice: Slice<'_>,
        endpoint: &Endpoint<'_>,
        use_name: impl FnOnce(&Name<'_>),
    ) {
        let mut dashes = [0; DASHED];
        let label = self.served.label(endpoint, &mut dashes);
        let in_front = 2 + label.len() + slice.cluster().len();
        if in_front + name_len.saturating_sub(service_at) <= NAME_OCTETS {
            use_name(&Name {
                labels: &[label, slice.cluster()],
                rest: Rest::Asked(service_at),
            });
        }
    }
}

// === impl Filter ===

impl<'p> Endpoints<'p> {
    fn filter(self) -> Filter<'p> {
        match self {
            Endpoints::All(filter) => filter,
            _ => ANY,
        }
    }
}

impl<'p> Filter<'p> {
    /// Ports with that name and protocol, both in lower case; what is empty stands for any.
    pub fn new(port: &'p [u8], protocol: &[u8]) -> Filter<'p> {
        let protocol = match protocol {
            b"" => Protocols::Any,
            b"tcp" => Protocols::One(Protocol::Tcp),
            b"udp" => Protocols::One(Protocol::Udp),
            b"sctp" => Protocols::One(Protocol::Sctp),
            _ => Protocols::Other,
        };
        Filter { port, protocol }
    }

    /// Whether the port is meant.
    #[inline]
    pub fn admits(&self, port: &Port<'_>) -> bool {
        let is_protocol = match self.protocol {
            Protocols::Any => true,
            Protocols::One(protocol) => protocol == port.protocol,
            Protocols::Other => false,
        };
        is_protocol && (self.port.is_empty() || *self.port == *port.name)
    }

    fn is_any(&self) -> bool {
        self.port.is_empty() && self.protocol == Protocols::Any
    }

    /// Whether one of them is meant; no ports at all stand for one without name and number.
    #[inline]
    pub fn admits_any<'q>(&self, mut ports: impl Iterator<Item = Port<'q>> + Clone) -> bool {
        self.is_any() || ports.any(|port| self.admits(&port))
    }
}

/// The numbers of the ports that are meant, each once; endpoints may have ports without a number.
pub fn numbers<'p>(
    ports: impl Iterator<Item = Port<'p>> + Clone,
    filter: Filter<'p>,
) -> impl Iterator<Item = u16> {
    let is_any = filter.is_any();
    let meant = ports.filter(move |port| filter.admits(port) && port.number != 0);
    let new = meant
        .clone()
        .enumerate()
        .filter(move |(nth, port)| match is_any {
            true => !port.is_repeated,
            // Few have one name.
            false => {
                let mut earlier = meant.clone().take(*nth);
                !earlier.any(|earlier| earlier.number == port.number)
            }
        });
    new.map(|(_, port)| port.number)
}

/// 100 shared by so many, at least 1.
pub fn weight(count: usize) -> u16 {
    (100 / count.max(1)).max(1) as u16
}

/// The name that was written there.
pub fn placed(place: Place) -> Name<'static> {
    Name {
        labels: &[],
        rest: Rest::Placed(place),
    }
}
