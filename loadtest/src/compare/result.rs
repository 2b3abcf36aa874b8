//! Everything that a comparison found, and the table that it becomes.
//!
//! Runs on: pure.

use crate::json::Json;
use crate::machine::Shape;
use crate::scenario::Scenario;
use crate::servers::{PERCOREDNS, program_of};
use crate::stage::ECHO;
use crate::stats::Spread;

use super::findings::{EntryMemory, Loading, Overload, Scaling, Silence};
use super::profile::Profile;
use super::rates::Label;
use super::sample::Sample;

/// All samples, and what there is to say about them.
#[derive(Default)]
pub struct Table {
    /// The machine and the servers' versions.
    pub shape: Shape,
    /// In the order in which servers first ran.
    pub rows: Vec<Row>,
    /// Bytes of cached entries.
    pub memory: Vec<EntryMemory>,
    /// Load time and memory of zones.
    pub loading: Vec<Loading>,
    /// Three times the peak.
    pub overload: Vec<Overload>,
    /// A silent upstream.
    pub silence: Vec<Silence>,
    /// One core and several.
    pub scaling: Vec<Scaling>,
    /// The `-tune` files that percoredns ran with.
    pub profiles: Vec<Profile>,
    /// Lines below the table.
    pub notes: Vec<String>,
    failed: Vec<String>,
}

/// What a row is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The work.
    pub scenario: &'static Scenario,
    /// How fast it is asked for.
    pub label: Label,
    /// The generator's sockets.
    pub sources: usize,
    /// Who does it.
    pub server: String,
}

/// All runs of one server at one rate.
pub struct Row {
    /// What it is about.
    pub key: Key,
    /// In rounds.
    pub runs: Vec<Run>,
}

/// One run.
pub struct Run {
    /// From 0.
    pub round: usize,
    /// Others used more of the machine than allowed.
    pub void: bool,
    /// What was measured.
    pub sample: Sample,
}

impl Table {
    /// Adds a run; one with more foreign load than `foreign_max` is void.
    pub fn add(&mut self, key: Key, round: usize, foreign_max: f64, sample: Sample) {
        let run = Run {
            round,
            void: sample.foreign > foreign_max,
            sample,
        };
        match self.rows.iter_mut().find(|row| row.key == key) {
            Some(row) => row.runs.push(run),
            None => self.rows.push(Row {
                key,
                runs: vec![run],
            }),
        }
    }

    /// Adds a line below the table, once.
    pub fn note(&mut self, line: String) {
        if !self.notes.contains(&line) {
            self.notes.push(line);
        }
    }

    /// Adds a line below the table about a server that could not be measured.
    pub fn fail(&mut self, server: &str, line: String) {
        self.failed.push(server.to_owned());
        self.note(line);
    }

    /// Whether percoredns itself was left out of something.
    pub fn percoredns_failed(&self) -> bool {
        self.failed
            .iter()
            .any(|name| program_of(name) == PERCOREDNS)
    }

    /// Adds everything that another comparison found.
    pub fn absorb(&mut self, other: Table) {
        for (server, version) in other.shape.versions {
            self.shape.add_version(&server, || version);
        }
        self.rows.extend(other.rows);
        // Caches are warmed anew for each comparison; one of them is enough.
        for memory in other.memory {
            let same = |m: &EntryMemory| {
                (m.scenario, &m.server, m.entries)
                    == (memory.scenario, &memory.server, memory.entries)
            };
            if !self.memory.iter().any(same) {
                self.memory.push(memory);
            }
        }
        self.loading.extend(other.loading);
        self.profiles.extend(other.profiles);
        self.overload.extend(other.overload);
        self.silence.extend(other.silence);
        self.scaling.extend(other.scaling);
        self.failed.extend(other.failed);
        other.notes.into_iter().for_each(|line| self.note(line));
    }

    /// The row of another server at the same work and rate.
    pub fn beside(&self, row: &Row, server: &str) -> Option<&Row> {
        self.rows.iter().find(|other| {
            other.key.server == server
                && other.key
                    == Key {
                        server: server.to_owned(),
                        ..row.key.clone()
                    }
        })
    }

    /// The server's CPU per answer over another's at the same work and rate, as in [`Row::ratios_to`].
    pub fn ratios(&self, row: &Row, to: &str) -> Vec<f64> {
        self.beside(row, to)
            .map_or_else(Vec::new, |floor| row.ratios_to(floor))
    }

    /// Rows as they are shown: by scenario and rate, the echo first, the others in the order of their start.
    pub fn sorted(&self) -> Vec<&Row> {
        let mut first: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !first.contains(&row.key.scenario.name) {
                first.push(row.key.scenario.name);
            }
        }
        let mut sorted: Vec<&Row> = self.rows.iter().collect();
        sorted.sort_by_key(|row| {
            let Key {
                scenario,
                label,
                sources,
                server,
            } = &row.key;
            (
                first.iter().position(|name| *name == scenario.name),
                label.order(),
                *sources,
                server != ECHO,
            )
        });
        sorted
    }

    /// Everything as JSON.
    pub fn json(&self) -> Json {
        let notes = self.notes.iter().map(|line| line.as_str().into()).collect();
        let list = |items: Vec<Json>| Json::List(items);
        Json::Object(vec![
            ("machine", self.shape.json()),
            (
                "rows",
                list(self.rows.iter().map(|row| self.row_json(row)).collect()),
            ),
            (
                "entry_memory",
                list(self.memory.iter().map(EntryMemory::json).collect()),
            ),
            (
                "loading",
                list(self.loading.iter().map(Loading::json).collect()),
            ),
            (
                "overload",
                list(self.overload.iter().map(Overload::json).collect()),
            ),
            (
                "silent_upstream",
                list(self.silence.iter().map(Silence::json).collect()),
            ),
            (
                "cores",
                list(self.scaling.iter().map(Scaling::json).collect()),
            ),
            (
                "profiles",
                list(self.profiles.iter().map(Profile::json).collect()),
            ),
            ("notes", Json::List(notes)),
        ])
    }

    fn row_json(&self, row: &Row) -> Json {
        let spread = |values: Vec<f64>| Spread::of(values).map_or(Json::Null, |s| s.json());
        let of = |field: fn(&Sample) -> f64| spread(row.values(field));
        Json::Object(vec![
            ("scenario", row.key.scenario.name.into()),
            ("rate", row.key.label.to_string().as_str().into()),
            ("sources", Json::Int(row.key.sources as u64)),
            ("server", row.key.server.as_str().into()),
            ("rounds", Json::Int(row.runs.len() as u64)),
            ("void", Json::Int(row.voids() as u64)),
            ("cpu_us_per_answer", of(|s| s.cpu_us)),
            ("machine_us_per_answer", of(|s| s.machine_us)),
            ("ratio_to_echo", spread(self.ratios(row, ECHO))),
            ("offered_per_s", of(|s| s.offered_per_s)),
            ("answers_per_s", of(|s| s.answers_per_s)),
            ("loss", of(|s| s.loss)),
            ("wrong_rcode", of(|s| s.wrong)),
            ("upstream", of(|s| s.upstream)),
            ("p50_us", of(|s| s.latency_us[0])),
            ("p90_us", of(|s| s.latency_us[1])),
            ("p99_us", of(|s| s.latency_us[2])),
            ("p999_us", of(|s| s.latency_us[3])),
            ("p9999_us", of(|s| s.latency_us[4])),
            ("reply_bytes", of(|s| s.reply_bytes)),
            ("foreign", of(|s| s.foreign)),
        ])
    }
}

impl Row {
    /// How many runs met foreign load.
    pub fn voids(&self) -> usize {
        self.runs.iter().filter(|run| run.void).count()
    }

    /// CPU per answer over that of another row, round by round, of rounds in which both runs are valid (or of all rounds when none
    /// is).
    pub fn ratios_to(&self, floor: &Row) -> Vec<f64> {
        let pairs = || {
            self.runs
                .iter()
                .filter_map(|run| Some((run, floor.runs.iter().find(|e| e.round == run.round)?)))
        };
        let ratio = |(run, floor): (&Run, &Run)| run.sample.cpu_us / floor.sample.cpu_us;
        let valid: Vec<f64> = pairs()
            .filter(|(run, floor)| !run.void && !floor.void)
            .map(ratio)
            .collect();
        if valid.is_empty() {
            pairs().map(ratio).collect()
        } else {
            valid
        }
    }

    /// A field of the valid runs, or of all when none is valid.
    pub fn values(&self, field: fn(&Sample) -> f64) -> Vec<f64> {
        let all_void = self.voids() == self.runs.len();
        self.runs
            .iter()
            .filter(|run| all_void || !run.void)
            .map(|run| field(&run.sample))
            .collect()
    }

    /// The median of [`Row::values`]; not a number when there are none.
    pub fn median(&self, field: fn(&Sample) -> f64) -> f64 {
        Spread::of(self.values(field)).map_or(f64::NAN, |s| s.median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::Rate;
    use crate::scenario::SCENARIOS;

    fn sample(cpu_us: f64, foreign: f64) -> Sample {
        Sample {
            cpu_us,
            machine_us: f64::NAN,
            offered_per_s: 1000.0,
            answers_per_s: 1000.0,
            loss: 0.0,
            wrong: 0.0,
            latency_us: [1.0, 2.0, 3.0, 4.0, 5.0],
            reply_bytes: 60.0,
            upstream: 0.0,
            foreign,
        }
    }

    fn key(server: &str, sources: usize) -> Key {
        Key {
            scenario: &SCENARIOS[0],
            label: Label::given(Rate::Max),
            sources,
            server: server.to_owned(),
        }
    }

    fn table(runs: &[(&'static str, usize, f64, f64)]) -> Table {
        let mut table = Table::default();
        for &(server, round, cpu_us, foreign) in runs {
            table.add(key(server, 8), round, 0.05, sample(cpu_us, foreign));
        }
        table
    }

    #[test]
    fn ratios_pair_rounds_and_leave_out_void_ones() {
        let mut table = table(&[
            ("echo", 0, 2.0, 0.0),
            ("nsd", 0, 3.0, 0.0),
            ("nsd", 1, 8.0, 0.0),
            ("echo", 1, 4.0, 0.0),
            ("echo", 2, 1.0, 0.5),
            ("nsd", 2, 9.0, 0.0),
        ]);
        table.add(key("echo", 256), 0, 0.05, sample(77.0, 0.0));
        let row = table.rows.iter().find(|r| r.key.server == "nsd").unwrap();
        assert_eq!(table.ratios(row, ECHO), [1.5, 2.0], "only of 8 sources");
        assert!(table.ratios(row, "knotd").is_empty());
        let text = table.to_string();
        let line = text.lines().find(|line| line.contains("nsd")).unwrap();
        assert!(line.contains("1.75 | 1.50..2.00"), "{text}");
    }

    #[test]
    fn when_all_rounds_are_void_they_are_shown_and_counted() {
        let table = table(&[("echo", 0, 2.0, 0.3), ("nsd", 0, 3.0, 0.3)]);
        let text = table.to_string();
        let line = text.lines().find(|line| line.contains("nsd")).unwrap();
        assert!(
            line.contains("1.50..1.50") && line.contains("1/1"),
            "{line}"
        );
    }

    #[test]
    fn json_and_failures() {
        let mut all = table(&[("echo", 0, 2.0, 0.0)]);
        assert!(!all.percoredns_failed());
        let mut more = table(&[("nsd", 0, 2.0, 0.0)]);
        more.fail("percoredns[edge]", "percoredns[edge]: left out".into());
        all.absorb(more);
        assert!(all.percoredns_failed());
        let json = all.json().to_string();
        assert!(
            json.contains(r#""ratio_to_echo":{"median":1,"min":1,"max":1}"#)
                && json.contains("left out")
                && json.contains(r#""machine_us_per_answer":null"#),
            "{json}"
        );
    }
}
