//! The thread of an upstream for tests that is written with tokio.

use std::thread::{self, JoinHandle};

use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// The thread; it ends when this is dropped.
pub(super) struct FakeThread {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeThread {
    /// What `run` makes is driven on the thread, with all that it spawns; its end is the thread's. It is to end when what it is given does.
    pub(super) fn start<F: Future<Output = ()>>(
        run: impl FnOnce(oneshot::Receiver<()>) -> F + Send + 'static,
    ) -> FakeThread {
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(stopped));
        });
        FakeThread {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for FakeThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}
