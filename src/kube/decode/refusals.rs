//! Counting what is skipped, and saying so without flooding the log.

use std::time::Duration;

use tokio::time::Instant;

use crate::kube::record::Kind;
use crate::limits;
use crate::telemetry::log;
use crate::telemetry::metrics::{Registry, SharedCounter, registry};

/// Objects of one kind that were skipped, whole or in part.
pub(in crate::kube) struct Refusals {
    kind: Kind,
    counter: SharedCounter,
    /// When the last line was written.
    told: Option<Instant>,
    /// How many were not told of since.
    untold: u64,
}

impl Refusals {
    /// None yet.
    pub(in crate::kube) fn new(kind: Kind) -> Refusals {
        Refusals::counted_in(registry(), kind)
    }

    pub(super) fn counted_in(registry: &Registry, kind: Kind) -> Refusals {
        Refusals {
            kind,
            counter: registry.shared_counter(
                "percoredns_kubernetes_skipped_objects_total",
                "Kubernetes objects that were skipped, whole or in part, since they make no sense.",
                &[("kind", kind.name())],
            ),
            told: None,
            untold: 0,
        }
    }

    /// One more. The name is empty where it could not be read.
    pub(in crate::kube) fn note(&mut self, name: &str, reason: &str) {
        self.counter.inc();
        let pause = Duration::from_secs(limits::KUBE_SKIPPED_LOG_S);
        if self.told.is_some_and(|told| told.elapsed() < pause) {
            self.untold += 1;
            return;
        }
        self.told = Some(Instant::now());
        let untold = std::mem::take(&mut self.untold);
        let kind = self.kind.name();
        // Names that are none may hold anything, line breaks too.
        log::warning(
            Some("kubernetes"),
            format_args!(
                "Skipped (part of) {kind} {name:?}: {reason}; {untold} more since the last such line"
            ),
        );
    }
}
