//! What is refused before any plugin runs, the same on every transport, and how it is counted.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use super::panics;
use super::running::Running;
use crate::plugin::Query;
use crate::telemetry::dns::QueryReport;
use crate::telemetry::{self, log};
use crate::wire::HEADER;
use crate::wire::edns::{self, option};
use crate::wire::query::Verdict;
use crate::wire::rcode::Rcode;
use crate::wire::types;

/// How a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Header and question only: the message was not understood.
    Bare(Rcode),
    /// A proper reply with the client's EDNS echoed.
    Shaped(Rcode),
}

/// Judges a parsed message: `Ok` lets it through to the plugins.
pub fn admit(
    running: &Running,
    verdict: Verdict,
    query: &mut Query,
    has_question: bool,
) -> Result<(), Refusal> {
    match verdict {
        Verdict::Accept => {}
        Verdict::Reject(rcode) => return Err(Refusal::Bare(rcode)),
        Verdict::NoQuestion | Verdict::Ignore => {
            dropped(running, query, Rcode::SERVFAIL);
            return Err(Refusal::Bare(Rcode::SERVFAIL));
        }
    }
    debug_assert!(has_question);
    let listener = running.config.listeners.get(query.route.listener as usize);
    if query.qclass != types::CLASS_IN && !listener.is_some_and(|listener| listener.any_class) {
        dropped(running, query, Rcode::REFUSED);
        return Err(Refusal::Shaped(Rcode::REFUSED));
    }
    if query.edns.present && query.edns.version != 0 {
        query.edns.options.clear();
        return Err(Refusal::Shaped(Rcode::BADVERS));
    }
    // RFC 7873 section 5.2.2; CoreDNS echoes such a cookie.
    if query.edns.present
        && query
            .edns
            .find(option::COOKIE)
            .is_some_and(|cookie| !edns::is_cookie_length(cookie.len()))
    {
        query.edns.options.clear();
        return Err(Refusal::Shaped(Rcode::FORMERR));
    }
    Ok(())
}

/// Counts a query that no plugin has seen, under the zone `dropped`.
pub fn dropped(running: &Running, query: &Query, rcode: Rcode) {
    let Some(counters) = running.dropped(query.route.listener) else {
        return;
    };
    counters.count(&QueryReport {
        is_tcp: query.proto.is_tcp(),
        is_ipv6: query.peer.is_ipv6(),
        qtype: query.qtype,
        dnssec_ok: query.dnssec_ok(),
        query_octets: query.size as usize,
        reply_octets: HEADER + query.asked().len() + query.edns.wire_len(),
        duration_ns: 0,
        rcode,
        writer: 0,
    });
}

/// Counts and logs a caught panic, in CoreDNS's words; the client gets SERVFAIL.
pub fn recovered(running: &Running, query: &mut Query) {
    telemetry::panics().inc();
    let listener = running.config.listeners.get(query.route.listener as usize);
    let server = listener.map_or("", |listener| listener.label.as_str());
    let caught = panics::take();
    let message = caught.as_ref().map_or("", |caught| &caught.message);
    log::error(
        None,
        format_args!("Recovered from panic in server: {server:?} {message}"),
    );
    if let Some(stack) = caught.and_then(|caught| caught.stack) {
        // A record of the log is one line.
        let stack = stack.to_string();
        stack
            .lines()
            .for_each(|line| log::plain(format_args!("{line}")));
    }
    query.answer = crate::plugin::Answer::Open;
    query.unwritten(Rcode::SERVFAIL);
}
