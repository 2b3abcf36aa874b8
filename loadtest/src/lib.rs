//! Measures DNS servers side by side: an open-loop load generator, a bare echo as the floor, and runners that start the servers.
//!
//! ```text
//!  corpus --> pace --> flight (ids, intended send times) --> udp | tcp, tls, https | quic --> report
//!                                                              |
//!  echo = the floor        servers (children) + procfs (CPU) --+--> compare, reload, relay, start
//! ```
//!
//! **Invariant**: a latency is always counted from the moment at which the query *should* have left, so a stall of the server
//! or of the generator is never hidden.
//! **Invariant**: whatever is started here is killed here, by its pid, also on Ctrl-C and on a panic.

#![warn(missing_docs)]

pub mod args;
pub mod corpus;
pub mod flight;
pub mod json;
pub mod message;
pub mod pace;
pub mod report;
pub mod scenario;
pub mod stats;

pub mod sys;

pub mod agree;
pub mod bare;
pub mod child;
pub mod cli;
pub mod compare;
pub mod dnsperf;
pub mod echo;
pub mod figures;
pub mod html;
pub mod https;
pub mod kubernetes;
pub mod kxdpgun;
pub mod load;
pub mod machine;
pub mod origin;
pub mod procfs;
pub mod progress;
pub mod quic;
pub mod relay;
pub mod reload;
pub mod security;
pub mod servers;
pub mod stage;
pub mod start;
pub mod stream;
pub mod table;
pub mod tcp;
pub mod transports;
pub mod udp;
pub mod veth;
