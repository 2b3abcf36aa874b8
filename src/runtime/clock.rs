//! Monotonic nanoseconds and wall seconds, read through libc so that a preloaded libc clock (libfaketime) is obeyed.

/// Nanoseconds of `CLOCK_MONOTONIC`; the origin is arbitrary, only differences mean something.
pub type Nanos = u64;

/// Nanoseconds in a second.
pub const SECOND: Nanos = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub const MILLISECOND: Nanos = 1_000_000;
/// Nanoseconds in a microsecond.
pub const MICROSECOND: Nanos = 1_000;

/// A reading of the monotonic clock that is kept for a batch, so that one batch sees one time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    now_ns: Nanos,
}

impl Clock {
    /// Reads the clock once.
    pub fn read() -> Self {
        Self { now_ns: now_ns() }
    }

    /// Reads the clock again; call it at the start of each batch.
    pub fn tick(&mut self) {
        self.now_ns = now_ns();
    }

    /// The time of the last reading, in nanoseconds.
    pub fn now_ns(&self) -> Nanos {
        self.now_ns
    }
}

/// Reads the monotonic clock, in nanoseconds.
#[inline]
pub fn now_ns() -> Nanos {
    #[cfg(any(test, feature = "testing"))]
    if let Some(fake) = fake::now() {
        return fake.mono_ns;
    }
    let time = read(libc::CLOCK_MONOTONIC);
    // The monotonic clock counts from boot: it is never negative and stays below 2^64 ns for 584 years.
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}

/// Reads the wall clock: whole seconds since 1970-01-01 UTC. Only signatures, serials and log lines may use it.
pub fn wall_s() -> u64 {
    wall_ns() / SECOND
}

/// Reads the wall clock: nanoseconds since 1970-01-01 UTC; zero for a clock set before that day.
pub fn wall_ns() -> u64 {
    #[cfg(any(test, feature = "testing"))]
    if let Some(fake) = fake::now() {
        return fake.wall_ns;
    }
    let time = read(libc::CLOCK_REALTIME);
    u64::try_from(time.tv_sec).map_or(0, |s| s.saturating_mul(SECOND)) + time.tv_nsec as u64
}

fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the length of the call. Both clocks exist on every Linux, so the call
    // cannot fail; if it did, the zeroed value would be returned.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time
}

/// A clock that stands still until the test moves it; it holds for the thread that started it.
///
/// A task thread whose clock is faked jumps to the next timer when nothing else can run (after a millisecond in
/// which no I/O arrived), so a test of a five-second timeout takes a millisecond.
#[cfg(any(test, feature = "testing"))]
pub mod fake {
    use std::cell::Cell;
    use std::marker::PhantomData;
    use std::time::Duration;

    use super::Nanos;

    thread_local! {
        static FAKE: Cell<Option<Reading>> = const { Cell::new(None) };
    }

    /// What the fake clocks show.
    #[derive(Clone, Copy, Debug)]
    pub struct Reading {
        /// Monotonic nanoseconds.
        pub mono_ns: Nanos,
        /// Nanoseconds since 1970.
        pub wall_ns: u64,
    }

    /// The fake reading of this thread, if its clock is faked.
    pub fn now() -> Option<Reading> {
        FAKE.get()
    }

    /// Stops this thread's clock until it is dropped.
    pub struct FakeClock {
        not_send: PhantomData<*const ()>,
    }

    impl FakeClock {
        /// Stops the clock at 1000 s after boot, 2026-01-01 00:00:00 UTC.
        pub fn start() -> Self {
            FAKE.set(Some(Reading {
                mono_ns: 1_000 * super::SECOND,
                wall_ns: 1_767_225_600 * super::SECOND,
            }));
            Self {
                not_send: PhantomData,
            }
        }

        /// Moves both clocks forward.
        pub fn advance(&self, by: Duration) {
            advance(by);
        }

        /// Moves the wall clock alone, as an operator or NTP would.
        pub fn set_wall_s(&self, wall_s: u64) {
            if let Some(reading) = FAKE.get() {
                FAKE.set(Some(Reading {
                    wall_ns: wall_s * super::SECOND,
                    ..reading
                }));
            }
        }
    }

    impl Drop for FakeClock {
        fn drop(&mut self) {
            FAKE.set(None);
        }
    }

    /// Moves both clocks of this thread forward, if they are faked.
    pub fn advance(by: Duration) {
        if let Some(reading) = FAKE.get() {
            let by = by.as_nanos() as u64;
            FAKE.set(Some(Reading {
                mono_ns: reading.mono_ns + by,
                wall_ns: reading.wall_ns + by,
            }));
        }
    }

    /// Moves the clocks to a monotonic time, if they are faked and it is ahead.
    pub(crate) fn jump_to(deadline: Nanos) {
        if let Some(reading) = FAKE.get() {
            advance(Duration::from_nanos(
                deadline.saturating_sub(reading.mono_ns),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn monotonic_time_moves_forward() {
        let first = now_ns();
        std::thread::sleep(Duration::from_millis(2));
        let second = now_ns();
        assert!(
            second >= first + 2 * MILLISECOND,
            "{first} was followed by {second}"
        );
    }

    #[test]
    fn wall_time_is_of_this_century() {
        assert!(wall_s() > 1_700_000_000);
    }

    #[test]
    fn a_fake_clock_moves_only_when_told() {
        let clock = fake::FakeClock::start();
        let first = now_ns();
        assert_eq!(now_ns(), first);
        clock.advance(Duration::from_secs(3));
        assert_eq!(now_ns(), first + 3 * SECOND);
        assert_eq!(wall_s(), 1_767_225_603);
        drop(clock);
        assert_ne!(now_ns(), first + 3 * SECOND);
    }

    #[test]
    fn a_batch_sees_one_time() {
        let fake = fake::FakeClock::start();
        let mut clock = Clock::read();
        let first = clock.now_ns();
        fake.advance(Duration::from_secs(1));
        assert_eq!(clock.now_ns(), first);
        clock.tick();
        assert_eq!(clock.now_ns(), first + SECOND);
    }
}
