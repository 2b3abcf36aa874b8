//! The small languages inside a Corefile: Go durations, Go regular expressions, Go templates, expressions, networks.
//!
//! Runs on: pure.
//!
//! **Invariant**: any input text gives a value or an error, in bounded time and memory.

pub mod cidr;
pub mod duration;
pub mod expr;
pub mod regexp;
pub mod replacer;
pub mod template;
