//! Load times of zones, and three times the peak.

use std::time::Duration;

use crate::load::Load;
use crate::pace::Rate;
use crate::procfs;
use crate::progress::Progress;
use crate::scenario::{Scenario, Service};
use crate::servers::Contender;
use crate::stage::{ECHO, INTERRUPTED, Running, Stage};
use crate::sys;

use super::Options;
use super::findings::{Loading, Overload};
use super::measure::Gun;
use super::result::Table;
use super::sample::Seen;

/// Starts every server again and again with all CPUs to load a zone or a hosts file, in turn.
pub fn load_times(
    options: &Options,
    scenario: &'static Scenario,
    stage: &Stage,
    contenders: &[Contender],
    table: &mut Table,
) -> Result<(), String> {
    if options.starts == 0 || scenario.service == Service::Cache {
        return Ok(());
    }
    let mut found: Vec<Loading> = Vec::new();
    let mut progress = Progress::new(options.starts * contenders.len());
    for round in 0..options.starts {
        let mut order: Vec<&Contender> = contenders.iter().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for contender in order {
            progress.show(&format!("{} load {}", scenario.name, contender.name));
            let running = match stage.start(contender, &[], None) {
                Ok(Some(running)) => running,
                Ok(None) => continue,
                Err(_) if sys::stop_requested() => return Err(INTERRUPTED.to_owned()),
                Err(e) => {
                    let name = &contender.name;
                    table.fail(name, format!("{name} ({}): {e}", scenario.name));
                    continue;
                }
            };
            // What is freed behind the first answer shall not count.
            std::thread::sleep(SETTLE);
            let memory = procfs::tree_pss_bytes(running.process.pid()) as f64;
            match found.iter_mut().find(|l| l.server == running.name) {
                Some(loading) => {
                    loading.start_ms.push(running.start_ms);
                    loading.memory_bytes.push(memory);
                }
                None => found.push(Loading {
                    scenario: scenario.name,
                    server: running.name.clone(),
                    names: stage.names.into(),
                    start_ms: vec![running.start_ms],
                    memory_bytes: vec![memory],
                }),
            }
        }
    }
    progress.clear();
    table.loading.extend(found);
    Ok(())
}

/// Finds each server's peak and then offers three times that.
pub fn overload(gun: &Gun, servers: &[Running], table: &mut Table) -> Result<(), String> {
    let sources = gun.options.sources.first().copied().unwrap_or(1);
    let mut progress = Progress::new(servers.len());
    for server in servers.iter().filter(|s| s.name != ECHO) {
        progress.show(&format!("{} 3x {}", gun.scenario.name, server.name));
        let peak = gun.shoot(server, Rate::Max, sources, PEAK_SECONDS)?;
        let peak = peak.right as f64 / peak.seconds.max(1e-9);
        let rate = Rate::Fixed((peak * TIMES).max(1.0) as u64);
        let load = Load {
            trains: true,
            timeout: TIMEOUT,
            ..gun.load(server.address, rate, TRAIN_SOURCES, gun.options.overload_s)
        };
        let rss = || procfs::tree_rss_bytes(server.process.pid()).0;
        let before = rss();
        let report = load.run().map_err(|e| format!("{}: {e}", server.name))?;
        if sys::stop_requested() {
            return Err(INTERRUPTED.to_owned());
        }
        let seen = Seen::of(&report, gun.scenario, false);
        table.overload.push(Overload {
            scenario: gun.scenario.name,
            server: server.name.clone(),
            peak,
            asked: peak * TIMES,
            offered: seen.sent as f64 / seen.seconds.max(1e-9),
            answered: seen.right as f64 / seen.seconds.max(1e-9),
            rss_bytes: [before, rss()],
            servfails: report.rcodes[SERVFAIL],
        });
    }
    progress.clear();
    Ok(())
}

const TIMES: f64 = 3.0;
const PEAK_SECONDS: f64 = 2.0;
/// What is not answered by then waits behind a full socket buffer or is lost.
const TIMEOUT: Duration = Duration::from_millis(250);
/// Enough ids for a quarter second of more than any server takes.
const TRAIN_SOURCES: usize = 16;
const SERVFAIL: usize = 2;
const SETTLE: Duration = Duration::from_millis(300);
