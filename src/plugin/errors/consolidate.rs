//! Counting errors of a kind, and one log line for many.
//!
//! Counts are shared by all cores; they are touched only when a query has failed.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::NAME;
use crate::control::Control;
use crate::lang::duration::GoDuration;
use crate::lang::regexp::Regexp;
use crate::telemetry::log;

/// All `consolidate` lines of a block.
#[derive(Default)]
pub struct Consolidation {
    pub(super) patterns: Vec<Arc<Pattern>>,
    /// Known once the configuration serves.
    control: OnceLock<Control>,
    stopped: AtomicBool,
}

/// One `consolidate` line.
pub(super) struct Pattern {
    pub(super) period: GoDuration,
    pub(super) regexp: Regexp,
    pub(super) level: Level,
    pub(super) show_first: bool,
    pub(super) count: AtomicU32,
}

/// What became of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// It is the first of its period.
    First,
    /// It was added to others.
    Yes,
    /// Nothing counts any more, or yet.
    No,
}

impl Consolidation {
    pub(super) fn new(patterns: Vec<Arc<Pattern>>) -> Consolidation {
        Consolidation {
            patterns,
            ..Consolidation::default()
        }
    }

    pub(super) fn start(&self, control: Control) {
        // A configuration starts once.
        let _ = self.control.set(control);
    }

    /// Logs what was counted; later errors are logged one by one.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.patterns.iter().for_each(|pattern| pattern.summarise());
    }

    pub(super) fn count(&self, pattern: &Arc<Pattern>) -> Counted {
        let Some(control) = self
            .control
            .get()
            .filter(|_| !self.stopped.load(Ordering::SeqCst))
        else {
            return Counted::No;
        };
        if pattern.count.fetch_add(1, Ordering::SeqCst) > 0 {
            return Counted::Yes;
        }
        let (period, later) = (
            pattern.period.to_std().unwrap_or(Duration::ZERO),
            Arc::clone(pattern),
        );
        control.spawn("errors consolidate", async move {
            tokio::time::sleep(period).await;
            later.summarise();
        });
        if self.stopped.load(Ordering::SeqCst) {
            // It may have stopped before this one was counted.
            pattern.summarise();
        }
        Counted::First
    }
}

impl Pattern {
    fn summarise(&self) {
        let count = self.count.swap(0, Ordering::SeqCst);
        if count == 0 || (count == 1 && self.show_first) {
            return;
        }
        let (like, period) = (self.regexp.as_str(), self.period);
        let summary = format_args!("{count} errors like '{like}' occurred in last {period}");
        self.level.writer()(Some(NAME), summary);
    }
}

/// The level of consolidated lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Warning,
    Error,
    Info,
    Debug,
}

impl Level {
    pub(super) fn parse(word: &str) -> Option<Level> {
        match word {
            "warning" => Some(Level::Warning),
            "error" => Some(Level::Error),
            "info" => Some(Level::Info),
            "debug" => Some(Level::Debug),
            _ => None,
        }
    }

    pub(super) fn writer(self) -> fn(Option<&str>, fmt::Arguments) {
        match self {
            Level::Warning => log::warning,
            Level::Error => log::error,
            Level::Info => log::info,
            Level::Debug => log::debug,
        }
    }
}
