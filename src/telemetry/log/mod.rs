//! Lines of the log: `[INFO] message` or `[INFO] plugin/NAME: message` on standard output.
//!
//! Runs on: any thread queues, one writer thread writes.
//!
//! **Invariant**: queueing a line takes no lock and never waits for standard output; a full ring drops the
//! line and counts it in `percoredns_log_dropped_total`.
//!
//! ```text
//! data core 1 -> ring --\
//! data core 2 -> ring ---+-> writer thread -> one write(2) per batch
//! all others  -> ring --/
//! ```
//! Threads share one ring, which keeps their lines in order of arrival; a thread that logs per query calls
//! [`own_ring`] once and then shares no cache line with the others. The writer sleeps when all rings are
//! empty: the first line wakes it, and while lines keep coming it drains on a timer, so that a busy data core
//! pays for no wake-up.

#[cfg(any(test, feature = "testing"))]
pub mod capture;
mod ring;
#[cfg(test)]
mod tests;
mod writer;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ring::Ring;
use writer::Writer;

/// Turns debug lines on or off, for the whole process.
pub fn set_debug(on: bool) {
    DEBUG.store(on, Ordering::Relaxed);
}

/// True if debug lines are written: ask before building a costly one.
#[inline]
pub fn debug_enabled() -> bool {
    DEBUG.load(Ordering::Relaxed)
}

/// Queues `[DEBUG] ...` if debug lines are on.
pub fn debug(plugin: Option<&str>, message: fmt::Arguments) {
    if debug_enabled() {
        queue("[DEBUG] ", plugin, message);
    }
}

/// Queues `[INFO] message`, or `[INFO] plugin/NAME: message` if a plugin speaks.
pub fn info(plugin: Option<&str>, message: fmt::Arguments) {
    queue("[INFO] ", plugin, message);
}

/// Queues `[WARNING] ...`.
pub fn warning(plugin: Option<&str>, message: fmt::Arguments) {
    queue("[WARNING] ", plugin, message);
}

/// Queues `[ERROR] ...`.
pub fn error(plugin: Option<&str>, message: fmt::Arguments) {
    queue("[ERROR] ", plugin, message);
}

/// Queues `[FATAL] ...`; leaving the process, after a [`flush`], is the caller's part.
pub fn fatal(plugin: Option<&str>, message: fmt::Arguments) {
    queue("[FATAL] ", plugin, message);
}

/// Queues a line without a level, in order with the others: listener lines and the version at start.
pub fn plain(message: fmt::Arguments) {
    queue("", None, message);
}

/// Waits until every line queued so far is written, or `limits::LOG_FLUSH_MS_MAX` have passed because the
/// reader of standard output is stuck. Returns whether all were written. Not for data cores.
pub fn flush() -> bool {
    Writer::process().flush()
}

/// Gives this thread a ring of its own until it ends. For data cores, before they serve.
pub fn own_ring() {
    // A thread that is ending has no ring any more and logs through the shared one.
    let _ = OWN.try_with(|own| {
        own.borrow_mut()
            .get_or_insert_with(|| OwnRing(Writer::process().add_ring()));
    });
}

fn queue(level: &str, plugin: Option<&str>, message: fmt::Arguments) {
    #[cfg(any(test, feature = "testing"))]
    if capture::take_line(level, plugin, message) {
        return;
    }
    let writer = Writer::process();
    let own = OWN.try_with(|own| match &*own.borrow() {
        Some(ring) => {
            writer.queue(&ring.0, level, plugin, message);
            true
        }
        None => false,
    });
    if !own.unwrap_or(false) {
        writer.queue(writer.shared_ring(), level, plugin, message);
    }
}

/// A thread's ring; the writer forgets it once the thread has ended and its lines are written.
struct OwnRing(Arc<Ring>);

impl Drop for OwnRing {
    fn drop(&mut self) {
        self.0.close();
    }
}

thread_local! {
    static OWN: RefCell<Option<OwnRing>> = const { RefCell::new(None) };
}

static DEBUG: AtomicBool = AtomicBool::new(false);
