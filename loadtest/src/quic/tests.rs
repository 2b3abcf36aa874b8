use super::*;
use crate::child::TempDir;
use crate::corpus::{Kind, corpus_text};
use crate::load::{Load, Transport};
use crate::pace::Rate;
use crate::security::{Certificate, SERVER_NAME};
use quinn_proto::ServerConfig;
use quinn_proto::crypto::rustls::QuicServerConfig;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the server does with the reply to the query of that number.
type Reply = fn(u64, Vec<u8>) -> Vec<u8>;

/// A DoQ server of one thread that sends each query back as its answer.
struct Server {
    socket: UdpSocket,
    endpoint: Endpoint,
    connections: HashMap<ConnectionHandle, quinn_proto::Connection>,
    received: HashMap<(ConnectionHandle, StreamId), Vec<u8>>,
    reply: Reply,
    answered: u64,
    /// Ends each connection after so many answers.
    close_after: u64,
    buffer: Vec<u8>,
}

impl Server {
    fn new(certificate: &Certificate, streams: u32, reply: Reply, close_after: u64) -> Server {
        let crypto = QuicServerConfig::try_from(certificate.server(ALPN_DOQ).unwrap()).unwrap();
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        let mut transport = TransportConfig::default();
        transport.max_concurrent_bidi_streams(streams.into());
        config.transport_config(Arc::new(transport));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(2)))
            .unwrap();
        Server {
            socket,
            endpoint: Endpoint::new(
                Arc::new(EndpointConfig::default()),
                Some(Arc::new(config)),
                true,
                None,
            ),
            connections: HashMap::new(),
            received: HashMap::new(),
            reply,
            answered: 0,
            close_after,
            buffer: Vec::new(),
        }
    }

    fn serve(mut self, stop: &AtomicBool) {
        let mut packet = [0; 2048];
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            if let Ok((len, peer)) = self.socket.recv_from(&mut packet) {
                let data = BytesMut::from(&packet[..len]);
                self.take(now, peer, data);
            }
            let handles: Vec<_> = self.connections.keys().copied().collect();
            handles.into_iter().for_each(|handle| self.drive(handle));
        }
    }

    fn take(&mut self, now: Instant, peer: SocketAddr, data: BytesMut) {
        self.buffer.clear();
        let event = self
            .endpoint
            .handle(now, peer, None, None, data, &mut self.buffer);
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(connection) = self.connections.get_mut(&handle) {
                    connection.handle_event(event);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                let (handle, connection) = self
                    .endpoint
                    .accept(incoming, now, &mut self.buffer, None)
                    .map_err(|e| e.cause)
                    .unwrap();
                self.connections.insert(handle, connection);
            }
            Some(DatagramEvent::Response(transmit)) => {
                let bytes = &self.buffer[..transmit.size];
                self.socket.send_to(bytes, transmit.destination).unwrap();
            }
            None => {}
        }
    }

    fn drive(&mut self, handle: ConnectionHandle) {
        let now = Instant::now();
        let connection = self.connections.get_mut(&handle).unwrap();
        if connection.poll_timeout().is_some_and(|due| due <= now) {
            connection.handle_timeout(now);
        }
        while connection.poll().is_some() {}
        while let Some(id) = connection.streams().accept(Dir::Bi) {
            self.received.insert((handle, id), Vec::new());
        }
        let ids: Vec<_> = self.received.keys().filter(|k| k.0 == handle).collect();
        let ids: Vec<StreamId> = ids.into_iter().map(|k| k.1).collect();
        for id in ids {
            let received = self.received.get_mut(&(handle, id)).unwrap();
            let mut stream = connection.recv_stream(id);
            let Ok(mut chunks) = stream.read(true) else {
                continue;
            };
            let has_ended = loop {
                match chunks.next(usize::MAX) {
                    Ok(Some(chunk)) => received.extend_from_slice(&chunk.bytes),
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            let _ = chunks.finalize();
            if has_ended {
                let mut reply = self.received.remove(&(handle, id)).unwrap();
                reply[4] |= 0x80;
                let reply = (self.reply)(self.answered, reply);
                let mut stream = connection.send_stream(id);
                assert_eq!(stream.write(&reply), Ok(reply.len()));
                stream.finish().unwrap();
                self.answered += 1;
                if self.answered.is_multiple_of(self.close_after) {
                    connection.close(now, VarInt::from_u32(0), bytes::Bytes::new());
                }
            }
        }
        loop {
            self.buffer.clear();
            let Some(transmit) = connection.poll_transmit(now, 1, &mut self.buffer) else {
                break;
            };
            let bytes = &self.buffer[..transmit.size];
            self.socket.send_to(bytes, transmit.destination).unwrap();
        }
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(handle, event) {
                connection.handle_event(event);
            }
        }
        if connection.is_drained() {
            self.connections.remove(&handle);
            self.received.retain(|k, _| k.0 != handle);
        }
    }
}

fn corpus() -> Corpus {
    Corpus::parse(&corpus_text(Kind::Hosts, 50, "example.org"), Some(1232)).unwrap()
}

fn with_server(
    streams: u32,
    reply: Reply,
    close_after: u64,
    body: impl FnOnce(&Load) -> Report,
) -> Report {
    let dir = TempDir::new().unwrap();
    let certificate = Certificate::make(dir.path()).unwrap();
    let security = Security::trusting(&certificate.cert, SERVER_NAME).unwrap();
    let server = Server::new(&certificate, streams, reply, close_after);
    let address = server.socket.local_addr().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let thread = std::thread::spawn(move || server.serve(&flag));
    let corpus = corpus();
    let report = body(&Load {
        transport: Transport::Quic,
        security: Some(&security),
        sources: 3,
        window: 30,
        ..Load::new(address, Rate::Max, 0.2, &corpus)
    });
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    report
}

#[test]
fn both_loops_get_every_answer() {
    let closed = with_server(100, |_, reply| reply, u64::MAX, |load| load.run().unwrap());
    assert!(closed.answered > 30, "{closed}");
    assert_eq!(
        (closed.lost, closed.wrong, closed.reconnects),
        (0, 0, 0),
        "{closed}"
    );
    assert_eq!(closed.rcodes[0], closed.sent);
    let open = with_server(
        100,
        |_, reply| reply,
        u64::MAX,
        |load| {
            let rate = Rate::Fixed(500);
            Load {
                rate,
                ..load.clone()
            }
            .run()
            .unwrap()
        },
    );
    assert_eq!((open.sent, open.answered, open.lost), (100, 100, 0));
}

#[test]
fn queries_beyond_the_limit_of_streams_wait_their_turn() {
    let report = with_server(2, |_, reply| reply, u64::MAX, |load| load.run().unwrap());
    assert!(report.answered > 30, "{report}");
    assert_eq!((report.lost, report.wrong), (0, 0), "{report}");
}

#[test]
fn a_reply_must_be_one_message_that_answers_the_question() {
    let spoil: Reply = |n, mut reply| {
        match n % 4 {
            // A byte more than the length says, another id, and another question.
            0 => reply.push(0),
            1 => reply[2] = 1,
            2 => reply[16] ^= 1,
            _ => {}
        }
        reply
    };
    let report = with_server(100, spoil, u64::MAX, |load| {
        let (rate, sources) = (Rate::Fixed(200), 1);
        Load {
            rate,
            sources,
            ..load.clone()
        }
        .run()
        .unwrap()
    });
    assert_eq!(
        (report.sent, report.answered, report.wrong),
        (40, 10, 30),
        "{report}"
    );
    assert_eq!(report.lost, report.wrong);
}

#[test]
fn a_connection_that_the_server_ends_is_opened_again() {
    let report = with_server(
        100,
        |_, reply| reply,
        5,
        |load| {
            let (rate, sources) = (Rate::Fixed(200), 1);
            Load {
                rate,
                sources,
                timeout: Duration::from_millis(200),
                ..load.clone()
            }
            .run()
            .unwrap()
        },
    );
    assert!(report.reconnects >= 2, "{report}");
    assert!(report.answered >= 10, "{report}");
    assert_eq!(report.sent, report.answered + report.lost);
}

#[test]
fn a_server_that_says_nothing_is_an_error() {
    let dir = TempDir::new().unwrap();
    let certificate = Certificate::make(dir.path()).unwrap();
    let security = Security::trusting(&certificate.cert, "example.net").unwrap();
    let server = Server::new(&certificate, 8, |_, reply| reply, u64::MAX);
    let address = server.socket.local_addr().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let thread = std::thread::spawn(move || server.serve(&flag));
    let corpus = corpus();
    let from = [IpAddr::from([127, 0, 0, 1])];
    let opened = QuicSources::open(address, &from, &corpus, &security);
    assert!(opened.is_err(), "the name in the certificate is another");
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}
