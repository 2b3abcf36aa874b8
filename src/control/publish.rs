//! One value, replaced as a whole by a writer and read on every core without waiting.
//!
//! A reader keeps a copy of the pointer and compares one version number per look. A thread that gets no query
//! never looks, so whoever runs it watches [`publications`] and has it [`Subscriber::refresh`]. What was replaced is
//! freed on the control thread, not by the last reader: freeing a large zone takes milliseconds.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The writer's side.
pub struct Published<T: Send + Sync + 'static> {
    shared: Arc<Shared<T>>,
}

impl<T: Send + Sync + 'static> Published<T> {
    /// Starts with `value`.
    pub fn new(value: Arc<T>) -> Published<T> {
        Published {
            shared: Arc::new(Shared {
                version: AtomicU64::new(0),
                value: Mutex::new(value),
            }),
        }
    }

    /// Replaces the value; readers see it at their next look.
    pub fn publish(&self, value: Arc<T>) {
        let old = {
            let mut current = lock(&self.shared.value);
            let old = std::mem::replace(&mut *current, value);
            self.shared.version.fetch_add(1, Ordering::Release);
            old
        };
        PUBLICATIONS.fetch_add(1, Ordering::Release);
        bury(old);
    }

    /// The value now.
    pub fn load(&self) -> Arc<T> {
        Arc::clone(&lock(&self.shared.value))
    }

    /// A reader of its own, for one thread.
    pub fn subscribe(&self) -> Subscriber<T> {
        let current = lock(&self.shared.value);
        Subscriber {
            shared: Arc::clone(&self.shared),
            seen: self.shared.version.load(Ordering::Relaxed),
            value: Arc::clone(&current),
        }
    }
}

impl<T: Send + Sync + 'static> Drop for Published<T> {
    fn drop(&mut self) {
        bury(self.load());
    }
}

/// One thread's reader.
#[derive(Clone)]
pub struct Subscriber<T: Send + Sync + 'static> {
    shared: Arc<Shared<T>>,
    /// The version of `value`, or an older one.
    seen: u64,
    value: Arc<T>,
}

impl<T: Send + Sync + 'static> Subscriber<T> {
    /// The newest value, or the one of the last look while a writer is just replacing it. Never waits.
    #[inline]
    pub fn current(&mut self) -> &T {
        if self.shared.version.load(Ordering::Acquire) != self.seen {
            self.take_new();
        }
        &self.value
    }

    /// The value now, waiting for a writer that is just replacing it; for the control side.
    pub fn load(&self) -> Arc<T> {
        Arc::clone(&lock(&self.shared.value))
    }

    /// Lets go of a value that was replaced, for a reader that may not look again for long. May wait the few instructions for which
    /// another thread copies the pointer.
    pub fn refresh(&mut self) {
        let current = lock(&self.shared.value);
        self.seen = self.shared.version.load(Ordering::Relaxed);
        self.value = Arc::clone(&current);
    }

    #[cold]
    fn take_new(&mut self) {
        if let Ok(current) = self.shared.value.try_lock() {
            // The version moves only under this lock, so it belongs to this value.
            self.seen = self.shared.version.load(Ordering::Relaxed);
            self.value = Arc::clone(&current);
        }
    }
}

struct Shared<T> {
    version: AtomicU64,
    value: Mutex<Arc<T>>,
}

/// How many values were replaced in this process: another number means that readers may hold old ones.
pub fn publications() -> u64 {
    PUBLICATIONS.load(Ordering::Acquire)
}

/// Frees a value on the control thread once nobody else holds it.
pub fn bury(value: Arc<dyn Any + Send + Sync>) {
    lock(&GRAVES).push(value);
}

/// Frees what is no longer read, once a second while the control thread runs.
pub(super) async fn sweep_for_ever() {
    loop {
        tokio::time::sleep(SWEEP).await;
        if !lock(&GRAVES).is_empty() {
            // A failure means that the runtime is shutting down.
            let _ = tokio::task::spawn_blocking(sweep).await;
        }
    }
}

fn sweep() {
    // With a count of one only the graveyard holds it, and nobody can take it from there again.
    let dead: Vec<_> = lock(&GRAVES)
        .extract_if(.., |value| Arc::strong_count(value) == 1)
        .collect();
    drop(dead);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

static PUBLICATIONS: AtomicU64 = AtomicU64::new(0);
static GRAVES: Mutex<Vec<Arc<dyn Any + Send + Sync>>> = Mutex::new(Vec::new());
const SWEEP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_reader_sees_what_was_published() {
        let published = Published::new(Arc::new(1));
        let mut a = published.subscribe();
        assert_eq!(*a.current(), 1);
        published.publish(Arc::new(2));
        published.publish(Arc::new(3));
        let mut b = published.subscribe();
        assert_eq!(
            (*a.current(), *b.current(), *a.load(), *published.load()),
            (3, 3, 3, 3)
        );
    }

    #[test]
    fn a_reader_does_not_wait_for_a_writer() {
        let published = Published::new(Arc::new(1));
        let mut reader = published.subscribe();
        published.publish(Arc::new(2));
        let writing = lock(&published.shared.value);
        assert_eq!(*reader.current(), 1);
        drop(writing);
        assert_eq!(*reader.current(), 2);
    }

    #[test]
    fn a_refreshed_reader_lets_go() {
        let value = Arc::new(String::from("large"));
        let weak = Arc::downgrade(&value);
        let published = Published::new(value);
        let mut idle = published.subscribe();
        let before = publications();
        published.publish(Arc::default());
        assert!(publications() > before);
        idle.refresh();
        assert_eq!(idle.seen, 1);
        sweep();
        assert!(weak.upgrade().is_none());
        assert_eq!(idle.current(), "");
    }

    #[test]
    fn readers_never_go_back() {
        let published = Published::new(Arc::new(0u64));
        thread::scope(|scope| {
            for _ in 0..3 {
                let mut reader = published.subscribe();
                scope.spawn(move || {
                    let mut last = 0;
                    while last < 2_000 {
                        let now = *reader.current();
                        assert!(now >= last);
                        last = now;
                    }
                });
            }
            (1..=2_000).for_each(|n| published.publish(Arc::new(n)));
        });
    }

    #[test]
    fn the_last_reader_does_not_free() {
        let value = Arc::new(String::from("large"));
        let weak = Arc::downgrade(&value);
        let published = Published::new(value);
        let mut reader = published.subscribe();
        published.publish(Arc::new(String::new()));
        sweep();
        assert!(weak.upgrade().is_some(), "the reader still holds it");
        reader.current();
        assert!(
            weak.upgrade().is_some(),
            "the reader let go but did not free"
        );
        sweep();
        assert!(weak.upgrade().is_none());
        let last = Arc::downgrade(&published.load());
        drop(published);
        drop(reader);
        assert!(last.upgrade().is_some());
        sweep();
        assert!(last.upgrade().is_none());
    }
}
