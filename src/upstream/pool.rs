//! One core's way to one upstream: its idle sockets, its time-outs and its counters.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::Cell;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::core::Place;
use super::idle::{Idle, Kept, Rules};
use super::message::RequestBuffer;
use super::metrics::Metrics;
use super::tcp::Failure;
use super::{Error, Health, Protocol, tcp, udp};
use crate::limits;
use crate::runtime::clock::{self, MILLISECOND, Nanos};
use crate::runtime::{TcpStream, UdpSocket};
use crate::tune::CoreSettings;
use crate::wire::reply::Reply;

/// What a plugin decides about the sockets to an upstream.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// The `proxy_name` label.
    pub proxy: &'static str,
    /// How long a socket may be idle.
    pub expire: Duration,
    /// How long a socket may be open; zero = no limit.
    pub max_age: Duration,
    /// Idle sockets of one protocol on this core; zero = as many as the core's settings allow.
    pub max_idle: usize,
    /// How long to wait for a reply.
    pub read_timeout: Duration,
    /// The address to ask from.
    pub source: Option<IpAddr>,
}

/// What is asked of an upstream.
pub struct Call {
    /// The query.
    pub request: RequestBuffer,
    /// Octets that a reply over UDP may have.
    pub room: usize,
    /// A reading of the monotonic clock after which no answer is of use.
    pub deadline: Nanos,
}

/// The sockets of one core to one upstream. Each carries one query at a time.
pub struct Pool {
    health: Arc<Health>,
    source: Option<IpAddr>,
    read_timeout: Duration,
    udp: Idle<UdpSocket>,
    tcp: Idle<TcpStream>,
    /// A moving average of the time that connecting took.
    dial_average: Cell<Nanos>,
    metrics: Metrics,
    in_flight: Rc<Cell<usize>>,
    of_core_max: usize,
}

impl Pool {
    /// A pool without sockets, for the task thread that calls.
    pub fn new(health: Arc<Health>, settings: &PoolSettings, tune: &CoreSettings) -> Pool {
        let rules = Rules {
            expire: nanos(settings.expire),
            max_age: nanos(settings.max_age),
            max_idle: match settings.max_idle {
                0 => tune.upstream_idle_max,
                most => most.min(tune.upstream_idle_max),
            },
            max_uses: u32::MAX,
        };
        let metrics = Metrics::new(settings.proxy, health.to());
        Pool {
            source: settings.source,
            read_timeout: settings.read_timeout,
            udp: Idle::new(Rules {
                max_uses: limits::UPSTREAM_UDP_USES,
                ..rules
            }),
            tcp: Idle::new(rules),
            dial_average: Cell::new(limits::UPSTREAM_DIAL_MS_MAX * MILLISECOND / 2),
            health,
            metrics,
            in_flight: Rc::default(),
            of_core_max: tune.upstream_in_flight_max,
        }
    }

    /// The upstream's health.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Asks and reads the answer into `reply`, which holds anything after an error.
    ///
    /// # Errors
    /// No socket, no connection or no reply in time; junk is no error, it is waited past. [`Error::Busy`] says nothing of the
    /// upstream: this core has as many exchanges with it as it may.
    #[allow(clippy::manual_async_fn)] // which would keep its arguments twice: thousands may wait here
    pub fn exchange(
        &self,
        call: &mut Call,
        protocol: Protocol,
        reply: &mut Reply,
    ) -> impl Future<Output = Result<(), Error>> {
        async move {
            let Some(_place) = Place::take(&self.in_flight, self.of_core_max) else {
                return Err(Error::Busy);
            };
            let start = clock::now_ns();
            call.request.draw_id();
            match protocol {
                Protocol::Udp => {
                    let kept = self.take_udp()?;
                    let wait_ns = nanos(self.wait(call.deadline));
                    let outcome =
                        udp::exchange(&kept.io, &call.request, call.room, wait_ns, reply).await;
                    outcome.map_err(|failure| self.udp_error(&kept, failure))?;
                    self.udp.give(kept);
                }
                // Boxed: it needs three times the room of the other, which most of those that wait are in.
                Protocol::Tcp => {
                    Box::pin(self.over_tcp(&call.request, call.deadline, reply)).await?;
                }
            }
            let took = clock::now_ns().saturating_sub(start);
            self.metrics.observe(reply.rcode, took);
            Ok(())
        }
    }

    fn addr(&self) -> SocketAddr {
        self.health.addr()
    }

    /// How long to wait for a reply from now on.
    fn wait(&self, deadline: Nanos) -> Duration {
        self.read_timeout.min(until(deadline))
    }

    fn take_udp(&self) -> Result<Kept<UdpSocket>, Error> {
        if let Some(kept) = self.udp.take() {
            self.metrics.udp.hits.inc();
            return Ok(kept);
        }
        self.metrics.udp.misses.inc();
        udp::open(self.addr(), self.source).map(Kept::new)
    }

    #[cold]
    fn udp_error(&self, kept: &Kept<UdpSocket>, failure: udp::Failure) -> Error {
        let (from, peer) = (kept.io.local_addr().ok(), self.addr());
        match failure {
            udp::Failure::Write(why) => Error::Write(Protocol::Udp, from, peer, why),
            udp::Failure::Read(why) => Error::Read(Protocol::Udp, from, peer, why),
        }
    }

    async fn over_tcp(
        &self,
        request: &RequestBuffer,
        deadline: Nanos,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        if let Some(mut kept) = self.tcp.take() {
            self.metrics.tcp.hits.inc();
            let wait = self.wait(deadline);
            match tcp::exchange(&mut kept.io, request, wait, reply).await {
                Ok(reusable) => {
                    if reusable {
                        self.tcp.give(kept);
                    }
                    return Ok(());
                }
                // It was closed while idle, and those beside it may be too: ask once more over a new one.
                Err(Failure::Closed(_)) => {}
                Err(Failure::Other(error)) => {
                    self.tcp.clear();
                    return Err(error);
                }
            }
        }
        self.metrics.tcp.misses.inc();
        let mut kept = Kept::new(self.dial(deadline).await?);
        let wait = self.wait(deadline);
        if tcp::exchange(&mut kept.io, request, wait, reply).await? {
            self.tcp.give(kept);
        }
        Ok(())
    }

    async fn dial(&self, deadline: Nanos) -> Result<TcpStream, Error> {
        let start = clock::now_ns();
        let wait = dial_timeout(self.dial_average.get()).min(until(deadline));
        let dialled = tcp::open(self.addr(), self.source, wait).await;
        let took = clock::now_ns().saturating_sub(start);
        let average = self.dial_average.get();
        self.dial_average.set(average - average / 4 + took / 4);
        dialled
    }

    #[cfg(test)]
    pub(super) fn idle(&self, protocol: Protocol) -> usize {
        match protocol {
            Protocol::Udp => self.udp.len(),
            Protocol::Tcp => self.tcp.len(),
        }
    }
}

fn dial_timeout(average: Nanos) -> Duration {
    let least = limits::UPSTREAM_DIAL_MS_MIN * MILLISECOND;
    let most = limits::UPSTREAM_DIAL_MS_MAX * MILLISECOND;
    Duration::from_nanos(average.saturating_mul(2).clamp(least, most))
}

fn until(deadline: Nanos) -> Duration {
    Duration::from_nanos(deadline.saturating_sub(clock::now_ns()))
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}
