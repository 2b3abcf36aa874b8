//! Which plugins can answer yet, and whether what they answer may be old: what `/ready` and `/ready/current` say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::lang::duration::GoDuration;

/// Plugins that must be ready, of the blocks that have *ready*. One for each configuration.
///
/// CoreDNS keeps one entry for each plugin name, so that of two blocks with *kubernetes* only the last one counts;
/// here all of them must be ready, and a name is listed once.
#[derive(Default)]
pub struct Readiness(Mutex<State>);

/// Says whether a plugin can answer. Asked on the control thread.
pub type Check = Box<dyn Fn() -> bool + Send>;

/// Says for how long a plugin has answered from what may be old by now; `None` while it is current. Asked on the control thread.
pub type Age = Box<dyn Fn() -> Option<Duration> + Send>;

impl Readiness {
    /// Adds a plugin of a server block.
    pub fn register(
        &self,
        block_index: usize,
        plugin: &'static str,
        is_ready: impl Fn() -> bool + Send + 'static,
    ) {
        let entry = Entry {
            block_index,
            plugin,
            is_ready: Box::new(is_ready),
            was_ready: false,
        };
        self.lock().entries.push(entry);
    }

    /// Adds a plugin of a server block that can tell whether what it answers is current.
    pub fn register_age(
        &self,
        block_index: usize,
        plugin: &'static str,
        age: impl Fn() -> Option<Duration> + Send + 'static,
    ) {
        self.lock().ages.push((block_index, plugin, Box::new(age)));
    }

    /// The plugins that answer from what may be old, each with the longest time for which it does, one a line and sorted; `None` if there
    /// are none.
    pub fn stale(&self) -> Option<String> {
        let state = self.lock();
        let mut stale = BTreeMap::new();
        let counts = |block_index: &usize| state.watched.contains_key(block_index);
        for (_, plugin, age) in state.ages.iter().filter(|(block, ..)| counts(block)) {
            if let Some(age) = age() {
                let longest: &mut Duration = stale.entry(*plugin).or_default();
                *longest = age.max(*longest);
            }
        }
        let lines: Vec<String> = stale
            .into_iter()
            .map(|(plugin, age)| {
                let age = GoDuration::from(Duration::from_secs(age.as_secs()));
                format!("{plugin}: stale for {age}")
            })
            .collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// Makes the plugins of a block count. `continuously` asks a plugin again after it has been ready once.
    pub fn watch(&self, block_index: usize, continuously: bool) {
        self.lock().watched.insert(block_index, continuously);
    }

    /// Names of the plugins that are not ready, sorted and separated by commas; `None` if all are.
    pub fn not_ready(&self) -> Option<String> {
        let mut state = self.lock();
        let State {
            entries, watched, ..
        } = &mut *state;
        let mut names = BTreeSet::new();
        for entry in entries {
            let Some(continuously) = watched.get(&entry.block_index) else {
                continue;
            };
            if entry.was_ready && !continuously {
                continue;
            }
            entry.was_ready = (entry.is_ready)();
            if !entry.was_ready {
                names.insert(entry.plugin);
            }
        }
        let names: Vec<&str> = names.into_iter().collect();
        (!names.is_empty()).then(|| names.join(","))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    ages: Vec<(usize, &'static str, Age)>,
    /// By block: whether to ask for ever.
    watched: BTreeMap<usize, bool>,
}

struct Entry {
    block_index: usize,
    plugin: &'static str,
    is_ready: Check,
    was_ready: bool,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn switch(on: bool) -> (Arc<AtomicBool>, impl Fn() -> bool) {
        let switch = Arc::new(AtomicBool::new(on));
        let read = Arc::clone(&switch);
        (switch, move || read.load(Ordering::SeqCst))
    }

    #[test]
    fn names_are_sorted_and_listed_once() {
        let readiness = Readiness::default();
        readiness.watch(0, false);
        readiness.watch(1, false);
        assert_eq!(readiness.not_ready(), None);
        let (first, check) = switch(false);
        readiness.register(0, "kubernetes", check);
        let (second, check) = switch(false);
        readiness.register(1, "kubernetes", check);
        readiness.register(0, "erratic", || false);
        assert_eq!(readiness.not_ready().as_deref(), Some("erratic,kubernetes"));
        first.store(true, Ordering::SeqCst);
        assert_eq!(readiness.not_ready().as_deref(), Some("erratic,kubernetes"));
        second.store(true, Ordering::SeqCst);
        assert_eq!(readiness.not_ready().as_deref(), Some("erratic"));
    }

    #[test]
    fn the_longest_age_of_each_plugin_is_told() {
        let readiness = Readiness::default();
        let seconds = |s: u64| Some(Duration::from_millis(s * 1_000 + 1));
        readiness.register_age(0, "kubernetes", move || seconds(37));
        readiness.register_age(1, "kubernetes", move || seconds(3_700));
        readiness.register_age(1, "current", || None);
        readiness.register_age(2, "another", move || seconds(5));
        assert_eq!(readiness.stale(), None, "no block has ready");
        readiness.watch(0, false);
        let stale = readiness.stale();
        assert_eq!(stale.as_deref(), Some("kubernetes: stale for 37s"));
        readiness.watch(1, false);
        readiness.watch(2, true);
        let stale = readiness.stale();
        let expect = "another: stale for 5s\nkubernetes: stale for 1h1m40s";
        assert_eq!(stale.as_deref(), Some(expect));
        assert_eq!(readiness.not_ready(), None);
    }

    #[test]
    fn blocks_without_ready_do_not_count() {
        let readiness = Readiness::default();
        readiness.watch(0, false);
        readiness.register(1, "nomad", || false);
        assert_eq!(readiness.not_ready(), None);
        readiness.watch(1, false);
        assert_eq!(readiness.not_ready().as_deref(), Some("nomad"));
    }

    #[test]
    fn until_ready_asks_no_more_and_continuously_does() {
        let readiness = Readiness::default();
        readiness.watch(0, false);
        readiness.watch(1, true);
        let (once, check) = switch(true);
        readiness.register(0, "once", check);
        let (always, check) = switch(true);
        readiness.register(1, "always", check);
        assert_eq!(readiness.not_ready(), None);
        once.store(false, Ordering::SeqCst);
        always.store(false, Ordering::SeqCst);
        assert_eq!(readiness.not_ready().as_deref(), Some("always"));
        always.store(true, Ordering::SeqCst);
        assert_eq!(readiness.not_ready(), None);
    }
}
