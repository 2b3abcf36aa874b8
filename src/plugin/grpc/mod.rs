//! *grpc*: asks other servers over CoreDNS's gRPC service.
//!
//! Runs on: data core; asking happens on task threads.
//!
//! **Invariant**: a query ends within `limits::FORWARD_DEADLINE_MS`, and asks each upstream once at most.

mod metrics;
mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, Fall, SetupError};
use crate::plugin::{Answer, Flow, OpenCx, Plugin, Query, Role, SetupCx, TaskCx};
use crate::upstream::{Call, Error, Health, Policy, Pool, PoolSettings, Protocol, Scope};
use crate::wire::rcode::Rcode;
use metrics::Metrics;

/// See the README beside this file.
pub struct Grpc {
    line: Arc<Line>,
    /// Empty on a packet thread, which never asks.
    upstreams: Vec<(Pool, Metrics)>,
}

/// `grpc FROM TO...` with its options.
pub struct Line {
    scope: Scope,
    upstreams: Vec<Arc<Health>>,
    policy: Policy,
    fall: Fall,
    sockets: PoolSettings,
}

impl Plugin for Grpc {
    type Config = Line;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Line, SetupError> {
        setup::parse(args, cx)
    }

    fn open(line: &Arc<Line>, core: &OpenCx<'_>) -> Grpc {
        let open = |health: &Arc<Health>| {
            let pool = Pool::new(health.clone(), &line.sockets, core.tune);
            (pool, Metrics::new(health.to()))
        };
        Grpc {
            line: line.clone(),
            upstreams: match core.role {
                Role::Packet => Vec::new(),
                Role::Task => line.upstreams.iter().map(open).collect(),
            },
        }
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        match self.line.scope.takes(query.name()) {
            true => Flow::Park,
            false => Flow::Next,
        }
    }

    #[allow(clippy::manual_async_fn)] // which would keep its arguments twice: thousands may wait here
    fn wait_query(&self, query: &mut Query, cx: &TaskCx) -> impl Future<Output = Flow> {
        async move {
            let outcome = self.ask(query, cx).await;
            let falls = self.line.fall.through(query.name());
            match outcome {
                Ok(()) if query.reply.rcode == Rcode::NXDOMAIN && falls => Flow::Next,
                Ok(()) => {
                    query.answer = Answer::Written;
                    Flow::Reply
                }
                Err(_) if falls => Flow::Next,
                Err(Some(error)) => {
                    query.fail(Rcode::SERVFAIL, error.to_string());
                    Flow::Reply
                }
                Err(None) => {
                    query.fail(Rcode::SERVFAIL, "no healthy gRPC proxies");
                    Flow::Reply
                }
            }
        }
    }
}

impl Grpc {
    /// Asks one upstream after the other until one answers.
    async fn ask(&self, query: &mut Query, cx: &TaskCx) -> Result<(), Option<Box<Error>>> {
        let mut call = Call::of(query, cx.now_ns());
        let order = self.line.policy.order(self.upstreams.len());
        let mut last = None;
        for &nth in &order {
            let Some((pool, metrics)) = self.upstreams.get(usize::from(nth)) else {
                break;
            };
            let start = cx.now_ns();
            if start >= call.deadline {
                break;
            }
            call.introduce(query, pool);
            // The protocol counts for plain upstreams alone.
            match pool
                .exchange(&mut call, Protocol::Tcp, &mut query.reply)
                .await
            {
                Ok(()) => {
                    let took = cx.now_ns().saturating_sub(start);
                    metrics.observe(query.reply.rcode, took);
                    return Ok(());
                }
                Err(error) => last = Some(Box::new(error)),
            }
        }
        Err(last)
    }
}
