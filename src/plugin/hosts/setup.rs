//! `hosts [FILE [ZONES...]] { ADDRESS NAME...; ttl; no_reverse; reload; fallthrough; fallthrough_unsupported }`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::table::{Builder, Table};
use super::{Config, metrics};
use crate::control::Published;
use crate::corefile::import::go_io_error;
use crate::corefile::{Args, Fall, SetupError, ZoneName, origins_from_args_or_block};
use crate::lang::duration;
use crate::limits;
use crate::plugin::SetupCx;
use crate::telemetry::log;

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
    let mut options = Options::default();
    let mut path = PathBuf::from("/etc/hosts");
    let mut zones = cx.zones.to_vec();
    let mut occurrences = 0;
    while args.next() {
        occurrences += 1;
        if occurrences > 1 {
            return Err(args.once_err());
        }
        if let [file, origins @ ..] = &args.remaining_args()[..] {
            path = cx.path(file);
            check_file(args, &path)?;
            zones = origins_from_args_or_block(origins, cx.zones);
        }
        while args.next_block() {
            options.property(args)?;
        }
        if options.unsupported_falls && !options.fall.is_set() {
            return Err(args.err("fallthrough_unsupported requires fallthrough"));
        }
    }
    let mut source = Source {
        path,
        zones: zones.clone(),
        inline: options.inline,
        reverse: options.reverse,
        seen: None,
        table: Arc::new(Published::new(Arc::default())),
    };
    source.start();
    let table = source.table.clone();
    let (label, loaded, modified) = (
        source.label(),
        table.clone(),
        source.seen.map(|seen| seen.0),
    );
    cx.life.on_start.push(Box::new(move |_| {
        metrics::note(&label, loaded.load().len(), modified);
    }));
    if !options.reload.is_zero() {
        let name = format!("hosts {}", source.path.display());
        cx.every(options.reload, &name, move || source.reload());
    }
    Ok(Config {
        table,
        zones,
        ttl: options.ttl,
        fall: options.fall,
        unsupported_falls: options.unsupported_falls,
    })
}

/// A missing file may come later; one that cannot be reached is an error.
fn check_file(args: &Args<'_>, path: &Path) -> Result<(), SetupError> {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(data) if data.is_dir() => {
            let path = path.to_string_lossy();
            log::warning(
                Some("hosts"),
                format_args!("Hosts file {path:?} is a directory"),
            );
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            log::warning(Some("hosts"), format_args!("File does not exist: {shown}"));
        }
        Err(error) => {
            let reason = go_io_error(&error);
            let message = format!("unable to access hosts file '{shown}': stat {shown}: {reason}");
            return Err(args.err(message));
        }
    }
    Ok(())
}

struct Options {
    inline: String,
    ttl: u32,
    reverse: bool,
    /// Zero is never.
    reload: Duration,
    fall: Fall,
    unsupported_falls: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            inline: String::new(),
            ttl: 3600,
            reverse: true,
            reload: Duration::from_secs(5),
            fall: Fall::default(),
            unsupported_falls: false,
        }
    }
}

impl Options {
    fn property(&mut self, args: &mut Args<'_>) -> Result<(), SetupError> {
        let name = args.val();
        match name {
            "fallthrough" => self.fall = Fall::from_args(&args.remaining_args()),
            "fallthrough_unsupported" => {
                args.expect_line_end()?;
                self.unsupported_falls = true;
            }
            "no_reverse" => self.reverse = false,
            "ttl" => self.ttl = ttl(args)?,
            "reload" => self.reload = reload(args)?,
            other if self.fall.is_set() => return Err(args.unknown_property(other)),
            // CoreDNS reads any other line as one of a hosts file.
            first => {
                self.inline.push_str(first);
                for word in args.remaining_args() {
                    self.inline.push(' ');
                    self.inline.push_str(word);
                }
                self.inline.push('\n');
            }
        }
        Ok(())
    }
}

fn ttl(args: &mut Args<'_>) -> Result<u32, SetupError> {
    let words = args.remaining_args();
    let text = words
        .first()
        .ok_or_else(|| args.err("ttl needs a time in second"))?;
    let seconds: i64 = text
        .parse()
        .map_err(|_| args.err("ttl needs a number of second"))?;
    u32::try_from(seconds)
        .ok()
        .filter(|ttl| (1..=65_535).contains(ttl))
        .ok_or_else(|| args.err("ttl provided is invalid"))
}

fn reload(args: &mut Args<'_>) -> Result<Duration, SetupError> {
    let words = args.remaining_args();
    let [text] = words[..] else {
        return Err(args.err("reload needs a duration (zero seconds to disable)"));
    };
    let span = duration::parse(text)
        .map_err(|_| args.err(format!("invalid duration for reload '{text}'")))?;
    span.to_std()
        .ok_or_else(|| args.err(format!("invalid negative duration for reload '{text}'")))
}

/// Where a table comes from: a file that may change, and the lines of the Corefile.
struct Source {
    path: PathBuf,
    zones: Vec<ZoneName>,
    inline: String,
    reverse: bool,
    /// Change time and size of what was read last.
    seen: Option<(SystemTime, u64)>,
    table: Arc<Published<Table>>,
}

impl Source {
    fn label(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// The first read: without a file the Corefile's lines stand alone.
    fn start(&mut self) {
        let text = self.changed().unwrap_or_default();
        let table = self.build(&text);
        self.table.publish(Arc::new(table));
    }

    /// Reads the file again if it changed. A file that has gone leaves things as they are.
    fn reload(&mut self) {
        let Some(text) = self.changed() else { return };
        let table = self.build(&text);
        let modified = self.seen.map(|seen| seen.0);
        metrics::note(&self.label(), table.len(), modified);
        self.table.publish(Arc::new(table));
    }

    /// The content of the file unless it is as it was.
    fn changed(&mut self) -> Option<Vec<u8>> {
        let mut file = File::open(&self.path).ok()?;
        let data = file.metadata().ok()?;
        let now = (data.modified().ok()?, data.len());
        if self.seen == Some(now) {
            return None;
        }
        self.seen = Some(now);
        match read(&mut file) {
            Ok(text) => Some(text),
            Err(error) => {
                let path = self.path.display();
                log::error(
                    Some("hosts"),
                    format_args!(
                        "Cannot read hosts file {path}: {error}; its last content stays in use"
                    ),
                );
                None
            }
        }
    }

    fn build(&self, text: &[u8]) -> Table {
        let mut builder = Builder::new(&self.zones, self.reverse);
        builder.read(text);
        builder.read(self.inline.as_bytes());
        let table = builder.finish();
        log::debug(
            Some("hosts"),
            format_args!("Parsed hosts file into {} entries", table.len()),
        );
        table
    }
}

fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let bound = limits::HOSTS_FILE_OCTETS;
    file.take(bound + 1).read_to_end(&mut text)?;
    if text.len() as u64 > bound {
        return Err(io::Error::other(format!("longer than {bound} octets")));
    }
    Ok(text)
}
