//! From one CPU to several: servers on CPUs 0 to n-1 with a generator thread beside them on each of those CPUs.
//!
//! Server and generator share CPUs with one as with many, so that both cases pay alike for it; what the generator took is
//! subtracted from what there was.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::load::{Load, Transport};
use crate::pace::Rate;
use crate::procfs::{self, Snapshot};
use crate::progress::Progress;
use crate::report::Report;
use crate::scenario::{Scenario, Service};
use crate::servers::Contender;
use crate::stage::{ECHO, INTERRUPTED, Running, Stage};
use crate::sys;

use super::Options;
use super::findings::Scaling;
use super::result::Table;
use super::sample::Seen;

/// Starts every server once for each number of CPUs, then asks them in turn.
pub fn run(
    options: &Options,
    scenario: &'static Scenario,
    stage: &Stage,
    contenders: &[Contender],
    table: &mut Table,
) -> Result<(), String> {
    let all = sys::allowed_cpus_of_process();
    let mut servers = Vec::new();
    for &cores in &options.cores {
        let Some(cpus) = all.get(..cores).filter(|cpus| !cpus.is_empty()) else {
            table.note(format!(
                "{cores} cores: this machine has only {}",
                all.len()
            ));
            continue;
        };
        if scenario.transport == Transport::Udp {
            servers.push((cores, stage.start_echo(cpus)?));
        }
        for contender in contenders {
            match stage.start(contender, cpus, None) {
                Ok(running) => servers.extend(running.map(|running| (cores, running))),
                Err(e) => {
                    let name = &contender.name;
                    table.fail(name, format!("{name} ({}): {e}", scenario.name));
                }
            }
        }
    }
    for (_, server) in &servers {
        if scenario.service == Service::Cache && server.name != ECHO {
            stage.warm(server)?;
        }
    }
    let mut found: Vec<Scaling> = Vec::new();
    let mut progress = Progress::new(options.rounds * servers.len());
    for round in 0..options.rounds {
        let mut order: Vec<&(usize, Running)> = servers.iter().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (cores, server) in order {
            progress.show(&format!("{} {cores} cores {}", scenario.name, server.name));
            measure(options, scenario, stage, &all[..*cores], server, &mut found)?;
        }
    }
    progress.clear();
    found.sort_by_key(|scaling| {
        let at = servers.iter().position(|(_, s)| s.name == scaling.server);
        (at, scaling.cores)
    });
    table.scaling.extend(found);
    Ok(())
}

fn measure(
    options: &Options,
    scenario: &'static Scenario,
    stage: &Stage,
    cpus: &[usize],
    server: &Running,
    found: &mut Vec<Scaling>,
) -> Result<(), String> {
    let pid = server.process.pid();
    let threads = procfs::thread_cpu_ns(pid);
    let before = Snapshot::take(pid);
    let reports = ask_from(options, scenario, stage, cpus, server)?;
    let usage = Snapshot::take(pid).since(&before, procfs::cpu_count(), 0);
    let busiest = procfs::busiest_share(&threads, &procfs::thread_cpu_ns(pid));
    if sys::stop_requested() {
        return Err(INTERRUPTED.to_owned());
    }
    let rate: f64 = reports
        .iter()
        .map(|report| {
            let seen = Seen::of(report, scenario, server.name == ECHO);
            seen.right as f64 / seen.seconds.max(1e-9)
        })
        .sum();
    // A single hot source asks from one CPU only, wherever the server has its own.
    let generator = usage.own_ns as f64 / usage.elapsed_ns.max(1) as f64;
    let left = (cpus.len() as f64 - generator).max(0.01);
    let (cores, name) = (cpus.len(), &server.name);
    let at = match found
        .iter()
        .position(|s| (s.cores, &s.server) == (cores, name))
    {
        Some(at) => at,
        None => {
            found.push(Scaling {
                scenario: scenario.name,
                server: name.clone(),
                cores,
                answers_per_s: Vec::new(),
                left_cores: Vec::new(),
                busiest: Vec::new(),
                void: Vec::new(),
            });
            found.len() - 1
        }
    };
    found[at].answers_per_s.push(rate);
    found[at].left_cores.push(left);
    found[at].busiest.push(busiest);
    found[at].void.push(usage.foreign > options.foreign);
    Ok(())
}

/// Closed loops from all `cpus` at once.
fn ask_from(
    options: &Options,
    scenario: &Scenario,
    stage: &Stage,
    cpus: &[usize],
    server: &Running,
) -> Result<Vec<Report>, String> {
    let cpus = if scenario.is_hot { &cpus[..1] } else { cpus };
    let sources = if scenario.is_hot { 1 } else { SOURCES };
    let failed = AtomicBool::new(false);
    let results: Vec<Result<Report, String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = cpus
            .iter()
            .enumerate()
            .map(|(i, &cpu)| {
                let failed = &failed;
                scope.spawn(move || {
                    sys::pin_to_cpu(cpu).map_err(|e| format!("CPU {cpu}: {e}"))?;
                    let load = Load {
                        transport: scenario.transport,
                        sources,
                        fresh_percent: scenario.fresh_percent,
                        first_question: i * stage.corpus.count() / cpus.len(),
                        until: Some(failed),
                        ..Load::new(server.address, Rate::Max, options.seconds, &stage.corpus)
                    };
                    let report = load.run().map_err(|e| format!("{}: {e}", server.name));
                    failed.fetch_or(report.is_err(), Ordering::Relaxed);
                    report
                })
            })
            .collect();
        let panicked = |_| Err("a thread of the generator panicked".to_owned());
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(panicked))
            .collect()
    });
    results.into_iter().collect()
}

/// Enough for each generator that every socket of a reuseport group gets some.
const SOURCES: usize = 16;
