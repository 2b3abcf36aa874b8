//! How fast requests may leave, and how many may wait for a response.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::limits;

/// A bucket of tokens, one for each request, and permits for those that are on their way.
pub(super) struct Pace {
    bucket: Mutex<Bucket>,
    in_flight: Option<Arc<Semaphore>>,
}

struct Bucket {
    qps: f64,
    burst: f64,
    /// `<= burst`; below 0 stands for requests that wait for tokens to come.
    tokens: f64,
    at: Instant,
}

impl Pace {
    /// Zeros mean the defaults, and any number in flight.
    pub(super) fn new(qps: f64, burst: u32, in_flight: u32) -> Pace {
        let qps = if qps > 0.0 { qps } else { limits::KUBE_QPS };
        let burst = if burst > 0 { burst } else { limits::KUBE_BURST };
        Pace {
            bucket: Mutex::new(Bucket {
                qps,
                burst: f64::from(burst),
                tokens: f64::from(burst),
                at: Instant::now(),
            }),
            in_flight: (in_flight > 0).then(|| {
                let permits = (in_flight as usize).min(Semaphore::MAX_PERMITS);
                Arc::new(Semaphore::new(permits))
            }),
        }
    }

    /// Waits until a request may leave. It is on its way until what is returned is dropped.
    pub(super) async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        let pause = self.take_token();
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let permits = self.in_flight.clone()?;
        // It is never closed.
        permits.acquire_owned().await.ok()
    }

    /// How long until the token that was taken is there.
    fn take_token(&self) -> Duration {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let come = (now - bucket.at).as_secs_f64() * bucket.qps;
        bucket.at = now;
        bucket.tokens = (bucket.tokens + come).min(bucket.burst) - 1.0;
        let missing_s = (-bucket.tokens / bucket.qps).max(0.0);
        Duration::try_from_secs_f64(missing_s).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_and_then_so_many_a_second() {
        let pace = Pace::new(4.0, 3, 0);
        let start = Instant::now();
        for _ in 0..3 {
            pace.wait().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..4 {
            pace.wait().await;
        }
        let elapsed = start.elapsed().as_millis();
        assert!((1_000..1_020).contains(&elapsed), "{elapsed}");
        // Idle time fills the bucket up to the burst, not beyond.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        for _ in 0..4 {
            pace.wait().await;
        }
        let elapsed = start.elapsed().as_millis();
        assert!((250..270).contains(&elapsed), "{elapsed}");
    }

    #[tokio::test(start_paused = true)]
    async fn zeros_are_the_defaults() {
        let pace = Pace::new(0.0, 0, 0);
        let start = Instant::now();
        for _ in 0..limits::KUBE_BURST + 1 {
            assert!(pace.wait().await.is_none());
        }
        let elapsed = start.elapsed().as_millis();
        assert!((200..220).contains(&elapsed), "{elapsed}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_in_flight() {
        let pace = Pace::new(100.0, 100, 2);
        let first = pace.wait().await;
        let _second = pace.wait().await;
        let patience = Duration::from_secs(20);
        assert!(tokio::time::timeout(patience, pace.wait()).await.is_err());
        drop(first);
        assert!(tokio::time::timeout(patience, pace.wait()).await.is_ok());
    }
}
