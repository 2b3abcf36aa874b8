//! What was found, against the bars.
//!
//! Runs on: pure.

use crate::compare::findings::speedup;
use crate::compare::rates::{Label, Origin};
use crate::compare::result::{Row, Table};
use crate::pace::Rate;
use crate::servers::{PERCOREDNS, program_of};
use crate::stage::ECHO;
use crate::stats::Spread;

use super::bars::{At, BARS, Bar, LOW_QPS, Metric};
use super::bench::Bench;

/// One row of the table of figures.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What it is.
    pub bar: Bar,
    /// What sets several rows of one bar apart, such as the number of sources.
    pub detail: String,
    /// What was measured.
    pub value: Option<Spread>,
    /// Why there is no value.
    pub missing: String,
}

/// Whether a bar is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The median keeps to it.
    Met,
    /// It does not.
    Missed,
    /// There is nothing to judge.
    Unmeasured,
}

impl Verdict {
    /// The word that stands beside the colour.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Met => "met",
            Verdict::Missed => "MISSED",
            Verdict::Unmeasured => "not measured",
        }
    }
}

impl Figure {
    /// A figure that was taken; without any number it is missing.
    pub fn taken(bar: Bar, detail: String, values: impl IntoIterator<Item = f64>) -> Figure {
        Figure {
            bar,
            detail,
            value: Spread::of(values),
            missing: "no run gave a number".to_owned(),
        }
    }

    /// One that could not be taken, and why.
    pub fn missing(bar: Bar, reason: String) -> Figure {
        Figure {
            bar,
            detail: String::new(),
            value: None,
            // Tables have a line for each.
            missing: reason.replace('\n', "; "),
        }
    }

    /// The median against the bar.
    pub fn verdict(&self) -> Verdict {
        match self.value {
            None => Verdict::Unmeasured,
            Some(value) if self.bar.limit.is_met(value.median) => Verdict::Met,
            Some(_) => Verdict::Missed,
        }
    }

    /// The median with its extremes, or why there is none.
    pub fn measured(&self) -> String {
        let Some(Spread { median, min, max }) = self.value else {
            return self.missing.clone();
        };
        let digits = if median.abs() < 10.0 { 2 } else { 0 };
        let unit = self.bar.unit;
        if min == max {
            return format!("{median:.digits$}{unit}");
        }
        format!("{median:.digits$}{unit} ({min:.digits$}..{max:.digits$})")
    }
}

/// Every bar with what was found for it; a bar may have several rows.
pub fn evaluate(table: &Table, bench: &Bench) -> Vec<Figure> {
    let mut figures = Vec::new();
    for &(bar, metric) in BARS {
        let found = values(table, bench, metric);
        if found.is_empty() {
            let reason = missing(table, bench, metric);
            figures.push(Figure::missing(bar, reason));
        }
        figures.extend(found.into_iter().map(|(detail, value)| Figure {
            bar,
            detail,
            value: Some(value),
            missing: String::new(),
        }));
    }
    figures
}

type Found = Vec<(String, Spread)>;

fn values(table: &Table, bench: &Bench, metric: Metric) -> Found {
    let single = |value: f64| Spread::of([value]);
    let plain = |spread: Option<Spread>| spread.map(|s| (String::new(), s)).into_iter().collect();
    match metric {
        Metric::Bench(ids) => ids
            .iter()
            .find_map(|id| Some(((*id).to_owned(), single(bench.value(id)?)?)))
            .into_iter()
            .collect(),
        Metric::CpuRatio(scenario, at, other) => cpu_ratios(table, scenario, at, other),
        // With more entries less of the growth is what a server takes for its first queries anyway.
        Metric::EntryBytes => {
            let own = table.memory.iter().filter(|m| m.server == PERCOREDNS);
            let largest = own.max_by_key(|m| m.entries);
            largest
                .and_then(|m| {
                    let detail = format!("{}, {} entries", m.scenario, m.entries);
                    Some((detail, single(m.bytes_per_entry())?))
                })
                .into_iter()
                .collect()
        }
        Metric::SilentGrowth | Metric::SilentAnswered | Metric::SilentMean => {
            let silence = table.silence.iter().find(|s| s.server == PERCOREDNS);
            plain(silence.and_then(|s| {
                single(match metric {
                    Metric::SilentGrowth => s.growth_mib(),
                    Metric::SilentAnswered => s.answered() * 100.0,
                    _ => s.ratio(),
                })
            }))
        }
        Metric::Speedup(scenario) => speedups(table, scenario),
        Metric::HotBusiest => {
            let hot = table
                .scaling
                .iter()
                .find(|s| (s.scenario, s.server.as_str(), s.cores) == ("hot-1src", PERCOREDNS, 2));
            plain(hot.and_then(|s| {
                Spread::of(s.valid(&s.busiest).into_iter().map(|share| share * 100.0))
            }))
        }
        Metric::LoadTime(other) => plain(load_ratio(table, other, |l| &l.start_ms)),
        Metric::LoadMemory(other) => plain(load_ratio(table, other, |l| &l.memory_bytes)),
        Metric::Tail(scenario) => tails(table, scenario),
        Metric::OverloadShare | Metric::OverloadGrowth | Metric::OverloadServfails => table
            .overload
            .iter()
            .filter(|o| o.server == PERCOREDNS)
            .filter_map(|o| {
                let detail = format!(
                    "{}, offered {:.1}x",
                    o.scenario,
                    o.offered / o.peak.max(1.0)
                );
                let value = match metric {
                    Metric::OverloadShare => o.share() * 100.0,
                    Metric::OverloadGrowth => o.growth(),
                    _ => o.servfails as f64,
                };
                Some((detail, single(value)?))
            })
            .collect(),
    }
}

fn own_rows<'a>(table: &'a Table, scenario: &str) -> Vec<&'a Row> {
    let mut rows: Vec<&Row> = table
        .rows
        .iter()
        .filter(|row| row.key.scenario.name == scenario && row.key.server == PERCOREDNS)
        .collect();
    rows.sort_by_key(|row| row.key.sources);
    rows
}

fn cpu_ratios(table: &Table, scenario: &str, at: At, other: &str) -> Found {
    let label = Label::given(match at {
        At::Saturation => Rate::Max,
        At::Low => Rate::Fixed(LOW_QPS),
    });
    own_rows(table, scenario)
        .into_iter()
        .filter(|row| row.key.label == label)
        .filter_map(|row| {
            let detail = format!("{} sources", row.key.sources);
            Some((detail, Spread::of(table.ratios(row, other))?))
        })
        .collect()
}

fn speedups(table: &Table, scenario: &str) -> Found {
    let of = |cores| {
        table
            .scaling
            .iter()
            .find(|s| (s.scenario, s.server.as_str(), s.cores) == (scenario, PERCOREDNS, cores))
    };
    let found = of(1).zip(of(2)).and_then(|(one, two)| {
        let median = speedup(one, two)?;
        let (one, two) = (Spread::of(one.capacity())?, Spread::of(two.capacity())?);
        Some(Spread {
            median,
            min: two.min / one.max,
            max: two.max / one.min,
        })
    });
    found.map(|s| (String::new(), s)).into_iter().collect()
}

/// The medians' ratio, with the extremes that rounds allow.
fn load_ratio(
    table: &Table,
    other: &str,
    field: fn(&crate::compare::findings::Loading) -> &Vec<f64>,
) -> Option<Spread> {
    let of = |server: &str| {
        let found = table.loading.iter();
        let found = found.filter(|l| l.scenario == "zone-1m");
        let values = found.into_iter().find(|l| l.server == server)?;
        Spread::of(field(values).iter().copied())
    };
    let (own, rival) = (of(PERCOREDNS)?, of(other)?);
    Some(Spread {
        median: own.median / rival.median,
        min: own.min / rival.max,
        max: own.max / rival.min,
    })
}

fn tails(table: &Table, scenario: &str) -> Found {
    own_rows(table, scenario)
        .into_iter()
        .filter(|row| row.key.label.origin == Origin::HalfKnee)
        .filter_map(|row| {
            let tail = |row: &Row| row.median(|s| s.latency_us[3]);
            let rivals = table.rows.iter().filter(|other| {
                other.key.server != ECHO
                    && program_of(&other.key.server) != PERCOREDNS
                    && table
                        .beside(row, &other.key.server)
                        .is_some_and(|same| std::ptr::eq(same, *other))
            });
            let best = rivals
                .map(|other| (tail(other), other.key.server.as_str()))
                .filter(|(us, _)| us.is_finite())
                .min_by(|a, b| a.0.total_cmp(&b.0))?;
            let detail = format!(
                "{:.0} us, {} {:.0} us, {} sources, at {}/s",
                tail(row),
                best.1,
                best.0,
                row.key.sources,
                row.key.label.rate
            );
            Some((detail, Spread::of([tail(row) / best.0])?))
        })
        .collect()
}

/// The likeliest reason for a figure without a value.
fn missing(table: &Table, bench: &Bench, metric: Metric) -> String {
    match metric {
        Metric::Bench(_) => bench.missing(),
        Metric::CpuRatio(_, _, other) | Metric::LoadTime(other) | Metric::LoadMemory(other) => {
            let note = table
                .notes
                .iter()
                .find(|n| n.starts_with(&format!("{other}:")));
            note.cloned()
                .unwrap_or_else(|| format!("percoredns or {other} was not measured, see the notes"))
        }
        _ => "not measured, see the notes".to_owned(),
    }
}
