//! The glommio backend: our scheduler is the one task of a glommio `LocalExecutor`, whose ring polls the poll set of the thread.
//!
//! ```text
//!  events every moment: turn -> poll set (at most PATIENCE_NS) -> turn
//!  else:                turn -> glommio: the ring polls the poll set, and a timer -> turn
//! ```
//!
//! It is one poll for all sockets, and nothing is received or accepted in the kernel on our behalf: giving that up can lose the datagram or
//! the connection that it took. A stream of glommio's for each socket was tried; it cost 1.5 us of CPU for each wait and 70 us for each
//! connection more than epoll does.
//!
//! Costs beside epoll, measured: about 200 KiB and one idle helper thread for each core, an eventfd that glommio leaks whenever an executor
//! ends, and some 15 us more for a wait in the ring.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::AsyncRead;
use glommio::net::TcpStream;
use glommio::timer::Timer;
use glommio::{LocalExecutorBuilder, Placement};

use crate::limits;
use crate::runtime::choose;
use crate::runtime::clock::{self, MILLISECOND, Nanos, SECOND};
use crate::runtime::exec::{self, Exec};

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
    let exec = Exec::enter()?;
    let closer = exec::Closer::new(Rc::clone(&exec));
    let _ = exec.spawn(main);
    let mut wait = Wait::default();
    let outcome = executor.run(poll_fn(|cx| poll_turns(&exec, done, &mut wait, cx)));
    drop(closer);
    outcome
}

/// Runs the scheduler until it has nothing to do, then arranges for glommio to poll this again. It never wakes itself: glommio would
/// poll it again without a look at its rings, until the preemption timer of 100 ms.
fn poll_turns(
    exec: &Exec,
    done: &Cell<bool>,
    wait: &mut Wait,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    #[cfg(any(test, feature = "testing"))]
    if clock::fake::now().is_some() && wait.timer_went_off(cx) {
        exec.jump_fake_clock();
    }
    wait.is_over(cx);
    loop {
        let more = exec.turn(|| done.get());
        if done.get() {
            // While glommio runs: what is dropped cancels its requests.
            *wait = Wait::default();
            exec.close();
            return Poll::Ready(Ok(()));
        }
        let is_idle = !more && exec.prepare_to_wait();
        let patience_ns = if is_idle { wait.patience_ns(exec) } else { 0 };
        match exec.reactor().wait(Some(patience_ns)) {
            Err(error) => return Poll::Ready(Err(error)),
            Ok(0) if is_idle => {}
            Ok(_) => continue,
        }
        match wait.poll(exec, cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
        }
    }
}

/// What the ring waits for when the scheduler has nothing to do.
#[derive(Default)]
struct Wait {
    /// When the thread gave itself over to the ring; `None` = it is not the ring's.
    since_ns: Option<Nanos>,
    /// Something happened soon after that.
    is_busy: bool,
    /// The poll of the poll set that is under way.
    readable: Option<TcpStream>,
    /// Set to our next deadline or before.
    timer: Option<(Nanos, Timer)>,
}

// === impl Wait ===

impl Wait {
    /// Called when glommio polls: something happened, or may have.
    fn is_over(&mut self, cx: &mut Context<'_>) {
        if let Some(since_ns) = self.since_ns.take() {
            self.is_busy = clock::now_ns().saturating_sub(since_ns) < PATIENCE_NS;
        }
        if self.readable.is_some() {
            let _ = self.poll_readable(cx);
        }
    }

    /// How long to wait in the poll set itself before the ring does. A sleep in the ring takes glommio several system calls and some 15 us
    /// of CPU more; so a thread to which something happens every moment sleeps in the poll set, and in the ring when that is over.
    fn patience_ns(&self, exec: &Exec) -> Nanos {
        match self.is_busy {
            true => exec.wait_ns().map_or(PATIENCE_NS, |ns| ns.min(PATIENCE_NS)),
            false => 0,
        }
    }

    /// `Pending` = glommio will poll this task again when something in the poll set or a timer is due; `Ready` = it is already.
    fn poll(&mut self, exec: &Exec, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.poll_timer(exec.wait_ns(), cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if self.readable.is_none() {
            let Ok(twin) = exec.reactor().as_fd().try_clone_to_owned() else {
                // The process is out of descriptors.
                exec.reactor().wait(exec.wait_ns())?;
                return Poll::Ready(Ok(()));
            };
            // SAFETY: glommio owns and closes the descriptor, which nothing else does any more.
            self.readable = Some(unsafe { TcpStream::from_raw_fd(twin.into_raw_fd()) });
        }
        let polled = self.poll_readable(cx);
        if polled.is_pending() {
            self.since_ns = Some(clock::now_ns());
        }
        polled.map(Ok)
    }

    /// A new stream of glommio's begins with a poll, and reads only when that is over. Reading a poll set fails at once; so the first
    /// outcome of any kind means that the set was readable.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = match &mut self.readable {
            Some(stream) => Pin::new(stream).poll_read(cx, &mut []).map(drop),
            None => Poll::Ready(()),
        };
        if polled.is_ready() {
            self.readable = None;
        }
        polled
    }

    fn poll_timer(&mut self, wait_ns: Option<Nanos>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(wait_ns) = wait_ns else {
            return Poll::Pending;
        };
        if wait_ns == 0 {
            return Poll::Ready(());
        }
        // glommio panics on durations that do not fit its timespec; a day early is only one more turn.
        let wait_ns = wait_ns.min(WAIT_NS_MAX);
        let now = clock::now_ns();
        let at = now.saturating_add(wait_ns);
        if let Some((armed, _)) = &self.timer
            && (now..=at).contains(armed)
            && !is_fake()
        {
            return Poll::Pending;
        }
        let mut timer = Timer::new(Duration::from_nanos(wait_ns));
        let polled = Pin::new(&mut timer).poll(cx).map(drop);
        self.timer = Some((at, timer));
        polled
    }

    #[cfg(any(test, feature = "testing"))]
    fn timer_went_off(&mut self, cx: &mut Context<'_>) -> bool {
        self.timer
            .as_mut()
            .is_some_and(|(_, timer)| Pin::new(timer).poll(cx).is_ready())
    }
}

#[cfg(any(test, feature = "testing"))]
fn is_fake() -> bool {
    clock::fake::now().is_some()
}

#[cfg(not(any(test, feature = "testing")))]
fn is_fake() -> bool {
    false
}

/// Longer than the gaps between the events of a busy thread, and than the tick of the kernel, before which a timer of ours would have to be
/// programmed for each sleep: a tenth of a handshake.
const PATIENCE_NS: Nanos = 10 * MILLISECOND;
const WAIT_NS_MAX: Nanos = 86_400 * SECOND;
