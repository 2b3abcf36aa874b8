//! An upstream for tests: a thread that answers each query with what a script says, over UDP or TCP on a free port of loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::plugin::{Answer, Chain, Query, Route, TaskEnv, Visit};
use crate::runtime::clock;
use crate::wire::name;
use crate::wire::rcode::Rcode;

/// The thread; it ends when this is dropped.
pub(crate) struct Fake {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// Queries that came, probes included.
    pub(crate) seen: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What to send for the `nth` query (from 0): messages in order. Over TCP, none at all closes the connection.
pub(crate) trait Script: FnMut(usize, &[u8]) -> Vec<Vec<u8>> + Send + 'static {}

impl<F: FnMut(usize, &[u8]) -> Vec<Vec<u8>> + Send + 'static> Script for F {}

impl Fake {
    /// An upstream over UDP.
    pub(crate) fn udp(script: impl Script) -> Fake {
        Fake::udp_at("127.0.0.1:0".parse().unwrap(), script)
    }

    /// An upstream over UDP at an address.
    pub(crate) fn udp_at(addr: SocketAddr, mut script: impl Script) -> Fake {
        let socket = UdpSocket::bind(addr).unwrap();
        socket.set_read_timeout(Some(POLL)).unwrap();
        let addr = socket.local_addr().unwrap();
        Fake::start(addr, move |stop, seen| {
            let mut buffer = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                let Ok((len, peer)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                let nth = seen.fetch_add(1, Ordering::Relaxed);
                for (sent, message) in script(nth, &buffer[..len]).iter().enumerate() {
                    // Loopback drops what a full socket buffer cannot hold.
                    if sent % 32 == 31 {
                        thread::sleep(Duration::from_millis(2));
                    }
                    socket.send_to(message, peer).unwrap();
                }
            }
        })
    }

    /// An upstream over TCP; the script's messages are framed.
    pub(crate) fn tcp(script: impl Script) -> Fake {
        Fake::tcp_at("127.0.0.1:0".parse().unwrap(), script)
    }

    /// The same, at an address.
    pub(crate) fn tcp_at(addr: SocketAddr, mut script: impl Script) -> Fake {
        let listener = TcpListener::bind(addr).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        Fake::start(addr, move |stop, seen| {
            let mut open: Vec<TcpStream> = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                if let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(false).unwrap();
                    stream
                        .set_read_timeout(Some(Duration::from_millis(2)))
                        .unwrap();
                    open.push(stream);
                }
                if open.is_empty() {
                    thread::sleep(Duration::from_millis(1));
                }
                open.retain_mut(|stream| serve(stream, &mut script, seen));
            }
        })
    }

    fn start(
        addr: SocketAddr,
        run: impl FnOnce(&AtomicBool, &AtomicUsize) + Send + 'static,
    ) -> Fake {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let theirs = (Arc::clone(&stop), Arc::clone(&seen));
        let thread = thread::spawn(move || run(&theirs.0, &theirs.1));
        Fake {
            addr,
            seen,
            stop,
            thread: Some(thread),
        }
    }

    /// Queries that came so far.
    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Serves one query if one has come; false once the connection is over.
fn serve(stream: &mut TcpStream, script: &mut impl Script, seen: &AtomicUsize) -> bool {
    let mut len = [0; 2];
    match stream.read(&mut len[..1]) {
        Ok(1) => {}
        Ok(_) => return false,
        Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
    }
    stream.set_read_timeout(None).unwrap();
    stream.read_exact(&mut len[1..]).unwrap();
    let mut query = vec![0; u16::from_be_bytes(len).into()];
    stream.read_exact(&mut query).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(2)))
        .unwrap();
    let nth = seen.fetch_add(1, Ordering::Relaxed);
    let replies = script(nth, &query);
    for message in &replies {
        let mut framed = (message.len() as u16).to_be_bytes().to_vec();
        framed.extend(message);
        stream.write_all(&framed).unwrap();
    }
    !replies.is_empty()
}

/// A reply to a query: its header and question, these flags and that rcode, and an A record if an address is given.
pub(crate) fn reply(query: &[u8], flags: u16, rcode: u16, address: Option<[u8; 4]>) -> Vec<u8> {
    let end = name::skip(query, 12).unwrap() + 4;
    let mut message = query[..end].to_vec();
    let rd = u16::from_be_bytes([query[2], query[3]]) & 0x0100;
    message[2..4].copy_from_slice(&(0x8000 | rd | flags | rcode).to_be_bytes());
    message[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    if let Some(address) = address {
        message[7] = 1;
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        message.extend(address);
    }
    message
}

/// A script that answers everything with one address.
pub(crate) fn answering(last: u8) -> impl Script {
    move |_, query: &[u8]| vec![reply(query, 0x0080, 0, Some([192, 0, 2, last]))]
}

/// A script that answers everything with an rcode and nothing else.
pub(crate) fn failing(rcode: u16) -> impl Script {
    move |_, query: &[u8]| vec![reply(query, 0x0080, rcode, None)]
}

/// A script that never answers.
pub(crate) fn silent() -> impl Script {
    |_, _: &[u8]| Vec::new()
}

/// The surroundings of a chain that is all there is.
pub(crate) struct Alone;

impl TaskEnv for Alone {
    fn core(&self) -> usize {
        0
    }

    fn now_ns(&self) -> u64 {
        clock::now_ns()
    }

    fn route(&self, _: &mut Query) -> Result<Rc<Chain>, Rcode> {
        Err(Rcode::REFUSED)
    }

    fn chain(&self, _: Route) -> Option<Rc<Chain>> {
        None
    }

    fn visit(&self, _: usize, visit: Visit) -> Result<(), Visit> {
        Err(visit)
    }

    fn start_background(&self, _: &mut Query) {}
}

/// What the client sees of one query: the last octet of the first address, or the rcode, and the error.
pub(crate) fn outcome(query: &Query) -> String {
    match query.answer {
        Answer::Written => match query.reply.records().first() {
            Some(record) => query.reply.rdata(record)[3].to_string(),
            None => query.reply.rcode.to_string(),
        },
        Answer::Unwritten(rcode) => {
            format!("{rcode}: {}", query.error.as_deref().unwrap_or_default())
        }
        Answer::Open | Answer::Dropped => "dropped".to_owned(),
    }
}

const POLL: Duration = Duration::from_millis(10);
