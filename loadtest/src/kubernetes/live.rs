//! While the cluster changes a thousand times a second: how soon answers show it, and whether any is wrong.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::ask;
use super::change::{self, Done, History, SERVICES};
use super::memory::mib;
use super::outcome::Figure;
use super::probe::{self, Seen};
use super::server::{Block, Server};
use super::{LIVE, Scene};
use crate::corpus::{self, Corpus};
use crate::load::Load;
use crate::origin::Origin;
use crate::pace::Rate;
use crate::report::Report;
use crate::sys;

/// From a change to the answer that shows it, and a headless set that is asked meanwhile.
pub fn changes(scene: &mut Scene) -> Result<Vec<Figure>, String> {
    scene.load()?;
    change::prepare(&mut scene.api)?;
    let server = Server::synced(&scene.setup, Block::default())?;
    let text: String = change::steady_names().map(|name| name + " A\n").collect();
    let corpus = Corpus::parse(&text, Some(EDNS_BYTES))?;
    // Each has been there since before the server started, so each must be known now.
    server.wait_idle();
    let load = Load::new(server.dns, Rate::Fixed(SET_QPS), CHANGES_S, &corpus);
    let (done, history) = (AtomicBool::new(false), History::default());
    let (sender, receiver) = mpsc::channel();
    let api = &mut scene.api;
    let (report, seen, changed) = std::thread::scope(|scope| {
        let changer = scope.spawn(|| {
            let sender = sender;
            change::run(api, &done, &history, Some(&sender))
        });
        let dns = server.dns;
        let prober = scope.spawn(move || probe::run(dns, &receiver));
        let report = load.run();
        done.store(true, Ordering::Relaxed);
        (report, prober.join(), changer.join())
    });
    let report = report.map_err(|e| format!("generator: {e}"))?;
    let seen = seen
        .map_err(|_| PANICKED)?
        .map_err(|e| format!("probe: {e}"))?;
    let changed = changed.map_err(|_| PANICKED)??;
    Ok(vec![latency(&seen, changed), wrong_denials(&report)])
}

fn latency(seen: &Seen, changed: Done) -> Figure {
    let percentile = |share: f64| seen.latency.value_at_percentile(share) as f64 / 1000.0;
    let detail = format!(
        "{} of {} changes looked for, {} never seen; p50 {:.2} ms, p99.9 {:.2} ms; {:.0} changes a second",
        seen.latency.len() + seen.lost,
        changed.changes,
        seen.lost,
        percentile(50.0),
        percentile(99.9),
        changed.changes as f64 / changed.seconds,
    );
    let p99 = match seen.lost {
        0 => percentile(99.0),
        _ => f64::INFINITY,
    };
    let what = "change to served answer at 1000 changes a second, p99";
    Figure::at_most(5.0, " ms", what, p99, detail)
}

fn wrong_denials(report: &Report) -> Figure {
    let other = report.answered - report.rcodes[0] - report.rcodes[usize::from(ask::NXDOMAIN)];
    let detail = format!(
        "{} answers for hosts that exist throughout, {} lost, {other} with another rcode",
        report.answered, report.lost
    );
    let wrong = report.answered - report.rcodes[0];
    let what = "headless set of 10,000 pods, some come and go: wrong answers for the others";
    Figure::at_most(0.0, "", what, wrong as f64, detail)
}

/// *kubernetes*, *autopath*, *cache* and *forward* in one block under load, while the cluster changes.
pub fn together(scene: &mut Scene) -> Result<Vec<Figure>, String> {
    scene.load()?;
    change::prepare(&mut scene.api)?;
    // Who asks here is a pod of the namespace whose search path it asks along.
    scene.api.tell(&format!("pod {LIVE} client 127.0.0.1"))?;
    let steady = scene.api.sample(STEADY_NAMES)?;
    let origin = Origin::start(EXTERNAL_NAMES, EXTERNAL).map_err(|e| format!("origin: {e}"))?;
    let block = Block {
        upstream: Some(origin.address()),
        ..Block::default()
    };
    let server = Server::synced(&scene.setup, block)?;
    let corpus = mixed(&steady)?;
    let (done, history) = (AtomicBool::new(false), History::default());
    let seconds = scene.minutes * 60.0;
    let load = Load {
        until: Some(&done),
        ..Load::new(server.dns, Rate::Fixed(MIXED_QPS), seconds, &corpus)
    };
    let api = &mut scene.api;
    let (report, checked, changed, start) = std::thread::scope(|scope| {
        let changer = scope.spawn(|| change::run(api, &done, &history, None));
        let checker = scope.spawn(|| check(server.dns, &steady, &history, &done));
        let generator = scope.spawn(|| {
            let report = load.run();
            done.store(true, Ordering::Relaxed);
            report
        });
        // Once the cache is warm and what the start took has been given back.
        let since = Instant::now();
        let settle = Duration::from_secs_f64((seconds / 4.0).min(SETTLE_S_MAX));
        while since.elapsed() < settle && !done.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let start = server.memory();
        let report = generator.join();
        // Should it have panicked, the others must end all the same.
        done.store(true, Ordering::Relaxed);
        (report, checker.join(), changer.join(), start)
    });
    let report = report
        .map_err(|_| PANICKED)?
        .map_err(|e| format!("generator: {e}"))?;
    let checked = checked.map_err(|_| PANICKED)?;
    let changed = changed.map_err(|_| PANICKED)??;
    let end = server.memory();
    let growth = end.rss as f64 / start.rss.max(1) as f64;
    let memory = format!(
        "{:.1} MiB, {:.1} MiB at the end; {seconds:.0} s, {:.0} changes a second",
        mib(start.rss),
        mib(end.rss),
        changed.changes as f64 / changed.seconds,
    );
    let unanswered = report.answered - report.rcodes[0] + report.lost;
    let answers = format!(
        "{} values compared, {} more than 1 s old (the oldest {:.2} ms), {} not of the name; of {} other answers {} NXDOMAIN and {} SERVFAIL, {} lost",
        checked.values,
        checked.stale,
        checked.oldest.as_secs_f64() * 1000.0,
        checked.other,
        report.answered,
        report.rcodes[usize::from(ask::NXDOMAIN)],
        report.rcodes[2],
        report.lost
    );
    let all_wrong = checked.stale + checked.other + unanswered;
    Ok(vec![
        Figure::at_most(
            1.05,
            "x",
            "all together under load: RSS at the end",
            growth,
            memory,
        ),
        Figure::at_most(
            0.0,
            "",
            "the same: wrong answers",
            all_wrong as f64,
            answers,
        ),
    ])
}

/// Services, names that a search path makes of them, changing names, and names outside of the cluster. All of them are answered, the names
/// of the search path by what *autopath* finds further down it.
fn mixed(steady: &[(String, Ipv4Addr)]) -> Result<Corpus, String> {
    let mut text = String::new();
    for (nth, (name, _)) in steady.iter().enumerate() {
        let host = corpus::host_name(nth as u32 % EXTERNAL_NAMES, EXTERNAL);
        text.push_str(&format!("{name}.svc.cluster.local A\n"));
        text.push_str(&format!("{name}.svc.cluster.local AAAA\n"));
        text.push_str(&format!(
            "{name}.svc.cluster.local.{LIVE}.svc.cluster.local A\n"
        ));
        text.push_str(&format!("{host}.{LIVE}.svc.cluster.local A\n"));
        text.push_str(&format!("{host} A\n"));
        let changing = change::service_name(nth as u32 % SERVICES);
        text.push_str(&format!("{changing} A\n"));
    }
    Corpus::parse(&text, Some(EDNS_BYTES))
}

/// What comparing values came to.
#[derive(Clone, Copy, Debug, Default)]
struct Checked {
    values: u64,
    /// Of changing services: values that they had not had for more than a second.
    stale: u64,
    oldest: Duration,
    /// Values that the name never had, or none.
    other: u64,
}

/// Asks for changing and for steady names in turn, and compares the values.
fn check(
    dns: SocketAddr,
    steady: &[(String, Ipv4Addr)],
    history: &History,
    done: &AtomicBool,
) -> Checked {
    let mut seen = Checked::default();
    let mut turn = 0u32;
    while !done.load(Ordering::Relaxed) && !sys::stop_requested() {
        let service = turn.wrapping_mul(7) % SERVICES;
        let asked = Instant::now();
        let value = ask::address(dns, &change::service_name(service));
        let number = value.and_then(change::number_of);
        match number.and_then(|number| history.age(service, asked, number)) {
            Some(age) => {
                seen.oldest = seen.oldest.max(age);
                seen.stale += u64::from(age > STALE_MAX);
            }
            None => seen.other += 1,
        }
        let (name, ip) = &steady[turn as usize % steady.len()];
        let value = ask::address(dns, &format!("{name}.svc.cluster.local"));
        seen.other += u64::from(value != Some(*ip));
        seen.values += 2;
        turn = turn.wrapping_add(1);
        std::thread::sleep(CHECK_PAUSE);
    }
    seen
}

const PANICKED: &str = "a thread of the generator panicked";
/// The size that DNS flag day 2020 recommends.
const EDNS_BYTES: u16 = 1232;
const CHANGES_S: f64 = 30.0;
const SET_QPS: u64 = 3_000;
const MIXED_QPS: u64 = 10_000;
const STEADY_NAMES: usize = 1_000;
const EXTERNAL: &str = "example.org";
const EXTERNAL_NAMES: u32 = 500;
const SETTLE_S_MAX: f64 = 30.0;
const CHECK_PAUSE: Duration = Duration::from_millis(2);
/// An answer may be as old as this.
const STALE_MAX: Duration = Duration::from_secs(1);
