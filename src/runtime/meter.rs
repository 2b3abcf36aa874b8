//! How much of the time a thread wants its CPU: what it ran, and what it was kept waiting by others on the same CPU.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::runtime::clock::{Nanos, SECOND};

/// The meter of one thread, read on that thread.
pub struct Meter {
    /// Its scheduler statistics (proc_pid_schedstat(5)); `None` where /proc is hidden: then only what it ran counts.
    schedstat: Option<File>,
    at_ns: Nanos,
    ran_ns: Nanos,
    waited_ns: Nanos,
    idle_ns: Nanos,
}

/// What a thread did with the time between two looks, in percent of it.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// It had the CPU.
    pub ran: u8,
    /// It could have run, but others had the CPU.
    pub waited: u8,
}

impl Share {
    /// How much it wanted the CPU: at most 100.
    pub fn wanted(self) -> u8 {
        self.ran.saturating_add(self.waited).min(100)
    }
}

impl Meter {
    /// Starts to measure the calling thread at `now_ns`.
    pub fn start(now_ns: Nanos) -> Meter {
        let mut meter = Meter {
            schedstat: File::open("/proc/thread-self/schedstat").ok(),
            at_ns: now_ns,
            ran_ns: ran_ns(),
            waited_ns: 0,
            idle_ns: 0,
        };
        meter.waited_ns = meter.read_waited().unwrap_or(0);
        meter
    }

    /// When the part that is measured now began.
    pub fn since_ns(&self) -> Nanos {
        self.at_ns
    }

    /// Measures the time since the last call. Two system calls. For a thread that spins when it has nothing to do, `idle_ns` is all the time
    /// that it spent so: whatever is left counts as work.
    pub fn look(&mut self, now_ns: Nanos, idle_ns: Option<Nanos>) -> Share {
        let (ran_ns, waited_ns) = (ran_ns(), self.read_waited().unwrap_or(self.waited_ns));
        let passed_ns = now_ns.saturating_sub(self.at_ns).max(1);
        let percent = |before: Nanos, after: Nanos| {
            let part = after.saturating_sub(before).saturating_mul(100) / passed_ns;
            // At most 100.
            part.min(100) as u8
        };
        let share = match idle_ns {
            None => Share {
                ran: percent(self.ran_ns, ran_ns),
                waited: percent(self.waited_ns, waited_ns),
            },
            Some(idle_ns) => Share {
                ran: 100 - percent(self.idle_ns, idle_ns),
                waited: 0,
            },
        };
        self.idle_ns = idle_ns.unwrap_or(0);
        (self.at_ns, self.ran_ns, self.waited_ns) = (now_ns, ran_ns, waited_ns);
        share
    }

    /// `0 1 2`: nanoseconds on the CPU, nanoseconds runnable but off it, times it got it. The first one is as old as the last tick.
    fn read_waited(&self) -> Option<Nanos> {
        let mut text = [0; 64];
        let len = self.schedstat.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(text.get(..len)?).ok()?;
        text.split_ascii_whitespace().nth(1)?.parse().ok()
    }
}

/// CPU time of the calling thread, to the nanosecond.
fn ran_ns() -> Nanos {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the length of the call; this clock exists for every thread.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    // Neither is negative.
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::runtime::clock;

    #[test]
    fn a_thread_that_sleeps_wants_little_and_one_that_spins_all() {
        let mut meter = Meter::start(clock::now_ns());
        assert!(meter.schedstat.is_some());
        std::thread::sleep(Duration::from_millis(300));
        // To be woken late is to wait for the CPU, so that a busy machine adds something.
        let slept = meter.look(clock::now_ns(), None).wanted();
        let end = clock::now_ns() + 100 * clock::MILLISECOND;
        while clock::now_ns() < end {
            std::hint::spin_loop();
        }
        let spun = meter.look(clock::now_ns(), None).wanted();
        assert!(slept < 50 && spun > 90, "{slept} {spun}");
        let mut busy = Meter::start(0);
        let ran = |share: Share| (share.ran, share.waited);
        assert_eq!(ran(busy.look(1_000, Some(900))), (10, 0));
        assert_eq!(ran(busy.look(2_000, Some(1_000))), (90, 0));
    }
}
