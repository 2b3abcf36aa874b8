//! Helpers for tests: a fake clock, `check(corefile, query, expect)`, a battery for each directive.
//!
//! Runs on: tests only.
//!
//! **Invariant**: nothing outside tests depends on it.

pub mod directive;
pub mod files;
pub mod host;
#[cfg(feature = "kubernetes")]
pub mod kube_api;

pub use host::{Host, Seen, check, check_seen};
