//! From a question to its answer, written straight to wire, as *kubernetes* does it.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::net::IpAddr;

use super::Config;
use crate::kube::record::{Kind, Reach};
use crate::kube::records::{ANY, Endpoints, Filter, Question, Records, numbers, placed, weight};
use crate::kube::schema::{labels, reverse_address, without_underscore};
use crate::kube::store::{External, Service, View};
use crate::kube::{EXTERNAL_LABELS, Served};
use crate::wire::direct::Written;
use crate::wire::rcode::Rcode;
use crate::wire::reply::Section;
use crate::wire::sheet::{Name, QNAME, Rest, Sheet};
use crate::wire::types;

/// What becomes of a question.
pub(super) enum Outcome<'p> {
    /// The reply stands in the buffer.
    Written(Written),
    /// No such name: it may go on to the next plugin.
    NoName,
    /// A service that is reached by names, which have to be looked up.
    Lookups(Exposed<'p>),
    /// A transfer, which is refused.
    Refused,
    /// The buffer is too small for header and question.
    NoRoom,
}

/// A service with ways in from outside.
#[derive(Clone, Copy)]
pub(super) struct Exposed<'p> {
    pub(super) service: Service<'p>,
    /// The ports that are asked for.
    pub(super) filter: Filter<'p>,
    /// Where the label of the service begins in QNAME.
    pub(super) service_at: usize,
}

/// What a name stands for.
enum Found<'p> {
    /// A name without records of its own.
    Nothing,
    NoName,
    /// No such name, and nobody else's.
    Denied,
    /// `ns1` in the apex's own branch.
    Server,
    Exposed(Exposed<'p>),
    Endpoints(Service<'p>, Endpoints<'p>, usize),
}

impl Config {
    /// Answers a question into `out`.
    pub(super) fn answer<'p>(
        &'p self,
        served: &'p Served,
        view: View<'p>,
        question: Question<'p>,
        out: &mut [u8],
    ) -> Outcome<'p> {
        let qtype = question.qtype;
        if matches!(qtype, types::AXFR | types::IXFR) {
            return Outcome::Refused;
        }
        let is_apex = question.name.len() == question.zone.wire().len();
        if qtype == types::PTR
            && !is_apex
            && let Some(ip) = reverse_address(question.name)
        {
            return self.pointers(served, view, ip, question, out);
        }
        let found = match is_apex {
            true => Found::Nothing,
            false => self.find(served, view, question),
        };
        let Some(mut sheet) = Sheet::new(out, question.section) else {
            return Outcome::NoRoom;
        };
        let records = Records {
            served,
            ttl_s: self.ttl_s,
        };
        let mut rcode = Rcode::NOERROR;
        match (found, qtype) {
            (Found::NoName, _) => return Outcome::NoName,
            (Found::Denied, _) => rcode = Rcode::NXDOMAIN,
            (Found::Exposed(exposed), types::A | types::AAAA | types::SRV)
                if exposed.needs_lookups(qtype) =>
            {
                return Outcome::Lookups(exposed);
            }
            (Found::Exposed(exposed), types::A | types::AAAA) => {
                exposed
                    .ips()
                    .for_each(|ip| records.address(&mut sheet, qtype, ip));
            }
            (Found::Exposed(exposed), types::SRV) => self.ports(&mut sheet, served, exposed),
            (Found::Endpoints(service, which, _), types::A | types::AAAA) => {
                records.addresses(&mut sheet, qtype, service, which, question.salt);
            }
            (Found::Endpoints(service, which, service_at), types::SRV) => {
                records.ports(&mut sheet, service_at, service, which);
            }
            (Found::Server, types::A | types::AAAA) => {
                self.servers(served, view, |ip| records.address(&mut sheet, qtype, ip));
            }
            (_, types::NS) if is_apex => self.name_server(&mut sheet, served, view, question),
            (_, types::SOA) if is_apex => self.soa(&mut sheet, served, question, Section::Answer),
            _ => {}
        }
        Outcome::Written(self.finish(sheet, served, question, rcode))
    }

    /// Writes a reply without answers.
    pub(super) fn denial(
        &self,
        served: &Served,
        question: Question<'_>,
        rcode: Rcode,
        out: &mut [u8],
    ) -> Option<Written> {
        let sheet = Sheet::new(out, question.section)?;
        Some(self.finish(sheet, served, question, rcode))
    }

    /// Ends a reply; one without answers gets the SOA record.
    fn finish(
        &self,
        mut sheet: Sheet<'_>,
        served: &Served,
        question: Question<'_>,
        rcode: Rcode,
    ) -> Written {
        if sheet.is_empty() {
            self.soa(&mut sheet, served, question, Section::Authority);
        }
        sheet.finish(rcode)
    }

    // === finding ===

    fn find<'p>(&self, served: &'p Served, view: View<'p>, question: Question<'p>) -> Found<'p> {
        let mut room = [(0, &[][..]); EXTERNAL_LABELS];
        let Some(labels) = labels(question.name, question.zone.wire().len(), &mut room) else {
            return Found::NoName;
        };
        match *labels {
            [(_, apex), ref rest @ ..] if *apex == *self.external.apex => match rest {
                [] => Found::Nothing,
                [(_, b"ns1")] => Found::Server,
                _ => Found::Denied,
            },
            [(_, namespace)] => match served.namespace(view, namespace) {
                Some(_) => Found::Nothing,
                None => Found::NoName,
            },
            [(_, namespace), (service_at, name), ref rest @ ..] => {
                let namespace = served.namespace(view, namespace);
                let service = namespace.and_then(|known| view.service(known, name, false));
                match service {
                    Some(service) => self.service(served, service, service_at, rest),
                    None => Found::NoName,
                }
            }
            [] => Found::Nothing,
        }
    }

    /// `rest` are the labels in front of that of the service: of an endpoint, or of a protocol and a port.
    fn service<'p>(
        &self,
        served: &'p Served,
        service: Service<'p>,
        service_at: usize,
        rest: &[(usize, &'p [u8])],
    ) -> Found<'p> {
        let filter = match *rest {
            [(_, protocol), (_, port)] => {
                Filter::new(without_underscore(port), without_underscore(protocol))
            }
            _ => ANY,
        };
        let has_ways = service.externals().next().is_some();
        if has_ways || !self.external.is_headless {
            // As in CoreDNS, a label of an endpoint narrows nothing down.
            return match has_ways && filter.admits_any(service.ports()) {
                true => Found::Exposed(Exposed {
                    service,
                    filter,
                    service_at,
                }),
                false => Found::NoName,
            };
        }
        let records = Records {
            served,
            ttl_s: self.ttl_s,
        };
        let which = match *rest {
            // `noendpoints`: they may be known all the same, to another block.
            _ if !served.kinds.holds(Kind::Slice) => None,
            [(_, endpoint)] => records.labelled(service, without_underscore(endpoint), &[]),
            _ if service.reach() == Reach::Headless => {
                let all = Endpoints::All(filter);
                records.is_there(service, all).then_some(all)
            }
            _ => None,
        };
        match which {
            Some(which) => Found::Endpoints(service, which, service_at),
            None => Found::NoName,
        }
    }

    // === writing ===

    /// SRV records of a service that is reached at addresses.
    fn ports(&self, sheet: &mut Sheet<'_>, served: &Served, exposed: Exposed<'_>) {
        let (weight, mut place) = (exposed.weight(), None);
        let target = Name {
            labels: &[],
            rest: Rest::Asked(exposed.service_at),
        };
        for port in exposed.ports() {
            let at = sheet.service(&QNAME, served.ttl_s, weight, port, &target);
            place = place.or(at);
        }
        if let Some(target) = place {
            sheet.section(Section::Additional);
            exposed
                .ips()
                .for_each(|ip| sheet.address(&placed(target), self.ttl_s, ip));
        }
    }

    /// The services that an address leads to.
    fn pointers<'p>(
        &'p self,
        served: &Served,
        view: View<'p>,
        ip: IpAddr,
        question: Question<'p>,
        out: &mut [u8],
    ) -> Outcome<'p> {
        let Some(mut sheet) = Sheet::new(out, question.section) else {
            return Outcome::NoRoom;
        };
        // Names of addresses are in the first zone, whichever was asked for.
        let zone = self.external.zones.first().unwrap_or(question.zone);
        let found = view.services_exposed_at(ip);
        for service in found.filter(|service| served.shows(view, service.namespace())) {
            let labels = [service.name(), view.namespace_name(service.namespace())];
            let target = Name {
                labels: &labels,
                rest: Rest::Wire(zone.wire()),
            };
            sheet.pointer(&QNAME, types::PTR, self.ttl_s, &target);
        }
        match sheet.is_empty() {
            true => Outcome::NoName,
            false => Outcome::Written(sheet.finish(Rcode::NOERROR)),
        }
    }

    fn soa(
        &self,
        sheet: &mut Sheet<'_>,
        served: &Served,
        question: Question<'_>,
        section: Section,
    ) {
        sheet.section(section);
        let rest = question.zone_rest();
        let name = |labels| Name { labels, rest };
        let (server, mailbox) = (
            [SERVER, &*self.external.apex],
            [b"hostmaster", &*self.external.apex],
        );
        // A serial has 32 bits (RFC 1982).
        let serial = served.cluster.store().externally_modified_s() as u32;
        let numbers = [serial, 7_200, 1_800, 86_400, self.ttl_s];
        let names = [&name(&server), &name(&mailbox)];
        sheet.authority(&name(&[]), self.ttl_s, names, numbers);
    }

    // === this server ===

    fn name_server(
        &self,
        sheet: &mut Sheet<'_>,
        served: &Served,
        view: View<'_>,
        question: Question<'_>,
    ) {
        let server = Name {
            labels: &[SERVER, &self.external.apex],
            rest: question.zone_rest(),
        };
        let place = sheet.pointer(&QNAME, types::NS, self.ttl_s, &server);
        sheet.section(Section::Additional);
        let owner = match place {
            Some(place) => placed(place),
            None => server,
        };
        self.servers(served, view, |ip| sheet.address(&owner, self.ttl_s, ip));
    }

    /// Calls `each` with the addresses at which this server is reached from outside: those of the services that it is behind, or else its
    /// own.
    fn servers(&self, served: &Served, view: View<'_>, mut each: impl FnMut(IpAddr)) {
        let mut any = false;
        for (slice, service) in served.own_slices(view) {
            if self.external.is_headless && service.reach() == Reach::Headless {
                for endpoint in slice.endpoints() {
                    each(endpoint.ip);
                    any = true;
                }
            } else {
                for ip in ips(service) {
                    each(ip);
                    any = true;
                }
            }
        }
        if !any {
            served.local_ips.iter().for_each(|ip| each(*ip));
        }
    }
}

impl<'p> Exposed<'p> {
    /// Addresses that it is reached at.
    fn ips(&self) -> impl Iterator<Item = IpAddr> + use<'p> {
        ips(self.service)
    }

    /// The ports that are asked for, each once.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> + use<'p> {
        numbers(self.service.ports(), self.filter)
    }

    /// The weight of each of its SRV records.
    pub(super) fn weight(&self) -> u16 {
        let ports = self.service.ports().filter(|port| self.filter.admits(port));
        weight(ports.count() * self.service.externals().count())
    }

    /// Whether one of the ways in is a name, and what is asked for depends on it.
    fn needs_lookups(&self, qtype: u16) -> bool {
        let mut ways = self.service.externals();
        let has_names = ways.any(|way| matches!(way, External::Name(_)));
        has_names && (qtype != types::SRV || self.ports().next().is_some())
    }
}

/// The addresses among a service's ways in.
fn ips<'p>(service: Service<'p>) -> impl Iterator<Item = IpAddr> + use<'p> {
    service.externals().filter_map(|way| match way {
        External::Ip(ip) => Some(ip),
        External::Name(_) => None,
    })
}

/// The server's name in the apex's own branch.
const SERVER: &[u8] = b"ns1";
