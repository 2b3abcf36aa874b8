//! UDP sources: connected sockets with batched sends and receives.
//!
//! ```text
//!  few sockets:   queries of one socket --> sendmmsg on it            trains: one sendmsg that the kernel cuts up
//!  many sockets:  queries of all        --> sendmmsg on a raw socket, each with its own source port (needs root)
//! ```
//!
//! Runs on: the generator's thread.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::corpus::Corpus;
use crate::flight::{Flight, Sent};
use crate::load::Sources;
use crate::report::Report;
use crate::sys::{self, Batch, Poller, Ready};

/// The sockets of one run.
pub struct UdpSources<'a> {
    corpus: &'a Corpus,
    sources: Vec<(UdpSocket, Flight)>,
    poller: Poller,
    ready: Vec<Ready>,
    // Invariant: `outgoing` holds `pending <= BATCH` queries, all of one source unless they leave by `raw`.
    outgoing: Batch,
    pending: usize,
    incoming: Batch,
    raw: Option<Raw>,
    // Queries of `length` bytes each, to be sent in one piece.
    train: Option<Train>,
}

/// A raw socket that sends for all sources: a system call for a batch of queries where each has another source port.
struct Raw {
    socket: Socket,
    // The IP and UDP header of each source; lengths are filled in for each query.
    headers: Vec<[u8; HEADERS_BYTES]>,
}

struct Train {
    length: usize,
    bytes: Vec<u8>,
}

impl<'a> UdpSources<'a> {
    /// Opens `count` sockets (at least 1) connected to `server`; `trains` and `stamps` as in [`crate::load::Load`].
    pub fn open(
        server: SocketAddr,
        count: usize,
        corpus: &'a Corpus,
        trains: bool,
        stamps: bool,
    ) -> io::Result<UdpSources<'a>> {
        let poller = Poller::new()?;
        let train = corpus.common_len().filter(|_| trains);
        let mut sources = Vec::new();
        for i in 0..count.max(1) {
            let socket = Socket::new(
                Domain::for_address(server),
                Type::DGRAM,
                Some(Protocol::UDP),
            )?;
            // Best effort: the kernel caps the size at net.core.rmem_max.
            let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
            socket.set_nonblocking(true)?;
            socket.connect(&server.into())?;
            if let Some(length) = train {
                sys::set_segment(&socket, length)?;
            }
            if stamps {
                sys::set_stamps(&socket)?;
            }
            poller.add(&socket, i, false)?;
            let flight = Flight::new((i * ID_STEP) as u16, Flight::span_of(count));
            sources.push((UdpSocket::from(socket), flight));
        }
        let mut incoming = Batch::new(false);
        if stamps {
            incoming.take_stamps();
        }
        let raw = match count >= RAW_FROM && train.is_none() {
            // Without the right to a raw socket each query takes a system call of its own, which is only slower.
            true => Raw::open(server, &sources).ok(),
            false => None,
        };
        Ok(UdpSources {
            corpus,
            sources,
            poller,
            ready: Vec::new(),
            outgoing: Batch::new(false),
            pending: 0,
            incoming,
            raw,
            train: train.map(|length| Train {
                length,
                bytes: Vec::new(),
            }),
        })
    }

    fn send_train(&mut self, source: usize) -> io::Result<()> {
        let Some(train) = &mut self.train else {
            return Ok(());
        };
        while !train.bytes.is_empty() && !sys::stop_requested() {
            match self.sources[source].0.send(&train.bytes) {
                Ok(_) => break,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(e) if is_refusal(&e) => {}
                Err(e) => return Err(e),
            }
        }
        train.bytes.clear();
        self.pending = 0;
        Ok(())
    }

    fn take_replies(&mut self, source: usize, report: &mut Report) -> io::Result<()> {
        let (socket, flight) = &mut self.sources[source];
        loop {
            let count = match self.incoming.receive(socket.as_raw_fd()) {
                Ok(count) => count,
                // An ICMP error of an earlier query: that query is lost by its timeout.
                Err(e) if is_refusal(&e) => continue,
                Err(e) => return Err(e),
            };
            let now_ns = sys::now_ns();
            for i in 0..count {
                let reply = self.incoming.packet(i);
                let id = reply.get(..2).map(|b| u16::from_be_bytes([b[0], b[1]]));
                let sent = id.and_then(|id| flight.look(id));
                match (id, sent) {
                    (Some(id), Some(sent)) if self.corpus.answered_by(sent.question, reply) => {
                        flight.land(id);
                        let arrival_ns = self.incoming.arrival_ns(i).unwrap_or(now_ns);
                        report.count_answer(reply, arrival_ns.saturating_sub(sent.intended_ns));
                    }
                    _ => report.wrong += 1,
                }
            }
            if count < sys::BATCH {
                return Ok(());
            }
        }
    }
}

impl Sources for UdpSources<'_> {
    fn count(&self) -> usize {
        self.sources.len()
    }

    fn open(&self, source: usize) -> usize {
        self.sources[source].1.open()
    }

    fn mixes(&self) -> bool {
        self.raw.is_some()
    }

    fn push(&mut self, source: usize, sent: Sent, report: &mut Report) {
        let Some(id) = self.sources[source].1.launch(sent) else {
            report.lost += 1;
            return;
        };
        let query = self.corpus.query(sent.question);
        let packet = match (&mut self.train, &self.raw) {
            (Some(train), _) => {
                let start = train.bytes.len();
                train.bytes.extend_from_slice(query);
                &mut train.bytes[start..start + train.length]
            }
            (None, Some(raw)) => {
                let mut head = raw.headers[source];
                let length = (UDP_HEADER_BYTES + query.len()) as u16;
                head[UDP_LENGTH_AT..UDP_LENGTH_AT + 2].copy_from_slice(&length.to_be_bytes());
                &mut self.outgoing.fill(self.pending, &[&head, query])[HEADERS_BYTES..]
            }
            (None, None) => self.outgoing.fill(self.pending, &[query]),
        };
        packet[..2].copy_from_slice(&id.to_be_bytes());
        self.corpus.finish(sent.question, packet);
        self.pending += 1;
    }

    fn flush(&mut self, source: usize, _report: &mut Report) -> io::Result<()> {
        if self.train.is_some() {
            return self.send_train(source);
        }
        let fd = match &self.raw {
            Some(raw) => raw.socket.as_raw_fd(),
            None => self.sources[source].0.as_raw_fd(),
        };
        let mut done = 0;
        while done < self.pending && !sys::stop_requested() {
            match self.outgoing.send(fd, done, self.pending) {
                Ok(0) => std::thread::yield_now(),
                Ok(n) => done += n,
                // Reported once for a datagram sent earlier; this one may well arrive.
                Err(e) if is_refusal(&e) => {}
                Err(e) => return Err(e),
            }
        }
        self.pending = 0;
        Ok(())
    }

    fn receive(
        &mut self,
        timeout: Duration,
        active: &mut Vec<usize>,
        report: &mut Report,
    ) -> io::Result<()> {
        self.poller.wait(timeout, &mut self.ready)?;
        active.clear();
        active.extend(self.ready.iter().map(|ready| ready.token));
        for &source in active.iter() {
            self.take_replies(source, report)?;
        }
        Ok(())
    }

    fn expire(&mut self, before_ns: u64, report: &mut Report) -> io::Result<()> {
        for (_, flight) in &mut self.sources {
            report.lost += flight.expire(before_ns);
        }
        Ok(())
    }
}

// === impl Raw ===

impl Raw {
    fn open(server: SocketAddr, sources: &[(UdpSocket, Flight)]) -> io::Result<Raw> {
        let SocketAddr::V4(to) = server else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        // 255 is IPPROTO_RAW: packets come with their IP header.
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)))?;
        socket.set_nonblocking(true)?;
        socket.connect(&SocketAddr::new(server.ip(), 0).into())?;
        let mut headers = Vec::new();
        for (source, _) in sources {
            let SocketAddr::V4(from) = source.local_addr()? else {
                return Err(io::ErrorKind::Unsupported.into());
            };
            headers.push(headers_of(from, to));
        }
        Ok(Raw { socket, headers })
    }
}

/// RFC 791 and 768. The kernel fills in length, id and checksum of the IP header; a UDP checksum of 0 means none.
fn headers_of(from: SocketAddrV4, to: SocketAddrV4) -> [u8; HEADERS_BYTES] {
    let mut head = [0; HEADERS_BYTES];
    head[0] = 0x45;
    head[8] = 64;
    head[9] = 17;
    head[12..16].copy_from_slice(&from.ip().octets());
    head[16..20].copy_from_slice(&to.ip().octets());
    head[20..22].copy_from_slice(&from.port().to_be_bytes());
    head[22..24].copy_from_slice(&to.port().to_be_bytes());
    head
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

/// Room for the replies of a stall of the generator.
const BUFFER_BYTES: usize = 4 << 20;
/// Sockets begin at ids far apart, so that a reply on the wrong one is noticed.
const ID_STEP: usize = 8_009;
/// From this many sockets on a raw one sends for all.
const RAW_FROM: usize = 32;
const UDP_HEADER_BYTES: usize = 8;
const HEADERS_BYTES: usize = 20 + UDP_HEADER_BYTES;
const UDP_LENGTH_AT: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_headers_carry_both_ends() {
        let head = headers_of(
            "127.0.0.1:4096".parse().unwrap(),
            "10.0.0.2:53".parse().unwrap(),
        );
        assert_eq!(head[12..24], [127, 0, 0, 1, 10, 0, 0, 2, 16, 0, 0, 53]);
        assert_eq!((head[0], head[9]), (0x45, 17));
    }
}
