//! Lines of the log: `[INFO] message` or `[INFO] plugin/NAME: message` on standard output.
//!
//! Runs on: any thread queues, one writer thread writes.
//!
//! **Invariant**: queueing a line takes no lock and never waits for standard output; where there is no room the line is dropped and
//! counted in `percoredns_log_dropped_total`.
//!
//! ```text
//! data core 1 -> lane --\
//! data core 2 -> lane ---+-> writer thread -> one write(2) per batch
//! all others  -> ring --/
//! ```
//! Threads share one ring, which keeps their lines in order of arrival; a thread that logs per query calls [`own_lane`] once and then shares
//! no cache line with the others. What *log* says of a query in its default format goes through a lane as numbers ([`query`]) and becomes
//! text in the writer. The writer sleeps when all is empty: the first line wakes it, and while lines keep coming it drains on a timer, so
//! that a busy data core pays for no wake-up.

#[cfg(any(test, feature = "testing"))]
pub mod capture;
mod lane;
mod page;
mod query;
mod ring;
#[cfg(test)]
mod tests;
mod writer;

use std::cell::OnceCell;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

pub use query::QueryLine;

use lane::LaneEnd;
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
    queue(INFO, plugin, message);
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

/// Gives this thread a lane of its own until it ends. For data cores, before they serve.
pub fn own_lane() {
    // A thread that is ending has no lane any more and logs through the ring.
    let _ = OWN.try_with(|own| {
        own.get_or_init(|| {
            let writer = Writer::process();
            (writer, writer.add_lane())
        });
    });
}

/// Queues what *log* says of a query in its default format.
pub fn query(line: &QueryLine<'_>) {
    #[cfg(any(test, feature = "testing"))]
    if capture::take_line(INFO, None, format_args!("{line}")) {
        return;
    }
    let queued = OWN.try_with(|own| {
        let (writer, lane) = own.get()?;
        writer.queue_query(lane, line);
        Some(())
    });
    if !matches!(queued, Ok(Some(()))) {
        Writer::process().queue(None, INFO, None, format_args!("{line}"));
    }
}

fn queue(level: &str, plugin: Option<&str>, message: fmt::Arguments) {
    #[cfg(any(test, feature = "testing"))]
    if capture::take_line(level, plugin, message) {
        return;
    }
    let queued = OWN.try_with(|own| {
        let (writer, lane) = own.get()?;
        writer.queue(Some(lane), level, plugin, message);
        Some(())
    });
    if !matches!(queued, Ok(Some(()))) {
        Writer::process().queue(None, level, plugin, message);
    }
}

thread_local! {
    /// A thread's lane; the writer forgets it once the thread has ended and its lines are written.
    static OWN: OnceCell<(&'static Writer, LaneEnd)> = const { OnceCell::new() };
}

const INFO: &str = "[INFO] ";
static DEBUG: AtomicBool = AtomicBool::new(false);
