//! Counts the instructions of one answer from memory under valgrind, and compares them with `bench/instructions.txt`.
//!
//! `cargo bench --bench instructions` fails when a count has grown by more than the tolerance; `-- --update` writes the counts of
//! today as the new baseline. Counts depend on the compiler, so the file says which one it was made with. Unlike times they do not
//! depend on the machine's load.

use std::fs;
use std::process::{Command, ExitCode};

#[allow(dead_code)] // the benches use the rest
mod cache;
#[path = "common/mod.rs"]
mod common;

use common::host::{CASES, Case};
use common::sample;
use percoredns::cache::{Pin, Store};
use percoredns::wire::name::NameBuf;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name] = &args[..]
        && flag == RUN
        && let Some(case) = CASES.iter().find(|case| case.name == name)
    {
        run(case);
        return ExitCode::SUCCESS;
    }
    if let [flag, name] = &args[..]
        && flag == RUN
        && name == LOOKUP
    {
        run_lookups();
        return ExitCode::SUCCESS;
    }
    if let [flag, name] = &args[..]
        && flag == RUN
        && name == LOG_LINE
    {
        run_writer();
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("valgrind is not installed: no instructions counted");
        return ExitCode::SUCCESS;
    }
    let baseline = fs::read_to_string(BASELINE).unwrap_or_default();
    let mut text = format!("# instructions per answer, {}\n", compiler());
    let mut is_good = true;
    let cases = CASES.iter().filter(|case| case.is_built());
    for name in cases.map(|case| case.name).chain([LOOKUP, LOG_LINE]) {
        let count = match count(name) {
            Ok(count) => count,
            Err(error) => {
                eprintln!("{name}: {error}");
                return ExitCode::FAILURE;
            }
        };
        text.push_str(&format!("{name} {count}\n"));
        is_good &= report(name, count, baseline_of(&baseline, name));
    }
    if args.iter().any(|arg| arg == "--update") {
        if let Err(error) = fs::write(BASELINE, text) {
            eprintln!("{BASELINE}: {error}");
            return ExitCode::FAILURE;
        }
        return ExitCode::SUCCESS;
    }
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run(case: &Case) {
    let queries = case.queries(HOSTS);
    let mut host = case.open(HOSTS);
    // As a packet thread does.
    percoredns::telemetry::log::own_lane();
    for query in &queries {
        host.answer(query);
    }
    // Nothing waits to be written.
    percoredns::telemetry::log::flush();
    let total = measured_answers(&mut host, &queries);
    assert!(total > HOSTS, "answers have octets");
}

/// The name that valgrind is told to count in.
#[inline(never)]
fn measured_answers(host: &mut common::host::Host, queries: &[Vec<u8>]) -> usize {
    queries.iter().map(|query| host.answer(query)).sum()
}

/// The cache room alone: one lookup of a name that is there.
fn run_lookups() {
    #[inline(never)]
    fn measured_answers(store: &Store, pin: &Pin, keys: &[(u64, NameBuf)]) -> usize {
        let is_found = |key: &&(u64, NameBuf)| cache::is_found(store, pin, key);
        keys.iter().filter(is_found).count()
    }
    let (store, keys) = cache::full(LOOKUPS);
    // The counts are divided by the hosts of the other cases.
    let keys = &keys[..HOSTS];
    assert_eq!(measured_answers(&store, &Pin::new(), keys), HOSTS);
}

/// What the writer of the log adds to an answer of `cached_full`: reading the query from the lane, and its text. Counted is what runs in the
/// function that does both, on a thread of its own.
fn run_writer() {
    let case = CASES.iter().find(|case| case.name == LOGGED);
    let queries = sample::queries(HOSTS);
    let mut host = case.expect("a case that logs").open(HOSTS);
    percoredns::telemetry::log::own_lane();
    for query in &queries {
        host.answer(query);
    }
    assert!(percoredns::telemetry::log::flush());
}

fn count(name: &str) -> Result<u64, String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let function = match name {
        LOG_LINE => "*Lane::drain*",
        _ => "*measured_answers*",
    };
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect={function}"))
        .arg(own)
        .args([RUN, name])
        .output()
        .map_err(|e| format!("valgrind: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| {
        line.split_once("Collected : ")?
            .1
            .trim()
            .parse::<u64>()
            .ok()
    });
    match collected {
        Some(total) if total > 0 && output.status.success() => Ok(total / HOSTS as u64),
        _ => Err(format!("valgrind counted nothing:\n{said}")),
    }
}

/// Prints a line; false when the count is over the baseline and its tolerance.
fn report(name: &str, count: u64, baseline: Option<u64>) -> bool {
    let Some(baseline) = baseline else {
        println!("{name:<16} {count:>6} instructions an answer (no baseline)");
        return true;
    };
    let change = count as f64 / baseline as f64 - 1.0;
    let is_good = change <= TOLERANCE;
    let verdict = if is_good { "ok" } else { "TOO MANY" };
    println!(
        "{name:<16} {count:>6} instructions an answer, baseline {baseline} ({:+.1} %) {verdict}",
        change * 100.0
    );
    is_good
}

fn baseline_of(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

fn compiler() -> String {
    let version = Command::new("rustc").arg("--version").output();
    version.map_or_else(
        |_| "unknown compiler".into(),
        |out| String::from_utf8_lossy(&out.stdout).trim().to_owned(),
    )
}

const RUN: &str = "--run";
const LOOKUP: &str = "cache_lookup";
const LOG_LINE: &str = "log_line";
/// The case whose log is written.
const LOGGED: &str = "cached_full";
/// As many as the figures are stated for.
const LOOKUPS: usize = 10_000;
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/instructions.txt");
/// Between two builds of one source counts differ by less than a percent (the hash key is drawn at each start).
const TOLERANCE: f64 = 0.04;
/// Few, because valgrind is slow; enough that chains in hash tables average out.
const HOSTS: usize = 1_000;
