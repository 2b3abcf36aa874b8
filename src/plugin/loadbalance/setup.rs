//! `loadbalance [round_robin] { prefer CIDR... }` and `loadbalance weighted FILE { reload DURATION }`.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha512};

use super::Config;
use super::weights::Weights;
use crate::control::Published;
use crate::corefile::import::go_io_error;
use crate::corefile::{Args, SetupError};
use crate::lang::cidr::Net;
use crate::lang::duration::{self, GoDuration};
use crate::limits;
use crate::plugin::SetupCx;
use crate::telemetry::log;

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
    let mut config = Config::default();
    let mut source = None;
    while args.next() {
        match args.remaining_args()[..] {
            [] | ["round_robin"] => source = None,
            ["round_robin", ..] => return Err(args.err("unknown property for round_robin")),
            ["weighted"] => return Err(args.err("missing weight file argument")),
            ["weighted", file] => {
                let interval = weighted_block(args)?;
                source = Some((cx.path(file), interval));
                config.prefer.clear();
            }
            ["weighted", ..] => return Err(args.err("unexpected argument(s)")),
            [other, ..] => return Err(SetupError::plain(format!("unknown policy: {other}"))),
        }
        while args.next_block() {
            match args.val() {
                "prefer" => {
                    for word in args.remaining_args() {
                        let net = Net::parse(word)
                            .map_err(|error| args.err(format!("invalid CIDR {word:?}: {error}")))?;
                        config.prefer.push(net);
                    }
                }
                other => return Err(args.unknown_property(other)),
            }
        }
    }
    if let Some((path, interval)) = source {
        config.weights = Some(Source::start(path, interval, cx)?);
    }
    Ok(config)
}

fn weighted_block(args: &mut Args<'_>) -> Result<Duration, SetupError> {
    let mut interval = Duration::from_secs(30);
    while args.next_block() {
        match args.val() {
            "reload" => {
                interval = match args.remaining_args()[..] {
                    [] => return Err(args.err("reload duration value is missing")),
                    [word] => duration::parse_non_negative(word)
                        .map_err(|_| args.err(format!("invalid reload duration '{word}'")))?,
                    _ => return Err(args.err("unexpected argument")),
                };
            }
            other => return Err(args.unknown_property(other)),
        }
    }
    Ok(interval)
}

/// A weight file that may change.
struct Source {
    path: PathBuf,
    weights: Arc<Published<Weights>>,
    /// Digest of what was read last.
    seen: Vec<u8>,
}

/// Why a file gave no weights.
enum Failure {
    Open,
    Other(String),
}

impl Source {
    fn start(
        path: PathBuf,
        interval: Duration,
        cx: &mut SetupCx<'_>,
    ) -> Result<Arc<Published<Weights>>, SetupError> {
        let mut source = Source {
            path,
            weights: Arc::new(Published::new(Arc::default())),
            seen: Vec::new(),
        };
        match source.update() {
            Ok(()) => {}
            Err(Failure::Open) if !interval.is_zero() => {
                let again = GoDuration::from(interval);
                log::warning(
                    Some("loadbalance"),
                    format_args!("Failed to open weight file:{OPEN}. Will try again in {again}"),
                );
            }
            Err(Failure::Open) => {
                let path = source.path.display();
                return Err(SetupError::plain(format!("{OPEN}: {path}")));
            }
            Err(Failure::Other(reason)) => return Err(SetupError::plain(reason)),
        }
        let weights = source.weights.clone();
        if !interval.is_zero() {
            let name = format!("loadbalance {}", source.path.display());
            cx.every(interval, &name, move || source.reload());
        }
        Ok(weights)
    }

    fn reload(&mut self) {
        let path = self.path.clone();
        match self.update() {
            Ok(()) => {}
            Err(Failure::Open) => {
                let path = path.display();
                log::error(Some("loadbalance"), format_args!("{OPEN}: {path}"));
            }
            Err(Failure::Other(reason)) => {
                log::error(Some("loadbalance"), format_args!("{reason}"));
            }
        }
    }

    /// Reads the file and publishes its weights if it says something new. A bad file is reported once and changes nothing.
    fn update(&mut self) -> Result<(), Failure> {
        let mut file = File::open(&self.path).map_err(|_| Failure::Open)?;
        let shown = self.path.display().to_string();
        let text = read(&mut file)
            .map_err(|error| Failure::Other(format!("read {shown}: {}", go_io_error(&error))))?;
        let digest = Sha512::digest(text.as_bytes()).to_vec();
        if digest == self.seen {
            return Ok(());
        }
        self.seen = digest;
        let weights = Weights::parse(&text, &shown).map_err(Failure::Other)?;
        self.weights.publish(Arc::new(weights));
        log::info(
            Some("loadbalance"),
            format_args!("Successfully reloaded weight file {shown}"),
        );
        Ok(())
    }
}

fn read(file: &mut File) -> io::Result<String> {
    let mut octets = Vec::new();
    let bound = limits::WEIGHT_FILE_OCTETS;
    file.take(bound + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > bound {
        return Err(io::Error::other(format!("longer than {bound} octets")));
    }
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

const OPEN: &str = "weight file open error";
