//! When the next attempt is made.

use std::time::Duration;

use crate::limits;

/// Grows with each failure in a row.
#[derive(Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Something worked.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// An attempt failed: how long to wait. `asked` is what the authority asked for, `chance` is in `0.0..1.0`, and takes up to a quarter
    /// of the pause away, so that servers which failed together do not come back together.
    pub(super) fn pause(&mut self, asked: Option<Duration>, chance: f64) -> Duration {
        let doubled = limits::ACME_RETRY_S_MIN.checked_shl(self.failures);
        self.failures = (self.failures + 1).min(DOUBLINGS);
        let most_s = limits::ACME_RETRY_S_MAX;
        let pause_s = doubled.unwrap_or(most_s).min(most_s) as f64 * (1.0 - chance / 4.0);
        let pause = Duration::from_secs_f64(pause_s.max(limits::ACME_RETRY_S_MIN as f64));
        let asked = asked.unwrap_or_default();
        pause.max(asked.min(Duration::from_secs(limits::ACME_RETRY_AFTER_S_MAX)))
    }
}

/// When a certificate is renewed, in seconds since 1970: when a third of its lifetime is left, and by chance up to a thirtieth of the
/// lifetime sooner, so that certificates that were ordered together are not renewed together.
pub(super) fn renew_at_s(not_before_s: u64, not_after_s: u64, chance: f64) -> u64 {
    let lifetime_s = not_after_s.saturating_sub(not_before_s);
    let sooner_s = (lifetime_s as f64 / 30.0 * chance) as u64;
    not_after_s
        .saturating_sub(lifetime_s / 3)
        .saturating_sub(sooner_s)
}

/// More doublings than lead to the longest pause.
const DOUBLINGS: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_a_minute_to_an_hour() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..8).map(|_| backoff.pause(None, 0.0).as_secs()).collect();
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
        for _ in 0..100 {
            assert_eq!(backoff.pause(None, 1.0).as_secs(), 2_700);
        }
        backoff.reset();
        assert_eq!(
            backoff.pause(None, 1.0).as_secs(),
            60,
            "not below the least"
        );
    }

    #[test]
    fn an_authority_may_ask_for_more_but_not_for_ever() {
        let mut backoff = Backoff::default();
        let mut pause = |asked_s| {
            backoff
                .pause(Some(Duration::from_secs(asked_s)), 0.0)
                .as_secs()
        };
        assert_eq!(pause(5), 60);
        assert_eq!(pause(7_200), 7_200);
        assert_eq!(pause(u64::MAX), 86_400);
    }

    #[test]
    fn renewals_come_when_a_third_is_left() {
        let day = 86_400;
        assert_eq!(renew_at_s(0, 90 * day, 0.0), 60 * day);
        assert_eq!(renew_at_s(0, 90 * day, 1.0), 57 * day);
        assert_eq!(renew_at_s(10, 5, 0.5), 5, "one that never was valid");
    }
}
