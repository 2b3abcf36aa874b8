//! A small authoritative server for the caches under test to be filled from: A records of the generated zone, over UDP and TCP.
//!
//! It needs no rival on PATH and does nothing once the caches are warm, so it takes no CPU during a run.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::corpus::{TTL_S, host_address};
use crate::message;
use crate::sys::{self, Batch, Poller};

/// A running origin; stops when dropped.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    names: u32,
    // The zone's name on the wire, lower case.
    apex: Vec<u8>,
    stop: AtomicBool,
    // Queries are counted and not answered while this is set.
    silent: AtomicBool,
    queries: AtomicU64,
}

impl Origin {
    /// Starts on a free port of 127.0.0.1, the same for UDP and TCP, for `names` hosts under `zone`.
    pub fn start(names: u32, zone: &str) -> io::Result<Origin> {
        Origin::start_at(Ipv4Addr::LOCALHOST, names, zone)
    }

    /// The same on a free port of another address of this machine.
    pub fn start_at(ip: Ipv4Addr, names: u32, zone: &str) -> io::Result<Origin> {
        let (udp, tcp) = bind_both(ip)?;
        let address = udp.local_addr()?;
        let query = message::query(zone, 1, None).map_err(io::Error::other)?;
        let apex = query[message::HEADER_BYTES..query.len() - 4].to_ascii_lowercase();
        let shared = Arc::new(Shared {
            names,
            apex,
            stop: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            queries: AtomicU64::new(0),
        });
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        let (for_udp, for_tcp) = (shared.clone(), shared.clone());
        let threads = vec![
            std::thread::spawn(move || {
                // Its end shows as names that are not answered while caches are warmed.
                let _ = serve_udp(&udp, &for_udp);
            }),
            std::thread::spawn(move || {
                // Without TCP the caches under test fail loudly while they are warmed.
                let _ = serve_tcp(&tcp, &for_tcp);
            }),
        ];
        Ok(Origin {
            address,
            shared,
            threads,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers no query from now on, or answers again.
    pub fn set_silent(&self, silent: bool) {
        self.shared.silent.store(silent, Ordering::Relaxed);
    }

    /// Queries received so far: tells whether a cache still asks.
    pub fn queries(&self) -> u64 {
        self.shared.queries.load(Ordering::Relaxed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic of a helper thread was already printed; there is nothing to add here.
            let _ = thread.join();
        }
    }
}

fn bind_both(ip: Ipv4Addr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = io::Error::other("no port");
    for _ in 0..16 {
        let udp = UdpSocket::bind((ip, 0))?;
        match TcpListener::bind(udp.local_addr()?) {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// In batches, because half of the questions of a run may end up here.
fn serve_udp(socket: &UdpSocket, shared: &Shared) -> io::Result<()> {
    let mut poller = Poller::new()?;
    poller.add(socket, 0, false)?;
    let (mut batch, mut ready) = (Batch::new(true), Vec::new());
    while !shared.stop.load(Ordering::Relaxed) {
        poller.wait(STOP_CHECK, &mut ready)?;
        // A query that cannot be received or answered is asked for again.
        while !ready.is_empty() && serve_batch(socket, &mut batch, shared).is_ok_and(|n| n > 0) {}
    }
    Ok(())
}

fn serve_batch(socket: &UdpSocket, batch: &mut Batch, shared: &Shared) -> io::Result<usize> {
    let fd = socket.as_raw_fd();
    let count = batch.receive(fd)?;
    // Replies `from..i` wait to be sent.
    let mut from = 0;
    for i in 0..count {
        match shared.answer(batch.packet(i)) {
            Some(reply) => {
                batch.fill(i, &[&reply]);
            }
            None => {
                send_all(batch, fd, from, i)?;
                from = i + 1;
            }
        }
    }
    send_all(batch, fd, from, count)?;
    Ok(count)
}

fn send_all(batch: &mut Batch, fd: RawFd, mut from: usize, to: usize) -> io::Result<()> {
    while from < to && !sys::stop_requested() {
        match batch.send(fd, from, to)? {
            0 => std::thread::yield_now(),
            sent => from += sent,
        }
    }
    Ok(())
}

fn serve_tcp(listener: &TcpListener, shared: &Arc<Shared>) -> io::Result<()> {
    let mut poller = Poller::new()?;
    poller.add(listener, 0, false)?;
    let mut ready = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        poller.wait(STOP_CHECK, &mut ready)?;
        while let Ok((stream, _)) = listener.accept() {
            let shared = shared.clone();
            // Ends with its peer or by its read timeout; not joined because it holds nothing but its socket.
            std::thread::spawn(move || serve_stream(stream, &shared));
        }
    }
    Ok(())
}

fn serve_stream(mut stream: TcpStream, shared: &Shared) -> Option<()> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(IDLE)).ok()?;
    let mut query = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let mut len = [0; 2];
        stream.read_exact(&mut len).ok()?;
        query.resize(usize::from(u16::from_be_bytes(len)), 0);
        stream.read_exact(&mut query).ok()?;
        let reply = shared.answer(&query)?;
        stream
            .write_all(&[&(reply.len() as u16).to_be_bytes()[..], &reply].concat())
            .ok()?;
    }
    Some(())
}

impl Shared {
    /// The reply to one query; `None` when it is not a query with one question.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        let question = message::question(query).filter(|_| query[2] & 0x80 == 0)?;
        if self.silent.load(Ordering::Relaxed) {
            return None;
        }
        let (name, rest) = question.split_at(question.len() - 4);
        let name = name.to_ascii_lowercase();
        let qtype = u16::from_be_bytes([rest[0], rest[1]]);
        let inside = name.ends_with(&self.apex);
        let host = name
            .strip_suffix(&self.apex[..])
            .and_then(|label| self.host(label));
        let exists = host.is_some() || name == self.apex;
        let (rcode, answer) = match (inside, host) {
            (true, Some(address)) if qtype == 1 => (0, Some(address)),
            (true, _) if exists => (0, None),
            (true, _) => (3, None),
            (false, _) => (5, None),
        };
        // Every query with an additional record carries an OPT; caches expect one back (RFC 6891 section 6.1.1).
        let edns = query[11] != 0;
        let denial = inside && answer.is_none();
        let mut reply = vec![query[0], query[1], 0x84 | (query[2] & 1), rcode, 0, 1];
        let counts = [answer.is_some(), denial, edns];
        reply.extend(counts.iter().flat_map(|&present| [0, u8::from(present)]));
        reply.extend_from_slice(question);
        if let Some(address) = answer {
            reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
            reply.extend_from_slice(&TTL_S.to_be_bytes());
            reply.extend_from_slice(&[0, 4]);
            reply.extend_from_slice(&address.octets());
        } else if denial {
            reply.extend(self.soa());
        }
        if edns {
            reply.extend_from_slice(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
        }
        Some(reply)
    }

    /// The address of the label `\x07h123456`, when such a host exists, or of a fresh one (`\x07f` and six digits of base 36).
    fn host(&self, label: &[u8]) -> Option<Ipv4Addr> {
        let fresh = label.strip_prefix(b"\x07f").filter(|d| d.len() == 6);
        if fresh.is_some_and(|d| d.iter().all(u8::is_ascii_alphanumeric)) {
            return Some(Ipv4Addr::new(10, 255, 255, 255));
        }
        let digits = label
            .strip_prefix(b"\x07h")
            .filter(|d| d.iter().all(u8::is_ascii_digit))?;
        let n: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        (n < self.names).then(|| host_address(n))
    }

    fn soa(&self) -> Vec<u8> {
        let mut record = self.apex.clone();
        record.extend_from_slice(&[0, 6, 0, 1]);
        record.extend_from_slice(&TTL_S.to_be_bytes());
        let mut data = Vec::new();
        for label in [&b"\x03ns1"[..], b"\x0ahostmaster"] {
            data.extend_from_slice(label);
            data.extend_from_slice(&self.apex);
        }
        for number in [2_026_010_100, 7200, 3600, 1_209_600, TTL_S] {
            data.extend_from_slice(&number.to_be_bytes());
        }
        record.extend_from_slice(&(data.len() as u16).to_be_bytes());
        record.extend(data);
        record
    }
}

const STOP_CHECK: Duration = Duration::from_millis(50);
const IDLE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{query, read_answer};

    #[test]
    fn answers_hosts_and_denies_the_rest() {
        let origin = Origin::start(100, "example.org").unwrap();
        let shared = &origin.shared;
        let check = |name: &str, qtype, rcode, records| {
            let reply = shared
                .answer(&query(name, qtype, Some(1232)).unwrap())
                .unwrap();
            let answer = read_answer(&reply).unwrap();
            assert_eq!(
                (answer.rcode, answer.records.len()),
                (rcode, records),
                "{name}"
            );
        };
        check("h000099.example.org", 1, 0, 1);
        check("H000099.Example.ORG", 1, 0, 1);
        check("h000099.example.org", 28, 0, 0);
        check("h000100.example.org", 1, 3, 0);
        check(
            &crate::corpus::fresh_name(7_000_000, "example.org"),
            1,
            0,
            1,
        );
        check("example.org", 1, 0, 0);
        check("nosuch.example.org", 1, 3, 0);
        check("example.net", 1, 5, 0);
        assert!(shared.answer(b"short").is_none());
        let plain = shared
            .answer(&query("h000001.example.org", 1, None).unwrap())
            .unwrap();
        let edns = shared
            .answer(&query("h000001.example.org", 1, Some(1232)).unwrap())
            .unwrap();
        assert_eq!((plain[11], edns[11], edns.len() - plain.len()), (0, 1, 11));
    }

    #[test]
    fn both_transports_answer_and_drop_stops() {
        let origin = Origin::start(10, "example.org").unwrap();
        let q = query("h000003.example.org", 1, None).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        udp.send_to(&q, origin.address()).unwrap();
        let mut buffer = [0; 512];
        let len = udp.recv(&mut buffer).unwrap();
        assert_eq!(
            read_answer(&buffer[..len]).unwrap().records[0].3,
            [10, 0, 0, 3]
        );
        let mut tcp = TcpStream::connect(origin.address()).unwrap();
        tcp.write_all(&[&[0, q.len() as u8][..], &q].concat())
            .unwrap();
        let mut reply = vec![0; 2 + len];
        tcp.read_exact(&mut reply).unwrap();
        assert_eq!(reply[2..], buffer[..len]);
        assert_eq!(origin.queries(), 2);
        origin.set_silent(true);
        assert_eq!(origin.shared.answer(&q), None);
        origin.set_silent(false);
        assert!(origin.shared.answer(&q).is_some());
    }
}
