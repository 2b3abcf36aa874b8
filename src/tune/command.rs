//! `percoredns tune`: looks at the machine, prints the table, writes a profile, changes what is safe to change.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs;

use super::advice::{self, Row};
use super::machine::Machine;
use super::profile::{self, Profile};
use crate::cli::Exit;
use crate::cli::flag::{self, Action, Flag};

/// The first argument that asks for this command.
pub const NAME: &str = "tune";

/// What the command line says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Options {
    /// None: the one that fits the machine.
    profile: Option<Profile>,
    write: Option<String>,
    apply: bool,
    dry_run: bool,
}

/// Runs on the machine that this process sees; `args` follow the word `tune`.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    run_on(args, Machine::here)
}

pub(super) fn run_on(
    args: impl IntoIterator<Item = OsString>,
    machine: impl FnOnce() -> Machine,
) -> Exit {
    match parse(args).and_then(|options| tune(&options, &machine())) {
        Ok(exit) | Err(exit) => exit,
    }
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Options, Exit> {
    let mut options = Options::default();
    let args = args
        .into_iter()
        .map(|arg| arg.to_string_lossy().into_owned());
    let words = flag::parse(FLAGS, "percoredns tune", &mut options, args)?;
    if !words.is_empty() {
        return Err(failure(format!(
            "extra command line arguments: [{}]",
            words.join(" ")
        )));
    }
    Ok(options)
}

fn failure(message: String) -> Exit {
    Exit {
        code: 1,
        stdout: String::new(),
        stderr: message + "\n",
    }
}

fn tune(options: &Options, machine: &Machine) -> Result<Exit, Exit> {
    let (profile, reason) = match options.profile {
        Some(profile) => (profile, "asked for"),
        None => Profile::of(machine),
    };
    let written = profile::write(profile, machine).map_err(failure)?;
    let rows = advice::rows(machine, profile, &written.settings);
    let mut code = 0;
    let mut out = String::new();
    if options.dry_run {
        commands(&mut out, &rows, machine);
    } else {
        let _ = writeln!(out, "profile {} ({reason})\n", profile.name());
        out += &table(&rows);
        if options.apply {
            code = apply(&mut out, &rows, machine);
        } else {
            hint(&mut out, &rows);
        }
    }
    if let Some(path) = &options.write {
        fs::write(path, &written.text)
            .map_err(|error| failure(format!("--write {path}: {error}")))?;
        let _ = writeln!(out, "{path} is written: percoredns -tune {path}");
    }
    Ok(Exit {
        code,
        stdout: out,
        stderr: String::new(),
    })
}

/// `what | is | should be | why`, each column as wide as its widest cell.
fn table(rows: &[Row]) -> String {
    let should = |row: &Row| row.should.clone().unwrap_or_else(|| "ok".to_owned());
    let head = ["what", "is", "should be", "why"].map(str::to_owned);
    let cells: Vec<[String; 4]> = std::iter::once(head)
        .chain(rows.iter().map(|row| {
            [
                row.what.clone(),
                row.is.clone(),
                should(row),
                row.why.clone(),
            ]
        }))
        .collect();
    let width = |column: usize| {
        let of_column = cells.iter().map(|row| row[column].chars().count());
        of_column.max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    for [what, is, should, why] in &cells {
        let _ = writeln!(
            text,
            "{what:0$} | {is:1$} | {should:2$} | {why}",
            widths[0], widths[1], widths[2]
        );
    }
    text
}

fn hint(out: &mut String, rows: &[Row]) {
    let open = rows.iter().filter(|row| row.should.is_some()).count();
    let can = rows.iter().filter(|row| !row.steps.is_empty()).count();
    let _ = match (open, can) {
        (0, _) => writeln!(out, "\nNothing is left to change."),
        (open, 0) => writeln!(
            out,
            "\n{open} of {} should change, by other means than this command.",
            rows.len()
        ),
        (open, can) => writeln!(
            out,
            "\n{open} of {} should change; --dry-run shows the commands for {can} of them, --apply runs them.",
            rows.len()
        ),
    };
}

fn commands(out: &mut String, rows: &[Row], machine: &Machine) {
    for step in rows.iter().flat_map(|row| &row.steps) {
        let _ = writeln!(out, "{}", step.show(machine));
    }
}

/// Makes every change and says what came of it; the exit code is 1 when one was refused.
fn apply(out: &mut String, rows: &[Row], machine: &Machine) -> u8 {
    let mut code = 0;
    out.push('\n');
    for step in rows.iter().flat_map(|row| &row.steps) {
        let outcome = match step.apply(machine) {
            Ok(()) => "done".to_owned(),
            Err(error) => {
                code = 1;
                format!("refused: {error}")
            }
        };
        let _ = writeln!(out, "{}: {outcome}", step.show(machine));
    }
    for row in rows.iter().filter(|row| row.steps.is_empty()) {
        if let Some(should) = &row.should {
            let _ = writeln!(out, "{}: left to you: {should}", row.what);
        }
    }
    code
}

/// In the order of the help.
const FLAGS: &[Flag<Options>] = &[
    Flag {
        name: "apply",
        help: "change what is safe to change: kernel settings, interrupts, frequency governor, queues; nothing survives a reboot",
        action: Action::Bool(|options, on| options.apply = on),
    },
    Flag {
        name: "dry-run",
        help: "only print the commands that -apply would run",
        action: Action::Bool(|options, on| options.dry_run = on),
    },
    Flag {
        name: "profile",
        help: "what the machine is for: node-cache, edge, appliance, or auto",
        action: Action::Value {
            kind: "name",
            default: "auto",
            set: |options, text| {
                let found = Profile::ALL
                    .into_iter()
                    .find(|profile| profile.name() == text);
                if found.is_none() && text != "auto" {
                    return Err("use node-cache, edge, appliance or auto".to_owned());
                }
                options.profile = found;
                Ok(())
            },
        },
    },
    Flag {
        name: "write",
        help: "write the profile for this machine, to load with percoredns -tune",
        action: Action::Value {
            kind: "file",
            default: "",
            set: |options, text| {
                options.write = Some(text.to_owned());
                Ok(())
            },
        },
    },
];
