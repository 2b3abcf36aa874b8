//! What was found, beside the bars.
//!
//! Runs on: pure.

use std::fmt;

use crate::figures::bars::Limit;
use crate::figures::evaluate::Verdict;
use crate::json::Json;
use crate::table;

/// One row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What it is.
    pub what: &'static str,
    /// What it must keep to.
    pub limit: Limit,
    /// What value and bar are counted in, with the blank before it.
    pub unit: &'static str,
    /// What was measured.
    pub value: Option<f64>,
    /// What it was made from, or why there is none.
    pub detail: String,
}

impl Figure {
    /// A figure that must not be above its bar.
    pub fn at_most(
        bar: f64,
        unit: &'static str,
        what: &'static str,
        value: f64,
        detail: String,
    ) -> Figure {
        Figure {
            what,
            limit: Limit::AtMost(bar),
            unit,
            value: Some(value),
            detail,
        }
    }

    /// One that could not be measured, and why.
    pub fn missing(what: &'static str, reason: String) -> Figure {
        Figure {
            what,
            limit: Limit::AtMost(0.0),
            unit: "",
            value: None,
            detail: reason,
        }
    }

    /// Against the bar.
    pub fn verdict(&self) -> Verdict {
        match self.value {
            None => Verdict::Unmeasured,
            Some(value) if self.limit.is_met(value) => Verdict::Met,
            Some(_) => Verdict::Missed,
        }
    }

    fn row(&self) -> Vec<String> {
        let show = |value: f64| format!("{value:.digits$}{}", self.unit, digits = digits(value));
        let bar = self.value.map(|_| self.limit.show(self.unit));
        vec![
            self.what.to_owned(),
            bar.unwrap_or_default(),
            self.value.map(show).unwrap_or_default(),
            self.verdict().word().to_owned(),
            self.detail.clone(),
        ]
    }

    fn json(&self) -> Json {
        Json::Object(vec![
            ("figure", self.what.into()),
            ("bar", self.limit.show(self.unit).as_str().into()),
            ("measured", self.value.map_or(Json::Null, Json::Num)),
            ("verdict", self.verdict().word().into()),
            ("detail", self.detail.as_str().into()),
        ])
    }
}

/// Digits behind the point with which small numbers can be told apart and large ones read.
fn digits(value: f64) -> usize {
    match value.abs() {
        0.0 => 0,
        v if v < 10.0 => 2,
        _ => 1,
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Outcome {
    /// In the order in which they were taken.
    pub figures: Vec<Figure>,
}

impl Outcome {
    /// Whether each one was measured and meets its bar.
    pub fn is_met(&self) -> bool {
        let verdicts = self.figures.iter().map(Figure::verdict);
        verdicts.into_iter().all(|verdict| verdict == Verdict::Met)
    }

    /// As a JSON object.
    pub fn json(&self) -> Json {
        let figures = self.figures.iter().map(Figure::json).collect();
        Json::Object(vec![("kubernetes", Json::List(figures))])
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["figure", "bar", "measured", "verdict", "taken from"];
        let rows: Vec<_> = self.figures.iter().map(Figure::row).collect();
        f.write_str(&table::render(&header, &rows, header.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_met_missed_or_not_measured() {
        let figure = |value| Figure::at_most(60.0, " MiB", "memory", value, "2 objects".into());
        let outcome = |figures| Outcome { figures };
        assert!(outcome(vec![figure(59.96)]).is_met());
        assert!(!outcome(vec![figure(59.0), figure(60.1)]).is_met());
        let missing = Figure::missing("snapshot", "no such key".into());
        let all = outcome(vec![figure(61.25), missing]);
        assert!(!all.is_met());
        let text = all.to_string();
        assert!(
            text.contains("| memory   | <= 60 MiB | 61.2 MiB | MISSED "),
            "{text}"
        );
        assert!(text.contains("| snapshot |           |          | not measured | no such key"));
        let json = all.json().to_string();
        assert!(
            json.contains(r#""measured":61.25,"verdict":"MISSED""#),
            "{json}"
        );
        assert!(json.contains(r#""measured":null"#), "{json}");
    }
}
