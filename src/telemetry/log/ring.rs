//! A bounded queue of lines whose buffers go round between all threads without a lane and the writer.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::queue::ArrayQueue;

use crate::limits;
use crate::telemetry::metrics::SharedCounter;

/// Lines waiting (`full`) and empty buffers (`free`). `made` counts the buffers in existence.
pub(super) struct Ring {
    full: ArrayQueue<String>,
    free: ArrayQueue<String>,
    /// `0 <= made <= capacity of full`
    made: AtomicUsize,
    dropped: SharedCounter,
}

impl Ring {
    pub(super) fn new(lines: usize, dropped: SharedCounter) -> Ring {
        Ring {
            full: ArrayQueue::new(lines),
            free: ArrayQueue::new(lines),
            made: AtomicUsize::new(0),
            dropped,
        }
    }

    /// Queues one line; false if it was dropped because all buffers wait to be written.
    pub(super) fn push(&self, level: &str, plugin: Option<&str>, message: fmt::Arguments) -> bool {
        let Some(mut text) = self.buffer() else {
            self.dropped.inc();
            return false;
        };
        write_line(&mut text, level, plugin, message);
        if self.full.push(text).is_err() {
            // Cannot happen while `made` holds; counted all the same.
            self.made.fetch_sub(1, Ordering::Relaxed);
            self.dropped.inc();
            return false;
        }
        true
    }

    /// Moves the lines that wait now into `batch`, until it holds `octets_max`. Returns how many it moved.
    pub(super) fn drain(&self, batch: &mut Vec<u8>, lines_max: usize, octets_max: usize) -> usize {
        let mut lines = 0;
        while lines < lines_max && batch.len() < octets_max {
            let Some(mut text) = self.full.pop() else {
                break;
            };
            batch.extend_from_slice(text.as_bytes());
            lines += 1;
            text.clear();
            if text.capacity() > limits::LOG_LINE_KEPT_OCTETS || self.free.push(text).is_err() {
                self.made.fetch_sub(1, Ordering::Relaxed);
            }
        }
        lines
    }

    pub(super) fn len(&self) -> usize {
        self.full.len()
    }

    fn buffer(&self) -> Option<String> {
        if let Some(text) = self.free.pop() {
            return Some(text);
        }
        // Two threads of the shared ring may both pass the test; the second to add takes its addition back.
        if self.made.load(Ordering::Relaxed) >= self.full.capacity() {
            return None;
        }
        if self.made.fetch_add(1, Ordering::Relaxed) >= self.full.capacity() {
            self.made.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(String::with_capacity(FIRST_OCTETS))
    }
}

/// Appends the whole line, its newline included. Every line is one line: control characters that would break
/// it, or a terminal that shows it, are written as `\n`, `\r` or `\x1b`; what is too long is cut.
pub(super) fn write_line(
    text: &mut String,
    level: &str,
    plugin: Option<&str>,
    message: fmt::Arguments,
) {
    let mut line = Line { text, cut: false };
    // The writer below never fails; a failing Display leaves what it wrote so far.
    let _ = match plugin {
        Some(plugin) => write!(line, "{level}plugin/{plugin}: {message}"),
        None => write!(line, "{level}{message}"),
    };
    line.text.push('\n');
}

struct Line<'a> {
    text: &'a mut String,
    cut: bool,
}

impl Line<'_> {
    fn push(&mut self, piece: &str) {
        let room = (limits::LOG_LINE_OCTETS - 1).saturating_sub(self.text.len());
        if piece.len() <= room && !self.cut {
            self.text.push_str(piece);
        } else if !self.cut {
            self.text
                .push_str(&piece[..piece.floor_char_boundary(room)]);
            self.cut = true;
        }
    }
}

impl Write for Line<'_> {
    fn write_str(&mut self, mut piece: &str) -> fmt::Result {
        // All octets are looked at, without an early end: that goes 16 at a time.
        let is_control = |octet: u8| octet < b' ' && octet != b'\t';
        if !piece
            .bytes()
            .fold(false, |any, octet| any | is_control(octet))
        {
            self.push(piece);
            return Ok(());
        }
        while let Some(at) = piece
            .bytes()
            .position(|octet| octet < b' ' && octet != b'\t')
        {
            self.push(&piece[..at]);
            match piece.as_bytes()[at] {
                b'\n' => self.push("\\n"),
                b'\r' => self.push("\\r"),
                octet => {
                    let hex = |digit: u8| char::from(b"0123456789abcdef"[usize::from(digit & 15)]);
                    let mut escape = [0; 4];
                    for c in ['\\', 'x', hex(octet >> 4), hex(octet)] {
                        self.push(c.encode_utf8(&mut escape));
                    }
                }
            }
            piece = &piece[at + 1..];
        }
        self.push(piece);
        Ok(())
    }
}

/// Octets of a fresh line buffer: a query line in the common format with a name of ordinary length.
const FIRST_OCTETS: usize = 192;
