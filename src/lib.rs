#![doc = include_str!("ARCHITECTURE.md")]
#![warn(missing_docs)]

pub mod admin;
pub mod cache;
pub mod cli;
pub mod control;
pub mod corefile;
#[cfg(feature = "kubernetes")]
pub mod kube;
pub mod lang;
pub mod limits;
pub mod plugin;
pub mod runtime;
pub mod search;
pub mod server;
pub mod telemetry;
#[cfg(any(
    test,
    feature = "acme-authority",
    feature = "kube-api",
    feature = "testing"
))]
pub mod testing;
pub mod tls;
pub mod transport;
pub mod tune;
pub mod upstream;
pub mod version;
pub mod wire;
pub mod zone;
