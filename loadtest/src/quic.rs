//! DNS over QUIC (RFC 9250): connections on which every query has a stream of its own.
//!
//! ```text
//!  push -> a stream is open? -> length and query, FIN ----> datagrams of all streams leave in one batch at flush
//!               | no: limit reached, or handshaking
//!               v
//!            waiting ---- streams become available --------> as above
//! ```
//!
//! Runs on: the generator's thread.
//! **Invariant**: a query is in `waiting`, in `open`, or counted as answered or lost.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event,
    IdleTimeout, StreamEvent, StreamId, TransportConfig, VarInt,
};

use crate::corpus::Corpus;
use crate::flight::Sent;
use crate::load::Sources;
use crate::report::Report;
use crate::security::{ALPN_DOQ, Security};
use crate::sys::{self, Batch, Poller, Ready};

/// The connections of one run.
pub struct QuicSources<'a> {
    corpus: &'a Corpus,
    dial: Dial,
    connections: Vec<Connection>,
    poller: Poller,
    ready: Vec<Ready>,
    batch: Batch,
    // A datagram under construction.
    scratch: Vec<u8>,
}

/// How connections are made.
struct Dial {
    server: SocketAddr,
    config: ClientConfig,
    endpoint: Arc<EndpointConfig>,
    name: String,
}

struct Connection {
    socket: UdpSocket,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    proto: quinn_proto::Connection,
    is_lost: bool,
    waiting: VecDeque<Sent>,
    open: HashMap<StreamId, Open>,
}

struct Open {
    sent: Sent,
    // What has arrived so far.
    reply: Vec<u8>,
}

impl<'a> QuicSources<'a> {
    /// Opens one connection (handshake done) for each element of `from`, the address that it comes from.
    pub fn open(
        server: SocketAddr,
        from: &[IpAddr],
        corpus: &'a Corpus,
        security: &Security,
    ) -> io::Result<QuicSources<'a>> {
        let mut sources = QuicSources {
            corpus,
            dial: Dial::new(server, security)?,
            connections: Vec::new(),
            poller: Poller::new()?,
            ready: Vec::new(),
            batch: Batch::new(false),
            scratch: Vec::new(),
        };
        let mut report = Report::new(crate::pace::Rate::Max);
        for &from in from {
            let i = sources.connections.len();
            let connection = sources.dial.connect(from)?;
            sources.poller.add(&connection.socket, i, false)?;
            sources.connections.push(connection);
            sources.transmit(i)?;
            // Few at a time, so that no listener has to refuse any.
            if i % HANDSHAKES == HANDSHAKES - 1 {
                sources.wait_connected(&mut report)?;
            }
        }
        sources.wait_connected(&mut report)?;
        Ok(sources)
    }

    fn wait_connected(&mut self, report: &mut Report) -> io::Result<()> {
        let began = Instant::now();
        let mut active = Vec::new();
        let tail = self.connections.len().saturating_sub(HANDSHAKES);
        let shaking = |c: &Connection| c.proto.is_handshaking() && !c.is_lost;
        while self.connections[tail..].iter().any(shaking) {
            if began.elapsed() > HANDSHAKE_PATIENCE || sys::stop_requested() {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            self.receive(PAUSE, &mut active, report)?;
            self.run_timers(tail)?;
        }
        match self.connections[tail..].iter().any(|c| c.is_lost) {
            true => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
            false => Ok(()),
        }
    }

    /// Connections that have not ended.
    pub fn alive(&self) -> usize {
        self.connections.iter().filter(|c| !c.is_lost).count()
    }

    /// Lets the connections from number `first` on send what their timers call for.
    pub fn run_timers(&mut self, first: usize) -> io::Result<()> {
        let now = Instant::now();
        for i in first..self.connections.len() {
            let proto = &mut self.connections[i].proto;
            if proto.poll_timeout().is_some_and(|due| due <= now) {
                proto.handle_timeout(now);
                self.transmit(i)?;
            }
        }
        Ok(())
    }

    /// Sends all that a connection has to send.
    fn transmit(&mut self, i: usize) -> io::Result<()> {
        let now = Instant::now();
        let connection = &mut self.connections[i];
        let fd = connection.socket.as_raw_fd();
        let mut filled = 0;
        loop {
            self.scratch.clear();
            let transmit = connection.proto.poll_transmit(now, 1, &mut self.scratch);
            if let Some(transmit) = &transmit {
                self.batch.fill(filled, &[&self.scratch[..transmit.size]]);
                filled += 1;
            }
            if filled == sys::BATCH || (transmit.is_none() && filled > 0) {
                send_all(&mut self.batch, fd, filled)?;
                filled = 0;
            }
            if transmit.is_none() {
                connection.settle();
                return Ok(());
            }
        }
    }

    fn take_datagrams(&mut self, i: usize, report: &mut Report) -> io::Result<()> {
        let connection = &mut self.connections[i];
        let now = Instant::now();
        loop {
            let count = match self.batch.receive(connection.socket.as_raw_fd()) {
                Ok(count) => count,
                // Nobody listens there now; the connection's own timers say when to give up.
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => break,
                Err(e) => return Err(e),
            };
            for n in 0..count {
                let data = BytesMut::from(self.batch.packet(n));
                let event = connection.endpoint.handle(
                    now,
                    self.dial.server,
                    None,
                    None,
                    data,
                    &mut self.scratch,
                );
                if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
                    connection.proto.handle_event(event);
                }
            }
            if count < sys::BATCH {
                break;
            }
        }
        connection.settle();
        connection.take_events(self.corpus, report);
        self.transmit(i)
    }
}

impl Sources for QuicSources<'_> {
    fn count(&self) -> usize {
        self.connections.len()
    }

    fn open(&self, source: usize) -> usize {
        self.connections[source].open.len() + self.connections[source].waiting.len()
    }

    fn mixes(&self) -> bool {
        false
    }

    fn push(&mut self, source: usize, sent: Sent, report: &mut Report) {
        let connection = &mut self.connections[source];
        if connection.waiting.len() >= WAITING_MAX {
            report.lost += 1;
            return;
        }
        connection.waiting.push_back(sent);
        connection.launch(self.corpus);
    }

    fn flush(&mut self, source: usize, _: &mut Report) -> io::Result<()> {
        self.transmit(source)
    }

    fn receive(
        &mut self,
        timeout: Duration,
        active: &mut Vec<usize>,
        report: &mut Report,
    ) -> io::Result<()> {
        self.poller.wait(timeout, &mut self.ready)?;
        active.clear();
        for i in 0..self.ready.len() {
            let source = self.ready[i].token;
            self.take_datagrams(source, report)?;
            active.push(source);
        }
        Ok(())
    }

    fn expire(&mut self, before_ns: u64, report: &mut Report) -> io::Result<()> {
        self.run_timers(0)?;
        for i in 0..self.connections.len() {
            let connection = &mut self.connections[i];
            connection.take_events(self.corpus, report);
            report.lost += connection.expire(before_ns);
            if connection.is_lost && before_ns != u64::MAX {
                report.lost += connection.expire(u64::MAX);
                let from = connection.socket.local_addr()?.ip();
                // Dropping the old socket takes it out of the epoll set.
                *connection = self.dial.connect(from)?;
                self.poller.add(&connection.socket, i, false)?;
                report.reconnects += 1;
                self.transmit(i)?;
            }
        }
        Ok(())
    }
}

// === impl Dial ===

impl Dial {
    fn new(server: SocketAddr, security: &Security) -> io::Result<Dial> {
        let tls = security.client(ALPN_DOQ, false).map_err(io::Error::other)?;
        let crypto = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
        let mut transport = TransportConfig::default();
        // The server's own limit is the one that counts.
        transport.max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MS))));
        transport.initial_rtt(INITIAL_RTT);
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        Ok(Dial {
            server,
            config,
            endpoint: Arc::new(EndpointConfig::default()),
            name: security.name.to_str().into_owned(),
        })
    }

    fn connect(&self, from: IpAddr) -> io::Result<Connection> {
        let socket = UdpSocket::bind((from, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(self.server)?;
        let mut endpoint = Endpoint::new(self.endpoint.clone(), None, true, None);
        let (handle, proto) = endpoint
            .connect(Instant::now(), self.config.clone(), self.server, &self.name)
            .map_err(io::Error::other)?;
        Ok(Connection {
            socket,
            endpoint,
            handle,
            proto,
            is_lost: false,
            waiting: VecDeque::new(),
            open: HashMap::new(),
        })
    }
}

// === impl Connection ===

impl Connection {
    /// Passes what the connection has for its endpoint, and back.
    fn settle(&mut self) {
        while let Some(event) = self.proto.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.proto.handle_event(event);
            }
        }
    }

    /// Gives each waiting query a stream, as long as the server allows another one.
    fn launch(&mut self, corpus: &Corpus) {
        while let Some(&sent) = self.waiting.front() {
            let Some(id) = self.proto.streams().open(Dir::Bi) else {
                return;
            };
            self.waiting.pop_front();
            let query = corpus.query(sent.question);
            let mut frame = Vec::with_capacity(2 + query.len());
            frame.extend_from_slice(&(query.len() as u16).to_be_bytes());
            frame.extend_from_slice(query);
            corpus.finish(sent.question, &mut frame[2..]);
            let mut stream = self.proto.send_stream(id);
            // A query fits any window; where it does not it goes without an answer, and counts as lost.
            if stream.write(&frame).is_ok_and(|n| n == frame.len()) {
                let _ = stream.finish();
            }
            let reply = Vec::new();
            self.open.insert(id, Open { sent, reply });
        }
    }

    fn take_events(&mut self, corpus: &Corpus, report: &mut Report) {
        while let Some(event) = self.proto.poll() {
            match event {
                Event::Connected | Event::Stream(StreamEvent::Available { .. }) => {
                    self.launch(corpus)
                }
                Event::Stream(StreamEvent::Readable { id }) => self.read(id, corpus, report),
                Event::ConnectionLost { .. } => self.is_lost = true,
                _ => {}
            }
        }
    }

    /// Takes what a stream has, and counts the reply once the server has ended it.
    fn read(&mut self, id: StreamId, corpus: &Corpus, report: &mut Report) {
        let mut stream = self.proto.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else {
            return;
        };
        let mut given_up = Vec::new();
        let reply = match self.open.get_mut(&id) {
            Some(open) => &mut open.reply,
            None => &mut given_up,
        };
        let has_ended = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) if reply.len() + chunk.bytes.len() <= FRAME_BYTES_MAX => {
                    reply.extend_from_slice(&chunk.bytes)
                }
                Ok(None) => break true,
                Err(quinn_proto::ReadError::Blocked) => break false,
                // Longer than any message, or reset: what was asked stays without an answer.
                Ok(Some(_)) | Err(_) => break false,
            }
        };
        // Whoever asks the connection what to send next learns of it from there.
        let _ = chunks.finalize();
        if let Some(open) = has_ended.then(|| self.open.remove(&id)).flatten() {
            open.count(corpus, report);
        }
    }

    /// Gives up what should have left before `before_ns`; how many that were.
    fn expire(&mut self, before_ns: u64) -> u64 {
        let old = |sent: &Sent| sent.intended_ns < before_ns;
        let late: Vec<StreamId> = (self.open.iter())
            .filter(|(_, open)| old(&open.sent))
            .map(|(&id, _)| id)
            .collect();
        for id in &late {
            self.open.remove(id);
            // Fails only where the stream has ended already.
            let _ = self.proto.recv_stream(*id).stop(VarInt::from_u32(0));
        }
        let waiting = self.waiting.len();
        self.waiting.retain(|sent| !old(sent));
        (late.len() + waiting - self.waiting.len()) as u64
    }
}

impl Open {
    /// A reply is right when it is one whole message (RFC 9250 section 4.2) with id 0 that answers the question.
    fn count(&self, corpus: &Corpus, report: &mut Report) {
        match self.reply.split_first_chunk::<2>() {
            Some((len, reply))
                if usize::from(u16::from_be_bytes(*len)) == reply.len()
                    && reply.starts_with(&[0, 0])
                    && corpus.answered_by(self.sent.question, reply) =>
            {
                let now_ns = sys::now_ns();
                report.count_answer(reply, now_ns.saturating_sub(self.sent.intended_ns));
            }
            _ => {
                report.wrong += 1;
                report.lost += 1;
            }
        }
    }
}

/// Sends the first packets of a batch. What the kernel does not take is lost, as on a network; QUIC sends it again.
fn send_all(batch: &mut Batch, fd: std::os::fd::RawFd, count: usize) -> io::Result<()> {
    let mut sent = 0;
    while sent < count {
        match batch.send(fd, sent, count) {
            Ok(0) => return Ok(()),
            Ok(n) => sent += n,
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => sent += 1,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Handshakes at a time while connections are opened.
const HANDSHAKES: usize = 16;
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);
/// On one machine; the default of a third of a second would make every lost handshake packet cost a second.
const INITIAL_RTT: Duration = Duration::from_millis(30);
const IDLE_MS: u32 = 600_000;
/// Queries that wait for a stream on one connection.
const WAITING_MAX: usize = 4096;
/// A DNS message with its length in front.
const FRAME_BYTES_MAX: usize = 2 + 65_535;

#[cfg(test)]
mod tests;
