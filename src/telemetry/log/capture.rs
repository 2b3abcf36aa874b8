//! Test help: the lines that the calling thread logs, instead of standard output.

use std::cell::RefCell;
use std::fmt;

use super::ring::write_line;

/// Runs `body` and returns the lines that this thread logged in it, without their newlines.
pub fn lines(body: impl FnOnce()) -> Vec<String> {
    let outer = LINES.replace(Some(Vec::new()));
    let restore = Restore(outer);
    body();
    let lines = LINES.take().unwrap_or_default();
    drop(restore);
    lines
}

/// Keeps a line if this thread captures.
pub(super) fn take_line(level: &str, plugin: Option<&str>, message: fmt::Arguments) -> bool {
    LINES
        .try_with(|lines| {
            if lines.borrow().is_none() {
                return false;
            }
            // The message may itself log while it is formatted, so nothing is borrowed here.
            let mut text = String::new();
            write_line(&mut text, level, plugin, message);
            text.pop();
            if let Some(lines) = &mut *lines.borrow_mut() {
                lines.push(text);
            }
            true
        })
        .unwrap_or(false)
}

/// Gives the outer capture back, also after a panic in the body.
struct Restore(Option<Vec<String>>);

impl Drop for Restore {
    fn drop(&mut self) {
        LINES.set(self.0.take());
    }
}

thread_local! {
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}
