//! Upstreams over TLS and HTTP/2 for tests: a thread that does what a script says, on a port of loopback or a socket in the file system.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_rustls::TlsAcceptor;

use super::fake_thread::FakeThread;

/// The thread; it and all connections end when this is dropped.
pub(crate) struct Secure {
    /// Where it listens; unspecified for a socket in the file system.
    pub(crate) addr: SocketAddr,
    pub(crate) counts: Arc<Counts>,
    _thread: FakeThread,
}

/// What has happened so far.
#[derive(Default)]
pub(crate) struct Counts {
    queries: AtomicUsize,
    connections: AtomicUsize,
    resumed: AtomicUsize,
}

/// What is done about a query over TLS.
pub(crate) enum Act {
    /// These messages are sent, none or more.
    Send(Vec<Vec<u8>>),
    /// The same, but only after a while in which nothing else on the connection is looked at.
    Late(Duration, Vec<Vec<u8>>),
    /// These messages are sent, and the connection is closed.
    Last(Vec<Vec<u8>>),
    /// The connection is closed.
    Close,
}

/// What is done about a request over HTTP.
#[allow(clippy::large_enum_variant)] // one is made for each request of a test
pub(crate) enum Told {
    /// A response.
    Response(Response<()>, Vec<u8>, Option<HeaderMap>),
    /// This stream is refused, and the connection takes no more (GOAWAY).
    GoAway,
    /// Nothing ever comes.
    Silence,
}

type Script = Arc<Mutex<dyn FnMut(usize, &[u8]) -> Act + Send>>;
type HttpScript = Arc<Mutex<dyn FnMut(usize, &Request<()>, &[u8]) -> Told + Send>>;

enum Listener {
    Tcp(TcpListener),
    Path(UnixListener),
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl Secure {
    /// An upstream over TLS.
    pub(crate) fn tls(
        config: ServerConfig,
        script: impl FnMut(usize, &[u8]) -> Act + Send + 'static,
    ) -> Secure {
        Secure::tls_at(([127, 0, 0, 1], 0).into(), config, script)
    }

    /// The same, at an address.
    pub(crate) fn tls_at(
        addr: SocketAddr,
        config: ServerConfig,
        script: impl FnMut(usize, &[u8]) -> Act + Send + 'static,
    ) -> Secure {
        Secure::tls_on(std::net::TcpListener::bind(addr).unwrap(), config, script)
    }

    /// The same, behind a listener.
    pub(crate) fn tls_on(
        listener: std::net::TcpListener,
        config: ServerConfig,
        script: impl FnMut(usize, &[u8]) -> Act + Send + 'static,
    ) -> Secure {
        let script: Script = Arc::new(Mutex::new(script));
        Secure::start(Ok(listener), Some(config), move |io, counts| {
            serve(io, script.clone(), counts)
        })
    }

    /// An upstream over HTTP/2, with TLS if there is a configuration.
    pub(crate) fn http(
        config: Option<ServerConfig>,
        script: impl FnMut(usize, &Request<()>, &[u8]) -> Told + Send + 'static,
    ) -> Secure {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Secure::start_http(Ok(listener), config, script)
    }

    /// The same, in the clear on a socket in the file system.
    pub(crate) fn http_path(
        path: &Path,
        script: impl FnMut(usize, &Request<()>, &[u8]) -> Told + Send + 'static,
    ) -> Secure {
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        Secure::start_http(Err(listener), None, script)
    }

    /// Sends octets over each connection that offers HTTP/2, and nothing after them.
    pub(crate) fn garbage(mut config: ServerConfig, octets: &'static [u8]) -> Secure {
        config.alpn_protocols = vec![b"h2".to_vec()];
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Secure::start(Ok(listener), Some(config), move |mut io, _| async move {
            io.write_all(octets).await?;
            io.flush().await?;
            io.read_to_end(&mut Vec::new()).await.map(drop)
        })
    }

    fn start_http(
        listener: Result<std::net::TcpListener, std::os::unix::net::UnixListener>,
        config: Option<ServerConfig>,
        script: impl FnMut(usize, &Request<()>, &[u8]) -> Told + Send + 'static,
    ) -> Secure {
        let script: HttpScript = Arc::new(Mutex::new(script));
        let config = config.map(|mut config| {
            config.alpn_protocols = vec![b"h2".to_vec()];
            config
        });
        Secure::start(listener, config, move |io, counts| {
            serve_http(io, script.clone(), counts)
        })
    }

    fn start<F>(
        listener: Result<std::net::TcpListener, std::os::unix::net::UnixListener>,
        config: Option<ServerConfig>,
        serve: impl Fn(Box<dyn Io>, Arc<Counts>) -> F + Clone + Send + 'static,
    ) -> Secure
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let addr = match &listener {
            Ok(tcp) => tcp.local_addr().unwrap(),
            Err(_) => ([0, 0, 0, 0], 0).into(),
        };
        let counts: Arc<Counts> = Arc::default();
        let theirs = counts.clone();
        let thread = FakeThread::start(async move |stopped| {
            let acceptor = config.map(|config| TlsAcceptor::from(Arc::new(config)));
            let listener = Listener::new(listener);
            tokio::select! {
                _ = stopped => {}
                _ = accept_all(listener, acceptor, theirs, serve) => {}
            }
        });
        Secure {
            addr,
            counts,
            _thread: thread,
        }
    }
}

impl Counts {
    /// Queries that came, probes included.
    pub(crate) fn queries(&self) -> usize {
        self.queries.load(Ordering::SeqCst)
    }

    /// Connections whose handshake was begun.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Handshakes that resumed a session.
    pub(crate) fn resumed(&self) -> usize {
        self.resumed.load(Ordering::SeqCst)
    }
}

impl Listener {
    fn new(listener: Result<std::net::TcpListener, std::os::unix::net::UnixListener>) -> Listener {
        match listener {
            Ok(tcp) => {
                tcp.set_nonblocking(true).unwrap();
                Listener::Tcp(TcpListener::from_std(tcp).unwrap())
            }
            Err(path) => {
                path.set_nonblocking(true).unwrap();
                Listener::Path(UnixListener::from_std(path).unwrap())
            }
        }
    }

    async fn accept(&self) -> Box<dyn Io> {
        match self {
            Listener::Tcp(tcp) => {
                let (stream, _): (TcpStream, _) = tcp.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                Box::new(stream)
            }
            Listener::Path(path) => Box::new(path.accept().await.unwrap().0),
        }
    }
}

async fn accept_all<F>(
    listener: Listener,
    acceptor: Option<TlsAcceptor>,
    counts: Arc<Counts>,
    serve: impl Fn(Box<dyn Io>, Arc<Counts>) -> F + Clone + Send + 'static,
) where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        let io = listener.accept().await;
        counts.connections.fetch_add(1, Ordering::SeqCst);
        let (acceptor, counts, serve) = (acceptor.clone(), counts.clone(), serve.clone());
        tokio::spawn(async move {
            let io: Box<dyn Io> = match acceptor {
                None => io,
                Some(acceptor) => {
                    let Ok(tls) = acceptor.accept(io).await else {
                        return;
                    };
                    if tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
                        counts.resumed.fetch_add(1, Ordering::SeqCst);
                    }
                    Box::new(tls)
                }
            };
            // Whatever ends it is for the client to bear.
            let _ = serve(io, counts).await;
        });
    }
}

async fn serve(mut io: Box<dyn Io>, script: Script, counts: Arc<Counts>) -> io::Result<()> {
    loop {
        let mut query = vec![0; io.read_u16().await?.into()];
        io.read_exact(&mut query).await?;
        let nth = counts.queries.fetch_add(1, Ordering::SeqCst);
        let act = script.lock().unwrap()(nth, &query);
        let (pause, messages, is_last) = match act {
            Act::Send(messages) => (Duration::ZERO, messages, false),
            Act::Late(pause, messages) => (pause, messages, false),
            Act::Last(messages) => (Duration::ZERO, messages, true),
            Act::Close => (Duration::ZERO, Vec::new(), true),
        };
        tokio::time::sleep(pause).await;
        for message in messages {
            io.write_u16(message.len() as u16).await?;
            io.write_all(&message).await?;
        }
        io.flush().await?;
        if is_last {
            return io.shutdown().await;
        }
    }
}

async fn serve_http(io: Box<dyn Io>, script: HttpScript, counts: Arc<Counts>) -> io::Result<()> {
    let mut connection = h2::server::handshake(io).await.map_err(io::Error::other)?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request.map_err(io::Error::other)?;
        let (head, mut body) = request.into_parts();
        let mut whole = Vec::new();
        // Bodies come with the head or just behind it, which needs the connection to be driven.
        let read = async {
            while let Some(data) = body.data().await {
                whole.extend_from_slice(&data.unwrap());
            }
        };
        tokio::select! {
            biased;
            () = read => {}
            _ = std::future::poll_fn(|cx| connection.poll_closed(cx)) => return Ok(()),
        }
        let nth = counts.queries.fetch_add(1, Ordering::SeqCst);
        let told = script.lock().unwrap()(nth, &Request::from_parts(head, ()), &whole);
        match told {
            Told::Response(head, body, trailers) => answer(respond, head, body, trailers),
            Told::GoAway => {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
                connection.graceful_shutdown();
            }
            Told::Silence => {
                // A stream that is dropped is reset.
                std::mem::forget(respond);
            }
        }
    }
    Ok(())
}

fn answer(
    mut respond: SendResponse<Bytes>,
    head: Response<()>,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
) {
    let is_end = body.is_empty() && trailers.is_none();
    let mut stream = respond.send_response(head, is_end).unwrap();
    if !body.is_empty() {
        stream.send_data(body.into(), trailers.is_none()).unwrap();
    }
    if let Some(trailers) = trailers {
        stream.send_trailers(trailers).unwrap();
    }
}
