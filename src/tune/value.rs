//! A value of a settings file and what may be read from it. Errors follow the name of the key: `must be ...`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::lang::duration::{self, GoDuration};

/// A value as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `4`, `0x10`, `1_000`.
    Integer(i64),
    /// `true`, `false`.
    Boolean(bool),
    /// `"text"`.
    Text(String),
    /// `["one", "two"]`.
    Texts(Vec<String>),
    /// `{ "name" = ["text", ...], ... }`.
    Lists(Vec<(String, Vec<String>)>),
    /// What no key takes; its kind.
    Other(&'static str),
}

impl Value {
    /// A whole number within bounds.
    pub fn integer(&self, bounds: RangeInclusive<i64>) -> Result<i64, String> {
        match self {
            Value::Integer(number) if bounds.contains(number) => Ok(*number),
            other => Err(format!(
                "must be a whole number from {} to {}, not {other}",
                bounds.start(),
                bounds.end()
            )),
        }
    }

    /// A number of things, from `least` to `most`.
    pub fn count(&self, least: usize, most: usize) -> Result<usize, String> {
        self.integer(least as i64..=most as i64)
            .map(|count| count as usize)
    }

    /// Octets: a number, or text with a binary unit (`"4MiB"`).
    pub fn octets(&self, least: usize, most: usize) -> Result<usize, String> {
        let octets = match self {
            Value::Integer(octets) => usize::try_from(*octets).ok(),
            Value::Text(text) => parse_octets(text),
            _ => None,
        };
        octets
            .filter(|octets| (least..=most).contains(octets))
            .ok_or_else(|| {
                format!(
                    "must be octets from {} to {}, as a number or like \"4MiB\", not {self}",
                    show_octets(least as u64),
                    show_octets(most as u64)
                )
            })
    }

    /// A span of time as Go writes it (`"50us"`, `"15m"`).
    pub fn duration(&self, bounds: RangeInclusive<Duration>) -> Result<Duration, String> {
        let span = match self {
            Value::Text(text) => duration::parse(text).ok().and_then(GoDuration::to_std),
            _ => None,
        };
        span.filter(|span| bounds.contains(span)).ok_or_else(|| {
            let (least, most) = (
                GoDuration::from(*bounds.start()),
                GoDuration::from(*bounds.end()),
            );
            format!("must be a duration from \"{least}\" to \"{most}\", not {self}")
        })
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Result<bool, String> {
        match self {
            Value::Boolean(on) => Ok(*on),
            other => Err(format!("must be true or false, not {other}")),
        }
    }

    /// Any number of texts up to `most`; `what` says of which kind.
    pub fn texts(&self, what: &str, most: usize) -> Result<&[String], String> {
        match self {
            Value::Texts(list) if list.len() <= most => Ok(list),
            other => Err(format!("must be at most {most} {what}, not {other}")),
        }
    }

    /// Lists of text by name; `what` says of what.
    pub fn lists(&self, what: &str) -> Result<&[(String, Vec<String>)], String> {
        match self {
            Value::Lists(rows) => Ok(rows),
            other => Err(format!("must be {what}, not {other}")),
        }
    }

    /// Text that is not empty; `what` says of which kind.
    pub fn text(&self, what: &str) -> Result<&str, String> {
        match self {
            Value::Text(text) if !text.is_empty() => Ok(text),
            other => Err(format!("must be {what} in quotes, not {other}")),
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Integer(number) => number.fmt(f),
            Value::Boolean(on) => on.fmt(f),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Texts(list) => write!(f, "{list:?}"),
            Value::Lists(_) => f.write_str("a table of lists"),
            Value::Other(kind) => write!(f, "a value of the kind {kind}"),
        }
    }
}

fn parse_octets(text: &str) -> Option<usize> {
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
    number.trim().parse::<usize>().ok()?.checked_mul(unit)
}

/// `4MiB`, `208KiB`, `1000`: the largest unit that leaves a whole number.
pub fn show_octets(octets: u64) -> String {
    let unit = UNITS
        .iter()
        .find(|(_, unit)| octets > 0 && octets.is_multiple_of(*unit as u64));
    match unit {
        Some((name, unit)) => format!("{}{name}", octets / *unit as u64),
        None => octets.to_string(),
    }
}

const UNITS: [(&str, usize); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];
