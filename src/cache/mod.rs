//! The answer store: one shard per core, read by all without a lock.
//!
//! Runs on: data core.
//!
//! **Invariant**: a shard is written by its home task thread only; readers never wait.
