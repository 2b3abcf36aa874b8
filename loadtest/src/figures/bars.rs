//! The bars that percoredns is held to, as data.
//!
//! Runs on: pure.

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// The figure must not be above.
    AtMost(f64),
    /// The figure must not be below.
    AtLeast(f64),
}

impl Limit {
    /// Whether a value keeps to it.
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Limit::AtMost(bar) => value <= bar,
            Limit::AtLeast(bar) => value >= bar,
        }
    }

    /// The number that it is.
    pub fn value(self) -> f64 {
        match self {
            Limit::AtMost(bar) | Limit::AtLeast(bar) => bar,
        }
    }

    /// As in a table.
    pub fn show(self, unit: &str) -> String {
        match self {
            Limit::AtMost(bar) => format!("<= {bar}{unit}"),
            Limit::AtLeast(bar) => format!(">= {bar}{unit}"),
        }
    }
}

/// Which load a figure is taken at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    /// The closed loop.
    Saturation,
    /// The low open-loop rate.
    Low,
}

/// Where a figure comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// The first of these that the in-process bench has; see [`super::bench`].
    Bench(&'static [&'static str]),
    /// CPU per answer over another server's in the same rounds: (scenario, load, other).
    CpuRatio(&'static str, At, &'static str),
    /// Bytes of memory for each cached entry.
    EntryBytes,
    /// Growth of memory in MiB under a silent upstream.
    SilentGrowth,
    /// Share of cached names answered beside it.
    SilentAnswered,
    /// Their mean latency over that beside as many hits.
    SilentMean,
    /// Capacity on two CPUs over that on one, in this scenario.
    Speedup(&'static str),
    /// Share of the work that the busiest of two CPUs' threads does for one hot source.
    HotBusiest,
    /// Start to first answer of a large zone over another server's.
    LoadTime(&'static str),
    /// Memory with a large zone over another server's.
    LoadMemory(&'static str),
    /// p99.9 at half of the slowest rival's knee over the best rival's, in this scenario.
    Tail(&'static str),
    /// Answered share of the peak at three times the peak.
    OverloadShare,
    /// RSS after that over RSS before.
    OverloadGrowth,
    /// SERVFAILs for cached names during that.
    OverloadServfails,
}

/// One figure and its bar.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// For readers.
    pub what: &'static str,
    /// What it must keep to.
    pub limit: Limit,
    /// Behind numbers.
    pub unit: &'static str,
}

const fn bar(
    what: &'static str,
    metric: Metric,
    limit: Limit,
    unit: &'static str,
) -> (Bar, Metric) {
    (Bar { what, limit, unit }, metric)
}

use At::{Low, Saturation};
use Limit::{AtLeast, AtMost};
use Metric::*;

/// Every bar, in the order of the table, and where its figure comes from.
pub static BARS: &[(Bar, Metric)] = &[
    bar(
        "cached answer, in process, 10k entries",
        Bench(&["serve/cached"]),
        AtMost(200.0),
        " ns",
    ),
    bar(
        "instructions of the same",
        Bench(&["instructions/cached"]),
        AtMost(900.0),
        "",
    ),
    bar(
        "cached answer, in process, 1M entries",
        Bench(&[
            "serve/cached_1m",
            "serve/cached/1000000",
            "cache/hit/1000000",
        ]),
        AtMost(350.0),
        " ns",
    ),
    bar(
        "CPU, zone, saturation, against the echo",
        CpuRatio("zone", Saturation, "echo"),
        AtMost(1.10),
        "x",
    ),
    bar(
        "CPU, zone, 30,000/s, against the echo",
        CpuRatio("zone", Low, "echo"),
        AtMost(1.10),
        "x",
    ),
    bar(
        "CPU, cached, saturation, against the echo",
        CpuRatio("cached", Saturation, "echo"),
        AtMost(1.10),
        "x",
    ),
    bar(
        "CPU, cached, 30,000/s, against the echo",
        CpuRatio("cached", Low, "echo"),
        AtMost(1.10),
        "x",
    ),
    bar(
        "CPU, zone, saturation, against NSD",
        CpuRatio("zone", Saturation, "nsd"),
        AtMost(0.90),
        "x",
    ),
    bar(
        "CPU, zone, 30,000/s, against NSD",
        CpuRatio("zone", Low, "nsd"),
        AtMost(0.95),
        "x",
    ),
    bar(
        "CPU, zone, saturation, against Knot",
        CpuRatio("zone", Saturation, "knotd"),
        AtMost(0.90),
        "x",
    ),
    bar(
        "CPU, zone, 30,000/s, against Knot",
        CpuRatio("zone", Low, "knotd"),
        AtMost(0.95),
        "x",
    ),
    bar(
        "CPU, cached, saturation, against Unbound",
        CpuRatio("cached", Saturation, "unbound"),
        AtMost(0.80),
        "x",
    ),
    bar(
        "CPU, cached, 30,000/s, against Unbound",
        CpuRatio("cached", Low, "unbound"),
        AtMost(0.80),
        "x",
    ),
    bar(
        "CPU, cached, saturation, against dnsdist",
        CpuRatio("cached", Saturation, "dnsdist"),
        AtMost(0.80),
        "x",
    ),
    bar(
        "CPU, cached, 30,000/s, against dnsdist",
        CpuRatio("cached", Low, "dnsdist"),
        AtMost(0.80),
        "x",
    ),
    bar(
        "CPU, zone, saturation, against CoreDNS",
        CpuRatio("zone", Saturation, "coredns"),
        AtMost(0.25),
        "x",
    ),
    bar(
        "CPU, zone, 30,000/s, against CoreDNS",
        CpuRatio("zone", Low, "coredns"),
        AtMost(0.25),
        "x",
    ),
    bar(
        "CPU, cached, saturation, against CoreDNS",
        CpuRatio("cached", Saturation, "coredns"),
        AtMost(0.36),
        "x",
    ),
    bar(
        "CPU, cached, 30,000/s, against CoreDNS",
        CpuRatio("cached", Low, "coredns"),
        AtMost(0.36),
        "x",
    ),
    bar(
        "memory per cached entry",
        EntryBytes,
        AtMost(180.0),
        " bytes",
    ),
    bar(
        "upstream silent: growth of memory",
        SilentGrowth,
        AtMost(8.0),
        " MiB",
    ),
    bar(
        "upstream silent: cached names answered",
        SilentAnswered,
        AtLeast(100.0),
        " %",
    ),
    bar(
        "upstream silent: mean latency of cached names against the same load of hits",
        SilentMean,
        AtMost(1.1),
        "x",
    ),
    bar(
        "1 to 2 cores, zone, generator's share subtracted",
        Speedup("zone"),
        AtLeast(1.9),
        "x",
    ),
    bar(
        "1 to 2 cores, cached, generator's share subtracted",
        Speedup("cached"),
        AtLeast(1.9),
        "x",
    ),
    bar(
        "one hot name, one source port, two cores: the busiest thread's share of the work",
        HotBusiest,
        AtMost(90.0),
        " %",
    ),
    bar(
        "zone of 1M A records: start to first answer, against NSD",
        LoadTime("nsd"),
        AtMost(0.5),
        "x",
    ),
    bar(
        "the same: memory of all processes, against NSD",
        LoadMemory("nsd"),
        AtMost(0.4),
        "x",
    ),
    bar(
        "p99.9 at half of the slowest rival's knee, zone, against the best rival",
        Tail("zone"),
        AtMost(0.5),
        "x",
    ),
    bar(
        "p99.9 at half of the slowest rival's knee, cached, against the best rival",
        Tail("cached"),
        AtMost(0.5),
        "x",
    ),
    bar(
        "3x overload: answered share of the peak",
        OverloadShare,
        AtLeast(95.0),
        " %",
    ),
    bar(
        "3x overload: RSS after, against before",
        OverloadGrowth,
        AtMost(1.05),
        "x",
    ),
    bar(
        "3x overload: SERVFAIL for cached names",
        OverloadServfails,
        AtMost(0.0),
        "",
    ),
];

/// The open-loop rate of the bars that name one.
pub const LOW_QPS: u64 = 30_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_a_good_side() {
        assert!(Limit::AtMost(1.1).is_met(1.1) && !Limit::AtMost(1.1).is_met(1.11));
        assert!(Limit::AtLeast(1.9).is_met(1.9) && !Limit::AtLeast(1.9).is_met(1.89));
        assert!(
            !Limit::AtMost(1.0).is_met(f64::NAN),
            "no number meets no bar"
        );
        assert_eq!(Limit::AtMost(8.0).show(" MiB"), "<= 8 MiB");
        assert_eq!(Limit::AtLeast(95.0).show(" %"), ">= 95 %");
    }

    #[test]
    fn bars_are_told_apart() {
        for (i, (bar, _)) in BARS.iter().enumerate() {
            assert!(
                BARS[..i].iter().all(|(b, _)| b.what != bar.what),
                "{}",
                bar.what
            );
        }
    }
}
