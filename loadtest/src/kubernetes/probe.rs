//! From a change to the first answer that shows it: many names are asked again and again at once, each until it shows its change.
//!
//! Runs on: a thread of its own.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::ask;
use super::change::{self, Change};
use crate::message;
use crate::sys::{self, Poller};

/// What was seen.
pub struct Seen {
    /// From change to answer, in microseconds.
    pub latency: Histogram<u64>,
    /// Changes that were never seen.
    pub lost: u64,
}

struct Open {
    change: Change,
    id: u16,
    sent: Instant,
}

/// Looks for each change that comes, until no more come and all have been seen.
pub fn run(server: SocketAddr, changes: &Receiver<Change>) -> io::Result<Seen> {
    sys::sharpen_timers();
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    let mut poller = Poller::new()?;
    poller.add(&socket, 0, false)?;
    let mut ready = Vec::new();
    let mut seen = Seen {
        latency: Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).map_err(io::Error::other)?,
        lost: 0,
    };
    let (mut open, mut id) = (Vec::<Open>::new(), 0u16);
    let mut is_over = false;
    while (!is_over || !open.is_empty()) && !sys::stop_requested() {
        loop {
            match changes.try_recv() {
                Ok(change) => {
                    id = id.wrapping_add(1);
                    let sent = send(&socket, &change, id)?;
                    open.push(Open { change, id, sent });
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    is_over = true;
                    break;
                }
            }
        }
        // The timeout of a socket would be rounded up to a tick of the kernel.
        poller.wait(STEP, &mut ready)?;
        take_answers(&socket, &mut open, &mut seen)?;
        for one in &mut open {
            if one.sent.elapsed() > AGAIN {
                one.sent = send(&socket, &one.change, one.id)?;
            }
        }
        let before = open.len();
        open.retain(|one| one.change.at.elapsed() < PATIENCE);
        seen.lost += (before - open.len()) as u64;
    }
    seen.lost += open.len() as u64;
    Ok(seen)
}

fn send(socket: &UdpSocket, change: &Change, id: u16) -> io::Result<Instant> {
    let name = change::service_name(change.service);
    let mut query = message::query(&name, ask::A, None).map_err(io::Error::other)?;
    query[..2].copy_from_slice(&id.to_be_bytes());
    socket.send(&query)?;
    Ok(Instant::now())
}

/// Takes what has arrived, and strikes out what shows its change.
fn take_answers(socket: &UdpSocket, open: &mut Vec<Open>, seen: &mut Seen) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let len = match socket.recv(&mut buffer) {
            Ok(len) => len,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        };
        let Some(answer) = message::read_answer(&buffer[..len]) else {
            continue;
        };
        let id = u16::from_be_bytes([buffer[0], buffer[1]]);
        let number = ask::first_address(&answer).and_then(change::number_of);
        let shows = |one: &Open| {
            // A later change of the same service shows that this one was taken in.
            one.id == id && number.is_some_and(|number| number >= one.change.number)
        };
        if let Some(at) = open.iter().position(shows) {
            let one = open.swap_remove(at);
            let us = one.change.at.elapsed().as_micros() as u64;
            seen.latency.saturating_record(us);
        }
    }
}

/// How long an answer is waited for before new changes are looked at.
const STEP: Duration = Duration::from_micros(200);
/// A name is asked again so long after it was asked: the resolution of what is measured.
const AGAIN: Duration = Duration::from_micros(300);
const PATIENCE: Duration = Duration::from_secs(10);
const LATENCY_US_MAX: u64 = 60_000_000;
