//! The poll set of a task thread: edge-triggered readiness, one registration per descriptor, made when it first has to wait.
//!
//! Both backends have it. They differ in who waits for it: epoll_wait(2), or a ring that polls the set as a whole.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use socket2::Socket;

use crate::limits;
use crate::runtime::clock::{MILLISECOND, Nanos, SECOND};
use crate::runtime::eventfd::EventFd;
use crate::runtime::slab::{Key, Slab};

/// The poll set of one task thread.
pub(crate) struct Reactor {
    poll_set: OwnedFd,
    sources: RefCell<Slab<Rc<Readiness>>>,
    events: RefCell<Vec<libc::epoll_event>>,
    coarse: Cell<bool>,
}

/// A socket whose reads and writes wait in the poll set of this thread.
pub(crate) struct Source {
    socket: Socket,
    state: Rc<Readiness>,
    /// Its name in the poll set, where `events` is not 0.
    key: Cell<Key>,
    /// What it is registered for; 0 = not yet.
    events: Cell<u32>,
    reactor: Rc<Reactor>,
}

/// Which side of a socket an operation needs.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    /// Data, a connection or an end to read.
    Read,
    /// Room to write, or a connect that ended.
    Write,
}

/// What is known of a socket. A side is ready until an operation on it would block.
struct Readiness {
    read: Direction,
    write: Direction,
    /// The peer ended or the socket failed: a short read no longer means that nothing is left.
    hung_up: Cell<bool>,
}

struct Direction {
    ready: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

// === impl Reactor ===

impl Reactor {
    /// A set that also ends its wait when `event` is signalled.
    pub(crate) fn new(event: &EventFd) -> io::Result<Self> {
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let reactor = Self {
            // SAFETY: the descriptor was just opened and has no other owner.
            poll_set: unsafe { OwnedFd::from_raw_fd(fd) },
            sources: RefCell::new(Slab::new(u32::MAX as usize)),
            events: RefCell::new(vec![
                libc::epoll_event { events: 0, u64: 0 };
                limits::EVENTS_PER_TURN
            ]),
            coarse: Cell::new(false),
        };
        reactor.control(
            libc::EPOLL_CTL_ADD,
            event.fd(),
            (libc::EPOLLIN | libc::EPOLLET) as u32,
            EVENT_KEY,
        )?;
        Ok(reactor)
    }

    /// Waits at most `wait_ns` (`None` = for ever) and wakes the tasks of what became ready. The number of events.
    pub(crate) fn wait(&self, wait_ns: Option<Nanos>) -> io::Result<usize> {
        let mut events = self.events.borrow_mut();
        let count = match self.wait_fine(&mut events, wait_ns) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        for event in &events[..count] {
            let (bits, key) = (event.events, event.u64);
            if key == EVENT_KEY {
                // Edge-triggered: the next signal is a new edge even if the counter is never read.
                continue;
            }
            let state = self
                .sources
                .borrow_mut()
                .value_mut(Key::from_bits(key))
                .map(|state| Rc::clone(state));
            if let Some(state) = state {
                state.apply(bits);
            }
        }
        Ok(count)
    }

    /// epoll_pwait2(2), which counts nanoseconds, or epoll_wait(2), which counts milliseconds, before Linux 5.11.
    fn wait_fine(
        &self,
        events: &mut [libc::epoll_event],
        wait_ns: Option<Nanos>,
    ) -> io::Result<usize> {
        let short = wait_ns.is_some_and(|ns| ns > 0 && ns < 100 * MILLISECOND);
        if short && !self.coarse.get() {
            let ns = wait_ns.unwrap_or(0);
            let timeout = libc::timespec {
                tv_sec: (ns / SECOND) as libc::time_t,
                tv_nsec: (ns % SECOND) as libc::c_long,
            };
            // SAFETY: `events` is writable for its length, `timeout` is valid for the call, no signal mask is given.
            let count = unsafe {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    self.poll_set.as_raw_fd(),
                    events.as_mut_ptr(),
                    events.len() as libc::c_int,
                    &raw const timeout,
                    std::ptr::null::<libc::sigset_t>(),
                    0usize,
                )
            };
            if count >= 0 {
                return Ok(count as usize);
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::ENOSYS | libc::EPERM) => self.coarse.set(true),
                _ => return Err(error),
            }
        }
        let timeout_ms = match wait_ns {
            None => -1,
            Some(ns) => i32::try_from(ns.div_ceil(MILLISECOND)).unwrap_or(i32::MAX),
        };
        // SAFETY: `events` is writable for its length.
        let count = unsafe {
            libc::epoll_wait(
                self.poll_set.as_raw_fd(),
                events.as_mut_ptr(),
                events.len() as libc::c_int,
                timeout_ms,
            )
        };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(count as usize)
    }

    fn control(&self, verb: libc::c_int, fd: RawFd, events: u32, key: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: key };
        // SAFETY: `event` is valid for the call; the kernel checks both descriptors.
        let result =
            unsafe { libc::epoll_ctl(self.poll_set.as_raw_fd(), verb, fd, &raw mut event) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

impl AsFd for Reactor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll_set.as_fd()
    }
}

// === impl Source ===

impl Source {
    /// Takes a non-blocking socket. It joins the poll set when an operation on it first has to wait.
    pub(crate) fn new(socket: Socket, reactor: Rc<Reactor>) -> Self {
        Self {
            socket,
            state: Rc::new(Readiness {
                read: Direction::new(),
                write: Direction::new(),
                hung_up: Cell::new(false),
            }),
            key: Cell::new(Key::from_bits(EVENT_KEY)),
            events: Cell::new(0),
            reactor,
        }
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Declares that the next operation on a side must wait for the kernel, as after a connect that began.
    pub(crate) fn expect_wait(&self, side: Side) -> io::Result<()> {
        self.register(side)?;
        self.state.direction(side).ready.set(false);
        Ok(())
    }

    /// Tries an operation; when it would block, arranges that the task is woken as soon as it may succeed. One task
    /// at a time may wait on each side: a second one replaces the first.
    pub(crate) fn poll_with<T>(
        &self,
        side: Side,
        cx: &Context<'_>,
        mut operation: impl FnMut(&Socket) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let direction = self.state.direction(side);
        loop {
            if !direction.ready.get() {
                direction.wait(cx.waker());
                return Poll::Pending;
            }
            match operation(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Unless the kernel tells of a change, the next try must be made all the same.
                    if let Err(error) = self.register(side) {
                        return Poll::Ready(Err(error));
                    }
                    direction.ready.set(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// Tells that a read of a stream took all there was, which saves the read that would block. Not after a hang-up:
    /// the end of the stream was announced once and must still be read. Nor before reading has joined the poll set, as on a
    /// connection whose connect alone had to wait: nobody would tell of more.
    pub(crate) fn drained(&self) {
        let is_told = self.events.get() & libc::EPOLLIN as u32 != 0;
        if is_told && !self.state.hung_up.get() {
            self.state.read.ready.set(false);
        }
    }

    /// Joins the poll set for a side. The kernel reports at once what is ready already, so no edge is lost between
    /// the operation that would have blocked and this call.
    fn register(&self, side: Side) -> io::Result<()> {
        let wanted = match side {
            Side::Read => (libc::EPOLLIN | libc::EPOLLRDHUP) as u32,
            Side::Write => libc::EPOLLOUT as u32,
        };
        let fd = self.socket.as_raw_fd();
        match self.events.get() {
            events if events & wanted == wanted => Ok(()),
            events if events != 0 => {
                let events = events | wanted;
                self.reactor
                    .control(libc::EPOLL_CTL_MOD, fd, events, self.key.get().to_bits())?;
                self.events.set(events);
                Ok(())
            }
            _ => {
                let events = wanted | libc::EPOLLET as u32;
                let key = self
                    .reactor
                    .sources
                    .borrow_mut()
                    .insert(Rc::clone(&self.state))
                    .map_err(|_| io::Error::other("too many sockets in one poll set"))?;
                if let Err(error) =
                    self.reactor
                        .control(libc::EPOLL_CTL_ADD, fd, events, key.to_bits())
                {
                    self.reactor.sources.borrow_mut().remove(key);
                    return Err(error);
                }
                self.key.set(key);
                self.events.set(events);
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if self.events.get() != 0 {
            self.reactor.sources.borrow_mut().remove(self.key.get());
            // Closing is not enough when the descriptor was duplicated. It fails only if the set is gone already.
            let _ = self
                .reactor
                .control(libc::EPOLL_CTL_DEL, self.socket.as_raw_fd(), 0, 0);
        }
    }
}

// === impl Readiness ===

impl Readiness {
    fn direction(&self, side: Side) -> &Direction {
        match side {
            Side::Read => &self.read,
            Side::Write => &self.write,
        }
    }

    fn apply(&self, events: u32) {
        let failed = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
        let ended = libc::EPOLLRDHUP as u32 | failed;
        if events & ended != 0 {
            self.hung_up.set(true);
        }
        if events & (libc::EPOLLIN as u32 | ended) != 0 {
            self.read.wake();
        }
        if events & (libc::EPOLLOUT as u32 | failed) != 0 {
            self.write.wake();
        }
    }
}

impl Direction {
    fn new() -> Self {
        Self {
            ready: Cell::new(true),
            waker: Cell::new(None),
        }
    }

    fn wait(&self, waker: &Waker) {
        let kept = match self.waker.take() {
            Some(old) if old.will_wake(waker) => old,
            _ => waker.clone(),
        };
        self.waker.set(Some(kept));
    }

    fn wake(&self) {
        self.ready.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The key of the eventfd; no slab key reaches it, because a slab has fewer than 2^32 - 1 slots.
const EVENT_KEY: u64 = u64::MAX;
