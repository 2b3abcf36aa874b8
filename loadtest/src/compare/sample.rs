//! One measured run of one server, from what the generator and the kernel counted.
//!
//! Runs on: pure.

use crate::procfs::Usage;
use crate::report::Report;
use crate::scenario::Scenario;

/// One run of one server.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Process CPU per right reply, microseconds.
    pub cpu_us: f64,
    /// Busy time of the whole machine per right reply without the generator's baseline, microseconds; not a number where there is
    /// no baseline.
    pub machine_us: f64,
    /// Queries offered a second.
    pub offered_per_s: f64,
    /// Right replies a second.
    pub answers_per_s: f64,
    /// Lost queries, share of those sent.
    pub loss: f64,
    /// Replies with an rcode that the scenario does not call right, share of replies.
    pub wrong: f64,
    /// Latency at [`PERCENTILES`] from the intended send time, microseconds; not numbers where the generator does not say.
    pub latency_us: [f64; PERCENTILES.len()],
    /// Mean reply length.
    pub reply_bytes: f64,
    /// Queries that reached the origin, share of those sent.
    pub upstream: f64,
    /// Share of the machine that others used.
    pub foreign: f64,
}

/// What latencies are kept.
pub const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];

/// What a generator saw of one run.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Queries sent.
    pub sent: u64,
    /// Replies that fit a query.
    pub answered: u64,
    /// Replies with a right rcode among them.
    pub right: u64,
    /// How long it sent, in seconds.
    pub seconds: f64,
    /// As in [`Sample`].
    pub latency_us: [f64; PERCENTILES.len()],
    /// Mean reply length.
    pub reply_bytes: f64,
}

impl Seen {
    /// From a report of this program's own generator. Whatever the echo sends back is right.
    pub fn of(report: &Report, scenario: &Scenario, is_echo: bool) -> Seen {
        let right = report.rcodes.iter().enumerate();
        let right = right
            .filter(|&(rcode, _)| scenario.is_right(rcode as u8))
            .map(|(_, count)| count)
            .sum();
        Seen {
            sent: report.sent,
            answered: report.answered,
            right: if is_echo { report.answered } else { right },
            seconds: report.seconds,
            latency_us: PERCENTILES.map(|p| report.latency_us(p)),
            reply_bytes: report.mean_reply_bytes(),
        }
    }
}

impl Sample {
    /// `baseline_us` is what one query costs the machine when nobody answers.
    pub fn new(seen: &Seen, usage: Usage, baseline_us: f64, upstream: u64) -> Sample {
        let right = seen.right.max(1) as f64;
        let per_s = |count: u64| count as f64 / seen.seconds.max(1e-9);
        let share = |count: u64, of: u64| count as f64 / of.max(1) as f64;
        Sample {
            cpu_us: usage.server_ns as f64 / 1000.0 / right,
            machine_us: beyond_baseline(usage.machine_ns, baseline_us, seen.sent) / right,
            offered_per_s: per_s(seen.sent),
            answers_per_s: per_s(seen.right),
            loss: share(seen.sent.saturating_sub(seen.answered), seen.sent),
            wrong: share(seen.answered.saturating_sub(seen.right), seen.answered),
            latency_us: seen.latency_us,
            reply_bytes: seen.reply_bytes,
            upstream: share(upstream, seen.sent),
            foreign: usage.foreign,
        }
    }
}

/// Busy microseconds of the machine beyond what sending `sent` queries costs anyway; never below 0, since a tick of the kernel's
/// accounting is 10 ms.
fn beyond_baseline(machine_ns: u64, baseline_us: f64, sent: u64) -> f64 {
    let left = machine_ns as f64 / 1000.0 - baseline_us * sent as f64;
    if left.is_nan() { left } else { left.max(0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::Rate;
    use crate::scenario::SCENARIOS;

    fn usage() -> Usage {
        Usage {
            server_ns: 2_000_000,
            own_ns: 0,
            machine_ns: 5_000_000,
            elapsed_ns: 1_000_000_000,
            foreign: 0.01,
        }
    }

    #[test]
    fn the_baseline_is_taken_off_for_every_query_sent() {
        let seen = Seen {
            sent: 1000,
            answered: 900,
            right: 800,
            seconds: 2.0,
            latency_us: [0.0; 5],
            reply_bytes: 60.0,
        };
        let sample = Sample::new(&seen, usage(), 1.0, 250);
        assert_eq!(sample.cpu_us, 2000.0 / 800.0);
        assert_eq!(sample.machine_us, (5000.0 - 1000.0) / 800.0);
        assert_eq!((sample.offered_per_s, sample.answers_per_s), (500.0, 400.0));
        assert_eq!((sample.loss, sample.upstream), (0.1, 0.25));
        assert!((sample.wrong - 1.0 / 9.0).abs() < 1e-12);
        assert_eq!(Sample::new(&seen, usage(), 9.0, 0).machine_us, 0.0);
        assert!(Sample::new(&seen, usage(), f64::NAN, 0).machine_us.is_nan());
    }

    #[test]
    fn only_rcodes_of_the_scenario_are_right() {
        let mut report = Report::new(Rate::Max);
        for rcode in [0, 0, 3, 2] {
            report.count_answer(&[0, 0, 0x80, rcode], 1000);
        }
        let right = |name| Seen::of(&report, Scenario::find(name).unwrap(), false).right;
        assert_eq!(
            (right("zone"), right("nxdomain"), right("mixed")),
            (2, 1, 3)
        );
        assert_eq!(Seen::of(&report, &SCENARIOS[0], true).right, 4);
    }
}
