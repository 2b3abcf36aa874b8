//! The slow thread: signals, periodic work, publication of snapshots.
//!
//! Runs on: control thread.
//!
//! **Invariant**: never runs on a data core; readers of what it publishes never wait.
