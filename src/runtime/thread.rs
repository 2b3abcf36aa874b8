//! Task threads: one for each data core, running everything of that core that waits.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};

use crate::runtime::choose::Backend;
#[cfg(feature = "glommio")]
use crate::runtime::ring;
use crate::runtime::{cores, epoll};

/// What a task thread is to be.
#[derive(Clone, Debug)]
pub struct TaskThreadSpec {
    /// Name of the thread; the kernel shows the first 15 octets.
    pub name: String,
    /// The CPU to stay on; `None` = wherever the kernel likes.
    pub cpu: Option<u32>,
    /// How it waits, from [`crate::runtime::choose`].
    pub backend: Backend,
}

/// Starts a task thread; `main` is called on it. The thread ends when that future does, and then drops every other
/// task. Joining gives the panic of the main future, if it panicked; panics of other tasks stay with them.
///
/// Fails when the thread, its pin or its executor cannot be had.
pub fn start_task_thread<F, Fut>(spec: TaskThreadSpec, main: F) -> io::Result<JoinHandle<()>>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let (started, start) = mpsc::sync_channel::<io::Result<()>>(1);
    let report = started.clone();
    let handle = thread::Builder::new().name(spec.name).spawn(move || {
        if let Some(cpu) = spec.cpu
            && let Err(error) = cores::pin_current(cpu)
        {
            let _ = report.send(Err(error));
            return;
        }
        let ready = report.clone();
        let outcome = block_on(spec.backend, async move {
            let _ = ready.send(Ok(()));
            main().await;
        });
        if let Err(error) = outcome {
            // Before the start: the caller gets it. After: the poll set itself failed, which the thread cannot survive.
            if let Err(
                mpsc::TrySendError::Full(Err(error)) | mpsc::TrySendError::Disconnected(Err(error)),
            ) = report.try_send(Err(error))
            {
                resume_unwind(Box::new(format!("task thread: {error}")));
            }
        }
    })?;
    drop(started);
    match start.recv() {
        Ok(Ok(())) => Ok(handle),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::other("the task thread ended before it began")),
    }
}

/// Runs a future and what it spawns on this thread until it is done; a panic of the future goes on here.
///
/// Fails when the executor cannot be had, or when this thread runs one already.
pub fn block_on<T: 'static>(
    backend: Backend,
    main: impl Future<Output = T> + 'static,
) -> io::Result<T> {
    let done = Rc::new(Cell::new(false));
    let output = Rc::new(RefCell::new(None));
    let main = Main {
        future: Some(Box::pin(main)),
        done: Rc::clone(&done),
        output: Rc::clone(&output),
    };
    match backend {
        Backend::Epoll => epoll::run(main, &done)?,
        #[cfg(feature = "glommio")]
        Backend::Glommio => ring::run(main, &done)?,
        #[cfg(not(feature = "glommio"))]
        Backend::Glommio => {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this binary was built without the glommio feature",
            ));
        }
    }
    match output.take() {
        Some(Ok(value)) => Ok(value),
        Some(Err(panic)) => resume_unwind(panic),
        None => Err(io::Error::other("the executor ended before its main task")),
    }
}

/// The first task: its end, by return or by panic, ends the thread.
struct Main<F: Future> {
    future: Option<Pin<Box<F>>>,
    done: Rc<Cell<bool>>,
    output: Rc<RefCell<Option<thread::Result<F::Output>>>>,
}

impl<F: Future> Future for Main<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(future) = self.future.as_mut() else {
            return Poll::Ready(());
        };
        let output = match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(panic) => Err(panic),
        };
        self.output.replace(Some(output));
        self.done.set(true);
        // Dropped here, while the executor runs; a panic of the destructor is the scheduler's to catch.
        self.future = None;
        Poll::Ready(())
    }
}
