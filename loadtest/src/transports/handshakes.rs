//! TLS 1.3 handshakes for each second of the server's CPU, full and resumed.
//!
//! A handshake counts when both ends have ended the connection in good order: then the server has made all of it, and the client has
//! its tickets. No query is asked, so that nothing but TLS and the connection around it is measured.

use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::{ClientConfig, HandshakeKind};

use crate::child::Process;
use crate::figures::bars::{Bar, Limit};
use crate::figures::evaluate::Figure;
use crate::procfs::{self, Snapshot};
use crate::progress::Progress;
use crate::security::{ALPN_DOT, Certificate, Security};
use crate::servers::{self, Contender, PERCOREDNS, program_of};
use crate::stage::INTERRUPTED;
use crate::stats::Spread;
use crate::stream::{Stream, connect_from};
use crate::sys;

use super::{Listening, Scene, held};

/// A server and its handshakes for each second of its CPU, round by round.
struct Entry {
    name: String,
    process: Process,
    address: SocketAddr,
    full: Vec<Run>,
    resumed: Vec<Run>,
}

#[derive(Clone, Copy)]
struct Run {
    round: usize,
    per_cpu_s: f64,
    is_void: bool,
}

/// The bare loop and every server, full and resumed in turn; then percoredns and the loop with an RSA key.
pub fn run(scene: &mut Scene) -> Result<(), String> {
    let contenders = scene.contenders(Some("tls"));
    let entries = take(scene, &contenders, "")?;
    let figures = judge(&entries);
    scene.figures.extend(figures);
    let figure = match scene.with_certificate(Certificate::make_rsa, |scene| {
        let own: Vec<_> = contenders
            .into_iter()
            .filter(|c| c.is_percoredns())
            .collect();
        take(scene, &own, ", RSA")
    }) {
        Ok(entries) => judge_resumed(&entries, RESUMED_RSA),
        Err(e) if e == INTERRUPTED => return Err(e),
        Err(e) => Figure::missing(RESUMED_RSA, e),
    };
    scene.figures.push(figure);
    Ok(())
}

/// Measures the bare loop and these servers round by round; the notes say what each made.
fn take(scene: &mut Scene, contenders: &[Contender], with: &str) -> Result<Vec<Entry>, String> {
    let mut entries = vec![start_bare(scene)?];
    for contender in contenders {
        match scene.start_at(contender, Some("tls")) {
            Ok(Listening { server, address }) => {
                entries.push(Entry::new(server.name, server.process, address))
            }
            Err(e) if e == INTERRUPTED => return Err(e),
            Err(e) => {
                let name = &contender.name;
                let line = format!("{name} (handshakes{with}): left out: {e}");
                scene.table.fail(name, line);
            }
        }
    }
    let rounds = scene.options.base.rounds;
    let mut progress = Progress::new(rounds * entries.len() * 2);
    for round in 0..rounds {
        let mut order: Vec<&mut Entry> = entries.iter_mut().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for entry in order {
            for is_resumed in [false, true] {
                progress.show(&format!("handshakes{with} {}", entry.name));
                match measure(scene, entry, round, is_resumed) {
                    Ok(run) if is_resumed => entry.resumed.push(run),
                    Ok(run) => entry.full.push(run),
                    Err(e) if e == INTERRUPTED => return Err(e),
                    Err(e) => {
                        let line = format!("{} (handshakes{with}): {e}", entry.name);
                        scene.table.fail(&entry.name, line);
                    }
                }
            }
        }
    }
    progress.clear();
    for entry in &entries {
        let line = entry.line(with);
        scene.table.note(line);
    }
    Ok(entries)
}

/// This program's own bare loop, as a process.
fn start_bare(scene: &Scene) -> Result<Entry, String> {
    let told = |e: io::Error| format!("{BARE}: {e}");
    let address = servers::free_address().map_err(told)?;
    let own = std::env::current_exe().map_err(told)?;
    let mut command = Command::new(own);
    command
        .args(["bare", "--listen", &address.to_string(), "--cert"])
        .arg(&scene.certificate.cert)
        .arg("--key")
        .arg(&scene.certificate.key);
    let log = scene.stage.dir.path().join("bare.log");
    let process = Process::start(command, &[scene.options.base.server_cpu], &log).map_err(told)?;
    let began = Instant::now();
    let config = Arc::new(scene.security.client(ALPN_DOT, false)?);
    while let Err(e) = handshake(address, &config, &scene.security) {
        if began.elapsed() > PATIENCE || sys::stop_requested() {
            return Err(format!("{BARE}: {e}\n{}", process.last_words()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Entry::new(BARE.to_owned(), process, address))
}

/// One run, repeated while others use the machine.
fn measure(scene: &Scene, entry: &Entry, round: usize, is_resumed: bool) -> Result<Run, String> {
    let mut run = measure_once(scene, entry, round, is_resumed)?;
    for _ in 0..REPEATS {
        if !run.is_void {
            break;
        }
        run = measure_once(scene, entry, round, is_resumed)?;
    }
    Ok(run)
}

fn measure_once(
    scene: &Scene,
    entry: &Entry,
    round: usize,
    is_resumed: bool,
) -> Result<Run, String> {
    let pid = entry.process.pid();
    let before = Snapshot::take(pid);
    let made = hammer(
        entry.address,
        &scene.security,
        is_resumed,
        scene.options.base.seconds,
    )?;
    let usage = Snapshot::take(pid).since(&before, procfs::cpu_count(), 0);
    if sys::stop_requested() {
        return Err(INTERRUPTED.to_owned());
    }
    Ok(Run {
        round,
        per_cpu_s: made as f64 / (usage.server_ns.max(1) as f64 / 1e9),
        is_void: usage.foreign > scene.options.base.foreign,
    })
}

/// Makes handshakes on [`THREADS`] threads for so many seconds; how many there were.
fn hammer(
    server: SocketAddr,
    security: &Security,
    is_resumed: bool,
    seconds: f64,
) -> Result<u64, String> {
    let made = AtomicU64::new(0);
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| shake(server, security, is_resumed, end, &made)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a client panicked".to_owned())?)
    })?;
    Ok(made.into_inner())
}

/// One thread's handshakes: with tickets of its own, the first one aside, or always without.
fn shake(
    server: SocketAddr,
    security: &Security,
    is_resumed: bool,
    end: Instant,
    made: &AtomicU64,
) -> Result<(), String> {
    let config = Arc::new(security.client(ALPN_DOT, is_resumed)?);
    let told = |e: io::Error| format!("handshake: {e}");
    let mut failed = 0;
    if is_resumed {
        handshake(server, &config, security).map_err(told)?;
    }
    while Instant::now() < end && !sys::stop_requested() {
        match (handshake(server, &config, security), is_resumed) {
            (Ok(HandshakeKind::Resumed), true) | (Ok(HandshakeKind::Full), false) => {
                made.fetch_add(1, Ordering::Relaxed);
            }
            // A server may turn a ticket down now and then; none that it takes is an error.
            (Ok(kind), _) if failed > FAILED_MAX => {
                return Err(format!(
                    "handshakes are {kind:?}, resumed wanted: {is_resumed}"
                ));
            }
            (Err(e), _) if failed > FAILED_MAX => return Err(told(e)),
            _ => failed += 1,
        }
    }
    Ok(())
}

fn handshake(
    server: SocketAddr,
    config: &Arc<ClientConfig>,
    security: &Security,
) -> io::Result<HandshakeKind> {
    // Each waits for the last packets of the one before it, and there are thousands a second: no address has so many ports.
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let from = held::address(NEXT.fetch_add(1, Ordering::Relaxed) % ADDRESSED);
    let tcp = connect_from(from, server)?;
    let stream = Stream::tls(tcp, config, security)?;
    let kind = stream.handshake_kind();
    stream.close()?;
    kind.ok_or_else(|| io::Error::other("the handshake did not end"))
}

impl Entry {
    fn new(name: String, process: Process, address: SocketAddr) -> Entry {
        Entry {
            name,
            process,
            address,
            full: Vec::new(),
            resumed: Vec::new(),
        }
    }

    fn line(&self, with: &str) -> String {
        let show = |runs: &[Run]| {
            let spread = Spread::of(runs.iter().map(|run| run.per_cpu_s));
            let void = runs.iter().filter(|run| run.is_void).count();
            spread.map_or("none".to_owned(), |Spread { median, min, max }| {
                format!("{median:.0} ({min:.0}..{max:.0}, {void} void)")
            })
        };
        format!(
            "handshakes for each second of CPU{with}, {}: full {}, resumed {}",
            self.name,
            show(&self.full),
            show(&self.resumed)
        )
    }
}

// === Bars ===

fn judge(entries: &[Entry]) -> Vec<Figure> {
    let full = match pair(entries) {
        Ok((bare, own)) => Figure::taken(
            FULL,
            "for each second of CPU".to_owned(),
            ratios(&own.full, &bare.full),
        ),
        Err(reason) => Figure::missing(FULL, reason),
    };
    vec![full, judge_resumed(entries, RESUMED)]
}

fn judge_resumed(entries: &[Entry], bar: Bar) -> Figure {
    let (bare, own) = match pair(entries) {
        Ok(pair) => pair,
        Err(reason) => return Figure::missing(bar, reason),
    };
    let of_bare = ratios(&bare.resumed, &bare.full);
    let detail = Spread::of(of_bare).map_or(String::new(), |s| {
        format!("the bare loop's own: {:.2}x", s.median)
    });
    Figure::taken(bar, detail, ratios(&own.resumed, &own.full))
}

/// The bare loop and percoredns.
fn pair(entries: &[Entry]) -> Result<(&Entry, &Entry), String> {
    let bare = entries.iter().find(|e| e.name == BARE);
    let own = entries.iter().find(|e| program_of(&e.name) == PERCOREDNS);
    let missing = || format!("{PERCOREDNS} was not measured, see the notes");
    bare.zip(own).ok_or_else(missing)
}

/// Round by round, without void runs unless there are no others.
fn ratios(of: &[Run], to: &[Run]) -> Vec<f64> {
    let pairs = || {
        of.iter()
            .filter_map(|run| Some((run, to.iter().find(|other| other.round == run.round)?)))
    };
    let ratio = |(of, to): (&Run, &Run)| of.per_cpu_s / to.per_cpu_s;
    let valid: Vec<f64> = pairs()
        .filter(|(of, to)| !of.is_void && !to.is_void)
        .map(ratio)
        .collect();
    match valid.is_empty() {
        true => pairs().map(ratio).collect(),
        false => valid,
    }
}

const FULL: Bar = Bar {
    what: "full TLS 1.3 handshakes, against a bare loop of rustls",
    limit: Limit::AtLeast(0.9),
    unit: "x",
};
const RESUMED: Bar = Bar {
    what: "resumed handshakes, against full ones",
    limit: Limit::AtLeast(3.0),
    unit: "x",
};

const RESUMED_RSA: Bar = Bar {
    what: "resumed handshakes, against full ones with an RSA key of 2,048 bits",
    limit: Limit::AtLeast(3.0),
    unit: "x",
};

/// Enough that a server always has something to do.
const THREADS: usize = 8;
/// Handshakes until the first address has its turn again.
const ADDRESSED: usize = 10_000;
const FAILED_MAX: usize = 20;
const REPEATS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(10);
/// The name of the floor.
const BARE: &str = "bare loop";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn void_runs_count_only_when_there_are_no_others() {
        let run = |round, per_cpu_s, is_void| Run {
            round,
            per_cpu_s,
            is_void,
        };
        let of = [run(0, 90.0, false), run(1, 10.0, true), run(3, 80.0, false)];
        // The third round gave nothing for one, the fourth for the other.
        let to = [
            run(0, 100.0, false),
            run(1, 100.0, false),
            run(2, 1.0, false),
        ];
        assert_eq!(ratios(&of, &to), [0.9]);
        assert_eq!(ratios(&of[1..2], &to), [0.1]);
        assert_eq!(ratios(&[], &to), [0.0; 0]);
    }
}
