//! Side-by-side runs: the echo, percoredns and whatever rivals are on PATH do the same work, one after the other, round by round.
//!
//! ```text
//!  for each scenario:  start all -> do they agree? -> warm -> round 1: echo a b c | echo a b c (next rate)
//!                                                             round 2: c b a echo | ...            (turned round)
//! ```
//!
//! A server's figure is its CPU time per answered query divided by the echo's in the same round, so that the speed of the machine
//! and of its day cancel out. A run during which others used the CPUs is repeated, and marked when that does not help.

pub mod findings;
pub mod profile;
pub mod rates;
pub mod result;
pub mod sample;
pub mod text;

mod extra;
mod measure;
mod scaling;
mod silence;

use std::path::PathBuf;

use crate::agree;
use crate::load::Transport;
use crate::machine::{self, Shape};
use crate::pace::Rate;
use crate::procfs;
use crate::progress::Progress;
use crate::scenario::{Scenario, Service};
use crate::servers::{Can, Contender, PERCOREDNS, PROGRAMS, program_of};
use crate::stage::{ECHO, Place, Running, Stage, ZONE};
use crate::sys;
use crate::veth::Veth;

use findings::EntryMemory;
use measure::Gun;
use rates::{Ask, Label};
use result::{Key, Table};

/// What to compare and how long.
#[derive(Clone)]
pub struct Options {
    /// Seconds of each run.
    pub seconds: f64,
    /// Rounds; medians are taken over them.
    pub rounds: usize,
    /// Names from `PROGRAMS`; `None` means all that are found.
    pub servers: Option<Vec<String>>,
    /// What the servers do.
    pub scenarios: Vec<&'static Scenario>,
    /// How hard they are asked.
    pub asks: Vec<Ask>,
    /// The percoredns to measure; without it the one on PATH, if any.
    pub percoredns: Option<PathBuf>,
    /// percoredns runs once for each of these `-tune` files; without any, once without.
    pub profiles: Vec<PathBuf>,
    /// Names instead of the scenarios' own numbers.
    pub names: Option<u32>,
    /// The generator's sockets; rates are run with each number.
    pub sources: Vec<usize>,
    /// Whether the generator polls without sleeping.
    pub spin: bool,
    /// Servers in a network namespace, and kxdpgun as the generator.
    pub veth: bool,
    /// The servers' CPU.
    pub server_cpu: usize,
    /// The generator's CPU.
    pub client_cpu: usize,
    /// Share of the machine that others may use before a run is void, 0 to 1.
    pub foreign: f64,
    /// Seconds of three times the peak.
    pub overload_s: f64,
    /// Starts of each server for its load time, besides the one that is needed anyway.
    pub starts: usize,
    /// Numbers of CPUs to compare; empty for none.
    pub cores: Vec<usize>,
    /// Seconds of a silent upstream under a cache; 0 for none.
    pub silent_s: f64,
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
    let veth = options.veth.then(Veth::new).transpose()?;
    let mut table = Table::default();
    table.shape = Shape::here();
    for path in &options.profiles {
        table.profiles.push(profile::Profile::read(path)?);
    }
    for &scenario in &options.scenarios {
        if veth.is_some() && (scenario.transport != Transport::Udp || scenario.fresh_percent > 0) {
            return Err(format!(
                "{}: kxdpgun asks over UDP and from a list, so --veth cannot run this scenario",
                scenario.name
            ));
        }
        run_scenario(options, scenario, veth.as_ref(), &mut table)?;
    }
    Ok(table)
}

fn run_scenario(
    options: &Options,
    scenario: &'static Scenario,
    veth: Option<&Veth>,
    table: &mut Table,
) -> Result<(), String> {
    let names = options.names.unwrap_or(scenario.names);
    if names != scenario.names {
        table.note(format!(
            "{}: with {names} names instead of {}",
            scenario.name, scenario.names
        ));
    }
    let place = veth.map_or_else(Place::loopback, Veth::place);
    let stage = Stage::new(scenario, names, place)?;
    let contenders = contenders(options, scenario, table);
    extra::load_times(options, scenario, &stage, &contenders, table)?;
    if !options.cores.is_empty() {
        scaling::run(options, scenario, &stage, &contenders, table)?;
    }
    let servers = start_all(options, scenario, &stage, &contenders, table)?;
    let servers = keep_agreeing(servers, scenario, &stage, table);
    if scenario.service == Service::Cache {
        warm_all(scenario, &stage, &servers, table)?;
    }
    let gun = Gun::new(options, scenario, &stage, veth)?;
    run_rounds(&gun, &servers, table)?;
    if options.asks.contains(&Ask::Overload) {
        extra::overload(&gun, &servers, table)?;
    }
    if options.silent_s > 0.0 && scenario.service == Service::Cache {
        silence::run(&gun, &servers, table)?;
    }
    Ok(())
}

/// Every wanted server that is installed and can do the scenario, percoredns once for each profile.
pub fn contenders(options: &Options, scenario: &Scenario, table: &mut Table) -> Vec<Contender> {
    let mut found = Vec::new();
    for program in PROGRAMS {
        let wanted = options
            .servers
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| name == program.name));
        let given = options
            .percoredns
            .clone()
            .filter(|_| program.name == PERCOREDNS);
        if !wanted {
            continue;
        }
        let Some(path) = given.or_else(|| program.find()) else {
            table.note(format!("{}: not on PATH, so not compared", program.name));
            continue;
        };
        if let Can::No(reason) = program.can(scenario.service) {
            let name = program.name;
            table.note(format!(
                "{name} takes no part in {}: {reason}",
                scenario.name
            ));
            continue;
        }
        table
            .shape
            .add_version(program.name, || program.version(&path));
        let contender = |profile: Option<&PathBuf>| Contender {
            name: match profile {
                None => program.name.to_owned(),
                Some(file) => format!("{}[{}]", program.name, machine::profile_name(file)),
            },
            program,
            path: path.clone(),
            profile: profile.cloned(),
        };
        if program.name == PERCOREDNS && !options.profiles.is_empty() {
            found.extend(options.profiles.iter().map(|file| contender(Some(file))));
        } else {
            found.push(contender(None));
        }
    }
    found
}

/// The echo first (it speaks only UDP), then every server that starts.
fn start_all(
    options: &Options,
    scenario: &Scenario,
    stage: &Stage,
    contenders: &[Contender],
    table: &mut Table,
) -> Result<Vec<Running>, String> {
    let cpus = [options.server_cpu];
    let mut servers = Vec::new();
    if scenario.transport == Transport::Udp {
        servers.push(stage.start_echo(&cpus)?);
    }
    for contender in contenders {
        match stage.start(contender, &cpus, None) {
            Ok(running) => servers.extend(running),
            Err(e) => table.fail(
                &contender.name,
                format!("{} ({}): left out: {e}", contender.name, scenario.name),
            ),
        }
    }
    Ok(servers)
}

fn keep_agreeing(
    servers: Vec<Running>,
    scenario: &Scenario,
    stage: &Stage,
    table: &mut Table,
) -> Vec<Running> {
    let asked: Vec<_> = servers
        .iter()
        .filter(|s| s.name != ECHO)
        .map(|s| (s.name.as_str(), s.address))
        .collect();
    let questions = agree::sample(scenario, stage.names, ZONE);
    let differences = agree::differences(&asked, &questions);
    let mut wrong: Vec<String> = Vec::new();
    for ((name, _), lines) in asked.iter().zip(&differences) {
        if let Some(first) = lines.first() {
            wrong.push((*name).to_owned());
            table.fail(
                name,
                format!(
                    "{name} ({}): left out: answers {} of {} questions otherwise, such as {first}",
                    scenario.name,
                    lines.len(),
                    questions.len()
                ),
            );
        }
    }
    table.note(format!(
        "{}: {} servers agree on {} questions",
        scenario.name,
        asked.len() - wrong.len(),
        questions.len()
    ));
    servers
        .into_iter()
        .filter(|server| !wrong.contains(&server.name))
        .collect()
}

/// Fills every cache, and notes what that cost in memory.
fn warm_all(
    scenario: &'static Scenario,
    stage: &Stage,
    servers: &[Running],
    table: &mut Table,
) -> Result<(), String> {
    let mut progress = Progress::new(servers.len());
    for server in servers {
        progress.show(&format!(
            "warming {} with {} names",
            server.name, stage.names
        ));
        if server.name == ECHO {
            continue;
        }
        let rss = || procfs::tree_rss_bytes(server.process.pid()).0;
        let before = rss();
        stage.warm(server)?;
        let asked = stage.origin.queries();
        let after = rss();
        stage.warm(server)?;
        let again = stage.origin.queries() - asked;
        if again > 0 {
            table.note(format!(
                "{} ({}): {again} of {} names were asked upstream again although just cached",
                server.name, scenario.name, stage.names
            ));
        }
        // Fewer entries drown in what a server takes for its first queries anyway.
        if !scenario.is_hot && stage.names >= ENTRIES_MIN {
            table.memory.push(EntryMemory {
                scenario: scenario.name,
                server: server.name.clone(),
                entries: stage.names.into(),
                rss_bytes: [before, after],
            });
        }
    }
    progress.clear();
    Ok(())
}

fn run_rounds(gun: &Gun, servers: &[Running], table: &mut Table) -> Result<(), String> {
    let (options, scenario) = (gun.options, gun.scenario);
    let labels = labels(gun, servers, table)?;
    let sources: &[usize] = if scenario.is_hot {
        &[1]
    } else {
        &options.sources
    };
    let mut progress = Progress::new(options.rounds * labels.len() * sources.len() * servers.len());
    for round in 0..options.rounds {
        for &label in &labels {
            for &sources in sources {
                let mut order: Vec<&Running> = servers.iter().collect();
                if round % 2 == 1 {
                    order.reverse();
                }
                for server in order {
                    let what = format!("{} {label} {}", scenario.name, server.name);
                    progress.show(&what);
                    let sample = gun.measure(server, label, sources)?;
                    let key = Key {
                        scenario,
                        label,
                        sources,
                        server: server.name.clone(),
                    };
                    table.add(key, round, options.foreign, sample);
                }
            }
        }
    }
    progress.clear();
    Ok(())
}

/// The rates of all rounds; those that depend on what servers can take are found now.
fn labels(gun: &Gun, servers: &[Running], table: &mut Table) -> Result<Vec<Label>, String> {
    let sources = gun.options.sources.first().copied().unwrap_or(1);
    let peak = |server: &Running| {
        gun.shoot(server, Rate::Max, sources, PROBE_SECONDS)
            .map(|seen| seen.right as f64 / seen.seconds.max(1e-9))
    };
    let mut labels = Vec::new();
    for ask in &gun.options.asks {
        match ask {
            Ask::Rate(rate) => labels.push(Label::given(*rate)),
            Ask::Overload => {}
            Ask::Sweep => {
                let mut fastest: f64 = 0.0;
                for server in servers.iter().filter(|s| s.name != ECHO) {
                    fastest = fastest.max(peak(server)?);
                }
                labels.extend(rates::sweep(fastest));
            }
            Ask::HalfKnee => {
                let others = servers.iter().filter(|s| s.name != ECHO);
                let (own, rivals): (Vec<_>, Vec<_>) =
                    others.partition(|s| program_of(&s.name) == PERCOREDNS);
                let asked = if rivals.is_empty() { own } else { rivals };
                let mut knees = Vec::new();
                for server in asked {
                    let knee = rates::knee(peak(server)?, |qps| {
                        let seen = gun.shoot(server, Rate::Fixed(qps), sources, PROBE_SECONDS)?;
                        Ok(seen.right as f64 / seen.sent.max(1) as f64)
                    })?;
                    let (name, scenario) = (&server.name, gun.scenario.name);
                    table.note(format!(
                        "{name} ({scenario}): knee at {knee:.0} queries a second"
                    ));
                    knees.push(knee);
                }
                labels.extend(rates::half_of_slowest(&knees));
            }
        }
    }
    Ok(labels)
}

/// In the place of a number of sources.
pub const EACH_QUERY_ITS_OWN: usize = 0;
const PROBE_SECONDS: f64 = 0.7;
const ENTRIES_MIN: u32 = 10_000;
