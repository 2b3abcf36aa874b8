//! `file DBFILE [ZONES...] { reload; reload_by_mtime; fallthrough; upstream }`, repeatable.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use super::{Config, Slot};
use crate::control::Published;
use crate::corefile::{Args, Fall, SetupError, ZoneName, origins_from_args_or_block};
use crate::lang::duration::{self, GoDuration};
use crate::plugin::SetupCx;
use crate::telemetry::log;
use crate::zone::{LoadError, Zone, load_file};

/// Reads all directives of a block and loads their zones.
pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
    let mut options = Options::default();
    let mut sources = BTreeMap::new();
    let mut not_opened = None;
    while args.next() {
        let path = cx.path(args.expect_arg()?);
        let origins = origins_from_args_or_block(&args.remaining_args(), cx.zones);
        let mut loaded = Vec::new();
        for origin in origins {
            // Before the file is read: what is written meanwhile then counts as a change.
            let mtime = modified(&path);
            let zone = match load(&path, &origin, None, cpus()) {
                Ok(zone) => Some(zone),
                Err(error @ LoadError::Open { .. }) => {
                    not_opened = Some(error);
                    None
                }
                Err(error) => return Err(SetupError::plain(error.to_string())),
            };
            loaded.push((origin, zone, mtime));
        }
        options.parse(args)?;
        for (origin, zone, mtime) in loaded {
            let slot = Arc::new(Published::new(Arc::new(zone)));
            let source = Source {
                path: path.clone(),
                origin: origin.clone(),
                slot,
                mtime,
                options: options.reload,
            };
            sources.insert(Box::from(origin.wire()), source);
        }
    }
    if let Some(error) = not_opened {
        if options.reload.interval == Duration::ZERO {
            return Err(SetupError::plain(format!("plugin/file: {error}")));
        }
        let error = error.to_string();
        log::warning(
            Some("file"),
            format_args!(
                "Failed to open {error:?}: trying again in {}",
                options.shown
            ),
        );
    }
    let mut zones = Vec::new();
    for (wire, source) in sources {
        zones.push((wire, source.slot.clone()));
        source.schedule(cx);
    }
    zones.sort_by(|a, b| super::order(&a.0, &b.0));
    Ok(Config {
        zones,
        fall: options.fall,
    })
}

struct Options {
    reload: Reload,
    /// The interval as Go prints it.
    shown: GoDuration,
    fall: Fall,
}

#[derive(Clone, Copy)]
struct Reload {
    /// Zero is never.
    interval: Duration,
    by_mtime: bool,
}

impl Default for Options {
    fn default() -> Options {
        let shown = GoDuration::from(INTERVAL);
        Options {
            reload: Reload {
                interval: INTERVAL,
                by_mtime: false,
            },
            shown,
            fall: Fall::default(),
        }
    }
}

impl Options {
    /// Reads one block of options. What an earlier directive of the block set holds on, as in CoreDNS.
    fn parse(&mut self, args: &mut Args<'_>) -> Result<(), SetupError> {
        while args.next_block() {
            match args.val() {
                "fallthrough" => self.fall = Fall::from_args(&args.remaining_args()),
                "reload" => {
                    let words = args.remaining_args();
                    let text = words
                        .first()
                        .ok_or_else(|| SetupError::plain("reload duration value is expected"))?;
                    self.shown = duration::parse(text)
                        .map_err(|error| SetupError::plain(format!("plugin/file: {error}")))?;
                    self.reload.interval = self
                        .shown
                        .to_std()
                        .ok_or_else(|| args.err(format!("reload {text} is negative")))?;
                }
                "reload_by_mtime" => self.reload.by_mtime = true,
                "upstream" => drop(args.remaining_args()),
                other => return Err(args.unknown_property(other)),
            }
        }
        Ok(())
    }
}

/// A zone and the file it comes from.
struct Source {
    path: PathBuf,
    origin: ZoneName,
    slot: Arc<Slot>,
    mtime: Option<SystemTime>,
    options: Reload,
}

impl Source {
    fn schedule(mut self, cx: &mut SetupCx<'_>) {
        if self.options.interval > Duration::ZERO {
            let name = format!("file {}", self.origin);
            cx.every(self.options.interval, &name, move || self.reload());
        }
    }

    /// Reads the file again if it changed and publishes the zone.
    fn reload(&mut self) {
        let (origin, path) = (
            self.origin.as_str(),
            self.path.to_string_lossy().into_owned(),
        );
        let mtime = modified(&self.path);
        if self.options.by_mtime && mtime.is_some() && mtime == self.mtime {
            return;
        }
        let serial = match (self.options.by_mtime, &*self.slot.load()) {
            (false, Some(zone)) => Some(zone.serial()),
            _ => None,
        };
        match load(&self.path, &self.origin, serial, 1) {
            Ok(zone) => {
                self.mtime = mtime;
                let serial = zone.serial();
                self.slot.publish(Arc::new(Some(zone)));
                let done = format_args!(
                    "Successfully reloaded zone {origin:?} in {path:?} with {serial} SOA serial"
                );
                log::info(Some("file"), done);
            }
            Err(LoadError::Unchanged { .. }) => {}
            Err(error @ LoadError::Open { .. }) => {
                log::error(
                    Some("file"),
                    format_args!("Failed to open zone {origin:?} in {path:?}: {error}"),
                );
            }
            Err(error) => log::error(
                Some("file"),
                format_args!("Parsing zone {origin:?}: {error}"),
            ),
        }
    }
}

fn load(
    path: &Path,
    origin: &ZoneName,
    serial: Option<u32>,
    threads: usize,
) -> Result<Zone, LoadError> {
    let loaded = load_file(path, origin.wire(), serial, threads)?;
    for warning in &loaded.warnings {
        log::warning(Some("file"), format_args!("{warning}"));
    }
    Ok(loaded.zone)
}

/// CPUs that the process may use, for the start, when they have nothing else to do.
fn cpus() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}

const INTERVAL: Duration = Duration::from_secs(60);
