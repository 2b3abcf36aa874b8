//! The blocking epoll of a packet thread: level-triggered, so a socket that was not emptied is reported again.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::limits::EVENTS_PER_TURN;
use crate::runtime::busy::{self, BusyPoll};
use crate::runtime::clock::{self, Nanos};

/// A set of descriptors, each with a name of the caller's.
pub struct Poller {
    poll_set: OwnedFd,
    events: Vec<libc::epoll_event>,
    ready: usize,
    polling: Option<Polling>,
}

/// What a set that polls before it sleeps keeps.
struct Polling {
    /// How long the thread itself asks again and again; 0 where the kernel alone should.
    spin_ns: Nanos,
    idle_ns: Nanos,
}

impl Poller {
    /// An empty set.
    pub fn new() -> io::Result<Poller> {
        // SAFETY: takes no pointer; the result is checked before it is owned.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nothing else owns.
        let poll_set = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Poller {
            poll_set,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_PER_TURN],
            ready: 0,
            polling: None,
        })
    }

    /// Watches a descriptor for input.
    pub fn add(&self, fd: RawFd, name: u64) -> io::Result<()> {
        self.watch(fd, name, libc::EPOLLIN)
    }

    /// Watches a descriptor that other sets may watch too: of those that wait, the kernel wakes the one that came first
    /// (EPOLLEXCLUSIVE, Linux 4.5).
    pub fn share(&self, fd: RawFd, name: u64) -> io::Result<()> {
        self.watch(fd, name, libc::EPOLLIN | libc::EPOLLEXCLUSIVE)
    }

    /// Watches it no more. One that was never added is ignored.
    pub fn remove(&self, fd: RawFd) {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, &mut event);
    }

    /// Polls for so long before each wait, on the card where the kernel can, and in any case by asking without sleep: on loopback and
    /// between network namespaces there is no card to poll. With `prefer` the kernel must be in the wait to poll, so that it alone does.
    ///
    /// # Errors
    /// The kernel does not poll; asking without sleep is on all the same.
    pub fn busy_poll(&mut self, busy: BusyPoll) -> io::Result<()> {
        let spin_us = if busy.prefer { 0 } else { busy.us };
        self.polling = Some(Polling {
            spin_ns: Nanos::from(spin_us) * 1_000,
            idle_ns: 0,
        });
        busy::set(&self.poll_set, busy)
    }

    /// Nanoseconds spent in `wait` so far, where they look like work to the scheduler; else `None`.
    pub fn idle_ns(&self) -> Option<Nanos> {
        Some(self.polling.as_ref()?.idle_ns)
    }

    /// Blocks until something can be read, at most so many milliseconds; -1 is for ever.
    pub fn wait(&mut self, timeout_ms: i32) -> io::Result<()> {
        match &self.polling {
            None => self.wait_once(timeout_ms),
            Some(polling) => self.wait_busy(timeout_ms, polling.spin_ns),
        }
    }

    fn wait_busy(&mut self, timeout_ms: i32, spin_ns: Nanos) -> io::Result<()> {
        let start_ns = clock::now_ns();
        let end_ns = start_ns + if timeout_ms == 0 { 0 } else { spin_ns };
        let mut now_ns = start_ns;
        self.ready = 0;
        while self.ready == 0 && now_ns < end_ns {
            self.wait_once(0)?;
            now_ns = clock::now_ns();
        }
        if self.ready == 0 {
            self.wait_once(timeout_ms)?;
            now_ns = clock::now_ns();
        }
        if let Some(polling) = &mut self.polling {
            polling.idle_ns += now_ns.saturating_sub(start_ns);
        }
        Ok(())
    }

    fn wait_once(&mut self, timeout_ms: i32) -> io::Result<()> {
        // SAFETY: the buffer is live and `EVENTS_PER_TURN` long.
        let count = unsafe {
            libc::epoll_wait(
                self.poll_set.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as i32,
                timeout_ms,
            )
        };
        self.ready = usize::try_from(count).unwrap_or(0);
        if count >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::Interrupted {
            Ok(())
        } else {
            Err(error)
        }
    }

    #[cfg(test)]
    pub(super) fn raw_fd(&self) -> RawFd {
        self.poll_set.as_raw_fd()
    }

    /// How many names the last `wait` found ready.
    pub fn ready_len(&self) -> usize {
        self.ready
    }

    /// The `nth` of them, `nth < ready_len()`.
    pub fn ready(&self, nth: usize) -> u64 {
        self.events[nth].u64
    }

    fn watch(&self, fd: RawFd, name: u64, events: i32) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: name,
        };
        self.control(libc::EPOLL_CTL_ADD, fd, &mut event)
    }

    fn control(&self, verb: i32, fd: RawFd, event: &mut libc::epoll_event) -> io::Result<()> {
        // SAFETY: `event` is live for the call.
        let code = unsafe { libc::epoll_ctl(self.poll_set.as_raw_fd(), verb, fd, event) };
        if code == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}
