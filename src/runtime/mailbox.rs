//! Bounded queues between threads: many senders, one receiver, which is a task or a packet thread.
//!
//! No lock. A wake-up costs a system call only when the receiver is at rest: a task thread is signalled once per
//! wait, a packet thread once per [`PacketReceiver::drain_wakeup`].

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::future::poll_fn;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

use atomic_waker::AtomicWaker;
use crossbeam::queue::ArrayQueue;

use crate::runtime::eventfd::EventFd;

/// Puts values into a mailbox, from any thread.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// Takes values out of a mailbox, in a task.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

/// Takes values out of a mailbox, in a packet thread that waits in epoll.
pub struct PacketReceiver<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    queue: ArrayQueue<T>,
    senders: AtomicUsize,
    closed: AtomicBool,
    alarm: Alarm,
}

/// How the receiver learns that there is something.
enum Alarm {
    Task(AtomicWaker),
    Packet {
        event: EventFd,
        /// Set by the sender that signals, cleared by the receiver before it looks.
        signalled: AtomicBool,
    },
}

/// Makes a mailbox for at most `bound` values, read by a task.
pub fn mailbox<T: Send>(bound: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Shared::new(bound, Alarm::Task(AtomicWaker::new()));
    (Sender::first(&shared), Receiver { shared })
}

/// Makes a mailbox for at most `bound` values, read by a packet thread.
pub fn packet_mailbox<T: Send>(bound: usize) -> io::Result<(Sender<T>, PacketReceiver<T>)> {
    let alarm = Alarm::Packet {
        event: EventFd::new()?,
        signalled: AtomicBool::new(false),
    };
    let shared = Shared::new(bound, alarm);
    Ok((Sender::first(&shared), PacketReceiver { shared }))
}

// === impl Sender ===

impl<T: Send> Sender<T> {
    /// Puts a value in; hands it back when the mailbox is full or its receiver is gone.
    pub fn try_send(&self, value: T) -> Result<(), T> {
        if self.is_closed() {
            return Err(value);
        }
        self.shared.queue.push(value)?;
        self.shared.alarm.ring();
        Ok(())
    }

    /// A receiver in place of one that is gone, for the successor of a thread that died. Not for use beside a living one.
    pub fn reopen(&self) -> Receiver<T> {
        self.shared.closed.store(false, Ordering::Release);
        let shared = Arc::clone(&self.shared);
        Receiver { shared }
    }

    /// As [`Sender::reopen`], for the mailbox of a packet thread.
    pub fn reopen_packet(&self) -> PacketReceiver<T> {
        self.shared.closed.store(false, Ordering::Release);
        let shared = Arc::clone(&self.shared);
        PacketReceiver { shared }
    }

    /// True when the receiver is gone.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// How many values wait.
    pub fn len(&self) -> usize {
        self.shared.queue.len()
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.shared.queue.is_empty()
    }
}

impl<T> Sender<T> {
    fn first(shared: &Arc<Shared<T>>) -> Self {
        Self {
            shared: Arc::clone(shared),
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        Self::first(&self.shared)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.shared.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.alarm.ring();
        }
    }
}

// === impl Receiver ===

impl<T: Send> Receiver<T> {
    /// Waits for a value; `None` when no sender is left and the mailbox is empty. It may be dropped at any time.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| {
            if let Some(value) = self.try_recv() {
                return Poll::Ready(Some(value));
            }
            if let Alarm::Task(waker) = &self.shared.alarm {
                waker.register(cx.waker());
            }
            // Again: what came before the waker was registered rang for nobody.
            if let Some(value) = self.try_recv() {
                return Poll::Ready(Some(value));
            }
            if self.shared.senders.load(Ordering::Acquire) == 0 {
                // The last sender may have put something in before it went.
                return Poll::Ready(self.try_recv());
            }
            Poll::Pending
        })
        .await
    }

    /// Takes a value if there is one.
    pub fn try_recv(&mut self) -> Option<T> {
        self.shared.queue.pop()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

// === impl PacketReceiver ===

impl<T: Send> PacketReceiver<T> {
    /// Readable when something was put in since the last [`PacketReceiver::drain_wakeup`].
    pub fn fd(&self) -> RawFd {
        match &self.shared.alarm {
            Alarm::Packet { event, .. } => event.fd(),
            Alarm::Task(_) => -1,
        }
    }

    /// Makes the descriptor unreadable. Call it first, then [`PacketReceiver::try_recv`] until there is nothing.
    pub fn drain_wakeup(&mut self) {
        if let Alarm::Packet { event, signalled } = &self.shared.alarm {
            event.drain();
            // After the read: a sender that sees it cleared signals anew; one that saw it set put its value in
            // before this swap, which the receiver therefore finds.
            signalled.swap(false, Ordering::AcqRel);
        }
    }

    /// Takes a value if there is one.
    pub fn try_recv(&mut self) -> Option<T> {
        self.shared.queue.pop()
    }
}

impl<T> Drop for PacketReceiver<T> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

// === impl Shared, Alarm ===

impl<T> Shared<T> {
    fn new(bound: usize, alarm: Alarm) -> Arc<Self> {
        Arc::new(Self {
            queue: ArrayQueue::new(bound.max(1)),
            senders: AtomicUsize::new(1),
            closed: AtomicBool::new(false),
            alarm,
        })
    }

    /// Refuses further values and drops those that wait, so that whoever waits for their answers learns of it.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        while self.queue.pop().is_some() {}
    }
}

impl Alarm {
    fn ring(&self) {
        match self {
            Self::Task(waker) => waker.wake(),
            Self::Packet { event, signalled } => {
                if !signalled.swap(true, Ordering::AcqRel) {
                    event.signal();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn readable(fd: RawFd, timeout_ms: i32) -> bool {
        let mut poll = libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid pollfd.
        unsafe { libc::poll(&raw mut poll, 1, timeout_ms) == 1 }
    }

    #[test]
    fn a_full_mailbox_hands_the_value_back() {
        let (tx, mut rx) = mailbox(2);
        assert_eq!(tx.try_send(1), Ok(()));
        assert_eq!(tx.try_send(2), Ok(()));
        assert_eq!(tx.try_send(3), Err(3));
        assert_eq!(rx.try_recv(), Some(1));
        assert_eq!(tx.try_send(3), Ok(()));
        drop(rx);
        assert_eq!(tx.try_send(4), Err(4));
    }

    #[test]
    fn a_packet_mailbox_signals_once_until_it_is_drained() {
        let (tx, mut rx) = packet_mailbox(8).unwrap();
        assert!(!readable(rx.fd(), 0));
        tx.try_send('a').unwrap();
        tx.try_send('b').unwrap();
        assert!(readable(rx.fd(), 0));
        rx.drain_wakeup();
        assert!(!readable(rx.fd(), 0));
        assert_eq!(rx.try_recv(), Some('a'));
        assert_eq!(rx.try_recv(), Some('b'));
        assert_eq!(rx.try_recv(), None);
        tx.try_send('c').unwrap();
        assert!(readable(rx.fd(), 0));
    }

    #[test]
    fn a_packet_mailbox_loses_nothing_between_threads() {
        const PER_SENDER: u32 = 25_000;
        let (tx, mut rx) = packet_mailbox(64).unwrap();
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let tx = tx.clone();
                thread::spawn(move || {
                    for value in 0..PER_SENDER {
                        let mut value = value;
                        while let Err(back) = tx.try_send(value) {
                            value = back;
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut count = 0;
        while count < 4 * PER_SENDER {
            assert!(readable(rx.fd(), 5_000), "no wake-up after {count} values");
            rx.drain_wakeup();
            while rx.try_recv().is_some() {
                count += 1;
            }
        }
        for sender in senders {
            sender.join().unwrap();
        }
    }
}
