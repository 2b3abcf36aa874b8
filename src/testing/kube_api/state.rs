//! What the server holds: objects by kind, what changed lately, the script and the record of requests.

use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry as Slot};
use std::ops::Bound;
use std::sync::Arc;

use super::object::{Content, Entry, KINDS};
use super::script::{Asked, Script, Verb};
use super::select::Selector;
use crate::kube::record::Kind;

/// The state behind the server's lock.
pub(super) struct State {
    version: u64,
    tables: [Table; KINDS.len()],
    pub(super) script: Script,
    /// Rises when all watches are to send a bookmark.
    pub(super) bookmarks: u64,
    /// Watches that are open.
    pub(super) watches: usize,
    asked: VecDeque<Asked>,
    counts: BTreeMap<(Verb, Option<usize>), usize>,
}

/// Objects of a kind by `namespace/name`, and what changed.
#[derive(Default)]
struct Table {
    objects: BTreeMap<Arc<str>, Entry>,
    /// In the order of versions. All changes after `watch_from` are there.
    changes: VecDeque<Change>,
    /// Versions before this one are too old to watch from.
    watch_from: u64,
    /// Versions before this one are too old to go on with a list from.
    list_from: u64,
}

/// What happened to an object.
struct Change {
    version: u64,
    key: Arc<str>,
    before: Option<Entry>,
    after: Option<Entry>,
}

/// What a watch tells of an object.
pub(super) enum Event {
    Added(Entry),
    Modified(Entry),
    Deleted(Entry),
}

/// Part of a list.
pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    /// The key of the last entry when more follow.
    pub(super) last: Option<Arc<str>>,
}

impl Default for State {
    fn default() -> State {
        State {
            // Etcd counts from one, and a cluster has written much before anybody watches.
            version: 1000,
            tables: Default::default(),
            script: Script::default(),
            bookmarks: 0,
            watches: 0,
            asked: VecDeque::new(),
            counts: BTreeMap::new(),
        }
    }
}

impl State {
    /// The version of the last change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Puts an object, new or changed.
    pub(super) fn put(&mut self, kind: Kind, key: Arc<str>, content: Content) {
        self.version += 1;
        let version = self.version;
        let table = &mut self.tables[place(kind)];
        let mut entry = Entry {
            content,
            version,
            made: version,
        };
        let before = match table.objects.entry(Arc::clone(&key)) {
            Slot::Occupied(mut slot) => {
                entry.made = slot.get().made;
                Some(slot.insert(entry.clone()))
            }
            Slot::Vacant(slot) => {
                slot.insert(entry.clone());
                None
            }
        };
        table.push(version, key, before, Some(entry));
    }

    /// Removes an object if it is there.
    pub(super) fn remove(&mut self, kind: Kind, key: &str) -> bool {
        let table = &mut self.tables[place(kind)];
        let Some((key, before)) = table.objects.remove_entry(key) else {
            return false;
        };
        self.version += 1;
        table.push(self.version, key, Some(before), None);
        true
    }

    /// One object.
    pub(super) fn entry(&self, kind: Kind, key: &str) -> Option<Entry> {
        self.tables[place(kind)].objects.get(key).cloned()
    }

    /// How many objects there are.
    pub(super) fn len(&self, kind: Kind) -> usize {
        self.tables[place(kind)].objects.len()
    }

    /// Forgets the changes: all watches and lists must begin anew.
    pub(super) fn compact(&mut self) {
        self.version += 1;
        for table in &mut self.tables {
            table.changes.clear();
            table.watch_from = self.version;
            table.list_from = self.version;
        }
    }

    /// What a new process does: its store goes on, but it knows no change from before its start, and others wrote meanwhile.
    pub(super) fn begin_anew(&mut self) {
        self.version += 10;
        for table in &mut self.tables {
            table.watch_from = self.version;
        }
    }

    /// The objects as they were at `version`, after the key `after`, `limit` at most. None when that is not known any more.
    pub(super) fn page(
        &self,
        kind: Kind,
        selector: &Selector,
        version: u64,
        after: &str,
        limit: usize,
    ) -> Option<Page> {
        let table = &self.tables[place(kind)];
        if version < table.list_from {
            return None;
        }
        // What changed since, as it was then: the first change of each key tells.
        let mut then: BTreeMap<&Arc<str>, Option<&Entry>> = BTreeMap::new();
        let late = table
            .changes
            .partition_point(|change| change.version <= version);
        for change in table.changes.range(late..) {
            then.entry(&change.key).or_insert(change.before.as_ref());
        }
        let beyond = (Bound::Excluded(after), Bound::Unbounded);
        let now = table.objects.range::<str, _>(beyond);
        let unchanged = now.filter(|(key, _)| !then.contains_key(key));
        let old = then.iter().filter(|(key, _)| key.as_ref() > after);
        let old = old.filter_map(|(key, entry)| Some((*key, (*entry)?)));
        let wanted = merge(unchanged, old).filter(|(_, entry)| takes(selector, entry));
        let mut page = Page {
            entries: Vec::new(),
            last: None,
        };
        let mut last: Option<&Arc<str>> = None;
        for (key, entry) in wanted {
            if page.entries.len() == limit {
                page.last = last.cloned();
                break;
            }
            page.entries.push(entry.clone());
            last = Some(key);
        }
        Some(page)
    }

    /// Up to `limit` events after `version`, and the version up to which they tell. None when some are not known any more.
    pub(super) fn events(
        &self,
        kind: Kind,
        selector: &Selector,
        version: u64,
        limit: usize,
    ) -> Option<(Vec<Event>, u64)> {
        let table = &self.tables[place(kind)];
        if version < table.watch_from {
            return None;
        }
        let first = table
            .changes
            .partition_point(|change| change.version <= version);
        let mut events = Vec::new();
        for change in table.changes.range(first..) {
            if events.len() == limit {
                return Some((events, change.version - 1));
            }
            events.extend(change.event(selector));
        }
        Some((events, self.version.max(version)))
    }

    /// Notes a request.
    pub(super) fn note(&mut self, asked: Asked) {
        let key = (asked.verb, asked.kind.map(place));
        *self.counts.entry(key).or_default() += 1;
        if self.asked.len() == ASKED_MAX {
            self.asked.pop_front();
        }
        self.asked.push_back(asked);
    }

    /// Requests of that verb and kind.
    pub(super) fn count(&self, verb: Verb, kind: Option<Kind>) -> usize {
        let kind = kind.map(place);
        let counts = self.counts.iter();
        let wanted =
            counts.filter(|((one, of), _)| *one == verb && (kind.is_none() || *of == kind));
        wanted.map(|(_, count)| count).sum()
    }

    /// The last requests.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.iter().cloned().collect()
    }
}

impl Table {
    fn push(&mut self, version: u64, key: Arc<str>, before: Option<Entry>, after: Option<Entry>) {
        if self.changes.len() == CHANGES_MAX {
            let lost = self.changes.pop_front().map_or(0, |change| change.version);
            self.watch_from = self.watch_from.max(lost);
            self.list_from = self.list_from.max(lost);
        }
        self.changes.push_back(Change {
            version,
            key,
            before,
            after,
        });
    }
}

impl Change {
    /// What it is to a watch with that selector, which an object enters and leaves.
    fn event(&self, selector: &Selector) -> Option<Event> {
        let before = self.before.as_ref().filter(|entry| takes(selector, entry));
        let after = self.after.as_ref().filter(|entry| takes(selector, entry));
        match (before, after) {
            (None, None) => None,
            (None, Some(after)) => Some(Event::Added(after.clone())),
            (Some(_), Some(after)) => Some(Event::Modified(after.clone())),
            // The last state that the watch knew, with the version of the removal.
            (Some(before), None) => Some(Event::Deleted(Entry {
                version: self.version,
                ..before.clone()
            })),
        }
    }
}

fn takes(selector: &Selector, entry: &Entry) -> bool {
    selector.is_all() || selector.takes(&entry.content.stored())
}

/// Two sequences in the order of their keys as one.
fn merge<'a>(
    one: impl Iterator<Item = (&'a Arc<str>, &'a Entry)>,
    other: impl Iterator<Item = (&'a Arc<str>, &'a Entry)>,
) -> impl Iterator<Item = (&'a Arc<str>, &'a Entry)> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some((key, _)), Some((than, _))) if than < key => other.next(),
        (None, _) => other.next(),
        _ => one.next(),
    })
}

fn place(kind: Kind) -> usize {
    match kind {
        Kind::Namespace => 0,
        Kind::Service => 1,
        Kind::Slice => 2,
        Kind::Pod => 3,
        Kind::Import => 4,
    }
}

/// Changes that are remembered of a kind: a watch that is further behind is told to begin anew.
const CHANGES_MAX: usize = 10_000;
/// Requests that are remembered.
const ASKED_MAX: usize = 10_000;
