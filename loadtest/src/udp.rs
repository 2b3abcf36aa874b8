//! UDP sources: connected sockets with batched sends and receives.
//!
//! Runs on: the generator's thread.

use std::io;
use std::net::{SocketAddr, UdpSocket};
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
    // Invariant: `outgoing` holds `pending <= BATCH` queries, all of one source.
    outgoing: Batch,
    pending: usize,
    incoming: Batch,
}

impl<'a> UdpSources<'a> {
    /// Opens `count` sockets (at least 1) connected to `server`.
    pub fn open(
        server: SocketAddr,
        count: usize,
        corpus: &'a Corpus,
    ) -> io::Result<UdpSources<'a>> {
        let poller = Poller::new()?;
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
            poller.add(&socket, i, false)?;
            sources.push((socket.into(), Flight::new((i * ID_STEP) as u16)));
        }
        let (outgoing, incoming) = (Batch::new(false), Batch::new(false));
        Ok(UdpSources {
            corpus,
            sources,
            poller,
            ready: Vec::new(),
            outgoing,
            pending: 0,
            incoming,
        })
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
                    (Some(id), Some(sent))
                        if self.corpus.answered_by(sent.question as usize, reply) =>
                    {
                        flight.land(id);
                        report.count_answer(reply, now_ns.saturating_sub(sent.intended_ns));
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

    fn push(&mut self, source: usize, sent: Sent, report: &mut Report) {
        match self.sources[source].1.launch(sent) {
            Some(id) => {
                let packet = self
                    .outgoing
                    .fill(self.pending, self.corpus.query(sent.question as usize));
                packet[..2].copy_from_slice(&id.to_be_bytes());
                self.pending += 1;
            }
            None => report.lost += 1,
        }
    }

    fn flush(&mut self, source: usize, _report: &mut Report) -> io::Result<()> {
        let fd = self.sources[source].0.as_raw_fd();
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
