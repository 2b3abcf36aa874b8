//! Which plots a page has, and what is in them.
//!
//! Runs on: pure.

use std::fmt::Write;

use crate::compare::findings::{MIB, speedup};
use crate::compare::rates::{Label, Origin};
use crate::compare::result::{Row, Table};
use crate::compare::sample::PERCENTILES;
use crate::pace::Rate;
use crate::scenario::Scenario;
use crate::servers::PERCOREDNS;
use crate::stage::ECHO;
use crate::stats::Spread;

use super::svg::{self, Bar, Frame, Series};
use super::{escape, section};

/// Every plot for which there is something.
pub fn all(table: &Table) -> String {
    let colours = Colours::of(table);
    let mut out = String::new();
    grid(
        &mut out,
        "Answered against offered",
        "Open loop, right answers only. The dashed line is where everything is answered; the knee is where a server leaves it.",
        answered(table, &colours),
    );
    grid(
        &mut out,
        "Latency percentiles",
        "Open loop, from the intended send time, so a stall counts for every query that should have left meanwhile.",
        latencies(table, &colours),
    );
    grid(
        &mut out,
        "CPU per answer, against the echo",
        "User and system time of the server's processes per right answer, over the bare echo's in the same round (dashed). Whiskers are \
         the smallest and largest round.",
        cpu(table, &colours),
    );
    grid(
        &mut out,
        "Memory per cached entry",
        "Growth of RSS of all processes of the server from before the first to after the last name, for each name.",
        entry_memory(table, &colours),
    );
    grid(
        &mut out,
        "Loading",
        "From exec to the first right answer, with all CPUs; memory of all processes then, shared pages counted once.",
        loading(table, &colours),
    );
    grid(
        &mut out,
        "From one core to several",
        "Closed loops from the same CPUs; answers per CPU that the generator left, scaled up to all of them. Behind it, the gain over \
         one core and the busiest thread's share of the server's CPU time.",
        scaling(table, &colours),
    );
    grid(
        &mut out,
        "Three times the peak",
        "Right answers a second while far more is offered, as a share of the closed loop's peak just before (dashed).",
        overload(table, &colours),
    );
    grid(
        &mut out,
        "Silent upstream",
        "Growth of memory while distinct names pour in that the upstream never answers.",
        silence(table, &colours),
    );
    out
}

fn grid(out: &mut String, title: &str, about: &str, plots: Vec<(String, String)>) {
    let mut cards = String::new();
    for (title, plot) in plots.iter().filter(|(_, plot)| !plot.is_empty()) {
        let title = escape(title);
        let _ = write!(cards, "<div class=\"card\"><h3>{title}</h3>{plot}</div>");
    }
    if !cards.is_empty() {
        section(
            out,
            title,
            about,
            &format!("<div class=\"grid\">{cards}</div>"),
        );
    }
}

/// One colour for each server all over the page: percoredns first, the echo grey.
struct Colours(Vec<String>);

impl Colours {
    fn of(table: &Table) -> Colours {
        let rows = table.rows.iter().map(|row| &row.key.server);
        let others = (table.memory.iter().map(|m| &m.server))
            .chain(table.loading.iter().map(|l| &l.server))
            .chain(table.scaling.iter().map(|s| &s.server))
            .chain(table.overload.iter().map(|o| &o.server))
            .chain(table.silence.iter().map(|s| &s.server));
        let mut names = vec![PERCOREDNS.to_owned(), ECHO.to_owned()];
        for name in rows.chain(others) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        Colours(names)
    }

    fn colour(&self, server: &str) -> usize {
        self.0.iter().position(|name| name == server).unwrap_or(0)
    }
}

/// Groups of rows with one scenario and number of sources, in order.
fn groups(table: &Table) -> Vec<(&'static Scenario, usize, Vec<&Row>)> {
    let mut groups: Vec<(&'static Scenario, usize, Vec<&Row>)> = Vec::new();
    for row in table.sorted() {
        let key = (row.key.scenario, row.key.sources);
        match groups.iter_mut().find(|(s, n, _)| (*s, *n) == key) {
            Some((_, _, rows)) => rows.push(row),
            None => groups.push((key.0, key.1, vec![row])),
        }
    }
    groups
}

fn by_server<'a>(rows: &[&'a Row]) -> Vec<(&'a str, Vec<&'a Row>)> {
    let mut servers: Vec<(&str, Vec<&Row>)> = Vec::new();
    for row in rows {
        match servers.iter_mut().find(|(name, _)| *name == row.key.server) {
            Some((_, rows)) => rows.push(row),
            None => servers.push((&row.key.server, vec![row])),
        }
    }
    servers
}

fn labels(rows: &[&Row]) -> Vec<Label> {
    let mut labels: Vec<Label> = rows.iter().map(|row| row.key.label).collect();
    labels.dedup();
    labels
}

fn answered(table: &Table, colours: &Colours) -> Vec<(String, String)> {
    let frame = Frame {
        x: "offered a second",
        y: "answered a second",
        ticks: &[],
        log: false,
        diagonal: true,
    };
    let plot = |(scenario, sources, rows): (&Scenario, usize, Vec<&Row>)| {
        let open: Vec<&Row> = rows
            .into_iter()
            .filter(|row| row.key.label.rate != Rate::Max)
            .collect();
        // A line needs more than one point.
        if labels(&open).len() < 3 {
            return None;
        }
        let series: Vec<Series> = by_server(&open)
            .into_iter()
            .map(|(name, rows)| {
                let mut points: Vec<(f64, f64)> = rows
                    .iter()
                    .map(|row| {
                        (
                            row.median(|s| s.offered_per_s),
                            row.median(|s| s.answers_per_s),
                        )
                    })
                    .collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                Series {
                    name: name.to_owned(),
                    colour: colours.colour(name),
                    points,
                }
            })
            .collect();
        let title = format!("{}, {sources} sources", scenario.name);
        Some((title, svg::lines(&frame, &series)))
    };
    groups(table).into_iter().filter_map(plot).collect()
}

fn latencies(table: &Table, colours: &Colours) -> Vec<(String, String)> {
    let ticks: Vec<String> = PERCENTILES.iter().map(|p| format!("p{p}")).collect();
    let ticks: Vec<&str> = ticks.iter().map(String::as_str).collect();
    let frame = Frame {
        x: "percentile",
        y: "us, logarithmic",
        ticks: &ticks,
        log: true,
        diagonal: false,
    };
    let mut plots = Vec::new();
    for (scenario, sources, rows) in groups(table) {
        for label in labels(&rows) {
            if label.rate == Rate::Max || label.origin == Origin::Sweep {
                continue;
            }
            let series: Vec<Series> = rows
                .iter()
                .filter(|row| row.key.label == label)
                .map(|row| Series {
                    name: row.key.server.clone(),
                    colour: colours.colour(&row.key.server),
                    points: latency_points(row),
                })
                .collect();
            let title = format!("{}, {label}/s, {sources} sources", scenario.name);
            plots.push((title, svg::lines(&frame, &series)));
        }
    }
    plots
}

fn latency_points(row: &Row) -> Vec<(f64, f64)> {
    let fields: [fn(&crate::compare::sample::Sample) -> f64; PERCENTILES.len()] = [
        |s| s.latency_us[0],
        |s| s.latency_us[1],
        |s| s.latency_us[2],
        |s| s.latency_us[3],
        |s| s.latency_us[4],
    ];
    let points = fields.iter().enumerate();
    points
        .map(|(i, field)| (i as f64, row.median(*field)))
        .filter(|(_, us)| us.is_finite())
        .collect()
}

fn cpu(table: &Table, colours: &Colours) -> Vec<(String, String)> {
    let mut plots = Vec::new();
    for (scenario, sources, rows) in groups(table) {
        for label in labels(&rows) {
            if label.origin == Origin::Sweep {
                continue;
            }
            let of_label = rows.iter().filter(|row| row.key.label == label);
            let has_echo = of_label.clone().any(|row| row.key.server == ECHO);
            let bars: Vec<Bar> = of_label
                .filter_map(|row| {
                    let us = row.median(|s| s.cpu_us);
                    let ratio = Spread::of(table.ratios(row, ECHO));
                    let spread = ratio.or_else(|| Spread::of(row.values(|s| s.cpu_us)))?;
                    let text = match ratio {
                        Some(ratio) => format!("{:.2}x, {us:.2} us", ratio.median),
                        None => format!("{us:.2} us"),
                    };
                    Some(bar(&row.key.server, colours, spread, text))
                })
                .collect();
            let title = format!("{}, {label}, {sources} sources", scenario.name);
            plots.push((title, svg::bars(&bars, has_echo.then_some(1.0))));
        }
    }
    plots
}

fn bar(name: &str, colours: &Colours, spread: Spread, text: String) -> Bar {
    Bar {
        name: name.to_owned(),
        colour: colours.colour(name),
        value: spread.median,
        whisker: Some((spread.min, spread.max)),
        text,
    }
}

/// One chart for each scenario among `items`.
fn charts<T>(
    items: &[T],
    scenario: fn(&T) -> &'static str,
    mark: Option<f64>,
    bar: impl Fn(&T) -> Option<Bar>,
) -> Vec<(String, String)> {
    let mut names: Vec<&str> = items.iter().map(scenario).collect();
    names.dedup();
    names
        .into_iter()
        .map(|name| {
            let bars: Vec<Bar> = items
                .iter()
                .filter(|item| scenario(item) == name)
                .filter_map(&bar)
                .collect();
            (name.to_owned(), svg::bars(&bars, mark))
        })
        .collect()
}

fn entry_memory(table: &Table, colours: &Colours) -> Vec<(String, String)> {
    charts(
        &table.memory,
        |m| m.scenario,
        None,
        |m| {
            let bytes = m.bytes_per_entry();
            let text = format!(
                "{bytes:.0} bytes ({} entries)",
                svg::short(m.entries as f64)
            );
            Some(bar(&m.server, colours, Spread::of([bytes])?, text))
        },
    )
}

fn loading(table: &Table, colours: &Colours) -> Vec<(String, String)> {
    let start = charts(
        &table.loading,
        |l| l.scenario,
        None,
        |l| {
            let spread = Spread::of(l.start_ms.iter().copied())?;
            let text = format!("{:.0} ms", spread.median);
            Some(bar(&l.server, colours, spread, text))
        },
    );
    let memory = charts(
        &table.loading,
        |l| l.scenario,
        None,
        |l| {
            let spread = Spread::of(l.memory_bytes.iter().copied())?;
            let text = format!("{:.1} MiB", spread.median / MIB);
            Some(bar(&l.server, colours, spread, text))
        },
    );
    let titled = |what: &'static str| move |(name, plot)| (format!("{name}: {what}"), plot);
    let start = start.into_iter().map(titled("start to first right answer"));
    start
        .chain(memory.into_iter().map(titled("memory of all processes")))
        .collect()
}

fn scaling(table: &Table, colours: &Colours) -> Vec<(String, String)> {
    charts(
        &table.scaling,
        |s| s.scenario,
        None,
        |s| {
            let spread = Spread::of(s.capacity())?;
            let one = table
                .scaling
                .iter()
                .find(|o| o.cores == 1 && (o.scenario, &o.server) == (s.scenario, &s.server));
            let gain = one.and_then(|one| speedup(one, s)).unwrap_or(1.0);
            let busiest = Spread::of(s.valid(&s.busiest)).map_or(0.0, |b| b.median * 100.0);
            let text = format!(
                "{}/s, {gain:.2}x, {busiest:.0} %",
                svg::short(spread.median)
            );
            let mut bar = bar(&s.server, colours, spread, text);
            bar.name = format!("{} x{}", s.server, s.cores);
            Some(bar)
        },
    )
}

fn overload(table: &Table, colours: &Colours) -> Vec<(String, String)> {
    charts(
        &table.overload,
        |o| o.scenario,
        Some(1.0),
        |o| {
            let text = format!(
                "{:.0} % of {}/s, {:.1}x offered",
                o.share() * 100.0,
                svg::short(o.peak),
                o.offered / o.peak.max(1.0)
            );
            Some(bar(&o.server, colours, Spread::of([o.share()])?, text))
        },
    )
}

fn silence(table: &Table, colours: &Colours) -> Vec<(String, String)> {
    charts(
        &table.silence,
        |_| "growth of memory",
        None,
        |s| {
            let growth = s.growth_mib();
            let text = format!(
                "{growth:.1} MiB, {:.1} % answered, {:.2}x",
                s.answered() * 100.0,
                s.ratio()
            );
            Some(bar(&s.server, colours, Spread::of([growth])?, text))
        },
    )
}
