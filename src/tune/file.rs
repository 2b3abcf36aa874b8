//! A settings file: TOML to keys with lines. What a key may say is checked here, what the machine lacks in `resolve`.

use std::borrow::Cow;
use std::fs;
use std::io::Read;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{CPU_LIST, Core, KEYS, Key, Process};
use super::value::Value;
use super::{Settings, keys};
use crate::limits;

/// A settings file whose every key is known and whose every value is within its bounds.
pub struct TuneFile {
    /// Its name, as errors print it.
    pub name: String,
    /// Its text, to see whether it has changed.
    pub text: String,
    /// `[global]`.
    pub(super) global: Vec<Entry>,
    /// Each `[[core]]`.
    pub(super) cores: Vec<CoreTable>,
}

/// One line `key = value`.
pub(super) struct Entry {
    pub(super) key: &'static Key,
    pub(super) value: Value,
    pub(super) line: usize,
}

/// One `[[core]]`.
pub(super) struct CoreTable {
    pub(super) of: Selector,
    pub(super) line: usize,
    pub(super) entries: Vec<Entry>,
}

/// Which cores a `[[core]]` is about.
pub(super) enum Selector {
    Index(usize),
    Cpus(String),
}

impl TuneFile {
    /// Reads and parses a file.
    ///
    /// # Errors
    /// `FILE:LINE - reason and remedy`, or why it cannot be read.
    pub fn load(name: &str) -> Result<TuneFile, String> {
        TuneFile::parse(name, &read(name)?)
    }

    /// Parses a file's text.
    ///
    /// # Errors
    /// As [`TuneFile::load`].
    pub fn parse(name: &str, text: &str) -> Result<TuneFile, String> {
        let lines = Lines { name, text };
        let root = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(text.len(), |span| span.start);
            lines.error(lines.at(at), error.message())
        })?;
        let mut file = TuneFile {
            name: name.to_owned(),
            text: text.to_owned(),
            global: Vec::new(),
            cores: Vec::new(),
        };
        let mut tables: Vec<_> = root.get_ref().iter().collect();
        tables.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in tables {
            let line = lines.at(key.span().start);
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("global", DeValue::Table(table)) => file.global = entries(table, true, &lines)?,
                ("core", DeValue::Array(tables)) => {
                    for table in tables.iter() {
                        file.cores.push(core_table(table, &lines)?);
                    }
                }
                ("core", _) => {
                    return Err(lines.error(
                        line,
                        "core: write [[core]], one for each core or group of cores",
                    ));
                }
                (name, _) if Key::find(name).is_some() => {
                    let reason = format!("{name}: belongs below [global], or below a [[core]]");
                    return Err(lines.error(line, &reason));
                }
                (name, _) => {
                    let reason =
                        format!("{name}: unknown; a settings file has [global] and [[core]]");
                    return Err(lines.error(line, &reason));
                }
            }
        }
        Ok(file)
    }

    /// `FILE:LINE - reason`.
    pub(super) fn error(&self, line: usize, reason: &str) -> String {
        format!("{}:{line} - {reason}", self.name)
    }
}

/// The text of a file of bounded size.
pub fn read(name: &str) -> Result<String, String> {
    let file = fs::File::open(name).map_err(|error| format!("-tune {name}: {error}"))?;
    let mut text = String::new();
    file.take(limits::TUNE_FILE_OCTETS as u64 + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("-tune {name}: {error}"))?;
    if text.len() > limits::TUNE_FILE_OCTETS {
        return Err(format!(
            "-tune {name}: longer than {} octets: no settings file is",
            limits::TUNE_FILE_OCTETS
        ));
    }
    Ok(text)
}

fn core_table(table: &Spanned<DeValue<'_>>, lines: &Lines<'_>) -> Result<CoreTable, String> {
    let line = lines.at(table.span().start);
    let DeValue::Table(table) = table.get_ref() else {
        return Err(lines.error(
            line,
            "core: write [[core]] and its keys on lines of their own",
        ));
    };
    let mut of = None;
    for (key, value) in table.iter() {
        let name = key.get_ref().as_ref();
        let line = lines.at(key.span().start);
        let fail = |reason: String| lines.error(line, &format!("{name}: {reason}"));
        let value = convert(value.get_ref());
        let selector = match name {
            "index" => {
                let most = limits::TUNE_CORES - 1;
                Selector::Index(value.count(0, most).map_err(fail)?)
            }
            "cpus" => Selector::Cpus(value.text(CPU_LIST).map_err(fail)?.to_owned()),
            _ => continue,
        };
        if of.replace(selector).is_some() {
            return Err(fail("a [[core]] has index or cpus, not both".to_owned()));
        }
    }
    let of = of.ok_or_else(|| {
        lines.error(
            line,
            "core: needs index = n (from 0), or cpus = \"0-3\" for the cores on these CPUs",
        )
    })?;
    let entries = entries(table, false, lines)?;
    Ok(CoreTable { of, line, entries })
}

/// The keys of one table, in the order of their lines, each with a value that it may have.
fn entries(table: &DeTable<'_>, is_global: bool, lines: &Lines<'_>) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::with_capacity(table.len());
    for (key, value) in table.iter() {
        let name = key.get_ref().as_ref();
        let line = lines.at(key.span().start);
        let fail = |reason: String| lines.error(line, &format!("{name}: {reason}"));
        if !is_global && matches!(name, "index" | "cpus") {
            continue;
        }
        let found = Key::find(name).ok_or_else(|| fail(unknown(name)))?;
        if !found.fits(is_global) {
            let right = if is_global { "a [[core]]" } else { "[global]" };
            return Err(fail(format!("belongs below {right}")));
        }
        let value = convert(value.get_ref());
        let mut process = Process {
            settings: Settings::floating(1),
            cpus: None,
        };
        found.set_process(&mut process, &value).map_err(fail)?;
        found.set_core(&mut Core::default(), &value).map_err(fail)?;
        entries.push(Entry {
            key: found,
            value,
            line,
        });
    }
    entries.sort_by_key(|entry| entry.line);
    Ok(entries)
}

fn convert(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Boolean(on) => Value::Boolean(*on),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("integer of more than 64 bits"), Value::Integer),
        DeValue::Array(items) => {
            texts(items).map_or(Value::Other("array of other than text"), Value::Texts)
        }
        DeValue::Table(table) => lists(table).map_or(Value::Other("table"), Value::Lists),
        other => Value::Other(other.type_str()),
    }
}

/// A table of nothing but lists of text.
fn lists(table: &DeTable<'_>) -> Option<Vec<(String, Vec<String>)>> {
    let list = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
        DeValue::Array(items) => texts(items),
        _ => None,
    };
    let row = |(key, value): (&Spanned<Cow<'_, str>>, &_)| {
        Some((key.get_ref().to_string(), list(value)?))
    };
    table.iter().map(row).collect()
}

fn texts(items: &[Spanned<DeValue<'_>>]) -> Option<Vec<String>> {
    let text = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    };
    items.iter().map(text).collect()
}

/// The reason, with the key that was probably meant.
fn unknown(name: &str) -> String {
    let close = keys::KEYS
        .iter()
        .map(|key| (distance(name, key.name), key.name))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    match close {
        Some((_, close)) => format!("unknown key; is {close} meant?"),
        None => {
            let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
            format!("unknown key; there are {}", names.join(", "))
        }
    }
}

/// Insertions, deletions and replacements between two words. A long word is as far as it is long.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() > 64 {
        return a.len();
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Offsets to lines, and the form of an error.
struct Lines<'a> {
    name: &'a str,
    text: &'a str,
}

impl Lines<'_> {
    /// The line of an offset, from 1.
    fn at(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        1 + before.iter().filter(|octet| **octet == b'\n').count()
    }

    fn error(&self, line: usize, reason: &str) -> String {
        format!("{}:{line} - {reason}", self.name)
    }
}
