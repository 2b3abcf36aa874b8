//! Sockets and framing.
//!
//! Runs on: data core.
//!
//! **Invariant**: bytes in, bytes out; knows framing, not DNS.
