//! Cores, threads, executors, timers, streams and mailboxes.
//!
//! Runs on: data core.
//!
//! **Invariant**: the only room that names glommio, a pin or an epoll descriptor.
