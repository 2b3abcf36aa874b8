//! UDP beside a crowd: 20,000 connections that say nothing, readers that read nothing, writers of one octet a second.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::figures::bars::{Bar, Limit};
use crate::figures::evaluate::Figure;
use crate::load::Load;
use crate::pace::Rate;
use crate::procfs;
use crate::progress::Progress;
use crate::servers::{PERCOREDNS, Secure};
use crate::stage::{INTERRUPTED, Running};
use crate::stats::Spread;
use crate::sys;

use super::Scene;
use super::held::{self, Kind};
use super::hold::{Holder, Order};
use super::memory;
use super::slow::Slow;

/// UDP alone, beside the crowd, and alone again.
pub fn run(scene: &mut Scene) -> Result<(), String> {
    match measure(scene) {
        Ok(figures) => scene.figures.extend(figures),
        Err(e) if e == INTERRUPTED => return Err(e),
        Err(e) => {
            let missing = [TAIL, LOST, MEMORY].map(|bar| Figure::missing(bar, e.clone()));
            scene.figures.extend(missing);
        }
    }
    Ok(())
}

fn measure(scene: &mut Scene) -> Result<Vec<Figure>, String> {
    let own = scene.percoredns("[global]\ntcp_connections_max = 32768\n")?;
    let crowd = scene.options.crowd;
    let schemes =
        KINDS.map(|(kind, share)| (kind.scheme(), held::listeners(kind, part(crowd, share))));
    let (server, secure) = scene.start(&own, &schemes, true)?;
    let rss = || procfs::tree_rss_bytes(server.process.pid()).0;
    let mut alone = udp(scene, &server)?;
    let before = rss();
    let (holders, mut notes) = gather(scene, &secure)?;
    let slow = Slow {
        tcp: server.address,
        tls: secure.address("tls").ok_or("no listener for TLS")?,
        each: SLOW,
        corpus: &scene.stage.corpus,
        security: &scene.security,
        first: scene.options.crowd,
    };
    let (stop, began) = (AtomicBool::new(false), AtomicBool::new(false));
    let (beside, highest, again) = std::thread::scope(|scope| {
        let thread = scope.spawn(|| slow.run(&stop, &began));
        let waited = Instant::now();
        while !began.load(Ordering::Relaxed) && waited.elapsed() < PATIENCE {
            std::thread::sleep(PAUSE);
        }
        // Their first queries are answered into buffers meanwhile.
        std::thread::sleep(SETTLE);
        let beside = udp(scene, &server);
        let highest = rss();
        stop.store(true, Ordering::Relaxed);
        let again = thread.join();
        let again = again.map_err(|_| "the slow clients panicked".to_owned())??;
        Ok::<_, String>((beside?, highest, again))
    })?;
    let held: usize = holders.iter().map(|holder| holder.held).sum();
    let alive = holders
        .into_iter()
        .map(Holder::end)
        .sum::<Result<usize, String>>()?;
    notes.push(format!(
        "crowd: {alive} of {held} connections were still there at the end; slow clients came anew {again} times"
    ));
    std::thread::sleep(SETTLE);
    alone.extend(udp(scene, &server)?);
    notes.into_iter().for_each(|line| scene.table.note(line));
    Ok(judge(held, &alone, &beside, before, highest))
}

/// The connections that say nothing, by their shares, and what to say about them.
fn gather(scene: &Scene, secure: &Secure) -> Result<(Vec<Holder>, Vec<String>), String> {
    let (mut holders, mut notes) = (Vec::new(), Vec::new());
    let mut progress = Progress::new(KINDS.len());
    let mut first = 0;
    for (kind, share) in KINDS {
        let count = part(scene.options.crowd, share);
        progress.show(&format!("{count} {} connections", kind.name()));
        let order = Order {
            kind,
            servers: secure.addresses(kind.scheme()),
            ca: scene.certificate.cert.clone(),
            first,
            count,
        };
        let holder = order.start(scene.options.base.client_cpu, scene.stage.dir.path())?;
        // The figures are then taken with fewer, and the note says why.
        let reason = holder.reason.as_ref();
        notes.extend(reason.map(|reason| format!("crowd, {}: {reason}", kind.name())));
        holders.push(holder);
        first += count;
    }
    progress.clear();
    Ok((holders, notes))
}

fn part(crowd: usize, share: f64) -> usize {
    (crowd as f64 * share) as usize
}

/// One run of UDP.
#[derive(Clone, Copy)]
struct Udp {
    p99_us: f64,
    lost: u64,
}

fn udp(scene: &Scene, server: &Running) -> Result<Vec<Udp>, String> {
    let mut runs = Vec::new();
    for _ in 0..scene.options.base.rounds {
        let mut load = Load::new(
            server.address,
            Rate::Fixed(UDP_QPS),
            scene.options.crowd_s,
            &scene.stage.corpus,
        );
        // The clients of the crowd share this CPU, and what they take of it is no delay of the server's.
        load.stamps = true;
        let report = load.run().map_err(|e| format!("{PERCOREDNS}: {e}"))?;
        if sys::stop_requested() {
            return Err(INTERRUPTED.to_owned());
        }
        runs.push(Udp {
            p99_us: report.latency_us(99.0),
            lost: report.lost,
        });
    }
    Ok(runs)
}

// === Bars ===

fn judge(held: usize, alone: &[Udp], beside: &[Udp], before: u64, highest: u64) -> Vec<Figure> {
    let p99 = |runs: &[Udp]| {
        Spread::of(runs.iter().map(|run| run.p99_us)).unwrap_or(Spread {
            median: f64::NAN,
            min: f64::NAN,
            max: f64::NAN,
        })
    };
    let (quiet, crowded) = (p99(alone), p99(beside));
    let show = |s: Spread| format!("{:.0} us ({:.0}..{:.0})", s.median, s.min, s.max);
    let lost = |runs: &[Udp]| runs.iter().map(|run| run.lost).sum::<u64>();
    // What each kind may take, and for slow clients what the server may hold unsent for each.
    let idle_kib: f64 = KINDS
        .iter()
        .zip(&memory::BARS)
        .map(|((_, share), (_, bar))| held as f64 * share * bar.limit.value())
        .sum();
    let bound_kib = idle_kib + (4 * SLOW) as f64 * SLOW_KIB;
    let grown_kib = highest.saturating_sub(before) as f64 / 1024.0;
    let mib = |kib: f64| kib / 1024.0;
    let detail = format!(
        "{:.0} MiB more with {} idle and {} slow connections, which may take {:.0} MiB",
        mib(grown_kib),
        held,
        4 * SLOW,
        mib(bound_kib)
    );
    vec![
        Figure::taken(
            TAIL,
            format!(
                "{} alone, {} beside it, {UDP_QPS} queries a second",
                show(quiet),
                show(crowded)
            ),
            [crowded.median / quiet.median],
        ),
        Figure::taken(
            LOST,
            format!("{} lost alone", lost(alone)),
            [lost(beside) as f64],
        ),
        Figure::taken(MEMORY, detail, [grown_kib / bound_kib]),
    ]
}

const TAIL: Bar = Bar {
    what: "p99 over UDP beside idle and slow connections, against alone",
    limit: Limit::AtMost(1.1),
    unit: "x",
};
const LOST: Bar = Bar {
    what: "queries over UDP that are lost meanwhile",
    limit: Limit::AtMost(0.0),
    unit: "",
};
const MEMORY: Bar = Bar {
    what: "memory of these connections, against what they may take together",
    limit: Limit::AtMost(1.0),
    unit: "x",
};

/// Shares of the crowd, in the order of [`memory::BARS`].
const KINDS: [(Kind, f64); 3] = [(Kind::Dot, 0.5), (Kind::Doh, 0.25), (Kind::Doq, 0.25)];
/// Slow readers and slow writers over TCP and over TLS, so many of each.
const SLOW: usize = 25;
/// For a connection that reads nothing: 128 KiB of answers that wait, as much again encrypted, and the connection itself.
const SLOW_KIB: f64 = 320.0;
const UDP_QPS: u64 = 10_000;
const SETTLE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);
