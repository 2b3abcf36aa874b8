//! Keeps one certificate current.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::client::Asked;
use super::issued::Issued;
use super::order::{Attempt, Failure, Fresh, blocking};
use super::retry::{Backoff, renew_at_s};
use super::settings::Settings;
use super::storage::Storage;
use super::time::Time;
use crate::control::{Control, Task};
use crate::lang::duration::GoDuration;
use crate::limits;
use crate::telemetry::metrics::{GaugeGuard, SharedCounter};
use crate::telemetry::{log, panics, registry};
use crate::upstream;

/// Keeps the certificate of these settings current for as long as it lives. One that a reload does not change is carried over
/// ([`crate::plugin::Carry`], under [`Settings::key`]).
pub struct Manager {
    inner: Arc<Inner>,
    running: Mutex<Option<Task>>,
    _gauge: GaugeGuard,
}

struct Inner {
    settings: Settings,
    storage: Storage,
    time: Time,
    install: Box<dyn Fn(Issued) + Send + Sync>,
    held: Arc<Mutex<Option<Validity>>>,
    attempts: SharedCounter,
    failures: SharedCounter,
}

/// From when to when the certificate that is served is valid, in seconds since 1970.
#[derive(Clone, Copy)]
struct Validity {
    not_before_s: u64,
    not_after_s: u64,
}

impl Manager {
    /// Reads the stored certificate and hands it to `install`, unless it has ended; so a server that starts again has its certificate
    /// before it has listeners. Reads files; nothing is ordered before [`Manager::start`].
    ///
    /// `install` is called again, on the control thread, with each certificate that is issued. It must not block.
    pub fn open(settings: Settings, install: impl Fn(Issued) + Send + Sync + 'static) -> Manager {
        Manager::with(settings, install, Time::Real)
    }

    pub(super) fn with(
        settings: Settings,
        install: impl Fn(Issued) + Send + Sync + 'static,
        time: Time,
    ) -> Manager {
        let name = Storage::name(&settings);
        let labels = [("certificate", name.as_str())];
        let held: Arc<Mutex<Option<Validity>>> = Arc::default();
        let shown = Arc::clone(&held);
        let gauge = registry().gauge_fn(
            "percoredns_acme_certificate_expiry_timestamp_seconds",
            "When the certificate ends, in seconds since 1970; 0 while there is none.",
            &labels,
            move || lock(&shown).map_or(0.0, |validity| validity.not_after_s as f64),
        );
        let inner = Inner {
            storage: Storage::new(&settings),
            settings,
            time,
            install: Box::new(install),
            held,
            attempts: registry().shared_counter(
                "percoredns_acme_attempts_total",
                "Orders of a certificate that were begun.",
                &labels,
            ),
            failures: registry().shared_counter(
                "percoredns_acme_failures_total",
                "Orders of a certificate that came to nothing.",
                &labels,
            ),
        };
        inner.restore();
        Manager {
            inner: Arc::new(inner),
            running: Mutex::new(None),
            _gauge: gauge,
        }
    }

    /// Has the certificate ordered and renewed from now on, on the control thread. It does nothing where that is so already.
    pub fn start(&self, control: &Control) {
        let mut running = lock(&self.running);
        if running.is_none() {
            *running = Some(control.spawn("acme", self.keep_current(control)));
        }
    }

    /// What [`Manager::start`] has run; it does not end.
    pub(super) fn keep_current(&self, control: &Control) -> impl Future<Output = ()> + use<> {
        let attempt = Attempt {
            settings: self.inner.settings.clone(),
            storage: self.inner.storage.clone(),
            control: control.clone(),
            time: self.inner.time.clone(),
            asked: Asked::default(),
        };
        Arc::clone(&self.inner).keep_current(attempt)
    }

    /// What it keeps current.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // The order in hand is given up; answers to its challenges go with it.
        if let Some(task) = lock(&self.running).take() {
            task.stop();
        }
    }
}

impl Inner {
    /// Installs what is stored, if it is of use.
    fn restore(&self) {
        let now_s = self.time.now_s();
        match self.storage.certificate() {
            Ok(Some(issued)) if issued.not_after_s > now_s => self.adopt(issued),
            Ok(Some(_)) => {
                let shown = self.settings.shown();
                log::warning(
                    PLUGIN,
                    format_args!("the stored certificate for {shown} has ended"),
                );
            }
            Ok(None) => {}
            // The order that follows writes over it.
            Err(error) => log::warning(PLUGIN, format_args!("{error}; another one is ordered")),
        }
    }

    fn adopt(&self, issued: Issued) {
        *lock(&self.held) = Some(Validity {
            not_before_s: issued.not_before_s,
            not_after_s: issued.not_after_s,
        });
        (self.install)(issued);
    }

    async fn keep_current(self: Arc<Inner>, attempt: Attempt) {
        let mut backoff = Backoff::default();
        loop {
            let held = *lock(&self.held);
            if let Some(held) = held {
                let at_s = renew_at_s(held.not_before_s, held.not_after_s, chance());
                self.time.sleep_until(at_s).await;
            }
            while let Err(failure) = self.renew(&attempt).await {
                self.failures.inc();
                let asked = match attempt.asked.last() {
                    None if failure.is_rate_limited => {
                        Some(Duration::from_secs(limits::ACME_RETRY_S_MAX))
                    }
                    asked => asked,
                };
                let pause = backoff.pause(asked, chance());
                self.report(&failure, pause);
                self.time.sleep(pause).await;
            }
            backoff.reset();
        }
    }

    /// Orders a certificate, keeps and installs it. A panic on the way is a failure like others.
    async fn renew(&self, attempt: &Attempt) -> Result<(), Failure> {
        self.attempts.inc();
        attempt.asked.clear();
        let attempt = attempt.clone();
        // A task of its own for its panics, in a set since that ends it with us.
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { attempt.order().await });
        let Fresh { issued, pem } = match tasks.join_next().await {
            Some(Ok(done)) => done?,
            Some(Err(error)) => {
                panics().inc();
                return Err(error.to_string().into());
            }
            None => return Err("nothing was ordered".to_owned().into()),
        };
        let storage = self.storage.clone();
        let kept = blocking(move || storage.keep_certificate(&pem)).await;
        let shown = self.settings.shown();
        if let Err(error) = kept {
            // It is good until the process ends, which is better than none.
            log::error(
                PLUGIN,
                format_args!(
                    "the certificate for {shown} is served but could not be stored: {error}"
                ),
            );
        }
        let left = span(issued.not_after_s.saturating_sub(self.time.now_s()));
        self.adopt(issued);
        log::info(
            PLUGIN,
            format_args!("obtained a certificate for {shown}, valid for {left}"),
        );
        Ok(())
    }

    fn report(&self, failure: &Failure, pause: Duration) {
        let (shown, text) = (self.settings.shown(), &failure.text);
        let next = span(pause.as_secs());
        let now_s = self.time.now_s();
        match *lock(&self.held) {
            None => log::error(
                PLUGIN,
                format_args!(
                    "no certificate for {shown}: {text}; until there is one its TLS handshakes fail; next attempt in {next}"
                ),
            ),
            Some(held) if held.not_after_s > now_s => {
                let left = span(held.not_after_s - now_s);
                log::warning(
                    PLUGIN,
                    format_args!(
                        "the certificate for {shown} is not renewed: {text}; the old one is served, for another {left}; next attempt in {next}"
                    ),
                );
            }
            Some(_) => log::error(
                PLUGIN,
                format_args!(
                    "the certificate for {shown} has ended and is not renewed: {text}; next attempt in {next}"
                ),
            ),
        }
    }
}

/// As Go writes it.
fn span(seconds: u64) -> GoDuration {
    GoDuration::from(Duration::from_secs(seconds))
}

/// In `0.0..1.0`.
fn chance() -> f64 {
    upstream::random_u64() as f64 / 2f64.powi(64)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whose log lines they are.
const PLUGIN: Option<&str> = Some("tls");
