//! What is known of a panic that was caught: its message and place, and its stack where *errors stacktrace* wants it.
//!
//! The hook runs while the stack still stands; what it notes is taken by whoever caught the panic on the same thread.

use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::control::panic_text;
use crate::telemetry::log;

/// A panic of this thread.
pub struct Caught {
    /// What it said and where.
    pub message: String,
    /// The stack, where it was wanted.
    pub stack: Option<Backtrace>,
}

/// Notes every panic of the process from now on. Threads of data cores catch theirs; of any other thread it is logged here.
pub fn install() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        let message = format!(
            "{} at {}",
            panic_text(info.payload()),
            place.as_deref().unwrap_or("an unknown place")
        );
        let wanted = STACKS_WANTED.load(Ordering::Relaxed);
        let stack = wanted.then(Backtrace::force_capture);
        let on_core = thread::current()
            .name()
            .is_some_and(|name| name.starts_with("packet-") || name.starts_with("task-"));
        if !on_core {
            log::error(None, format_args!("panic: {message}"));
        }
        LAST.set(Some(Caught { message, stack }));
    }));
}

/// Whether stacks are captured: some block has *errors stacktrace*.
pub fn want_stacks(on: bool) {
    STACKS_WANTED.store(on, Ordering::Relaxed);
}

/// The latest panic of this thread, once.
pub fn take() -> Option<Caught> {
    LAST.take()
}

static STACKS_WANTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static LAST: RefCell<Option<Caught>> = const { RefCell::new(None) };
}
