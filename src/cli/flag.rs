//! Flags as Go's package flag reads them: one dash or two, `-x=v` or `-x v`, a Boolean only `-x` or `-x=false`. No crate reads that.

use super::Exit;

/// One flag of a command with the settings `T`: the only place where it is named, so that help and parser agree.
pub struct Flag<T> {
    /// Its name, without the dash.
    pub name: &'static str,
    /// Its line in the help.
    pub help: &'static str,
    /// What it does.
    pub action: Action<T>,
}

/// What a flag does.
pub enum Action<T> {
    /// Switches something on, or off with `=false`.
    Bool(fn(&mut T, bool)),
    /// Takes a value.
    Value {
        /// Kind of the argument in the help.
        kind: &'static str,
        /// In the help, empty for none.
        default: &'static str,
        /// Takes the value, or says why not.
        set: fn(&mut T, &str) -> Result<(), String>,
    },
}

/// Reads flags up to the first word that is none, and returns that and the rest.
///
/// `Err` ends the process: code 0 for `-h`, 2 for a bad flag.
pub fn parse<T>(
    table: &'static [Flag<T>],
    program: &str,
    flags: &mut T,
    mut args: impl Iterator<Item = String>,
) -> Result<Vec<String>, Exit> {
    let mut words = Vec::new();
    while let Some(arg) = args.next() {
        if arg == "--" {
            words.extend(args);
            break;
        }
        if arg.len() < 2 || !arg.starts_with('-') {
            words.push(arg);
            words.extend(args);
            break;
        }
        if let Err(problem) = read_flag(table, flags, &arg, &mut args) {
            return Err(problem.into_exit(table, program));
        }
    }
    Ok(words)
}

/// Why the flags cannot be read.
enum Problem {
    Help,
    Bad(String),
}

impl Problem {
    fn into_exit<T>(self, table: &[Flag<T>], program: &str) -> Exit {
        let (code, message) = match self {
            Self::Help => (0, String::new()),
            Self::Bad(message) => (2, format!("{message}\n")),
        };
        Exit {
            code,
            stdout: String::new(),
            stderr: format!("{message}{}", usage(table, program)),
        }
    }
}

/// Reads one flag; its value may be the next of `rest`.
fn read_flag<T>(
    table: &[Flag<T>],
    flags: &mut T,
    arg: &str,
    rest: &mut impl Iterator<Item = String>,
) -> Result<(), Problem> {
    let text = arg
        .strip_prefix("--")
        .or_else(|| arg.strip_prefix('-'))
        .unwrap_or(arg);
    if text.is_empty() || text.starts_with(['-', '=']) {
        return Err(Problem::Bad(format!("bad flag syntax: {arg}")));
    }
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    let Some(flag) = table.iter().find(|flag| flag.name == name) else {
        if matches!(name, "h" | "help") {
            return Err(Problem::Help);
        }
        let message = format!("flag provided but not defined: -{name}");
        return Err(Problem::Bad(message));
    };
    match &flag.action {
        Action::Bool(set) => {
            let text = value.as_deref().unwrap_or("true");
            let on = parse_bool(text).ok_or_else(|| {
                let message = format!("invalid boolean value {text:?} for -{name}: parse error");
                Problem::Bad(message)
            })?;
            set(flags, on);
            Ok(())
        }
        Action::Value { set, .. } => {
            let text = value.or_else(|| rest.next());
            let text = text.ok_or_else(|| {
                let message = format!("flag needs an argument: -{name}");
                Problem::Bad(message)
            })?;
            set(flags, &text).map_err(|error| {
                let message = format!("invalid value {text:?} for flag -{name}: {error}");
                Problem::Bad(message)
            })
        }
    }
}

/// The words that Go takes for a Boolean.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn usage<T>(table: &[Flag<T>], program: &str) -> String {
    let mut text = format!("Usage of {program}:\n");
    for flag in table {
        let (kind, default) = match &flag.action {
            Action::Bool(_) => (String::new(), String::new()),
            Action::Value { kind, default, .. } => {
                let default = if default.is_empty() {
                    String::new()
                } else {
                    format!(" (default {default:?})")
                };
                (format!(" {kind}"), default)
            }
        };
        text.push_str(&format!(
            "  -{}{kind}\n    \t{}{default}\n",
            flag.name, flag.help
        ));
    }
    text
}
