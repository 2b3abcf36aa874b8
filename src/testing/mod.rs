//! Helpers for tests: a fake clock, `check(corefile, query, expect)`, a battery for each directive.
//!
//! Runs on: tests only.
//!
//! **Invariant**: nothing outside tests depends on it.

#[cfg(feature = "acme-authority")]
pub mod acme;
#[cfg(any(feature = "acme-authority", feature = "kube-api"))]
pub mod authority;
#[cfg(all(any(test, feature = "testing"), feature = "kubernetes"))]
pub mod cluster;
#[cfg(any(test, feature = "testing"))]
pub mod directive;
pub mod files;
#[cfg(any(test, feature = "testing"))]
pub mod host;
#[cfg(feature = "kube-api")]
pub mod kube_api;
#[cfg(any(feature = "acme-authority", feature = "kube-api"))]
mod port;

#[cfg(any(test, feature = "testing"))]
pub use host::{Host, Seen, check, check_seen};
