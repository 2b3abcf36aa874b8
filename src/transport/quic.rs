//! The client side of QUIC: one connection to one server, on which each request has a stream of its own.
//!
//! ```text
//!   exchange() --stream, FIN--> Driver (one task) <-> quinn-proto <-> connected UDP socket
//!        ^------- octets up to FIN, or why there are none
//! ```
//!
//! What a request and a reply are is the caller's: DNS over QUIC, or HTTP/3.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig,
    Event, IdleTimeout, ReadError, StreamEvent, StreamId, TransportConfig, VarInt,
};

use crate::limits;
use crate::runtime::clock::{self, Nanos};
use crate::runtime::{self, Sleep, UdpSocket};

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
    /// The code with which it is closed, and exchanges that are given up (RFC 9250: 0 and 3).
    pub codes: (u32, u32),
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The connection is over; whether the request was looked at is unknown.
    #[error("the connection is over: {0}")]
    Lost(String),
    /// The server refused the stream, with this code.
    #[error("the stream was reset with code {0}")]
    Reset(u64),
    /// The reply is longer than was allowed.
    #[error("the reply is too long")]
    TooLong,
}

struct State {
    quic: Connection,
    handle: ConnectionHandle,
    /// By stream: no more than the server grants.
    exchanges: BTreeMap<StreamId, Exchange>,
    /// Who waits for the handshake, or until the server grants a stream: each task once.
    unopened: Vec<Waker>,
    is_up: bool,
    /// Something was asked in early data.
    is_early: bool,
    /// Why it is over.
    over: Option<String>,
    /// Wakes the driver: there is something to send.
    driver: Option<Waker>,
    codes: (u32, u32),
}

struct Exchange {
    /// What flow control holds of the request.
    unsent: Vec<u8>,
    reply: Vec<u8>,
    reply_max: usize,
    outcome: Option<Result<(), Failure>>,
    waker: Option<Waker>,
}

struct Owner(Rc<RefCell<State>>);

/// The task of a connection.
struct Driver {
    state: Rc<RefCell<State>>,
    socket: UdpSocket,
    peer: SocketAddr,
    endpoint: Endpoint,
    /// quinn-proto's time and ours at the start.
    start: (Instant, Nanos),
    alarm: Sleep,
    out: Vec<u8>,
}

// === impl QuicClient ===

impl QuicClient {
    /// Begins a connection from `local`, whose port may be zero, to a server that has to show a certificate for `name`. It does not wait:
    /// exchanges do, unless there is early data.
    ///
    /// # Errors
    /// The socket's, a name that is none, terms without TLS 1.3.
    pub fn connect(
        local: SocketAddr,
        peer: SocketAddr,
        name: &str,
        terms: &Terms,
    ) -> io::Result<QuicClient> {
        let socket = UdpSocket::connect(local, peer)?;
        let endpoint_config = Arc::new(EndpointConfig::default());
        let mut endpoint = Endpoint::new(endpoint_config, None, false, None);
        // Read once; from then on it is our clock that counts.
        #[allow(clippy::disallowed_methods)]
        let start = (Instant::now(), clock::now_ns());
        let (handle, quic) = endpoint
            .connect(start.0, config(terms)?, peer, name)
            .map_err(io::Error::other)?;
        let state = Rc::new(RefCell::new(State {
            quic,
            handle,
            exchanges: BTreeMap::new(),
            unopened: Vec::new(),
            is_up: false,
            is_early: false,
            over: None,
            driver: None,
            codes: terms.codes,
        }));
        let mut driver = Driver {
            state: state.clone(),
            socket,
            peer,
            endpoint,
            start,
            alarm: runtime::sleep_until(Nanos::MAX),
            out: Vec::new(),
        };
        runtime::spawn(async move { poll_fn(|cx| driver.poll(cx)).await });
        Ok(QuicClient {
            _owner: Rc::new(Owner(state.clone())),
            state,
        })
    }

    /// Whether it can still be used.
    pub fn is_usable(&self) -> bool {
        self.state.borrow().over.is_none()
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
            if let Some(reason) = &state.over {
                return Poll::Ready(Err(Failure::Lost(reason.clone())));
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
        let id = poll_fn(|cx| self.poll_open(cx, request, reply_max, early)).await?;
        let _taken_back = TakenBack { client: self, id };
        poll_fn(|cx| self.poll_reply(cx, id)).await
    }

    /// Opens a stream of one way that stays, such as the control stream of HTTP/3. `false`: the server grants none.
    pub fn open_side_stream(&self, octets: &[u8]) -> bool {
        let state = &mut *self.state.borrow_mut();
        let Some(id) = state.quic.streams().open(Dir::Uni) else {
            return false;
        };
        let written = state.quic.send_stream(id).write(octets);
        state.wake_driver();
        written == Ok(octets.len())
    }

    fn poll_open(
        &self,
        cx: &mut Context<'_>,
        request: &[u8],
        reply_max: usize,
        early: bool,
    ) -> Poll<Result<StreamId, Failure>> {
        let state = &mut *self.state.borrow_mut();
        if let Some(reason) = &state.over {
            return Poll::Ready(Err(Failure::Lost(reason.clone())));
        }
        let may_open = state.is_up || early && state.quic.has_0rtt();
        let opened = may_open.then(|| state.quic.streams().open(Dir::Bi));
        let Some(id) = opened.flatten() else {
            state.wait_to_open(cx.waker());
            return Poll::Pending;
        };
        state.is_early |= !state.is_up;
        state.exchanges.insert(
            id,
            Exchange {
                unsent: request.to_vec(),
                reply: Vec::new(),
                reply_max,
                outcome: None,
                waker: None,
            },
        );
        state.send_more(id);
        state.wake_driver();
        Poll::Ready(Ok(id))
    }

    fn poll_reply(&self, cx: &mut Context<'_>, id: StreamId) -> Poll<Result<Vec<u8>, Failure>> {
        let state = &mut *self.state.borrow_mut();
        let Some(exchange) = state.exchanges.get_mut(&id) else {
            return Poll::Ready(Err(Failure::Lost("no such stream".to_owned())));
        };
        match exchange.outcome.take() {
            Some(Ok(())) => Poll::Ready(Ok(std::mem::take(&mut exchange.reply))),
            Some(Err(failure)) => Poll::Ready(Err(failure)),
            None => {
                exchange.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Ends the stream of an exchange, whether or not its reply has come.
struct TakenBack<'a> {
    client: &'a QuicClient,
    id: StreamId,
}

impl Drop for TakenBack<'_> {
    fn drop(&mut self) {
        let state = &mut *self.client.state.borrow_mut();
        state.exchanges.remove(&self.id);
        let code = VarInt::from_u32(state.codes.1);
        // Streams that are over are left alone.
        let _ = state.quic.recv_stream(self.id).stop(code);
        let _ = state.quic.send_stream(self.id).reset(code);
        state.wake_driver();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let state = &mut *self.0.borrow_mut();
        state.end("closed");
        state.wake_driver();
    }
}

// === impl State ===

impl State {
    fn wake_driver(&self) {
        if let Some(waker) = &self.driver {
            waker.wake_by_ref();
        }
    }

    fn wait_to_open(&mut self, waker: &Waker) {
        if !self.unopened.iter().any(|other| other.will_wake(waker)) {
            self.unopened.push(waker.clone());
        }
    }

    fn wake_unopened(&mut self) {
        self.unopened.drain(..).for_each(Waker::wake);
    }

    /// It is over: all that wait are told.
    fn end(&mut self, reason: &str) {
        self.over.get_or_insert_with(|| reason.to_owned());
        for exchange in self.exchanges.values_mut() {
            exchange.end(Err(Failure::Lost(reason.to_owned())));
        }
        self.wake_unopened();
    }

    fn send_more(&mut self, id: StreamId) {
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return;
        };
        let mut stream = self.quic.send_stream(id);
        while !exchange.unsent.is_empty() {
            match stream.write(&exchange.unsent) {
                Ok(count) => drop(exchange.unsent.drain(..count)),
                // Blocked: it goes on when the server lets it. Stopped: the reply may come all the same.
                Err(_) => return,
            }
        }
        // Stopped, or finished before.
        let _ = stream.finish();
    }

    fn read(&mut self, id: StreamId) {
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else {
            return;
        };
        let mut unasked = Exchange::unasked();
        let exchange = self.exchanges.get_mut(&id).unwrap_or(&mut unasked);
        loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk))
                    if exchange.reply.len() + chunk.bytes.len() <= exchange.reply_max =>
                {
                    exchange.reply.extend(&chunk.bytes);
                }
                Ok(Some(_)) => break exchange.end(Err(Failure::TooLong)),
                Ok(None) => break exchange.end(Ok(())),
                Err(ReadError::Reset(code)) => {
                    break exchange.end(Err(Failure::Reset(code.into_inner())));
                }
                Err(ReadError::Blocked) => break,
            }
        }
        // The driver sends after every turn.
        let _ = chunks.finalize();
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Connected => {
                self.is_up = true;
                if self.is_early && !self.quic.accepted_0rtt() {
                    // quinn-proto has forgotten the streams, and gives their numbers out again.
                    self.end("early data was refused");
                }
                self.wake_unopened();
            }
            Event::ConnectionLost { reason } => self.end(&reason.to_string()),
            Event::Stream(StreamEvent::Opened { dir }) => {
                // Streams of the server's: those of HTTP/3 say nothing that matters here, as long as they are read.
                while let Some(id) = self.quic.streams().accept(dir) {
                    self.read(id);
                }
            }
            Event::Stream(StreamEvent::Readable { id }) => self.read(id),
            Event::Stream(StreamEvent::Writable { id }) => self.send_more(id),
            Event::Stream(StreamEvent::Available { .. }) => self.wake_unopened(),
            _ => {}
        }
    }
}

impl Exchange {
    /// Room for what comes on a stream that is of no use.
    fn unasked() -> Exchange {
        Exchange {
            unsent: Vec::new(),
            reply: Vec::new(),
            reply_max: limits::QUIC_STREAM_WINDOW as usize,
            outcome: None,
            waker: None,
        }
    }

    fn end(&mut self, outcome: Result<(), Failure>) {
        self.outcome.get_or_insert(outcome);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

// === impl Driver ===

impl Driver {
    /// `Ready` when the connection is over and its last packet has been sent.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.state.clone();
        let state = &mut *shared.borrow_mut();
        match &mut state.driver {
            Some(waker) => waker.clone_from(cx.waker()),
            None => state.driver = Some(cx.waker().clone()),
        }
        loop {
            let now = self.start.0 + Duration::from_nanos(clock::now_ns() - self.start.1);
            let has_read = PACKET.with_borrow_mut(|packet| self.receive(state, now, cx, packet));
            if state.quic.poll_timeout().is_some_and(|at| at <= now) {
                state.quic.handle_timeout(now);
            }
            while let Some(event) = state.quic.poll() {
                state.take(event);
            }
            if state.over.is_some() && !state.quic.is_closed() {
                let code = VarInt::from_u32(state.codes.0);
                state.quic.close(now, code, Bytes::new());
            }
            while let Some(event) = state.quic.poll_endpoint_events() {
                if let Some(event) = self.endpoint.handle_event(state.handle, event) {
                    state.quic.handle_event(event);
                }
            }
            self.send(state, now, cx);
            // A server needs no more than one packet to know; what it sends then is nobody's.
            if state.over.is_some() || state.quic.is_drained() {
                state.driver = None;
                return Poll::Ready(());
            }
            if !has_read && !self.poll_alarm(state, cx) {
                return Poll::Pending;
            }
        }
    }

    /// Takes some of what has come; `false` when nothing has.
    fn receive(
        &mut self,
        state: &mut State,
        now: Instant,
        cx: &mut Context<'_>,
        packet: &mut [u8],
    ) -> bool {
        for _ in 0..limits::QUIC_DATAGRAMS {
            match self.socket.poll_recv(cx, packet) {
                Poll::Ready(Ok(len)) => {
                    let data = BytesMut::from(packet.get(..len).unwrap_or_default());
                    self.out.clear();
                    let event =
                        self.endpoint
                            .handle(now, self.peer, None, None, data, &mut self.out);
                    if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
                        state.quic.handle_event(event);
                    }
                }
                Poll::Ready(Err(error)) => {
                    // Nobody listens there. What else there is passes, or the handshake takes too long.
                    if error.kind() == io::ErrorKind::ConnectionRefused {
                        state.end("connection refused");
                    }
                    return true;
                }
                Poll::Pending => return false,
            }
        }
        true
    }

    fn send(&mut self, state: &mut State, now: Instant, cx: &mut Context<'_>) {
        loop {
            self.out.clear();
            let Some(transmit) = state.quic.poll_transmit(now, 1, &mut self.out) else {
                return;
            };
            let packet = self.out.get(..transmit.size).unwrap_or_default();
            // What the kernel does not take now is lost on the way, as far as the protocol can tell.
            let sent = self.socket.poll_send(cx, packet);
            if let Poll::Ready(Err(error)) = sent
                && error.kind() == io::ErrorKind::ConnectionRefused
            {
                state.end("connection refused");
            }
        }
    }

    /// Sets the alarm; `true` if it has rung.
    fn poll_alarm(&mut self, state: &mut State, cx: &mut Context<'_>) -> bool {
        let Some(at) = state.quic.poll_timeout() else {
            return false;
        };
        let since = at.saturating_duration_since(self.start.0).as_nanos();
        let at = u64::try_from(since).map_or(Nanos::MAX, |since| self.start.1 + since);
        if at < self.alarm.deadline() || self.alarm.deadline() <= clock::now_ns() {
            self.alarm = runtime::sleep_until(at);
        }
        Pin::new(&mut self.alarm).poll(cx).is_ready()
    }
}

fn config(terms: &Terms) -> io::Result<ClientConfig> {
    let crypto: QuicClientConfig = terms.tls.clone().try_into().map_err(io::Error::other)?;
    let idle_ms = u32::try_from(terms.idle.as_millis()).unwrap_or(u32::MAX);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(0u32.into())
        .max_concurrent_uni_streams(limits::H3_SIDE_STREAMS.into())
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle_ms))))
        // A whole reply fits.
        .stream_receive_window((2 * limits::MESSAGE_OCTETS as u32).into())
        .send_window(limits::QUIC_SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        .mtu_discovery_config(None);
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

thread_local! {
    /// A packet just received, on its way to a connection.
    static PACKET: RefCell<Box<[u8]>> =
        RefCell::new(vec![0; limits::QUIC_DATAGRAM_OCTETS].into_boxed_slice());
}
