//! What a comparison found as tables of text.
//!
//! Runs on: pure.

use std::fmt;

use crate::stage::ECHO;
use crate::stats::Spread;
use crate::table;

use super::EACH_QUERY_ITS_OWN;
use super::findings::{EntryMemory, Loading, MIB, Overload, Scaling, Silence, speedup};
use super::result::{Row, Table};
use super::sample::Sample;

/// The header of a table, its rows, and how many columns are aligned left.
pub type TextTable = (&'static [&'static str], Vec<Vec<String>>, usize);

impl Table {
    /// Everything as tables of text, without the empty ones.
    pub fn tables(&self) -> Vec<TextTable> {
        let rows = self.sorted();
        let scaling = self.scaling.iter().map(|s| scaling_cells(s, &self.scaling));
        let tables: [TextTable; 6] = [
            (
                &HEADER,
                rows.iter().map(|row| self.row_cells(row)).collect(),
                4,
            ),
            (
                &MEMORY_HEADER,
                self.memory.iter().map(memory_cells).collect(),
                2,
            ),
            (
                &LOADING_HEADER,
                self.loading.iter().map(loading_cells).collect(),
                2,
            ),
            (
                &OVERLOAD_HEADER,
                self.overload.iter().map(overload_cells).collect(),
                2,
            ),
            (
                &SILENCE_HEADER,
                self.silence.iter().map(silence_cells).collect(),
                1,
            ),
            (&SCALING_HEADER, scaling.collect(), 2),
        ];
        tables
            .into_iter()
            .filter(|(_, rows, _)| !rows.is_empty())
            .collect()
    }

    fn row_cells(&self, row: &Row) -> Vec<String> {
        let ratio = Spread::of(self.ratios(row, ECHO));
        let number = |value: f64, digits: usize| match value.is_finite() {
            true => format!("{value:.digits$}"),
            false => "-".to_owned(),
        };
        let of = |field: fn(&Sample) -> f64, digits| number(row.median(field), digits);
        vec![
            row.key.scenario.name.to_owned(),
            row.key.label.to_string(),
            match row.key.sources {
                EACH_QUERY_ITS_OWN => "a query".to_owned(),
                sources => sources.to_string(),
            },
            row.key.server.clone(),
            of(|s| s.cpu_us, 2),
            ratio.map_or("-".to_owned(), |s| format!("{:.2}", s.median)),
            ratio.map_or("-".to_owned(), |s| format!("{:.2}..{:.2}", s.min, s.max)),
            of(|s| s.machine_us, 2),
            of(|s| s.answers_per_s, 0),
            of(|s| s.loss * 100.0, 3),
            of(|s| s.wrong * 100.0, 3),
            of(|s| s.latency_us[0], 0),
            of(|s| s.latency_us[2], 0),
            of(|s| s.latency_us[3], 0),
            of(|s| s.reply_bytes, 0),
            format!("{}/{}", row.voids(), row.runs.len()),
        ]
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (header, rows, left) in self.tables() {
            writeln!(f, "{}", table::render(header, &rows, left))?;
        }
        let notes: Vec<String> = self.notes.iter().map(|note| format!("- {note}")).collect();
        f.write_str(&notes.join("\n"))
    }
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    Spread::of(values).map_or(f64::NAN, |s| s.median)
}

fn memory_cells(memory: &EntryMemory) -> Vec<String> {
    vec![
        memory.scenario.to_owned(),
        memory.server.clone(),
        memory.entries.to_string(),
        format!("{:.0}", memory.bytes_per_entry()),
    ]
}

fn loading_cells(loading: &Loading) -> Vec<String> {
    vec![
        loading.scenario.to_owned(),
        loading.server.clone(),
        loading.names.to_string(),
        format!("{:.0}", median(loading.start_ms.iter().copied())),
        format!("{:.1}", median(loading.memory_bytes.iter().copied()) / MIB),
    ]
}

fn overload_cells(overload: &Overload) -> Vec<String> {
    vec![
        overload.scenario.to_owned(),
        overload.server.clone(),
        format!("{:.0}", overload.peak),
        format!("{:.0}", overload.asked),
        format!("{:.0}", overload.offered),
        format!("{:.0}", overload.answered),
        format!("{:.1}", overload.share() * 100.0),
        format!("{:.2}", overload.growth()),
        overload.servfails.to_string(),
    ]
}

fn silence_cells(silence: &Silence) -> Vec<String> {
    let [quiet, hits, flood] = silence.mean_us;
    vec![
        silence.server.clone(),
        format!("{:.0}", silence.flood_per_s),
        format!("{:.1}", silence.growth_mib()),
        format!("{}/{}", silence.cached[1], silence.cached[0]),
        format!("{quiet:.0}"),
        format!("{hits:.0}"),
        format!("{flood:.0}"),
        format!("{:.2}", silence.ratio()),
    ]
}

fn scaling_cells(scaling: &Scaling, all: &[Scaling]) -> Vec<String> {
    let one = all.iter().find(|other| {
        other.cores == 1 && (other.scenario, &other.server) == (scaling.scenario, &scaling.server)
    });
    let more = one.and_then(|one| speedup(one, scaling));
    vec![
        scaling.scenario.to_owned(),
        scaling.server.clone(),
        scaling.cores.to_string(),
        format!("{:.0}", median(scaling.valid(&scaling.answers_per_s))),
        format!("{:.2}", median(scaling.valid(&scaling.left_cores))),
        more.map_or("-".to_owned(), |more| format!("{more:.2}")),
        format!("{:.0}", median(scaling.valid(&scaling.busiest)) * 100.0),
    ]
}

const HEADER: [&str; 16] = [
    "scenario",
    "rate",
    "sources",
    "server",
    "CPU us/answer",
    "x echo",
    "min..max",
    "machine us",
    "answers/s",
    "lost %",
    "wrong %",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "bytes",
    "void",
];
const MEMORY_HEADER: [&str; 4] = ["cache", "server", "entries", "bytes an entry"];
const LOADING_HEADER: [&str; 5] = ["loading", "server", "names", "start ms", "memory MiB"];
const OVERLOAD_HEADER: [&str; 9] = [
    "overload",
    "server",
    "peak/s",
    "asked/s",
    "offered/s",
    "answered/s",
    "% of peak",
    "x RSS",
    "SERVFAIL",
];
const SILENCE_HEADER: [&str; 8] = [
    "silent upstream",
    "flood/s",
    "growth MiB",
    "cached answered",
    "mean us alone",
    "beside hits",
    "beside flood",
    "x",
];
const SCALING_HEADER: [&str; 7] = [
    "cores",
    "server",
    "n",
    "answers/s",
    "CPUs left",
    "speed-up",
    "busiest thread %",
];
