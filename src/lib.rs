#![doc = include_str!("ARCHITECTURE.md")]
#![warn(missing_docs)]

pub mod limits;
pub mod lang;
pub mod corefile;
pub mod wire;
pub mod zone;
pub mod cache;
pub mod upstream;
pub mod runtime;
pub mod transport;
pub mod telemetry;
pub mod control;
pub mod admin;
pub mod plugin;
pub mod server;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
