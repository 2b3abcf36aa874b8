//! What is found besides the rows of the table: memory, loading, overload, a silent upstream, cores.
//!
//! Runs on: pure.

use crate::json::Json;
use crate::stats::Spread;

/// Memory of a warm cache.
#[derive(Clone, Debug)]
pub struct EntryMemory {
    /// The scenario that warmed it.
    pub scenario: &'static str,
    /// Who.
    pub server: String,
    /// Names that were cached.
    pub entries: u64,
    /// RSS of the process tree before the first name and after the last, in bytes.
    pub rss_bytes: [u64; 2],
}

impl EntryMemory {
    /// Growth of RSS for each entry, in bytes.
    pub fn bytes_per_entry(&self) -> f64 {
        let [before, after] = self.rss_bytes;
        after.saturating_sub(before) as f64 / self.entries.max(1) as f64
    }
}

/// Start with a zone or a hosts file.
#[derive(Clone, Debug)]
pub struct Loading {
    /// What was loaded.
    pub scenario: &'static str,
    /// Who.
    pub server: String,
    /// Names in it.
    pub names: u64,
    /// From exec to the first right answer, in milliseconds, a value for each start.
    pub start_ms: Vec<f64>,
    /// Memory of all processes, shared pages counted once, in bytes, a value for each start.
    pub memory_bytes: Vec<f64>,
}

/// An open loop far above the peak.
#[derive(Clone, Debug)]
pub struct Overload {
    /// Under which work.
    pub scenario: &'static str,
    /// Who.
    pub server: String,
    /// Right answers a second of the closed loop just before.
    pub peak: f64,
    /// Queries a second that were asked for and that the generator could offer.
    pub asked: f64,
    /// What it could offer.
    pub offered: f64,
    /// Right answers a second meanwhile.
    pub answered: f64,
    /// RSS before and after, in bytes.
    pub rss_bytes: [u64; 2],
    /// Replies with SERVFAIL.
    pub servfails: u64,
}

impl Overload {
    /// Answered as a share of the peak.
    pub fn share(&self) -> f64 {
        self.answered / self.peak.max(1.0)
    }

    /// RSS after over RSS before.
    pub fn growth(&self) -> f64 {
        self.rss_bytes[1] as f64 / self.rss_bytes[0].max(1) as f64
    }
}

/// Cached names beside a flood of distinct names to an upstream that says nothing.
#[derive(Clone, Debug)]
pub struct Silence {
    /// Who.
    pub server: String,
    /// Distinct names a second.
    pub flood_per_s: f64,
    /// Questions for cached names beside it, and how many were answered NOERROR.
    pub cached: [u64; 2],
    /// Mean latency of cached names, microseconds: with nothing beside, with as many hits beside, and beside the flood.
    pub mean_us: [f64; 3],
    /// RSS before, and at its highest during the flood, in bytes.
    pub rss_bytes: [u64; 2],
}

impl Silence {
    /// Growth of memory in MiB.
    pub fn growth_mib(&self) -> f64 {
        self.rss_bytes[1].saturating_sub(self.rss_bytes[0]) as f64 / MIB
    }

    /// Mean latency beside the flood over that beside as many hits: the same load, so only the silence differs.
    pub fn ratio(&self) -> f64 {
        self.mean_us[2] / self.mean_us[1]
    }

    /// Share of the cached names that were answered.
    pub fn answered(&self) -> f64 {
        self.cached[1] as f64 / self.cached[0].max(1) as f64
    }
}

/// Closed loops on one and on several CPUs.
#[derive(Clone, Debug)]
pub struct Scaling {
    /// Under which work.
    pub scenario: &'static str,
    /// Who.
    pub server: String,
    /// CPUs of the server.
    pub cores: usize,
    /// Right answers a second, a value for each round.
    pub answers_per_s: Vec<f64>,
    /// CPUs' worth of time that the generator, on the same CPUs, left over.
    pub left_cores: Vec<f64>,
    /// Share of the server's CPU time that its busiest thread took.
    pub busiest: Vec<f64>,
    /// Rounds in which others used the machine; they count only when all are so.
    pub void: Vec<bool>,
}

impl Scaling {
    /// Answers a second for each CPU that was left for the server, scaled to its number of CPUs, round by round.
    pub fn capacity(&self) -> Vec<f64> {
        let rounds = self.answers_per_s.iter().zip(&self.left_cores);
        let all: Vec<f64> = rounds
            .map(|(rate, left)| rate / left.max(0.01) * self.cores as f64)
            .collect();
        self.valid(&all)
    }

    /// The values of rounds that are not void, or all when every round is.
    pub fn valid(&self, values: &[f64]) -> Vec<f64> {
        let all_void = self.void.iter().all(|&void| void);
        let pairs = values.iter().zip(&self.void);
        pairs
            .filter(|&(_, &void)| all_void || !void)
            .map(|(&value, _)| value)
            .collect()
    }
}

/// How much more one set of CPUs does than the other: the medians' ratio.
pub fn speedup(one: &Scaling, many: &Scaling) -> Option<f64> {
    let capacity = |scaling: &Scaling| Spread::of(scaling.capacity()).map(|s| s.median);
    Some(capacity(many)? / capacity(one)?)
}

// === JSON ===

fn pair(values: [u64; 2]) -> Json {
    Json::List(values.map(Json::Int).to_vec())
}

fn numbers(values: &[f64]) -> Json {
    Json::List(values.iter().copied().map(Json::Num).collect())
}

impl EntryMemory {
    /// As a JSON object.
    pub fn json(&self) -> Json {
        Json::Object(vec![
            ("scenario", self.scenario.into()),
            ("server", self.server.as_str().into()),
            ("entries", Json::Int(self.entries)),
            ("rss_bytes_before_after", pair(self.rss_bytes)),
            ("bytes_per_entry", Json::Num(self.bytes_per_entry())),
        ])
    }
}

impl Loading {
    /// As a JSON object.
    pub fn json(&self) -> Json {
        Json::Object(vec![
            ("scenario", self.scenario.into()),
            ("server", self.server.as_str().into()),
            ("names", Json::Int(self.names)),
            ("start_ms", numbers(&self.start_ms)),
            ("memory_bytes", numbers(&self.memory_bytes)),
        ])
    }
}

impl Overload {
    /// As a JSON object.
    pub fn json(&self) -> Json {
        Json::Object(vec![
            ("scenario", self.scenario.into()),
            ("server", self.server.as_str().into()),
            ("peak_per_s", Json::Num(self.peak)),
            ("asked_per_s", Json::Num(self.asked)),
            ("offered_per_s", Json::Num(self.offered)),
            ("answered_per_s", Json::Num(self.answered)),
            ("share_of_peak", Json::Num(self.share())),
            ("rss_bytes_before_after", pair(self.rss_bytes)),
            ("servfails", Json::Int(self.servfails)),
        ])
    }
}

impl Silence {
    /// As a JSON object.
    pub fn json(&self) -> Json {
        Json::Object(vec![
            ("server", self.server.as_str().into()),
            ("flood_per_s", Json::Num(self.flood_per_s)),
            ("cached_asked_answered", pair(self.cached)),
            ("mean_us_quiet_hits_flood", numbers(&self.mean_us)),
            ("mean_ratio", Json::Num(self.ratio())),
            ("rss_bytes_before_highest", pair(self.rss_bytes)),
        ])
    }
}

impl Scaling {
    /// As a JSON object.
    pub fn json(&self) -> Json {
        Json::Object(vec![
            ("scenario", self.scenario.into()),
            ("server", self.server.as_str().into()),
            ("cores", Json::Int(self.cores as u64)),
            ("answers_per_s", numbers(&self.answers_per_s)),
            ("cores_left_by_generator", numbers(&self.left_cores)),
            ("busiest_thread_share", numbers(&self.busiest)),
            (
                "void",
                Json::List(self.void.iter().copied().map(Json::Bool).collect()),
            ),
        ])
    }
}

/// Bytes of a mebibyte.
pub const MIB: f64 = 1_048_576.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn scaling(cores: usize, rounds: &[(f64, f64, bool)]) -> Scaling {
        Scaling {
            scenario: "zone",
            server: "a".into(),
            cores,
            answers_per_s: rounds.iter().map(|r| r.0).collect(),
            left_cores: rounds.iter().map(|r| r.1).collect(),
            busiest: vec![0.5; rounds.len()],
            void: rounds.iter().map(|r| r.2).collect(),
        }
    }

    #[test]
    fn the_generators_share_is_subtracted() {
        let one = scaling(
            1,
            &[(100.0, 0.5, false), (110.0, 0.5, false), (9.0, 0.5, true)],
        );
        let two = scaling(2, &[(190.0, 1.0, false)]);
        assert_eq!(one.capacity(), [200.0, 220.0]);
        assert_eq!(two.capacity(), [380.0]);
        assert!((speedup(&one, &two).unwrap() - 380.0 / 210.0).abs() < 1e-9);
        let void = scaling(2, &[(190.0, 1.0, true)]);
        assert_eq!(void.capacity(), [380.0], "all void: shown anyway");
        assert_eq!(speedup(&scaling(1, &[]), &two), None);
    }

    #[test]
    fn memory_overload_and_silence() {
        let memory = EntryMemory {
            scenario: "cached",
            server: "a".into(),
            entries: 1000,
            rss_bytes: [1_000, 181_000],
        };
        assert_eq!(memory.bytes_per_entry(), 180.0);
        let overload = Overload {
            scenario: "cached",
            server: "a".into(),
            peak: 100.0,
            asked: 300.0,
            offered: 280.0,
            answered: 97.0,
            rss_bytes: [100, 104],
            servfails: 0,
        };
        assert_eq!((overload.share(), overload.growth()), (0.97, 1.04));
        let silence = Silence {
            server: "a".into(),
            flood_per_s: 15_000.0,
            cached: [200, 199],
            mean_us: [40.0, 50.0, 55.0],
            rss_bytes: [0, 8 << 20],
        };
        assert_eq!((silence.growth_mib(), silence.answered()), (8.0, 0.995));
        assert!((silence.ratio() - 1.1).abs() < 1e-9);
    }
}
