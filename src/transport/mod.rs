//! Sockets and framing.
//!
//! Runs on: data core.
//!
//! **Invariant**: bytes in, bytes out; knows framing, not DNS.

pub mod busy_poll;
pub mod datagrams;
pub mod ethtool;
pub(crate) mod h2_authority;
pub(crate) mod h3;
pub mod http_forms;
pub mod http_io;
mod huffman;
pub mod interfaces;
mod outbox;
pub mod proxy;
pub mod quic;
pub mod socket;
pub mod steering;
pub mod stream;
pub mod tcp;
pub mod tls;
pub mod udp;
