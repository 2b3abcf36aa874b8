//! *prometheus*: counts queries and serves all metrics over HTTP.

mod setup;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::plugin::{Answer, Flow, OpenCx, PlainPart, PlainQuery, Plugin, Query, SetupCx, Site};
use crate::telemetry::dns::{QueryReport, SiteMetrics};
use crate::telemetry::metrics::GaugeGuard;
use crate::telemetry::registry;
use crate::wire::rcode::Rcode;

/// See the README beside this file.
pub struct Prometheus {
    sites: Vec<Site>,
    /// By site; made when the site gets its first query on this thread, since a block may have hundreds of zones.
    counters: Vec<OnceCell<SiteMetrics>>,
    /// Values of the label `plugin`.
    writers: Vec<&'static str>,
    _enabled: Vec<GaugeGuard>,
}

impl Plugin for Prometheus {
    type Config = ();

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
        setup::parse(args, cx)
    }

    fn open(_: &Arc<()>, core: &OpenCx<'_>) -> Prometheus {
        Prometheus {
            sites: core.sites.to_vec(),
            counters: core.sites.iter().map(|_| OnceCell::new()).collect(),
            writers: [""]
                .into_iter()
                .chain(core.handlers.iter().copied())
                .collect(),
            _enabled: if core.is_first() {
                enabled(core)
            } else {
                Vec::new()
            },
        }
    }

    fn on_reply(&self, query: &mut Query) -> Flow {
        if let Some(counters) = self.of_site(query.route.site) {
            counters.count(&report(query, counters));
        }
        Flow::Next
    }

    fn plain_part(&self) -> PlainPart {
        PlainPart::DONE
    }

    fn plain_done(&self, query: &PlainQuery<'_>, _: &[u8]) {
        if let Some(counters) = self.of_site(query.site) {
            counters.count(&QueryReport {
                is_tcp: query.arrival.proto.is_tcp(),
                is_ipv6: query.client().is_ipv6(),
                qtype: query.plain.qtype,
                dnssec_ok: query.plain.dnssec_ok,
                query_octets: query.plain.size,
                reply_octets: query.written.uncompressed_len,
                duration_ns: 0,
                rcode: query.written.rcode,
                // The first writer is the server itself.
                writer: query.row + 1,
            });
        }
    }
}

impl Prometheus {
    /// The counters of a site, made when they are needed first.
    fn of_site(&self, site: u16) -> Option<&SiteMetrics> {
        let at = usize::from(site);
        let (site, counters) = (self.sites.get(at)?, self.counters.get(at)?);
        Some(counters.get_or_init(|| {
            SiteMetrics::new(
                registry(),
                &site.server,
                &site.zone,
                &site.view,
                &self.writers,
            )
        }))
    }
}

fn report(query: &Query, counters: &SiteMetrics) -> QueryReport {
    let written = query.answer == Answer::Written;
    QueryReport {
        is_tcp: query.proto.is_tcp(),
        is_ipv6: query.peer.is_ipv6(),
        qtype: query.qtype,
        dnssec_ok: query.dnssec_ok(),
        query_octets: query.size as usize,
        reply_octets: if written { reply_octets(query) } else { 0 },
        duration_ns: query.now_ns.saturating_sub(query.start_ns),
        // A dropped query counts as NOERROR, as in CoreDNS, whose recorder has seen no other rcode.
        rcode: query.rcode().unwrap_or(Rcode::NOERROR),
        writer: counters.writer(query.writer),
    }
}

fn reply_octets(query: &Query) -> usize {
    let edns = &query.reply.edns;
    let opt = if edns.present { edns.wire_len() } else { 0 };
    query.reply.full_len(query.asked().len()) + opt
}

fn enabled(core: &OpenCx<'_>) -> Vec<GaugeGuard> {
    let help = "Always 1: the block has this plugin.";
    let of_site = |site: &Site| -> Vec<GaugeGuard> {
        let flag = |name: &&'static str| {
            let labels = [
                ("server", &*site.server),
                ("zone", &*site.zone),
                ("view", &*site.view),
                ("name", *name),
            ];
            registry().flag("coredns_plugin_enabled", help, &labels)
        };
        core.handlers.iter().map(flag).collect()
    };
    core.sites.iter().flat_map(of_site).collect()
}
