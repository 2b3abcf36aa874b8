//! One running configuration: listeners, routing, the answer function, reload and shutdown.
//!
//! Runs on: data core and control thread.
//!
//! **Invariant**: a reload changes everything or nothing.

mod admission;
pub mod config;
pub mod packets;
mod router;
pub mod running;
pub mod serve;
pub mod stream;
pub mod tasks;
