//! Flags of the commands that compare servers.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::args::Args;
use crate::compare::rates::Ask;
use crate::compare::{self, Options};
use crate::corpus;
use crate::figures;
use crate::figures::evaluate::Verdict;
use crate::html;
use crate::kubernetes;
use crate::pace::Rate;
use crate::relay;
use crate::scenario::{SCENARIOS, Scenario};
use crate::servers::{PERCOREDNS, PROGRAMS};
use crate::sys;
use crate::transports;

/// `loadtest compare`.
pub fn compare(words: Vec<OsString>) -> Result<(), String> {
    if words.iter().any(|word| word == "--transports") {
        return transports(words);
    }
    let flags = [
        "seconds",
        "rounds",
        "servers",
        "scenario",
        "rates",
        "percoredns",
        "profiles",
        "names",
        "sources",
        "server-cpu",
        "client-cpu",
        "foreign",
        "starts",
        "cores",
        "silent-s",
        "overload-s",
        "json",
        "html",
    ];
    let args = Args::parse(words, &flags, &["spin", "veth", "client-spread"])?;
    let options = compare_options(&args)?;
    let table = compare::run(&options)?;
    println!("{table}");
    if let Some(path) = args.text("json") {
        write(path, &format!("{}\n", table.json()))?;
    }
    if let Some(path) = args.text("html") {
        write(path, &html::page("loadtest compare", &table, &[]))?;
    }
    match table.percoredns_failed() {
        true => Err("percoredns could not be compared, see above".to_owned()),
        false => Ok(()),
    }
}

fn compare_options(args: &Args) -> Result<Options, String> {
    let base = defaults(args)?;
    let mut sources = vec![args.or("sources", base.sources[0])?.max(1)];
    if args.has("client-spread") {
        sources.push(SPREAD_SOURCES);
    }
    let servers = args.text("servers").map(words_of);
    for name in servers.iter().flatten() {
        if PROGRAMS.iter().all(|program| program.name != name) {
            let known: Vec<&str> = PROGRAMS.iter().map(|program| program.name).collect();
            let known = known.join(", ");
            return Err(format!(
                "--servers: no server \"{name}\"; there are {known}"
            ));
        }
    }
    Ok(Options {
        seconds: args.or("seconds", base.seconds)?,
        rounds: args.or("rounds", base.rounds)?,
        servers,
        scenarios: scenarios(args.text("scenario").unwrap_or("both"))?,
        asks: words_of(args.text("rates").unwrap_or("max,30000"))
            .iter()
            .map(|word| word.parse::<Ask>())
            .collect::<Result<_, _>>()?,
        profiles: profiles(args.text("profiles"))?,
        names: args
            .value::<u32>("names")?
            .map(|names| names.clamp(1, corpus::NAMES_MAX)),
        sources,
        spin: args.has("spin"),
        veth: args.has("veth"),
        server_cpu: args.or("server-cpu", base.server_cpu)?,
        client_cpu: args.or("client-cpu", base.client_cpu)?,
        overload_s: args.or("overload-s", base.overload_s)?,
        starts: args.or("starts", 0)?,
        cores: words_of(args.text("cores").unwrap_or_default())
            .iter()
            .map(|n| n.parse().map_err(|e| format!("--cores {n}: {e}")))
            .collect::<Result<_, _>>()?,
        silent_s: args.or("silent-s", 0.0)?,
        ..base
    })
}

/// `loadtest compare --transports`.
fn transports(words: Vec<OsString>) -> Result<(), String> {
    let flags = [
        "only",
        "seconds",
        "rounds",
        "servers",
        "percoredns",
        "names",
        "connections",
        "window",
        "idle",
        "crowd",
        "crowd-s",
        "server-cpu",
        "client-cpu",
        "foreign",
        "json",
        "html",
    ];
    let args = Args::parse(words, &flags, &["transports"])?;
    let base = compare_options(&args)?;
    let options = transports::Options {
        only: args.text("only").map(words_of),
        connections: args.or("connections", 20)?.max(1),
        window: args.or("window", 192)?.max(1),
        idle: args.or("idle", 1_000)?.max(1),
        crowd: args.or("crowd", 20_000)?.max(1),
        crowd_s: args.or("crowd-s", 3.0)?,
        base: compare::Options {
            // dnsperf knows whole seconds only, and opens its connections in the first moments of them.
            seconds: args.or("seconds", 5.0)?,
            ..base
        },
    };
    let (table, figures) = transports::run(&options)?;
    println!("{table}\n");
    println!("{}", figures::render(&figures));
    if let Some(path) = args.text("json") {
        write(path, &format!("{}\n", figures::json(&table, &figures)))?;
    }
    if let Some(path) = args.text("html") {
        let title = "loadtest compare --transports";
        write(path, &html::page(title, &table, &figures))?;
    }
    match table.percoredns_failed() {
        true => Err("percoredns could not be measured everywhere, see above".to_owned()),
        false => Ok(()),
    }
}

/// `loadtest hold`.
pub fn hold(words: Vec<OsString>) -> Result<(), String> {
    let flags = ["kind", "servers", "ca", "first", "count"];
    let args = Args::parse(words, &flags, &[])?;
    let kind: String = args.required("kind")?;
    let servers = words_of(args.text("servers").unwrap_or_default());
    let address = |word: &String| word.parse().map_err(|e| format!("--servers {word}: {e}"));
    transports::Order {
        kind: transports::Kind::find(&kind)
            .ok_or_else(|| format!("--kind {kind}: there are DoT, DoH and DoQ"))?,
        servers: servers.iter().map(address).collect::<Result<_, _>>()?,
        ca: args.required("ca")?,
        first: args.or("first", 0)?,
        count: args.or("count", 1_000)?,
    }
    .run()
}

/// `loadtest figures`.
pub fn figures(words: Vec<OsString>) -> Result<(), String> {
    let flags = ["percoredns", "bench", "foreign", "json", "html"];
    let args = Args::parse(words, &flags, &["quick"])?;
    let base = defaults(&args)?;
    let bench = args.text("bench").map(PathBuf::from);
    let (table, figures) = figures::run(&base, args.has("quick"), bench.as_deref())?;
    println!("{table}\n");
    println!("{}", figures::render(&figures));
    write(
        args.text("json").unwrap_or("figures.json"),
        &format!("{}\n", figures::json(&table, &figures)),
    )?;
    write(
        args.text("html").unwrap_or("figures.html"),
        &html::page("loadtest figures", &table, &figures),
    )?;
    match table.percoredns_failed() {
        true => Err("percoredns could not be measured everywhere, see above".to_owned()),
        false => Ok(()),
    }
}

/// `loadtest relay`.
pub fn relay(words: Vec<OsString>) -> Result<(), String> {
    let flags = [
        "percoredns",
        "only",
        "seconds",
        "every-s",
        "down-s",
        "rate",
        "names",
        "server-cpu",
        "client-cpu",
    ];
    let args = Args::parse(words, &flags, &[])?;
    let base = defaults(&args)?;
    let figures = relay::run(&relay::Options {
        percoredns: base.percoredns.ok_or("--percoredns is missing")?,
        only: args.text("only").map(words_of),
        seconds: args.or("seconds", 60.0)?,
        every_s: args.or("every-s", 8.0)?,
        down_s: args.or("down-s", 1.0)?,
        qps: args.or("rate", 2_000)?,
        names: args.or("names", 10_000)?.clamp(1, corpus::NAMES_MAX),
        server_cpu: args.or("server-cpu", base.server_cpu)?,
        client_cpu: args.or("client-cpu", base.client_cpu)?,
    })?;
    println!("{}", figures::render(&figures));
    let is_met = |figure: &figures::evaluate::Figure| figure.verdict() == Verdict::Met;
    match figures.iter().all(is_met) {
        true => Ok(()),
        false => Err("not every figure was measured and met".to_owned()),
    }
}

/// `loadtest kubernetes`.
pub fn kubernetes(words: Vec<OsString>) -> Result<(), String> {
    let flags = [
        "percoredns",
        "kube-api",
        "services",
        "endpoints",
        "pods",
        "minutes",
        "only",
        "server-cpu",
        "client-cpu",
    ];
    let args = Args::parse(words, &flags, &["json"])?;
    let base = defaults(&args)?;
    let outcome = kubernetes::run(&kubernetes::Options {
        percoredns: base.percoredns.ok_or("--percoredns is missing")?,
        kube_api: kubernetes::program(args.text("kube-api"))?,
        size: kubernetes::Size {
            services: args.or("services", 100_000)?,
            endpoints: args.or("endpoints", 250_000)?,
            pods: args.or("pods", 150_000)?,
        },
        minutes: args.or("minutes", 5.0)?,
        only: args.text("only").map(str::to_owned),
        server_cpu: args.or("server-cpu", base.server_cpu)?,
        client_cpu: args.or("client-cpu", base.client_cpu)?,
    })?;
    if args.has("json") {
        println!("{}", outcome.json());
    } else {
        println!("{outcome}");
    }
    match outcome.is_met() {
        true => Ok(()),
        false => Err("not every figure was measured and met".to_owned()),
    }
}

/// What all of them begin with.
fn defaults(args: &Args) -> Result<Options, String> {
    let cpus = sys::allowed_cpus();
    let (first, last) = (
        cpus.first().copied().unwrap_or(0),
        cpus.last().copied().unwrap_or(0),
    );
    Ok(Options {
        seconds: 3.0,
        rounds: 5,
        servers: None,
        scenarios: scenarios("both")?,
        asks: vec![Ask::Rate(Rate::Max)],
        percoredns: program_path(args)?,
        profiles: Vec::new(),
        names: None,
        sources: vec![FEW_SOURCES],
        spin: false,
        veth: false,
        server_cpu: first,
        client_cpu: last,
        foreign: args.or("foreign", 5.0)? / 100.0,
        overload_s: 10.0,
        starts: 0,
        cores: Vec::new(),
        silent_s: 0.0,
    })
}

/// The options without any flag, for tests of other modules.
#[cfg(test)]
pub fn compare_defaults() -> Result<Options, String> {
    defaults(&Args::default())
}

fn scenarios(text: &str) -> Result<Vec<&'static Scenario>, String> {
    match text {
        "all" => Ok(SCENARIOS.iter().collect()),
        "both" => scenarios("zone,cached"),
        list => words_of(list)
            .iter()
            .map(|name| Scenario::find(name))
            .collect(),
    }
}

/// Servers run in a directory of their own, so relative paths are resolved now.
fn profiles(list: Option<&str>) -> Result<Vec<PathBuf>, String> {
    words_of(list.unwrap_or_default())
        .iter()
        .map(|path| std::fs::canonicalize(path).map_err(|e| format!("--profiles {path}: {e}")))
        .collect()
}

fn words_of(list: &str) -> Vec<String> {
    let words = list.split(',').map(str::trim);
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn write(path: &str, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("{path}: {e}"))
}

/// The percoredns that was asked for, or the one that was built beside this program.
pub fn program_path(args: &Args) -> Result<Option<PathBuf>, String> {
    if let Some(path) = args.text("percoredns") {
        // Servers run in a directory of their own, so a relative path must be resolved now.
        return std::fs::canonicalize(path)
            .map(Some)
            .map_err(|e| format!("--percoredns {path}: {e}"));
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.join(PERCOREDNS)));
    Ok(beside.filter(|path| path.is_file()))
}

/// So few that a batch holds many queries of each.
pub const FEW_SOURCES: usize = 8;
/// So many that a batch rarely holds two of one.
pub const SPREAD_SOURCES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_scenarios() {
        let names =
            |text| scenarios(text).map(|list| list.iter().map(|s| s.name).collect::<Vec<_>>());
        assert_eq!(names("both").unwrap(), ["zone", "cached"]);
        assert_eq!(names("tcp, mixed").unwrap(), ["tcp", "mixed"]);
        assert_eq!(names("all").unwrap().len(), SCENARIOS.len());
        assert!(names("zone,zoo").is_err());
        assert!(
            profiles(Some("/nowhere/a.toml"))
                .unwrap_err()
                .contains("/nowhere/a.toml")
        );
    }

    #[test]
    fn unknown_servers_are_refused_and_spread_adds_sources() {
        let parse = |words: &[&str]| {
            let flags = ["servers", "sources", "percoredns", "rates"];
            let args = Args::parse(words.iter().copied(), &flags, &["client-spread"])?;
            compare_options(&args)
        };
        let error = parse(&["--servers", "nsd,bind"]).map(|_| ()).unwrap_err();
        assert!(
            error.contains("\"bind\"") && error.contains("knotd"),
            "{error}"
        );
        let options = parse(&["--sources", "4", "--client-spread"]).unwrap();
        assert_eq!(options.sources, [4, SPREAD_SOURCES]);
    }
}
