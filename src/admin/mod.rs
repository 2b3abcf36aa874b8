//! The HTTP endpoints of health, ready and prometheus.
//!
//! Runs on: control thread.
//!
//! **Invariant**: an endpoint's body and label values never come from a query's bytes unescaped; every request is bounded in size and time.
