//! One process after the other, with a snapshot between them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::control::Control;
use crate::corefile::RealSource;
use crate::plugin::{Carry, Started};
use crate::testing::files::Dir;
use crate::testing::host::Host;
use crate::tune::Settings;

/// *whoami* tells the client's address, so an answer from memory tells that of somebody else.
const WHOAMI: &str = ".:53 {\n cache\n whoami\n}";

/// A process: what outlives its configurations, and its settings.
struct Process {
    carry: Carry,
    tune: Arc<Settings>,
}

impl Process {
    fn new(snapshot: PathBuf) -> Process {
        let settings = Settings {
            cache_snapshot: Some(snapshot),
            cache_snapshot_interval: Duration::from_secs(60),
            ..Settings::floating(1)
        };
        Process {
            carry: Carry::default(),
            tune: Arc::new(settings),
        }
    }

    /// Builds a configuration and has it serve.
    fn start(&self, corefile: &str) -> Host {
        let mut host = Host::tuned(corefile, &RealSource, &self.carry, &self.tune).unwrap();
        let started = Started {
            control: Control::start().unwrap(),
            listeners: Vec::new(),
            reloaded: false,
        };
        for hook in std::mem::take(&mut host.life.on_start) {
            hook(&started);
        }
        host
    }
}

fn stop(host: &mut Host) {
    for hook in std::mem::take(&mut host.life.on_stop) {
        hook();
    }
}

fn end(mut host: Host) {
    for hook in std::mem::take(&mut host.life.on_drain) {
        hook();
    }
    stop(&mut host);
}

/// Whose address the answer tells.
fn asked_by(host: &Host, client: u8) -> String {
    let seen = host.ask(&format!("a.test. A from=192.0.2.{client}"));
    let told = seen.additional.first().cloned().unwrap_or_default();
    told.rsplit('.').next().unwrap_or_default().to_owned()
}

fn file(dir: &Dir) -> PathBuf {
    dir.path().join("cache.snapshot")
}

#[test]
fn what_one_process_knew_the_next_one_knows() {
    let dir = Dir::new();
    let first = Process::new(file(&dir)).start(WHOAMI);
    assert_eq!(asked_by(&first, 1), "1");
    end(first);
    let second = Process::new(file(&dir)).start(WHOAMI);
    assert_eq!(asked_by(&second, 2), "1");
    // Another block is not given what this one knew.
    let third = Process::new(file(&dir)).start(".:53 {\n cache 60\n whoami\n}");
    assert_eq!(asked_by(&third, 3), "3");
}

#[test]
fn it_is_written_at_intervals_once_for_all_blocks() {
    let dir = Dir::new();
    let process = Process::new(file(&dir));
    let blocks = format!("{WHOAMI}\nb.test {{\n cache\n whoami\n}}");
    let mut host = process.start(&blocks);
    assert_eq!(asked_by(&host, 1), "1");
    assert_eq!(host.life.periodic.len(), 1);
    assert_eq!(host.life.periodic[0].interval, Duration::from_secs(60));
    assert!(!file(&dir).exists());
    (host.life.periodic[0].work)();
    let next = Process::new(file(&dir)).start(&blocks);
    assert_eq!(asked_by(&next, 2), "1");
    // An end is written even if it comes at the same time; the interval's work then stands back.
    // A file that is written anew is another one, which the time of a coarse clock need not tell.
    let which = || fs::metadata(file(&dir)).unwrap().ino();
    let written = which();
    for hook in std::mem::take(&mut host.life.on_drain) {
        hook();
    }
    (host.life.periodic[0].work)();
    assert_eq!(which(), written);
    stop(&mut host);
    assert_ne!(which(), written);
}

#[test]
fn a_reload_neither_writes_nor_reads() {
    let dir = Dir::new();
    let process = Process::new(file(&dir));
    let mut first = process.start(WHOAMI);
    assert_eq!(asked_by(&first, 1), "1");
    stop(&mut first);
    assert!(!file(&dir).exists());
    end(process.start(WHOAMI));
    assert!(file(&dir).exists());
    // This one starts with other blocks; what a reload brings back begins empty, however the file would serve it.
    let process = Process::new(file(&dir));
    let other = process.start("b.test {\n cache\n whoami\n}");
    let reloaded = process.start(WHOAMI);
    assert_eq!(asked_by(&reloaded, 2), "2");
    drop(other);
}

#[test]
fn a_file_that_is_none_is_no_reason_not_to_start() {
    let dir = Dir::new();
    fs::write(file(&dir), "something else").unwrap();
    let host = Process::new(file(&dir)).start(WHOAMI);
    assert_eq!(asked_by(&host, 1), "1");
    end(host);
    let next = Process::new(file(&dir)).start(WHOAMI);
    assert_eq!(asked_by(&next, 2), "1", "it was replaced");
}

#[test]
fn a_place_that_cannot_be_written_is_no_reason_to_fail() {
    let dir = Dir::new();
    let host = Process::new(dir.path().join("none/file")).start(WHOAMI);
    assert_eq!(asked_by(&host, 1), "1");
    end(host);
    assert!(!dir.path().join("none").exists());
}

#[test]
fn octets_are_bounded_over_all_blocks() {
    let blocks = format!("{WHOAMI}\nb.test {{\n cache\n whoami\n}}");
    let kept = |octets_max: Option<usize>| {
        let tune = Arc::new(Settings {
            cache_octets_max: octets_max,
            ..Settings::floating(1)
        });
        let host = Host::tuned(&blocks, &RealSource, &Carry::default(), &tune).unwrap();
        let ask = |client: u8| (0..60).map(move |n| format!("n{n}.test. A from=192.0.2.{client}"));
        let queries: Vec<String> = ask(1).chain(ask(2)).collect();
        let seen = host.ask_all(&queries.iter().map(String::as_str).collect::<Vec<_>>());
        let is_kept = |seen: &&crate::testing::host::Seen| {
            seen.additional
                .iter()
                .any(|record| record.ends_with("192.0.2.1"))
        };
        seen.iter().skip(60).filter(is_kept).count()
    };
    assert_eq!(kept(None), 60);
    // Half of it for this block, and half of that for its answers, which take about 130 octets each.
    let few = kept(Some(8_192));
    assert!((1..=2_048 / 100).contains(&few), "{few}");
}
