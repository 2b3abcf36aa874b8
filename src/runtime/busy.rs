//! Busy polling of a poll set: the thread asks for packets before it sleeps.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// How a packet thread polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    /// Microseconds before it sleeps.
    pub us: u32,
    /// Packets that the kernel takes from the card at once.
    pub budget: u16,
    /// The card's interrupts stay off meanwhile.
    pub prefer: bool,
}

/// What the kernel reads (struct epoll_params, linux/eventpoll.h).
#[repr(C)]
#[derive(Default, PartialEq, Eq, Debug)]
struct Params {
    busy_poll_usecs: u32,
    busy_poll_budget: u16,
    prefer_busy_poll: u8,
    pad: u8,
}

/// Lets the kernel poll the card whose packets the set's sockets get (EPIOCSPARAMS, Linux 6.9). Sockets without a card, as on
/// loopback, it does not poll.
pub(super) fn set(poll_set: &impl AsRawFd, busy: BusyPoll) -> io::Result<()> {
    let mut params = Params {
        busy_poll_usecs: busy.us,
        busy_poll_budget: busy.budget,
        prefer_busy_poll: busy.prefer.into(),
        pad: 0,
    };
    control(poll_set.as_raw_fd(), EPIOCSPARAMS, &mut params)
}

fn control(poll_set: RawFd, request: libc::Ioctl, params: &mut Params) -> io::Result<()> {
    // SAFETY: both requests read or write one `Params`, which is live for the call.
    let code = unsafe { libc::ioctl(poll_set, request, &raw mut *params) };
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// `_IOW(0x8A, 1, struct epoll_params)`; libc names neither.
const EPIOCSPARAMS: libc::Ioctl = 0x4008_8a01;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Poller, clock};

    /// `_IOR(0x8A, 2, struct epoll_params)`.
    const EPIOCGPARAMS: libc::Ioctl = 0x8008_8a02u32 as libc::Ioctl;

    #[test]
    fn the_kernel_takes_what_is_set() {
        let mut poller = Poller::new().unwrap();
        let busy = BusyPoll {
            us: 50,
            budget: 16,
            prefer: true,
        };
        match poller.busy_poll(busy) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => {
                eprintln!("SKIPPED: a kernel without EPIOCSPARAMS (Linux 6.9)");
                return;
            }
            Err(error) => panic!("{error}"),
        }
        let mut params = Params::default();
        control(poller.raw_fd(), EPIOCGPARAMS, &mut params).unwrap();
        let want = Params {
            busy_poll_usecs: 50,
            busy_poll_budget: 16,
            prefer_busy_poll: 1,
            pad: 0,
        };
        assert_eq!(params, want);
    }

    #[test]
    fn time_in_the_wait_is_idle_time_and_what_comes_ends_it() {
        let mut poller = Poller::new().unwrap();
        assert_eq!(poller.idle_ns(), None);
        let busy = BusyPoll {
            us: 2_000,
            budget: 8,
            prefer: false,
        };
        // It spins even where the kernel cannot poll.
        let _ = poller.busy_poll(busy);
        let start = clock::now_ns();
        poller.wait(1).unwrap();
        let passed = clock::now_ns() - start;
        let idle = poller.idle_ns().unwrap();
        // Two milliseconds of spinning, then one of sleep.
        assert!((3_000_000..=passed).contains(&idle), "{idle} of {passed}");
        let event = crate::runtime::eventfd::EventFd::new().unwrap();
        poller.add(event.fd(), 7).unwrap();
        event.signal();
        poller.wait(-1).unwrap();
        assert_eq!((poller.ready_len(), poller.ready(0)), (1, 7));
    }
}
