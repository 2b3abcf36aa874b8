//! How soon the state is current: after a start, after restarts of the API server, and with a snapshot.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::ask;
use super::outcome::Figure;
use super::server::{Block, OTHER_ZONE, Server};
use super::{LIVE, Scene};
use crate::agree;
use crate::stats::Spread;
use crate::sys;

/// From exec to in step, and another zone meanwhile.
pub fn start(scene: &mut Scene) -> Result<Vec<Figure>, String> {
    let (objects, endpoints) = scene.load()?;
    let mut times = Vec::new();
    let mut meanwhile = Meanwhile::default();
    for _ in 0..STARTS {
        let mut server = Server::start(&scene.setup, Block::default())?;
        let (dns, began) = (server.dns, server.began());
        let done = AtomicBool::new(false);
        let (seconds, seen) = std::thread::scope(|scope| {
            let asker = scope.spawn(|| watch_other_zone(dns, began, &done));
            let seconds = server.wait_ready();
            done.store(true, Ordering::Relaxed);
            (seconds, asker.join())
        });
        times.push(seconds?);
        meanwhile.add(seen.map_err(|_| "the asker panicked".to_owned())?);
    }
    let Some(spread) = Spread::of(times) else {
        return Err("not started once".to_owned());
    };
    let detail = format!(
        "{objects} objects with {endpoints} endpoints, {STARTS} starts, {:.2} to {:.2} s",
        spread.min, spread.max
    );
    let other = format!("first answer {:.0} ms after exec", meanwhile.first_ms);
    Ok(vec![
        Figure::at_most(1.5, " s", "start to synced", spread.median, detail),
        Figure::at_most(
            50.0,
            " ms",
            "another zone meanwhile: longest time without an answer",
            meanwhile.gap_ms,
            other,
        ),
        Figure::at_most(
            0.0,
            "",
            "cluster names before the sync: NXDOMAIN",
            meanwhile.denied as f64,
            format!("{} asked", meanwhile.asked),
        ),
    ])
}

/// What was seen between exec and in step.
#[derive(Default)]
struct Meanwhile {
    first_ms: f64,
    gap_ms: f64,
    asked: u64,
    denied: u64,
}

impl Meanwhile {
    fn add(&mut self, other: Meanwhile) {
        self.first_ms = self.first_ms.max(other.first_ms);
        self.gap_ms = self.gap_ms.max(other.gap_ms);
        self.asked += other.asked;
        self.denied += other.denied;
    }
}

/// Asks for the other zone and for a name of the cluster in turn.
fn watch_other_zone(dns: SocketAddr, began: Instant, done: &AtomicBool) -> Meanwhile {
    sys::sharpen_timers();
    let mut seen = Meanwhile::default();
    let mut last: Option<Instant> = None;
    while !done.load(Ordering::Relaxed) {
        let answer = agree::ask(dns, OTHER_ZONE, ask::A, GAP_PATIENCE);
        let now = Instant::now();
        if answer.is_ok_and(|answer| answer.rcode == 0) {
            match last {
                None => seen.first_ms = ms(now - began),
                Some(last) => seen.gap_ms = seen.gap_ms.max(ms(now - last)),
            }
            last = Some(now);
            let cluster = agree::ask(dns, KUBERNETES, ask::A, GAP_PATIENCE);
            seen.asked += 1;
            seen.denied += u64::from(cluster.is_ok_and(|a| a.rcode == ask::NXDOMAIN));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    seen
}

/// Stale time after each of four restarts of the API server.
pub fn restarts(scene: &mut Scene) -> Result<Vec<Figure>, String> {
    scene.load()?;
    let server = Server::synced(&scene.setup, Block::default())?;
    scene.api.tell(&format!("namespace {LIVE}"))?;
    let name = format!("restarted.{LIVE}.svc.cluster.local");
    let mut stale = Vec::new();
    let began = Instant::now();
    for nth in 1..=RESTARTS {
        scene.api.tell("stop")?;
        let ip = Ipv4Addr::new(10, 95, 0, nth);
        scene.api.tell(&format!("service {LIVE} restarted {ip}"))?;
        rest(DOWN);
        scene.api.tell("start")?;
        stale.push(server.wait_answer(&name, ip, Instant::now())?.as_secs_f64());
        rest(UP);
    }
    let each: Vec<String> = stale.iter().map(|s| format!("{s:.2}")).collect();
    let detail = format!(
        "after each restart: {} s, all within {:.0} s, {} s without the API each",
        each.join(", "),
        began.elapsed().as_secs_f64(),
        DOWN.as_secs()
    );
    let last = stale.last().copied().unwrap_or(f64::NAN);
    let what = "stale after the API is ready again, fourth restart";
    Ok(vec![Figure::at_most(5.0, " s", what, last, detail)])
}

/// A start without the API, from the snapshot, and what follows when the API is back.
pub fn snapshot(scene: &mut Scene) -> Result<Vec<Figure>, String> {
    let dir = crate::child::TempDir::new().map_err(|e| format!("temporary directory: {e}"))?;
    let tune = format!(
        "[global]\nkubernetes_snapshot = \"{}\"\n",
        dir.path().join("cluster").display()
    );
    let block = Block {
        tune: Some(&tune),
        ..Block::default()
    };
    scene.load()?;
    let (name, ip) = match scene.api.sample(SAMPLE)?.pop() {
        Some((name, ip)) => (format!("{name}.svc.cluster.local"), ip),
        None => return Err("the cluster has no service".to_owned()),
    };
    // What it knows is written when it ends.
    drop(Server::synced(&scene.setup, block)?);
    scene.api.tell("stop")?;
    let server = Server::start(&scene.setup, block)?;
    let first = server.wait_answer(&name, ip, server.began())?;
    scene.api.tell(&format!("namespace {LIVE}"))?;
    let back = Ipv4Addr::new(10, 95, 1, 1);
    scene.api.tell(&format!("service {LIVE} back {back}"))?;
    rest(DOWN);
    scene.api.tell("start")?;
    let changed = format!("back.{LIVE}.svc.cluster.local");
    let current = server.wait_answer(&changed, back, Instant::now())?;
    Ok(vec![
        Figure::at_most(
            100.0,
            " ms",
            "start without the API, from the snapshot: first answer",
            ms(first),
            format!("{name}, from exec"),
        ),
        Figure::at_most(
            5.0,
            " s",
            "the same: current after the API is back",
            current.as_secs_f64(),
            format!("{} s later", DOWN.as_secs()),
        ),
    ])
}

fn rest(time: Duration) {
    let since = Instant::now();
    while since.elapsed() < time && !sys::stop_requested() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

const STARTS: usize = 3;
const KUBERNETES: &str = "kubernetes.default.svc.cluster.local";
const GAP_PATIENCE: Duration = Duration::from_secs(2);
const RESTARTS: u8 = 4;
const DOWN: Duration = Duration::from_secs(5);
/// Four times this and [`DOWN`] are well within three minutes.
const UP: Duration = Duration::from_secs(20);
const SAMPLE: usize = 10;
