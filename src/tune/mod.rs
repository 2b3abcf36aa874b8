//! What `-tune FILE` sets for the process and for each data core.
//!
//! Runs on: control thread; what it reads becomes plain data that every thread shares.
//!
//! **Invariant**: settings change when the process starts and at no other time.

pub mod settings;

pub use settings::{CoreSettings, Settings};
