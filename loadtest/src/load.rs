//! The generator: an open loop that sends each query at its intended time, and a closed loop that keeps a window full.
//!
//! Runs on: one thread, best on a CPU of its own.
//! **Invariant**: every query sent is counted once, as answered or as lost.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::corpus::Corpus;
use crate::flight::Sent;
use crate::https::Http2;
use crate::pace::{Pace, Rate};
use crate::quic::QuicSources;
use crate::report::Report;
use crate::security::Security;
use crate::sys;
use crate::tcp::{Dialogue, Framed, TcpSources};
use crate::udp::UdpSources;

/// What queries travel on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram per query.
    Udp,
    /// Pipelined, length-prefixed messages.
    Tcp,
    /// The same over TLS 1.3 (RFC 7858).
    Tls,
    /// Streams of HTTP/2 (RFC 8484, by GET).
    Https,
    /// A QUIC stream per query (RFC 9250).
    Quic,
}

/// One run of the generator.
#[derive(Clone)]
pub struct Load<'a> {
    /// Who is asked.
    pub server: SocketAddr,
    /// On what.
    pub transport: Transport,
    /// How fast.
    pub rate: Rate,
    /// For how long queries are sent; at most another `timeout` passes waiting for replies.
    pub seconds: f64,
    /// Whose certificate is right; TLS, HTTPS and QUIC need it.
    pub security: Option<&'a Security>,
    /// Sockets (UDP) or connections (the others), at least 1.
    pub sources: usize,
    /// Queries in flight over all sources when the rate is [`Rate::Max`].
    pub window: usize,
    /// After this a query counts as lost.
    pub timeout: Duration,
    /// Look for replies without sleeping: the server under test then never pays for waking the generator.
    pub spin: bool,
    /// What is asked, in a circle.
    pub corpus: &'a Corpus,
    /// The question to begin with.
    pub first_question: usize,
    /// Share of questions for fresh names, in percent; more than 0 needs a corpus made with them.
    pub fresh_percent: u8,
    /// Sends at most this many queries.
    pub count_max: u64,
    /// UDP: hands queries of one socket to the kernel in one piece (UDP_SEGMENT), which it cuts up at delivery. Cheaper for the
    /// generator than any real client is, so only for offering more than a server can take.
    pub trains: bool,
    /// UDP: the latency is from the system call that sends to the arrival as the kernel notes it, and what the generator is late for is
    /// left out instead of sent in a burst: so that what it waits for its CPU itself is not in the latency. For figures where others share
    /// that CPU.
    pub stamps: bool,
    /// Ends the run early when it becomes true.
    pub until: Option<&'a AtomicBool>,
}

impl<'a> Load<'a> {
    /// A run with the defaults of the command line.
    pub fn new(server: SocketAddr, rate: Rate, seconds: f64, corpus: &'a Corpus) -> Load<'a> {
        Load {
            server,
            transport: Transport::Udp,
            security: None,
            rate,
            seconds,
            sources: SOURCES,
            window: WINDOW,
            timeout: TIMEOUT,
            spin: false,
            corpus,
            first_question: 0,
            fresh_percent: 0,
            count_max: u64::MAX,
            trains: false,
            stamps: false,
            until: None,
        }
    }

    /// Sends and counts. Fails when sockets cannot be opened or connected.
    pub fn run(&self) -> io::Result<Report> {
        sys::sharpen_timers();
        match self.transport {
            Transport::Udp => Run::new(
                self,
                UdpSources::open(
                    self.server,
                    self.sources,
                    self.corpus,
                    self.trains,
                    self.stamps,
                )?,
            )
            .run(),
            Transport::Tcp => self.run_streams::<Framed>(None),
            Transport::Tls => self.run_streams::<Framed>(Some(self.security()?)),
            Transport::Https => self.run_streams::<Http2>(Some(self.security()?)),
            Transport::Quic => {
                let (from, security) = (self.from(), self.security()?);
                let sources = QuicSources::open(self.server, &from, self.corpus, security)?;
                Run::new(self, sources).run()
            }
        }
    }

    fn run_streams<D: Dialogue>(&self, security: Option<&'a Security>) -> io::Result<Report> {
        let from = self.from();
        let sources = TcpSources::<D>::open(self.server, &from, self.corpus, security)?;
        Run::new(self, sources).run()
    }

    /// An address for each connection, which leaves the choice to the kernel.
    fn from(&self) -> Vec<IpAddr> {
        let any = match self.server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        vec![any; self.sources.max(1)]
    }

    fn security(&self) -> io::Result<&'a Security> {
        self.security
            .ok_or_else(|| io::Error::other("it is not known whose certificate is right"))
    }
}

/// A set of sockets that queries are spread over; what differs between UDP and TCP.
pub trait Sources {
    /// How many there are.
    fn count(&self) -> usize;
    /// Queries in flight on one source.
    fn open(&self, source: usize) -> usize;
    /// Whether what lies between two flushes may be of several sources; the number given to the flush is then of no account.
    fn mixes(&self) -> bool;
    /// Adds a query to what the next flush of this source sends. At most [`sys::BATCH`] between two flushes.
    fn push(&mut self, source: usize, sent: Sent, report: &mut Report);
    /// Sends what was pushed to this source.
    fn flush(&mut self, source: usize, report: &mut Report) -> io::Result<()>;
    /// Waits at most `timeout`, takes all replies that are there and lists the sources that had some in `active`.
    fn receive(
        &mut self,
        timeout: Duration,
        active: &mut Vec<usize>,
        report: &mut Report,
    ) -> io::Result<()>;
    /// Gives up queries that should have left before `before_ns`, and repairs broken sources.
    fn expire(&mut self, before_ns: u64, report: &mut Report) -> io::Result<()>;
}

struct Run<'a, S> {
    load: &'a Load<'a>,
    sources: S,
    report: Report,
    active: Vec<usize>,
    question: usize,
    // Percent of a fresh question that have added up; one is due at 100.
    fresh_due: u8,
    swept_ns: u64,
}

impl<'a, S: Sources> Run<'a, S> {
    fn new(load: &'a Load<'a>, sources: S) -> Run<'a, S> {
        let question = load.first_question % load.corpus.count();
        Run {
            load,
            sources,
            report: Report::new(load.rate),
            active: Vec::new(),
            question,
            fresh_due: 0,
            swept_ns: 0,
        }
    }

    fn run(mut self) -> io::Result<Report> {
        let start_ns = sys::now_ns() + START_DELAY_NS;
        let end_ns = match self.load.rate {
            Rate::Fixed(qps) => self.open_loop(Pace::new(start_ns, qps, self.load.seconds))?,
            Rate::Max => self.closed_loop(start_ns)?,
        };
        self.report.seconds = end_ns.saturating_sub(start_ns) as f64 / 1e9;
        self.drain(end_ns)?;
        Ok(self.report)
    }

    /// Returns when the next query would have been sent.
    fn open_loop(&mut self, pace: Pace) -> io::Result<u64> {
        let (mut n, mut source) = (0, 0);
        let total = pace.total().min(self.load.count_max);
        let (mixes, sources) = (self.sources.mixes(), self.sources.count());
        let end_ns = pace.intended_ns(total);
        while n < total && !self.stopped() {
            let now_ns = sys::now_ns();
            if self.load.trains && now_ns >= end_ns {
                // More was asked for than can be offered: the rest is not made up for.
                return Ok(now_ns);
            }
            let due = (pace.due(now_ns).min(total) - n).min(BURST);
            let due = match self.load.stamps {
                true => {
                    n += due.saturating_sub(1);
                    due.min(1)
                }
                false => due,
            };
            if due > 0 {
                for _ in 0..due {
                    // Where more is asked for than can be offered, the time that a query was meant for is soon longer ago than its
                    // timeout: it would be given up the moment it left.
                    let intended_ns = match self.load.trains || self.load.stamps {
                        true => now_ns,
                        false => pace.intended_ns(n),
                    };
                    self.push(source, intended_ns, now_ns);
                    n += 1;
                    if mixes {
                        source = (source + 1) % sources;
                    }
                }
                self.sources.flush(source, &mut self.report)?;
                // The next burst leaves from the next socket: at low rates every query changes the source.
                source = (source + 1) % sources;
            }
            let wait_ns = if due > 0 {
                0
            } else {
                pace.intended_ns(n).saturating_sub(sys::now_ns())
            };
            self.receive(wait_ns)?;
        }
        Ok(pace.intended_ns(n))
    }

    fn closed_loop(&mut self, start_ns: u64) -> io::Result<u64> {
        let share = self.load.window.div_ceil(self.sources.count()).max(1);
        let end_ns = start_ns + (self.load.seconds * 1e9) as u64;
        self.active = (0..self.sources.count()).collect();
        loop {
            let now_ns = sys::now_ns();
            if now_ns >= end_ns || self.stopped() || self.report.sent >= self.load.count_max {
                return Ok(now_ns);
            }
            self.refill(share, now_ns)?;
            let lost = self.report.lost;
            self.receive(WAIT_NS_MAX)?;
            if self.report.lost > lost {
                self.active = (0..self.sources.count()).collect();
            }
        }
    }

    /// Brings each active source to `share` queries in flight.
    fn refill(&mut self, share: usize, now_ns: u64) -> io::Result<()> {
        let active = std::mem::take(&mut self.active);
        let mixes = self.sources.mixes();
        let mut pushed = 0;
        for &source in &active {
            let left = self.load.count_max.saturating_sub(self.report.sent) as usize;
            let missing = share.saturating_sub(self.sources.open(source)).min(left);
            for i in 0..missing {
                self.push(source, now_ns, now_ns);
                pushed += 1;
                let is_last = i + 1 == missing && !mixes;
                if pushed == sys::BATCH || is_last {
                    self.sources.flush(source, &mut self.report)?;
                    pushed = 0;
                }
            }
        }
        if pushed > 0 {
            self.sources.flush(0, &mut self.report)?;
        }
        self.active = active;
        Ok(())
    }

    fn push(&mut self, source: usize, intended_ns: u64, now_ns: u64) {
        self.report
            .lag
            .saturating_record(now_ns.saturating_sub(intended_ns));
        self.report.sent += 1;
        let question = self.next_question();
        self.sources.push(
            source,
            Sent {
                question,
                intended_ns,
            },
            &mut self.report,
        );
    }

    fn next_question(&mut self) -> u32 {
        self.fresh_due += self.load.fresh_percent;
        if self.fresh_due >= 100 {
            self.fresh_due -= 100;
            if let Some(question) = self.load.corpus.fresh_question() {
                return question;
            }
        }
        let question = self.question as u32;
        self.question += 1;
        if self.question == self.load.corpus.count() {
            self.question = 0;
        }
        question
    }

    fn receive(&mut self, wait_ns: u64) -> io::Result<()> {
        let wait_ns = if self.load.spin {
            0
        } else {
            wait_ns.min(WAIT_NS_MAX)
        };
        self.sources.receive(
            Duration::from_nanos(wait_ns),
            &mut self.active,
            &mut self.report,
        )?;
        let now_ns = sys::now_ns();
        if now_ns - self.swept_ns > SWEEP_NS {
            self.swept_ns = now_ns;
            let before_ns = now_ns.saturating_sub(self.load.timeout.as_nanos() as u64);
            self.sources.expire(before_ns, &mut self.report)?;
        }
        Ok(())
    }

    /// Waits for what is still in flight, at most the timeout; the rest is lost.
    fn drain(&mut self, end_ns: u64) -> io::Result<()> {
        let deadline_ns = end_ns + self.load.timeout.as_nanos() as u64;
        let open = |sources: &S| (0..sources.count()).any(|i| sources.open(i) > 0);
        while open(&self.sources) && sys::now_ns() < deadline_ns && !sys::stop_requested() {
            self.receive(WAIT_NS_MAX)?;
        }
        self.sources.expire(u64::MAX, &mut self.report)
    }

    fn stopped(&self) -> bool {
        sys::stop_requested()
            || self
                .load
                .until
                .is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

impl FromStr for Transport {
    type Err = String;

    fn from_str(text: &str) -> Result<Transport, String> {
        match text {
            "udp" => Ok(Transport::Udp),
            "tcp" => Ok(Transport::Tcp),
            "tls" => Ok(Transport::Tls),
            "https" => Ok(Transport::Https),
            "quic" => Ok(Transport::Quic),
            _ => Err(format!(
                "the transports are udp, tcp, tls, https and quic, not \"{text}\""
            )),
        }
    }
}

/// Few enough that replies come in batches, enough that a reuseport group is spread over.
const SOURCES: usize = 8;
/// Above a server's batch, below what default socket buffers hold.
const WINDOW: usize = 192;
/// A resolver library asks again after 1 to 5 seconds; whatever comes later helps nobody.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Queries of one burst when the generator catches up.
const BURST: u64 = 32;
const START_DELAY_NS: u64 = 1_000_000;
const SWEEP_NS: u64 = 10_000_000;
const WAIT_NS_MAX: u64 = 10_000_000;
const _: () = assert!(BURST as usize <= sys::BATCH);
