//! The thread that writes the lines of all rings to standard output.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::ring::Ring;
use crate::limits;
use crate::telemetry::metrics::registry;

/// Where the rings meet. The process has one, made by its first line.
pub(super) struct Writer {
    shared: Arc<Ring>,
    rings: Mutex<Vec<Arc<Ring>>>,
    /// Counts additions to `rings`, so that the thread copies the list only when it has changed.
    rings_version: AtomicU64,
    /// True while the thread is parked, or about to park and yet to look at the rings once more.
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
        let shared = new_ring();
        // Leaked on purpose: the writer serves until the process ends.
        let writer: &'static Writer = Box::leak(Box::new(Writer {
            rings: Mutex::new(vec![Arc::clone(&shared)]),
            shared,
            rings_version: AtomicU64::new(1),
            sleeping: AtomicBool::new(false),
            thread: OnceLock::new(),
            flush_wanted: AtomicU64::new(0),
            flush_done: Mutex::new(0),
            flushed: Condvar::new(),
        }));
        // Without the thread lines are dropped and counted once the rings are full; queries are answered.
        if let Ok(handle) = thread::Builder::new()
            .name("log".into())
            .spawn(move || writer.run(write))
        {
            let _ = writer.thread.set(handle.thread().clone());
        }
        writer
    }

    pub(super) fn shared_ring(&self) -> &Ring {
        &self.shared
    }

    pub(super) fn add_ring(&self) -> Arc<Ring> {
        let ring = new_ring();
        self.rings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&ring));
        self.rings_version.fetch_add(1, Ordering::Release);
        ring
    }

    pub(super) fn queue(
        &self,
        ring: &Ring,
        level: &str,
        plugin: Option<&str>,
        message: fmt::Arguments,
    ) {
        if ring.push(level, plugin, message) {
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

    fn run(&self, mut write: impl FnMut(&[u8]) -> bool) {
        let mut batch = Vec::with_capacity(4096);
        let mut rings = Vec::new();
        let mut version = 0;
        let mut flushed = 0;
        loop {
            let wanted = self.flush_wanted.load(Ordering::SeqCst);
            self.refresh(&mut rings, &mut version);
            let busy = drain(&rings, &mut batch, &mut write);
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
            self.forget_done(&rings);
            self.sleeping.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            self.refresh(&mut rings, &mut version);
            if rings.iter().all(|ring| ring.len() == 0)
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

    fn refresh(&self, rings: &mut Vec<Arc<Ring>>, version: &mut u64) {
        let now = self.rings_version.load(Ordering::Acquire);
        if now != *version {
            *version = now;
            rings.clone_from(&self.rings.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn forget_done(&self, rings: &[Arc<Ring>]) {
        if rings.iter().any(|ring| ring.is_done()) {
            self.rings
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|ring| !ring.is_done());
            self.rings_version.fetch_add(1, Ordering::Release);
        }
    }
}

/// Writes what waits in each ring at the start of the call. Returns whether there was anything.
fn drain(rings: &[Arc<Ring>], batch: &mut Vec<u8>, write: &mut impl FnMut(&[u8]) -> bool) -> bool {
    let mut busy = false;
    for ring in rings {
        let mut waiting = ring.len();
        while waiting > 0 {
            let room = limits::LOG_BATCH_OCTETS;
            let lines = ring.drain(batch, waiting, room);
            if lines == 0 {
                break;
            }
            busy = true;
            waiting -= lines;
            if batch.len() >= room {
                emit(batch, write);
            }
        }
    }
    if !batch.is_empty() {
        emit(batch, write);
    }
    busy
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

fn new_ring() -> Arc<Ring> {
    Arc::new(Ring::new(limits::LOG_RING_LINES, dropped()))
}

fn dropped() -> crate::telemetry::metrics::SharedCounter {
    registry().shared_counter(
        "percoredns_log_dropped_total",
        "Log lines lost to a full queue or a closed output.",
        &[],
    )
}
