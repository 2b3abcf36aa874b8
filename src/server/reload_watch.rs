//! When to look at the Corefile again for the *reload* directive, and whether what is there is new.

use std::time::{Duration, Instant};

/// Due times and the digests already seen.
#[derive(Default)]
pub struct ReloadWatch {
    /// Interval and jitter; `None` without the directive.
    period: Option<(Duration, Duration)>,
    due: Option<Instant>,
    /// Digest in force.
    running: String,
    /// Digest of a change that failed: not tried again.
    refused: Option<String>,
}

impl ReloadWatch {
    /// Takes over what the new configuration says.
    pub fn configure(&mut self, period: Option<(Duration, Duration)>, digest: &str) {
        self.period = period;
        self.running = digest.to_owned();
        self.refused = None;
        self.schedule();
    }

    /// Whether it is time to look; plans the next look.
    pub fn is_due(&mut self) -> bool {
        let is_due = self.due.is_some_and(|due| Instant::now() >= due);
        if is_due {
            self.schedule();
        }
        is_due
    }

    /// Whether the digest is a change that was not tried yet; remembers it as tried.
    pub fn is_new(&mut self, digest: &str) -> bool {
        if digest == self.running || self.refused.as_deref() == Some(digest) {
            return false;
        }
        self.refused = Some(digest.to_owned());
        true
    }

    /// The change did not load: counted, and not tried again.
    pub fn failed(&mut self) {
        let registry = crate::telemetry::metrics::registry();
        registry
            .shared_counter(
                "coredns_reload_failed_total",
                "Counter of the number of failed reload attempts.",
                &[],
            )
            .inc();
    }

    /// The interval plus a random part of minus to plus half the jitter, so that a fleet does not reload at once.
    fn schedule(&mut self) {
        self.due = self.period.map(|(interval, jitter)| {
            // Without randomness the jitter is a constant, which is only less polite.
            let random = f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX);
            Instant::now() + (interval + jitter.mul_f64(random)).saturating_sub(jitter / 2)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_tried_once() {
        let mut watch = ReloadWatch::default();
        assert!(!watch.is_due());
        watch.configure(Some((Duration::ZERO, Duration::ZERO)), "a");
        assert!(watch.is_due());
        assert!(!watch.is_new("a"));
        assert!(watch.is_new("b"));
        assert!(!watch.is_new("b"));
        watch.configure(
            Some((Duration::from_secs(60), Duration::from_secs(10))),
            "b",
        );
        assert!(!watch.is_due());
        assert!(watch.is_new("a"));
    }
}
