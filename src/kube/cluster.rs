//! One cluster as this process sees it: where its API server is, what is watched of it, and what is known.
//!
//! All server blocks that say the same about the server share one, and it outlives a reload. What they want of it adds up: the watcher is
//! started anew when a configuration wants more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::access::Access;
use super::record::Kind;
use super::store::{Keep, Kinds, Store, Writer};
use super::watch::{self, Wanted, Watching};
use crate::control::Control;

/// See the module.
pub struct Cluster {
    access: Access,
    store: Arc<Store>,
    writer: Arc<Mutex<Writer>>,
    state: Mutex<State>,
}

/// Which objects there are to see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selectors {
    /// Services, slices and pods with these labels.
    pub labels: Option<String>,
    /// Namespaces with these labels.
    pub namespaces: Option<String>,
}

struct State {
    wanted: Wanted,
    watching: Option<Watching>,
}

impl Cluster {
    /// One of which nothing is known.
    pub fn new(access: Access, selectors: Selectors) -> Cluster {
        let store = Arc::new(Store::new());
        let writer = Writer::new(Arc::clone(&store), Keep::default());
        Cluster {
            access,
            store,
            writer: Arc::new(Mutex::new(writer)),
            state: Mutex::new(State {
                wanted: Wanted {
                    labels: selectors.labels,
                    namespace_labels: selectors.namespaces,
                    pods: false,
                    imports: false,
                },
                watching: None,
            }),
        }
    }

    /// What tells clusters apart.
    pub fn key(access: &Access, selectors: &Selectors) -> String {
        format!("{access:?} {selectors:?}")
    }

    /// What is known.
    #[inline]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Who writes what is known; for watchers and tests.
    pub fn writer(&self) -> &Arc<Mutex<Writer>> {
        &self.writer
    }

    /// Has these kinds watched and that much kept from the next [`Cluster::start`] on.
    pub fn want(&self, kinds: Kinds, keep: Keep) {
        let mut state = lock(&self.state);
        let mut writer = lock(&self.writer);
        let before = (state.wanted.pods, state.wanted.imports, writer.keep());
        state.wanted.pods |= kinds.holds(Kind::Pod);
        state.wanted.imports |= kinds.holds(Kind::Import);
        let kept = writer.keep();
        writer.set_keep(Keep {
            targets: kept.targets | keep.targets,
            zones: kept.zones | keep.zones,
            pods: kept.pods | keep.pods,
        });
        if before != (state.wanted.pods, state.wanted.imports, writer.keep()) {
            state.watching = None;
        }
    }

    /// Starts the watcher, unless it runs and watches all that is wanted.
    pub fn start(&self, control: &Control) {
        let mut state = lock(&self.state);
        if state.watching.is_none() {
            let sink = Arc::clone(&self.writer);
            state.watching = Some(watch::start(
                control,
                self.access.clone(),
                state.wanted.clone(),
                sink,
            ));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
