//! One message over each transport, by clients that are not of this project: rustls, h2, quinn, h3.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Method, Request};
use percoredns::testing::authority::Authority;
use percoredns::tls;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tokio::net;
use tokio_rustls::TlsConnector;

use crate::client::{Tcp, connected, frame};

/// How a query gets to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Https1,
    Https2,
    Https3,
    Quic,
    Grpc,
}

impl Transport {
    pub const ALL: [Transport; 8] = [
        Transport::Udp,
        Transport::Tcp,
        Transport::Tls,
        Transport::Https1,
        Transport::Https2,
        Transport::Https3,
        Transport::Quic,
        Transport::Grpc,
    ];

    /// The key under which a Corefile has it, on a port that the kernel chooses.
    pub fn key(self) -> &'static str {
        match self {
            Transport::Udp | Transport::Tcp => ".:0",
            Transport::Tls => "tls://.:0",
            Transport::Https1 | Transport::Https2 => "https://.:0",
            Transport::Https3 => "https3://.:0",
            Transport::Quic => "quic://.:0",
            Transport::Grpc => "grpc://.:0",
        }
    }

    /// Whether the server has nothing but DNS to say that a message is refused.
    pub fn is_bare(self) -> bool {
        matches!(self, Transport::Udp | Transport::Tcp | Transport::Tls)
    }
}

/// What came of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    Reply(Vec<u8>),
    /// Nothing, while the next query was answered.
    Silence,
    /// An error of the transport.
    Refused(String),
}

/// Sends a message and waits for what comes of it.
pub fn ask(transport: Transport, to: SocketAddr, authority: &Authority, message: &[u8]) -> Got {
    let client = Client { to, authority };
    match transport {
        Transport::Udp => client.udp(message),
        Transport::Tcp => client.stream(&mut Tcp::open(to).0, message),
        Transport::Tls => client.stream(&mut client.tls(b""), message),
        Transport::Https1 => client.https1(message),
        Transport::Https2 => client.wait(client.https2(message)),
        Transport::Https3 => client.wait(client.https3(message)),
        Transport::Quic => client.wait(client.quic(message)),
        Transport::Grpc => client.wait(client.grpc(message)),
    }
}

struct Client<'a> {
    to: SocketAddr,
    authority: &'a Authority,
}

type Failure = Box<dyn std::error::Error>;

impl Client<'_> {
    fn udp(&self, message: &[u8]) -> Got {
        let socket = connected(self.to);
        let mut buffer = [0; 65_535];
        let mut receive = || {
            let len = socket.recv(&mut buffer).expect("an answer to the probe");
            buffer[..len].to_vec()
        };
        socket.send(message).unwrap();
        socket.send(&probe()).unwrap();
        // They may overtake each other: two sockets may have taken them.
        let got = receive();
        if !is_probe(&got) {
            return Got::Reply(got);
        }
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        match socket.recv(&mut buffer) {
            Ok(len) => Got::Reply(buffer[..len].to_vec()),
            Err(_) => Got::Silence,
        }
    }

    fn stream(&self, stream: &mut (impl Read + Write), message: &[u8]) -> Got {
        let both = [frame(message), frame(&probe())].concat();
        stream.write_all(&both).unwrap();
        let mut len = [0; 2];
        stream.read_exact(&mut len).expect("an answer to the probe");
        let mut got = vec![0; u16::from_be_bytes(len).into()];
        stream.read_exact(&mut got).expect("a whole answer");
        match is_probe(&got) {
            true => Got::Silence,
            false => Got::Reply(got),
        }
    }

    /// A configuration that offers a protocol, if any.
    fn config(&self, alpn: &[u8]) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(tls::provider());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let roots = tls::roots(self.authority.ca_file().as_ref()).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        if !alpn.is_empty() {
            config.alpn_protocols = vec![alpn.to_vec()];
        }
        config
    }

    fn tls(&self, alpn: &[u8]) -> StreamOwned<ClientConnection, TcpStream> {
        let tcp = Tcp::open(self.to).0;
        let client = ClientConnection::new(Arc::new(self.config(alpn)), name()).unwrap();
        StreamOwned::new(client, tcp)
    }

    fn https1(&self, message: &[u8]) -> Got {
        let mut stream = self.tls(b"http/1.1");
        let head = format!(
            "POST /dns-query HTTP/1.1\r\nHost: dns.test\r\nConnection: close\r\nContent-Type: {TYPE}\r\nContent-Length: {}\r\n\r\n",
            message.len()
        );
        stream
            .write_all(&[head.as_bytes(), message].concat())
            .unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("a reply and the end");
        let end = all
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("headers");
        let status = String::from_utf8_lossy(&all[9..12]).into_owned();
        match &*status {
            "200" => Got::Reply(all[end + 4..].to_vec()),
            _ => Got::Refused(status),
        }
    }

    fn wait(&self, exchange: impl Future<Output = Result<Got, Failure>>) -> Got {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let within = async { tokio::time::timeout(crate::client::PATIENCE, exchange).await };
        match runtime.unwrap().block_on(within) {
            Ok(Ok(got)) => got,
            Ok(Err(failure)) => Got::Refused(failure.to_string()),
            Err(_) => panic!("nothing came of it"),
        }
    }

    async fn http2(&self) -> Result<h2::client::SendRequest<Bytes>, Failure> {
        let tcp = net::TcpStream::connect(self.to).await?;
        let connector = TlsConnector::from(Arc::new(self.config(b"h2")));
        let tls = connector.connect(name(), tcp).await?;
        let (requests, connection) = h2::client::handshake(tls).await?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(requests.ready().await?)
    }

    async fn https2(&self, message: &[u8]) -> Result<Got, Failure> {
        let mut requests = self.http2().await?;
        let request = post("https://dns.test/dns-query", TYPE);
        let (reply, mut body) = requests.send_request(request, false)?;
        body.send_data(Bytes::copy_from_slice(message), true)?;
        let (head, mut body) = reply.await?.into_parts();
        let mut got = Vec::new();
        while let Some(data) = body.data().await {
            got.extend_from_slice(&data?);
        }
        Ok(status(head.status, got))
    }

    async fn grpc(&self, message: &[u8]) -> Result<Got, Failure> {
        let mut requests = self.http2().await?;
        let request = post(
            "https://dns.test/coredns.dns.DnsService/Query",
            "application/grpc",
        );
        let (reply, mut body) = requests.send_request(request, false)?;
        // DnsPacket { bytes msg = 1 }, its length as a varint of two octets, behind a prefix of five.
        let len = message.len();
        let mut packet = vec![0x0a, (len & 0x7f) as u8 | 0x80, (len >> 7) as u8];
        packet.extend_from_slice(message);
        let mut framed = vec![0];
        framed.extend_from_slice(&(packet.len() as u32).to_be_bytes());
        framed.extend_from_slice(&packet);
        body.send_data(framed.into(), true)?;
        let (head, mut body) = reply.await?.into_parts();
        let mut got = Vec::new();
        while let Some(data) = body.data().await {
            got.extend_from_slice(&data?);
        }
        let trailers = body.trailers().await?.unwrap_or(head.headers);
        let code = trailers.get("grpc-status").ok_or("no grpc-status")?;
        if code != "0" {
            return Ok(Got::Refused(format!("grpc-status {code:?}")));
        }
        let packet = got.get(5..).ok_or("no message")?;
        let header = 1
            + packet
                .iter()
                .skip(1)
                .take_while(|octet| **octet >= 0x80)
                .count()
            + 1;
        Ok(Got::Reply(packet[header..].to_vec()))
    }

    async fn quinn(&self, alpn: &[u8]) -> Result<(quinn::Endpoint, quinn::Connection), Failure> {
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(self.config(alpn))?;
        let any = match self.to.is_ipv4() {
            true => "127.0.0.1:0",
            false => "[::1]:0",
        };
        let endpoint = quinn::Endpoint::client(any.parse()?)?;
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let connection = endpoint.connect_with(config, self.to, "dns.test")?.await?;
        Ok((endpoint, connection))
    }

    async fn quic(&self, message: &[u8]) -> Result<Got, Failure> {
        let (_endpoint, connection) = self.quinn(b"doq").await?;
        let (mut to, mut from) = connection.open_bi().await?;
        to.write_all(&frame(message)).await?;
        to.finish()?;
        let got = from.read_to_end(2 + 65_535).await?;
        match got.split_first_chunk::<2>() {
            Some((len, rest)) if rest.len() == usize::from(u16::from_be_bytes(*len)) => {
                Ok(Got::Reply(rest.to_vec()))
            }
            _ => Ok(Got::Refused(format!("{} octets", got.len()))),
        }
    }

    async fn https3(&self, message: &[u8]) -> Result<Got, Failure> {
        let (_endpoint, connection) = self.quinn(b"h3").await?;
        let (mut driver, mut requests) =
            h3::client::new(h3_quinn::Connection::new(connection)).await?;
        tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
        let request = post("https://dns.test/dns-query", TYPE);
        let mut stream = requests.send_request(request).await?;
        stream.send_data(Bytes::copy_from_slice(message)).await?;
        stream.finish().await?;
        let head = stream.recv_response().await?;
        let mut got = Vec::new();
        while let Some(mut data) = stream.recv_data().await? {
            got.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
        Ok(status(head.status(), got))
    }
}

fn post(uri: &str, content: &str) -> Request<()> {
    let request = Request::builder().method(Method::POST).uri(uri);
    let request = request
        .header("content-type", content)
        .header("te", "trailers");
    request.body(()).expect("a request")
}

fn status(status: http::StatusCode, body: Vec<u8>) -> Got {
    match status.as_u16() {
        200 => Got::Reply(body),
        other => Got::Refused(other.to_string()),
    }
}

fn name() -> ServerName<'static> {
    ServerName::try_from("dns.test").expect("a name")
}

/// A query that any server of these tests answers at once, by whose answer it is known that nothing else comes.
fn probe() -> Vec<u8> {
    crate::client::query(PROBE, "probe.test A")
}

fn is_probe(reply: &[u8]) -> bool {
    reply.starts_with(&PROBE.to_be_bytes())
}

const PROBE: u16 = 0xbeef;
const TYPE: &str = "application/dns-message";
