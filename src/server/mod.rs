//! One running configuration: listeners, routing, the answer function, reload and shutdown.
//!
//! Runs on: data core and control thread.
//!
//! **Invariant**: a reload changes everything or nothing.
