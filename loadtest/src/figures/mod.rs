//! Every figure that percoredns is held to, from one command.
//!
//! ```text
//!  plan of comparisons --> one table --+--> evaluate against BARS --> terminal, figures.json, figures.html
//!  cargo bench (or its output) --------+
//! ```

pub mod bars;
pub mod bench;
pub mod evaluate;

use std::path::Path;
use std::time::Instant;

use crate::cli::{FEW_SOURCES, SPREAD_SOURCES};
use crate::compare::rates::Ask;
use crate::compare::result::Table;
use crate::compare::{self, Options};
use crate::json::Json;
use crate::machine::Shape;
use crate::pace::Rate;
use crate::progress;
use crate::scenario::Scenario;
use crate::sys;
use crate::table;

use bars::LOW_QPS;
use bench::Bench;
use evaluate::{Figure, Verdict};

/// Runs the whole plan; `quick` does all of it briefly and with few names, to see that it works.
pub fn run(
    base: &Options,
    quick: bool,
    bench: Option<&Path>,
) -> Result<(Table, Vec<Figure>), String> {
    let began = Instant::now();
    let bench = match bench {
        Some(path) => std::fs::read_to_string(path)
            .map(|text| Bench::parse(&text))
            .map_err(|e| format!("--bench {}: {e}", path.display()))?,
        None if quick => {
            Bench::without("not run with --quick; --bench FILE gives it the output of cargo bench")
        }
        None => Bench::run(),
    };
    let mut table = Table::default();
    table.shape = Shape::here();
    let plan = plan(base, quick)?;
    let count = plan.len();
    for (i, (what, options)) in plan.into_iter().enumerate() {
        let elapsed = progress::minutes(began.elapsed());
        eprintln!("[{elapsed}] part {} of {count}: {what}", i + 1);
        match compare::run(&options) {
            Ok(part) => table.absorb(part),
            Err(e) if sys::stop_requested() => return Err(e),
            // The other figures are worth having without this part's.
            Err(e) => table.fail("percoredns", format!("{what}: {e}")),
        }
    }
    if quick {
        table.note(
            "--quick: short runs and few names; the figures say only that everything runs".into(),
        );
    }
    let figures = evaluate::evaluate(&table, &bench);
    Ok((table, figures))
}

/// The comparisons that together hold every figure.
fn plan(base: &Options, quick: bool) -> Result<Vec<(&'static str, Options)>, String> {
    let names = quick.then_some(QUICK_NAMES);
    let long = |full: f64, short: f64| if quick { short } else { full };
    let rounds = |full: usize| if quick { 1 } else { full };
    let of = |scenarios: &[&str], asks: &[Ask]| -> Result<Options, String> {
        let scenarios = scenarios.iter().map(|name| Scenario::find(name));
        Ok(Options {
            scenarios: scenarios.collect::<Result<_, _>>()?,
            asks: asks.to_vec(),
            seconds: long(1.5, 0.3),
            rounds: rounds(5),
            ..base.clone()
        })
    };
    let (max, low) = (Ask::Rate(Rate::Max), Ask::Rate(Rate::Fixed(LOW_QPS)));
    Ok(vec![
        (
            "CPU per answer, few and many sources",
            Options {
                sources: vec![FEW_SOURCES, SPREAD_SOURCES],
                ..of(&["zone", "cached"], &[max, low])?
            },
        ),
        (
            "tails at half of the slowest rival's knee",
            Options {
                seconds: long(3.0, 0.3),
                rounds: rounds(3),
                ..of(&["zone", "cached"], &[Ask::HalfKnee])?
            },
        ),
        (
            "answered against offered",
            Options {
                rounds: 1,
                seconds: long(1.0, 0.3),
                ..of(&["zone", "cached"], &[Ask::Sweep])?
            },
        ),
        (
            "three times the peak, and a silent upstream",
            Options {
                overload_s: long(60.0, 2.0),
                silent_s: long(10.0, 1.0),
                ..of(&["cached"], &[Ask::Overload])?
            },
        ),
        (
            "one core and two",
            Options {
                cores: vec![1, 2],
                rounds: rounds(3),
                ..of(&["zone", "cached", "hot-1src"], &[])?
            },
        ),
        (
            "a million cached names",
            Options {
                names,
                rounds: rounds(2),
                ..of(&["cached-1m"], &[max])?
            },
        ),
        (
            "a zone of a million records",
            Options {
                names,
                rounds: rounds(2),
                starts: rounds(3),
                ..of(&["zone-1m"], &[max])?
            },
        ),
    ])
}

/// The table of figures as text.
pub fn render(figures: &[Figure]) -> String {
    let rows: Vec<Vec<String>> = figures
        .iter()
        .map(|figure| {
            vec![
                figure.bar.what.to_owned(),
                figure.detail.clone(),
                figure.bar.limit.show(figure.bar.unit),
                figure.measured(),
                figure.verdict().word().to_owned(),
            ]
        })
        .collect();
    let count = |verdict| figures.iter().filter(|f| f.verdict() == verdict).count();
    format!(
        "{}\n{} met, {} missed, {} not measured",
        table::render(
            &["figure", "taken at", "bar", "measured", "verdict"],
            &rows,
            5
        ),
        count(Verdict::Met),
        count(Verdict::Missed),
        count(Verdict::Unmeasured)
    )
}

/// Figures and all that they were made from.
pub fn json(table: &Table, figures: &[Figure]) -> Json {
    let figure = |figure: &Figure| {
        Json::Object(vec![
            ("figure", figure.bar.what.into()),
            ("detail", figure.detail.as_str().into()),
            (
                "bar",
                figure.bar.limit.show(figure.bar.unit).as_str().into(),
            ),
            (
                "measured",
                figure.value.map_or(Json::Null, |spread| spread.json()),
            ),
            ("verdict", figure.verdict().word().into()),
            ("missing", figure.missing.as_str().into()),
        ])
    };
    Json::Object(vec![
        ("figures", Json::List(figures.iter().map(figure).collect())),
        ("table", table.json()),
    ])
}

/// Enough that memory per entry is not all noise.
const QUICK_NAMES: u32 = 50_000;

#[cfg(test)]
mod tests;
