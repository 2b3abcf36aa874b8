//! The glommio backend: our scheduler is the one task of a glommio `LocalExecutor`, whose rings do the waiting.
//!
//! Every wait is an io_uring poll of the descriptor, which glommio's stream type makes, and never a receive or an
//! accept under way in the kernel: giving one of those up can lose the datagram or the connection that it took.
//!
//! Costs beside epoll, measured: about 200 KiB and one idle helper thread for each core, an eventfd that glommio leaks
//! whenever an executor ends, and about twice the CPU for an exchange, most of it in submitting and in interrupts that
//! complete requests.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use futures_io::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use glommio::timer::Timer;
use glommio::{LocalExecutorBuilder, Placement};
use socket2::{SockAddr, Socket};

use crate::limits;
use crate::runtime::choose;
use crate::runtime::clock::{self, Nanos, SECOND};
use crate::runtime::exec::{self, Driver, Exec, Parker};
use crate::runtime::stream::accept;

/// A socket whose reads and writes wait in the rings of this thread.
pub(crate) enum Source {
    /// TCP connected or connecting, or UDP with a peer: glommio's type only calls recv(2), send(2) and poll.
    Stream(Box<Stream>),
    /// A listening socket, and the poll of it that is under way.
    Listener {
        socket: Socket,
        readable: RefCell<Option<Box<TcpStream>>>,
    },
    /// Any descriptor, in a poll set of its own: that set is readable when it is, and reading the set takes nothing.
    Watched(Box<Watched>),
}

/// Boxed, like a stream: there are few of these, and many of the others.
pub(crate) struct Watched {
    socket: Socket,
    poll_set: OwnedFd,
    readable: RefCell<Option<Box<TcpStream>>>,
}

/// glommio's type and its descriptor; boxed, since a future that holds a socket is moved and epoll's is a third of this.
pub(crate) struct Stream {
    stream: RefCell<TcpStream>,
    /// The same descriptor, for its options; `stream` closes it.
    socket: ManuallyDrop<Socket>,
}

/// Runs `main` and all that it spawns on this thread until `done` is set, which is the last thing `main` does.
pub(crate) fn run(main: impl Future<Output = ()> + 'static, done: &Cell<bool>) -> io::Result<()> {
    if exec::current().is_some() {
        return Err(exec::nested());
    }
    // glommio panics or ends the process where something it needs is refused, so ask first.
    choose::probe().map_err(|refusal| io::Error::new(io::ErrorKind::Unsupported, refusal))?;
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(limits::RING_BUFFER_OCTETS)
        .ring_depth(limits::RING_DEPTH)
        .spin_before_park(Duration::ZERO)
        .make()
        .map_err(io::Error::from)?;
    let exec = Exec::enter(Driver::Ring, Parker::Outer(AtomicWaker::new()))?;
    let closer = exec::Closer::new(Rc::clone(&exec));
    let _ = exec.spawn(main);
    let mut alarm = Alarm { armed: None };
    executor.run(poll_fn(|cx| poll_turn(&exec, done, &mut alarm, cx)));
    drop(closer);
    Ok(())
}

/// One turn of the scheduler, then back to glommio, which submits and reaps. It never wakes itself: glommio would poll
/// it again without a look at its rings, until the preemption timer of 100 ms.
fn poll_turn(exec: &Exec, done: &Cell<bool>, alarm: &mut Alarm, cx: &mut Context<'_>) -> Poll<()> {
    exec.register_outer(cx.waker());
    #[cfg(any(test, feature = "testing"))]
    if clock::fake::now().is_some() && alarm.went_off(cx) {
        exec.jump_fake_clock();
    }
    loop {
        let more = exec.turn(|| done.get());
        if done.get() {
            // While glommio runs: what the tasks drop cancels its requests, and wakers of its task that are dropped
            // later leak.
            alarm.armed = None;
            exec.close();
            return Poll::Ready(());
        }
        let wait_ns = if more || !exec.prepare_to_wait() {
            Some(0)
        } else {
            exec.wait_ns()
        };
        if alarm.arm(wait_ns, cx).is_pending() {
            return Poll::Pending;
        }
    }
}

/// The one glommio timer: set to our next deadline or before.
struct Alarm {
    armed: Option<(Nanos, Timer)>,
}

impl Alarm {
    /// Sees to it that the scheduler is polled in `wait_ns` at the latest; `Ready` when that is over already.
    fn arm(&mut self, wait_ns: Option<Nanos>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(wait_ns) = wait_ns else {
            return Poll::Pending;
        };
        // glommio panics on durations that do not fit its timespec; a day early is only one more turn.
        let wait_ns = wait_ns.clamp(WAIT_NS_MIN, WAIT_NS_MAX);
        let now = clock::now_ns();
        let at = now.saturating_add(wait_ns);
        if let Some((armed, _)) = &self.armed
            && (now..=at).contains(armed)
            && !self.is_fake()
        {
            return Poll::Pending;
        }
        let mut timer = Timer::new(Duration::from_nanos(wait_ns));
        let polled = Pin::new(&mut timer).poll(cx).map(drop);
        self.armed = Some((at, timer));
        polled
    }

    #[cfg(any(test, feature = "testing"))]
    fn is_fake(&self) -> bool {
        clock::fake::now().is_some()
    }

    #[cfg(not(any(test, feature = "testing")))]
    fn is_fake(&self) -> bool {
        false
    }

    #[cfg(any(test, feature = "testing"))]
    fn went_off(&mut self, cx: &mut Context<'_>) -> bool {
        self.armed
            .as_mut()
            .is_some_and(|(_, timer)| Pin::new(timer).poll(cx).is_ready())
    }
}

// === impl Source ===

impl Source {
    /// Takes a connected or connecting socket.
    pub(crate) fn stream(socket: Socket) -> Self {
        let socket = ManuallyDrop::new(socket);
        Self::Stream(Box::new(Stream {
            stream: RefCell::new(owning(socket.as_raw_fd())),
            socket,
        }))
    }

    /// Takes a listening socket, which must be non-blocking.
    pub(crate) fn listener(socket: Socket) -> Self {
        Self::Listener {
            socket,
            readable: RefCell::new(None),
        }
    }

    /// Watches a socket that is read by system calls of the owner's.
    pub(crate) fn watched(socket: Socket) -> io::Result<Self> {
        // SAFETY: takes no pointer; the result is checked before it is owned.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nothing else owns.
        let poll_set = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: 0,
        };
        // SAFETY: `event` is live for the call.
        let code = unsafe {
            libc::epoll_ctl(
                poll_set.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                socket.as_raw_fd(),
                &raw mut event,
            )
        };
        if code < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self::Watched(Box::new(Watched {
            socket,
            poll_set,
            readable: RefCell::new(None),
        })))
    }

    pub(crate) fn socket(&self) -> &Socket {
        match self {
            Self::Stream(stream) => &stream.socket,
            Self::Listener { socket, .. } => socket,
            Self::Watched(watched) => &watched.socket,
        }
    }

    pub(crate) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Stream(socket) => {
                Pin::new(&mut *socket.stream.borrow_mut()).poll_read(cx, buffer)
            }
            Self::Listener { .. } | Self::Watched(_) => {
                Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
            }
        }
    }

    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Stream(socket) => {
                Pin::new(&mut *socket.stream.borrow_mut()).poll_write(cx, octets)
            }
            Self::Listener { .. } | Self::Watched(_) => {
                Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
            }
        }
    }

    /// Waits for the end of a connect: sending nothing would block until then, and fails with its error.
    pub(crate) fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx, &[]).map_ok(drop)
    }

    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, SockAddr)>> {
        self.poll_with(cx, accept)
    }

    /// Tries an operation on a listening or watched socket; when it would block, arranges that the task is woken when it may succeed.
    pub(crate) fn poll_with<T>(
        &self,
        cx: &mut Context<'_>,
        mut operation: impl FnMut(&Socket) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let (socket, readable) = match self {
            Self::Listener { socket, readable } => (socket, readable),
            Self::Watched(watched) => (&watched.socket, &watched.readable),
            Self::Stream(_) => return Poll::Ready(Err(io::ErrorKind::InvalidInput.into())),
        };
        let mut readable = readable.borrow_mut();
        loop {
            match operation(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => return Poll::Ready(outcome),
            }
            // A new stream begins with a poll, and reads only when that is over. Reading a listening socket or a poll set fails
            // at once; so the first outcome of any kind means that the socket was readable.
            let stream = match &mut *readable {
                Some(stream) => stream,
                None => match self.twin() {
                    Ok(twin) => readable.insert(Box::new(owning(twin))),
                    Err(error) => return Poll::Ready(Err(error)),
                },
            };
            if Pin::new(stream).poll_read(cx, &mut []).is_pending() {
                return Poll::Pending;
            }
            *readable = None;
        }
    }

    /// Another descriptor to poll, which the caller owns.
    fn twin(&self) -> io::Result<RawFd> {
        match self {
            Self::Watched(watched) => watched.poll_set.try_clone().map(IntoRawFd::into_raw_fd),
            _ => self.socket().try_clone().map(IntoRawFd::into_raw_fd),
        }
    }
}

/// Gives a descriptor to glommio, which closes it. Its caller must not.
fn owning(fd: RawFd) -> TcpStream {
    // SAFETY: both callers hand over a descriptor that they own and do not close: one is taken out of its owner,
    // the other's owner is in a `ManuallyDrop` that is never dropped.
    unsafe { TcpStream::from_raw_fd(fd) }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket().fmt(f)
    }
}

const WAIT_NS_MIN: Nanos = 1_000;
const WAIT_NS_MAX: Nanos = 86_400 * SECOND;
