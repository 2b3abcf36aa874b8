//! From a question to its answer, written straight to wire. One way for all queries: a packet thread sends what is written here, the long
//! way takes it over as a packed reply.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Config, Pods};
use crate::corefile::ZoneName;
use crate::kube::record::{Protocol, Reach};
use crate::kube::schema::{
    self, Asked, Branch, Part, Request, Schema, is_reverse, reverse_address,
};
use crate::kube::served::{DASHED, write_dashed};
use crate::kube::store::{Endpoint, Namespace, Port, Service, Slice, View};
use crate::wire::direct::Written;
use crate::wire::rcode::Rcode;
use crate::wire::reply::Section;
use crate::wire::sheet::{Name, QNAME, Rest, Sheet};
use crate::wire::types;

/// A question below one of the zones.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) zone: &'a ZoneName,
    /// QNAME in lower case.
    pub(super) name: &'a [u8],
    pub(super) qtype: u16,
    /// The question section as the reply repeats it.
    pub(super) section: &'a [u8],
}

/// What becomes of a question.
pub(super) enum Outcome<'p> {
    /// The reply stands in the buffer.
    Written(Written),
    /// No such name: it may go on to the next plugin.
    NoName,
    /// An alias of this name in wire form, which has to be looked up.
    Alias(&'p [u8]),
    /// A transfer, which is refused.
    Refused,
    /// The buffer is too small for header and question.
    NoRoom,
}

/// What a name stands for.
enum Found<'p> {
    Nothing,
    NoName,
    Cluster(Service<'p>, Filter<'p>),
    Endpoints(Service<'p>, Endpoints<'p>),
    Alias(&'p [u8]),
    Pod(IpAddr),
    /// `ns.dns` in the zone.
    Server,
}

/// The ports that are asked for; empty stands for any.
#[derive(Clone, Copy)]
struct Filter<'p> {
    port: &'p [u8],
    protocol: &'p [u8],
}

const ANY: Filter<'static> = Filter {
    port: &[],
    protocol: &[],
};

/// Some endpoints of a service.
#[derive(Clone, Copy)]
enum Endpoints<'p> {
    All(Filter<'p>),
    /// By host name or target.
    Named(&'p [u8], &'p [u8]),
    /// By address.
    At(IpAddr, &'p [u8]),
    /// In a zone of nodes.
    Zone(&'p [u8]),
}

impl Config {
    /// Answers a question into `out`.
    pub(super) fn answer<'p>(
        &'p self,
        view: View<'p>,
        question: Question<'p>,
        out: &mut [u8],
    ) -> Outcome<'p> {
        let Question {
            zone, name, qtype, ..
        } = question;
        if matches!(qtype, types::AXFR | types::IXFR) {
            return Outcome::Refused;
        }
        let is_apex = name.len() == zone.wire().len();
        let found = match qtype {
            types::SOA | types::NS if is_apex => Found::Nothing,
            // CoreDNS finds no fault with an SOA question below the apex.
            types::SOA => Found::Nothing,
            types::PTR => match reverse_address(name) {
                Some(ip) => return self.pointers(view, ip, question, out),
                None => self.find(view, question),
            },
            _ => self.find(view, question),
        };
        let Some(mut sheet) = Sheet::new(out, question.section) else {
            return Outcome::NoRoom;
        };
        match (found, qtype) {
            (Found::NoName, types::TXT) if self.is_version(question) => {
                sheet.octets(&QNAME, types::TXT, VERSION_TTL_S, VERSION);
            }
            (Found::NoName, _) => return Outcome::NoName,
            (Found::Alias(target), types::A | types::AAAA | types::CNAME) => {
                return Outcome::Alias(target);
            }
            (Found::Cluster(service, _), types::A | types::AAAA) => {
                service
                    .cluster_ips()
                    .for_each(|ip| self.put(&mut sheet, qtype, ip));
            }
            (Found::Cluster(service, filter), types::SRV) => {
                self.ports(&mut sheet, question, service, filter)
            }
            (Found::Endpoints(service, which), types::A) => {
                self.addresses(&mut sheet, service, which, |slice| slice.v4(), qtype);
            }
            (Found::Endpoints(service, which), types::AAAA) => {
                self.addresses(&mut sheet, service, which, |slice| slice.v6(), qtype);
            }
            (Found::Endpoints(service, which), types::SRV) => {
                self.endpoint_ports(&mut sheet, question, service, which);
            }
            (Found::Pod(ip), types::A | types::AAAA) => self.put(&mut sheet, qtype, ip),
            (Found::Pod(ip), types::SRV) => {
                if let Some(target) = sheet.service(&QNAME, self.ttl_s, 100, 0, &QNAME) {
                    sheet.section(Section::Additional);
                    sheet.address(&placed(target), self.ttl_s, ip);
                }
            }
            (Found::Server, types::A | types::AAAA) => {
                self.servers(view, |_, _, ip| self.put(&mut sheet, qtype, ip));
            }
            (Found::Nothing, types::NS) if is_apex => self.name_servers(&mut sheet, view, question),
            (Found::Nothing, types::SOA) if is_apex => {
                self.soa(&mut sheet, question, Section::Answer)
            }
            _ => {}
        }
        Outcome::Written(self.finish(sheet, question, Rcode::NOERROR))
    }

    /// Writes a reply without answers.
    pub(super) fn denial(
        &self,
        question: Question<'_>,
        rcode: Rcode,
        out: &mut [u8],
    ) -> Option<Written> {
        Some(self.finish(Sheet::new(out, question.section)?, question, rcode))
    }

    /// Ends a reply; one without answers gets the SOA record.
    fn finish(&self, mut sheet: Sheet<'_>, question: Question<'_>, rcode: Rcode) -> Written {
        if sheet.is_empty() {
            self.soa(&mut sheet, question, Section::Authority);
        }
        sheet.finish(rcode)
    }

    fn soa(&self, sheet: &mut Sheet<'_>, question: Question<'_>, section: Section) {
        sheet.section(section);
        let rest = question.zone_rest();
        let (server, mailbox) = (
            Name {
                labels: SERVER,
                rest,
            },
            Name {
                labels: &[b"hostmaster"],
                rest,
            },
        );
        // A serial has 32 bits (RFC 1982).
        let serial = self.served.cluster.store().modified_s() as u32;
        let numbers = [serial, 7_200, 1_800, 86_400, self.ttl_s];
        sheet.authority(
            &Name { labels: &[], rest },
            self.ttl_s.min(300),
            [&server, &mailbox],
            numbers,
        );
    }

    fn put(&self, sheet: &mut Sheet<'_>, qtype: u16, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) if qtype == types::A => sheet.addresses(self.ttl_s, &[ip.octets()]),
            IpAddr::V6(ip) if qtype == types::AAAA => sheet.addresses(self.ttl_s, &[ip.octets()]),
            _ => {}
        }
    }

    fn is_version(&self, question: Question<'_>) -> bool {
        question.name.strip_suffix(question.zone.wire()) == Some(b"\x0bdns-version")
    }

    // === finding ===

    fn find<'p>(&'p self, view: View<'p>, question: Question<'p>) -> Found<'p> {
        let zone_len = question.zone.wire().len();
        let schema = Schema {
            multicluster: self.multicluster.contains(question.zone),
            zonal: self.zonal,
        };
        match schema::read(question.name, zone_len, schema) {
            Request::Branch(Branch::Fixed) => Found::Nothing,
            // What lies below a reverse zone has another shape.
            _ if is_reverse(question.zone) => Found::NoName,
            Request::Branch(Branch::Namespace(name)) => match self.served.namespace(view, name) {
                Some(_) => Found::Nothing,
                None => Found::NoName,
            },
            Request::Pod { namespace, name } => self.pod(view, namespace, name),
            Request::Service(asked) => match self.served.namespace(view, asked.namespace) {
                Some(namespace) => self.service(view, namespace, asked, schema.multicluster),
                None => Found::NoName,
            },
            Request::Unknown if question.is_server() => Found::Server,
            Request::Unknown => Found::NoName,
        }
    }

    fn service<'p>(
        &self,
        view: View<'p>,
        namespace: Namespace,
        asked: Asked<'p>,
        is_imported: bool,
    ) -> Found<'p> {
        let Some(service) = view.service(namespace, asked.service, is_imported) else {
            return Found::NoName;
        };
        let is_endpoint = matches!(asked.part, Part::Endpoint { .. } | Part::Zone { .. });
        match (service.reach(), asked.part) {
            (Reach::Elsewhere, Part::Whole) if !service.other_name().is_empty() => {
                Found::Alias(service.other_name())
            }
            (Reach::Elsewhere, _) => Found::NoName,
            (Reach::ClusterIp, _) if !is_endpoint => {
                let filter = asked.part.filter();
                let is_empty = self.ignores_empty && !self.has_endpoints(service);
                match filter.admits_any(service.ports()) && !is_empty {
                    true => Found::Cluster(service, filter),
                    false => Found::NoName,
                }
            }
            _ if self.ignores_endpoints => Found::NoName,
            (Reach::ClusterIp, _) if self.ignores_empty && !self.has_endpoints(service) => {
                Found::NoName
            }
            (_, Part::Endpoint { endpoint, cluster }) => {
                let which = match dashed_address(endpoint) {
                    Some(ip) => Endpoints::At(ip, cluster),
                    None => Endpoints::Named(endpoint, cluster),
                };
                // A host name may look like an address.
                let named = Endpoints::Named(endpoint, cluster);
                match self.is_there(service, which) {
                    true => Found::Endpoints(service, which),
                    false if self.is_there(service, named) => Found::Endpoints(service, named),
                    false => Found::NoName,
                }
            }
            (_, Part::Zone { zone, is_pinned }) => {
                let (zone, all) = (Endpoints::Zone(zone), Endpoints::All(ANY));
                match self.is_there(service, zone) {
                    true => Found::Endpoints(service, zone),
                    false if !is_pinned && self.is_there(service, all) => {
                        Found::Endpoints(service, all)
                    }
                    false => Found::NoName,
                }
            }
            (_, part) => {
                let which = Endpoints::All(part.filter());
                match self.is_there(service, which) {
                    true => Found::Endpoints(service, which),
                    false => Found::NoName,
                }
            }
        }
    }

    fn has_endpoints(&self, service: Service<'_>) -> bool {
        service
            .slices()
            .any(|slice| slice.endpoints().next().is_some())
    }

    fn is_there<'p>(&self, service: Service<'p>, which: Endpoints<'p>) -> bool {
        let mut any = false;
        self.each(service, which, |slice, _| {
            any = any || which.filter().admits_any(slice.ports());
            !any
        });
        any
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

    fn pod<'p>(&self, view: View<'p>, namespace: &[u8], name: &[u8]) -> Found<'p> {
        let namespace = self.served.namespace(view, namespace);
        let (Some(namespace), Some(ip)) = (namespace, pod_address(name)) else {
            return Found::NoName;
        };
        match self.pods {
            Pods::Insecure => Found::Pod(ip),
            Pods::Verified if view.pods_at(ip).any(|pod| pod.namespace() == namespace) => {
                Found::Pod(ip)
            }
            Pods::Verified | Pods::Disabled => Found::NoName,
        }
    }

    // === writing ===

    /// The addresses of endpoints, of one family.
    fn addresses<'p, const N: usize>(
        &self,
        sheet: &mut Sheet<'_>,
        service: Service<'p>,
        which: Endpoints<'p>,
        all: impl Fn(&Slice<'p>) -> &'p [[u8; N]],
        qtype: u16,
    ) {
        let mut slices = service.slices();
        if let (Endpoints::All(filter), Some(slice), None) = (which, slices.next(), slices.next())
            && filter.admits_any(slice.ports())
        {
            // One slice has each address once.
            sheet.addresses(self.ttl_s, all(&slice));
            return;
        }
        self.each(service, which, |slice, endpoint| {
            if which.filter().admits_any(slice.ports()) {
                self.put(sheet, qtype, endpoint.ip);
            }
            !sheet.is_cut()
        });
    }

    /// SRV records of a service with addresses of its own.
    fn ports(
        &self,
        sheet: &mut Sheet<'_>,
        question: Question<'_>,
        service: Service<'_>,
        filter: Filter<'_>,
    ) {
        let ports = service.ports().filter(|port| filter.admits(port));
        let weight = weight(ports.clone().count() * service.cluster_ips().count());
        let target = Name {
            labels: &[],
            rest: Rest::Asked(question.service_at()),
        };
        let mut place = None;
        for (nth, port) in ports.clone().enumerate() {
            let is_new = !ports
                .clone()
                .take(nth)
                .any(|earlier| earlier.number == port.number);
            // A service without addresses has nothing to point to.
            if is_new && service.cluster_ips().next().is_some() {
                let at = sheet.service(&QNAME, self.ttl_s, weight, port.number, &target);
                place = place.or(at);
            }
        }
        if let Some(target) = place {
            sheet.section(Section::Additional);
            service
                .cluster_ips()
                .for_each(|ip| sheet.address(&placed(target), self.ttl_s, ip));
        }
    }

    /// SRV records of endpoints.
    fn endpoint_ports<'p>(
        &self,
        sheet: &mut Sheet<'_>,
        question: Question<'_>,
        service: Service<'p>,
        which: Endpoints<'p>,
    ) {
        let filter = which.filter();
        let mut count = 0;
        self.each(service, which, |slice, _| {
            count += slice
                .ports()
                .filter(|port| filter.admits(port))
                .count()
                .max(usize::from(slice.ports().next().is_none()));
            true
        });
        let weight = weight(count);
        self.each(service, which, |slice, endpoint| {
            let ports = slice.ports().filter(|port| filter.admits(port));
            let is_first = self.is_first_of_name(service, &endpoint);
            for (nth, port) in ports.clone().enumerate() {
                let is_new = !ports
                    .clone()
                    .take(nth)
                    .any(|earlier| earlier.number == port.number);
                if is_new && is_first && port.number != 0 {
                    self.with_name(question, slice, &endpoint, |name| {
                        sheet.service(&QNAME, self.ttl_s, weight, port.number, name);
                    });
                }
            }
            !sheet.is_cut()
        });
        sheet.section(Section::Additional);
        self.each(service, which, |slice, endpoint| {
            if slice
                .ports()
                .any(|port| filter.admits(&port) && port.number != 0)
            {
                self.with_name(question, slice, &endpoint, |name| {
                    sheet.address(name, self.ttl_s, endpoint.ip);
                });
            }
            !sheet.is_cut()
        });
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
        question: Question<'_>,
        slice: Slice<'_>,
        endpoint: &Endpoint<'_>,
        use_name: impl FnOnce(&Name<'_>),
    ) {
        let mut dashes = [0; DASHED];
        let label = self.served.label(endpoint, &mut dashes);
        use_name(&Name {
            labels: &[label, slice.cluster()],
            rest: Rest::Asked(question.service_at()),
        });
    }

    // === addresses to names ===

    fn pointers<'p>(
        &'p self,
        view: View<'p>,
        ip: IpAddr,
        question: Question<'p>,
        out: &mut [u8],
    ) -> Outcome<'p> {
        let Some(mut sheet) = Sheet::new(out, question.section) else {
            return Outcome::NoRoom;
        };
        let zone = &self.served.primary_zone;
        let is_exposed = |namespace: Namespace| self.served.shows(view, namespace);
        if let Some(service) = view
            .services_at(ip)
            .find(|service| is_exposed(service.namespace()))
        {
            let labels = [
                service.name(),
                view.namespace_name(service.namespace()),
                b"svc",
            ];
            let target = Name {
                labels: &labels,
                rest: Rest::Wire(zone.wire()),
            };
            sheet.pointer(&QNAME, types::PTR, self.ttl_s, &target);
            return Outcome::Written(sheet.finish(Rcode::NOERROR));
        }
        let found = view
            .slices_at(ip)
            .filter(|(slice, _)| !slice.is_imported() && is_exposed(slice.namespace()));
        // The zone as the first target has it.
        let mut zone_at = None;
        for (slice, endpoint) in found.filter(|_| !self.ignores_endpoints) {
            let mut dashes = [0; DASHED];
            let label = self.served.label(&endpoint, &mut dashes);
            let labels = [
                label,
                slice.service_name(),
                view.namespace_name(slice.namespace()),
                b"svc",
            ];
            let rest = zone_at.map_or(Rest::Wire(zone.wire()), Rest::Placed);
            let place = sheet.pointer(
                &QNAME,
                types::PTR,
                self.ttl_s,
                &Name {
                    labels: &labels,
                    rest,
                },
            );
            if zone_at.is_none() {
                let before: usize = labels
                    .iter()
                    .map(|label| label.len() + usize::from(!label.is_empty()))
                    .sum();
                zone_at = place.map(|place| place.behind(before));
            }
        }
        match sheet.is_empty() {
            true => Outcome::NoName,
            false => Outcome::Written(sheet.finish(Rcode::NOERROR)),
        }
    }

    // === this server ===

    /// Calls `each` with the label before the service, the service and the address of every service that this server is an endpoint of; or
    /// with its own addresses where there is none.
    fn servers<'p>(
        &'p self,
        view: View<'p>,
        mut each: impl FnMut(&[u8], Option<Service<'p>>, IpAddr),
    ) {
        let mut any = false;
        for local in &self.served.local_ips {
            for (slice, _) in view.slices_at(*local) {
                let Some(service) = slice.service() else {
                    continue;
                };
                if service.reach() == Reach::Headless {
                    for endpoint in slice.endpoints() {
                        let mut dashes = [0; DASHED];
                        let label = self.served.label(&endpoint, &mut dashes);
                        each(label, Some(service), endpoint.ip);
                        any = true;
                    }
                } else {
                    for ip in service.cluster_ips() {
                        each(&[], Some(service), ip);
                        any = true;
                    }
                }
            }
        }
        if !any {
            self.served
                .local_ips
                .iter()
                .for_each(|ip| each(&[], None, *ip));
        }
    }

    fn name_servers<'p>(&'p self, sheet: &mut Sheet<'_>, view: View<'p>, question: Question<'p>) {
        let rest = question.zone_rest();
        for section in [Section::Answer, Section::Additional] {
            sheet.section(section);
            // Those of one service follow each other.
            let mut last: Option<(Option<&[u8]>, Option<Namespace>)> = None;
            self.servers(view, |label, service, ip| {
                let namespace = service.map(|service| view.namespace_name(service.namespace()));
                let labels = match (&service, namespace) {
                    (Some(service), Some(namespace)) => [label, service.name(), namespace, b"svc"],
                    _ => [SERVER[0], SERVER[1], b"", b""],
                };
                let name = Name {
                    labels: &labels,
                    rest,
                };
                if section == Section::Additional {
                    sheet.address(&name, self.ttl_s, ip);
                    return;
                }
                let this = (
                    service.map(|service| service.name()),
                    service.map(|service| service.namespace()),
                );
                if last != Some(this) || !label.is_empty() {
                    sheet.pointer(&QNAME, types::NS, self.ttl_s, &name);
                }
                last = Some(this);
            });
        }
    }
}

impl<'a> Question<'a> {
    /// The zone, as the question has it.
    fn zone_rest(&self) -> Rest<'static> {
        Rest::Asked(self.name.len() - self.zone.wire().len())
    }

    /// Where the label of the service begins: four labels and the zone behind it.
    fn service_at(&self) -> usize {
        match schema::read(
            self.name,
            self.zone.wire().len(),
            Schema {
                multicluster: true,
                zonal: true,
            },
        ) {
            Request::Service(asked) => asked.service_at,
            _ => 0,
        }
    }

    /// Whether it is `ns.dns` in the zone.
    fn is_server(&self) -> bool {
        self.name.strip_suffix(self.zone.wire()) == Some(b"\x02ns\x03dns")
    }
}

impl<'n> Part<'n> {
    fn filter(self) -> Filter<'n> {
        match self {
            Part::Port { port, protocol } => Filter { port, protocol },
            _ => ANY,
        }
    }
}

impl<'p> Endpoints<'p> {
    fn filter(self) -> Filter<'p> {
        match self {
            Endpoints::All(filter) => filter,
            _ => ANY,
        }
    }
}

impl Filter<'_> {
    fn admits(&self, port: &Port<'_>) -> bool {
        let protocol: &[u8] = match port.protocol {
            Protocol::Tcp => b"tcp",
            Protocol::Udp => b"udp",
            Protocol::Sctp => b"sctp",
        };
        (self.port.is_empty() || *self.port == *port.name)
            && (self.protocol.is_empty() || *self.protocol == *protocol)
    }

    /// Whether one of them is meant; no ports at all stand for one without name and number.
    fn admits_any<'p>(&self, mut ports: impl Iterator<Item = Port<'p>> + Clone) -> bool {
        match ports.clone().next() {
            None => self.port.is_empty() && self.protocol.is_empty(),
            Some(_) => ports.any(|port| self.admits(&port)),
        }
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

/// 100 shared by so many, at least 1.
fn weight(count: usize) -> u16 {
    (100 / count.max(1)).max(1) as u16
}

fn placed(place: crate::wire::sheet::Place) -> Name<'static> {
    Name {
        labels: &[],
        rest: Rest::Placed(place),
    }
}

// === addresses as labels ===

/// The address that the label of a pod spells, dashes for dots or colons.
fn pod_address(label: &[u8]) -> Option<IpAddr> {
    let dashes = label.iter().filter(|octet| **octet == b'-').count();
    let is_v4 = dashes == 3 && !label.windows(2).any(|pair| pair == b"--");
    let mut text = [0; 45];
    let text = text.get_mut(..label.len())?;
    for (octet, place) in label.iter().zip(text.iter_mut()) {
        *place = match octet {
            b'-' if is_v4 => b'.',
            b'-' => b':',
            other => *other,
        };
    }
    let text = std::str::from_utf8(text).ok()?;
    match is_v4 {
        true => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        false => text
            .parse::<Ipv6Addr>()
            .ok()
            .map(|ip| IpAddr::V6(ip).to_canonical()),
    }
}

/// The address whose dashed form is exactly this label.
fn dashed_address(label: &[u8]) -> Option<IpAddr> {
    let ip = match label.last() {
        // CoreDNS ends `fd00::` with a zero.
        Some(b'0') => pod_address(label).or_else(|| pod_address(&label[..label.len() - 1])),
        _ => pod_address(label),
    }?;
    let mut dashes = [0; DASHED];
    (*write_dashed(ip, &mut dashes) == *label).then_some(ip)
}

/// The name of the server in its zone.
const SERVER: &[&[u8]] = &[b"ns", b"dns"];
/// The version of the specification as TXT rdata.
const VERSION: &[u8] = b"\x051.1.0";
const VERSION_TTL_S: u32 = 28_800;
