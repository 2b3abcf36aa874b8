//! Tests of the whole program: the binary is started, asked over real sockets and stopped.
//!
//! One binary with modules, because each further one would link the whole server again. Nothing here needs the network beyond
//! loopback. A test that needs a tool or a right that is missing says `SKIPPED: ...` and passes.

#[cfg(feature = "acme")]
mod acme;
mod allocations;
mod attacks;
mod backends;
mod client;
mod corefiles;
mod example;
mod fuzz;
mod https;
mod interop;
#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(feature = "kubernetes")]
mod kubernetes_files;
#[cfg(feature = "kubernetes")]
mod kubernetes_snapshot;
mod listeners;
mod migrate;
mod packets;
mod process;
#[cfg(feature = "kubernetes")]
mod proxied_upstreams;
mod proxyproto;
mod quic;
#[cfg(feature = "kubernetes")]
mod quic_upstreams;
mod reload;
mod resources;
#[cfg(feature = "kubernetes")]
mod secure_upstreams;
mod server;
mod signals;
mod snapshot;
mod spread;
mod structure;
mod tcp;
mod tls;
mod transports;
mod tune;
mod upstream;

/// Counts what a thread allocates; see `allocations`.
#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;
