//! The watcher: one task for each kind of object, which keeps a [`Sink`] in step with the API server.
//!
//! ```text
//!            stream of all objects, then of changes (WatchList)
//!          /                                                    \
//!   start -- server cannot --> list, in pages or whole -> watch --> ends: watch on from the last version
//!     ^                                                     |
//!     +------------- 410: what we know is too old ----------+
//! ```
//! Whatever fails is tried again, for ever: nothing that a server says makes the watcher give up, and the store keeps what it has.
//! The sink is called on the control thread, under its lock, for the objects of at most `limits::KUBE_DECODE_OCTETS`; then others have
//! their turn.

mod backoff;
mod follow;
mod request;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::access::Access;
use super::client::ApiClient;
use super::record::{Kind, Sink};
use super::store::Kinds;
use crate::control::{Control, Task, panic_text};
use crate::limits;
use crate::telemetry::{log, panics};
use follow::Follower;

/// What is watched beside what always is: namespaces and services.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Only services, slices and pods with these labels.
    pub labels: Option<String>,
    /// Only namespaces with these labels.
    pub namespace_labels: Option<String>,
    /// Endpoint slices too.
    pub slices: bool,
    /// Pods too.
    pub pods: bool,
    /// Services of the cluster set too.
    pub imports: bool,
}

impl Wanted {
    /// All kinds that are watched.
    pub fn kinds(&self) -> Kinds {
        let mut kinds = Kinds::NONE.and(Kind::Namespace).and(Kind::Service);
        if self.slices {
            kinds = kinds.and(Kind::Slice);
        }
        if self.pods {
            kinds = kinds.and(Kind::Pod);
        }
        if self.imports {
            kinds = kinds.and(Kind::Import);
        }
        kinds
    }
}

/// A watcher that is at work until this is dropped.
#[must_use = "the watcher stops when this is dropped"]
pub struct Watching(Vec<Task>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.iter().for_each(Task::stop);
    }
}

/// Starts watching. What is wrong with `access` is tried again and again too; [`Access::check`] tells it beforehand.
pub fn start(
    control: &Control,
    access: Access,
    wanted: Wanted,
    sink: Arc<Mutex<dyn Sink>>,
) -> Watching {
    let kinds = wanted.kinds();
    let shared = Arc::new(Shared {
        client: ApiClient::new(access),
        wanted,
        sink,
        lists_until: Mutex::new(None),
    });
    let task = |kind: Kind| {
        let shared = Arc::clone(&shared);
        control.spawn(kind.name(), follow_for_ever(kind, shared))
    };
    let watched = Kind::ALL.into_iter().filter(|kind| kinds.holds(*kind));
    Watching(watched.map(task).collect())
}

/// What the tasks of all kinds have in common.
struct Shared {
    client: ApiClient,
    wanted: Wanted,
    sink: Arc<Mutex<dyn Sink>>,
    /// Until when the server need not be asked to stream a list: it could not, and an old server stays old.
    lists_until: Mutex<Option<Instant>>,
}

impl Shared {
    fn with_sink<T>(&self, body: impl FnOnce(&mut dyn Sink) -> T) -> T {
        body(&mut *self.sink.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn may_stream_lists(&self) -> bool {
        let until = self
            .lists_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        until.is_none_or(|until| until <= Instant::now())
    }

    fn cannot_stream_lists(&self) {
        let until = Instant::now() + Duration::from_secs(limits::KUBE_STREAM_LIST_RETRY_S);
        *self
            .lists_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(until);
    }
}

/// A panic over one object must not end the watch of its kind: it begins anew.
async fn follow_for_ever(kind: Kind, shared: Arc<Shared>) {
    loop {
        let mut follower = Box::pin(Follower::new(kind, Arc::clone(&shared)).run());
        poll_fn(|cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| follower.as_mut().poll(cx)));
            match polled {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(never)) => match never {},
                Err(payload) => {
                    panics().inc();
                    // Until the next one is up nobody hears what happens.
                    shared.with_sink(|sink| sink.lost(kind));
                    let text = panic_text(&*payload);
                    let kind = kind.name();
                    log::error(
                        Some("kubernetes"),
                        format_args!("Recovered from panic in the watch of {kind}: {text}"),
                    );
                    Poll::Ready(())
                }
            }
        })
        .await;
        tokio::time::sleep(Duration::from_millis(limits::KUBE_RETRY_MS_MAX)).await;
    }
}
