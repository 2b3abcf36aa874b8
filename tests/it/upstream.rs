//! A scripted server for the tests: it answers from the name that is asked, and counts.
//!
//! | name begins with | what happens |
//! |---|---|
//! | `slow` | the reply comes after 700 ms |
//! | `dead` | no reply ever |
//! | `nx` | NXDOMAIN with an SOA record |
//! | `big` | TC over UDP, 40 TXT records over TCP |
//! | anything else | A 192.0.2.77, TTL 60 |
//!
//! After [`Upstream::silence`] there is no reply to anything.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, Ttl};
use domain::rdata::{A, Soa, Txt};

use crate::client::Tcp;

/// Lives until it is dropped.
pub struct Upstream {
    pub addr: SocketAddr,
    state: Arc<State>,
}

/// What its threads share with the test.
#[derive(Default)]
struct State {
    asked: AtomicUsize,
    silent: AtomicBool,
    stop: AtomicBool,
}

impl Upstream {
    pub fn start() -> Upstream {
        let (udp, tcp) = sockets();
        let addr = udp.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let shared = state.clone();
        udp.set_read_timeout(Some(LOOK)).expect("a timeout");
        thread::spawn(move || serve_udp(&Arc::new(udp), &shared));
        let shared = state.clone();
        tcp.set_nonblocking(true).expect("an option");
        thread::spawn(move || serve_tcp(&tcp, &shared));
        Upstream { addr, state }
    }

    /// From now on queries are counted and not answered, probes neither.
    pub fn silence(&self) {
        self.state.silent.store(true, Ordering::SeqCst);
    }

    /// Queries that came in so far, probes for NS not counted.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
    }
}

/// How often the threads look whether they are to end.
const LOOK: Duration = Duration::from_millis(50);

/// One port on UDP and TCP.
fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..32 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = udp.local_addr().expect("an address").port();
        if let Ok(tcp) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return (udp, tcp);
        }
    }
    panic!("no port is free on UDP and TCP");
}

fn serve_udp(socket: &Arc<UdpSocket>, state: &State) {
    let mut buffer = [0; 4096];
    while !state.stop.load(Ordering::SeqCst) {
        let Ok((len, peer)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let Some((reply, pause)) = reply(&buffer[..len], true, state) else {
            continue;
        };
        let socket = socket.clone();
        let send = move || {
            thread::sleep(pause);
            let _ = socket.send_to(&reply, peer);
        };
        if pause.is_zero() {
            send();
        } else {
            thread::spawn(send);
        }
    }
}

fn serve_tcp(listener: &TcpListener, state: &Arc<State>) {
    while !state.stop.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                let state = state.clone();
                thread::spawn(move || serve_stream(stream, &state));
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// One query after the other, as CoreDNS does.
fn serve_stream(stream: TcpStream, state: &State) {
    let _ = stream.set_nonblocking(false);
    let mut tcp = Tcp(stream);
    while let Ok(query) = tcp.receive() {
        let Some((reply, pause)) = reply(&query, false, state) else {
            continue;
        };
        thread::sleep(pause);
        if tcp.send(&reply).is_err() {
            return;
        }
    }
}

/// The reply and how long it is held back; `None` for no reply.
fn reply(query: &[u8], is_udp: bool, state: &State) -> Option<(Vec<u8>, Duration)> {
    let query = Message::from_octets(query).ok()?;
    let question = query.sole_question().ok()?;
    let name = question.qname().to_string();
    if name != "." {
        state.asked.fetch_add(1, Ordering::SeqCst);
    }
    if state.silent.load(Ordering::SeqCst) {
        return None;
    }
    let (is_big, is_nx) = (name.starts_with("big"), name.starts_with("nx"));
    let pause = match name {
        ref name if name.starts_with("dead") => return None,
        ref name if name.starts_with("slow") => Duration::from_millis(700),
        _ => Duration::ZERO,
    };
    let rcode = if is_nx {
        Rcode::NXDOMAIN
    } else {
        Rcode::NOERROR
    };
    let mut answer = MessageBuilder::new_vec().start_answer(&query, rcode).ok()?;
    answer.header_mut().set_ra(true);
    let (owner, ttl) = (question.qname(), Ttl::from_secs(60));
    if is_big && is_udp {
        answer.header_mut().set_tc(true);
    } else if is_big {
        for nth in 0..40u8 {
            let text = [b'a' + nth % 26; 60];
            let text: Txt<Vec<u8>> = Txt::build_from_slice(&text).ok()?;
            answer.push((owner, ttl, text)).ok()?;
        }
    } else if !is_nx {
        answer
            .push((owner, ttl, A::new(Ipv4Addr::new(192, 0, 2, 77))))
            .ok()?;
    }
    let mut authority = answer.authority();
    if is_nx {
        let root = Name::<Vec<u8>>::root_vec();
        let soa = Soa::new(root.clone(), root.clone(), 1.into(), ttl, ttl, ttl, ttl);
        authority.push((root, ttl, soa)).ok()?;
    }
    Some((authority.finish(), pause))
}
