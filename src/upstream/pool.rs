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

use super::call::Call;
use super::core::{Place, refuse};
use super::dial::{Dialler, Opened};
use super::endpoint::{Address, Transport};
use super::form::Form;
use super::http2::Http2;
use super::idle::{Idle, Kept, Rules};
use super::metrics::{Cache, Metrics};
use super::pipeline::Pipeline;
use super::quic::Quic;
use super::session::{Carrier, Dial, Sessions};
use super::tcp::Failure;
use super::{Error, Health, Protocol, single, tcp, udp};
use crate::limits;
use crate::runtime::clock::{self, Nanos};
use crate::runtime::{self, TcpStream, UdpSocket};
use crate::tune::CoreSettings;
use crate::wire::reply::Reply;

/// What a plugin decides about the sockets to an upstream.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// The `proxy_name` label; none where the plugin counts by itself.
    pub proxy: Option<&'static str>,
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

/// The sockets of one core to one upstream.
pub struct Pool {
    health: Arc<Health>,
    read_timeout: Duration,
    way: Way,
    metrics: Metrics,
    in_flight: Rc<Cell<usize>>,
    of_core_max: usize,
}

/// How queries reach the upstream.
enum Way {
    Plain(Box<Plain>),
    Tls(Sessions<Pipeline>, Option<Cache>),
    Http(Sessions<Http2>, Option<Cache>),
    Quic(Sessions<Quic>, Option<Cache>),
    Single(Box<Single>),
}

/// A connection for each query, since it names one client.
struct Single {
    dialler: Dialler,
    /// None where TLS alone is spoken.
    form: Option<Rc<Form>>,
    uses: Option<Cache>,
}

/// Sockets that carry one query at a time.
struct Plain {
    addr: SocketAddr,
    source: Option<IpAddr>,
    udp: Idle<UdpSocket>,
    tcp: Idle<TcpStream>,
    udp_uses: Option<Cache>,
    tcp_uses: Option<Cache>,
    dialler: Dialler,
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
            read_timeout: settings.read_timeout,
            way: Way::new(&health, settings, rules, &metrics),
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

    /// Asks and reads the answer into `reply`, which holds anything after an error. `protocol` counts where the upstream speaks
    /// [`super::Transport::Dns`].
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
                return Err(refuse());
            };
            let start = clock::now_ns();
            call.request.draw_id();
            if matches!((&self.way, protocol), (Way::Plain(_), Protocol::Udp)) {
                let kept = self.take_udp()?;
                let wait_ns = nanos(self.wait(call.deadline));
                let is_proxied = self.health.endpoint().is_proxied;
                let outcome = udp::exchange(&kept.io, call, is_proxied, wait_ns, reply).await;
                outcome.map_err(|failure| self.udp_error(&kept, failure))?;
                self.give_udp(kept);
            } else {
                // Boxed: it needs three times the room of the other, which most of those that wait are in.
                Box::pin(self.over_connection(call, reply)).await?;
            }
            let took = clock::now_ns().saturating_sub(start);
            self.metrics.observe(reply.rcode, took);
            Ok(())
        }
    }

    /// Whether the upstream asks the client to come back over TCP: only where both are to be had.
    pub fn is_plain(&self) -> bool {
        matches!(self.way, Way::Plain(_))
    }

    /// How long to wait for a reply from now on.
    fn wait(&self, deadline: Nanos) -> Duration {
        self.read_timeout.min(until(deadline))
    }

    fn take_udp(&self) -> Result<Kept<UdpSocket>, Error> {
        let Way::Plain(plain) = &self.way else {
            return Err(Error::Eof);
        };
        let kept = plain.udp.take();
        count(&plain.udp_uses, kept.is_some());
        match kept {
            Some(kept) => Ok(kept),
            None => udp::open(plain.addr, plain.source).map(Kept::new),
        }
    }

    #[cold]
    fn udp_error(&self, kept: &Kept<UdpSocket>, failure: udp::Failure) -> Error {
        let Address::Ip(to) = self.health.endpoint().address else {
            return Error::Eof;
        };
        let from = kept.io.local_addr().ok();
        match failure {
            udp::Failure::Write(why) => Error::Write(Protocol::Udp, from, to, why),
            udp::Failure::Read(why) => Error::Read(Protocol::Udp, from, to, why),
        }
    }

    fn give_udp(&self, kept: Kept<UdpSocket>) {
        if let Way::Plain(plain) = &self.way {
            plain.udp.give(kept);
        }
    }

    async fn over_connection(&self, call: &mut Call, reply: &mut Reply) -> Result<(), Error> {
        match &self.way {
            Way::Plain(plain) => self.over_tcp(plain, call, reply).await,
            Way::Tls(sessions, uses) => self.over_sessions(sessions, uses, call, reply).await,
            Way::Http(sessions, uses) => self.over_sessions(sessions, uses, call, reply).await,
            Way::Quic(sessions, uses) => self.over_sessions(sessions, uses, call, reply).await,
            Way::Single(single) => self.over_single(single, call, reply).await,
        }
    }

    async fn over_single(
        &self,
        single: &Single,
        call: &mut Call,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        count(&single.uses, false);
        let client = call.client.as_deref();
        let opened = single.dialler.dial(self.wait(call.deadline), client);
        let opened = opened.await?;
        let wait = self.wait(call.deadline);
        let form = single.form.as_ref();
        single::exchange(opened, form, &mut call.request, wait, reply).await
    }

    async fn over_tcp(&self, plain: &Plain, call: &Call, reply: &mut Reply) -> Result<(), Error> {
        if let Some(mut kept) = plain.tcp.take() {
            count(&plain.tcp_uses, true);
            let wait = self.wait(call.deadline);
            match tcp::exchange(&mut kept.io, &call.request, wait, reply).await {
                Ok(reusable) => {
                    if reusable {
                        plain.tcp.give(kept);
                    }
                    return Ok(());
                }
                // It was closed while idle, and those beside it may be too: ask once more over a new one.
                Err(Failure::Closed(_)) => {}
                Err(Failure::Other(error)) => {
                    plain.tcp.clear();
                    return Err(error);
                }
            }
        }
        count(&plain.tcp_uses, false);
        let client = call.client.as_deref();
        let opened = plain.dialler.dial(until(call.deadline), client);
        let Opened::Plain(stream) = opened.await? else {
            return Err(Error::Eof);
        };
        let mut kept = Kept::new(stream);
        let wait = self.wait(call.deadline);
        if tcp::exchange(&mut kept.io, &call.request, wait, reply).await? {
            plain.tcp.give(kept);
        }
        Ok(())
    }

    async fn over_sessions<C: Carrier>(
        &self,
        sessions: &Sessions<C>,
        uses: &Option<Cache>,
        call: &mut Call,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        // Connections that ended under it.
        let mut lost = 0;
        loop {
            // An upstream that cannot be reached costs no more time than one that does not answer; the attempt goes on without us.
            let patience = clock::now_ns().saturating_add(nanos(self.read_timeout));
            // Some servers answer a few queries of a connection and close it: at last one of its own.
            let alone = lost > 1;
            let until = call.deadline.min(patience);
            let place = sessions.acquire(alone, until).await?;
            count(uses, place.was_kept);
            let sent = clock::now_ns();
            let asked = place.carrier().exchange(&mut call.request, reply);
            match runtime::timeout(self.wait(call.deadline), asked).await {
                Ok(Ok(())) => {
                    place.note_heard();
                    return Ok(());
                }
                Ok(Err(Failure::Closed(error))) => {
                    place.retire();
                    // A server that was started anew knows none of its connections; over UDP they do not end by themselves.
                    if place.was_kept && C::OVER == Protocol::Udp {
                        sessions.retire_silent(sent);
                    }
                    lost += 1;
                    let is_full = matches!(error, Error::Busy);
                    // It was closed while idle or after other answers, or takes no more: ask again over another. One that never
                    // answered is the upstream's word.
                    let is_again = place.was_kept || place.has_answered() || is_full;
                    if !is_again || lost == limits::UPSTREAM_TRIES {
                        return Err(if is_full { refuse() } else { error });
                    }
                }
                Ok(Err(Failure::Other(error))) => return Err(error),
                Err(_) => {
                    place.note_silence(sent);
                    return Err(place.carrier().timeout());
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn idle(&self, protocol: Protocol) -> usize {
        match (&self.way, protocol) {
            (Way::Plain(plain), Protocol::Udp) => plain.udp.len(),
            (Way::Plain(plain), Protocol::Tcp) => plain.tcp.len(),
            (Way::Tls(sessions, _), _) => sessions.len(),
            (Way::Http(sessions, _), _) => sessions.len(),
            (Way::Single(_), _) => 0,
            (Way::Quic(sessions, _), _) => sessions.len(),
        }
    }
}

impl Way {
    fn new(health: &Arc<Health>, settings: &PoolSettings, rules: Rules, metrics: &Metrics) -> Way {
        let source = settings.source;
        let dialler = Dialler::new(Arc::clone(health), source);
        // Nobody waits longer for a connection that is shared.
        let most = settings.read_timeout.clamp(
            Duration::from_millis(limits::UPSTREAM_DIAL_MS_MIN),
            Duration::from_millis(limits::UPSTREAM_DIAL_MS_MAX),
        );
        let endpoint = health.endpoint();
        let form = Form::of(endpoint).map(Rc::new);
        let proto = endpoint.transport.label();
        if endpoint.transport.is_quic() {
            let dialler = Rc::new(dialler);
            let dial: Dial<Quic> = Rc::new(move || {
                let dialler = Rc::clone(&dialler);
                Box::pin(async move {
                    match dialler.dial(most, None).await? {
                        Opened::Quic(quic) => Ok(quic),
                        Opened::Plain(_) | Opened::Tls(_) => Err(Error::Eof),
                    }
                })
            });
            return Way::Quic(Sessions::new(rules, dial), metrics.cache(proto));
        }
        if endpoint.is_proxied && endpoint.transport != Transport::Dns {
            return Way::Single(Box::new(Single {
                dialler,
                form,
                uses: metrics.cache(proto),
            }));
        }
        if let Some(form) = form {
            let shared = Rc::new((dialler, form));
            let dial: Dial<Http2> = Rc::new(move || {
                let shared = Rc::clone(&shared);
                Box::pin(async move {
                    let (dialler, form) = &*shared;
                    Http2::start(dialler.dial(most, None).await?, Rc::clone(form)).await
                })
            });
            return Way::Http(Sessions::new(rules, dial), metrics.cache(proto));
        }
        match (&endpoint.address, &endpoint.tls) {
            (Address::Ip(addr), None) => Way::Plain(Box::new(Plain {
                addr: *addr,
                source,
                udp: Idle::new(Rules {
                    max_uses: limits::UPSTREAM_UDP_USES,
                    ..rules
                }),
                tcp: Idle::new(Rules {
                    // A connection that names its client carries nothing of others.
                    max_uses: match endpoint.is_proxied {
                        true => 1,
                        false => rules.max_uses,
                    },
                    ..rules
                }),
                udp_uses: metrics.cache(Protocol::Udp.as_str()),
                tcp_uses: metrics.cache(Protocol::Tcp.as_str()),
                dialler,
            })),
            _ => {
                let dialler = Rc::new(dialler);
                let dial: Dial<Pipeline> = Rc::new(move || {
                    let dialler = Rc::clone(&dialler);
                    Box::pin(async move {
                        match dialler.dial(most, None).await? {
                            Opened::Tls(tls) => Pipeline::start(tls),
                            Opened::Plain(_) | Opened::Quic(_) => Err(Error::Eof),
                        }
                    })
                });
                Way::Tls(Sessions::new(rules, dial), metrics.cache(proto))
            }
        }
    }
}

fn count(uses: &Option<Cache>, is_hit: bool) {
    if let Some(uses) = uses {
        uses.count(is_hit);
    }
}

fn until(deadline: Nanos) -> Duration {
    Duration::from_nanos(deadline.saturating_sub(clock::now_ns()))
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}
