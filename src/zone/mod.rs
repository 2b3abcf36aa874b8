//! Parsed authoritative zones and the lookup in them.
//!
//! Runs on: pure.
//!
//! **Invariant**: a published zone is immutable; lookups allocate nothing.
