//! Servers on stage: started on a free port, waited for until they answer, warmed, ended when dropped.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::agree;
use crate::child::{Process, TempDir};
use crate::corpus::{self, Corpus, Kind};
use crate::load::Load;
use crate::origin::Origin;
use crate::pace::Rate;
use crate::servers::{self, Program, Scenario, Setup};
use crate::sys;

/// What all servers of a run share: the zone, its corpus, the origin behind caches, and a directory for configurations.
pub struct Stage {
    /// Removed at the end.
    pub dir: TempDir,
    /// Hosts in the zone.
    pub names: u32,
    /// Queries for every host, in random order, with EDNS.
    pub corpus: Corpus,
    /// The authoritative server that caches ask.
    pub origin: Origin,
    zone_file: PathBuf,
}

/// A server that answers.
pub struct Running {
    /// Its name in tables.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub process: Process,
}

impl Stage {
    /// Writes the zone and starts the origin.
    pub fn new(names: u32) -> Result<Stage, String> {
        let dir = TempDir::new().map_err(|e| format!("temporary directory: {e}"))?;
        let zone_file = dir.path().join("zone.db");
        fs::write(&zone_file, corpus::zone_text(names, ZONE))
            .map_err(|e| format!("{}: {e}", zone_file.display()))?;
        let corpus = Corpus::parse(
            &corpus::corpus_text(Kind::Hosts, names, ZONE),
            Some(EDNS_BYTES),
        )?;
        let origin = Origin::start(names, ZONE).map_err(|e| format!("origin: {e}"))?;
        Ok(Stage {
            dir,
            names,
            corpus,
            origin,
            zone_file,
        })
    }

    /// A setup for one more server, on a port that is free now.
    pub fn setup(&self) -> Result<Setup<'_>, String> {
        let listen = servers::free_address().map_err(|e| e.to_string())?;
        Ok(Setup {
            dir: self.dir.path(),
            listen,
            zone: ZONE,
            zone_file: &self.zone_file,
            upstream: self.origin.address(),
            entries: self.names,
        })
    }

    /// Starts a program for a scenario and waits until it answers; `None` when it cannot do the scenario.
    pub fn start(
        &self,
        program: &Program,
        path: &Path,
        scenario: Scenario,
        cpus: &[usize],
    ) -> Result<Option<Running>, String> {
        let setup = self.setup()?;
        let told = |e| format!("{}: {e}", program.name);
        match program.command(path, scenario, &setup).map_err(told)? {
            None => Ok(None),
            Some(command) => {
                let log = self
                    .dir
                    .path()
                    .join(format!("{}.{}.log", program.name, scenario.name()));
                self.launch(program.name, command, setup.listen, cpus, &log)
                    .map(Some)
            }
        }
    }

    /// Starts this program's own echo.
    pub fn start_echo(&self, cpus: &[usize]) -> Result<Running, String> {
        let listen = servers::free_address().map_err(|e| e.to_string())?;
        let own = std::env::current_exe().map_err(|e| format!("own path: {e}"))?;
        let mut command = Command::new(own);
        command.args(["echo", "--listen", &listen.to_string()]);
        let process = Process::start(command, cpus, &self.dir.path().join("echo.log"))
            .map_err(|e| format!("echo: {e}"))?;
        let mut running = Running {
            name: ECHO,
            address: listen,
            process,
        };
        running.wait_until(|| !running_echo_lost(listen, &self.corpus))?;
        Ok(running)
    }

    /// Starts a command that shall answer for the first host on `listen`.
    pub fn launch(
        &self,
        name: &'static str,
        command: Command,
        listen: SocketAddr,
        cpus: &[usize],
        log: &Path,
    ) -> Result<Running, String> {
        let process =
            Process::start(command, cpus, log).map_err(|e| format!("cannot start {name}: {e}"))?;
        let mut running = Running {
            name,
            address: listen,
            process,
        };
        let host = corpus::host_name(0, ZONE);
        running.wait_until(|| {
            agree::ask(listen, &host, 1, ASK_PATIENCE)
                .is_ok_and(|answer| answer.rcode == 0 && answer.records.len() == 1)
        })?;
        Ok(running)
    }

    /// Asks a server for every host once, slowly enough that nothing is lost, and makes sure that it answered all.
    pub fn warm(&self, server: &Running) -> Result<(), String> {
        let seconds = self.corpus.count() as f64 / WARM_QPS as f64;
        let report = Load::new(server.address, Rate::Fixed(WARM_QPS), seconds, &self.corpus)
            .run()
            .map_err(|e| format!("{}: {e}", server.name))?;
        let answered = report.rcodes[0];
        if answered == report.sent && report.wrong == 0 {
            return Ok(());
        }
        Err(format!(
            "{}: of {} names only {answered} were answered while warming up\n{report}\n{}",
            server.name,
            report.sent,
            server.process.last_words()
        ))
    }
}

impl Running {
    fn wait_until(&mut self, ready: impl Fn() -> bool) -> Result<(), String> {
        let began = Instant::now();
        while began.elapsed() < START_PATIENCE && !sys::stop_requested() {
            if ready() {
                return Ok(());
            }
            if self.process.has_ended() {
                return Err(format!(
                    "{} ended at its start:\n{}",
                    self.name,
                    self.process.last_words()
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!(
            "{} does not answer on {} after {:?}:\n{}",
            self.name,
            self.address,
            began.elapsed(),
            self.process.last_words()
        ))
    }
}

fn running_echo_lost(address: SocketAddr, corpus: &Corpus) -> bool {
    let load = Load {
        timeout: ASK_PATIENCE,
        ..Load::new(address, Rate::Fixed(100), 0.01, corpus)
    };
    load.run().map_or(true, |report| report.lost > 0)
}

/// The name of the floor in tables.
pub const ECHO: &str = "echo";
/// The zone that everything is about.
pub const ZONE: &str = "example.org";
/// The size that DNS flag day 2020 recommends.
pub const EDNS_BYTES: u16 = 1232;
const START_PATIENCE: Duration = Duration::from_secs(15);
const ASK_PATIENCE: Duration = Duration::from_millis(200);
const WARM_QPS: u64 = 10_000;
