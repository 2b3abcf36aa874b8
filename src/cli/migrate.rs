//! `percoredns migrate FILE`: prints a Corefile in today's spelling, with a comment on every change.

use std::ffi::OsString;
use std::fmt::Write;

use super::Exit;
#[cfg(feature = "kubernetes")]
use super::config_map;
use super::flag::{self, Flag};
use crate::corefile::{import, old};

/// The first argument that asks for this command.
pub const NAME: &str = "migrate";

/// Migrates the file that `args`, which follow the word `migrate`, name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let outcome = file_of(args).and_then(|file| {
        let text = import::read_file(&file).map_err(|error| failure(error.message))?;
        migrate(&file, &text).map_err(failure)
    });
    match outcome {
        Ok(exit) | Err(exit) => exit,
    }
}

fn file_of(args: impl IntoIterator<Item = OsString>) -> Result<String, Exit> {
    let args = args
        .into_iter()
        .map(|arg| arg.to_string_lossy().into_owned());
    let mut words = flag::parse(FLAGS, PROGRAM, &mut (), args)?;
    match (words.pop(), words.len()) {
        (Some(file), 0) => Ok(file),
        _ => Err(failure(format!(
            "{PROGRAM} takes one file: a Corefile, or the ConfigMap of CoreDNS or kube-dns as YAML or JSON"
        ))),
    }
}

fn failure(message: String) -> Exit {
    Exit {
        code: 1,
        stdout: String::new(),
        stderr: message + "\n",
    }
}

fn migrate(file: &str, text: &str) -> Result<Exit, String> {
    if is_config_map(text) {
        return from_config_map(file, text);
    }
    corefile(file, text)
}

/// A Corefile has no line like these: `kind` would be a zone or a directive.
fn is_config_map(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}');
    let is_kind = |line: &str| {
        let rest = line.trim_start_matches(['"', '\'']).strip_prefix("kind");
        rest.is_some_and(|rest| rest.trim_start_matches(['"', '\'', ' ']).starts_with(':'))
    };
    text.lines().any(|line| is_kind(line.trim_start()))
        || text.trim_start().starts_with("{\"")
        || text.trim_start().starts_with("---")
}

fn corefile(name: &str, text: &str) -> Result<Exit, String> {
    let migrated = old::migrate(name, text).map_err(|error| error.to_string())?;
    let mut notes = String::new();
    let _ = match migrated.changes {
        0 => writeln!(notes, "{name}: nothing is old, nothing was changed"),
        1 => writeln!(notes, "{name}: 1 directive changed"),
        count => writeln!(notes, "{name}: {count} directives changed"),
    };
    for import in migrated.imports {
        let _ = writeln!(
            notes,
            "{name}: what 'import {import}' brings was not looked at; at start percoredns logs what is old in it"
        );
    }
    Ok(Exit {
        code: 0,
        stdout: migrated.text,
        stderr: notes,
    })
}

#[cfg(feature = "kubernetes")]
fn from_config_map(file: &str, text: &str) -> Result<Exit, String> {
    match config_map::read(file, text)? {
        config_map::Found::Corefile(text) => corefile(&format!("{file}:data.Corefile"), &text),
        config_map::Found::KubeDns(kube_dns) => Ok(Exit {
            code: 0,
            stdout: kube_dns.corefile(file),
            stderr: format!("{file}: a Corefile in place of the ConfigMap of kube-dns\n"),
        }),
    }
}

#[cfg(not(feature = "kubernetes"))]
fn from_config_map(file: &str, _: &str) -> Result<Exit, String> {
    Err(format!(
        "{file}: a ConfigMap is read only by a build with the feature 'kubernetes'; save its Corefile in a file of its own"
    ))
}

const PROGRAM: &str = "percoredns migrate";
/// None but `-h`.
const FLAGS: &[Flag<()>] = &[];

#[cfg(test)]
mod tests;
