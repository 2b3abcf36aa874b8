//! Bytes of a DNS message to meaning and back.
//!
//! Runs on: pure.
//!
//! **Invariant**: no I/O, no clock, no allocation after warm-up; every read is bounds-checked.
