//! A sink that remembers, and the pieces of a test around it.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Instant;

use super::*;

/// What the watcher has said, applied as a store does.
#[derive(Default)]
pub(super) struct Board {
    objects: BTreeMap<(String, String), (Object, u64)>,
    /// Number of the list that is under way, by kind.
    lists: BTreeMap<String, u64>,
    synced: BTreeSet<String>,
    lost: BTreeSet<String>,
    live: BTreeSet<String>,
    /// Every list that began.
    pub(super) begun: u64,
    /// Sweeps that are to come.
    pub(super) sweeps: u64,
    /// Every watch that was lost.
    pub(super) losses: u64,
    /// A service of this name is a bomb, once.
    pub(super) panics_at: Option<String>,
}

impl Board {
    pub(super) fn has(&self, object: &Object) -> bool {
        self.objects
            .get(&key(object))
            .is_some_and(|(held, _)| held == object)
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(super) fn count(&self, kind: Kind) -> usize {
        let is_of = |key: &&(String, String)| key.0 == kind.name();
        self.objects.keys().filter(is_of).count()
    }

    pub(super) fn is_synced(&self, kind: Kind) -> bool {
        self.synced.contains(kind.name())
    }

    pub(super) fn is_live(&self, kind: Kind) -> bool {
        self.live.contains(kind.name())
    }

    pub(super) fn is_lost(&self, kind: Kind) -> bool {
        self.lost.contains(kind.name())
    }
}

fn key(object: &Object) -> (String, String) {
    let key = match object {
        Object::Namespace(name) => name.clone(),
        Object::Service(it) => format!("{}/{}", it.namespace, it.name),
        Object::Slice(it) => format!("{}/{}", it.namespace, it.name),
        Object::Pod(it) => format!("{}/{}", it.namespace, it.name),
        Object::Import(it) => format!("{}/{}", it.namespace, it.name),
    };
    (object.kind().name().to_owned(), key)
}

impl Sink for Board {
    fn list_begins(&mut self, kind: Kind) {
        self.begun += 1;
        self.lists.insert(kind.name().into(), self.begun);
    }

    fn put(&mut self, object: &Object) {
        let (kind, name) = key(object);
        if self
            .panics_at
            .as_ref()
            .is_some_and(|bomb| name.ends_with(bomb))
        {
            self.panics_at = None;
            panic!("a bomb");
        }
        let list = self.lists[&kind];
        self.objects.insert((kind, name), (object.clone(), list));
    }

    fn remove(&mut self, object: &Object) {
        self.objects.remove(&key(object));
    }

    fn list_ends(&mut self, kind: Kind) {
        let list = self.lists[kind.name()];
        self.objects
            .retain(|key, (_, put)| key.0 != kind.name() || *put >= list);
        self.sweeps += 10;
        self.synced.insert(kind.name().into());
        self.heard(kind);
    }

    fn sweep(&mut self, _kind: Kind) -> bool {
        self.sweeps -= u64::from(self.sweeps > 0);
        self.sweeps > 0
    }

    fn heard(&mut self, kind: Kind) {
        self.lost.remove(kind.name());
        self.live.insert(kind.name().into());
    }

    fn lost(&mut self, kind: Kind) {
        self.losses += 1;
        self.lost.insert(kind.name().into());
        self.live.remove(kind.name());
    }
}

/// A watcher and its board.
pub(super) struct Scene {
    board: Arc<Mutex<Board>>,
    _watching: Watching,
    _control: Control,
}

impl Scene {
    pub(super) fn new(api: &Api, wanted: Wanted) -> Scene {
        let url = api.url();
        Scene::with(access(Source::Endpoint { url, tls: None }), wanted)
    }

    pub(super) fn with(access: Access, wanted: Wanted) -> Scene {
        let control = Control::start().unwrap();
        let board = Arc::new(Mutex::new(Board::default()));
        let sink: Arc<Mutex<dyn Sink>> = Arc::clone(&board) as _;
        Scene {
            _watching: start(&control, access, wanted, sink),
            _control: control,
            board,
        }
    }

    pub(super) fn board<T>(&self, look: impl FnOnce(&mut Board) -> T) -> T {
        look(&mut self.board.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn wait(&self, mut until: impl FnMut(&Board) -> bool) {
        wait(|| self.board(|board| until(board)));
    }
}

/// Without a limit on requests that a test would wait for.
pub(super) fn access(source: Source) -> Access {
    Access {
        source,
        qps: 10_000.0,
        burst: 10_000,
        in_flight: 0,
    }
}

/// Waits for something that must come about.
#[track_caller]
pub(super) fn wait(mut until: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !until() {
        assert!(Instant::now() < patience, "it did not come about");
        thread::sleep(Duration::from_millis(2));
    }
}
