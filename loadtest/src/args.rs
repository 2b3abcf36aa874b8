//! Command lines of the subcommands: each is `--flag VALUE` pairs and switches, read into a map that knows what was not used.
//!
//! Runs on: pure.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::str::FromStr;

/// The flags given to one subcommand.
#[derive(Debug, Default)]
pub struct Args {
    values: BTreeMap<String, String>,
    switches: Vec<String>,
}

impl Args {
    /// Reads `--flag VALUE` for the names in `flags` and `--switch` for those in `switches`; anything else is an error that names it.
    pub fn parse<I>(words: I, flags: &[&str], switches: &[&str]) -> Result<Args, String>
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        let mut parser = lexopt::Parser::from_args(words);
        let mut args = Args::default();
        while let Some(arg) = parser.next().map_err(|e| e.to_string())? {
            match arg {
                lexopt::Arg::Long(name) if flags.contains(&name) => {
                    let name = name.to_owned();
                    let value = parser.value().map_err(|e| e.to_string())?;
                    let value = value
                        .into_string()
                        .map_err(|_| format!("--{name}: the value is not UTF-8"))?;
                    args.values.insert(name, value);
                }
                lexopt::Arg::Long(name) if switches.contains(&name) => {
                    args.switches.push(name.to_owned())
                }
                other => {
                    let known: Vec<String> = flags
                        .iter()
                        .map(|f| format!("--{f} VALUE"))
                        .chain(switches.iter().map(|s| format!("--{s}")))
                        .collect();
                    return Err(format!(
                        "{}; this command knows: {}",
                        other.unexpected(),
                        known.join(", ")
                    ));
                }
            }
        }
        Ok(args)
    }

    /// Whether a switch was given.
    pub fn has(&self, switch: &str) -> bool {
        self.switches.iter().any(|s| s == switch)
    }

    /// The text of a flag, if it was given.
    pub fn text(&self, flag: &str) -> Option<&str> {
        self.values.get(flag).map(String::as_str)
    }

    /// The value of a flag, if it was given; an unreadable one is an error that names the flag.
    pub fn value<T: FromStr<Err: Display>>(&self, flag: &str) -> Result<Option<T>, String> {
        self.text(flag)
            .map(|text| text.parse().map_err(|e| format!("--{flag} {text}: {e}")))
            .transpose()
    }

    /// The value of a flag or its default.
    pub fn or<T: FromStr<Err: Display>>(&self, flag: &str, default: T) -> Result<T, String> {
        Ok(self.value(flag)?.unwrap_or(default))
    }

    /// The value of a flag that must be given.
    pub fn required<T: FromStr<Err: Display>>(&self, flag: &str) -> Result<T, String> {
        self.value(flag)?
            .ok_or_else(|| format!("--{flag} is missing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, String> {
        Args::parse(words.iter().copied(), &["rate", "server"], &["json"])
    }

    #[test]
    fn values_switches_and_defaults() {
        let args = parse(&["--rate", "300", "--json", "--server=127.0.0.1:53"]).unwrap();
        assert_eq!(args.or("rate", 1u64), Ok(300));
        assert_eq!(args.text("server"), Some("127.0.0.1:53"));
        assert!(args.has("json"));
        assert_eq!(parse(&[]).unwrap().or("rate", 7u64), Ok(7));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(parse(&["--rat", "1"]).unwrap_err().contains("--rat"));
        assert!(parse(&["--rate"]).unwrap_err().contains("--rate"));
        assert!(
            parse(&["--rate", "fast"])
                .unwrap()
                .or("rate", 1u64)
                .unwrap_err()
                .contains("--rate fast: invalid digit")
        );
        assert!(
            parse(&[])
                .unwrap()
                .required::<u64>("rate")
                .unwrap_err()
                .contains("--rate is missing")
        );
    }
}
