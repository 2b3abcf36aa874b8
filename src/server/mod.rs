//! One running configuration: listeners, routing, the answer function, reload and shutdown.
//!
//! Runs on: data core and control thread.
//!
//! **Invariant**: a reload changes everything or nothing.

mod admission;
mod busy;
mod challenges;
mod clients;
pub mod config;
mod cores;
mod designated;
mod doh;
pub mod doors;
mod handshakes;
mod http_counts;
mod own;
pub mod packets;
mod panics;
mod quic;
mod reload_watch;
mod router;
pub mod running;
pub mod serve;
mod session;
pub mod short;
mod sockets;
mod spread;
mod stream;
mod supervisor;
pub mod tasks;
#[cfg(test)]
mod tests;
mod tuned;

pub use supervisor::run;
