//! Opening a connection to an upstream, with TLS where it speaks that.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::Cell;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::HandshakeKind;

use super::endpoint::{Address, Endpoint};
use super::error::Fault;
use super::metrics::Handshakes;
use super::quic::Quic;
use super::{Error, Health, Protocol, Why, tcp};
use crate::limits;
use crate::runtime::clock::{self, MILLISECOND, Nanos};
use crate::runtime::{self, TcpStream};
use crate::transport::proxy::{self, Carried, Ends};
use crate::transport::tls::ClientTls;

/// A connection that was opened.
pub(super) enum Opened {
    Plain(TcpStream),
    Tls(Box<ClientTls>),
    Quic(Quic),
}

/// Opens connections to one upstream, and learns how long that takes.
pub(super) struct Dialler {
    health: Arc<Health>,
    source: Option<IpAddr>,
    /// A moving average of the time that connecting took.
    average: Cell<Nanos>,
    /// None where no TLS is spoken.
    handshakes: Option<Rc<Handshakes>>,
}

impl Dialler {
    pub(super) fn new(health: Arc<Health>, source: Option<IpAddr>) -> Dialler {
        let handshakes = health.endpoint().tls.as_ref();
        Dialler {
            handshakes: handshakes.map(|_| Rc::new(Handshakes::new(health.to()))),
            health,
            source,
            average: Cell::new(limits::UPSTREAM_DIAL_MS_MAX * MILLISECOND / 2),
        }
    }

    /// Opens a connection within twice the time that it usually takes, and within `most`. An upstream that is told of clients is told of
    /// this one.
    pub(super) async fn dial(
        &self,
        most: Duration,
        client: Option<&Ends>,
    ) -> Result<Opened, Error> {
        let start = clock::now_ns();
        let wait = self.timeout().min(most);
        let opened = open(self.health.endpoint(), self.source, wait, client).await;
        let took = clock::now_ns().saturating_sub(start);
        let average = self.average.get();
        self.average.set(average - average / 4 + took / 4);
        match (&opened, &self.handshakes) {
            (Ok(Opened::Tls(tls)), Some(handshakes)) => match tls.common().handshake_kind() {
                Some(HandshakeKind::Resumed) => handshakes.resumed.inc(),
                _ => handshakes.full.inc(),
            },
            (Ok(Opened::Quic(quic)), Some(handshakes)) => quic.watch(handshakes, wait),
            _ => {}
        }
        opened
    }

    fn timeout(&self) -> Duration {
        let least = limits::UPSTREAM_DIAL_MS_MIN * MILLISECOND;
        let most = limits::UPSTREAM_DIAL_MS_MAX * MILLISECOND;
        Duration::from_nanos(self.average.get().saturating_mul(2).clamp(least, most))
    }
}

/// Connects, and shakes hands where TLS is spoken, within `wait`. An upstream that is told of clients is told of this one, or without one
/// that this server speaks for itself.
pub(super) async fn open(
    endpoint: &Endpoint,
    source: Option<IpAddr>,
    wait: Duration,
    client: Option<&Ends>,
) -> Result<Opened, Error> {
    let start = clock::now_ns();
    let mut stream = match &endpoint.address {
        Address::Ip(addr) if endpoint.transport.is_quic() => {
            let opened = Quic::open(endpoint, *addr, source, wait).await;
            return opened.map(Opened::Quic);
        }
        Address::Ip(addr) => tcp::open(*addr, source, wait).await?,
        Address::Path(path) => {
            let connected = runtime::timeout(wait, TcpStream::connect_path(path)).await;
            let why = match connected {
                Ok(Ok(stream)) => return Ok(Opened::Plain(stream)),
                Ok(Err(error)) => Why::Call("connect", error),
                Err(_) => Why::Timeout,
            };
            return Err(Error::DialPath(path.as_path().into(), why));
        }
    };
    if endpoint.is_proxied {
        let mut header = Vec::new();
        proxy::write(client, Carried::Stream, &mut header);
        // A fresh connection takes so few octets without waiting.
        if let Err(error) = stream.write_all(&header).await {
            let (from, peer) = (stream.local_addr().ok(), stream.peer_addr());
            let why = Why::Call("write", error);
            return Err(Error::Write(Protocol::Tcp, from, peer, why));
        }
    }
    let Some(client) = &endpoint.tls else {
        return Ok(Opened::Plain(stream));
    };
    let peer = stream.peer_addr();
    let failed = |error| Error::Peer(Address::Ip(peer), Box::new(Fault::Tls(error)));
    let tls = ClientTls::connect(stream, client.current(), client.name().clone());
    let mut tls = Box::new(tls.map_err(failed)?);
    let took = Duration::from_nanos(clock::now_ns().saturating_sub(start));
    let left = wait.saturating_sub(took);
    match runtime::timeout(left, poll_fn(|cx| tls.poll_handshake(cx))).await {
        Ok(Ok(())) => Ok(Opened::Tls(tls)),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => {
            let from = tls.tcp().local_addr().ok();
            Err(Error::Read(Protocol::Tcp, from, peer, Why::Timeout))
        }
    }
}
