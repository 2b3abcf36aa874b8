//! Sockets and framing.
//!
//! Runs on: data core.
//!
//! **Invariant**: bytes in, bytes out; knows framing, not DNS.

pub mod ethtool;
pub mod interfaces;
pub mod socket;
pub mod tcp;
pub mod udp;
