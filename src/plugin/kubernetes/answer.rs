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

use std::net::IpAddr;

use super::{Config, Pods};
use crate::kube::labels::{DASHED, pod_address};
use crate::kube::record::Reach;
use crate::kube::records::{ANY, Endpoints, Filter, Question, Records, numbers, placed, weight};
use crate::kube::schema::{
    self, Asked, Branch, Part, Request, Schema, is_reverse, reverse_address,
};
use crate::kube::store::{Endpoint, Namespace, Service, Slice, View};
use crate::limits;
use crate::wire::direct::Written;
use crate::wire::rcode::Rcode;
use crate::wire::reply::Section;
use crate::wire::sheet::{Name, QNAME, Rest, Sheet};
use crate::wire::{HEADER, types};

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
    /// The number is where the label of the service begins in QNAME, here and in the next one.
    Cluster(Service<'p>, Filter<'p>, usize),
    Endpoints(Service<'p>, Endpoints<'p>, usize),
    Alias(&'p [u8]),
    Pod(IpAddr),
    /// `ns.dns` in the zone.
    Server,
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
        let records = self.records();
        match (found, qtype) {
            (Found::NoName, types::TXT) if self.is_version(question) => {
                sheet.octets(&QNAME, types::TXT, VERSION_TTL_S, VERSION);
            }
            (Found::NoName, _) => return Outcome::NoName,
            (Found::Alias(target), types::A | types::AAAA | types::CNAME) => {
                return Outcome::Alias(target);
            }
            (Found::Cluster(service, ..), types::A | types::AAAA) => {
                service
                    .cluster_ips()
                    .for_each(|ip| records.address(&mut sheet, qtype, ip));
            }
            (Found::Cluster(service, filter, service_at), types::SRV) => {
                self.ports(&mut sheet, service_at, service, filter)
            }
            (Found::Endpoints(service, which, _), types::A | types::AAAA) => {
                records.addresses(&mut sheet, qtype, service, which, question.salt);
            }
            (Found::Endpoints(service, which, service_at), types::SRV) => {
                records.ports(&mut sheet, service_at, service, which);
            }
            (Found::Pod(ip), types::A | types::AAAA) => records.address(&mut sheet, qtype, ip),
            (Found::Pod(ip), types::SRV) => {
                if let Some(target) = sheet.service(&QNAME, self.served.ttl_s, 100, 0, &QNAME) {
                    sheet.section(Section::Additional);
                    sheet.address(&placed(target), self.served.ttl_s, ip);
                }
            }
            (Found::Server, types::A | types::AAAA) => {
                self.servers(view, |_, _, ip| records.address(&mut sheet, qtype, ip));
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
        let zone_len = question.zone.wire().len();
        let zone_at = 0xc000 | (HEADER + question.name.len() - zone_len) as u16;
        let ttl_s = self.served.ttl_s;
        // A serial has 32 bits (RFC 1982).
        let serial = self.served.cluster.store().modified_s() as u32;
        let mut record = *SOA;
        for place in [OWNER_AT, SERVER_AT, MAILBOX_AT] {
            record[place..place + 2].copy_from_slice(&zone_at.to_be_bytes());
        }
        for (place, number) in [
            (TTL_AT, ttl_s.min(300)),
            (SERIAL_AT, serial),
            (MINIMUM_AT, ttl_s),
        ] {
            record[place..place + 4].copy_from_slice(&number.to_be_bytes());
        }
        sheet.prepared(&record, SOA.len() + 3 * (zone_len - 2));
    }

    fn records(&self) -> Records<'_> {
        Records {
            served: &self.served,
            ttl_s: self.served.ttl_s,
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
            Request::Branch(Branch::PodNamespace(name)) => {
                let namespace = self.served.namespace(view, name);
                match namespace.filter(|_| self.pods != Pods::Disabled) {
                    Some(_) => Found::Nothing,
                    None => Found::NoName,
                }
            }
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
        let records = self.records();
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
                    true => Found::Cluster(service, filter, asked.service_at),
                    false => Found::NoName,
                }
            }
            _ if self.ignores_endpoints => Found::NoName,
            (Reach::ClusterIp, _) if self.ignores_empty && !self.has_endpoints(service) => {
                Found::NoName
            }
            (_, Part::Endpoint { endpoint, cluster }) => {
                match records.labelled(service, endpoint, cluster) {
                    Some(which) => Found::Endpoints(service, which, asked.service_at),
                    None => Found::NoName,
                }
            }
            (Reach::ClusterIp, Part::Zone { .. }) => Found::NoName,
            (_, Part::Zone { zone, is_pinned }) => {
                let (zone, all) = (Endpoints::Zone(zone), Endpoints::All(ANY));
                match records.is_there(service, zone) {
                    true => Found::Endpoints(service, zone, asked.service_at),
                    // The name is there, whatever zones have endpoints; before they are known it is not denied.
                    false if is_pinned && self.served.is_synced() => Found::Nothing,
                    false if is_pinned => Found::NoName,
                    false if records.is_there(service, all) => {
                        Found::Endpoints(service, all, asked.service_at)
                    }
                    false => Found::NoName,
                }
            }
            (_, part) => {
                let which = Endpoints::All(part.filter());
                match records.is_there(service, which) {
                    true => Found::Endpoints(service, which, asked.service_at),
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

    /// SRV records of a service with addresses of its own.
    fn ports(
        &self,
        sheet: &mut Sheet<'_>,
        service_at: usize,
        service: Service<'_>,
        filter: Filter<'_>,
    ) {
        // One pass tells all of most services: how many ports are meant, and the number of the only one.
        let (mut count, mut only) = (0, None);
        for port in service.ports().filter(|port| filter.admits(port)) {
            count += 1;
            only = Some(port.number);
        }
        let ips = service.cluster_ips().count();
        let weight = weight(count * ips);
        let ttl_s = self.served.ttl_s;
        let target = Name {
            labels: &[],
            rest: Rest::Asked(service_at),
        };
        let mut place = None;
        match only {
            // A service without addresses has nothing to point to.
            _ if ips == 0 => {}
            Some(port) if count == 1 && port != 0 => {
                place = sheet.service(&QNAME, ttl_s, weight, port, &target);
            }
            _ => {
                for port in numbers(service.ports(), filter) {
                    let at = sheet.service(&QNAME, ttl_s, weight, port, &target);
                    place = place.or(at);
                    if sheet.is_cut() {
                        break;
                    }
                }
            }
        }
        if let Some(target) = place {
            sheet.section(Section::Additional);
            service
                .cluster_ips()
                .for_each(|ip| sheet.address(&placed(target), self.served.ttl_s, ip));
        }
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
            sheet.pointer(&QNAME, types::PTR, self.served.ttl_s, &target);
            return Outcome::Written(sheet.finish(Rcode::NOERROR));
        }
        let found = view
            .slices_at(ip)
            .filter(|(slice, _)| !slice.is_imported() && is_exposed(slice.namespace()));
        let found = found.filter(|_| !self.ignores_endpoints);
        // A pod is behind a few services; an address of a node may be behind many.
        let found = found.take(limits::KUBE_POINTERS);
        let is_same = |(a, with): (Slice<'p>, Endpoint<'p>),
                       (b, other): (Slice<'p>, Endpoint<'p>)| {
            a.is_of_service_of(&b) && self.served.own_label(&with) == self.served.own_label(&other)
        };
        // The zone as the first target has it.
        let mut zone_at = None;
        for (nth, (slice, endpoint)) in found.clone().enumerate() {
            if found
                .clone()
                .take(nth)
                .any(|earlier| is_same(earlier, (slice, endpoint)))
            {
                continue;
            }
            let mut dashes = [0; DASHED];
            let label = self.served.label(&endpoint, &mut dashes);
            let labels = [
                label,
                slice.service_name(),
                view.namespace_name(slice.namespace()),
                b"svc",
            ];
            let rest = zone_at.map_or(Rest::Wire(zone.wire()), Rest::Placed);
            let target = Name {
                labels: &labels,
                rest,
            };
            let place = sheet.pointer(&QNAME, types::PTR, self.served.ttl_s, &target);
            if zone_at.is_none() {
                let before = labels
                    .iter()
                    .map(|label| label.len() + usize::from(!label.is_empty()));
                zone_at = place.map(|place| place.behind(before.sum()));
            }
            if sheet.is_cut() {
                break;
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
        for (slice, service) in self.served.own_slices(view) {
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
                    sheet.address(&name, self.served.ttl_s, ip);
                    return;
                }
                let this = (
                    service.map(|service| service.name()),
                    service.map(|service| service.namespace()),
                );
                if last != Some(this) || !label.is_empty() {
                    sheet.pointer(&QNAME, types::NS, self.served.ttl_s, &name);
                }
                last = Some(this);
            });
        }
    }
}

impl<'a> Question<'a> {
    /// Whether it is `ns.dns` in the zone.
    fn is_server(&self) -> bool {
        self.name.strip_suffix(self.zone.wire()) == Some(b"\x02ns\x03dns")
    }
}

impl<'n> Part<'n> {
    fn filter(self) -> Filter<'n> {
        match self {
            Part::Port { port, protocol } => Filter::new(port, protocol),
            _ => ANY,
        }
    }
}

/// The name of the server in its zone.
const SERVER: &[&[u8]] = &[b"ns", b"dns"];
/// The version of the specification as TXT rdata.
const VERSION: &[u8] = b"\x051.1.0";
const VERSION_TTL_S: u32 = 28_800;
/// The SOA record of a zone, without what differs: three pointers to the zone, TTL, serial and minimum. The server is `ns.dns`, the mailbox
/// `hostmaster`; refresh is 7,200 s, retry 1,800 s, expire 86,400 s.
const SOA: &[u8; 54] = b"\0\0\0\x06\0\x01\0\0\0\0\0\x2a\x02ns\x03dns\0\0\x0ahostmaster\0\0\0\0\0\0\0\0\x1c\x20\0\0\x07\x08\0\x01\x51\x80\0\0\0\0";
const OWNER_AT: usize = 0;
const TTL_AT: usize = 6;
const SERVER_AT: usize = 19;
const MAILBOX_AT: usize = 32;
const SERIAL_AT: usize = 34;
const MINIMUM_AT: usize = 50;
