//! Questions whose right answers are known, asked at a rate, each answer compared.
//!
//! Runs on: several threads at once.

use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::corpus::{host_address, host_name};
use crate::message::{self, Answer};
use crate::pace::Pace;
use crate::stage::{EDNS_BYTES, ZONE};
use crate::stream::Stream;
use crate::sys;

/// What is asked and what came of it.
pub struct Asker {
    server: SocketAddr,
    names: u32,
    right: AtomicU64,
    failed: AtomicU64,
    wrong: AtomicU64,
    last_failed_ns: AtomicU64,
    example: Mutex<Option<String>>,
}

/// Answers by what they were.
pub struct Tally {
    /// As the zone says.
    pub right: u64,
    /// SERVFAIL, or none.
    pub failed: u64,
    /// Anything else.
    pub wrong: u64,
    /// The first wrong one.
    pub example: Option<String>,
}

/// A question and what the zone says to it.
struct Question {
    name: String,
    qtype: u16,
    rcode: u8,
    // Data of its only record; `None` for no record at all.
    data: Option<Vec<u8>>,
}

/// What one connection or socket to the server is.
enum Line {
    Udp(UdpSocket),
    Tcp(Stream),
}

impl Asker {
    /// Asks this server about hosts of the zone with so many of them.
    pub fn new(server: SocketAddr, names: u32) -> Asker {
        Asker {
            server,
            names: names.max(1),
            right: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            wrong: AtomicU64::new(0),
            last_failed_ns: AtomicU64::new(0),
            example: Mutex::new(None),
        }
    }

    /// One thread's questions, `qps` a second unless answers take longer, until `stop`.
    pub fn run(&self, thread: u64, over_tcp: bool, qps: u64, stop: &AtomicBool) {
        let pace = Pace::new(sys::now_ns(), qps, FOREVER_S);
        let mut line = None;
        let mut n = 0;
        while !stop.load(Ordering::Relaxed) && !sys::stop_requested() {
            let wait_ns = pace.intended_ns(n).saturating_sub(sys::now_ns());
            std::thread::sleep(Duration::from_nanos(wait_ns));
            // Threads ask for other names, and each for all of them in turn.
            let question = self.question(n.wrapping_mul(THREAD_STEP) + thread);
            let sent_ns = sys::now_ns();
            match self.ask(&mut line, over_tcp, n as u16, &question) {
                Ok(answer) => self.judge(&question, &answer, sent_ns),
                Err(_) => {
                    line = None;
                    self.fail(sent_ns);
                }
            }
            // Time that was lost to a silent server is not made up for.
            n = (n + 1).max(pace.due(sys::now_ns()).saturating_sub(1));
        }
    }

    /// What was counted so far.
    pub fn tally(&self) -> Tally {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let example = self.example.lock().unwrap_or_else(|e| e.into_inner());
        Tally {
            right: get(&self.right),
            failed: get(&self.failed),
            wrong: get(&self.wrong),
            example: example.clone(),
        }
    }

    /// When the latest of the questions that failed was asked.
    pub fn last_failed_ns(&self) -> u64 {
        self.last_failed_ns.load(Ordering::Relaxed)
    }

    fn ask(
        &self,
        line: &mut Option<Line>,
        over_tcp: bool,
        id: u16,
        question: &Question,
    ) -> io::Result<Answer> {
        let mut query = message::query(&question.name, question.qtype, Some(EDNS_BYTES))
            .map_err(io::Error::other)?;
        query[..2].copy_from_slice(&id.to_be_bytes());
        let line = match line {
            Some(line) => line,
            None => line.insert(self.open(over_tcp)?),
        };
        let reply = match line {
            Line::Tcp(stream) => stream.ask(&query)?,
            Line::Udp(socket) => {
                socket.send(&query)?;
                let mut buffer = vec![0; 4096];
                let len = socket.recv(&mut buffer)?;
                buffer.truncate(len);
                buffer
            }
        };
        let fits = reply.get(..2) == Some(&query[..2])
            && message::question(&reply) == message::question(&query);
        message::read_answer(&reply)
            .filter(|_| fits)
            .ok_or_else(|| io::Error::other("a reply to another question"))
    }

    fn open(&self, over_tcp: bool) -> io::Result<Line> {
        if over_tcp {
            let tcp = TcpStream::connect_timeout(&self.server, PATIENCE)?;
            tcp.set_nodelay(true)?;
            tcp.set_read_timeout(Some(PATIENCE))?;
            return Ok(Line::Tcp(Stream::plain(tcp)));
        }
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(self.server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Line::Udp(socket))
    }

    fn judge(&self, question: &Question, answer: &Answer, sent_ns: u64) {
        if answer.rcode == SERVFAIL {
            return self.fail(sent_ns);
        }
        let data = answer.records.iter().map(|record| &record.3);
        if answer.rcode == question.rcode && data.eq(question.data.as_ref()) {
            self.right.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.wrong.fetch_add(1, Ordering::Relaxed);
        let mut example = self.example.lock().unwrap_or_else(|e| e.into_inner());
        example.get_or_insert_with(|| {
            let (name, qtype) = (&question.name, question.qtype);
            let (rcode, records) = (answer.rcode, answer.records.len());
            format!("{name} TYPE{qtype} got rcode {rcode} with {records} records")
        });
    }

    fn fail(&self, sent_ns: u64) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.last_failed_ns.fetch_max(sent_ns, Ordering::Relaxed);
    }

    /// Question number `n` of a mix: mostly addresses of hosts, then types that they have not, names that do not exist, and TXT.
    fn question(&self, n: u64) -> Question {
        let host = (n % u64::from(self.names)) as u32;
        let name = host_name(host, ZONE);
        let (name, qtype, rcode, data) = match n % 10 {
            0..6 => (name, A, NOERROR, Some(host_address(host).octets().to_vec())),
            6 | 7 => (name, AAAA, NOERROR, None),
            8 => (format!("x{n}.{ZONE}"), A, NXDOMAIN, None),
            _ => (ZONE.to_owned(), TXT, NOERROR, Some(APEX_TXT.to_vec())),
        };
        Question {
            name,
            qtype,
            rcode,
            data,
        }
    }
}

const A: u16 = 1;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const NOERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
/// As the generated zone has it, with its length in front.
const APEX_TXT: &[u8] = b"\x14a zone for measuring";
/// Longer than any server takes to give up: what has no answer by then is lost.
const PATIENCE: Duration = Duration::from_secs(6);
const FOREVER_S: f64 = 1e6;
/// Odd, so that a thread comes by every name and every kind of question.
const THREAD_STEP: u64 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;

    #[test]
    fn answers_are_right_failed_or_wrong() {
        let asker = Asker::new("127.0.0.1:1".parse().unwrap(), 100);
        let answer = |question: &Question| Answer {
            rcode: question.rcode,
            truncated: false,
            records: question
                .data
                .iter()
                .map(|d| (Vec::new(), 1, 1, d.clone()))
                .collect(),
        };
        for n in 0..20 {
            let question = asker.question(n);
            asker.judge(&question, &answer(&question), n);
        }
        assert_eq!((asker.tally().right, asker.last_failed_ns()), (20, 0));
        let (host, other) = (asker.question(0), asker.question(1));
        asker.judge(&host, &answer(&other), 5);
        asker.judge(&asker.question(6), &answer(&other), 6);
        asker.judge(&host, &answer(&asker.question(8)), 7);
        let servfail = Answer {
            rcode: SERVFAIL,
            ..answer(&asker.question(6))
        };
        asker.judge(&host, &servfail, 9);
        let tally = asker.tally();
        assert_eq!((tally.right, tally.wrong, tally.failed), (20, 3, 1));
        assert_eq!(asker.last_failed_ns(), 9);
        assert!(
            tally
                .example
                .unwrap()
                .contains("got rcode 0 with 1 records")
        );
    }

    #[test]
    fn a_server_is_asked_over_udp_and_tcp_and_its_faults_are_seen() {
        // The origin has no TXT at the apex, and that is all that it has otherwise.
        let origin = Origin::start(100, ZONE).unwrap();
        let asker = Asker::new(origin.address(), 100);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for over_tcp in [false, true] {
                let (asker, stop) = (&asker, &stop);
                scope.spawn(move || asker.run(u64::from(over_tcp), over_tcp, 2_000, stop));
            }
            while asker.tally().right < 100 || asker.tally().wrong == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
            stop.store(true, Ordering::Relaxed);
        });
        let tally = asker.tally();
        assert_eq!(tally.failed, 0);
        let example = tally.example.unwrap();
        assert!(example.starts_with("example.org TYPE16"), "{example}");
    }
}
