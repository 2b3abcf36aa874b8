//! Signals as a stream.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::limits;

/// The signals that mean something to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: drain, then leave.
    Terminate,
    /// SIGINT: leave; a second one leaves at once.
    Interrupt,
    /// SIGQUIT: leave at once.
    Quit,
    /// SIGUSR1: reload.
    Reload,
    /// SIGUSR2: hand over to a new binary.
    Upgrade,
}

/// Signals in their order of arrival.
pub struct Signals(mpsc::Receiver<Signal>);

impl Signals {
    /// The next signal; `None` once the control thread has ended.
    pub async fn next(&mut self) -> Option<Signal> {
        self.0.recv().await
    }

    /// The next signal, for a thread outside the control thread.
    pub fn next_blocking(&mut self) -> Option<Signal> {
        self.0.blocking_recv()
    }
}

/// Must be called inside the runtime.
pub(super) fn listen() -> io::Result<Signals> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut reload = signal(SignalKind::user_defined1())?;
    let mut upgrade = signal(SignalKind::user_defined2())?;
    // Caught and not passed on: a closed terminal must not end a server.
    let mut hangup = signal(SignalKind::hangup())?;
    let (sender, receiver) = mpsc::channel(limits::CONTROL_SIGNALS);
    tokio::spawn(async move {
        loop {
            let got = tokio::select! {
                Some(()) = terminate.recv() => Signal::Terminate,
                Some(()) = interrupt.recv() => Signal::Interrupt,
                Some(()) = quit.recv() => Signal::Quit,
                Some(()) = reload.recv() => Signal::Reload,
                Some(()) = upgrade.recv() => Signal::Upgrade,
                Some(()) = hangup.recv() => continue,
                else => return,
            };
            if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(got) {
                return;
            }
        }
    });
    Ok(Signals(receiver))
}
