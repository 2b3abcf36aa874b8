//! One cluster as this process sees it: where its API server is, what is watched of it, and what is known.
//!
//! All server blocks that say the same about the server share one, and it outlives a reload. What they want of it adds up: the watcher is
//! started anew when a configuration wants more. It is not until that configuration is in force, since one that comes to nothing must
//! leave the watcher of its predecessor as it is.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::access::{Access, Source};
use super::gauges::Gauges;
use super::record::Kind;
use super::snapshot::{self, Rejected};
use super::store::{Keep, Kinds, Store, Writer};
use super::watch::{self, Wanted, Watching};
use crate::control::Control;

/// See the module.
pub struct Cluster {
    access: Access,
    store: Arc<Store>,
    writer: Arc<Mutex<Writer>>,
    state: Mutex<State>,
    digest: [u8; 32],
    _gauges: Gauges,
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
    /// What all configurations so far have asked for.
    wishes: Wishes,
    running: Option<Running>,
}

#[derive(Clone, PartialEq, Eq)]
struct Wishes {
    wanted: Wanted,
    keep: Keep,
}

/// The watcher, and what it was started for.
struct Running {
    wishes: Wishes,
    _watching: Watching,
}

impl Cluster {
    /// One of which nothing is known.
    pub fn new(access: Access, selectors: Selectors) -> Cluster {
        let store = Arc::new(Store::new());
        let mut writer = Writer::new(Arc::clone(&store), Keep::default());
        writer.set_never_empty(selectors.never_empty());
        let writer = Arc::new(Mutex::new(writer));
        let key = Cluster::key(&access, &selectors);
        let gauges = Gauges::new(&label(&access, &selectors), &writer);
        Cluster {
            access,
            store,
            writer,
            digest: Sha256::digest(key).into(),
            _gauges: gauges,
            state: Mutex::new(State {
                wishes: Wishes {
                    wanted: Wanted {
                        labels: selectors.labels,
                        namespace_labels: selectors.namespaces,
                        slices: false,
                        pods: false,
                        imports: false,
                    },
                    keep: Keep::default(),
                },
                running: None,
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

    /// Tells the cluster's file from those of others.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Takes over what a file holds, and says as of when that is, in seconds since 1970; `None` if there is no file.
    ///
    /// # Errors
    /// Why nothing has changed.
    pub fn restore(&self, path: &Path) -> Result<Option<u64>, Rejected> {
        let Some(whole) = snapshot::read(path, &self.digest)? else {
            return Ok(None);
        };
        lock(&self.writer).restore(&whole.outline, &whole.body)?;
        Ok(Some(whole.outline.written_s))
    }

    /// Objects of a kind that are known.
    pub fn len(&self, kind: Kind) -> usize {
        lock(&self.writer).len(kind)
    }

    /// Whether all that is watched is known, so that a file of it is of use.
    pub fn is_complete(&self) -> bool {
        let state = lock(&self.state);
        let running = state.running.as_ref().map(|running| &running.wishes);
        let wishes = running.unwrap_or(&state.wishes);
        self.store
            .is_synced(wishes.wanted.kinds().with(wishes.keep))
    }

    /// Has these kinds watched and that much kept from the next [`Cluster::start`] on.
    pub fn want(&self, kinds: Kinds, keep: Keep) {
        let wishes = &mut lock(&self.state).wishes;
        wishes.wanted.slices |= kinds.holds(Kind::Slice);
        wishes.wanted.pods |= kinds.holds(Kind::Pod);
        wishes.wanted.imports |= kinds.holds(Kind::Import);
        wishes.keep = Keep {
            targets: wishes.keep.targets | keep.targets,
            zones: wishes.keep.zones | keep.zones,
            pods: wishes.keep.pods | keep.pods,
        };
    }

    /// What is kept from the next [`Cluster::start`] on.
    pub fn keep(&self) -> Keep {
        lock(&self.state).wishes.keep
    }

    /// Starts the watcher, unless it runs and does all that is wanted.
    pub fn start(&self, control: &Control) {
        let mut state = lock(&self.state);
        let wishes = state.wishes.clone();
        let running = state.running.as_ref();
        if running.is_some_and(|running| running.wishes == wishes) {
            return;
        }
        // First the end of the old one: were it at work beside the new one, the lists of both would be taken for one.
        state.running = None;
        let kinds = wishes.wanted.kinds();
        {
            let mut writer = lock(&self.writer);
            writer.set_keep(wishes.keep);
            writer.set_watched(kinds);
            for kind in [Kind::Slice, Kind::Pod, Kind::Import] {
                // A snapshot may have known what nobody watches any more.
                if !kinds.holds(kind) {
                    writer.forget(kind);
                }
            }
        }
        let sink = Arc::clone(&self.writer);
        let watching = watch::start(control, self.access.clone(), wishes.wanted.clone(), sink);
        state.running = Some(Running {
            wishes,
            _watching: watching,
        });
    }
}

impl Selectors {
    /// Kinds of which every cluster has some; those with a selector may have none.
    fn never_empty(&self) -> Kinds {
        let mut kinds = Kinds::BASE;
        if self.namespaces.is_some() {
            kinds = kinds.without(Kind::Namespace);
        }
        if self.labels.is_some() {
            kinds = kinds.without(Kind::Service).without(Kind::Slice);
        }
        kinds
    }
}

/// What metrics call the cluster.
fn label(access: &Access, selectors: &Selectors) -> String {
    let mut text = match &access.source {
        Source::Endpoint { url, .. } => url.clone(),
        Source::Kubeconfig { file, context } => {
            let file = file.display();
            match context {
                Some(context) => format!("{file} {context}"),
                None => file.to_string(),
            }
        }
        Source::InCluster => "in-cluster".to_owned(),
    };
    for selector in [&selectors.labels, &selectors.namespaces]
        .into_iter()
        .flatten()
    {
        text.push(' ');
        text.push_str(selector);
    }
    text
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
