//! The wall clock and the pauses, which tests turn by hand.

use std::time::Duration;

use crate::limits;
use crate::runtime::clock;

/// What a manager goes by.
#[derive(Clone)]
pub(super) enum Time {
    /// The system's.
    Real,
    /// A test's.
    #[cfg(test)]
    Turned(super::tests::Hand),
}

impl Time {
    /// Seconds since 1970.
    pub(super) fn now_s(&self) -> u64 {
        match self {
            Time::Real => clock::wall_s(),
            #[cfg(test)]
            Time::Turned(hand) => hand.now_s(),
        }
    }

    /// Waits.
    pub(super) async fn sleep(&self, pause: Duration) {
        match self {
            Time::Real => tokio::time::sleep(pause).await,
            #[cfg(test)]
            Time::Turned(hand) => hand.sleep(pause).await,
        }
    }

    /// Waits until the wall clock shows that time, wherever it is set meanwhile.
    pub(super) async fn sleep_until(&self, at_s: u64) {
        loop {
            let left_s = at_s.saturating_sub(self.now_s());
            if left_s == 0 {
                return;
            }
            let most_s = match self {
                Time::Real => limits::ACME_SLEEP_S,
                #[cfg(test)]
                Time::Turned(_) => u64::MAX,
            };
            self.sleep(Duration::from_secs(left_s.min(most_s))).await;
        }
    }
}
