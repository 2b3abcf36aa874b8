//! When each query of an open loop should leave: query n at `start + n / rate`, whatever happened to those before it.
//!
//! Runs on: pure.
//! **Invariant**: intended times depend only on the rate and n, so a late generator catches up instead of slowing the offered load.

use std::str::FromStr;

/// How fast to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Open loop: this many queries a second, each at its intended time.
    Fixed(u64),
    /// Closed loop: a full window in flight at all times; finds saturation, its latencies say little.
    Max,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        match text {
            "max" => Ok(Rate::Max),
            _ => match text.parse() {
                Ok(qps) if (1..=QPS_MAX).contains(&qps) => Ok(Rate::Fixed(qps)),
                _ => Err(format!(
                    "a rate is \"max\" or a whole number from 1 to {QPS_MAX}, not \"{text}\""
                )),
            },
        }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Rate::Fixed(qps) => write!(f, "{qps}"),
            Rate::Max => f.write_str("max"),
        }
    }
}

/// The schedule of a fixed rate.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    start_ns: u64,
    qps: u64,
    total: u64,
}

impl Pace {
    /// `seconds` of `qps` queries a second from `start_ns` on.
    pub fn new(start_ns: u64, qps: u64, seconds: f64) -> Pace {
        Pace {
            start_ns,
            qps: qps.max(1),
            total: (qps as f64 * seconds).round() as u64,
        }
    }

    /// Queries in the whole run.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// When query `n` (from 0) should leave.
    pub fn intended_ns(&self, n: u64) -> u64 {
        self.start_ns + (n as u128 * 1_000_000_000 / self.qps as u128) as u64
    }

    /// How many queries should have left by `now_ns`, at most the total.
    pub fn due(&self, now_ns: u64) -> u64 {
        if now_ns < self.start_ns {
            return 0;
        }
        let elapsed_ns = (now_ns - self.start_ns) as u128;
        // Query n is due when n * 1e9 / qps, rounded down, is not after `elapsed`; that is n * 1e9 < (elapsed + 1) * qps.
        let due = ((elapsed_ns + 1) * self.qps as u128).div_ceil(1_000_000_000);
        (due as u64).min(self.total)
    }
}

/// Above what any generator thread can send.
const QPS_MAX: u64 = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_refused() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("30000".parse(), Ok(Rate::Fixed(30_000)));
        for bad in ["0", "-1", "1.5", "fast", "", "100000001"] {
            assert!(bad.parse::<Rate>().unwrap_err().contains(bad), "{bad}");
        }
    }

    #[test]
    fn due_is_the_inverse_of_intended() {
        for qps in [1, 3, 7, 1000, 30_000, 333_333, 1_000_000] {
            let pace = Pace::new(5_000, qps, 2.0);
            for n in (0..pace.total()).step_by(1 + pace.total() as usize / 500) {
                let at = pace.intended_ns(n);
                assert_eq!(pace.due(at), n + 1, "qps {qps}, query {n} at its time");
                if at > 5_000 {
                    assert_eq!(
                        pace.due(at - 1),
                        n,
                        "qps {qps}, query {n} a nanosecond early"
                    );
                }
            }
        }
    }

    #[test]
    fn the_schedule_ends_and_does_not_start_early() {
        let pace = Pace::new(1_000_000, 1000, 0.5);
        assert_eq!(pace.total(), 500);
        assert_eq!(pace.due(999_999), 0);
        assert_eq!(pace.due(u64::MAX / 2), 500);
        assert_eq!(pace.intended_ns(500) - pace.intended_ns(0), 500_000_000);
    }

    #[test]
    fn no_drift_after_an_hour() {
        let pace = Pace::new(0, 30_000, 3600.0);
        assert_eq!(pace.intended_ns(30_000 * 3600), 3_600_000_000_000);
    }
}
