//! A bounded queue between one thread and the writer: a circle of words in which lines of text and queries lie one behind the other.
//!
//! ```text
//!   first word (what it is, octets) | numbers of a query | octets, the last word filled up with zeroes
//! ```
//! Words are atomics, which costs nothing: all stores and loads of a line are plain ones, and one count makes it visible.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam::utils::CachePadded;

use super::page::Page;
use super::query::{NAME_ROOM, QUERY, QueryLine, octets_of};
use super::ring::write_line;
use crate::limits;
use crate::telemetry::metrics::SharedCounter;

/// What the thread and the writer share.
pub(super) struct Lane {
    /// Made by the first line: many threads log nothing.
    words: OnceLock<Box<[AtomicU64]>>,
    /// Words ever written, moved by the thread alone; `read <= written <= read + limits::LOG_LANE_WORDS`
    written: CachePadded<AtomicUsize>,
    /// Words ever read, moved by the writer alone.
    read: CachePadded<AtomicUsize>,
    is_closed: AtomicBool,
    dropped: SharedCounter,
}

/// The thread's end; the lane gets no more lines when it is dropped.
pub(super) struct LaneEnd {
    lane: Arc<Lane>,
    written: Cell<usize>,
    /// As it was when room was short last.
    read: Cell<usize>,
    /// A line of text while it is put together.
    text: RefCell<String>,
}

impl Lane {
    pub(super) fn new(dropped: SharedCounter) -> Lane {
        Lane {
            words: OnceLock::new(),
            written: CachePadded::default(),
            read: CachePadded::default(),
            is_closed: AtomicBool::new(false),
            dropped,
        }
    }

    /// Where what was queued until now ends.
    pub(super) fn end(&self) -> usize {
        self.written.load(Ordering::Acquire)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.end() == self.read.load(Ordering::Relaxed)
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_closed.load(Ordering::Acquire) && self.is_empty()
    }

    /// Appends the lines before `end` to `batch`, until it holds `octets_max`. Returns how many there were.
    // Of its own, so that the bench of instructions finds it.
    #[inline(never)]
    pub(super) fn drain(
        &self,
        batch: &mut Vec<u8>,
        page: &mut Page,
        end: usize,
        octets_max: usize,
    ) -> usize {
        let Some(words) = self
            .words
            .get()
            .and_then(|words| words.first_chunk::<WORDS>())
        else {
            return 0;
        };
        let mut lines = 0;
        let mut at = self.read.load(Ordering::Relaxed);
        while at != end && batch.len() < octets_max {
            let word = |nth: usize| words[(at + nth) % WORDS].load(Ordering::Relaxed);
            at += if word(0) & QUERY != 0 {
                let mut name = [0; NAME_ROOM];
                let (line, len) = QueryLine::unpack(word, &mut name);
                page.append(&line, batch);
                len
            } else {
                let len = octets_of(word(0));
                let end = batch.len() + len;
                let len_words = len.div_ceil(8);
                (1..=len_words).for_each(|nth| batch.extend_from_slice(&word(nth).to_le_bytes()));
                batch.truncate(end);
                1 + len_words
            };
            lines += 1;
        }
        self.read.store(at, Ordering::Release);
        lines
    }
}

impl LaneEnd {
    pub(super) fn new(lane: Arc<Lane>) -> LaneEnd {
        LaneEnd {
            lane,
            written: Cell::new(0),
            read: Cell::new(0),
            text: RefCell::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn weak(&self) -> std::sync::Weak<Lane> {
        Arc::downgrade(&self.lane)
    }

    /// Queues a query; false if it was dropped because there is no room.
    pub(super) fn push_query(&self, line: &QueryLine<'_>) -> bool {
        let (head, len) = line.pack();
        self.push(&head[..len], line.name)
    }

    /// Queues a line of text. `None`: the message logs while it is put together, which this lane cannot take.
    pub(super) fn push_text(
        &self,
        level: &str,
        plugin: Option<&str>,
        message: fmt::Arguments,
    ) -> Option<bool> {
        let mut text = self.text.try_borrow_mut().ok()?;
        text.clear();
        write_line(&mut text, level, plugin, message);
        Some(self.push(&[text.len() as u64], text.as_bytes()))
    }

    #[inline]
    fn push(&self, head: &[u64], octets: &[u8]) -> bool {
        let start = self.written.get();
        let end = start + head.len() + octets.len().div_ceil(8);
        if end - self.read.get() > WORDS {
            self.read.set(self.lane.read.load(Ordering::Acquire));
            if end - self.read.get() > WORDS {
                self.lane.dropped.inc();
                return false;
            }
        }
        // Of known length, so that no store looks whether it is inside.
        let Some(words) = self
            .lane
            .words
            .get_or_init(new_words)
            .first_chunk::<WORDS>()
        else {
            return false;
        };
        let mut at = start;
        let mut put = |word: u64| {
            words[at % WORDS].store(word, Ordering::Relaxed);
            at += 1;
        };
        head.iter().for_each(|word| put(*word));
        let (whole, rest) = octets.as_chunks::<8>();
        whole
            .iter()
            .for_each(|chunk| put(u64::from_le_bytes(*chunk)));
        if !rest.is_empty() {
            put(match octets.last_chunk::<8>() {
                // One load instead of as many as there are octets.
                Some(last) => u64::from_le_bytes(*last) >> (8 * (8 - rest.len())),
                None => rest
                    .iter()
                    .rfold(0, |word, octet| (word << 8) | u64::from(*octet)),
            });
        }
        self.written.set(end);
        self.lane.written.store(end, Ordering::Release);
        true
    }
}

impl Drop for LaneEnd {
    fn drop(&mut self) {
        self.lane.is_closed.store(true, Ordering::Release);
    }
}

#[cold]
fn new_words() -> Box<[AtomicU64]> {
    (0..WORDS).map(|_| AtomicU64::new(0)).collect()
}

const WORDS: usize = limits::LOG_LANE_WORDS;
