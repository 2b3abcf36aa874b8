//! Side-by-side runs: the echo, percoredns and whatever rivals are on PATH do the same work, one after the other, round by round.
//!
//! ```text
//!  for each scenario:  start all -> do they agree? -> warm -> round 1: echo a b c | echo a b c (next rate)
//!                                                             round 2: c b a echo | ...            (turned round)
//! ```
//!
//! A server's figure is its CPU time per answered query divided by the echo's in the same round, so that the speed of the machine
//! and of its day cancel out. A run during which others used the CPUs is repeated, and marked when that does not help.

pub mod result;

use std::io::IsTerminal;
use std::path::PathBuf;

use crate::agree;
use crate::load::Load;
use crate::pace::Rate;
use crate::procfs::{self, Snapshot};
use crate::servers::{PERCOREDNS, PROGRAMS, Scenario};
use crate::stage::{ECHO, Running, Stage, ZONE};
use crate::sys;

use result::{Sample, Table};

/// What to compare and how long.
pub struct Options {
    /// Seconds of each run.
    pub seconds: f64,
    /// Rounds; medians are taken over them.
    pub rounds: usize,
    /// Names from `PROGRAMS`; `None` means all that are found.
    pub servers: Option<Vec<String>>,
    /// What the servers do.
    pub scenarios: Vec<Scenario>,
    /// How fast they are asked.
    pub rates: Vec<Rate>,
    /// The percoredns to measure; without it the one on PATH, if any.
    pub percoredns: Option<PathBuf>,
    /// Hosts in the zone and in the caches.
    pub names: u32,
    /// The generator's sockets.
    pub sources: usize,
    /// Whether the generator polls without sleeping.
    pub spin: bool,
    /// The servers' CPU.
    pub server_cpu: usize,
    /// The generator's CPU.
    pub client_cpu: usize,
    /// Share of the machine that others may use before a run is void, 0 to 1.
    pub foreign: f64,
}

/// Runs everything. Servers that fail to start or disagree are named in the table and left out, except that a percoredns that was
/// asked for and does so is an error after the others have been measured.
pub fn run(options: &Options) -> Result<Table, String> {
    sys::set_affinity(&[options.client_cpu])
        .map_err(|e| format!("CPU {}: {e}", options.client_cpu))?;
    if options.client_cpu == options.server_cpu {
        eprintln!(
            "generator and servers share CPU {}: the figures are only good for a smoke test",
            options.server_cpu
        );
    }
    let mut table = Table::default();
    for &scenario in &options.scenarios {
        run_scenario(options, scenario, &mut table)?;
    }
    Ok(table)
}

fn run_scenario(options: &Options, scenario: Scenario, table: &mut Table) -> Result<(), String> {
    let stage = Stage::new(options.names)?;
    let servers = start_all(options, scenario, &stage, table)?;
    let servers = keep_agreeing(servers, scenario, options, table);
    if scenario == Scenario::Cached {
        for server in &servers[1..] {
            stage.warm(server)?;
            let asked = stage.origin.queries();
            stage.warm(server)?;
            let again = stage.origin.queries() - asked;
            if again > 0 {
                table.note(format!(
                    "{}: {again} of {} names were asked upstream again although just cached",
                    server.name, stage.names
                ));
            }
        }
    }
    let mut progress = Progress {
        done: 0,
        total: options.rounds * options.rates.len() * servers.len(),
    };
    for round in 0..options.rounds {
        for &rate in &options.rates {
            let mut order: Vec<&Running> = servers.iter().collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for server in order {
                progress.show(&format!("{} {rate} {}", scenario.name(), server.name));
                let mut sample = measure(options, &stage, server, rate)?;
                for _ in 0..REPEATS {
                    if sample.foreign <= options.foreign || sys::stop_requested() {
                        break;
                    }
                    sample = measure(options, &stage, server, rate)?;
                }
                if sys::stop_requested() {
                    return Err("interrupted; every server that was started is ended".to_owned());
                }
                table.add(scenario, rate, server.name, round, options.foreign, sample);
            }
        }
    }
    progress.clear();
    Ok(())
}

/// The echo first, then every wanted server that starts.
fn start_all(
    options: &Options,
    scenario: Scenario,
    stage: &Stage,
    table: &mut Table,
) -> Result<Vec<Running>, String> {
    let cpus = [options.server_cpu];
    let mut servers = vec![stage.start_echo(&cpus)?];
    for program in PROGRAMS {
        let wanted = options
            .servers
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| name == program.name));
        let given = options
            .percoredns
            .clone()
            .filter(|_| program.name == PERCOREDNS);
        let Some(path) = given.or_else(|| program.find()).filter(|_| wanted) else {
            if options.servers.is_some() && wanted {
                table.note(format!("{}: not found on PATH", program.name));
            }
            continue;
        };
        match stage.start(program, &path, scenario, &cpus) {
            Ok(running) => servers.extend(running),
            Err(e) => table.fail(
                program.name,
                format!("{} ({}): left out: {e}", program.name, scenario.name()),
            ),
        }
    }
    Ok(servers)
}

fn keep_agreeing(
    servers: Vec<Running>,
    scenario: Scenario,
    options: &Options,
    table: &mut Table,
) -> Vec<Running> {
    let asked: Vec<_> = servers
        .iter()
        .filter(|s| s.name != ECHO)
        .map(|s| (s.name, s.address))
        .collect();
    let questions = agree::sample(options.names, ZONE);
    let differences = agree::differences(&asked, &questions);
    let mut agreeing = 0;
    for ((name, _), lines) in asked.iter().zip(&differences) {
        match lines.first() {
            None => agreeing += 1,
            Some(first) => table.fail(
                name,
                format!(
                    "{name} ({}): left out: answers {} of {} questions otherwise, such as {first}",
                    scenario.name(),
                    lines.len(),
                    questions.len()
                ),
            ),
        }
    }
    table.note(format!(
        "{}: {agreeing} servers agree on {} questions",
        scenario.name(),
        questions.len()
    ));
    let differs = |server: &Running| {
        asked
            .iter()
            .zip(&differences)
            .any(|((name, _), lines)| *name == server.name && !lines.is_empty())
    };
    servers
        .into_iter()
        .filter(|server| !differs(server))
        .collect()
}

fn measure(
    options: &Options,
    stage: &Stage,
    server: &Running,
    rate: Rate,
) -> Result<Sample, String> {
    let failed = |e| format!("{}: {e}", server.name);
    let mut load = Load::new(server.address, rate, WARM_SECONDS, &stage.corpus);
    load.sources = options.sources;
    load.spin = options.spin;
    load.run().map_err(failed)?;
    load.seconds = options.seconds;
    let pid = server.process.pid();
    let before = Snapshot::take(pid);
    let report = load.run().map_err(failed)?;
    let usage = Snapshot::take(pid).since(&before, procfs::cpu_count());
    if report.answered == 0 {
        return Err(format!(
            "{} answers nothing any more:\n{}",
            server.name,
            server.process.last_words()
        ));
    }
    Ok(Sample::new(&report, usage))
}

/// One line on a terminal that says what runs and how much is left.
struct Progress {
    done: usize,
    total: usize,
}

impl Progress {
    fn show(&mut self, what: &str) {
        self.done += 1;
        if std::io::stderr().is_terminal() {
            let filled = self.done * BAR / self.total.max(1);
            eprint!(
                "\r\x1b[K[{}{}] {}/{} {what}",
                "#".repeat(filled),
                " ".repeat(BAR - filled),
                self.done,
                self.total
            );
        }
    }

    fn clear(&self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}

const BAR: usize = 30;
/// A void run is tried again this often.
const REPEATS: usize = 2;
/// Unmeasured load before each run, so that caches and clocks are as they will be.
const WARM_SECONDS: f64 = 0.2;
