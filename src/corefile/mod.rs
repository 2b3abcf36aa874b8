//! Corefile text to server blocks.
//!
//! Runs on: pure.
//!
//! **Invariant**: knows no plugin: it hands out tokens with their file and line, never a meaning.
