//! The thread that writes the lines of the ring and of all lanes to standard output.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::lane::{Lane, LaneEnd};
use super::page::Page;
use super::query::QueryLine;
use super::ring::Ring;
use crate::limits;
use crate::telemetry::metrics::registry;

/// Where all lines meet. The process has one, made by its first line.
pub(super) struct Writer {
    shared: Ring,
    lanes: Mutex<Vec<Arc<Lane>>>,
    /// Counts changes of `lanes`, so that the thread copies the list only when it has changed.
    lanes_version: AtomicU64,
    /// True while the thread is parked, or about to park and yet to look for lines once more.
    sleeping: AtomicBool,
    thread: OnceLock<Thread>,
    flush_wanted: AtomicU64,
    flush_done: Mutex<u64>,
    flushed: Condvar,
}

impl Writer {
    /// The process's writer to standard output.
    pub(super) fn process() -> &'static Writer {
        static WRITER: OnceLock<&'static Writer> = OnceLock::new();
        WRITER.get_or_init(|| {
            let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
            Writer::start(move |octets| match &stdout {
                Ok(file) => write_all(file, octets),
                Err(_) => false,
            })
        })
    }

    /// Starts a thread that hands each batch to `write`, which says whether it was written.
    pub(super) fn start(write: impl FnMut(&[u8]) -> bool + Send + 'static) -> &'static Writer {
        // Leaked on purpose: the writer serves until the process ends.
        let writer: &'static Writer = Box::leak(Box::new(Writer {
            shared: Ring::new(limits::LOG_RING_LINES, dropped()),
            lanes: Mutex::default(),
            lanes_version: AtomicU64::new(0),
            sleeping: AtomicBool::new(false),
            thread: OnceLock::new(),
            flush_wanted: AtomicU64::new(0),
            flush_done: Mutex::new(0),
            flushed: Condvar::new(),
        }));
        // Without the thread lines are dropped and counted once all is full; queries are answered.
        if let Ok(handle) = thread::Builder::new()
            .name("log".into())
            .spawn(move || writer.run(write))
        {
            let _ = writer.thread.set(handle.thread().clone());
        }
        writer
    }

    /// A lane for one thread.
    pub(super) fn add_lane(&self) -> LaneEnd {
        let lane = Arc::new(Lane::new(dropped()));
        self.lanes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&lane));
        self.lanes_version.fetch_add(1, Ordering::Release);
        LaneEnd::new(lane)
    }

    /// Queues a line of text in the lane of its thread, where it has one.
    pub(super) fn queue(
        &self,
        lane: Option<&LaneEnd>,
        level: &str,
        plugin: Option<&str>,
        message: fmt::Arguments,
    ) {
        let of_lane = lane.and_then(|lane| lane.push_text(level, plugin, message));
        if of_lane.unwrap_or_else(|| self.shared.push(level, plugin, message)) {
            self.wake();
        }
    }

    /// Queues a query in the lane of its thread.
    pub(super) fn queue_query(&self, lane: &LaneEnd, line: &QueryLine<'_>) {
        if lane.push_query(line) {
            self.wake();
        }
    }

    pub(super) fn flush(&self) -> bool {
        let deadline = Instant::now() + Duration::from_millis(limits::LOG_FLUSH_MS_MAX);
        let wanted = self.flush_wanted.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
        let mut done = self
            .flush_done
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while *done < wanted {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            done = self
                .flushed
                .wait_timeout(done, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    /// Wakes the thread if it sleeps. Together with the second look in `run` no line is left behind: either
    /// the thread sees the line, or this sees the flag.
    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed)
            && self.sleeping.swap(false, Ordering::Relaxed)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    fn run(&self, write: impl FnMut(&[u8]) -> bool) {
        let mut pen = Pen {
            // As long as it gets, so that it never moves; what is not written to takes no memory.
            batch: Vec::with_capacity(limits::LOG_BATCH_OCTETS + 2 * limits::LOG_LINE_OCTETS),
            page: Page::default(),
            write,
        };
        let mut lanes = Vec::new();
        let mut version = 0;
        let mut flushed = 0;
        loop {
            let wanted = self.flush_wanted.load(Ordering::SeqCst);
            self.refresh(&mut lanes, &mut version);
            let busy = pen.drain(&self.shared, &lanes);
            if wanted != flushed {
                flushed = wanted;
                *self
                    .flush_done
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = wanted;
                self.flushed.notify_all();
            }
            if busy {
                thread::park_timeout(Duration::from_millis(limits::LOG_PAUSE_MS));
                continue;
            }
            self.forget_done(&lanes);
            self.sleeping.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            self.refresh(&mut lanes, &mut version);
            if self.shared.len() == 0
                && lanes.iter().all(|lane| lane.is_empty())
                && self.flush_wanted.load(Ordering::SeqCst) == flushed
            {
                // The timeout covers the moment in which `thread` is not yet set.
                match self.thread.get() {
                    Some(_) => thread::park(),
                    None => thread::park_timeout(Duration::from_millis(1)),
                }
            }
            self.sleeping.store(false, Ordering::Relaxed);
        }
    }

    fn refresh(&self, lanes: &mut Vec<Arc<Lane>>, version: &mut u64) {
        let now = self.lanes_version.load(Ordering::Acquire);
        if now != *version {
            *version = now;
            lanes.clone_from(&self.lanes.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn forget_done(&self, lanes: &[Arc<Lane>]) {
        if lanes.iter().any(|lane| lane.is_done()) {
            self.lanes
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|lane| !lane.is_done());
            self.lanes_version.fetch_add(1, Ordering::Release);
        }
    }
}

/// What the thread writes with.
struct Pen<W> {
    batch: Vec<u8>,
    page: Page,
    write: W,
}

impl<W: FnMut(&[u8]) -> bool> Pen<W> {
    /// Writes what waits at the start of the call. Returns whether there was anything.
    fn drain(&mut self, shared: &Ring, lanes: &[Arc<Lane>]) -> bool {
        let mut busy = false;
        let mut waiting = shared.len();
        while waiting > 0 {
            let lines = shared.drain(&mut self.batch, waiting, limits::LOG_BATCH_OCTETS);
            if lines == 0 {
                break;
            }
            busy = true;
            waiting -= lines;
            self.emit_full();
        }
        for lane in lanes {
            let end = lane.end();
            while lane.drain(
                &mut self.batch,
                &mut self.page,
                end,
                limits::LOG_BATCH_OCTETS,
            ) > 0
            {
                busy = true;
                self.emit_full();
            }
        }
        if !self.batch.is_empty() {
            emit(&mut self.batch, &mut self.write);
        }
        busy
    }

    fn emit_full(&mut self) {
        if self.batch.len() >= limits::LOG_BATCH_OCTETS {
            emit(&mut self.batch, &mut self.write);
        }
    }
}

fn emit(batch: &mut Vec<u8>, write: &mut impl FnMut(&[u8]) -> bool) {
    if !write(batch) {
        let lines = batch.iter().filter(|&&octet| octet == b'\n').count();
        dropped().add(lines as u64);
    }
    batch.clear();
}

/// Writes all, waiting for a slow reader. False if the reader is gone.
fn write_all(mut file: &File, mut octets: &[u8]) -> bool {
    while !octets.is_empty() {
        match file.write(octets) {
            Ok(0) => return false,
            Ok(written) => octets = &octets[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Somebody made the descriptor non-blocking; it is shared with them, so it stays as it is.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(5))
            }
            Err(_) => return false,
        }
    }
    true
}

fn dropped() -> crate::telemetry::metrics::SharedCounter {
    registry().shared_counter(
        "percoredns_log_dropped_total",
        "Log lines lost to a full queue or a closed output.",
        &[],
    )
}
