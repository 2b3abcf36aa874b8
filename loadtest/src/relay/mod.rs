//! percoredns behind percoredns: mixed load through one that forwards to another, which is killed and comes back again and again.
//!
//! ```text
//!  askers --UDP, TCP--> front (forward or grpc) --DoT, DoH, DoH3, DoQ or gRPC--> upstream (a zone)   killed, started anew
//! ```
//!
//! Every answer is compared with what the zone says. While the upstream is down a question may fail, but never be answered wrong;
//! once it is back it must soon be answered right.

mod ask;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::figures::bars::{Bar, Limit};
use crate::figures::evaluate::Figure;
use crate::scenario::Scenario;
use crate::security::{Certificate, SERVER_NAME};
use crate::servers::{self, PERCOREDNS};
use crate::stage::{INTERRUPTED, Place, Running, Stage, ZONE};
use crate::sys;

use ask::{Asker, Tally};

/// What to do.
pub struct Options {
    /// The program.
    pub percoredns: PathBuf,
    /// Transports; `None` means all.
    pub only: Option<Vec<String>>,
    /// For how long each is loaded.
    pub seconds: f64,
    /// From one kill to the next.
    pub every_s: f64,
    /// How long the upstream stays away.
    pub down_s: f64,
    /// Questions a second.
    pub qps: u64,
    /// Hosts in the zone.
    pub names: u32,
    /// The servers' CPU.
    pub server_cpu: usize,
    /// The askers' CPU.
    pub client_cpu: usize,
}

/// Two figures for each transport: wrong answers, and the longest recovery.
pub fn run(options: &Options) -> Result<Vec<Figure>, String> {
    let is_wanted = |name: &str| {
        let only = options.only.as_ref();
        only.is_none_or(|names| names.iter().any(|n| n == name))
    };
    let links: Vec<&Link> = LINKS.iter().filter(|link| is_wanted(link.name)).collect();
    if links.is_empty() {
        let known: Vec<&str> = LINKS.iter().map(|link| link.name).collect();
        return Err(format!("--only: there are {}", known.join(", ")));
    }
    let cpu = options.client_cpu;
    sys::set_affinity(&[cpu]).map_err(|e| format!("CPU {cpu}: {e}"))?;
    let stage = Stage::new(Scenario::find("zone")?, options.names, Place::loopback())?;
    let certificate = Certificate::make(stage.dir.path())?;
    let mut figures = Vec::new();
    for link in links {
        let pair = Pair {
            options,
            stage: &stage,
            certificate: &certificate,
            link,
        };
        match pair.run() {
            Ok(outcome) => figures.extend(outcome.figures(link)),
            Err(e) if e == INTERRUPTED => return Err(e),
            Err(e) => figures.push(Figure::missing(link.wrong, e)),
        }
        if sys::stop_requested() {
            return Err(INTERRUPTED.to_owned());
        }
    }
    Ok(figures)
}

/// One transport between the two.
struct Link {
    name: &'static str,
    scheme: &'static str,
    wrong: Bar,
    recovery: Bar,
}

/// The two of them.
struct Pair<'a> {
    options: &'a Options,
    stage: &'a Stage,
    certificate: &'a Certificate,
    link: &'a Link,
}

/// What came of one transport.
struct Outcome {
    tally: Tally,
    /// From an upstream that answers again to the last question that failed all the same, in seconds, for each restart.
    recoveries_s: Vec<f64>,
}

impl Pair<'_> {
    fn run(&self) -> Result<Outcome, String> {
        let free = || servers::free_address().map_err(|e| e.to_string());
        let (plain, secure, listen) = (free()?, free()?, free()?);
        let upstream = self.start_upstream(plain, secure)?;
        let front = self.start_front(listen, secure)?;
        let asker = Asker::new(listen, self.options.names);
        let stop = AtomicBool::new(false);
        let each = (self.options.qps / (UDP_THREADS + TCP_THREADS)).max(1);
        let outcome = std::thread::scope(|scope| {
            for n in 0..UDP_THREADS + TCP_THREADS {
                let (asker, stop) = (&asker, &stop);
                scope.spawn(move || asker.run(n, n < TCP_THREADS, each, stop));
            }
            let recoveries = self.kill_again_and_again(upstream, (plain, secure), &asker);
            stop.store(true, Ordering::Relaxed);
            recoveries
        });
        let recoveries_s = outcome?;
        let tally = asker.tally();
        if tally.right == 0 {
            let said = front.process.last_words();
            return Err(format!("not one question was answered right\n{said}"));
        }
        Ok(Outcome {
            tally,
            recoveries_s,
        })
    }

    fn kill_again_and_again(
        &self,
        mut upstream: Running,
        (plain, secure): (SocketAddr, SocketAddr),
        asker: &Asker,
    ) -> Result<Vec<f64>, String> {
        let wait = |seconds: f64| {
            let end_ns = sys::now_ns() + (seconds * 1e9) as u64;
            while sys::now_ns() < end_ns && !sys::stop_requested() {
                std::thread::sleep(PAUSE);
            }
        };
        let mut recoveries_s = Vec::new();
        let end_ns = sys::now_ns() + (self.options.seconds * 1e9) as u64;
        wait(self.options.every_s);
        while sys::now_ns() < end_ns && !sys::stop_requested() {
            // As hard as it gets: no connection is ended in good order.
            sys::signal(upstream.process.pid(), libc::SIGKILL);
            drop(upstream);
            wait(self.options.down_s);
            upstream = self.start_upstream(plain, secure)?;
            let ready_ns = sys::now_ns();
            wait(self.options.every_s);
            let failed_ns = asker.last_failed_ns();
            recoveries_s.push(failed_ns.saturating_sub(ready_ns) as f64 / 1e9);
        }
        Ok(recoveries_s)
    }

    fn start_upstream(&self, plain: SocketAddr, secure: SocketAddr) -> Result<Running, String> {
        let (scheme, zone_file) = (self.link.scheme, self.stage.setup(1)?.zone_file.to_owned());
        let text = format!(
            "{ZONE}:{} {scheme}://{ZONE}:{} {{\n    bind 127.0.0.1\n    tls {} {}\n    file {}\n}}\n",
            plain.port(),
            secure.port(),
            self.certificate.cert.display(),
            self.certificate.key.display(),
            zone_file.display()
        );
        self.start("upstream", &text, plain)
    }

    fn start_front(&self, listen: SocketAddr, upstream: SocketAddr) -> Result<Running, String> {
        let text = front_corefile(self.link, listen, upstream, &self.certificate.cert);
        self.start("front", &text, listen)
    }

    fn start(&self, role: &str, corefile: &str, listen: SocketAddr) -> Result<Running, String> {
        let file = |ending: &str| {
            let name = format!("{}.{role}.{ending}", self.link.name);
            self.stage.dir.path().join(name)
        };
        let path = file("Corefile");
        fs::write(&path, corefile).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut command = Command::new(&self.options.percoredns);
        command
            .arg("-conf")
            .arg(&path)
            .current_dir(self.stage.dir.path());
        let cpus = [self.options.server_cpu];
        let name = format!("{PERCOREDNS}, {role}");
        self.stage
            .launch(&name, command, listen, &cpus, &file("log"))
    }
}

fn front_corefile(link: &Link, listen: SocketAddr, upstream: SocketAddr, ca: &Path) -> String {
    let to = match link.scheme {
        "grpc" => format!("grpc . {upstream}"),
        scheme => format!("forward . {scheme}://{upstream}"),
    };
    format!(
        ".:{} {{\n    bind 127.0.0.1\n    {to} {{\n        tls {}\n        tls_servername {SERVER_NAME}\n    }}\n}}\n",
        listen.port(),
        ca.display()
    )
}

impl Outcome {
    fn figures(self, link: &Link) -> [Figure; 2] {
        let Tally {
            right,
            failed,
            wrong,
            ref example,
        } = self.tally;
        let detail = match example {
            None => format!("{right} right, {failed} failed"),
            Some(example) => format!("{right} right, {failed} failed; {example}"),
        };
        let worst = self.recoveries_s.iter().copied().fold(f64::NAN, f64::max);
        let restarts = format!("{} restarts", self.recoveries_s.len());
        [
            Figure::taken(link.wrong, detail, [wrong as f64]),
            Figure::taken(link.recovery, restarts, [worst]),
        ]
    }
}

const fn link(
    name: &'static str,
    scheme: &'static str,
    wrong: &'static str,
    recovery: &'static str,
) -> Link {
    Link {
        name,
        scheme,
        wrong: Bar {
            what: wrong,
            limit: Limit::AtMost(0.0),
            unit: "",
        },
        recovery: Bar {
            what: recovery,
            limit: Limit::AtMost(2.0),
            unit: " s",
        },
    }
}

/// By the names that `--only` takes.
static LINKS: &[Link] = &[
    link(
        "dot",
        "tls",
        "upstream over DoT: wrong answers",
        "upstream over DoT: longest recovery",
    ),
    link(
        "doh",
        "https",
        "upstream over DoH: wrong answers",
        "upstream over DoH: longest recovery",
    ),
    link(
        "doh3",
        "https3",
        "upstream over DoH3: wrong answers",
        "upstream over DoH3: longest recovery",
    ),
    link(
        "doq",
        "quic",
        "upstream over DoQ: wrong answers",
        "upstream over DoQ: longest recovery",
    ),
    link(
        "grpc",
        "grpc",
        "upstream over gRPC: wrong answers",
        "upstream over gRPC: longest recovery",
    ),
];

const UDP_THREADS: u64 = 6;
const TCP_THREADS: u64 = 2;
const PAUSE: Duration = Duration::from_millis(10);
