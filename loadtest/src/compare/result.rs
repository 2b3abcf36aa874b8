//! Samples of a comparison, and the table that they become.
//!
//! Runs on: pure.

use std::fmt;

use crate::json::Json;
use crate::pace::Rate;
use crate::procfs::Usage;
use crate::report::Report;
use crate::servers::{PERCOREDNS, Scenario};
use crate::stage::ECHO;
use crate::stats::Spread;
use crate::table;

/// One run of one server.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Process CPU per right reply, microseconds.
    pub cpu_us: f64,
    /// Right replies a second.
    pub answers_per_s: f64,
    /// Lost queries, share of those sent.
    pub loss: f64,
    /// Latency percentiles 50, 99 and 99.9 from the intended send time, microseconds.
    pub latency_us: [f64; 3],
    /// Mean reply length.
    pub reply_bytes: f64,
    /// Share of the machine that others used.
    pub foreign: f64,
}

impl Sample {
    /// From what the generator and the kernel counted.
    pub fn new(report: &Report, usage: Usage) -> Sample {
        Sample {
            cpu_us: usage.server_ns as f64 / 1000.0 / report.answered.max(1) as f64,
            answers_per_s: report.answers_per_s(),
            loss: report.loss(),
            latency_us: [50.0, 99.0, 99.9].map(|p| report.latency_us(p)),
            reply_bytes: report.mean_reply_bytes(),
            foreign: usage.foreign,
        }
    }
}

/// All samples, and what there is to say about them.
#[derive(Default)]
pub struct Table {
    // In the order in which servers first ran.
    rows: Vec<Row>,
    notes: Vec<String>,
    failed: Vec<String>,
}

struct Row {
    scenario: Scenario,
    rate: Rate,
    server: &'static str,
    runs: Vec<Run>,
}

struct Run {
    round: usize,
    void: bool,
    sample: Sample,
}

impl Table {
    /// Adds a run; one with more foreign load than `foreign_max` is void.
    pub fn add(
        &mut self,
        scenario: Scenario,
        rate: Rate,
        server: &'static str,
        round: usize,
        foreign_max: f64,
        sample: Sample,
    ) {
        let run = Run {
            round,
            void: sample.foreign > foreign_max,
            sample,
        };
        match self
            .rows
            .iter_mut()
            .find(|row| (row.scenario, row.rate, row.server) == (scenario, rate, server))
        {
            Some(row) => row.runs.push(run),
            None => self.rows.push(Row {
                scenario,
                rate,
                server,
                runs: vec![run],
            }),
        }
    }

    /// Adds a line below the table.
    pub fn note(&mut self, line: String) {
        self.notes.push(line);
    }

    /// Adds a line below the table about a server that could not be measured.
    pub fn fail(&mut self, server: &str, line: String) {
        self.failed.push(server.to_owned());
        self.notes.push(line);
    }

    /// Whether percoredns itself was left out.
    pub fn percoredns_failed(&self) -> bool {
        self.failed.iter().any(|name| name == PERCOREDNS)
    }

    /// The server's CPU per answer over the echo's, round by round, of rounds in which both runs are valid (or of all rounds when
    /// none is).
    fn ratios(&self, row: &Row) -> Vec<f64> {
        let Some(echo) = self
            .rows
            .iter()
            .find(|r| (r.scenario, r.rate, r.server) == (row.scenario, row.rate, ECHO))
        else {
            return Vec::new();
        };
        let pairs = || {
            row.runs
                .iter()
                .filter_map(|run| Some((run, echo.runs.iter().find(|e| e.round == run.round)?)))
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

    /// Everything as JSON.
    pub fn json(&self) -> Json {
        let spread = |values: Vec<f64>| Spread::of(values).map_or(Json::Null, |s| s.json());
        let row = |row: &Row| {
            let of = |field: fn(&Sample) -> f64| spread(row.values(field));
            Json::Object(vec![
                ("scenario", row.scenario.name().into()),
                ("rate", row.rate.to_string().as_str().into()),
                ("server", row.server.into()),
                ("rounds", Json::Int(row.runs.len() as u64)),
                ("void", Json::Int(row.voids() as u64)),
                ("cpu_us_per_answer", of(|s| s.cpu_us)),
                ("ratio_to_echo", spread(self.ratios(row))),
                ("answers_per_s", of(|s| s.answers_per_s)),
                ("loss", of(|s| s.loss)),
                ("p50_us", of(|s| s.latency_us[0])),
                ("p99_us", of(|s| s.latency_us[1])),
                ("p999_us", of(|s| s.latency_us[2])),
                ("reply_bytes", of(|s| s.reply_bytes)),
                ("foreign", of(|s| s.foreign)),
            ])
        };
        let notes = self.notes.iter().map(|line| line.as_str().into()).collect();
        Json::Object(vec![
            ("rows", Json::List(self.rows.iter().map(row).collect())),
            ("notes", Json::List(notes)),
        ])
    }
}

impl Row {
    fn voids(&self) -> usize {
        self.runs.iter().filter(|run| run.void).count()
    }

    /// A field of the valid runs, or of all when none is valid.
    fn values(&self, field: fn(&Sample) -> f64) -> Vec<f64> {
        let all_void = self.voids() == self.runs.len();
        self.runs
            .iter()
            .filter(|run| all_void || !run.void)
            .map(|run| field(&run.sample))
            .collect()
    }

    fn median(&self, field: fn(&Sample) -> f64) -> f64 {
        Spread::of(self.values(field)).map_or(f64::NAN, |s| s.median)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted: Vec<&Row> = self.rows.iter().collect();
        // A stable sort: within a scenario and rate servers stay in the order of their start, the echo first.
        sorted.sort_by_key(|row| {
            (
                row.scenario == Scenario::Cached,
                row.rate != Rate::Max,
                row.rate.to_string(),
                row.server != ECHO,
            )
        });
        let rows: Vec<Vec<String>> = sorted
            .iter()
            .map(|row| {
                let ratio = Spread::of(self.ratios(row));
                vec![
                    row.scenario.name().to_owned(),
                    row.rate.to_string(),
                    row.server.to_owned(),
                    format!("{:.2}", row.median(|s| s.cpu_us)),
                    ratio.map_or("-".to_owned(), |s| format!("{:.2}", s.median)),
                    ratio.map_or("-".to_owned(), |s| format!("{:.2}..{:.2}", s.min, s.max)),
                    format!("{:.0}", row.median(|s| s.answers_per_s)),
                    format!("{:.3}", row.median(|s| s.loss) * 100.0),
                    format!("{:.0}", row.median(|s| s.latency_us[0])),
                    format!("{:.0}", row.median(|s| s.latency_us[1])),
                    format!("{:.0}", row.median(|s| s.latency_us[2])),
                    format!("{:.0}", row.median(|s| s.reply_bytes)),
                    format!("{}/{}", row.voids(), row.runs.len()),
                ]
            })
            .collect();
        f.write_str(&table::render(&HEADER, &rows, 3))?;
        self.notes
            .iter()
            .try_for_each(|note| write!(f, "\n- {note}"))
    }
}

const HEADER: [&str; 13] = [
    "scenario",
    "rate",
    "server",
    "CPU us/answer",
    "x echo",
    "min..max",
    "answers/s",
    "lost %",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "bytes",
    "void",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cpu_us: f64, foreign: f64) -> Sample {
        Sample {
            cpu_us,
            answers_per_s: 1000.0,
            loss: 0.0,
            latency_us: [1.0, 2.0, 3.0],
            reply_bytes: 60.0,
            foreign,
        }
    }

    fn table(runs: &[(&'static str, usize, f64, f64)]) -> Table {
        let mut table = Table::default();
        for &(server, round, cpu_us, foreign) in runs {
            table.add(
                Scenario::Zone,
                Rate::Max,
                server,
                round,
                0.05,
                sample(cpu_us, foreign),
            );
        }
        table
    }

    #[test]
    fn ratios_pair_rounds_and_leave_out_void_ones() {
        let table = table(&[
            ("echo", 0, 2.0, 0.0),
            ("nsd", 0, 3.0, 0.0),
            ("nsd", 1, 8.0, 0.0),
            ("echo", 1, 4.0, 0.0),
            ("echo", 2, 1.0, 0.5),
            ("nsd", 2, 9.0, 0.0),
        ]);
        let row = table.rows.iter().find(|row| row.server == "nsd").unwrap();
        assert_eq!(table.ratios(row), [1.5, 2.0]);
        let text = table.to_string();
        let line = text.lines().find(|line| line.contains("nsd")).unwrap();
        assert!(line.contains("1.75 | 1.50..2.00"), "{text}");
    }

    #[test]
    fn when_all_rounds_are_void_they_are_shown_and_counted() {
        let table = table(&[("echo", 0, 2.0, 0.3), ("nsd", 0, 3.0, 0.3)]);
        let line = table
            .to_string()
            .lines()
            .find(|line| line.contains("nsd"))
            .unwrap()
            .to_owned();
        assert!(
            line.contains("1.50..1.50") && line.contains("1/1"),
            "{line}"
        );
    }

    #[test]
    fn json_and_failures() {
        let mut table = table(&[("echo", 0, 2.0, 0.0)]);
        assert!(!table.percoredns_failed());
        table.fail(PERCOREDNS, "percoredns: left out".into());
        assert!(table.percoredns_failed());
        let json = table.json().to_string();
        assert!(
            json.contains(r#""ratio_to_echo":{"median":1,"min":1,"max":1}"#)
                && json.contains("left out"),
            "{json}"
        );
    }
}
