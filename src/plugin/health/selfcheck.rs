//! The process's requests to its own endpoint, once a second.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{NAME, PATH};
use crate::admin;
use crate::control::{Control, Task};
use crate::lang::duration::GoDuration;
use crate::telemetry::dns::SLIM_TIME_BUCKETS;
use crate::telemetry::metrics::{Counter, Histogram};
use crate::telemetry::{log, registry};

/// The check of one address.
pub(super) struct SelfCheck {
    addr: String,
    task: Mutex<Option<Task>>,
}

impl SelfCheck {
    pub(super) fn new(addr: &str) -> SelfCheck {
        SelfCheck {
            addr: addr.to_owned(),
            task: Mutex::new(None),
        }
    }

    pub(super) fn start(&self, control: &Control) {
        let addr = self.addr.clone();
        let task = control.spawn("health", async move {
            let mut meter = Meter::new(&addr);
            loop {
                tokio::time::sleep(INTERVAL).await;
                meter.check().await;
            }
        });
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    pub(super) fn stop(&self) {
        if let Some(task) = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            task.stop();
        }
    }
}

/// The address and what is counted of it.
pub(super) struct Meter {
    addr: String,
    duration: Histogram,
    failures: Counter,
}

impl Meter {
    pub(super) fn new(addr: &str) -> Meter {
        let (duration, failures) = (
            "coredns_health_request_duration_seconds",
            "coredns_health_request_failures_total",
        );
        let help = "Time that a request to the process's own /health took.";
        Meter {
            addr: addr.to_owned(),
            duration: registry().histogram(duration, help, SLIM_TIME_BUCKETS, &[]),
            failures: registry().counter(
                failures,
                "Requests to the process's own /health that failed.",
                &[],
            ),
        }
    }

    pub(super) async fn check(&mut self) {
        let begin = Instant::now();
        let outcome = ask(self.addr.clone()).await;
        let spent = begin.elapsed();
        self.duration
            .observe_ns(u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX));
        if outcome.is_err() {
            self.failures.inc();
        }
        warn(&self.addr, outcome, spent);
    }
}

async fn ask(addr: String) -> Result<(), String> {
    // A host name is looked up each time, as an HTTP client would; it blocks, so it goes elsewhere.
    let target = tokio::task::spawn_blocking(move || admin::self_address(&addr));
    let target = target.await.map_err(|error| error.to_string())??;
    admin::probe(target, PATH, TIMEOUT)
        .await
        .map(|_| ())
        .map_err(|error| error.to_string())
}

/// Any answer in time is healthy: the endpoint has no other than `OK`.
pub(super) fn warn(addr: &str, outcome: Result<(), impl fmt::Display>, spent: Duration) {
    let url = format_args!("\"http://{addr}{PATH}\"");
    match outcome {
        Err(error) => log::warning(
            Some(NAME),
            format_args!("Local health request to {url} failed: {error}"),
        ),
        Ok(()) if spent > SLOW => {
            let spent = GoDuration::from(spent);
            log::warning(
                Some(NAME),
                format_args!("Local health request to {url} took more than 1s: {spent}"),
            );
        }
        Ok(()) => {}
    }
}

const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(3);
const SLOW: Duration = Duration::from_secs(1);
