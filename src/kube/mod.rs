//! The names of a Kubernetes cluster: a watcher of its API server, and the store that answers come from.
//!
//! Runs on: control thread (watching, writing), data core (reading).
//!
//! **Invariant**: readers never wait and never see half of a change; what is known is never forgotten because the API server is away.

pub mod access;
mod client;
mod cluster;
mod decode;
mod external;
mod gauges;
pub mod labels;
pub mod record;
pub mod records;
pub mod schema;
pub mod selector;
pub mod served;
pub mod snapshot;
pub mod store;
pub mod watch;

pub use cluster::{Cluster, Selectors};
pub use external::{External, LABELS as EXTERNAL_LABELS};
pub use served::Served;
