//! A server of one core in this thread, and its clients.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};

use crate::corefile::RealSource;
use crate::plugin::Carry;
use crate::runtime::{self, Backend, TcpStream, block_on};
use crate::server::config::Config;
use crate::server::stream::Acceptors;
use crate::server::tasks::Env;
use crate::telemetry::metrics::registry;
use crate::testing::Host;
use crate::transport::http_io::{HttpIo, reply_len};
use crate::transport::stream::Stream;
use crate::tune::Settings;

pub const COREFILE: &str = "KEY {\n whoami\n}\n";

/// A server in the thread of its test.
pub struct Peer {
    pub addr: SocketAddr,
    pub env: Rc<Env>,
    acceptors: Acceptors,
}

pub fn build(corefile: &str, settings: Settings, carry: &Carry) -> Arc<Config> {
    let host = Host::tuned(corefile, &RealSource, carry, &Arc::new(settings));
    host.unwrap().config
}

/// Runs a test against the first listener of a Corefile, with either backend of this machine.
pub fn against<F: Future<Output = ()> + 'static>(
    corefile: &str,
    test: impl Fn(Peer) -> F + 'static,
) {
    against_tuned(corefile, Settings::floating(1), test);
}

pub fn against_tuned<F: Future<Output = ()> + 'static>(
    corefile: &str,
    settings: Settings,
    test: impl Fn(Peer) -> F + 'static,
) {
    let mut backends = vec![Backend::Epoll];
    #[cfg(feature = "glommio")]
    if runtime::probe().is_ok() {
        backends.push(Backend::Glommio);
    }
    let test = Rc::new(test);
    for backend in backends {
        let test = test.clone();
        let config = build(corefile, settings.clone(), &Carry::default());
        let done = block_on(backend, async move {
            let peer = Peer::start(config);
            test(peer).await;
        });
        done.unwrap();
    }
}

impl Peer {
    pub fn start(config: Arc<Config>) -> Peer {
        let env = Env::new(0, 1, Vec::new());
        env.open(config);
        let socket = Arc::new(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let addr = socket.local_addr().unwrap();
        let mut acceptors = Acceptors::default();
        acceptors.replace(&env, vec![(0, socket)]);
        Peer {
            addr,
            env,
            acceptors,
        }
    }

    /// Closes the listener, as a reload does that leaves it out.
    pub fn close(&mut self) {
        self.acceptors.replace(&self.env, Vec::new());
    }

    pub async fn tcp(&self) -> TcpStream {
        TcpStream::connect(None, self.addr).await.unwrap()
    }

    /// An HTTP/2 connection whose frames go back and forth in a task of their own.
    pub async fn h2(&self) -> SendRequest<Bytes> {
        self.h2_with(&h2::client::Builder::new()).await
    }

    pub async fn h2_with(&self, builder: &h2::client::Builder) -> SendRequest<Bytes> {
        let io = HttpIo::new(Stream::Plain(self.tcp().await), reply_len);
        let (send, mut connection) = {
            let mut shaking = pin!(builder.handshake::<_, Bytes>(io.clone()));
            turns(&io, |cx| shaking.as_mut().poll(cx)).await.unwrap()
        };
        runtime::spawn(async move {
            let over = turns(&io, |cx| {
                let polled = std::pin::Pin::new(&mut connection).poll(cx);
                if io.is_ended() {
                    Poll::Ready(Ok(()))
                } else {
                    polled
                }
            });
            let _ = over.await;
        });
        send
    }
}

/// Drives what works on an `HttpIo` as a connection's task does.
async fn turns<T>(io: &HttpIo, mut poll: impl FnMut(&mut std::task::Context<'_>) -> Poll<T>) -> T {
    poll_fn(|cx| {
        io.begin_turn();
        let polled = poll(cx);
        let _ = io.poll_send(cx);
        polled
    })
    .await
}

/// What came back.
#[derive(Debug)]
pub struct Seen {
    pub status: u16,
    pub fields: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Seen {
    pub fn field(&self, name: &str) -> &str {
        self.fields
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

pub async fn see(response: Response<h2::RecvStream>) -> Seen {
    let (head, mut recv) = response.into_parts();
    let mut body = Vec::new();
    while let Some(data) = recv.data().await {
        let data = data.unwrap();
        recv.flow_control().release_capacity(data.len()).unwrap();
        body.extend_from_slice(&data);
    }
    Seen {
        status: head.status.as_u16(),
        fields: head.headers,
        body,
        trailers: recv.trailers().await.unwrap(),
    }
}

/// One request over HTTP/2.
pub async fn fetch(
    send: &SendRequest<Bytes>,
    request: Request<()>,
    body: Option<&[u8]>,
) -> Result<Seen, h2::Error> {
    let mut send = send.clone().ready().await?;
    let (response, mut stream) = send.send_request(request, body.is_none())?;
    if let Some(body) = body {
        stream.send_data(Bytes::copy_from_slice(body), true)?;
    }
    Ok(see(response.await?).await)
}

pub fn get(target: &str) -> Request<()> {
    let uri = format!("http://localhost{target}");
    Request::get(uri).body(()).unwrap()
}

pub fn post() -> Request<()> {
    Request::post("http://localhost/dns-query")
        .body(())
        .unwrap()
}

/// `example.org A`, with id 0.
pub const QUERY: &[u8] = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01";
/// `QUERY` in base64url.
pub const QUERY_TEXT: &str = "AAABAAABAAAAAAAAB2V4YW1wbGUDb3JnAAABAAE";

/// Streams and connections that were refused for that reason, in this process.
pub fn refused(reason: &str) -> f64 {
    let value = registry().value("percoredns_http_refused_total", &[("reason", reason)]);
    value.unwrap_or(0.0)
}

/// A frame of HTTP/2.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut octets = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    octets.extend_from_slice(&[kind, flags]);
    octets.extend_from_slice(&stream.to_be_bytes());
    octets.extend_from_slice(payload);
    octets
}

/// The preface and empty settings.
pub fn hello() -> Vec<u8> {
    [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &frame(4, 0, 0, &[]),
    ]
    .concat()
}

/// HPACK of a GET of the query: static names, literal values, nothing to remember.
pub fn get_block() -> Vec<u8> {
    let target = format!("/dns-query?dns={QUERY_TEXT}");
    let mut block = vec![0x82, 0x86, 0x04, target.len() as u8];
    block.extend_from_slice(target.as_bytes());
    block.extend_from_slice(b"\x01\x09localhost");
    block
}

/// A frame that came: kind, flags, stream, payload.
pub type Frame = (u8, u8, u32, Vec<u8>);

/// Reads until the peer closes and returns the frames.
pub async fn frames(tcp: &mut TcpStream) -> Vec<Frame> {
    let mut frames = Vec::new();
    frames_until(tcp, &mut frames, |_| false).await;
    frames
}

/// Reads until such a frame has come, or the peer closes.
pub async fn frames_until(
    tcp: &mut TcpStream,
    frames: &mut Vec<Frame>,
    is_last: impl Fn(&Frame) -> bool,
) {
    let (mut octets, mut chunk) = (Vec::new(), vec![0; 65_536]);
    let before = frames.len();
    while let Ok(count @ 1..) = tcp.read(&mut chunk).await {
        octets.extend_from_slice(&chunk[..count]);
        let mut rest = &octets[..];
        while let Some((head, after)) = rest.split_first_chunk::<9>() {
            let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let Some((payload, after)) = after.split_at_checked(len) else {
                break;
            };
            frames.push((head[3], head[4], stream, payload.to_vec()));
            rest = after;
        }
        octets = rest.to_vec();
        if octets.is_empty() && frames[before..].iter().any(&is_last) {
            return;
        }
    }
}

/// The reason of the GOAWAY frame that a connection ended with.
pub fn goaway(frames: &[Frame]) -> Option<u8> {
    let last = frames.iter().rev().find(|frame| frame.0 == 7)?;
    last.3.get(7).copied()
}
