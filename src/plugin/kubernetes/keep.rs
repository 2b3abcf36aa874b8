//! Keeps a file with what is known of each cluster, where `-tune` names one: read when the process starts, written when the cluster has
//! changed and at the end of the process.

#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::kube::Cluster;
use crate::kube::record::Kind;
use crate::kube::snapshot::{self, Rejected};
use crate::kube::store::Refused;
use crate::lang::duration::GoDuration;
use crate::plugin::SetupCx;
use crate::runtime::clock;
use crate::telemetry::log;
use crate::telemetry::metrics::{GaugeGuard, SharedCounter, registry};

/// The file of one cluster. It does not hold the cluster: one that no configuration has any more is not watched on.
struct Keeper {
    path: PathBuf,
    /// The changes of the store that the file has, once it has any. Held while the file is written: one write at a time.
    written: Mutex<Option<u64>>,
    /// The process is ending: the last write is the one after that.
    ends: AtomicBool,
    /// Unix seconds; 0 = never.
    written_s: Arc<AtomicU64>,
    failures: SharedCounter,
    _gauge: GaugeGuard,
}

/// Begins the cluster with what its file holds, if a file is set and this is the first block that names the cluster, and has the file written
/// from now on.
pub(super) fn keep(cx: &mut SetupCx<'_>, cluster: &Arc<Cluster>) {
    let Some(path) = &cx.tune.kubernetes_snapshot else {
        return;
    };
    let path = path_of(path, cluster);
    let name = format!("kubernetes snapshot {}", path.display());
    let make = || Arc::new(Keeper::new(path, cluster));
    let keeper = cx.carry.obtain(&name, make);
    if cx.life.periodic.iter().any(|work| work.name == name) {
        return;
    }
    let (writer, written) = (Arc::clone(&keeper), Arc::clone(cluster));
    cx.every(cx.tune.kubernetes_snapshot_interval, &name, move || {
        writer.write_while(&written, &|| !writer.ends.load(Relaxed));
    });
    let (drained, stopped, cluster) = (Arc::clone(&keeper), keeper, Arc::clone(cluster));
    let life = &mut cx.life;
    life.on_drain
        .push(Box::new(move || drained.ends.store(true, Relaxed)));
    // A configuration that is replaced stops too, but the cluster lives on.
    life.on_stop.push(Box::new(move || {
        if stopped.ends.load(Relaxed) {
            // A write that was under way has been told to give up.
            stopped.write_while(&cluster, &|| true);
        }
    }));
}

/// Each cluster has a file of its own, so that one which cannot be used is no reason to forget the others.
fn path_of(path: &Path, cluster: &Cluster) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    let mut suffix = String::from(".");
    for octet in cluster.digest().iter().take(DIGITS / 2) {
        // Text takes whatever is written to it.
        let _ = write!(suffix, "{octet:02x}");
    }
    name.push(suffix);
    name.into()
}

impl Keeper {
    fn new(path: PathBuf, cluster: &Cluster) -> Keeper {
        let written = restore(&path, cluster);
        let written_s = Arc::new(AtomicU64::new(written.unwrap_or(0)));
        let shown = Arc::clone(&written_s);
        let file = path.display().to_string();
        let labels = [("file", &*file)];
        let gauge = registry().gauge_fn(
            "percoredns_kubernetes_snapshot_timestamp_seconds",
            "As of when the snapshot of the cluster is, in seconds since 1970; 0 if there is none.",
            &labels,
            move || shown.load(Relaxed) as f64,
        );
        let failures = registry().shared_counter(
            "percoredns_kubernetes_snapshot_failures_total",
            "Snapshots of the cluster that could not be written.",
            &labels,
        );
        Keeper {
            path,
            written: Mutex::new(written.map(|_| cluster.store().changes())),
            ends: AtomicBool::new(false),
            written_s,
            failures,
            _gauge: gauge,
        }
    }

    /// Writes the file if it would be another, unless `goes_on` says no meanwhile. Blocks on the disk, and while another write is at work.
    fn write_while(&self, cluster: &Cluster, goes_on: &dyn Fn() -> bool) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let store = cluster.store();
        // What changes during the write may or may not be in the file, so it counts as not written.
        let changes = store.changes();
        // A cluster that is not known does not replace one that was.
        if *written == Some(changes) || !cluster.is_complete() || !goes_on() {
            return;
        }
        match snapshot::write(&self.path, cluster.digest(), cluster.writer(), goes_on) {
            Ok(written_s) => {
                *written = Some(changes);
                self.written_s.store(written_s, Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                self.failures.inc();
                let path = self.path.display();
                log::error(
                    PLUGIN,
                    format_args!("cannot write snapshot {path}, what was there stays: {error}"),
                );
            }
        }
    }
}

/// Unix seconds as of which the cluster was restored, if it was.
fn restore(path: &Path, cluster: &Cluster) -> Option<u64> {
    let shown = path.display();
    match cluster.restore(path) {
        Ok(None) => None,
        Ok(Some(written_s)) => {
            let age_s = clock::wall_s().saturating_sub(written_s);
            let age = GoDuration::from(std::time::Duration::from_secs(age_s));
            let count = |kind| cluster.len(kind);
            let (services, slices) = (count(Kind::Service), count(Kind::Slice));
            log::info(
                PLUGIN,
                format_args!(
                    "{services} services and {slices} endpoint slices from {shown}, as of {age} ago"
                ),
            );
            Some(written_s)
        }
        // A reload brought back what had not gone yet.
        Err(Rejected::Refused(Refused::Known)) => None,
        Err(reason) => {
            log::warning(
                PLUGIN,
                format_args!(
                    "snapshot {shown} is ignored, nothing is known until the API answers: {reason}"
                ),
            );
            None
        }
    }
}

/// Of the cluster's digest, in the name of its file.
const DIGITS: usize = 16;
const PLUGIN: Option<&str> = Some("kubernetes");
