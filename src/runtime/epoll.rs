//! The epoll backend: the thread waits in its poll set.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::rc::Rc;

use crate::runtime::exec::{self, Exec};

/// Runs `main` and all that it spawns on this thread until `done` is set, which is the last thing `main` does.
pub(crate) fn run(main: impl Future<Output = ()> + 'static, done: &Cell<bool>) -> io::Result<()> {
    let exec = Exec::enter()?;
    let _closer = exec::Closer::new(Rc::clone(&exec));
    let _ = exec.spawn(main);
    loop {
        let more = exec.turn(|| done.get());
        if done.get() {
            return Ok(());
        }
        let wait_ns = if more || !exec.prepare_to_wait() {
            Some(0)
        } else {
            exec.wait_ns()
        };
        let events = exec.reactor().wait(wait_ns)?;
        #[cfg(any(test, feature = "testing"))]
        if events == 0 && !more {
            exec.jump_fake_clock();
        }
        #[cfg(not(any(test, feature = "testing")))]
        let _ = events;
    }
}
