//! What `-tune FILE` sets for the process and for each data core, and `percoredns tune`, which looks at the machine.
//!
//! Runs on: control thread; what it reads becomes plain data that every thread shares.
//!
//! **Invariant**: settings change when the process starts and at no other time.
//!
//! ```text
//!   FILE -> file (keys, lines) --+
//!                                +-> resolve -> Settings -> threads, sockets, plugins
//!   /proc, /sys -> machine ------+
//!                        |
//!                        +-> advice -> table, --apply, --write
//! ```

pub mod advice;
pub mod command;
pub mod file;
mod has;
pub mod keys;
pub mod machine;
pub mod profile;
pub mod resolve;
pub mod settings;
pub mod step;
#[cfg(test)]
mod tests;
pub mod value;

pub use file::TuneFile;
pub use machine::Machine;
pub use settings::{AcmeChallenge, CoreSettings, Settings};
