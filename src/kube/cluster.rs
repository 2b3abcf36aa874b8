//! One cluster as this process sees it: where its API server is, what is watched of it, and what is known.
//!
//! All server blocks that say the same about the server share one, and it outlives a reload. What they want of it adds up: the watcher is
//! started anew when a configuration wants more.

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
    wanted: Wanted,
    watching: Option<Watching>,
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
        let kinds = lock(&self.state).wanted.kinds();
        self.store.is_synced(kinds)
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
        writer.set_watched(state.wanted.kinds());
        if before != (state.wanted.pods, state.wanted.imports, writer.keep()) {
            state.watching = None;
        }
    }

    /// Starts the watcher, unless it runs and watches all that is wanted.
    pub fn start(&self, control: &Control) {
        let mut state = lock(&self.state);
        if state.watching.is_none() {
            let kinds = state.wanted.kinds();
            for kind in [Kind::Pod, Kind::Import] {
                // A snapshot may have known what nobody watches any more.
                if !kinds.holds(kind) {
                    lock(&self.writer).forget(kind);
                }
            }
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
