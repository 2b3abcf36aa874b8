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

/// A set of descriptors, each with a name of the caller's.
pub struct Poller {
    poll_set: OwnedFd,
    events: Vec<libc::epoll_event>,
    ready: usize,
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

    /// Blocks until something can be read, at most so many milliseconds; -1 is for ever.
    pub fn wait(&mut self, timeout_ms: i32) -> io::Result<()> {
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
