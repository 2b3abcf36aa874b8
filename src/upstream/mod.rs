//! The client side of DNS: who is asked, over which socket, and whether it is alive.
//!
//! Runs on: task threads of the data cores; [`target`], [`terms`] and [`resolve`] during set-up, where they may block.
//!
//! **Invariant**: a reply is accepted only from the address that was asked, on the port it was asked from, with the id and the
//! question of the query; everything else is counted and ignored until the deadline. Ids and ports come from a CSPRNG.
//!
//! ```text
//!   plugin/forward -> Pool (per core and upstream) -> udp | tcp -> socket             idle sockets, oldest first
//!   plugin/grpc         |                         -> Sessions -> pipeline -> TLS     connections with several queries each
//!                       |                                    -> http2 -> TLS | TCP
//!                       |                         -> single   -> TLS | TCP       where each connection names its client
//!                       |                                    -> quic -> UDP
//!                       +-> Health (per upstream and process): failures, one probe at a time
//! ```

mod call;
mod core;
mod dial;
mod endpoint;
mod entropy;
mod error;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(all(test, feature = "kube-api"))]
mod fake_quic;
#[cfg(all(test, feature = "kube-api"))]
mod fake_thread;
#[cfg(all(test, feature = "kube-api"))]
pub(crate) mod fake_tls;
mod form;
mod health;
mod http2;
mod idle;
mod message;
mod metrics;
mod pipeline;
mod policy;
mod pool;
mod quic;
pub mod resolve;
mod scope;
mod session;
mod single;
pub mod target;
mod tcp;
pub mod terms;
#[cfg(test)]
mod tests;
mod udp;

pub use call::Call;
pub use endpoint::{Address, Endpoint, Method, Transport};
pub use entropy::{below, random_u64};
pub use error::{Error, Why};
pub use health::{Health, Probe};
pub use message::{Request, RequestBuffer, accept};
pub use policy::Policy;
pub use pool::{Pool, PoolSettings};
pub use scope::Scope;

/// What carries the messages of an upstream that speaks [`Transport::Dns`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// A stream with a length before each message (RFC 1035 section 4.2.2).
    Tcp,
}

impl Protocol {
    /// `udp` or `tcp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        }
    }
}
