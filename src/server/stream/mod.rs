//! Connections over TCP on a task thread: accepted, counted, shaken hands with, and handed to the protocol of their listener.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

mod dns;
pub(super) mod http;
mod late;
mod proxied;

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use rustls::ServerConfig;

use super::clients::Client;
use super::config::{Load, Timeouts};
use super::session::{Accepting, Session};
use super::tasks::Env;
use crate::corefile::address::Scheme;
use crate::plugin::Proto;
use crate::runtime::clock::Nanos;
use crate::runtime::{self, TcpListener, TcpStream};
use crate::telemetry::log;
use crate::tls;
use crate::transport::proxy::Proxies;
use crate::transport::stream::Stream;
use crate::transport::tcp;
use crate::transport::tls::ServerTls;

/// The accept loops of one core.
#[derive(Default)]
pub struct Acceptors {
    list: Vec<Acceptor>,
}

struct Acceptor {
    socket: tcp::Shared,
    state: Rc<Accepting>,
}

impl Acceptors {
    /// Accepts on exactly these sockets from now on. Connections of a socket that stays are not touched; those of one that goes
    /// finish what they are answering.
    pub fn replace(&mut self, env: &Rc<Env>, listeners: Vec<(u16, tcp::Shared)>) {
        let mut old = std::mem::take(&mut self.list);
        for (listener, socket) in listeners {
            if let Some(at) = old
                .iter()
                .position(|acceptor| Arc::ptr_eq(&acceptor.socket, &socket))
            {
                let acceptor = old.swap_remove(at);
                acceptor.state.listener.set(Some(listener));
                self.list.push(acceptor);
            } else {
                self.start(env, listener, socket);
            }
        }
        for acceptor in old {
            acceptor.state.close();
        }
    }

    fn start(&mut self, env: &Rc<Env>, listener: u16, socket: tcp::Shared) {
        let state = Accepting::new(listener);
        let listening = socket.try_clone().and_then(TcpListener::from_std);
        match listening {
            Ok(listening) => runtime::spawn(accept(env.clone(), state.clone(), listening)),
            Err(error) => log::error(None, format_args!("cannot accept TCP connections: {error}")),
        }
        self.list.push(Acceptor { socket, state });
    }
}

async fn accept(env: Rc<Env>, state: Rc<Accepting>, listening: TcpListener) {
    while state.listener.get().is_some() {
        let accepted = first_of(listening.accept(), state.closed.wait()).await;
        let Some(Ok((tcp, peer))) = accepted else {
            continue;
        };
        let Ok(local) = tcp.local_addr() else {
            continue;
        };
        let session = Session {
            env: env.clone(),
            accepting: state.clone(),
            peer,
            local,
            proto: Proto::Tcp,
        };
        if let Some(open) = Open::new(&session) {
            runtime::spawn(connection(open, session, tcp));
        }
    }
}

/// The first future's output, or `None` when the second is ready first.
async fn first_of<T>(
    first: impl Future<Output = T>,
    second: impl Future<Output = ()>,
) -> Option<T> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|cx| {
        if let Poll::Ready(value) = first.as_mut().poll(cx) {
            return Poll::Ready(Some(value));
        }
        second.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// What a connection needs to know of its listener.
struct Terms {
    scheme: Scheme,
    tls: Option<Arc<tls::Live>>,
    proxies: Option<Arc<Proxies>>,
    timeouts: Timeouts,
    streams_max: usize,
    /// Its place among the connections of the listener; `None`: there is none left.
    seat: Option<Seat>,
}

async fn connection(mut open: Open, mut session: Session, mut tcp: TcpStream) {
    let terms = session.with_listener(|listener| Terms {
        scheme: listener.scheme,
        tls: listener.tls.clone(),
        proxies: listener.proxies.clone(),
        timeouts: listener.timeouts,
        streams_max: listener.load.streams_max,
        seat: Seat::take(&listener.load),
    });
    let Some(terms) = terms else {
        return;
    };
    let Some(seat) = terms.seat else {
        return session.env.connections.refused_by_listener();
    };
    if let Some(proxies) = &terms.proxies {
        let named = proxied::name(proxies, &mut session, &mut tcp, terms.timeouts.read);
        if !Box::pin(named).await || !open.claim(session.peer) {
            return;
        }
    }
    let stream = match &terms.tls {
        None => Stream::Plain(tcp),
        Some(live) => match Box::pin(shake_hands(
            &session,
            tcp,
            live.current(terms.scheme),
            &terms.timeouts,
        ))
        .await
        {
            // All that there is to say was said in the handshake.
            Some(tls) if tls.common().alpn_protocol() == Some(tls::CHALLENGE_PROTOCOL) => return,
            Some(tls) => Stream::Tls(tls),
            None => return,
        },
    };
    // Boxed: each takes the room of its own protocol, and thousands may be idle.
    match terms.scheme {
        Scheme::Tls => {
            session.proto = Proto::Tls;
            Box::pin(dns::serve(session, stream, terms.timeouts)).await;
        }
        Scheme::Https => {
            session.proto = Proto::Https;
            Box::pin(http::serve_doh(session, stream, terms.timeouts)).await;
        }
        Scheme::Grpc => {
            session.proto = Proto::Grpc;
            let (timeouts, streams_max) = (terms.timeouts, terms.streams_max);
            Box::pin(http::serve_grpc(session, stream, timeouts, streams_max)).await;
        }
        _ => Box::pin(dns::serve(session, stream, terms.timeouts)).await,
    }
    drop((open, seat));
}

/// A place among the connections of a listener on all cores, held as long as the connection, over reloads too.
struct Seat(Arc<AtomicUsize>);

impl Seat {
    fn take(load: &Load) -> Option<Seat> {
        // Taken first and given back by `drop`: of two cores at the last place at most one has it.
        let seat = Seat(load.connections.clone());
        let before = seat.0.fetch_add(1, Ordering::Relaxed);
        (load.connections_max == 0 || before < load.connections_max).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The time so long after another.
fn after(now: Nanos, patience: Duration) -> Nanos {
    now.saturating_add(u64::try_from(patience.as_nanos()).unwrap_or(Nanos::MAX))
}

async fn shake_hands(
    session: &Session,
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    timeouts: &Timeouts,
) -> Option<ServerTls> {
    let handshakes = &session.env.handshakes;
    let _turn = handshakes.enter(Client::of(session.peer.ip()))?;
    let shaken = async {
        let mut stream = ServerTls::accept(tcp, config)?;
        poll_fn(|cx| stream.poll_handshake(cx)).await?;
        Ok::<_, io::Error>(stream)
    };
    match runtime::timeout(timeouts.read, shaken).await {
        Ok(Ok(stream)) => {
            handshakes.done(stream.common());
            Some(stream)
        }
        _ => {
            handshakes.failed();
            None
        }
    }
}

/// Counts a connection for as long as its reader lives, or its task waits to be refused.
struct Open {
    env: Rc<Env>,
    /// `None` until a proxy that is trusted has said who it is.
    client: Option<Client>,
}

impl Open {
    /// `None` when the core has as many as it may, or the client.
    fn new(session: &Session) -> Option<Open> {
        let env = &session.env;
        let most = env.tune().tcp_connections_max;
        let mut open = env.connections.enter(most).then(|| Open {
            env: env.clone(),
            client: None,
        })?;
        // All clients of a proxy share its address, and those that it will name have bounds of their own. A proxy that nobody named could
        // say anything to get around its bound, so it stays one client.
        let is_proxy = session.with_listener(|listener| {
            let proxies = listener.proxies.as_ref();
            proxies.is_some_and(|proxies| proxies.policy().trusts(session.peer))
        });
        (is_proxy == Some(true) || open.claim(session.peer)).then_some(open)
    }

    /// Counts it as this client's, if it is nobody's yet; false when the client has as many as it may.
    fn claim(&mut self, peer: SocketAddr) -> bool {
        if self.client.is_some() {
            return true;
        }
        let client = Client::of(peer.ip());
        self.client = self.env.connections.claim(client).then_some(client);
        self.client.is_some()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.env.connections.leave(self.client);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use super::*;
    use crate::runtime::local::Event;
    use crate::runtime::{Backend, block_on};
    use crate::testing::Host;

    /// What is left open of a connection that comes when only so many more tasks have room.
    fn check_refused(free: usize) {
        let config = Host::new(".:0 {\n whoami\n}\n").unwrap().config;
        let left = block_on(Backend::Epoll, async move {
            let env = Env::new(0, 1, Vec::new());
            env.open(config);
            let socket = Arc::new(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
            let server = socket.local_addr().unwrap();
            Acceptors::default().replace(&env, vec![(0, socket)]);
            // One of these ends below and leaves its place.
            let places: Vec<Event> = (0..free).map(|_| Event::new()).collect();
            for place in &places {
                runtime::spawn(place.wait());
            }
            while runtime::try_spawn(pending()).is_ok() {}
            places.iter().for_each(Event::notify);
            runtime::yield_now().await;
            let mut client = TcpStream::connect(None, server).await.unwrap();
            let mut octet = [0; 1];
            let end = runtime::timeout(Duration::from_secs(2), client.read(&mut octet)).await;
            assert!(!matches!(end, Ok(Ok(1..)) | Err(_)), "{free} free: {end:?}");
            env.connections.count()
        });
        assert_eq!(left.unwrap(), 0, "{free} free");
    }

    #[test]
    fn a_connection_without_room_for_its_task_is_closed() {
        check_refused(0);
    }
}
