//! Flags, then the server. All logic is in the library.

use std::io::Write;
use std::process::ExitCode;

use percoredns::{cli, plugin, server, tune, version};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let rest = || std::env::args_os().skip(2);
    let exit = match std::env::args_os().nth(1) {
        Some(word) if word == tune::command::NAME => Some(tune::command::run(rest())),
        Some(word) if word == cli::migrate::NAME => Some(cli::migrate::run(rest())),
        _ => None,
    };
    if let Some(exit) = exit {
        show(&exit.stdout, &exit.stderr);
        return ExitCode::from(exit.code);
    }
    let flags = match cli::parse(std::env::args_os()) {
        Ok(flags) => flags,
        Err(exit) => {
            show(&exit.stdout, &exit.stderr);
            return ExitCode::from(exit.code);
        }
    };
    if flags.version {
        show(&version::lines(), "");
        return ExitCode::SUCCESS;
    }
    if flags.plugins {
        show(&plugin::list(), "");
        return ExitCode::SUCCESS;
    }
    match cli::load(&flags).and_then(|input| server::run(&flags, input)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            show("", &format!("{error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// A closed pipe is the reader's choice, not an error of ours.
fn show(stdout: &str, stderr: &str) {
    let _ = std::io::stdout().write_all(stdout.as_bytes());
    let _ = std::io::stderr().write_all(stderr.as_bytes());
}
