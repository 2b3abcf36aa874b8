//! Spreads the load of a socket that keeps its core busy: cores that are idle read from it too.
//!
//! A flow stays on one core (one NIC queue, one CPU of a sender on loopback), and in a cluster a few source ports are the rule. Hence:
//!
//! ```text
//!  hot core    wants its CPU 85 % of the last 10 ms: offers its busiest socket to the idlest core, over its mailbox
//!  idle core   adds the socket to its epoll set; the kernel wakes it for packets that come while the owner is at work
//!              every 10 ms: both want less than 60 % for it, or its own clients need it: takes the socket out again
//!
//! The owner is woken first, unless it finds that it is others that keep its CPU busy. Then it steps back for a while: it looks at the
//! socket once a millisecond, and stays only as long as it finds full batches.
//! ```
//!
//! Each takes whole batches of what is there (recvmmsg(2) by two threads gives each datagram to one of them), answers under its own
//! configuration and replies on that socket. While no core is hot this costs a look at the clock every few turns and one store to a
//! cache line of the core's own every 10 ms.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

use super::packets::Command;
use crate::limits;
use crate::runtime::clock::{self, MILLISECOND, Nanos};
use crate::runtime::{Meter, Poller, Sender};
use crate::telemetry::metrics::{Counter, registry};
use crate::transport::udp::Socket;

/// A socket that a packet thread reads, shared on that thread: another reference costs no locked instruction.
pub struct Listening {
    /// Index of its listener in the configuration.
    pub listener: u16,
    /// The socket.
    pub socket: Arc<Socket>,
}

/// What packet threads know of each other.
#[derive(Clone)]
pub struct Links {
    board: Arc<Board>,
    mailboxes: Vec<Sender<Command>>,
}

impl Links {
    /// For these packet threads, in the order of the cores.
    pub fn new(mailboxes: Vec<Sender<Command>>) -> Links {
        let board = Arc::new(Board::new(mailboxes.len()));
        Links { board, mailboxes }
    }
}

/// A socket that its owner cannot keep up with.
pub struct Offer {
    owner: usize,
    /// Of the configuration to which the listener's index belongs.
    generation: u64,
    row: Listening,
}

/// One packet thread's part.
pub struct Spread {
    core: usize,
    /// Datagrams of a full batch.
    batch_len: usize,
    links: Links,
    meter: Meter,
    turns: u32,
    /// Datagrams since the meter was read: of each own socket, in the order of the thread's, and of others.
    own: Vec<u64>,
    helped: u64,
    /// Sockets of others that are read here too: at most `limits::HELPED_SOCKETS`.
    helping: Vec<Helped>,
    away: Option<Away>,
    /// When each core was offered something last.
    offered_ns: Vec<Nanos>,
    queries: Counter,
    helped_queries: Counter,
}

/// An own socket that is left to helpers, and looked at now and then.
struct Away {
    nth: usize,
    until_ns: Nanos,
    /// The last look took a full batch.
    is_full: bool,
}

struct Helped {
    owner: usize,
    row: Rc<Listening>,
}

// === impl Spread ===

impl Spread {
    /// Made on the thread that it is for.
    pub fn new(core: usize, batch_len: usize, links: Links) -> Spread {
        let label = core.to_string();
        let count = |name, help| registry().counter(name, help, &[("core", &label)]);
        Spread {
            core,
            batch_len,
            meter: Meter::start(clock::now_ns()),
            turns: 0,
            own: Vec::new(),
            helped: 0,
            helping: Vec::new(),
            away: None,
            offered_ns: vec![0; links.mailboxes.len()],
            queries: count(
                "percoredns_core_udp_queries_total",
                "Datagrams that the packet thread of a core took.",
            ),
            helped_queries: count(
                "percoredns_core_helped_udp_queries_total",
                "Those that it took from a socket of a core that was busy.",
            ),
            links,
        }
    }

    /// A configuration with so many own sockets begins: what is read for others belongs to the one before.
    pub fn restart(&mut self, own_sockets: usize, poller: &Poller) {
        self.let_go(poller);
        self.away = None;
        self.own.clear();
        self.own.resize(own_sockets, 0);
    }

    /// Reads from the socket of another core too, unless its configuration is not the one that runs here: its owner asks again.
    pub fn accept(&mut self, offer: Offer, generation: Option<u64>, poller: &Poller) {
        let fd = offer.row.socket.raw_fd();
        if generation != Some(offer.generation)
            || self.helped(fd).is_some()
            || self.helping.len() >= limits::HELPED_SOCKETS
            || poller.share(fd, fd as u64).is_err()
        {
            return;
        }
        self.helping.push(Helped {
            owner: offer.owner,
            row: Rc::new(offer.row),
        });
    }

    /// Whether sockets of others are read here.
    #[inline]
    pub fn is_helping(&self) -> bool {
        !self.helping.is_empty()
    }

    /// The socket of another core with this descriptor.
    pub fn helped(&self, fd: RawFd) -> Option<Rc<Listening>> {
        let mut rows = self.helping.iter().map(|helped| &helped.row);
        rows.find(|row| row.socket.raw_fd() == fd).cloned()
    }

    /// How long the thread may wait for something to read: milliseconds, -1 for ever.
    #[inline]
    pub fn patience_ms(&self) -> i32 {
        match &self.away {
            None => -1,
            Some(away) if away.is_full => 0,
            Some(_) => AWAY_LOOK_MS,
        }
    }

    /// The own socket that must be looked at although it wakes nobody.
    #[inline]
    pub fn away(&self) -> Option<usize> {
        Some(self.away.as_ref()?.nth)
    }

    /// Counts a batch of the `nth` own socket.
    #[inline]
    pub fn took_own(&mut self, nth: usize, count: usize) {
        if let Some(own) = self.own.get_mut(nth) {
            *own += count as u64;
        }
        if let Some(away) = &mut self.away {
            away.is_full = count >= self.batch_len;
        }
        self.queries.add(count as u64);
    }

    /// Counts a batch of another core's socket.
    pub fn took_helped(&mut self, count: usize) {
        self.helped += count as u64;
        self.queries.add(count as u64);
        self.helped_queries.add(count as u64);
    }

    /// After each turn of the thread: every 10 ms or so, looks whether to offer a socket or to let go of one.
    ///
    /// # Errors
    /// An own socket is out of the poll set and cannot be put back; the thread must start anew.
    #[inline]
    pub fn end_turn(
        &mut self,
        generation: Option<u64>,
        sockets: &[Rc<Listening>],
        poller: &Poller,
    ) -> io::Result<()> {
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(TURNS_PER_LOOK) && self.offered_ns.len() > 1 {
            self.look(generation, sockets, poller)?;
        }
        Ok(())
    }

    #[cold]
    fn look(
        &mut self,
        generation: Option<u64>,
        sockets: &[Rc<Listening>],
        poller: &Poller,
    ) -> io::Result<()> {
        let now_ns = clock::now_ns();
        if now_ns.saturating_sub(self.meter.since_ns()) < WINDOW_NS {
            return Ok(());
        }
        let share = self.meter.look(now_ns, poller.idle_ns());
        if let Some(away) = &self.away {
            // Helpers stay until it is back and sees for itself.
            self.links.board.publish(self.core, HOT, now_ns);
            if now_ns >= away.until_ns {
                self.come_back(sockets, poller)?;
            }
            return Ok(());
        }
        self.links.board.publish(self.core, share.wanted(), now_ns);
        let own: u64 = self.own.iter().sum();
        match decide(share.wanted(), own, self.helped, self.is_helping()) {
            Step::Stay => {}
            Step::LetGo => self.let_go(poller),
            Step::Review => {
                let part = u64::from(share.wanted()) * self.helped / (own + self.helped).max(1);
                // At most 100.
                self.review(part as u8, now_ns, poller);
            }
            Step::Offer => {
                if !self.offer(generation, sockets, now_ns) && share.waited >= STARVED {
                    self.step_back(sockets, now_ns, poller);
                }
            }
        }
        self.own.fill(0);
        self.helped = 0;
        Ok(())
    }

    /// Takes out the sockets whose owners have time for all that is left: helping took `for_others` percent of this core.
    fn review(&mut self, for_others: u8, now_ns: Nanos, poller: &Poller) {
        let board = &self.links.board;
        self.helping.retain(|helped| {
            let of_owner = board.percent(helped.owner, now_ns);
            let stays = of_owner > 0 && of_owner.saturating_add(for_others) >= COOL;
            if !stays {
                poller.remove(helped.row.socket.raw_fd());
            }
            stays
        });
    }

    fn let_go(&mut self, poller: &Poller) {
        for helped in self.helping.drain(..) {
            poller.remove(helped.row.socket.raw_fd());
        }
    }

    fn busiest<'a>(&self, sockets: &'a [Rc<Listening>]) -> Option<(usize, &'a Listening)> {
        let nth = (0..self.own.len()).max_by_key(|&nth| self.own[nth])?;
        Some((nth, sockets.get(nth)?))
    }

    /// Stops being woken for the busiest socket, so that its packets wake helpers alone.
    fn step_back(&mut self, sockets: &[Rc<Listening>], now_ns: Nanos, poller: &Poller) {
        let asked = self.offered_ns.iter().max();
        if asked.is_none_or(|&asked_ns| now_ns.saturating_sub(asked_ns) > 2 * OFFER_PAUSE_NS) {
            return;
        }
        if let Some((nth, row)) = self.busiest(sockets) {
            poller.remove(row.socket.raw_fd());
            self.away = Some(Away {
                nth,
                until_ns: now_ns + AWAY_NS,
                is_full: false,
            });
        }
    }

    fn come_back(&mut self, sockets: &[Rc<Listening>], poller: &Poller) -> io::Result<()> {
        let row = self.away.take().and_then(|away| sockets.get(away.nth));
        let fd = row.map(|row| row.socket.raw_fd());
        fd.map_or(Ok(()), |fd| poller.share(fd, fd as u64))
    }

    /// Offers the busiest own socket to the idlest core that was not asked a moment ago; `false` when there is none. It may decline, so
    /// it is asked again.
    fn offer(&mut self, generation: Option<u64>, sockets: &[Rc<Listening>], now_ns: Nanos) -> bool {
        let (Some(generation), Some((_, row))) = (generation, self.busiest(sockets)) else {
            return false;
        };
        let cores = self.offered_ns.len();
        let idlest = (1..cores)
            .map(|step| (self.core + step) % cores)
            .filter(|&core| now_ns.saturating_sub(self.offered_ns[core]) >= OFFER_PAUSE_NS)
            .map(|core| (self.links.board.percent(core, now_ns), core))
            .filter(|&(percent, _)| percent < IDLE)
            .min_by_key(|&(percent, _)| percent);
        let Some((_, helper)) = idlest else {
            return false;
        };
        self.offered_ns[helper] = now_ns;
        let offer = Offer {
            owner: self.core,
            generation,
            row: Listening {
                listener: row.listener,
                socket: row.socket.clone(),
            },
        };
        // A mailbox that is full, or closed while its thread is started anew, gets the next offer.
        let _ = self.links.mailboxes[helper].try_send(Command::Help(offer));
        true
    }
}

/// What a core does at the end of a window.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Stay,
    /// Read from own sockets only.
    LetGo,
    /// See which of those that are helped still need it.
    Review,
    /// Ask another core for help.
    Offer,
}

/// `own` and `helped` are datagrams of the window. A core whose own clients keep it busy has nothing to give.
fn decide(percent: u8, own: u64, helped: u64, is_helping: bool) -> Step {
    match (percent >= HOT, is_helping) {
        (true, true) if own >= helped => Step::LetGo,
        (_, true) => Step::Review,
        (true, false) if own > 0 => Step::Offer,
        _ => Step::Stay,
    }
}

// === Board ===

/// How much each core wanted its CPU lately: written by that core alone, read by those that are hot or helping.
struct Board(Box<[CachePadded<AtomicU64>]>);

impl Board {
    fn new(cores: usize) -> Board {
        Board((0..cores).map(|_| CachePadded::default()).collect())
    }

    /// The percentage in the low octet, the time in milliseconds above.
    fn publish(&self, core: usize, percent: u8, now_ns: Nanos) {
        let word = (now_ns / MILLISECOND) << 8 | u64::from(percent);
        self.0[core].store(word, Ordering::Relaxed);
    }

    /// 0 for a core that has not said anything lately: it sleeps.
    fn percent(&self, core: usize, now_ns: Nanos) -> u8 {
        let word = self.0[core].load(Ordering::Relaxed);
        let age_ms = (now_ns / MILLISECOND).saturating_sub(word >> 8);
        if age_ms <= FRESH_MS { word as u8 } else { 0 }
    }
}

/// How long a core looks at itself before it decides: several times the turn of a full batch, and shorter than any client waits.
const WINDOW_NS: Nanos = 10 * MILLISECOND;
/// Turns between two looks at the clock. A turn of a core that is hot takes a hundred microseconds or more.
const TURNS_PER_LOOK: u32 = 8;
/// Percent of a window from which on a core asks for help.
const HOT: u8 = 85;
/// Percent of owner and helper together below which the owner needs none any more; far enough from `HOT` that help does not end by its
/// own success.
const COOL: u8 = 60;
/// Percent of waiting for the CPU from which on a hot core leaves its socket to helpers.
const STARVED: u8 = 25;
/// How long it stays back, and how long a packet waits at most should the helpers let go meanwhile.
const AWAY_NS: Nanos = 100 * MILLISECOND;
/// See [`AWAY_NS`].
const AWAY_LOOK_MS: i32 = 1;
/// Percent below which a core can help.
const IDLE: u8 = 50;
/// How long what a core said holds: it says something every eight turns, and a hot one may wait milliseconds for each of them.
const FRESH_MS: u64 = 250;
/// How long a core is left alone after an offer.
const OFFER_PAUSE_NS: Nanos = 100 * MILLISECOND;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::runtime::{self, PacketReceiver};
    use crate::transport::socket;
    use crate::tune::CoreSettings;

    const SECOND: Nanos = 1000 * MILLISECOND;

    #[test]
    fn decisions() {
        for (percent, own, helped, is_helping, step) in [
            (84, 9, 0, false, Step::Stay),
            (85, 9, 0, false, Step::Offer),
            (100, 0, 0, false, Step::Stay),
            (20, 1, 9, true, Step::Review),
            (100, 1, 9, true, Step::Review),
            (100, 9, 9, true, Step::LetGo),
            (84, 9, 1, true, Step::Review),
        ] {
            assert_eq!(decide(percent, own, helped, is_helping), step, "{percent}");
        }
    }

    #[test]
    fn a_core_that_says_nothing_is_idle() {
        let board = Board::new(2);
        board.publish(1, 99, SECOND);
        assert_eq!(board.percent(1, SECOND), 99);
        assert_eq!(board.percent(1, SECOND + FRESH_MS * MILLISECOND), 99);
        assert_eq!(board.percent(1, SECOND + (FRESH_MS + 1) * MILLISECOND), 0);
        assert_eq!(board.percent(0, SECOND), 0);
    }

    /// Core 0 of so many, a socket, its port, and the mailboxes of all.
    fn spread(
        cores: usize,
    ) -> (
        Spread,
        Vec<Rc<Listening>>,
        u16,
        Vec<PacketReceiver<Command>>,
    ) {
        let mailboxes = (0..cores).map(|_| runtime::packet_mailbox(4).unwrap());
        let (senders, receivers) = mailboxes.unzip();
        let mut spread = Spread::new(0, limits::BATCH, Links::new(senders));
        let group = socket::open_group(
            "127.0.0.1:0".parse().unwrap(),
            socket::Carries::Both,
            &[CoreSettings::default()],
        )
        .unwrap();
        let fd = group.udp.into_iter().next().unwrap();
        let sockets = vec![Rc::new(Listening {
            listener: 3,
            socket: Arc::new(Socket::new(fd, group.addr)),
        })];
        spread.restart(1, &Poller::new().unwrap());
        (spread, sockets, group.addr.port(), receivers)
    }

    fn offered(receiver: &mut PacketReceiver<Command>) -> Option<(u64, u16)> {
        match receiver.try_recv()? {
            Command::Help(offer) => Some((offer.generation, offer.row.listener)),
            _ => None,
        }
    }

    #[test]
    fn the_idlest_core_is_asked_and_then_left_alone() {
        let (mut spread, sockets, _, mut cores) = spread(4);
        let board = spread.links.board.clone();
        board.publish(1, 49, SECOND);
        board.publish(2, 10, SECOND);
        board.publish(3, 50, SECOND);
        let mut offer = |now_ns| {
            spread.own[0] = 1;
            spread.offer(Some(7), &sockets, now_ns);
            cores.iter_mut().map(offered).collect::<Vec<_>>()
        };
        let hello = Some((7, 3));
        assert_eq!(offer(SECOND), [None, None, hello, None]);
        assert_eq!(offer(SECOND), [None, hello, None, None]);
        assert_eq!(offer(SECOND), [None, None, None, None]);
        let later = offer(SECOND + OFFER_PAUSE_NS);
        assert_eq!(later, [None, None, hello, None]);
        // By now core 3 has been silent for too long to be busy.
        let silent = offer(SECOND + OFFER_PAUSE_NS + (FRESH_MS + 1) * MILLISECOND);
        assert_eq!(silent, [None, hello, None, None]);
    }

    #[test]
    fn a_core_without_cpu_leaves_its_socket_to_helpers_for_a_while() {
        let (mut spread, sockets, _, _cores) = spread(2);
        let poller = Poller::new().unwrap();
        let fd = sockets[0].socket.raw_fd();
        poller.share(fd, 7).unwrap();
        // Nobody was asked for help.
        spread.step_back(&sockets, SECOND, &poller);
        assert_eq!((spread.away(), spread.patience_ms()), (None, -1));
        spread.offered_ns[1] = SECOND;
        spread.step_back(&sockets, SECOND, &poller);
        assert_eq!((spread.away(), spread.patience_ms()), (Some(0), 1));
        spread.took_own(0, limits::BATCH);
        assert_eq!(spread.patience_ms(), 0);
        spread.took_own(0, limits::BATCH - 1);
        assert_eq!(spread.patience_ms(), 1);
        spread.come_back(&sockets, &poller).unwrap();
        assert_eq!((spread.away(), spread.patience_ms()), (None, -1));
        // It is in the poll set again: a second time is refused.
        assert!(poller.share(fd, 7).is_err());
    }

    #[test]
    fn a_helper_reads_until_the_owner_has_time() {
        let (mut spread, sockets, port, _cores) = spread(2);
        let mut poller = Poller::new().unwrap();
        let socket = &sockets[0].socket;
        let offer = |generation| Offer {
            owner: 1,
            generation,
            row: Listening {
                listener: 3,
                socket: socket.clone(),
            },
        };
        let fd = socket.raw_fd();
        // The configurations differ: the index of a listener would mean another one.
        spread.accept(offer(6), Some(7), &poller);
        spread.accept(offer(6), None, &poller);
        assert!(!spread.is_helping() && spread.helped(fd).is_none());
        spread.accept(offer(7), Some(7), &poller);
        spread.accept(offer(7), Some(7), &poller);
        assert_eq!(
            (spread.helping.len(), spread.helped(fd).unwrap().listener),
            (1, 3)
        );

        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"x", ("127.0.0.1", port)).unwrap();
        poller.wait(-1).unwrap();
        assert_eq!((poller.ready_len(), poller.ready(0)), (1, fd as u64));

        for (of_owner, for_others, stays) in
            [(COOL, 0, true), (1, COOL - 1, true), (COOL - 10, 9, false)]
        {
            spread.links.board.publish(1, of_owner, SECOND);
            spread.review(for_others, SECOND, &poller);
            assert_eq!(spread.is_helping(), stays, "{of_owner} {for_others}");
        }
        // It is out of the poll set, so that it can be put in again.
        poller.share(fd, 0).unwrap();
    }
}
