//! *k8s_external*: the services of a cluster under the addresses at which they are reached from outside.

mod answer;
mod setup;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use self::answer::{Exposed, Outcome};
use crate::corefile::{Args, SetupError, longest_match};
use crate::kube::records::Question;
use crate::kube::schema::is_reverse;
use crate::kube::store::{self, View};
use crate::kube::{External, Served};
use crate::limits;
use crate::plugin::{
    Flow, Offers, OpenCx, PlainFlow, PlainPart, PlainQuery, Plugin, Query, SetupCx, TaskCx,
};
use crate::runtime::epoch::Pin;
use crate::wire::direct::Written;
use crate::wire::name::NameBuf;
use crate::wire::rcode::Rcode;
use crate::wire::reply::{Reply, Section};
use crate::wire::{flag, types};

/// See the README beside this file.
pub struct K8sExternal {
    config: Arc<Config>,
    /// A reply on the long way, before it is taken over; made for the first.
    scratch: RefCell<Vec<u8>>,
}

/// What the block says.
pub struct Config {
    /// Where *kubernetes*, which stands below, puts the cluster.
    offers: Arc<Offers>,
    external: Arc<External>,
    ttl_s: u32,
}

impl Plugin for K8sExternal {
    type Config = Config;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
        setup::parse(args, cx)
    }

    fn open(config: &Arc<Config>, _: &OpenCx<'_>) -> K8sExternal {
        K8sExternal {
            config: Arc::clone(config),
            scratch: RefCell::default(),
        }
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        let decision = self.with_question(query, |served, view, question, scratch| {
            self.config.decide(served, view, question, scratch)
        });
        match decision {
            None | Some(Decision::Next) => Flow::Next,
            Some(Decision::Park) => Flow::Park,
            Some(Decision::Refuse) => {
                query.unwritten(Rcode::REFUSED);
                Flow::Reply
            }
            Some(Decision::Reply(written)) => {
                query.take_over(&written, &self.scratch.borrow());
                Flow::Reply
            }
        }
    }

    fn plain_part(&self) -> PlainPart {
        PlainPart::QUERY
    }

    fn plain_query<'a>(&'a self, query: &mut PlainQuery<'a>, out: &mut [u8]) -> PlainFlow {
        let plain = query.plain;
        let zone = longest_match(&self.config.external.zones, plain.name());
        let (Some(zone), Some(served)) = (zone, self.config.offers.cluster.get()) else {
            return PlainFlow::Next;
        };
        let question = Question {
            zone,
            name: plain.name(),
            qtype: plain.qtype,
            section: query.question(),
            salt: plain.id,
        };
        let view = served.view(query.pin);
        match self.config.decide(served, view, question, query.clip(out)) {
            Decision::Reply(written) => query.replied(Some(written)),
            Decision::Next => PlainFlow::Next,
            Decision::Park | Decision::Refuse => PlainFlow::Long,
        }
    }

    /// Looks up the names of load balancers.
    async fn wait_query(&self, query: &mut Query, cx: &TaskCx) -> Flow {
        let Some(ways) = self.ways(query) else {
            // It is reached at addresses now.
            return match self.on_query(query) {
                Flow::Park => {
                    query.unwritten(Rcode::SERVFAIL);
                    Flow::Reply
                }
                flow => flow,
            };
        };
        let qtypes = match query.qtype {
            types::SRV => &[types::A, types::AAAA][..],
            types::A => &[types::A],
            _ => &[types::AAAA],
        };
        // Of each name in turn, of each type.
        let mut children = Vec::new();
        for name in ways.names() {
            for qtype in qtypes {
                children.push(cx.lookup(query, name, *qtype).await);
            }
        }
        let mut found = children
            .iter_mut()
            .map(|child| child.written().map(|reply| &*reply));
        match query.qtype {
            types::SRV => self.write_ports(query, &ways, &mut found),
            _ => self.write_addresses(query, &ways, &mut found),
        }
        Flow::Reply
    }
}

/// What the plugin does with a query.
enum Decision {
    Reply(Written),
    Next,
    Park,
    Refuse,
}

/// How a service is reached, kept while its names are looked up.
struct Ways {
    all: Vec<Way>,
    ports: Vec<u16>,
    weight: u16,
    /// The service in the zone.
    target: Box<[u8]>,
    /// The TTL of *kubernetes*.
    ttl_s: u32,
}

enum Way {
    Ip(IpAddr),
    Name(Box<NameBuf>),
}

impl Ways {
    fn of(exposed: Exposed<'_>, served: &Served, question: Question<'_>) -> Ways {
        let ways = exposed.service.externals().map(|way| match way {
            store::External::Ip(ip) => Way::Ip(ip),
            // They were checked when they were stored.
            store::External::Name(name) => {
                Way::Name(Box::new(NameBuf::from_wire(name).unwrap_or(NameBuf::ROOT)))
            }
        });
        Ways {
            all: ways.take(limits::KUBE_EXTERNAL_LOOKUPS).collect(),
            ports: exposed.ports().collect(),
            weight: exposed.weight(),
            target: question.name[exposed.service_at..].into(),
            ttl_s: served.ttl_s,
        }
    }

    fn names(&self) -> impl Iterator<Item = &NameBuf> {
        self.all.iter().filter_map(|way| match way {
            Way::Ip(_) => None,
            Way::Name(name) => Some(&**name),
        })
    }
}

impl Config {
    fn decide(
        &self,
        served: &Served,
        view: View<'_>,
        question: Question<'_>,
        out: &mut [u8],
    ) -> Decision {
        match self.answer(served, view, question, out) {
            Outcome::Written(written) => Decision::Reply(written),
            Outcome::Lookups(_) | Outcome::NoRoom => Decision::Park,
            Outcome::Refused => Decision::Refuse,
            Outcome::NoName => {
                let is_synced = served.is_synced();
                let falls = self.external.fall.through(question.name);
                // What may be a name of the cluster is nobody else's to answer while it is not known which there are.
                if falls && (is_synced || is_reverse(question.zone)) {
                    return Decision::Next;
                }
                let rcode = match is_synced {
                    true => Rcode::NXDOMAIN,
                    false => Rcode::SERVFAIL,
                };
                match self.denial(served, question, rcode, out) {
                    Some(written) => Decision::Reply(written),
                    None => Decision::Park,
                }
            }
        }
    }
}

impl K8sExternal {
    /// The ways to the service that is asked for, if some of them are names.
    fn ways(&self, query: &Query) -> Option<Ways> {
        let ways = self.with_question(query, |served, view, question, scratch| {
            match self.config.answer(served, view, question, scratch) {
                Outcome::Lookups(exposed) => Some(Ways::of(exposed, served, question)),
                _ => None,
            }
        });
        ways.flatten()
    }

    /// Addresses, and CNAME records with what they lead to. `found` has an outcome for each name.
    fn write_addresses<'f>(
        &self,
        query: &mut Query,
        ways: &Ways,
        found: &mut impl Iterator<Item = Option<&'f Reply>>,
    ) {
        let qtype = query.qtype;
        let (owner, reply) = query.respond_to_name();
        reply.set_flag(flag::AA, true);
        for way in &ways.all {
            match way {
                Way::Ip(ip) if rtype_of(*ip) == qtype => {
                    push_address(reply, Section::Answer, owner, self.config.ttl_s, *ip);
                }
                Way::Ip(_) => {}
                Way::Name(name) => {
                    let (rtype, class) = (types::CNAME, types::CLASS_IN);
                    let target = name.as_wire();
                    reply.push(Section::Answer, owner, rtype, class, ways.ttl_s, target);
                    if let Some(end) = found.next().flatten() {
                        reply.push_answers_of(end, Section::Answer);
                        reply.flags |= end.flags & flag::TC;
                    }
                }
            }
        }
    }

    /// SRV records that lead to the service where it has addresses, and to its names. `found` has two outcomes for each name.
    fn write_ports<'f>(
        &self,
        query: &mut Query,
        ways: &Ways,
        found: &mut impl Iterator<Item = Option<&'f Reply>>,
    ) {
        let (owner, reply) = query.respond_to_name();
        reply.set_flag(flag::AA, true);
        let mut is_told = false;
        for way in &ways.all {
            let target = match way {
                Way::Ip(ip) => {
                    let target = &*ways.target;
                    push_address(reply, Section::Additional, target, self.config.ttl_s, *ip);
                    if std::mem::replace(&mut is_told, true) {
                        continue;
                    }
                    target
                }
                Way::Name(name) => {
                    for end in found.by_ref().take(2).flatten() {
                        reply.push_answers_of(end, Section::Additional);
                    }
                    name.as_wire()
                }
            };
            for port in &ways.ports {
                let [weight, port] = [ways.weight, *port].map(u16::to_be_bytes);
                let head = [0, 0, weight[0], weight[1], port[0], port[1]];
                let rdata = [&head[..], target].concat();
                let (rtype, class) = (types::SRV, types::CLASS_IN);
                reply.push(Section::Answer, owner, rtype, class, ways.ttl_s, &rdata);
            }
        }
    }

    /// Calls `with` with the question as the plugins see it and room for the largest reply; `None` if it is in none of the zones.
    fn with_question<R>(
        &self,
        query: &Query,
        with: impl FnOnce(&Served, View<'_>, Question<'_>, &mut [u8]) -> R,
    ) -> Option<R> {
        let zone = longest_match(&self.config.external.zones, query.name())?;
        let served = self.config.offers.cluster.get()?;
        let question = Question {
            zone,
            name: query.name(),
            qtype: query.qtype,
            section: &query.question_section(),
            salt: query.id,
        };
        let mut scratch = self.scratch.borrow_mut();
        scratch.resize(limits::MESSAGE_OCTETS, 0);
        let pin = Pin::new();
        Some(with(served, served.view(&pin), question, &mut scratch))
    }
}

fn rtype_of(ip: IpAddr) -> u16 {
    match ip {
        IpAddr::V4(_) => types::A,
        IpAddr::V6(_) => types::AAAA,
    }
}

fn push_address(reply: &mut Reply, section: Section, owner: &[u8], ttl_s: u32, ip: IpAddr) {
    let (rtype, class) = (rtype_of(ip), types::CLASS_IN);
    match ip {
        IpAddr::V4(ip) => reply.push(section, owner, rtype, class, ttl_s, &ip.octets()),
        IpAddr::V6(ip) => reply.push(section, owner, rtype, class, ttl_s, &ip.octets()),
    }
}
