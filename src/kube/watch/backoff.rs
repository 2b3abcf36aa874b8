//! Pauses between attempts.

use std::time::Duration;

use crate::limits;

/// Grows with each failure in a row, and is forgotten as soon as something works. A server that restarts again and again is up in between,
/// and what is known must be current again soon after each time.
#[derive(Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Something worked.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Something failed: how long to wait. `chance` is in `0.0..1.0`; half of the pause depends on it, so that clients of one server do
    /// not come back at the same instant.
    pub(super) fn pause(&mut self, is_refused: bool, chance: f64) -> Duration {
        let most_ms = match is_refused {
            true => limits::KUBE_REFUSED_MS_MAX,
            false => limits::KUBE_RETRY_MS_MAX,
        };
        let doubled = limits::KUBE_RETRY_MS_MIN.checked_shl(self.failures);
        self.failures = (self.failures + 1).min(DOUBLINGS);
        let ms = doubled.unwrap_or(most_ms).min(most_ms) as f64;
        Duration::from_secs_f64(ms * (0.5 + chance / 2.0) / 1_000.0)
    }
}

/// More doublings than lead to the longest pause.
const DOUBLINGS: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let mut backoff = Backoff::default();
        let ms = |pause: Duration| pause.as_millis();
        let most: Vec<_> = (0..6).map(|_| ms(backoff.pause(false, 1.0))).collect();
        assert_eq!(most, [200, 400, 800, 1_600, 3_000, 3_000]);
        for _ in 0..100 {
            assert_eq!(ms(backoff.pause(false, 0.0)), 1_500);
        }
        assert_eq!(ms(backoff.pause(true, 1.0)), 1_000);
        backoff.reset();
        assert_eq!(ms(backoff.pause(false, 0.0)), 100);
    }
}
