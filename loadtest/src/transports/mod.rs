//! TCP and the encrypted transports side by side: what an answer, a handshake and an idle connection cost.
//!
//! ```text
//!  answers     dnsperf, or the generator here (DoQ and what it is held against) --> each server, round by round
//!  handshakes  clients of rustls, full and resumed --> the bare loop, each server, round by round
//!  memory      connections that have asked one thing --> percoredns, for each backend
//!  crowd       20,000 of them, and slow readers and writers; UDP beside it --> percoredns
//! ```

mod answers;
mod crowd;
mod handshakes;
mod held;
mod hold;
mod memory;
mod slow;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::compare::result::Table;
use crate::compare::{self, contenders};
use crate::figures::evaluate::Figure;
use crate::machine::Shape;
use crate::scenario::Scenario;
use crate::security::{Certificate, SERVER_NAME, Security};
use crate::servers::{self, Contender, Secure};
use crate::stage::{INTERRUPTED, Place, Running, Stage};
use crate::sys;

pub use held::Kind;
pub use hold::Order;

/// What to do.
pub struct Options {
    /// Servers, rounds, seconds and CPUs, as in any comparison.
    pub base: compare::Options,
    /// Parts to take; `None` means all.
    pub only: Option<Vec<String>>,
    /// Connections of a generator.
    pub connections: usize,
    /// Queries in flight over all of them.
    pub window: usize,
    /// Connections whose memory is taken.
    pub idle: usize,
    /// Connections of the crowd.
    pub crowd: usize,
    /// Seconds of each run beside the crowd.
    pub crowd_s: f64,
}

/// What all parts share.
struct Scene<'a> {
    options: &'a Options,
    stage: Stage,
    certificate: Certificate,
    security: Security,
    table: Table,
    figures: Vec<Figure>,
}

type Part = fn(&mut Scene) -> Result<(), String>;

/// Takes the figures. A part that fails leaves its reason where its figures would be.
pub fn run(options: &Options) -> Result<(Table, Vec<Figure>), String> {
    let client_cpu = options.base.client_cpu;
    let parts: Vec<&(&str, Part)> = PARTS.iter().filter(|p| is_wanted(options, p.0)).collect();
    if parts.is_empty() {
        let known: Vec<&str> = PARTS.iter().map(|part| part.0).collect();
        return Err(format!("--only: there are {}", known.join(", ")));
    }
    sys::set_affinity(&[client_cpu]).map_err(|e| format!("CPU {client_cpu}: {e}"))?;
    sys::raise_descriptor_limit(DESCRIPTORS);
    let names = options.base.names.unwrap_or(CACHED.names);
    let stage = Stage::new(&CACHED, names, Place::loopback())?;
    let certificate = Certificate::make(stage.dir.path())?;
    let security = Security::trusting(&certificate.cert, SERVER_NAME)?;
    let mut table = Table::default();
    table.shape = Shape::here();
    let mut scene = Scene {
        options,
        stage,
        certificate,
        security,
        table,
        figures: Vec::new(),
    };
    for (_, part) in parts {
        part(&mut scene)?;
        if sys::stop_requested() {
            return Err(INTERRUPTED.to_owned());
        }
    }
    Ok((scene.table, scene.figures))
}

fn is_wanted(options: &Options, part: &str) -> bool {
    let only = options.only.as_ref();
    only.is_none_or(|names| names.iter().any(|name| name == part))
}

/// A server and where it speaks one transport.
struct Listening {
    server: Running,
    address: SocketAddr,
}

impl Scene<'_> {
    /// Does something with another certificate than that of the scene.
    fn with_certificate<T>(
        &mut self,
        make: impl FnOnce(&Path) -> Result<Certificate, String>,
        work: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        let certificate = make(self.stage.dir.path())?;
        let security = Security::trusting(&certificate.cert, SERVER_NAME)?;
        let security = std::mem::replace(&mut self.security, security);
        let certificate = std::mem::replace(&mut self.certificate, certificate);
        let outcome = work(self);
        (self.security, self.certificate) = (security, certificate);
        outcome
    }

    /// Every wanted server that caches and, where a scheme is given, speaks it.
    fn contenders(&mut self, scheme: Option<&str>) -> Vec<Contender> {
        let mut found = contenders(&self.options.base, &CACHED, &mut self.table);
        found.retain(|c| scheme.is_none_or(|scheme| c.program.speaks(scheme)));
        found
    }

    /// The percoredns that is measured, with the settings of a `-tune` file of this text.
    fn percoredns(&mut self, tune: &str) -> Result<Contender, String> {
        let all = self.contenders(None);
        let mut own = all
            .into_iter()
            .find(Contender::is_percoredns)
            .ok_or("percoredns is not among the servers")?;
        let mut digits = tune.bytes().map(|b| {
            if b.is_ascii_alphanumeric() {
                b as char
            } else {
                '-'
            }
        });
        let name: String = digits.by_ref().take(40).collect();
        let path: PathBuf = self.stage.dir.path().join(format!("{name}.toml"));
        std::fs::write(&path, tune).map_err(|e| format!("{}: {e}", path.display()))?;
        own.profile = Some(path);
        Ok(own)
    }

    /// Starts a server with so many listeners of each of these schemes besides UDP and TCP, and fills its cache.
    fn start(
        &self,
        server: &Contender,
        schemes: &[(&'static str, usize)],
        keeps_idle: bool,
    ) -> Result<(Running, Secure), String> {
        let schemes = schemes.iter();
        let each = schemes.flat_map(|&(scheme, count)| std::iter::repeat_n(scheme, count));
        let listen = each
            .map(|scheme| Ok((scheme, servers::free_address()?)))
            .collect::<std::io::Result<_>>()
            .map_err(|e| e.to_string())?;
        let secure = Secure {
            listen,
            cert: self.certificate.cert.clone(),
            key: self.certificate.key.clone(),
            keeps_idle,
        };
        let running = self
            .stage
            .start(server, &[self.options.base.server_cpu], Some(&secure))?
            .ok_or_else(|| format!("{} has no cache", server.name))?;
        self.stage.warm(&running)?;
        Ok((running, secure))
    }

    /// The same for one scheme; without any, it is TCP beside UDP.
    fn start_at(
        &self,
        server: &Contender,
        scheme: Option<&'static str>,
    ) -> Result<Listening, String> {
        let schemes = scheme.map(|scheme| (scheme, 1));
        let (server, secure) = self.start(server, schemes.as_slice(), false)?;
        let secure = scheme.and_then(|scheme| secure.address(scheme));
        let address = secure.unwrap_or(server.address);
        Ok(Listening { server, address })
    }
}

/// By the names that `--only` takes.
const PARTS: &[(&str, Part)] = &[
    ("answers", answers::run),
    ("handshakes", handshakes::run),
    ("memory", memory::run),
    ("crowd", crowd::run),
];

/// The cache of every part: what is asked is in it.
static CACHED: Scenario = Scenario {
    name: "transports",
    about: "10,000 names from a warm cache, over connections; right is NOERROR with the origin's A record",
    ..crate::scenario::CACHED
};

/// Enough for the crowd here and in the server, with room to spare.
const DESCRIPTORS: u64 = 65_536;
