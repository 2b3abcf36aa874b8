//! The figures of a large cluster: memory, time until answers are current, and answers while it changes.
//!
//! ```text
//!  kube-api (a process, generator's CPU) <--lines-- this --> percoredns (a process, server's CPU)
//!       ^----------------------- lists and watches ----------------------'
//! ```
//! Each figure starts percoredns anew; the API server and its objects stay, so that they are made once.

mod api;
mod ask;
mod change;
mod live;
mod memory;
mod outcome;
mod probe;
mod server;
mod sync;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::stage::INTERRUPTED;
use crate::sys;
use api::Api;
use outcome::{Figure, Outcome};
use server::Setup;

pub use api::{Size, program};

/// What to do.
pub struct Options {
    /// The program under test.
    pub percoredns: PathBuf,
    /// The scripted API server.
    pub kube_api: PathBuf,
    /// The cluster.
    pub size: Size,
    /// How long the mixed load lasts.
    pub minutes: f64,
    /// One part alone.
    pub only: Option<String>,
    /// The server's CPU.
    pub server_cpu: usize,
    /// The CPU of the generator and of the API server.
    pub client_cpu: usize,
}

/// What all parts share.
struct Scene {
    api: Api,
    setup: Setup,
    size: Size,
    minutes: f64,
    kube_api: PathBuf,
    client_cpu: usize,
    /// Objects and endpoints, once they have been put.
    loaded: Option<(u64, u64)>,
}

type Part = fn(&mut Scene) -> Result<Vec<Figure>, String>;

/// Takes the figures.
pub fn run(options: &Options) -> Result<Outcome, String> {
    let parts: Vec<&(&str, Part)> = PARTS
        .iter()
        .filter(|part| is_wanted(options, part.0))
        .collect();
    if parts.is_empty() {
        let known: Vec<&str> = PARTS.iter().map(|part| part.0).collect();
        return Err(format!("--only: there are {}", known.join(", ")));
    }
    sys::set_affinity(&[options.client_cpu])
        .map_err(|e| format!("CPU {}: {e}", options.client_cpu))?;
    let mut outcome = Outcome::default();
    let mut scene = Scene::new(options)?;
    for (name, part) in parts {
        let began = Instant::now();
        match part(&mut scene) {
            _ if sys::stop_requested() => return Err(INTERRUPTED.to_owned()),
            Ok(figures) => outcome.figures.extend(figures),
            // The other figures are worth having without this part's; what it left behind must not be in them.
            Err(reason) => {
                outcome.figures.push(Figure::missing(name, reason));
                scene = Scene::new(options)?;
            }
        }
        eprintln!("{name}: {:.0} s", began.elapsed().as_secs_f64());
    }
    Ok(outcome)
}

fn is_wanted(options: &Options, name: &str) -> bool {
    options.only.as_deref().is_none_or(|only| only == name)
}

impl Scene {
    fn new(options: &Options) -> Result<Scene, String> {
        let api = Api::start(&options.kube_api, options.client_cpu)?;
        let setup = Setup {
            percoredns: options.percoredns.clone(),
            url: api.url().to_owned(),
            cpu: options.server_cpu,
        };
        Ok(Scene {
            api,
            setup,
            size: options.size,
            minutes: options.minutes,
            kube_api: options.kube_api.clone(),
            client_cpu: options.client_cpu,
            loaded: None,
        })
    }

    /// An API server with a cluster in which there is nothing but what every cluster has.
    fn empty(&self) -> Result<(Api, Setup), String> {
        let mut api = Api::start(&self.kube_api, self.client_cpu)?;
        api.load(Size {
            services: 2,
            endpoints: 2,
            pods: 0,
        })?;
        let setup = Setup {
            url: api.url().to_owned(),
            ..self.setup.clone()
        };
        Ok((api, setup))
    }

    /// Puts the cluster there, unless it is; how many objects and endpoints it has, pods not counted.
    fn load(&mut self) -> Result<(u64, u64), String> {
        let loaded = match self.loaded {
            Some(loaded) => loaded,
            None => self.api.load(self.size)?,
        };
        self.loaded = Some(loaded);
        Ok(loaded)
    }

    /// Waits until so many lists have been asked for.
    fn wait_lists(&mut self, count: u64) -> Result<(), String> {
        let since = Instant::now();
        while self.api.number("lists")? < count {
            if since.elapsed() > LISTS_PATIENCE || sys::stop_requested() {
                return Err("percoredns does not list again".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// By the names that `--only` takes.
const PARTS: &[(&str, Part)] = &[
    ("memory", memory::after_sync),
    ("relist", memory::while_listed_again),
    ("pods", memory::of_pods),
    ("start", sync::start),
    ("restarts", sync::restarts),
    ("snapshot", sync::snapshot),
    ("changes", live::changes),
    ("together", live::together),
];

/// The namespace of what changes while it is watched.
const LIVE: &str = "live";
const LISTS_PATIENCE: Duration = Duration::from_secs(60);
