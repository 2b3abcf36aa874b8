//! The Prometheus text format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::cells::{Buckets, Value};
use super::{Collected, Kind};
use crate::telemetry::number::write_float;

/// Appends the families in the order of the map. Families without a series are left out, as a reader expects.
pub(super) fn write_families(out: &mut String, families: BTreeMap<String, Collected>) {
    for (name, family) in families {
        if family.series.is_empty() {
            continue;
        }
        out.push_str("# HELP ");
        out.push_str(&name);
        out.push(' ');
        push_escaped(out, &family.help, false);
        out.push_str("\n# TYPE ");
        out.push_str(&name);
        out.push_str(match family.kind {
            Kind::Counter => " counter\n",
            Kind::Gauge => " gauge\n",
            Kind::Histogram => " histogram\n",
        });
        for (labels, value) in &family.series {
            match value {
                Value::Count(count) => write_sample(out, &name, "", labels, None, *count as f64),
                Value::Number(number) => write_sample(out, &name, "", labels, None, *number),
                Value::Buckets(buckets) => write_histogram(out, &name, labels, buckets),
            }
        }
    }
}

fn write_histogram(out: &mut String, name: &str, labels: &[(String, String)], buckets: &Buckets) {
    let mut total = 0u64;
    let bounds = buckets.bounds.iter().copied().chain([f64::INFINITY]);
    for (bound, count) in bounds.zip(&buckets.counts) {
        total = total.wrapping_add(*count);
        write_sample(out, name, "_bucket", labels, Some(bound), total as f64);
    }
    let sum = buckets.sum_units as f64 / buckets.units_per_one;
    write_sample(out, name, "_sum", labels, None, sum);
    write_sample(out, name, "_count", labels, None, total as f64);
}

fn write_sample(
    out: &mut String,
    name: &str,
    suffix: &str,
    labels: &[(String, String)],
    le: Option<f64>,
    value: f64,
) {
    out.push_str(name);
    out.push_str(suffix);
    let mut separator = '{';
    for (label, value) in labels {
        out.push(separator);
        out.push_str(label);
        out.push_str("=\"");
        push_escaped(out, value, true);
        out.push('"');
        separator = ',';
    }
    if let Some(le) = le {
        out.push(separator);
        out.push_str("le=\"");
        push_float(out, le);
        out.push('"');
        separator = ',';
    }
    if separator == ',' {
        out.push('}');
    }
    out.push(' ');
    push_float(out, value);
    out.push('\n');
}

fn push_float(out: &mut String, value: f64) {
    if write_float(out, value).is_err() {
        // Writing to a String does not fail; a reader takes NaN for "no value".
        let _ = out.write_str("NaN");
    }
}

fn push_escaped(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}
