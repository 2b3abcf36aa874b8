//! The gauges of *hosts*. They belong to the process: like CoreDNS's, they show what was read last, and survive reloads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::telemetry::metrics::registry;

/// Notes that `path` was read, or could not be: then `modified` is none.
pub fn note(path: &str, entries: usize, modified: Option<SystemTime>) {
    let since = modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    if let Some(since) = since {
        cell("coredns_hosts_reload_timestamp_seconds", TIME_HELP, &[])
            .store(since.as_secs_f64().to_bits(), Ordering::Relaxed);
    }
    let labels = [("hostsfile", path)];
    cell("coredns_hosts_entries", ENTRIES_HELP, &labels)
        .store((entries as f64).to_bits(), Ordering::Relaxed);
}

/// The gauge's value, registered at its first use.
fn cell(name: &'static str, help: &str, labels: &[(&str, &str)]) -> Arc<AtomicU64> {
    let key = labels.first().map_or("", |label| label.1).to_owned();
    let mut cells = CELLS.lock().unwrap_or_else(PoisonError::into_inner);
    let made = cells.entry((name, key)).or_insert_with(|| {
        let value = Arc::new(AtomicU64::new(0));
        let read = value.clone();
        let gauge = move || f64::from_bits(read.load(Ordering::Relaxed));
        registry().gauge_fn(name, help, labels, gauge).keep();
        value
    });
    made.clone()
}

type Cells = BTreeMap<(&'static str, String), Arc<AtomicU64>>;

static CELLS: Mutex<Cells> = Mutex::new(BTreeMap::new());
const TIME_HELP: &str =
    "When the hosts file that was read last was changed, in seconds since 1970.";
const ENTRIES_HELP: &str =
    "Addresses and reverse names of the hosts file and the Corefile's lines.";
