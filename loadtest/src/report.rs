//! What one run of the generator found.
//!
//! Runs on: pure.

use hdrhistogram::Histogram;

use crate::json::Json;
use crate::pace::Rate;

/// Counts and latencies of one run.
#[derive(Debug)]
pub struct Report {
    /// The rate that was asked for.
    pub rate: Rate,
    /// Queries handed to the kernel.
    pub sent: u64,
    /// Right replies (id, question and QR match an open query), whatever their rcode.
    pub answered: u64,
    /// Queries without a reply within the timeout.
    pub lost: u64,
    /// Replies that match no open query, or carry another question.
    pub wrong: u64,
    /// Right replies per rcode.
    pub rcodes: [u64; 16],
    /// TCP only: connections that ended and were opened again.
    pub reconnects: u64,
    /// From the first to the last intended send, in seconds.
    pub seconds: f64,
    /// Bytes of right replies.
    pub reply_bytes: u64,
    /// From intended send time to reply, in nanoseconds.
    pub latency: Histogram<u64>,
    /// How late queries left, in nanoseconds: the generator's own share of the latency.
    pub lag: Histogram<u64>,
}

impl Report {
    /// An empty report.
    pub fn new(rate: Rate) -> Report {
        Report {
            rate,
            sent: 0,
            answered: 0,
            lost: 0,
            wrong: 0,
            rcodes: [0; 16],
            reconnects: 0,
            seconds: 0.0,
            reply_bytes: 0,
            latency: histogram(),
            lag: histogram(),
        }
    }

    /// Counts a right reply.
    pub fn count_answer(&mut self, reply: &[u8], latency_ns: u64) {
        self.answered += 1;
        self.reply_bytes += reply.len() as u64;
        self.rcodes[usize::from(reply.get(3).copied().unwrap_or(0) & 0x0f)] += 1;
        self.latency.saturating_record(latency_ns);
    }

    /// Right replies a second.
    pub fn answers_per_s(&self) -> f64 {
        self.answered as f64 / self.seconds.max(1e-9)
    }

    /// Lost queries as a share of those sent.
    pub fn loss(&self) -> f64 {
        self.lost as f64 / self.sent.max(1) as f64
    }

    /// A latency percentile in microseconds.
    pub fn latency_us(&self, percentile: f64) -> f64 {
        self.latency.value_at_percentile(percentile) as f64 / 1000.0
    }

    /// The mean latency in microseconds.
    pub fn latency_us_mean(&self) -> f64 {
        self.latency.mean() / 1000.0
    }

    /// Mean length of right replies.
    pub fn mean_reply_bytes(&self) -> f64 {
        self.reply_bytes as f64 / self.answered.max(1) as f64
    }

    /// Whether the generator could not keep its schedule: then the latencies are partly its own.
    pub fn generator_was_late(&self) -> bool {
        matches!(self.rate, Rate::Fixed(_)) && self.lag.value_at_percentile(99.0) > LATE_NS
    }

    /// As a JSON object.
    pub fn json(&self) -> Json {
        let rcodes = self
            .named_rcodes()
            .map(|(name, count)| (name, Json::Int(count)))
            .collect();
        let percentiles = PERCENTILES
            .iter()
            .map(|&(name, p)| (name, Json::Num(self.latency_us(p))));
        let mean = ("mean", Json::Num(self.latency_us_mean()));
        let latencies = std::iter::once(mean).chain(percentiles).collect();
        Json::Object(vec![
            ("rate", self.rate.to_string().as_str().into()),
            ("seconds", Json::Num(self.seconds)),
            ("sent", Json::Int(self.sent)),
            ("answered", Json::Int(self.answered)),
            ("answers_per_s", Json::Num(self.answers_per_s())),
            ("lost", Json::Int(self.lost)),
            ("wrong", Json::Int(self.wrong)),
            ("reconnects", Json::Int(self.reconnects)),
            ("rcodes", Json::Object(rcodes)),
            ("mean_reply_bytes", Json::Num(self.mean_reply_bytes())),
            ("latency_us", Json::Object(latencies)),
            (
                "send_lag_p99_us",
                Json::Num(self.lag.value_at_percentile(99.0) as f64 / 1000.0),
            ),
        ])
    }

    fn named_rcodes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        RCODES
            .iter()
            .copied()
            .zip(self.rcodes)
            .filter(|&(_, count)| count > 0)
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "rate {} for {:.1} s: sent {}, answered {} ({:.0}/s)",
            self.rate,
            self.seconds,
            self.sent,
            self.answered,
            self.answers_per_s()
        )?;
        writeln!(
            f,
            "lost {} ({:.4} %), wrong replies {}, reconnects {}",
            self.lost,
            self.loss() * 100.0,
            self.wrong,
            self.reconnects
        )?;
        let rcodes: Vec<String> = self
            .named_rcodes()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        writeln!(f, "rcodes: {}", rcodes.join(", "))?;
        let percentiles: Vec<String> = PERCENTILES
            .iter()
            .map(|&(name, p)| format!("{name} {:.1}", self.latency_us(p)))
            .collect();
        write!(
            f,
            "latency from the intended send time, us: mean {:.1}, {}",
            self.latency_us_mean(),
            percentiles.join(", ")
        )?;
        if self.generator_was_late() {
            write!(
                f,
                "\nthe generator itself was late (p99 {:.0} us): lower the rate or give it a CPU of its own",
                self.lag.value_at_percentile(99.0) as f64 / 1000.0
            )?;
        }
        Ok(())
    }
}

fn histogram() -> Histogram<u64> {
    // Bounds and precision are constants that the crate accepts (1 <= low, 2 * low <= high, 0 <= digits <= 5).
    Histogram::new_with_bounds(1, 60_000_000_000, 3)
        .unwrap_or_else(|_| unreachable!("constant bounds"))
}

/// Sends later than this at the 99th percentile make a run suspect.
const LATE_NS: u64 = 1_000_000;

const PERCENTILES: &[(&str, f64)] = &[
    ("p50", 50.0),
    ("p90", 90.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("p99.99", 99.99),
    ("max", 100.0),
];

const RCODES: [&str; 16] = [
    "NOERROR",
    "FORMERR",
    "SERVFAIL",
    "NXDOMAIN",
    "NOTIMP",
    "REFUSED",
    "YXDOMAIN",
    "YXRRSET",
    "NXRRSET",
    "NOTAUTH",
    "NOTZONE",
    "DSOTYPENI",
    "RCODE12",
    "RCODE13",
    "RCODE14",
    "RCODE15",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_rates_and_percentiles() {
        let mut report = Report::new(Rate::Fixed(100));
        for n in 1..=1000u64 {
            report.count_answer(&[0, 0, 0x80, if n <= 10 { 2 } else { 0 }], n * 1000);
        }
        report.sent = 1010;
        report.lost = 10;
        report.seconds = 2.0;
        assert_eq!(report.rcodes[2], 10);
        assert_eq!(report.answers_per_s(), 500.0);
        assert!((report.loss() - 10.0 / 1010.0).abs() < 1e-12);
        assert!((report.latency_us(50.0) - 500.0).abs() < 1.0);
        assert!((report.latency_us(99.0) - 990.0).abs() < 1.5);
        assert!((report.latency_us_mean() - 500.5).abs() < 1.0);
        assert_eq!(report.mean_reply_bytes(), 4.0);
        let json = report.json().to_string();
        assert!(
            json.contains(r#""rcodes":{"NOERROR":990,"SERVFAIL":10}"#),
            "{json}"
        );
        assert!(json.contains(r#""latency_us":{"mean":500."#), "{json}");
        assert!(report.to_string().contains("SERVFAIL 10"));
    }

    #[test]
    fn a_late_generator_is_named() {
        let mut report = Report::new(Rate::Fixed(100));
        report.lag.saturating_record(2_000_000);
        assert!(report.to_string().contains("generator itself was late"));
        let mut report = Report::new(Rate::Max);
        report.lag.saturating_record(2_000_000);
        assert!(
            !report.generator_was_late(),
            "a closed loop has no schedule"
        );
    }
}
