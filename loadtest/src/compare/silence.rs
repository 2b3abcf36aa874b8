//! An upstream that falls silent: distinct names pour in, cached names must not notice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::load::Load;
use crate::pace::Rate;
use crate::procfs;
use crate::progress::Progress;
use crate::report::Report;
use crate::stage::{ECHO, INTERRUPTED, Running};
use crate::sys;

use super::findings::Silence;
use super::measure::Gun;
use super::result::Table;

/// Three runs of cached names for each server: alone, beside hits, beside the flood.
pub fn run(gun: &Gun, servers: &[Running], table: &mut Table) -> Result<(), String> {
    let mut progress = Progress::new(servers.len());
    for server in servers.iter().filter(|s| s.name != ECHO) {
        progress.show(&format!("silent upstream, {}", server.name));
        let quiet = beside(gun, server, None)?;
        let hits = beside(gun, server, Some(0))?;
        gun.stage.origin.set_silent(true);
        let flood = beside(gun, server, Some(100));
        gun.stage.origin.set_silent(false);
        let flood = flood?;
        // What still waits for the upstream ends before the next server is asked.
        std::thread::sleep(SETTLE);
        if sys::stop_requested() {
            return Err(INTERRUPTED.to_owned());
        }
        let mean_us = |run: &Beside| run.cached.latency.mean() / 1000.0;
        table.silence.push(Silence {
            server: server.name.clone(),
            flood_per_s: flood.offered,
            cached: [flood.cached.sent, flood.cached.rcodes[NOERROR]],
            mean_us: [mean_us(&quiet), mean_us(&hits), mean_us(&flood)],
            rss_bytes: flood.rss_bytes,
        });
    }
    progress.clear();
    Ok(())
}

struct Beside {
    cached: Report,
    offered: f64,
    rss_bytes: [u64; 2],
}

/// Asks for cached names, with another generator beside of whose names `fresh_percent` are new.
fn beside(gun: &Gun, server: &Running, fresh_percent: Option<u8>) -> Result<Beside, String> {
    let seconds = gun.options.silent_s;
    let pid = server.process.pid();
    let rss = || procfs::tree_rss_bytes(pid).0;
    let load = |qps, seconds| Load {
        fresh_percent: 0,
        ..gun.load(server.address, Rate::Fixed(qps), SOURCES, seconds)
    };
    let told = |e: std::io::Error| format!("{}: {e}", server.name);
    let before = rss();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let flood = fresh_percent.map(|fresh_percent| {
            let flood = Load {
                fresh_percent,
                // Begins before the cached questions and ends behind them.
                ..load(FLOOD_QPS, seconds + 2.0 * LEAD.as_secs_f64())
            };
            scope.spawn(move || flood.run())
        });
        let highest = scope.spawn(|| {
            let mut highest = before;
            while !done.load(Ordering::Relaxed) {
                highest = highest.max(rss());
                std::thread::sleep(LOOK);
            }
            highest
        });
        std::thread::sleep(LEAD);
        let cached = load(CACHED_QPS, seconds).run().map_err(told);
        let flood = flood.map(|thread| thread.join());
        done.store(true, Ordering::Relaxed);
        let panicked = |_| "a thread of the generator panicked".to_owned();
        let highest = highest.join().map_err(panicked)?;
        let offered = match flood {
            None => 0.0,
            Some(report) => {
                let report = report.map_err(panicked)?.map_err(told)?;
                report.sent as f64 / report.seconds.max(1e-9)
            }
        };
        Ok(Beside {
            cached: cached?,
            offered,
            rss_bytes: [before, highest],
        })
    })
}

const FLOOD_QPS: u64 = 15_000;
const CACHED_QPS: u64 = 2_000;
const SOURCES: usize = 8;
const LEAD: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(50);
const SETTLE: Duration = Duration::from_secs(3);
const NOERROR: usize = 0;
