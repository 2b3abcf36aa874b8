//! Servers on stage: started on a free port, waited for until they answer, warmed, ended when dropped.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::agree;
use crate::child::{Process, TempDir};
use crate::corpus::{self, Corpus};
use crate::load::{Load, Transport};
use crate::origin::Origin;
use crate::pace::Rate;
use crate::scenario::{Scenario, Service};
use crate::servers::{self, Can, Contender, Secure, Setup};
use crate::sys;

/// What all servers of a run share: the zone, its corpus, the origin behind caches, and a directory for configurations.
pub struct Stage {
    /// Removed at the end.
    pub dir: TempDir,
    /// Hosts in the zone.
    pub names: u32,
    /// What is asked, in random order, with EDNS.
    pub corpus: Corpus,
    /// The authoritative server that caches ask.
    pub origin: Origin,
    scenario: &'static Scenario,
    place: Place,
    zone_file: PathBuf,
    hosts_file: PathBuf,
}

/// Where servers run and the origin is.
#[derive(Clone)]
pub struct Place {
    /// The origin's address.
    pub origin: Ipv4Addr,
    /// The servers' address.
    pub servers: Ipv4Addr,
    /// Their network namespace.
    pub namespace: Option<String>,
}

impl Place {
    /// Everything on 127.0.0.1.
    pub fn loopback() -> Place {
        Place {
            origin: Ipv4Addr::LOCALHOST,
            servers: Ipv4Addr::LOCALHOST,
            namespace: None,
        }
    }
}

/// A server that answers.
pub struct Running {
    /// Its name in tables.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub process: Process,
    /// From exec to the first right answer, in milliseconds.
    pub start_ms: f64,
}

impl Stage {
    /// Writes what the scenario needs and starts the origin.
    pub fn new(scenario: &'static Scenario, names: u32, place: Place) -> Result<Stage, String> {
        let dir = TempDir::new().map_err(|e| format!("temporary directory: {e}"))?;
        let (zone_file, hosts_file) = (dir.path().join("zone.db"), dir.path().join("hosts"));
        let write = |path: &Path, text: String| {
            fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
        };
        match scenario.service {
            Service::Zone => write(&zone_file, corpus::zone_text(names, ZONE))?,
            Service::Hosts => write(&hosts_file, corpus::hosts_text(names, ZONE))?,
            Service::Cache => {}
        }
        let asked = if scenario.is_hot { 1 } else { names };
        let corpus = Corpus::parse(
            &corpus::corpus_text(scenario.kind, asked, ZONE),
            Some(EDNS_BYTES),
        )?
        .with_fresh(ZONE, Some(EDNS_BYTES))?;
        let origin =
            Origin::start_at(place.origin, names, ZONE).map_err(|e| format!("origin: {e}"))?;
        Ok(Stage {
            dir,
            names,
            corpus,
            origin,
            scenario,
            place,
            zone_file,
            hosts_file,
        })
    }

    /// A setup for one more server with `workers` CPUs, on a port that is free now.
    pub fn setup(&self, workers: usize) -> Result<Setup<'_>, String> {
        let mut listen = servers::free_address().map_err(|e| e.to_string())?;
        listen.set_ip(IpAddr::V4(self.place.servers));
        Ok(Setup {
            dir: self.dir.path(),
            listen,
            zone: ZONE,
            zone_file: &self.zone_file,
            hosts_file: &self.hosts_file,
            upstream: self.origin.address(),
            entries: self.names,
            workers: workers.max(1),
            namespace: self.place.namespace.as_deref(),
            secure: None,
        })
    }

    /// Starts a server for the scenario on `cpus` (all when empty), with encrypted listeners where there are some to have, and waits
    /// until it answers; `None` when it cannot do the scenario.
    pub fn start(
        &self,
        server: &Contender,
        cpus: &[usize],
        secure: Option<&Secure>,
    ) -> Result<Option<Running>, String> {
        let Can::Yes(configure) = server.program.can(self.scenario.service) else {
            return Ok(None);
        };
        let setup = Setup {
            secure,
            ..self.setup(cpus.len())?
        };
        let command = server
            .command(configure, &setup)
            .map_err(|e| format!("{}: {e}", server.name))?;
        let log = format!("{}.{}.log", server.program.name, setup.listen.port());
        let log = self.dir.path().join(log);
        self.launch(&server.name, command, setup.listen, cpus, &log)
            .map(Some)
    }

    /// Starts this program's own echo.
    pub fn start_echo(&self, cpus: &[usize]) -> Result<Running, String> {
        let setup = self.setup(1)?;
        let own = std::env::current_exe().map_err(|e| format!("own path: {e}"))?;
        let mut command = match setup.namespace {
            None => Command::new(own),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(own);
                command
            }
        };
        let listen = setup.listen;
        command.args(["echo", "--listen", &listen.to_string()]);
        command.args(["--sockets", &cpus.len().to_string()]);
        let began = Instant::now();
        let log = self.dir.path().join(format!("echo.{}.log", listen.port()));
        let process = Process::start(command, cpus, &log).map_err(|e| format!("echo: {e}"))?;
        let mut running = Running {
            name: ECHO.to_owned(),
            address: listen,
            process,
            start_ms: 0.0,
        };
        running.wait_until(|| !running_echo_lost(listen, &self.corpus))?;
        running.start_ms = began.elapsed().as_secs_f64() * 1000.0;
        Ok(running)
    }

    /// Starts a command that shall answer for the last host on `listen`.
    pub fn launch(
        &self,
        name: &str,
        command: Command,
        listen: SocketAddr,
        cpus: &[usize],
        log: &Path,
    ) -> Result<Running, String> {
        let began = Instant::now();
        let process =
            Process::start(command, cpus, log).map_err(|e| format!("cannot start {name}: {e}"))?;
        let mut running = Running {
            name: name.to_owned(),
            address: listen,
            process,
            start_ms: 0.0,
        };
        let last = self.names - 1;
        let host = corpus::host_name(last, ZONE);
        let right = corpus::host_address(last).octets();
        running.wait_until(|| {
            agree::ask(listen, &host, 1, ASK_PATIENCE).is_ok_and(|answer| {
                answer.rcode == 0 && answer.records.iter().any(|record| record.3 == right)
            })
        })?;
        running.start_ms = began.elapsed().as_secs_f64() * 1000.0;
        Ok(running)
    }

    /// Asks a server for every host once, a few at a time so that nothing is lost, and makes sure that it then answers all.
    pub fn warm(&self, server: &Running) -> Result<(), String> {
        // What the first pass lost (a cache may drop when many names miss at once) the second asks again.
        for _ in 0..WARM_PASSES {
            let load = Load {
                transport: Transport::Udp,
                window: WARM_WINDOW,
                count_max: self.corpus.count() as u64,
                ..Load::new(server.address, Rate::Max, WARM_SECONDS_MAX, &self.corpus)
            };
            let report = load.run().map_err(|e| format!("{}: {e}", server.name))?;
            if sys::stop_requested() {
                return Err(INTERRUPTED.to_owned());
            }
            if report.answered == report.sent && report.rcodes[2] == 0 && report.wrong == 0 {
                return Ok(());
            }
        }
        Err(format!(
            "{}: does not answer all of {} names when they are asked {WARM_WINDOW} at a time\n{}",
            server.name,
            self.corpus.count(),
            server.process.last_words()
        ))
    }
}

impl Running {
    fn wait_until(&mut self, ready: impl Fn() -> bool) -> Result<(), String> {
        sys::sharpen_timers();
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
            std::thread::sleep(PAUSE);
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
/// What a run says that was ended by Ctrl-C.
pub const INTERRUPTED: &str = "interrupted; every server that was started is ended";
/// A million records take the slowest server here seven seconds.
const START_PATIENCE: Duration = Duration::from_secs(120);
const ASK_PATIENCE: Duration = Duration::from_millis(200);
/// While nobody listens the kernel refuses at once, so this is the resolution of start times.
const PAUSE: Duration = Duration::from_millis(2);
const WARM_WINDOW: usize = 96;
const WARM_PASSES: usize = 3;
const WARM_SECONDS_MAX: f64 = 300.0;
