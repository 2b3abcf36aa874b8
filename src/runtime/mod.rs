//! Cores, threads, executors, timers, streams and mailboxes.
//!
//! Runs on: data core.
//!
//! **Invariant**: the only room that names glommio, a pin or an epoll descriptor.
//!
//! ```text
//!  packet thread  --Sender-->  task thread: exec (tasks, timers) on epoll or glommio
//!  (epoll, recvmmsg) <--PacketReceiver--      |
//!                                             +-- stream: UDP and TCP of this thread
//! ```
//!
//! A task thread runs everything of its core that waits. Its scheduler is ours ([`task`]); epoll or glommio supplies
//! the waiting, chosen once at start by [`choose`].

mod busy;
pub mod cgroup;
pub mod clock;
pub mod cores;
pub mod epoch;
pub mod local;
pub mod mailbox;
mod meter;
pub mod oneshot;
mod poll;
pub mod stream;
pub mod task;

mod choose;
mod epoll;
mod eventfd;
mod exec;
mod pages;
mod reactor;
#[cfg(feature = "glommio")]
mod ring;
mod seat;
mod slab;
mod stint;
mod thread;
mod timers;
mod zeroed;

pub use busy::BusyPoll;
pub use choose::{Backend, Choice, Wish, choose, probe, raise_open_files};
pub use exec::{on_panic, panics, refused};
pub use mailbox::{PacketReceiver, Receiver, Sender, mailbox, packet_mailbox};
pub use meter::{Meter, Share};
pub use oneshot::oneshot;
pub use pages::PageVec;
pub use poll::Poller;
pub use seat::Seat;
pub use stream::{TcpListener, TcpStream, UdpSocket, Watch};
pub use task::{Elapsed, Sleep, sleep, sleep_until, spawn, timeout, try_spawn, yield_now};
pub use thread::{TaskThreadSpec, block_on, start_task_thread};
pub use zeroed::Zeroed;

#[cfg(test)]
mod tests;
