//! A small DNS and HTTP client on plain sockets. Replies are read by the `domain` crate, not by the code under test.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use domain::base::iana::Class;
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::AllRecordData;

/// Longest wait for a reply that is expected.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub id: u16,
    pub rcode: String,
    /// `qr aa tc rd ra ad cd`, those that are set.
    pub flags: String,
    /// Records as `name ttl class type rdata`.
    pub answer: Vec<String>,
    pub authority: Vec<String>,
    /// Without OPT.
    pub additional: Vec<String>,
    pub has_opt: bool,
    /// Octets.
    pub size: usize,
}

/// Makes a query of `NAME TYPE [class=CH] [bufsize=N] [+do] [-rd]`.
pub fn query(id: u16, text: &str) -> Vec<u8> {
    let mut words = text.split_whitespace();
    let name: Name<Vec<u8>> = words.next().expect("a name").parse().expect("a name");
    let rtype: Rtype = words.next().unwrap_or("A").parse().expect("a type");
    let (mut class, mut size, mut is_do, mut rd) = (Class::IN, None, false, true);
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("class", value) => class = value.parse().expect("a class"),
            ("bufsize", value) => size = Some(value.parse().expect("a number")),
            ("+do", _) => (size, is_do) = (size.or(Some(1232)), true),
            ("-rd", _) => rd = false,
            other => panic!("unknown word {other:?}"),
        }
    }
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_id(id);
    message.header_mut().set_rd(rd);
    let mut message = message.question();
    message.push((name, rtype, class)).expect("room");
    let mut message = message.additional();
    if let Some(size) = size {
        let opt = message.opt(|opt| {
            opt.set_udp_payload_size(size);
            opt.set_dnssec_ok(is_do);
            Ok(())
        });
        opt.expect("room");
    }
    message.finish()
}

/// Reads a reply; panics on what no client could read.
#[track_caller]
pub fn decode(bytes: &[u8]) -> Reply {
    let message = Message::from_octets(bytes).expect("a header");
    let header = message.header();
    let bits = [
        (header.qr(), "qr"),
        (header.aa(), "aa"),
        (header.tc(), "tc"),
        (header.rd(), "rd"),
        (header.ra(), "ra"),
        (header.ad(), "ad"),
        (header.cd(), "cd"),
    ];
    let flags: Vec<&str> = bits
        .into_iter()
        .filter_map(|(on, name)| on.then_some(name))
        .collect();
    let (_, answer, authority, additional) = message.sections().expect("whole sections");
    let read = |section: domain::base::message::RecordSection<'_, &[u8]>| -> Vec<String> {
        section
            .map(|record| record.expect("a record"))
            .filter(|record| record.rtype() != Rtype::OPT)
            .map(|record| {
                let record = record
                    .into_any_record::<AllRecordData<_, _>>()
                    .expect("valid data");
                let owner = record.owner().to_string();
                let dot = if owner == "." { "" } else { "." };
                let (ttl, class) = (record.ttl().as_secs(), record.class());
                let data = record.data().display_zonefile(DisplayKind::Simple);
                format!("{owner}{dot} {ttl} {class} {} {data}", record.rtype())
            })
            .collect()
    };
    Reply {
        id: header.id(),
        rcode: message.opt_rcode().to_string(),
        flags: flags.join(" "),
        answer: read(answer),
        authority: read(authority),
        additional: read(additional),
        has_opt: message.opt().is_some(),
        size: bytes.len(),
    }
}

// === UDP ===

/// Asks once over UDP from a connected socket, so that a reply from any other address would be lost.
#[track_caller]
pub fn udp(to: SocketAddr, text: &str) -> Reply {
    let id = 0x7150;
    let bytes = query(id, text);
    let reply = exchange(to, &bytes, PATIENCE);
    let reply = decode(&reply.unwrap_or_else(|| panic!("no reply to {text} from {to}")));
    assert_eq!(reply.id, id);
    reply
}

/// Asks once; `None` when nothing comes.
pub fn try_udp(to: SocketAddr, text: &str, within: Duration) -> Option<Reply> {
    exchange(to, &query(0x7150, text), within).map(|bytes| decode(&bytes))
}

/// Sends octets and waits for one datagram.
pub fn exchange(to: SocketAddr, bytes: &[u8], within: Duration) -> Option<Vec<u8>> {
    let socket = connected(to);
    socket.set_read_timeout(Some(within)).expect("a timeout");
    // A closed port is reported by the send or by the receive: either way there is no reply.
    socket.send(bytes).ok()?;
    let mut buffer = vec![0; 65_535];
    let len = socket.recv(&mut buffer).ok()?;
    buffer.truncate(len);
    Some(buffer)
}

/// A UDP socket that takes packets from that address alone.
pub fn connected(to: SocketAddr) -> UdpSocket {
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).expect("a socket");
    socket.connect(to).expect("a route");
    socket
}

// === TCP ===

/// One connection that frames messages.
pub struct Tcp(pub TcpStream);

impl Tcp {
    #[track_caller]
    pub fn open(to: SocketAddr) -> Tcp {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Tcp(stream)
    }

    pub fn send(&mut self, message: &[u8]) -> std::io::Result<()> {
        self.0.write_all(&frame(message))
    }

    /// The next whole message; an error when the peer closes or stays silent.
    pub fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        let mut len = [0; 2];
        self.0.read_exact(&mut len)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
        self.0.read_exact(&mut message)?;
        Ok(message)
    }

    #[track_caller]
    pub fn ask(&mut self, id: u16, text: &str) -> Reply {
        self.send(&query(id, text)).expect("a peer that reads");
        let reply = decode(&self.receive().expect("a reply"));
        assert_eq!(reply.id, id);
        reply
    }
}

/// A message with its length in front (RFC 1035 section 4.2.2).
pub fn frame(message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).expect("at most 65,535 octets");
    [&len.to_be_bytes()[..], message].concat()
}

/// Asks once over TCP.
#[track_caller]
pub fn tcp(to: SocketAddr, text: &str) -> Reply {
    Tcp::open(to).ask(0x1234, text)
}

// === HTTP ===

/// GET on loopback: status code and body; `None` when nobody answers.
pub fn http(port: u16, path: &str) -> Option<(u16, String)> {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, unchunk(head, body)))
}

fn unchunk(head: &str, body: &str) -> String {
    if !head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        return body.to_owned();
    }
    let (mut rest, mut out) = (body, String::new());
    while let Some((len, after)) = rest.split_once("\r\n") {
        let len = usize::from_str_radix(len.trim(), 16).unwrap_or(0);
        if len == 0 || after.len() < len {
            break;
        }
        out.push_str(&after[..len]);
        rest = after[len..].trim_start_matches("\r\n");
    }
    out
}

/// The sum of all samples of a metric whose labels contain every given text.
pub fn metric(body: &str, name: &str, labels: &[&str]) -> f64 {
    body.lines()
        .filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
