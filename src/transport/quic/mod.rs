//! The client side of QUIC: one connection to one server, on which each request has a stream of its own.
//!
//! ```text
//!   exchange() --stream, FIN--> Driver (one task) <-> quinn-proto <-> connected UDP socket
//!        ^------- octets up to FIN, or why there are none
//! ```
//!
//! What a request and a reply are is the caller's: DNS over QUIC, or HTTP/3, whose streams of one way are seen to here.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

mod driver;
mod state;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Dir, Endpoint, EndpointConfig, IdleTimeout, StreamId, TransportConfig, VarInt,
};

use crate::limits;
use crate::runtime::clock::{self, Nanos};
use crate::runtime::{self, UdpSocket};
use driver::Driver;
use state::{Exchange, State};

/// A connection; its clones are the same one. It is closed when the last of them, and the last exchange, has gone.
#[derive(Clone)]
pub struct QuicClient {
    state: Rc<RefCell<State>>,
    /// Closes the connection when it is dropped.
    _owner: Rc<Owner>,
}

/// What a client wants of its connections.
#[derive(Debug, Clone)]
pub struct Terms {
    /// TLS 1.3, with the application protocol and where to keep sessions; early data is used where it allows it.
    pub tls: Arc<rustls::ClientConfig>,
    /// A connection without packets for so long is over.
    pub idle: Duration,
    /// What is said of an end.
    pub codes: Codes,
    /// HTTP/3 is spoken: it has streams of one way too.
    pub is_http3: bool,
}

/// Error codes of the application protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codes {
    /// Of a connection that is of no more use (RFC 9250: 0).
    pub close: u32,
    /// Of an exchange that is given up (RFC 9250: 3).
    pub cancel: u32,
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The connection is over; whether the request was looked at is unknown.
    #[error("the connection is over: {0}")]
    Lost(Loss),
    /// The server takes no more requests on this connection, and has not looked at this one.
    #[error("the server takes no more requests on this connection")]
    Refused,
    /// The server gave the stream up, with this code.
    #[error("the stream was reset with code {0}")]
    Reset(u64),
    /// The reply is longer than was allowed.
    #[error("the reply is too long")]
    TooLong,
}

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Loss {
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// Nothing came for too long.
    #[error("no packet came in time")]
    Silent,
    /// We do not take what the server says in TLS, its certificate above all.
    #[error("{0}")]
    Tls(Rc<str>),
    /// The server does not take what we say in TLS: the alert's number (RFC 8446 section 6).
    #[error("TLS alert {0}")]
    Alert(u8),
    /// In QUIC's words.
    #[error("{0}")]
    Other(Rc<str>),
}

struct Owner(Rc<RefCell<State>>);

// === impl QuicClient ===

impl QuicClient {
    /// Begins a connection over a socket that is connected to `peer`, a server that has to show a certificate for `name`. It does not wait:
    /// exchanges do, unless there is early data.
    ///
    /// # Errors
    /// A name that is none, terms without TLS 1.3, too many tasks on this thread.
    pub fn connect(
        socket: UdpSocket,
        peer: SocketAddr,
        name: &str,
        terms: &Terms,
    ) -> io::Result<QuicClient> {
        let endpoint_config = Arc::new(EndpointConfig::default());
        let mut endpoint = Endpoint::new(endpoint_config, None, false, None);
        // Read once; from then on it is our clock that counts.
        #[allow(clippy::disallowed_methods)]
        let start = (Instant::now(), clock::now_ns());
        let (handle, quic) = endpoint
            .connect(start.0, config(terms)?, peer, name)
            .map_err(io::Error::other)?;
        let state = State::new(quic, handle, terms.codes, terms.is_http3);
        let state = Rc::new(RefCell::new(state));
        let mut driver = Driver {
            state: state.clone(),
            socket,
            peer,
            endpoint,
            start,
            alarm: runtime::sleep_until(Nanos::MAX),
            out: Vec::new(),
        };
        let work = async move { poll_fn(|cx| driver.poll(cx)).await };
        runtime::try_spawn(work).map_err(|_| io::Error::from(io::ErrorKind::ResourceBusy))?;
        Ok(QuicClient {
            _owner: Rc::new(Owner(state.clone())),
            state,
        })
    }

    /// Whether it can still be used.
    pub fn is_usable(&self) -> bool {
        let state = self.state.borrow();
        state.over.is_none() && !state.is_leaving
    }

    /// Whether requests may be sent before the handshake is done, which they may not any more when it is.
    pub fn has_early(&self) -> bool {
        let state = self.state.borrow();
        !state.is_up && state.quic.has_0rtt()
    }

    /// Whether a session was resumed whose server took early data.
    pub fn was_early(&self) -> bool {
        self.state.borrow().quic.accepted_0rtt()
    }

    /// Ends it with an error code of the application protocol: the server breaks it.
    pub fn abort(&self, code: u32, reason: &str) {
        let state = &mut *self.state.borrow_mut();
        state.abort(code, reason);
        state.wake_driver();
    }

    /// Ends it because nothing came in time.
    pub fn give_up(&self) {
        let state = &mut *self.state.borrow_mut();
        state.end(Loss::Silent);
        state.wake_driver();
    }

    /// Exchanges under way.
    pub fn in_flight(&self) -> usize {
        self.state.borrow().exchanges.len()
    }

    /// Waits until the handshake is done.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn handshake(&self) -> Result<(), Failure> {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            if let Some(loss) = &state.over {
                return Poll::Ready(Err(Failure::Lost(loss.clone())));
            }
            if state.is_up {
                return Poll::Ready(Ok(()));
            }
            state.wait_to_open(cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Sends a request on a stream of its own and waits for all of its reply. `early`: asking it twice does no more than asking it once,
    /// so it may be sent before the handshake is done. Dropped, it is taken back.
    ///
    /// # Errors
    /// There is no reply, or one that is longer than `reply_max` octets.
    pub async fn exchange(
        &self,
        request: &[u8],
        reply_max: usize,
        early: bool,
    ) -> Result<Vec<u8>, Failure> {
        loop {
            let asked = poll_fn(|cx| self.poll_open(cx, request, reply_max, early)).await?;
            match poll_fn(|cx| asked.poll_reply(cx)).await {
                // What is early may be refused unseen. The handshake is done by then.
                None => {}
                Some(outcome) => return outcome,
            }
        }
    }

    fn poll_open(
        &self,
        cx: &mut Context<'_>,
        request: &[u8],
        reply_max: usize,
        early: bool,
    ) -> Poll<Result<Asked<'_>, Failure>> {
        let state = &mut *self.state.borrow_mut();
        if let Some(loss) = &state.over {
            return Poll::Ready(Err(Failure::Lost(loss.clone())));
        }
        if state.is_leaving {
            return Poll::Ready(Err(Failure::Refused));
        }
        let may_open = state.is_up || early && state.quic.has_0rtt();
        let opened = may_open.then(|| state.quic.streams().open(Dir::Bi));
        let Some(id) = opened.flatten() else {
            state.wait_to_open(cx.waker());
            return Poll::Pending;
        };
        let is_early = !state.is_up;
        if !is_early {
            state.asked_at.get_or_insert(clock::now_ns());
        }
        let exchange = Exchange::new(request, reply_max);
        state.exchanges.insert(id, exchange);
        state.send_more(id);
        state.wake_driver();
        Poll::Ready(Ok(Asked {
            client: self,
            id,
            is_early,
        }))
    }
}

/// A request that was sent; dropped, its stream ends, whether or not its reply has come.
struct Asked<'a> {
    client: &'a QuicClient,
    id: StreamId,
    is_early: bool,
}

impl Asked<'_> {
    /// The reply; none where the request was sent early, and refused with all that was.
    fn poll_reply(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Vec<u8>, Failure>>> {
        let state = &mut *self.client.state.borrow_mut();
        if self.is_forgotten(state) {
            return Poll::Ready(None);
        }
        let Some(exchange) = state.exchanges.get_mut(&self.id) else {
            return Poll::Ready(None);
        };
        match exchange.outcome.take() {
            Some(Ok(())) => Poll::Ready(Some(Ok(std::mem::take(&mut exchange.reply)))),
            Some(Err(failure)) => Poll::Ready(Some(Err(failure))),
            None => {
                exchange.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether its stream is no more, and may be another's.
    fn is_forgotten(&self, state: &State) -> bool {
        self.is_early && state.is_early_refused
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let state = &mut *self.client.state.borrow_mut();
        if self.is_forgotten(state) {
            return;
        }
        state.exchanges.remove(&self.id);
        let code = VarInt::from_u32(state.codes.cancel);
        // Streams that are over are left alone.
        let _ = state.quic.recv_stream(self.id).stop(code);
        let _ = state.quic.send_stream(self.id).reset(code);
        state.wake_driver();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let state = &mut *self.0.borrow_mut();
        state.end(Loss::Other("closed".into()));
        state.wake_driver();
    }
}

fn config(terms: &Terms) -> io::Result<ClientConfig> {
    let crypto: QuicClientConfig = terms.tls.clone().try_into().map_err(io::Error::other)?;
    let idle_ms = u32::try_from(terms.idle.as_millis()).unwrap_or(u32::MAX);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(0u32.into())
        // RFC 9250 section 4.2: there are none without HTTP/3.
        .max_concurrent_uni_streams(match terms.is_http3 {
            true => limits::H3_SIDE_STREAMS.into(),
            false => 0u32.into(),
        })
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle_ms))))
        // A whole reply fits.
        .stream_receive_window((2 * limits::MESSAGE_OCTETS as u32).into())
        .receive_window(limits::UPSTREAM_HTTP_WINDOW.into())
        .send_window(limits::QUIC_SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        .mtu_discovery_config(None);
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}
