//! *acl*: allows, refuses, empties or drops queries by client address and type.

mod setup;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;

use crate::corefile::{Args, SetupError, ZoneName};
use crate::lang::cidr::NetSet;
use crate::plugin::{Flow, OpenCx, PlainFlow, PlainPart, PlainQuery, Plugin, Query, SetupCx, Site};
use crate::telemetry::metrics::{Counter, CounterTable};
use crate::telemetry::registry;
use crate::wire::edns::{self, option};
use crate::wire::rcode::Rcode;

/// See the README beside this file.
pub struct Acl {
    config: Arc<Config>,
    sites: Vec<Site>,
    /// By site; made when the site gets its first query on this thread.
    counters: Vec<OnceCell<Counters>>,
}

/// The rule sets of a block, in order.
pub struct Config {
    rules: Vec<Rule>,
    /// Every zone of a rule set once: values of the label `zone`.
    zones: Vec<ZoneName>,
}

/// One directive.
struct Rule {
    /// Indexes into the zones of the configuration.
    zones: Vec<usize>,
    policies: Vec<Policy>,
}

/// One line of a directive.
struct Policy {
    action: Action,
    /// `None` is every type.
    types: Option<Vec<u16>>,
    /// `None` is every address.
    nets: Option<NetSet>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Allow,
    Block,
    Filter,
    Drop,
}

impl Plugin for Acl {
    type Config = Config;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
        setup::parse(args, cx)
    }

    fn open(config: &Arc<Config>, core: &OpenCx<'_>) -> Acl {
        Acl {
            config: config.clone(),
            sites: core.sites.to_vec(),
            counters: core.sites.iter().map(|_| OnceCell::new()).collect(),
        }
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        let denial = self.denial(query.peer.ip(), query.name(), query.qtype);
        if let Some((action, zone)) = denial {
            self.count(query.route.site, |counters| counters.denied(action, zone));
            return deny(query, action);
        }
        self.count(query.route.site, |counters| counters.allowed.inc());
        Flow::Next
    }

    fn plain_part(&self) -> PlainPart {
        PlainPart::QUERY_DONE
    }

    fn plain_query(&self, query: &mut PlainQuery<'_>, _: &mut [u8]) -> PlainFlow {
        match self.denial(query.client().ip(), query.plain.name(), query.plain.qtype) {
            Some(_) => PlainFlow::Long,
            None => PlainFlow::Next,
        }
    }

    fn plain_done(&self, query: &PlainQuery<'_>, _: &[u8]) {
        self.count(query.site, |counters| counters.allowed.inc());
    }
}

impl Acl {
    /// What is done to a query that may not pass, and the zone that it is counted under.
    fn denial(&self, ip: IpAddr, name: &[u8], qtype: u16) -> Option<(Action, usize)> {
        for rule in &self.config.rules {
            let Some(zone) = self.zone(rule, name) else {
                continue;
            };
            match rule.action(ip, qtype) {
                None => {}
                Some(Action::Allow) => return None,
                Some(action) => return Some((action, zone)),
            }
        }
        None
    }

    /// The longest zone of the rule set that holds the name.
    fn zone(&self, rule: &Rule, name: &[u8]) -> Option<usize> {
        let zones = rule.zones.iter().copied();
        zones
            .filter(|at| self.config.zones[*at].is_suffix_of(name))
            .max_by_key(|at| self.config.zones[*at].wire().len())
    }

    fn count(&self, site: u16, count: impl FnOnce(&Counters)) {
        let at = usize::from(site);
        if let (Some(site), Some(cell)) = (self.sites.get(at), self.counters.get(at)) {
            count(cell.get_or_init(|| Counters::new(site, &self.config.zones)));
        }
    }
}

impl Rule {
    /// What the first line that matches says.
    fn action(&self, ip: IpAddr, qtype: u16) -> Option<Action> {
        let matches = |policy: &&Policy| {
            let types = policy.types.as_ref();
            types.is_none_or(|types| types.contains(&qtype))
                && policy.nets.as_ref().is_none_or(|nets| nets.contains(ip))
        };
        self.policies
            .iter()
            .find(matches)
            .map(|policy| policy.action)
    }
}

fn deny(query: &mut Query, action: Action) -> Flow {
    let (rcode, reason) = match action {
        Action::Drop => return Flow::Drop,
        Action::Filter => (Rcode::NOERROR, EDE_FILTERED),
        Action::Allow | Action::Block => (Rcode::REFUSED, EDE_BLOCKED),
    };
    let edns = &mut query.respond_rcode(rcode).edns;
    // Also for a client that sent no OPT record: CoreDNS does so, and the reason is worth it.
    edns.ensure(UDP_SIZE);
    edns.flags = edns::DO;
    edns.push(option::EDE, &reason.to_be_bytes());
    Flow::Reply
}

struct Counters {
    blocked: CounterTable,
    filtered: CounterTable,
    dropped: CounterTable,
    allowed: Counter,
}

impl Counters {
    fn new(site: &Site, zones: &[ZoneName]) -> Counters {
        let labels = [
            ("server", site.server.as_str()),
            ("view", site.view.as_str()),
        ];
        let zones: Vec<&str> = zones.iter().map(ZoneName::as_str).collect();
        let table = |name: &str, help: &str| {
            registry().counter_table(name, help, &labels, &[("zone", &zones)])
        };
        Counters {
            blocked: table(
                "coredns_acl_blocked_requests_total",
                "Queries that were refused.",
            ),
            filtered: table(
                "coredns_acl_filtered_requests_total",
                "Queries that got an empty answer.",
            ),
            dropped: table(
                "coredns_acl_dropped_requests_total",
                "Queries that got no answer.",
            ),
            allowed: registry().counter(
                "coredns_acl_allowed_requests_total",
                "Queries that went on.",
                &labels,
            ),
        }
    }

    fn denied(&self, action: Action, zone: usize) {
        match action {
            Action::Allow => {}
            Action::Block => self.blocked.inc(zone),
            Action::Filter => self.filtered.inc(zone),
            Action::Drop => self.dropped.inc(zone),
        }
    }
}

/// Extended DNS errors (RFC 8914 sections 4.16 and 4.18).
const EDE_BLOCKED: u16 = 15;
const EDE_FILTERED: u16 = 17;
const UDP_SIZE: u16 = 4096;
