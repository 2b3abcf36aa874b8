//! Counters, histograms, the Prometheus text and the log.
//!
//! Runs on: data core writes, control thread reads.
//!
//! **Invariant**: a data core writes only cells of its own; a full lane or ring of the log drops and counts.

pub mod dns;
pub mod log;
pub mod metrics;
pub mod number;

pub use metrics::{Registry, panics, registry};
