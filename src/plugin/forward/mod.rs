//! *forward*: asks other servers.
//!
//! Runs on: data core; asking happens on task threads.
//!
//! **Invariant**: a query ends within `limits::FORWARD_DEADLINE_MS`, whatever the upstreams do.

mod ask;
mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::corefile::{Args, SetupError};
use crate::plugin::{Answer, Flow, OpenCx, Plugin, Query, Role, SetupCx, TaskCx};
use crate::telemetry::metrics::{Counter, registry};
use crate::tune::CoreSettings;
use crate::upstream::{Health, Policy, Pool, PoolSettings, Probe, Scope};
use crate::wire::rcode::Rcode;
use crate::wire::reply::Section;

/// See the README beside this file.
pub struct Forward {
    lines: Arc<Vec<Line>>,
    /// By line, then by upstream; empty on a packet thread, which never asks.
    pools: Vec<Vec<Pool>>,
    broken: Counter,
    rejected: Counter,
}

/// One `forward FROM TO...` with its options.
pub struct Line {
    scope: Scope,
    upstreams: Vec<Arc<Health>>,
    policy: Policy,
    force_tcp: bool,
    prefer_udp: bool,
    /// Probes that may fail before an upstream counts as down; 0 = it never does.
    fails_max: u32,
    /// Failed exchanges that end a query; 0 = only the deadline does.
    attempts_max: usize,
    /// Queries that may wait at the same time, in the whole process; 0 = any number.
    concurrent_max: usize,
    concurrent: AtomicUsize,
    next: Vec<Rcode>,
    next_on_nodata: bool,
    failover: Vec<Rcode>,
    failfast: bool,
    sockets: PoolSettings,
    probe: Probe,
}

impl Plugin for Forward {
    type Config = Vec<Line>;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Vec<Line>, SetupError> {
        cx.settings.any_class = true;
        setup::parse(args, cx)
    }

    fn open(lines: &Arc<Vec<Line>>, core: &OpenCx<'_>) -> Forward {
        let pools = match core.role {
            Role::Packet => Vec::new(),
            Role::Task => lines.iter().map(|line| line.pools(core.tune)).collect(),
        };
        let registry = registry();
        Forward {
            lines: lines.clone(),
            pools,
            broken: registry.counter(
                "coredns_forward_healthcheck_broken_total",
                "Queries that found all upstreams down.",
                &[],
            ),
            rejected: registry.counter(
                "coredns_forward_max_concurrent_rejects_total",
                "Queries refused because as many were waiting as max_concurrent allows.",
                &[],
            ),
        }
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        match self
            .lines
            .iter()
            .find(|line| line.scope.takes(query.name()))
        {
            None => Flow::Next,
            Some(line) if line.is_full() => self.reject(line, query),
            Some(_) => Flow::Park,
        }
    }

    #[allow(clippy::manual_async_fn)] // which would keep its arguments twice: thousands may wait here
    fn wait_query(&self, query: &mut Query, cx: &TaskCx) -> impl Future<Output = Flow> {
        async move {
            // A counter alone, since thousands may wait here: a range and its line would take four times the room.
            let mut nth = 0;
            while nth < self.lines.len() {
                if self.lines[nth].scope.takes(query.name()) {
                    let Some(_turn) = self.lines[nth].enter() else {
                        return self.reject(&self.lines[nth], query);
                    };
                    self.ask(nth, query, cx).await;
                    if nth + 1 == self.lines.len() || !self.lines[nth].goes_on(query) {
                        return Flow::Reply;
                    }
                    query.answer = Answer::Open;
                }
                nth += 1;
            }
            Flow::Next
        }
    }
}

impl Forward {
    #[cold]
    fn reject(&self, line: &Line, query: &mut Query) -> Flow {
        self.rejected.inc();
        let most = line.concurrent_max;
        query.fail(
            Rcode::REFUSED,
            format!("concurrent queries exceeded maximum {most}"),
        );
        Flow::Reply
    }
}

impl Line {
    /// Whether the reply is one that `next` or `next_on_nodata` hands to the next line.
    fn goes_on(&self, query: &Query) -> bool {
        if query.answer != Answer::Written {
            return false;
        }
        let reply = &query.reply;
        let is_nodata =
            || reply.rcode == Rcode::NOERROR && reply.section(Section::Answer).next().is_none();
        self.next.contains(&reply.rcode) || (self.next_on_nodata && is_nodata())
    }

    fn pools(&self, tune: &CoreSettings) -> Vec<Pool> {
        let pool = |health: &Arc<Health>| Pool::new(health.clone(), &self.sockets, tune);
        self.upstreams.iter().map(pool).collect()
    }

    fn is_full(&self) -> bool {
        self.concurrent_max != 0 && self.concurrent.load(Ordering::Relaxed) >= self.concurrent_max
    }

    /// Takes one of the places of `max_concurrent`.
    fn enter(&self) -> Option<Turn<'_>> {
        if self.concurrent_max == 0 {
            return Some(Turn(None));
        }
        let before = self.concurrent.fetch_add(1, Ordering::Relaxed);
        let turn = Turn(Some(&self.concurrent));
        (before < self.concurrent_max).then_some(turn)
    }
}

/// A place of `max_concurrent`, free again when dropped.
struct Turn<'a>(Option<&'a AtomicUsize>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(concurrent) = self.0 {
            concurrent.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
