//! The slow thread: signals, periodic work, publication of snapshots.
//!
//! Runs on: control thread.
//!
//! **Invariant**: never runs on a data core; readers of what it publishes never wait.
//!
//! One thread runs a tokio runtime for all that waits without hurry (timers, signals, admin HTTP); what blocks
//! (files, name lookups, a reload) goes to a few threads beside it. A panic in any of it is logged and counted
//! and ends that piece of work only.

pub mod kept;
pub mod publish;
mod signals;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::limits;
use crate::telemetry::{log, panics};

pub use publish::{Published, Subscriber, publications};
pub use signals::{Signal, Signals};

/// A handle of the control thread. The thread ends, and what it runs with it, when the last handle is gone.
#[derive(Clone)]
pub struct Control {
    handle: Handle,
    _stop: Arc<oneshot::Sender<()>>,
}

impl Control {
    /// Starts the thread.
    ///
    /// # Errors
    /// The kernel refused the thread, its epoll descriptor or its timer.
    pub fn start() -> io::Result<Control> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(limits::CONTROL_BLOCKING_THREADS)
            .thread_name("control-work")
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        thread::Builder::new()
            .name("control".into())
            .spawn(move || {
                runtime.block_on(async {
                    let sweeper = tokio::spawn(publish::sweep_for_ever());
                    // An error means that the last handle is gone, which is how it is told to stop.
                    let _ = stopped.await;
                    sweeper.abort();
                });
                runtime.shutdown_background();
            })?;
        Ok(Control {
            handle,
            _stop: Arc::new(stop),
        })
    }

    /// Runs a future on the control thread. It must not block; see [`Control::work`].
    pub fn spawn(&self, name: &str, future: impl Future<Output = ()> + Send + 'static) -> Task {
        let task = self.handle.spawn(future);
        let abort = task.abort_handle();
        let name = name.to_owned();
        self.handle.spawn(async move {
            if let Err(error) = task.await
                && let Ok(payload) = error.try_into_panic()
            {
                report_panic(&name, &*payload);
            }
        });
        Task(abort)
    }

    /// Runs a function that may block, on a thread beside the control thread.
    pub fn work(&self, name: &str, work: impl FnOnce() + Send + 'static) {
        let name = name.to_owned();
        self.handle.spawn_blocking(move || guarded(&name, work));
    }

    /// Calls `work` every `interval`, first after one interval, until the guard is dropped. It may block; the
    /// next interval starts when it has returned, so it never overlaps itself.
    pub fn every(
        &self,
        interval: Duration,
        name: &str,
        mut work: impl FnMut() + Send + 'static,
    ) -> PeriodicGuard {
        let label = name.to_owned();
        let task = self.spawn(name, async move {
            loop {
                tokio::time::sleep(interval).await;
                let label = label.clone();
                let turn = tokio::task::spawn_blocking(move || {
                    guarded(&label, &mut work);
                    work
                });
                match turn.await {
                    Ok(back) => work = back,
                    // The runtime is shutting down: nothing is left to call.
                    Err(_) => return,
                }
            }
        });
        PeriodicGuard(task)
    }

    /// Takes over SIGTERM, SIGINT, SIGQUIT, SIGUSR1 and SIGUSR2 from now on, and ignores SIGHUP.
    ///
    /// # Errors
    /// The kernel refused a handler.
    pub fn signals(&self) -> io::Result<Signals> {
        let _runtime = self.handle.enter();
        signals::listen()
    }

    /// Enters the runtime, so that tokio sockets and timers can be made on this thread.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// A spawned future; it goes on when this is dropped.
pub struct Task(AbortHandle);

impl Task {
    /// Ends the future at its next await.
    pub fn stop(&self) {
        self.0.abort();
    }
}

/// Stops periodic work when dropped; a call that is running is finished, not waited for.
#[must_use = "the work stops when the guard is dropped"]
pub struct PeriodicGuard(Task);

impl Drop for PeriodicGuard {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn guarded(name: &str, work: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
        report_panic(name, &*payload);
    }
}

fn report_panic(name: &str, payload: &(dyn Any + Send)) {
    panics().inc();
    log::error(
        None,
        format_args!("Recovered from panic in {name}: {}", panic_text(payload)),
    );
}

/// What a panic said.
pub fn panic_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
