//! A clock that the test turns.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// The hand of the clock. Short sleeps turn it by themselves; long ones wait for [`Hand::ring`].
#[derive(Clone)]
pub(in crate::tls::acme) struct Hand(Arc<watch::Sender<Dial>>);

struct Dial {
    now_ms: u64,
    /// When the one who sleeps wants to be woken up.
    alarm_ms: Option<u64>,
}

impl Hand {
    /// 2026-01-01 00:00:00 UTC.
    pub(super) fn new() -> Hand {
        Hand(Arc::new(watch::Sender::new(Dial {
            now_ms: 1_767_225_600_000,
            alarm_ms: None,
        })))
    }

    pub(in crate::tls::acme) fn now_s(&self) -> u64 {
        self.0.borrow().now_ms / 1_000
    }

    pub(in crate::tls::acme) async fn sleep(&self, pause: Duration) {
        let pause_ms = pause.as_millis() as u64;
        if pause < SHORT {
            self.0.send_modify(|dial| dial.now_ms += pause_ms);
            tokio::time::sleep(Duration::from_millis(1)).await;
            return;
        }
        let end_ms = self.0.borrow().now_ms + pause_ms;
        self.0.send_modify(|dial| dial.alarm_ms = Some(end_ms));
        // One who is dropped in his sleep needs not be woken up.
        let _alarm = Alarm(self);
        let mut dial = self.0.subscribe();
        // The sender is ours, so it is there.
        let _ = dial.wait_for(|dial| dial.now_ms >= end_ms).await;
    }

    /// Waits until somebody sleeps for long; for how many seconds more.
    pub(super) async fn asleep(&self) -> u64 {
        let mut dial = self.0.subscribe();
        let asleep = dial.wait_for(|dial| dial.alarm_ms.is_some()).await;
        let dial = asleep.expect("the sender is ours");
        dial.alarm_ms
            .unwrap_or_default()
            .saturating_sub(dial.now_ms)
            / 1_000
    }

    /// Turns the clock to when the sleeper wants to be woken up.
    pub(super) fn ring(&self) {
        self.0.send_modify(|dial| {
            let alarm_ms = dial.alarm_ms.take().expect("somebody sleeps");
            dial.now_ms = dial.now_ms.max(alarm_ms);
        });
    }

    /// Turns the clock, without a word to who sleeps.
    pub(super) fn advance(&self, by_s: u64) {
        self.0.send_modify(|dial| dial.now_ms += by_s * 1_000);
    }
}

struct Alarm<'a>(&'a Hand);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|dial| dial.alarm_ms = None);
    }
}

/// Below it a sleep is a step of an order, from it on a pause between orders.
const SHORT: Duration = Duration::from_secs(60);
