//! Upstreams over QUIC for tests: quinn's server on a thread, which does on each stream what a script says.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, Bytes};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, TransportConfig, VarInt};
use rustls::ServerConfig;

use super::fake_thread::FakeThread;

/// The thread; it and all connections end when this is dropped.
pub(crate) struct FakeQuic {
    pub(crate) addr: SocketAddr,
    pub(crate) counts: Arc<Counts>,
    _thread: FakeThread,
}

/// What has happened so far.
#[derive(Default)]
pub(crate) struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// What is spoken.
pub(crate) struct Speaks {
    pub(crate) alpn: &'static str,
    /// What is sent at once on a stream of one way; nothing: there is none.
    pub(crate) control: &'static [u8],
    /// How long a connection may be idle.
    pub(crate) idle: Duration,
}

/// What is done about a request.
pub(crate) enum Deed {
    /// The stream of the reply.
    Send(Vec<u8>),
    /// The stream is given up.
    Reset(u32),
    /// The connection is closed.
    Close(u32),
    /// This is sent on the stream of one way, and nothing on the request's.
    Control(Vec<u8>),
    /// Nothing ever comes.
    Silence,
}

type Respond = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;
type Script = Arc<Mutex<dyn FnMut(usize, &[u8]) -> Deed + Send>>;

impl FakeQuic {
    pub(crate) fn start_at(
        addr: SocketAddr,
        tls: ServerConfig,
        speaks: Speaks,
        script: impl FnMut(usize, &[u8]) -> Deed + Send + 'static,
    ) -> FakeQuic {
        let script: Script = Arc::new(Mutex::new(script));
        let control = speaks.control;
        FakeQuic::start(addr, tls, speaks, move |connection, counts| {
            serve(connection, control, counts, script.clone())
        })
    }

    /// An upstream over HTTP/3 as the h3 crate has it, which answers each body with what `respond` makes of it.
    pub(crate) fn foreign_http3(
        tls: ServerConfig,
        respond: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static,
    ) -> FakeQuic {
        let speaks = Speaks {
            alpn: "h3",
            control: &[],
            idle: Duration::from_secs(10),
        };
        let respond: Arc<Respond> = Arc::new(respond);
        FakeQuic::start(([127, 0, 0, 1], 0).into(), tls, speaks, move |quic, _| {
            serve_foreign(quic, respond.clone())
        })
    }

    fn start<F>(
        addr: SocketAddr,
        mut tls: ServerConfig,
        speaks: Speaks,
        serve: impl Fn(Connection, Arc<Counts>) -> F + Send + 'static,
    ) -> FakeQuic
    where
        F: Future<Output = ()> + Send + 'static,
    {
        tls.alpn_protocols = vec![speaks.alpn.as_bytes().to_vec()];
        tls.max_early_data_size = u32::MAX;
        let mut transport = TransportConfig::default();
        let idle = speaks.idle.try_into().unwrap();
        transport.max_idle_timeout(Some(idle));
        let crypto = QuicServerConfig::try_from(tls).unwrap();
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        let (bound, is_bound) = std::sync::mpsc::channel();
        let counts: Arc<Counts> = Arc::default();
        let theirs = counts.clone();
        let thread = FakeThread::start(async move |stopped| {
            let endpoint = Endpoint::server(config, addr).unwrap();
            bound.send(endpoint.local_addr().unwrap()).unwrap();
            tokio::select! {
                _ = stopped => {}
                () = accept(&endpoint, &theirs, serve) => {}
            }
            endpoint.close(VarInt::from_u32(0), b"");
            // What is not acknowledged at once, such as in a handshake, takes seconds.
            let said = endpoint.wait_idle();
            let _ = tokio::time::timeout(Duration::from_millis(200), said).await;
        });
        FakeQuic {
            addr: is_bound.recv().unwrap(),
            counts,
            _thread: thread,
        }
    }
}

impl Counts {
    /// Connections that were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Requests that came, probes included.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn accept<F>(
    endpoint: &Endpoint,
    counts: &Arc<Counts>,
    serve: impl Fn(Connection, Arc<Counts>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    while let Some(incoming) = endpoint.accept().await {
        counts.connections.fetch_add(1, Ordering::SeqCst);
        // It may be refused by its first packet.
        let Ok(connecting) = incoming.accept() else {
            continue;
        };
        // A server may speak before the handshake is done, always.
        let Ok((connection, _)) = connecting.into_0rtt() else {
            panic!("a server has no 0.5-RTT");
        };
        tokio::spawn(serve(connection, counts.clone()));
    }
}

async fn serve_foreign(connection: Connection, respond: Arc<Respond>) {
    let quic = h3_quinn::Connection::new(connection);
    let Ok(mut http) = h3::server::Connection::new(quic).await else {
        return;
    };
    while let Ok(Some(request)) = http.accept().await {
        let (_, mut stream) = request.resolve_request().await.unwrap();
        let mut body = Vec::new();
        while let Some(mut data) = stream.recv_data().await.unwrap() {
            body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
        let head = http::Response::builder()
            .header("content-type", "application/dns-message")
            .header("x-padding", "a field that no table has")
            .body(());
        stream.send_response(head.unwrap()).await.unwrap();
        let reply: Bytes = respond(&body).into();
        // In two frames.
        let (first, second) = (reply.slice(..20), reply.slice(20..));
        stream.send_data(first).await.unwrap();
        stream.send_data(second).await.unwrap();
        stream.finish().await.unwrap();
    }
}

/// Until the connection is over.
async fn serve(
    connection: Connection,
    control: &'static [u8],
    counts: Arc<Counts>,
    script: Script,
) {
    let mut side = None;
    if !control.is_empty() {
        let Ok(mut stream) = connection.open_uni().await else {
            return;
        };
        let _ = stream.write_all(control).await;
        side = Some(stream);
    }
    let mut silent = Vec::new();
    while let Ok((send, recv)) = connection.accept_bi().await {
        let nth = counts.requests.fetch_add(1, Ordering::SeqCst);
        silent.extend(answer(&connection, &mut side, send, recv, nth, &script).await);
    }
}

async fn answer(
    connection: &Connection,
    side: &mut Option<SendStream>,
    mut send: SendStream,
    mut recv: RecvStream,
    nth: usize,
    script: &Script,
) -> Option<SendStream> {
    // As far as FIN.
    let Ok(request) = recv.read_to_end(1 << 17).await else {
        return None;
    };
    let deed = script.lock().unwrap()(nth, &request);
    match deed {
        Deed::Send(octets) => {
            let _ = send.write_all(&octets).await;
            let _ = send.finish();
        }
        Deed::Reset(code) => send.reset(VarInt::from_u32(code)).unwrap(),
        Deed::Close(code) => connection.close(VarInt::from_u32(code), b"as told"),
        Deed::Control(octets) => {
            let side = side.as_mut().expect("a control stream");
            let _ = side.write_all(&octets).await;
            return Some(send);
        }
        // A stream that is dropped is ended.
        Deed::Silence => return Some(send),
    }
    None
}
