//! A client of QUIC over a blocking socket, and a server on a thread of its own.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Dir, Endpoint,
    EndpointConfig, Event, ReadError, StreamEvent, StreamId, Transmit, VarInt,
};

use crate::runtime::{self, Backend, block_on};
use crate::server::quic::Endpoints;
use crate::server::tasks::Env;
use crate::testing::Host;
use crate::testing::authority::Authority;
use crate::tls;
use crate::transport::socket::{self, Carries};
use crate::transport::steering;
use crate::transport::udp::Socket;
use crate::tune::CoreSettings;

/// A certificate for `localhost` and the clients that trust it.
pub(super) struct Identity {
    authority: Authority,
    cert: String,
    key: String,
}

impl Identity {
    pub(super) fn new() -> Identity {
        let authority = Authority::new();
        let (cert, key) = authority.server("localhost", &["localhost"]);
        Identity {
            authority,
            cert,
            key,
        }
    }

    /// `early`: resumed connections ask before the handshake is done.
    pub(super) fn client_config(&self, alpn: &str, early: bool) -> ClientConfig {
        let crypto: QuicClientConfig = self.tls_config(alpn, early).try_into().unwrap();
        ClientConfig::new(Arc::new(crypto))
    }

    pub(super) fn tls_config(&self, alpn: &str, early: bool) -> Arc<rustls::ClientConfig> {
        let roots = tls::roots(self.authority.ca_file().as_ref()).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        config.enable_early_data = early;
        Arc::new(config)
    }
}

/// A server with some sockets of one address, all on one thread.
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    stop: Option<runtime::Sender<()>>,
    thread: Option<JoinHandle<usize>>,
}

impl Server {
    /// `body` is the rest of the block of a `scheme` key.
    pub(super) fn start(
        backend: Backend,
        identity: &Identity,
        key: &str,
        body: &str,
        sockets: usize,
    ) -> Server {
        let text = format!(
            "{key} {{\n tls {} {}\n {body}\n}}\n",
            identity.cert, identity.key
        );
        let config = Host::new(&text).unwrap().config;
        let wanted = "127.0.0.1:0".parse().unwrap();
        let cores = vec![CoreSettings::default(); sockets];
        let group = socket::open_group(wanted, Carries::Udp, &cores).unwrap();
        steering::steer_by_connection(&group.udp).unwrap();
        let addr = group.addr;
        let udp = group.udp.into_iter().enumerate();
        let udp: Vec<_> = udp
            .map(|(nth, fd)| (0, (nth as u16, Arc::new(Socket::new(fd, addr)))))
            .collect();
        let (stop, mut stopped) = runtime::mailbox(1);
        let (ready, is_ready) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            block_on(backend, async move {
                let env = Env::new(0, 1, Vec::new());
                env.open(config);
                let mut endpoints = Endpoints::default();
                endpoints.replace(&env, udp);
                ready.send(()).unwrap();
                stopped.recv().await;
                endpoints.replace(&env, Vec::new());
                for _ in 0..200 {
                    if env.quic.count() == 0 {
                        break;
                    }
                    runtime::sleep(Duration::from_millis(10)).await;
                }
                env.quic.count()
            })
            .unwrap()
        });
        is_ready.recv().unwrap();
        Server {
            addr,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Takes the listener away; returns how many connections are left after two seconds.
    pub(super) fn stop(mut self) -> usize {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap()
    }
}

/// What came on a stream.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) octets: Vec<u8>,
    pub(super) is_whole: bool,
    pub(super) reset: Option<u64>,
}

/// One connection.
pub(super) struct Client {
    pub(super) socket: UdpSocket,
    /// What a proxy puts in front of each datagram.
    pub(super) front: Vec<u8>,
    server: SocketAddr,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    pub(super) quic: Connection,
    pub(super) is_up: bool,
    pub(super) got: BTreeMap<StreamId, Got>,
    pub(super) lost: Option<ConnectionError>,
    /// Whether it reads what comes on streams.
    pub(super) reads: bool,
    /// Packets that it received.
    pub(super) packets: Vec<Vec<u8>>,
}

impl Client {
    pub(super) fn new(server: SocketAddr, config: ClientConfig) -> Client {
        let endpoint_config = Arc::new(EndpointConfig::default());
        let mut endpoint = Endpoint::new(endpoint_config, None, true, None);
        let (handle, quic) = endpoint
            .connect(Instant::now(), config, server, "localhost")
            .unwrap();
        Client {
            socket: bound(),
            front: Vec::new(),
            server,
            endpoint,
            handle,
            quic,
            is_up: false,
            got: BTreeMap::new(),
            lost: None,
            reads: true,
            packets: Vec::new(),
        }
    }

    pub(super) fn connect(server: SocketAddr, config: ClientConfig) -> Client {
        let mut client = Client::new(server, config);
        client.until(|client| client.is_up);
        client
    }

    /// Opens a stream of that kind with these octets.
    pub(super) fn open(&mut self, dir: Dir, octets: &[u8], is_whole: bool) -> StreamId {
        let id = self.quic.streams().open(dir).expect("a stream is granted");
        self.write(id, octets, is_whole);
        id
    }

    pub(super) fn write(&mut self, id: StreamId, octets: &[u8], is_whole: bool) {
        let mut stream = self.quic.send_stream(id);
        assert_eq!(stream.write(octets).unwrap(), octets.len());
        if is_whole {
            stream.finish().unwrap();
        }
        self.got.entry(id).or_default();
        self.send();
    }

    /// Asks over DoQ and waits for the reply, without its length.
    pub(super) fn ask(&mut self, message: &[u8]) -> Vec<u8> {
        let id = self.open(Dir::Bi, &framed(message), true);
        self.reply(id)
    }

    pub(super) fn reply(&mut self, id: StreamId) -> Vec<u8> {
        let got = self.whole(id);
        let (len, reply) = got.split_first_chunk::<2>().unwrap();
        assert_eq!(usize::from(u16::from_be_bytes(*len)), reply.len());
        reply.to_vec()
    }

    /// All octets of a stream that ends.
    pub(super) fn whole(&mut self, id: StreamId) -> Vec<u8> {
        self.until(|client| client.got[&id].is_whole);
        self.got[&id].octets.clone()
    }

    /// The code that the server closed the connection with.
    pub(super) fn close_code(&mut self) -> u64 {
        self.until(|client| client.lost.is_some());
        match self.lost.as_ref().unwrap() {
            ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
            ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
            other => panic!("{other}"),
        }
    }

    pub(super) fn close(&mut self) {
        let code = VarInt::from_u32(0);
        self.quic.close(Instant::now(), code, Bytes::new());
        self.send();
    }

    /// Goes on until something is so; panics after twenty seconds.
    pub(super) fn until(&mut self, mut is_so: impl FnMut(&mut Client) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !is_so(self) {
            assert!(
                Instant::now() < end,
                "nothing came: {:?} {:?}",
                self.lost,
                self.got
            );
            self.turn(Duration::from_millis(5));
        }
    }

    /// Sends what there is, waits so long for a packet, takes all that have come.
    pub(super) fn turn(&mut self, patience: Duration) {
        self.send();
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut packet = [0; 2048];
        let mut first = self.socket.recv(&mut packet);
        self.socket.set_nonblocking(true).unwrap();
        while let Ok(len) = first {
            self.take(&packet[..len]);
            first = self.socket.recv(&mut packet);
        }
        self.socket.set_nonblocking(false).unwrap();
        let now = Instant::now();
        if self.quic.poll_timeout().is_some_and(|at| at <= now) {
            self.quic.handle_timeout(now);
        }
        self.events();
        self.send();
    }

    fn take(&mut self, packet: &[u8]) {
        self.packets.push(packet.to_vec());
        let data = BytesMut::from(packet);
        let (now, mut out) = (Instant::now(), Vec::new());
        let event = self
            .endpoint
            .handle(now, self.server, None, None, data, &mut out);
        if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
            self.quic.handle_event(event);
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.quic.poll() {
            match event {
                Event::Connected => self.is_up = true,
                Event::ConnectionLost { reason } => self.lost = Some(reason),
                Event::Stream(StreamEvent::Opened { dir }) => {
                    while let Some(id) = self.quic.streams().accept(dir) {
                        self.read(id);
                    }
                }
                Event::Stream(StreamEvent::Readable { id }) => self.read(id),
                _ => {}
            }
        }
        while let Some(event) = self.quic.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.quic.handle_event(event);
            }
        }
    }

    fn read(&mut self, id: StreamId) {
        if !self.reads {
            return;
        }
        let got = self.got.entry(id).or_default();
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else {
            return;
        };
        loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => got.octets.extend(&chunk.bytes),
                Ok(None) => break got.is_whole = true,
                Err(ReadError::Reset(code)) => break got.reset = Some(code.into_inner()),
                Err(ReadError::Blocked) => break,
            }
        }
        let _ = chunks.finalize();
    }

    pub(super) fn send(&mut self) {
        let mut out = Vec::new();
        while let Some(transmit) = self.quic.poll_transmit(Instant::now(), 1, &mut out) {
            let Transmit { size, .. } = transmit;
            // One that is lost comes again.
            let datagram = [&self.front, &out[..size]].concat();
            let _ = self.socket.send_to(&datagram, self.server);
            out.clear();
        }
    }
}

pub(super) fn bound() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// A query with id 0.
pub(super) fn query(name: &str, qtype: u16) -> Vec<u8> {
    let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(qtype.to_be_bytes());
    message.extend([0, 1]);
    message
}

/// The query with an OPT record that has these options.
pub(super) fn with_options(mut query: Vec<u8>, options: &[u8]) -> Vec<u8> {
    query[11] = 1;
    query.extend([0, 0, 41, 4, 208, 0, 0, 0, 0]);
    query.extend((options.len() as u16).to_be_bytes());
    query.extend(options);
    query
}

pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}
