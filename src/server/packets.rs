//! The packet thread of a core: waits in epoll, takes a batch, answers it inline, sends the replies together.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;

use super::busy::Busy;
use super::config::Config;
use super::running::Running;
use super::serve::{self, Arrival, Desk, Served};
use super::short::Glance;
use super::spread::{Links, Listening, Offer, Spread};
use super::tasks::{self, Job, Peer, Waiting};
use crate::cache;
use crate::limits;
use crate::plugin::{Fetch, Proto, Query, Role, Run};
use crate::runtime::clock::{self, Nanos};
use crate::runtime::{PacketReceiver, Poller};
use crate::telemetry::metrics::SharedCounter;
use crate::transport::proxy::Proxies;
use crate::transport::udp::{Batch, ReplyPath, Socket};
use crate::tune::CoreSettings;

/// What a packet thread is asked to do.
pub enum Command {
    /// Open a new configuration and serve these sockets (listener index, socket); those that are missing are drained and dropped.
    Swap(Arc<Config>, Vec<(u16, Arc<Socket>)>, mpsc::Sender<()>),
    /// Read from the socket of a core that is busy.
    Help(Offer),
    /// Let go of what was replaced: no query may come that would.
    Refresh,
    /// End the thread after a last look at every socket.
    Stop,
    /// Die as a fault of ours would make it.
    #[cfg(test)]
    Die,
}

/// Counters that every packet thread shares; only bumped when something is lost.
#[derive(Clone)]
pub struct Losses {
    /// Queries shed because too many wait already.
    pub shed: SharedCounter,
    /// Replies that the kernel refused.
    pub unsent: SharedCounter,
}

/// Who and where this thread is.
pub struct Place {
    /// The core, from 0.
    pub core: usize,
    /// Number of cores.
    pub cores: usize,
    /// All cores, this one included.
    pub peers: Vec<Peer>,
    /// The packet threads of all cores.
    pub links: Links,
    /// What counts losses.
    pub losses: Losses,
    /// What `-tune` sets for this core.
    pub tune: CoreSettings,
}

/// Runs until `Command::Stop`.
///
/// # Errors
/// epoll itself failed.
pub fn run(place: Place, commands: PacketReceiver<Command>) -> io::Result<()> {
    let mut thread = Thread {
        poller: Poller::new()?,
        commands,
        sockets: Vec::new(),
        running: None,
        named: Vec::with_capacity(limits::BATCH),
        batch: Batch::new(place.tune.gso).limit(place.tune.batch_len),
        desk: Desk::default(),
        glances: (0..limits::BATCH).map(|_| Glance::default()).collect(),
        reply: vec![0; limits::MESSAGE_OCTETS],
        spread: Spread::new(place.core, place.tune.batch_len, place.links.clone()),
        busy: Busy::new(place.core, place.tune),
        place,
    };
    thread.busy.set_up(&mut thread.poller);
    thread.poller.add(thread.commands.fd(), COMMANDS)?;
    thread.serve()
}

struct Thread {
    poller: Poller,
    commands: PacketReceiver<Command>,
    sockets: Vec<Rc<Listening>>,
    running: Option<Running>,
    batch: Batch,
    /// Clients that proxies named, and the addresses asked, of a batch on a listener with *proxyproto*.
    named: Vec<(SocketAddr, SocketAddr)>,
    desk: Desk,
    /// One for each datagram of a batch.
    glances: Box<[Glance]>,
    /// Where a reply is written before it is known whether it fits the batch.
    reply: Vec<u8>,
    spread: Spread,
    busy: Busy,
    place: Place,
}

/// epoll's name for the mailbox; sockets are named by their descriptor.
const COMMANDS: u64 = u64::MAX;

impl Thread {
    fn serve(&mut self) -> io::Result<()> {
        loop {
            self.poller.wait(self.spread.patience_ms())?;
            for nth in 0..self.poller.ready_len() {
                let name = self.poller.ready(nth);
                if name == COMMANDS {
                    if self.obey()? {
                        return Ok(());
                    }
                } else if let Some(own) = self.find(name as RawFd) {
                    self.drain_own(own);
                }
            }
            if let Some(away) = self.spread.away() {
                self.drain_own(away);
            }
            if self.spread.is_helping() {
                self.help();
            }
            self.spread
                .end_turn(self.generation(), &self.sockets, &self.poller)?;
        }
    }

    /// The place of an own socket in `sockets`.
    fn find(&self, fd: RawFd) -> Option<usize> {
        let has_fd = |row: &Rc<Listening>| row.socket.raw_fd() == fd;
        self.sockets.iter().position(has_fd)
    }

    /// A batch of the `nth` own socket; its length.
    fn drain_own(&mut self, nth: usize) -> usize {
        let row = self.sockets[nth].clone();
        let count = self.drain(row.listener, &row.socket);
        self.spread.took_own(nth, count);
        count
    }

    /// A batch of each socket of another core that is ready, after all of its own.
    fn help(&mut self) {
        for nth in 0..self.poller.ready_len() {
            if let Some(row) = self.spread.helped(self.poller.ready(nth) as RawFd) {
                let count = self.drain(row.listener, &row.socket);
                self.spread.took_helped(count);
            }
        }
    }

    fn generation(&self) -> Option<u64> {
        Some(self.running.as_ref()?.config.generation)
    }

    /// Answers one batch of what a socket holds and returns its length. A short batch means that it is empty; level-triggered epoll tells of what comes later.
    fn drain(&mut self, listener: u16, socket: &Arc<Socket>) -> usize {
        let Some(running) = &self.running else {
            return 0;
        };
        let Ok(count) = self.batch.recv(socket) else {
            return 0;
        };
        let now_ns = clock::now_ns();
        let proxies = running.proxies(listener);
        if let Some(proxies) = proxies {
            name_clients(
                proxies,
                &mut self.batch,
                socket,
                now_ns,
                &mut self.named,
                count,
            );
        }
        // Nests with the pin of each lookup, which then costs an increment.
        let pin = cache::Pin::new();
        // Look at all, fetch all, answer all: while one answer is written the memory of the next arrives. With one query there is nothing
        // to do meanwhile.
        let glances = &mut self.glances[..count];
        let prefetches = running.prefetches() && count > 1;
        for (nth, glance) in glances.iter_mut().enumerate() {
            if glance.look(running, listener, self.batch.query(nth)) && prefetches {
                glance.prefetch(running, Fetch::Index);
            }
        }
        if prefetches {
            for glance in glances.iter() {
                glance.prefetch(running, Fetch::Answer);
            }
        }
        for (nth, glance) in glances.iter().enumerate() {
            let (peer, local) = match proxies {
                None => self.batch.addresses(nth, socket),
                Some(_) => self.named[nth],
            };
            let arrival = Arrival {
                peer,
                local,
                proto: Proto::Udp,
                listener,
                now_ns,
            };
            let (bytes, room) = self.batch.query_and_room(nth);
            if let Some(len) = glance.answer(running, bytes, &arrival, &pin, room) {
                self.batch.queue(nth, len);
                continue;
            }
            match serve::long(running, &mut self.desk, bytes, &arrival, &mut self.reply) {
                Served::Reply(len) | Served::Rejected(len @ 1..) => {
                    if !self.batch.push(nth, socket, &self.reply[..len]) {
                        self.place.losses.unsent.inc();
                    }
                    tasks::start_background(&self.place.peers, &mut self.desk.query);
                }
                Served::Rejected(0) | Served::Silent => {}
                Served::Parked(run) => {
                    let path = self.batch.reply_path(nth, socket);
                    park(&self.place, &mut self.desk.query, run, path);
                }
            }
        }
        let refused = self.batch.flush(socket);
        if refused > 0 {
            self.place.losses.unsent.add(refused as u64);
        }
        count
    }

    /// Takes every waiting command; `true` when the thread is to end.
    fn obey(&mut self) -> io::Result<bool> {
        self.commands.drain_wakeup();
        while let Some(command) = self.commands.try_recv() {
            match command {
                Command::Swap(config, sockets, done) => {
                    self.swap(config, sockets)?;
                    // The supervisor may have given up waiting; the swap stands all the same.
                    let _ = done.send(());
                }
                Command::Help(offer) => {
                    let generation = self.generation();
                    self.spread.accept(offer, generation, &self.poller);
                }
                Command::Refresh => {
                    if let Some(running) = &self.running {
                        running.refresh();
                    }
                }
                Command::Stop => {
                    self.drain_all();
                    return Ok(true);
                }
                #[cfg(test)]
                Command::Die => panic!("told to die"),
            }
        }
        Ok(false)
    }

    fn swap(&mut self, config: Arc<Config>, sockets: Vec<(u16, Arc<Socket>)>) -> io::Result<()> {
        // What the old configuration has received it still answers, on sockets that stay as well as on those that go.
        self.drain_all();
        for row in &self.sockets {
            self.poller.remove(row.socket.raw_fd());
        }
        self.running = Some(Running::open(
            config,
            self.place.core,
            self.place.cores,
            Role::Packet,
        ));
        let own = sockets
            .into_iter()
            .map(|(listener, socket)| Rc::new(Listening { listener, socket }));
        self.sockets = own.collect();
        for row in &self.sockets {
            let fd = row.socket.raw_fd();
            self.poller.share(fd, fd as u64)?;
        }
        self.busy.set(&self.sockets);
        self.spread.restart(self.sockets.len(), &self.poller);
        Ok(())
    }

    fn drain_all(&mut self) {
        for nth in 0..self.sockets.len() {
            for _ in 0..DRAIN_BATCHES {
                if self.drain_own(nth) == 0 {
                    break;
                }
            }
        }
    }
}

/// Takes what proxies put in front off the first `count` datagrams. One that is dropped becomes an empty message, which nothing answers.
fn name_clients(
    proxies: &Proxies,
    batch: &mut Batch,
    socket: &Socket,
    now_ns: Nanos,
    named: &mut Vec<(SocketAddr, SocketAddr)>,
    count: usize,
) {
    named.clear();
    for nth in 0..count {
        let (peer, local) = batch.addresses(nth, socket);
        let datagram = batch.datagram(nth);
        let (client, left) = match proxies.unwrap_datagram(peer, datagram, now_ns) {
            Some((client, query)) => (client, query.len()),
            None => (peer, 0),
        };
        let octets = datagram.len() - left;
        if octets > 0 {
            batch.strip(nth, octets);
        }
        named.push((client, local));
    }
}

/// Batches that a last look takes from one socket: more than its buffer holds, yet bounded under a flood.
const DRAIN_BATCHES: usize = 64;

/// Hands a query that waits to the task thread of the core it asked for, or sheds it.
fn park(place: &Place, query: &mut Query, run: Run, path: ReplyPath) {
    let home = query.home.take().map_or(place.core, usize::from);
    let Some(peer) = place.peers.get(home) else {
        return;
    };
    if !peer.reserve() {
        return place.losses.shed.inc();
    }
    let query = query.leave();
    let waiting = Box::new(Waiting { query, run, path });
    if peer.jobs.try_send(Job::Udp(waiting)).is_err() {
        peer.release();
        place.losses.shed.inc();
    }
}
