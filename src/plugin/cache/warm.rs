//! Keeps a file with what the stores hold, where `-tune` names one: read when the process starts, written at intervals and at its end.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::cache::Store;
use crate::cache::snapshot::{self, Now, Snapshot};
use crate::plugin::SetupCx;
use crate::runtime::clock;
use crate::telemetry::log;
use crate::telemetry::metrics::{GaugeGuard, registry};

/// The file of the process, and the stores that it is for.
pub(super) struct Keeper {
    path: PathBuf,
    state: Mutex<State>,
    /// Held while the file is written: one write at a time.
    writing: Mutex<()>,
    /// The process is ending: the last write is the one after that.
    ends: AtomicBool,
    figures: Arc<Figures>,
    _gauges: Vec<GaugeGuard>,
}

struct State {
    /// What is still to be given to stores. Gone once the first configuration serves: what a reload makes begins empty.
    snapshot: Option<Snapshot>,
    /// By the digest of the block that made them.
    stores: Vec<(String, Weak<Store>)>,
}

/// What the metrics tell.
#[derive(Default)]
struct Figures {
    loaded: AtomicU64,
    written: AtomicU64,
    failures: AtomicU64,
    /// Seconds since 1970; 0 = never.
    written_s: AtomicU64,
}

/// The keeper, where a snapshot is configured; the configuration that is being built gets its hooks once.
pub(super) fn keeper(cx: &mut SetupCx<'_>) -> Option<Arc<Keeper>> {
    let path = cx.tune.cache_snapshot.clone()?;
    let keeper = cx.carry.obtain("cache snapshot", || Keeper::new(path));
    if cx.life.periodic.iter().any(|work| work.name == NAME) {
        return Some(keeper);
    }
    let (started, writer) = (keeper.clone(), keeper.clone());
    cx.every(cx.tune.cache_snapshot_interval, NAME, move || {
        writer.write_while(&|| !writer.ends.load(Relaxed));
    });
    let (drained, stopped) = (keeper.clone(), keeper.clone());
    let life = &mut cx.life;
    life.on_start
        .push(Box::new(move |_| started.state().snapshot = None));
    life.on_drain
        .push(Box::new(move || drained.ends.store(true, Relaxed)));
    // A configuration that is replaced stops too, but its stores live on.
    life.on_stop.push(Box::new(move || {
        if stopped.ends.load(Relaxed) {
            // A write that was under way has been told to give up.
            stopped.write_while(&|| true);
        }
    }));
    Some(keeper)
}

impl Keeper {
    fn new(path: PathBuf) -> Arc<Keeper> {
        let figures = Arc::new(Figures::default());
        let snapshot = match snapshot::open(&path, now()) {
            Ok(snapshot) => snapshot,
            Err(reason) => {
                let path = path.display();
                log::warning(
                    PLUGIN,
                    format_args!("snapshot {path} is ignored, the cache begins empty: {reason}"),
                );
                None
            }
        };
        if let Some(snapshot) = &snapshot {
            let written_s = snapshot.written_ns() / clock::SECOND;
            figures.written_s.store(written_s, Relaxed);
        }
        let stores = Vec::new();
        Arc::new(Keeper {
            path,
            state: Mutex::new(State { snapshot, stores }),
            writing: Mutex::default(),
            ends: AtomicBool::new(false),
            _gauges: gauges(&figures),
            figures,
        })
    }

    /// Takes in the store that the block of `digest` made, and puts into it what the file has for it.
    pub(super) fn warm(&self, digest: &str, store: &Arc<Store>) {
        let mut state = self.state();
        state.stores.retain(|(_, store)| store.strong_count() > 0);
        state
            .stores
            .push((digest.to_owned(), Arc::downgrade(store)));
        let Some(snapshot) = &mut state.snapshot else {
            return;
        };
        let path = self.path.display();
        match snapshot.load(digest, store, now()) {
            Ok(loaded) => {
                self.figures.loaded.fetch_add(loaded.entries, Relaxed);
                let (entries, gone) = (loaded.entries, loaded.expired + loaded.refused);
                if entries + gone > 0 {
                    log::info(
                        PLUGIN,
                        format_args!("{entries} answers from {path}, {gone} were out of date"),
                    );
                }
            }
            Err(error) => {
                log::warning(PLUGIN, format_args!("cannot read all of {path}: {error}"));
            }
        }
    }

    /// Writes the file, unless `goes_on` says no meanwhile. Blocks on the disk, and while another write is at work.
    fn write_while(&self, goes_on: &dyn Fn() -> bool) {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let stores = self.stores();
        let borrowed: Vec<(&str, &Store)> = stores
            .iter()
            .map(|(digest, store)| (digest.as_str(), &**store))
            .collect();
        match snapshot::write(&self.path, &borrowed, now(), goes_on) {
            Ok(written) => {
                self.figures.written.store(written.entries, Relaxed);
                self.figures.written_s.store(clock::wall_s(), Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                self.figures.failures.fetch_add(1, Relaxed);
                let path = self.path.display();
                log::error(
                    PLUGIN,
                    format_args!("cannot write snapshot {path}, what was there stays: {error}"),
                );
            }
        }
    }

    /// The stores that are in use. The lock is let go at once: a reload may want it.
    fn stores(&self) -> Vec<(String, Arc<Store>)> {
        let state = self.state();
        let living = state
            .stores
            .iter()
            .filter_map(|(digest, store)| Some((digest.clone(), store.upgrade()?)));
        living.collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> Now {
    Now {
        mono_ns: clock::now_ns(),
        wall_ns: clock::wall_ns(),
    }
}

fn gauges(figures: &Arc<Figures>) -> Vec<GaugeGuard> {
    let gauge = |name, help, figure: fn(&Figures) -> &AtomicU64| {
        let figures = Arc::clone(figures);
        let value = move || figure(&figures).load(Relaxed) as f64;
        registry().gauge_fn(name, help, &[], value)
    };
    vec![
        gauge(
            "percoredns_cache_snapshot_loaded_entries",
            "Answers that the caches began with.",
            |figures| &figures.loaded,
        ),
        gauge(
            "percoredns_cache_snapshot_written_entries",
            "Answers in the snapshot that was written last.",
            |figures| &figures.written,
        ),
        gauge(
            "percoredns_cache_snapshot_failures",
            "Snapshots that could not be written since the start.",
            |figures| &figures.failures,
        ),
        gauge(
            "percoredns_cache_snapshot_timestamp_seconds",
            "When the snapshot was written, in seconds since 1970; 0 if there is none.",
            |figures| &figures.written_s,
        ),
    ]
}

/// Tells this periodic work from others.
const NAME: &str = "cache snapshot";
const PLUGIN: Option<&str> = Some("cache");
