//! Managers against the scripted authority: they run on the test's own thread, whose log is read, by a clock that the test turns.

mod answers;
mod failures;
mod hand;
mod issuing;
mod stored;

use std::future::Future;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::time::Time;
use super::{Issued, Manager, Settings};
use crate::control::Control;
use crate::telemetry::log::capture;
use crate::telemetry::registry;
use crate::testing::Host;
use crate::testing::acme::Ca;
use crate::testing::files::Dir;
use crate::tune::AcmeChallenge;

pub(super) use hand::Hand;

/// An authority, a directory and a clock.
struct Bench {
    ca: Ca,
    dir: Dir,
    hand: Hand,
    control: Control,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(Ca::new())
    }

    fn with(ca: Ca) -> Bench {
        let hand = Hand::new();
        let clock = hand.clone();
        ca.script(|script| script.clock = Arc::new(move || clock.now_s()));
        Bench {
            ca,
            dir: Dir::new(),
            hand,
            control: Control::start().unwrap(),
        }
    }

    fn settings(&self, domains: &[&str], challenge: AcmeChallenge) -> Settings {
        let domains = domains.iter().map(|domain| (*domain).to_owned()).collect();
        let settings = Settings {
            ca: self.ca.url(),
            ca_root: Some(self.ca.ca_file().into()),
            storage: self.dir.path().join("acme"),
            ..Settings::new(domains, challenge)
        };
        settings.check().unwrap()
    }

    fn run(&self, settings: Settings) -> Run {
        let (sender, installed) = mpsc::channel();
        let mut manager = None;
        let lines = capture::lines(|| {
            let install = move |issued| sender.send(issued).unwrap();
            let time = Time::Turned(self.hand.clone());
            manager = Some(Manager::with(settings, install, time));
        });
        let manager = manager.unwrap();
        Run {
            future: Box::pin(manager.keep_current(&self.control)),
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            hand: self.hand.clone(),
            manager,
            installed,
            lines,
        }
    }

    /// A manager whose DNS challenges are answered.
    fn run_dns(&self, domains: &[&str]) -> (Run, NameServer) {
        let server = NameServer::start(". {\n whoami\n}\n");
        self.ca.script(|script| script.dns = server.addr);
        (
            self.run(self.settings(domains, AcmeChallenge::Dns01)),
            server,
        )
    }
}

/// A manager at work.
struct Run {
    future: Pin<Box<dyn Future<Output = ()>>>,
    runtime: Runtime,
    hand: Hand,
    manager: Manager,
    installed: mpsc::Receiver<Issued>,
    /// What it has logged.
    lines: Vec<String>,
}

impl Run {
    /// Lets it run until it sleeps for long; how many seconds from now.
    fn until_asleep(&mut self) -> u64 {
        let (future, runtime, hand) = (&mut self.future, &self.runtime, &self.hand);
        let mut asleep_s = 0;
        let lines = capture::lines(|| {
            asleep_s = runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = future => panic!("it came to an end"),
                    asleep_s = hand.asleep() => asleep_s,
                    () = tokio::time::sleep(Duration::from_secs(30)) => panic!("it hangs"),
                }
            });
        });
        self.lines.extend(lines);
        asleep_s
    }

    /// Wakes it up and lets it run until it sleeps again.
    fn turn(&mut self) -> u64 {
        self.hand.ring();
        self.until_asleep()
    }

    /// The one certificate that was installed since the last look.
    #[track_caller]
    fn installed(&self) -> Issued {
        let issued = self.installed.try_recv();
        let issued = issued.unwrap_or_else(|_| panic!("no certificate: {:#?}", self.lines));
        assert!(self.installed.try_recv().is_err(), "only one");
        issued
    }

    #[track_caller]
    fn nothing_is_installed(&self) {
        assert!(self.installed.try_recv().is_err());
    }

    fn metric(&self, name: &str) -> f64 {
        let certificate = super::storage::Storage::name(self.manager.settings());
        let labels = [("certificate", certificate.as_str())];
        registry().value(name, &labels).unwrap_or_default()
    }

    /// Exactly one line that was logged since the last look holds the text.
    #[track_caller]
    fn logged(&mut self, text: &str) {
        let lines = std::mem::take(&mut self.lines);
        let count = lines.iter().filter(|line| line.contains(text)).count();
        assert_eq!(count, 1, "{text:?} in {lines:#?}");
    }
}

/// A name server on a thread of its own.
struct NameServer {
    addr: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// One with a Corefile.
    fn start(corefile: &'static str) -> NameServer {
        NameServer::with(move || {
            let host = Host::new(corefile).unwrap();
            move |query: &[u8]| host.reply(query)
        })
    }

    /// One that knows no name.
    fn blind() -> NameServer {
        NameServer::with(|| {
            |query: &[u8]| {
                let mut reply = query.to_vec();
                (reply[2], reply[3]) = (reply[2] | 0x80, 3);
                Some(reply)
            }
        })
    }

    /// One that never answers.
    fn mute() -> NameServer {
        NameServer::with(|| |_: &[u8]| None)
    }

    fn with<F>(make: impl FnOnce() -> F + Send + 'static) -> NameServer
    where
        F: FnMut(&[u8]) -> Option<Vec<u8>>,
    {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            let mut answer = make();
            let mut octets = [0; 512];
            loop {
                let (len, peer) = socket.recv_from(&mut octets).unwrap();
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                if let Some(reply) = answer(&octets[..len]) {
                    socket.send_to(&reply, peer).unwrap();
                }
            }
        });
        NameServer {
            addr,
            is_over,
            thread: Some(thread),
        }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let waker = UdpSocket::bind("127.0.0.1:0").unwrap();
        waker.send_to(&[0], self.addr).unwrap();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

/// An address of the loopback at which nobody listens.
fn nowhere() -> SocketAddr {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    held.local_addr().unwrap()
}

const DAY_S: u64 = 24 * 3_600;
const EXPIRY: &str = "percoredns_acme_certificate_expiry_timestamp_seconds";
const ATTEMPTS: &str = "percoredns_acme_attempts_total";
const FAILURES: &str = "percoredns_acme_failures_total";
