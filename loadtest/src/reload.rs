//! Reloads under load: SIGUSR1 again and again while queries arrive at half of what the server can take; none may be lost.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::corpus::{self, Corpus, Kind};
use crate::json::Json;
use crate::load::{Load, Transport};
use crate::origin::Origin;
use crate::pace::Rate;
use crate::report::Report;
use crate::scenario::Scenario;
use crate::servers::PERCOREDNS;
use crate::stage::{EDNS_BYTES, Place, Running, Stage, ZONE};
use crate::stats::Spread;
use crate::sys;

/// What to do.
pub struct Options {
    /// The program.
    pub percoredns: PathBuf,
    /// How often it is told to reload.
    pub times: usize,
    /// At least this long from one reload to the next.
    pub interval: Duration,
    /// Queries a second; `None` means half of the peak, which is measured first.
    pub qps: Option<u64>,
    /// UDP or TCP.
    pub transport: Transport,
    /// Hosts in the zone, and as many in the cache.
    pub names: u32,
    /// The server's CPUs.
    pub server_cpus: Vec<usize>,
    /// The generator's CPU.
    pub client_cpu: usize,
}

/// What happened.
pub struct Outcome {
    /// Reloads that were reported complete in time.
    pub completed: usize,
    /// Reloads asked for.
    pub asked: usize,
    /// From signal to `Reloading complete`, in milliseconds.
    pub reload_ms: Option<Spread>,
    /// The load meanwhile.
    pub report: Report,
}

/// Starts percoredns with a zone and a warm cache, loads it and reloads it.
pub fn run(options: &Options) -> Result<Outcome, String> {
    sys::set_affinity(&[options.client_cpu])
        .map_err(|e| format!("CPU {}: {e}", options.client_cpu))?;
    let stage = Stage::new(Scenario::find("zone")?, options.names, Place::loopback())?;
    let behind_cache =
        Origin::start(options.names, CACHED_ZONE).map_err(|e| format!("origin: {e}"))?;
    let server = start(options, &stage, &behind_cache)?;
    let corpus = both_zones(options.names)?;
    let mut load = Load::new(
        server.address,
        Rate::Fixed(WARM_QPS),
        corpus.count() as f64 / WARM_QPS as f64,
        &corpus,
    );
    load.sources = SOURCES;
    let failed = |e| format!("{PERCOREDNS}: {e}");
    let warm = load.run().map_err(failed)?;
    if warm.rcodes[0] != warm.sent {
        return Err(format!(
            "warming up went wrong:\n{warm}\n{}",
            server.process.last_words()
        ));
    }
    // Warmed over UDP: forward asks upstream over the client's transport, and a connection for each miss is not what is measured.
    load.transport = options.transport;
    let qps = match options.qps {
        Some(qps) => qps,
        None => {
            let peak = Load {
                rate: Rate::Max,
                seconds: PEAK_SECONDS,
                ..load.clone()
            }
            .run()
            .map_err(failed)?;
            (peak.answers_per_s() / 2.0).max(1.0) as u64
        }
    };
    let done = AtomicBool::new(false);
    let load = Load {
        rate: Rate::Fixed(qps),
        seconds: LOAD_SECONDS_MAX,
        until: Some(&done),
        ..load
    };
    std::thread::scope(|scope| {
        let generator = scope.spawn(|| load.run());
        let times = reload_all(options, &server);
        done.store(true, Ordering::Relaxed);
        let report = generator
            .join()
            .map_err(|_| "the generator panicked".to_owned())?
            .map_err(failed)?;
        Ok(Outcome {
            completed: times.len(),
            asked: options.times,
            reload_ms: Spread::of(times),
            report,
        })
    })
}

fn start(options: &Options, stage: &Stage, behind_cache: &Origin) -> Result<Running, String> {
    let setup = stage.setup(options.server_cpus.len())?;
    let (port, upstream, capacity) = (
        setup.listen.port(),
        behind_cache.address(),
        options.names * 4,
    );
    let text = format!(
        "{ZONE}:{port} {{\n    bind 127.0.0.1\n    file {}\n}}\n.:{port} {{\n    bind 127.0.0.1\n    cache {{\n        success {capacity} 86400\n    }}\n    forward . {upstream}\n}}\n",
        setup.zone_file.display()
    );
    let corefile = stage.dir.path().join("Corefile");
    fs::write(&corefile, text).map_err(|e| format!("{}: {e}", corefile.display()))?;
    let mut command = Command::new(&options.percoredns);
    command
        .arg("-conf")
        .arg(&corefile)
        .current_dir(stage.dir.path());
    let log = stage.dir.path().join("percoredns.log");
    stage.launch(
        PERCOREDNS,
        command,
        setup.listen,
        &options.server_cpus,
        &log,
    )
}

/// Hosts of the served and of the forwarded zone in turn.
fn both_zones(names: u32) -> Result<Corpus, String> {
    let (served, cached) = (
        corpus::corpus_text(Kind::Hosts, names, ZONE),
        corpus::corpus_text(Kind::Hosts, names, CACHED_ZONE),
    );
    let text: String = served
        .lines()
        .zip(cached.lines())
        .map(|(a, b)| format!("{a}\n{b}\n"))
        .collect();
    Corpus::parse(&text, Some(EDNS_BYTES))
}

/// The time of each reload that completed, in milliseconds; gives up at the first that does not.
fn reload_all(options: &Options, server: &Running) -> Vec<f64> {
    let completed = || server.process.output().matches(COMPLETE).count();
    let mut times = Vec::new();
    std::thread::sleep(options.interval);
    for _ in 0..options.times {
        let (before, began) = (completed(), Instant::now());
        sys::signal(server.process.pid(), libc::SIGUSR1);
        while completed() == before {
            if began.elapsed() > RELOAD_PATIENCE || sys::stop_requested() {
                return times;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        std::thread::sleep(options.interval.saturating_sub(began.elapsed()));
    }
    times
}

impl Outcome {
    /// Replies with SERVFAIL.
    pub fn servfails(&self) -> u64 {
        self.report.rcodes[2]
    }

    /// Whether every reload completed without harm to any query.
    pub fn is_clean(&self) -> bool {
        self.completed == self.asked
            && self.report.lost == 0
            && self.servfails() == 0
            && self.report.wrong == 0
    }

    /// As a JSON object.
    pub fn json(&self) -> Json {
        Json::Object(vec![
            ("reloads_asked", Json::Int(self.asked as u64)),
            ("reloads_completed", Json::Int(self.completed as u64)),
            (
                "reload_ms",
                self.reload_ms.map_or(Json::Null, |spread| spread.json()),
            ),
            ("lost", Json::Int(self.report.lost)),
            ("servfail", Json::Int(self.servfails())),
            ("load", self.report.json()),
        ])
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reloads: {} of {} completed", self.completed, self.asked)?;
        if let Some(ms) = self.reload_ms {
            write!(
                f,
                ", signal to completion {:.1} ms ({:.1}..{:.1})",
                ms.median, ms.min, ms.max
            )?;
        }
        writeln!(
            f,
            "\nlost {}, SERVFAIL {}, wrong {}",
            self.report.lost,
            self.servfails(),
            self.report.wrong
        )?;
        write!(f, "{}", self.report)
    }
}

/// The line that CoreDNS, too, logs after a reload.
const COMPLETE: &str = "Reloading complete";
const CACHED_ZONE: &str = "example.net";
/// Enough that every socket of a reuseport group gets some.
const SOURCES: usize = 32;
const WARM_QPS: u64 = 10_000;
const PEAK_SECONDS: f64 = 2.0;
/// Ends the load even when the reloads hang.
const LOAD_SECONDS_MAX: f64 = 300.0;
const RELOAD_PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_alternates_between_zone_and_cache() {
        let corpus = both_zones(20).unwrap();
        assert_eq!(corpus.count(), 40);
        let holds = |i: u32, text: &[u8]| {
            corpus
                .query(i)
                .windows(text.len())
                .any(|window| window == text)
        };
        assert!(holds(0, b"\x03org") && holds(1, b"\x03net"));
    }

    #[test]
    fn any_loss_servfail_or_missing_reload_is_not_clean() {
        let outcome = |completed, lost, servfails| {
            let mut report = Report::new(Rate::Fixed(1));
            report.lost = lost;
            report.rcodes[2] = servfails;
            Outcome {
                completed,
                asked: 50,
                reload_ms: None,
                report,
            }
        };
        assert!(outcome(50, 0, 0).is_clean());
        for dirty in [outcome(49, 0, 0), outcome(50, 1, 0), outcome(50, 0, 1)] {
            assert!(!dirty.is_clean(), "{dirty}");
        }
    }
}
