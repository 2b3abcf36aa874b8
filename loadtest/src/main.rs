//! Command line of the load tester: picks a subcommand, reads its flags, prints what it found.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use loadtest::args::Args;
use loadtest::bare::Bare;
use loadtest::cli;
use loadtest::corpus::{self, Corpus};
use loadtest::echo::{self, Echo};
use loadtest::load::{Load, Transport};
use loadtest::message;
use loadtest::reload;
use loadtest::security::{ALPN_DOT, Certificate, SERVER_NAME, Security};
use loadtest::start;
use loadtest::sys;

fn main() -> ExitCode {
    sys::catch_signals();
    // Before any thread is pinned.
    sys::allowed_cpus_of_process();
    let mut words = std::env::args_os().skip(1);
    let command = words.next().unwrap_or_default();
    let words: Vec<_> = words.collect();
    let result = match command.to_string_lossy().as_ref() {
        "udp" => generate(Transport::Udp, words),
        "tcp" => generate(Transport::Tcp, words),
        "tls" => generate(Transport::Tls, words),
        "https" => generate(Transport::Https, words),
        "quic" => generate(Transport::Quic, words),
        "corpus" => print_corpus(words),
        "echo" => run_echo(words),
        "bare" => run_bare(words),
        "hold" => cli::hold(words),
        "compare" => cli::compare(words),
        "figures" => cli::figures(words),
        "reload" => reload_under_load(words),
        "relay" => cli::relay(words),
        "start" => start_and_idle(words),
        "kubernetes" => cli::kubernetes(words),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => Err(format!("unknown command \"{other}\"\n{USAGE}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("loadtest: {message}");
            ExitCode::FAILURE
        }
    }
}

fn generate(transport: Transport, words: Vec<std::ffi::OsString>) -> Result<(), String> {
    let flags = [
        "server",
        "rate",
        "seconds",
        "corpus",
        "sources",
        "window",
        "timeout-ms",
        "cpu",
        "ca",
        "name",
    ];
    let args = Args::parse(words, &flags, &["edns", "spin", "json"])?;
    let name = args.text("name").unwrap_or(SERVER_NAME);
    let security = args
        .text("ca")
        .map(|path| Security::trusting(Path::new(path), name))
        .transpose()?;
    let server: SocketAddr = args.required("server")?;
    let edns_bytes = args.has("edns").then_some(EDNS_BYTES);
    let text = match args.text("corpus") {
        Some(path) => std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?,
        None => corpus::corpus_text(corpus::Kind::Hosts, NAMES, ORIGIN),
    };
    let corpus = Corpus::parse(&text, edns_bytes)
        .map_err(|e| format!("{}: {e}", args.text("corpus").unwrap_or("built-in corpus")))?;
    let mut load = Load::new(
        server,
        args.required("rate")?,
        args.or("seconds", 10.0)?,
        &corpus,
    );
    load.transport = transport;
    load.security = security.as_ref();
    load.sources = args.or("sources", load.sources)?;
    load.window = args.or("window", load.window)?;
    load.spin = args.has("spin");
    if let Some(ms) = args.value("timeout-ms")? {
        load.timeout = Duration::from_millis(ms);
    }
    if let Some(cpu) = args.value("cpu")? {
        sys::pin_to_cpu(cpu).map_err(|e| format!("--cpu {cpu}: {e}"))?;
    }
    let report = load.run().map_err(|e| format!("{server}: {e}"))?;
    if args.has("json") {
        println!("{}", report.json());
    } else {
        println!("{report}");
    }
    Ok(())
}

fn print_corpus(words: Vec<std::ffi::OsString>) -> Result<(), String> {
    let args = Args::parse(words, &["kind", "names", "origin"], &["zone-file"])?;
    let names: u32 = args.or("names", NAMES)?;
    if names > corpus::NAMES_MAX {
        return Err(format!("--names: at most {}", corpus::NAMES_MAX));
    }
    let origin = args.text("origin").unwrap_or(ORIGIN);
    let text = match args.has("zone-file") {
        true => corpus::zone_text(names, origin),
        false => corpus::corpus_text(args.or("kind", corpus::Kind::Hosts)?, names, origin),
    };
    print!("{text}");
    Ok(())
}

fn run_echo(words: Vec<std::ffi::OsString>) -> Result<(), String> {
    let args = Args::parse(words, &["listen", "cpu", "sockets"], &[])?;
    let address: SocketAddr = args.or("listen", (Ipv4Addr::LOCALHOST, 5300).into())?;
    if let Some(cpu) = args.value("cpu")? {
        sys::pin_to_cpu(cpu).map_err(|e| format!("--cpu {cpu}: {e}"))?;
    }
    let echo = Echo::bind(address).map_err(|e| format!("cannot listen on {address}: {e}"))?;
    println!("echo on {}", echo.address().map_err(|e| e.to_string())?);
    echo::serve_many(echo, args.or("sockets", 1)?).map_err(|e| e.to_string())
}

fn run_bare(words: Vec<std::ffi::OsString>) -> Result<(), String> {
    let args = Args::parse(words, &["listen", "cpu", "cert", "key"], &[])?;
    let address: SocketAddr = args.or("listen", (Ipv4Addr::LOCALHOST, 8530).into())?;
    if let Some(cpu) = args.value("cpu")? {
        sys::pin_to_cpu(cpu).map_err(|e| format!("--cpu {cpu}: {e}"))?;
    }
    let certificate = Certificate {
        cert: args.required("cert")?,
        key: args.required("key")?,
    };
    let bare = Bare::bind(address, certificate.server(ALPN_DOT)?)
        .map_err(|e| format!("cannot listen on {address}: {e}"))?;
    println!(
        "bare loop on {}",
        bare.address().map_err(|e| e.to_string())?
    );
    bare.serve(&AtomicBool::new(false))
        .map_err(|e| e.to_string())
}

fn reload_under_load(words: Vec<std::ffi::OsString>) -> Result<(), String> {
    let flags = [
        "percoredns",
        "times",
        "interval-ms",
        "rate",
        "transport",
        "names",
        "server-cpus",
        "client-cpu",
    ];
    let args = Args::parse(words, &flags, &["json"])?;
    let cpus = sys::allowed_cpus();
    let (first, last) = (
        cpus.first().copied().unwrap_or(0),
        cpus.last().copied().unwrap_or(0),
    );
    let server_cpus = match args.text("server-cpus") {
        None => vec![first],
        Some(list) => list
            .split(',')
            .map(|cpu| {
                cpu.parse()
                    .map_err(|e| format!("--server-cpus {list}: {e}"))
            })
            .collect::<Result<_, _>>()?,
    };
    let outcome = reload::run(&reload::Options {
        percoredns: cli::program_path(&args)?.ok_or("--percoredns is missing")?,
        times: args.or("times", 50)?,
        interval: Duration::from_millis(args.or("interval-ms", 200)?),
        qps: args.value("rate")?,
        transport: args.or("transport", Transport::Udp)?,
        names: args.or("names", 5_000)?.clamp(1, corpus::NAMES_MAX),
        server_cpus,
        client_cpu: args.or("client-cpu", last)?,
    })?;
    if args.has("json") {
        println!("{}", outcome.json());
    } else {
        println!("{outcome}");
    }
    if outcome.is_clean() {
        Ok(())
    } else {
        Err("the reloads were not clean".to_owned())
    }
}

fn start_and_idle(words: Vec<std::ffi::OsString>) -> Result<(), String> {
    let flags = [
        "percoredns",
        "conf",
        "server",
        "name",
        "type",
        "times",
        "idle-s",
    ];
    let args = Args::parse(words, &flags, &["json"])?;
    let rtype = args.text("type").unwrap_or("SOA");
    let outcome = start::run(&start::Options {
        percoredns: cli::program_path(&args)?.ok_or("--percoredns is missing")?,
        conf: args.or("conf", PathBuf::from("Corefile.example"))?,
        server: args.or("server", (Ipv4Addr::LOCALHOST, 1053).into())?,
        name: args.text("name").unwrap_or(ORIGIN).to_owned(),
        qtype: message::type_number(rtype).ok_or_else(|| format!("--type {rtype}: unknown"))?,
        times: args.or("times", 11)?,
        idle: Duration::from_secs_f64(args.or("idle-s", 5.0f64)?.clamp(0.0, 60.0)),
    })?;
    if args.has("json") {
        println!("{}", outcome.json());
    } else {
        println!("{outcome}");
    }
    Ok(())
}

/// The size that DNS flag day 2020 recommends.
const EDNS_BYTES: u16 = 1232;
const NAMES: u32 = 10_000;
const ORIGIN: &str = "example.org";

const USAGE: &str = "\
loadtest udp|tcp|tls|https|quic --server ADDR:PORT --rate QPS|max [--seconds N] [--corpus FILE] [--sources N] [--window N]
                 [--timeout-ms N] [--cpu N] [--edns] [--spin] [--json]; the last three need --ca FILE [--name NAME]
loadtest corpus  [--kind hosts|mixed|nxdomain] [--names N] [--origin ZONE] [--zone-file]
loadtest echo    [--listen ADDR:PORT] [--cpu N] [--sockets N]
loadtest bare    --cert FILE --key FILE [--listen ADDR:PORT] [--cpu N]
loadtest compare [--scenario a,b|all] [--rates max,30000,sweep,half-knee,3x] [--seconds N] [--rounds N] [--servers a,b] [--names N]
                 [--percoredns PATH] [--profiles a.toml,b.toml] [--sources N] [--client-spread] [--veth] [--server-cpu N] [--client-cpu N]
                 [--starts N] [--cores 1,2] [--silent-s N] [--overload-s N] [--foreign PERCENT] [--spin] [--json FILE] [--html FILE]
loadtest compare --transports [--only answers,handshakes,memory,crowd] [--seconds N] [--rounds N] [--servers a,b] [--names N]
                 [--percoredns PATH] [--connections N] [--window N] [--idle N] [--crowd N] [--crowd-s N] [--server-cpu N] [--client-cpu N]
                 [--foreign PERCENT] [--json FILE] [--html FILE]
loadtest hold    --kind DoT|DoH|DoQ --servers ADDR:PORT,... --ca FILE [--first N] [--count N]
loadtest figures [--quick] [--percoredns PATH] [--bench FILE] [--foreign PERCENT] [--json FILE] [--html FILE]
loadtest reload  [--percoredns PATH] [--times N] [--interval-ms N] [--rate QPS] [--transport udp|tcp] [--names N]
                 [--server-cpus 0,1] [--client-cpu N] [--json]
loadtest relay   [--percoredns PATH] [--only dot,doh,doh3,doq,grpc] [--seconds N] [--every-s N] [--down-s N] [--rate QPS] [--names N]
                 [--server-cpu N] [--client-cpu N]
loadtest start   [--percoredns PATH] [--conf FILE] [--server ADDR:PORT] [--name NAME] [--type TYPE] [--times N] [--idle-s N] [--json]
loadtest kubernetes [--percoredns PATH] [--kube-api PATH] [--services N] [--endpoints N] [--pods N] [--minutes M] [--only NAME]
                 [--server-cpu N] [--client-cpu N] [--json]";
