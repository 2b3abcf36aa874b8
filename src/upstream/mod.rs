//! The client side of DNS: exchanges with upstream servers and their health.
//!
//! Runs on: data core (task thread).
//!
//! **Invariant**: a reply counts only if address, port, id and question match; everything else is ignored until the deadline.
