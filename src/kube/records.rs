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

/// The ports that are asked for; empty stands for any.
#[derive(Clone, Copy)]
pub struct Filter<'p> {
    /// Their name.
    pub port: &'p [u8],
    /// Their protocol.
    pub protocol: &'p [u8],
}

/// All ports.
pub const ANY: Filter<'static> = Filter {
    port: &[],
    protocol: &[],
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
        let mut any = false;
        self.each(service, which, |slice, _| {
            any = any || which.filter().admits_any(slice.ports());
            !any
        });
        any
    }

    /// Writes the address, if it is of the type that is asked for.
    pub fn address(&self, sheet: &mut Sheet<'_>, qtype: u16, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) if qtype == types::A => sheet.addresses(self.ttl_s, &[ip.octets()]),
            IpAddr::V6(ip) if qtype == types::AAAA => sheet.addresses(self.ttl_s, &[ip.octets()]),
            _ => {}
        }
    }

    /// Writes the addresses of endpoints, of the type that is asked for.
    pub fn addresses<'p>(
        &self,
        sheet: &mut Sheet<'_>,
        qtype: u16,
        service: Service<'p>,
        which: Endpoints<'p>,
    ) {
        let mut slices = service.slices();
        if let (Endpoints::All(filter), Some(slice), None) = (which, slices.next(), slices.next())
            && filter.admits_any(slice.ports())
        {
            // One slice has each address once.
            match qtype {
                types::A => sheet.addresses(self.ttl_s, slice.v4()),
                _ => sheet.addresses(self.ttl_s, slice.v6()),
            }
            return;
        }
        self.each(service, which, |slice, endpoint| {
            if which.filter().admits_any(slice.ports()) {
                self.address(sheet, qtype, endpoint.ip);
            }
            !sheet.is_cut()
        });
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
        // From a hundred on all have the same weight.
        let mut count = 0;
        self.each(service, which, |slice, _| {
            count += slice
                .ports()
                .filter(|port| filter.admits(port))
                .count()
                .max(usize::from(slice.ports().next().is_none()));
            count < 100
        });
        let weight = weight(count);
        self.each(service, which, |slice, endpoint| {
            if self.is_first_of_name(service, &endpoint) {
                for port in numbers(slice.ports(), filter) {
                    self.with_name(service_at, slice, &endpoint, |name| {
                        sheet.service(&QNAME, self.served.ttl_s, weight, port, name);
                    });
                }
            }
            !sheet.is_cut()
        });
        sheet.section(Section::Additional);
        self.each(service, which, |slice, endpoint| {
            if numbers(slice.ports(), filter).next().is_some() {
                self.with_name(service_at, slice, &endpoint, |name| {
                    sheet.address(name, self.ttl_s, endpoint.ip);
                });
            }
            !sheet.is_cut()
        });
    }

    /// Calls `visit` for the endpoints until it says false.
    fn each<'p>(
        &self,
        service: Service<'p>,
        which: Endpoints<'p>,
        mut visit: impl FnMut(Slice<'p>, Endpoint<'p>) -> bool,
    ) {
        match which {
            Endpoints::All(_) | Endpoints::Zone(_) => {
                for slice in service.slices() {
                    for endpoint in slice.endpoints() {
                        let is_meant =
                            !matches!(which, Endpoints::Zone(zone) if zone != endpoint.zone);
                        if is_meant && is_first(service, slice, endpoint) && !visit(slice, endpoint)
                        {
                            return;
                        }
                    }
                }
            }
            Endpoints::Named(name, cluster) => {
                for (slice, endpoint) in service.endpoints_named(name) {
                    let is_it = *slice.cluster() == *cluster
                        && self.served.own_label(&endpoint) == Some(name);
                    if is_it && is_first(service, slice, endpoint) && !visit(slice, endpoint) {
                        return;
                    }
                }
            }
            Endpoints::At(ip, cluster) => {
                for (slice, endpoint) in service.endpoints_at(ip) {
                    let is_it =
                        *slice.cluster() == *cluster && self.served.own_label(&endpoint).is_none();
                    if is_it && is_first(service, slice, endpoint) && !visit(slice, endpoint) {
                        return;
                    }
                }
            }
        }
    }

    /// Whether no other endpoint of the service with a lower address has the same label: one record for each label and port.
    fn is_first_of_name<'p>(&self, service: Service<'p>, endpoint: &Endpoint<'p>) -> bool {
        let Some(name) = self.served.own_label(endpoint) else {
            return true;
        };
        let mut same = service.endpoints_named(name);
        !same
            .any(|(_, other)| other.ip < endpoint.ip && self.served.own_label(&other) == Some(name))
    }

    /// Calls `use_name` with the full name of an endpoint, written with a pointer into the question.
    fn with_name(
        &self,
        service_at: usize,
        slice: Slice<'_>,
        endpoint: &Endpoint<'_>,
        use_name: impl FnOnce(&Name<'_>),
    ) {
        let mut dashes = [0; DASHED];
        let label = self.served.label(endpoint, &mut dashes);
        use_name(&Name {
            labels: &[label, slice.cluster()],
            rest: Rest::Asked(service_at),
        });
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

impl Filter<'_> {
    /// Whether the port is meant.
    pub fn admits(&self, port: &Port<'_>) -> bool {
        let protocol: &[u8] = match port.protocol {
            Protocol::Tcp => b"tcp",
            Protocol::Udp => b"udp",
            Protocol::Sctp => b"sctp",
        };
        (self.port.is_empty() || *self.port == *port.name)
            && (self.protocol.is_empty() || *self.protocol == *protocol)
    }

    /// Whether one of them is meant; no ports at all stand for one without name and number.
    pub fn admits_any<'p>(&self, mut ports: impl Iterator<Item = Port<'p>> + Clone) -> bool {
        match ports.clone().next() {
            None => self.port.is_empty() && self.protocol.is_empty(),
            Some(_) => ports.any(|port| self.admits(&port)),
        }
    }
}

/// The numbers of the ports that are meant, each once; endpoints may have ports without a number.
pub fn numbers<'p>(
    ports: impl Iterator<Item = Port<'p>> + Clone,
    filter: Filter<'p>,
) -> impl Iterator<Item = u16> {
    let meant = ports.filter(move |port| filter.admits(port));
    let new = meant.clone().enumerate().filter(move |(nth, port)| {
        let mut earlier = meant.clone().take(*nth);
        port.number != 0 && !earlier.any(|earlier| earlier.number == port.number)
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

/// Whether no earlier slice of the service has the address: overlapping slices are allowed, and an address is answered once.
fn is_first(service: Service<'_>, slice: Slice<'_>, endpoint: Endpoint<'_>) -> bool {
    let mut holders = service.endpoints_at(endpoint.ip);
    match (holders.next(), holders.next()) {
        (Some(_), Some(_)) => {
            let mut slices = service.slices();
            let first = slices.find(|slice| slice.holds(endpoint.ip));
            first.is_none_or(|first| first.is(&slice))
        }
        _ => true,
    }
}
