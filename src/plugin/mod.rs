//! The table of directives, the trait behind it and the chain that runs it.
//!
//! Runs on: data core.
//!
//! **Invariant**: plugins never import plugins. What two of them need is a room of its own; what one leaves for another travels on the
//! [`Query`].

mod bounds;
mod chain;
#[cfg(any(feature = "template", feature = "view"))]
mod expression;
mod metadata_values;
mod names;
mod order;
#[cfg(test)]
pub(crate) mod panicker;
mod plain;
mod query;
#[cfg(test)]
mod readmes;
mod setup;
#[macro_use]
mod table;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bounds::transport_bound;
pub use chain::{Chain, Run, TaskCx, TaskEnv, Visit, background, drive, receive};
#[cfg(any(feature = "template", feature = "view"))]
pub use expression::QueryEnv;
pub use metadata_values::Metadata;
pub use order::PLUGIN_CFG;
pub use plain::{Fetch, PlainFlow, PlainPart, PlainQuery};
pub use query::{Answer, Arrival, Proto, Query, Route, SocketAddrSlot};
pub use setup::{
    BlockSettings, Bounds, Carry, Lifecycle, Offers, OpenCx, Periodic, Role, SetupCx, Site,
    StartHook, Started, TransportBounds,
};

use crate::corefile::{Args, SetupError};
use crate::wire::plain::Plain;

pub mod acl;
pub mod any;
pub mod autopath;
pub mod bind;
pub mod bufsize;
pub mod cache;
pub mod cancel;
pub mod chaos;
pub mod debug;
pub mod erratic;
pub mod errors;
pub mod file;
pub mod forward;
pub mod grpc;
pub mod grpc_server;
pub mod header;
pub mod health;
pub mod hosts;
pub mod https;
pub mod https3;
#[cfg(feature = "kubernetes")]
pub mod k8s_external;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod loadbalance;
pub mod local;
pub mod log;
pub mod loop_;
pub mod metadata;
pub mod minimal;
pub mod multisocket;
pub mod nsid;
pub mod prometheus;
pub mod proxyproto;
pub mod quic;
pub mod ready;
pub mod reload;
pub mod rewrite;
pub mod root;
#[cfg(feature = "template")]
pub mod template;
pub mod timeouts;
pub mod tls;
#[cfg(feature = "view")]
pub mod view;
pub mod whoami;

// Rows stand in the order of CoreDNS's plugin.cfg, which is the order of execution. A row whose place matters says why.
plugins! {
    "root" => root::Root, // before all that read files: it moves their paths
    "metadata" => metadata::Metadata, // first, so that labels can be set before views are asked
    "cancel" => cancel::Cancel,
    "proxyproto" => proxyproto::Proxyproto,
    "quic" => quic::Quic,
    "grpc_server" => grpc_server::GrpcServer,
    "https" => https::Https,
    "https3" => https3::Https3,
    "timeouts" => timeouts::Timeouts,
    "multisocket" => multisocket::Multisocket,
    "reload" => reload::Reload,
    "nsid" => nsid::Nsid,
    "bufsize" => bufsize::Bufsize, // above all that answers or asks upstream
    "bind" => bind::Bind,
    "debug" => debug::Debug,
    "ready" => ready::Ready, // before health: it stops saying yes before lameduck begins
    "health" => health::Health,
    "prometheus" => prometheus::Prometheus, // above all that answers, so that it sees every reply
    "errors" => errors::Errors,
    "log" => log::Log,
    "local" => local::Local,
    "any" => any::Any,
    "chaos" => chaos::Chaos,
    "loadbalance" => loadbalance::Loadbalance, // above cache: stored answers are shuffled anew
    "rewrite" => rewrite::Rewrite, // above acl and cache: both see the new question
    "autopath" => autopath::Autopath, // above acl and cache: each name that it tries goes through both
    "acl" => acl::Acl, // above cache: a stored answer is only for those who may ask
    "cache" => cache::Cache, // above all that asks: answers before any zone or upstream
    "header" => header::Header, // below cache: a stored reply has the flags that were set
    "tls" => tls::Tls,
    "minimal" => minimal::Minimal,
    #[cfg(feature = "template")]
    "template" => template::Template,
    "hosts" => hosts::Hosts,
    #[cfg(feature = "kubernetes")]
    "k8s_external" => k8s_external::K8sExternal,
    #[cfg(feature = "kubernetes")]
    "kubernetes" => kubernetes::Kubernetes, // below hosts, above file: a name of the cluster is its own
    "file" => file::File,
    "loop" => loop_::Loop,
    "forward" => forward::Forward,
    "grpc" => grpc::Grpc,
    "erratic" => erratic::Erratic,
    "whoami" => whoami::Whoami, // never passes a query on: whatever stands after it is out of reach
    #[cfg(feature = "view")]
    "view" => view::View, // asked before the chain runs; in it, it does nothing
    #[cfg(test)]
    "panicker" => panicker::Panicker,
}

/// What a row does while it waits.
type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What `-plugins` prints: the names of the built directives, sorted, one a line.
pub fn list() -> String {
    let mut names = BUILT.to_vec();
    names.sort_unstable();
    names.iter().flat_map(|name| [*name, "\n"]).collect()
}

/// One directive. An instance lives on one thread; `Config` is parsed once and shared by all of them.
///
/// A query from memory goes one of two ways. The long one is `on_query` and `on_reply`, with all of the query in hand; a plugin that
/// has no more than these is complete. The short one is the steps whose names begin with `plain`, for queries that need no [`Query`]: what
/// they answer must be what the long way would, octet for octet, and [`Plugin::plain_part`] says which of them there are.
///
/// Hooks take `&self`: many queries of a task thread wait in one instance at a time, so state that changes sits in cells. State of one
/// query belongs on the query ([`Query::stash`]).
pub trait Plugin: Sized {
    /// What `setup` made of the tokens.
    type Config: Send + Sync + 'static;

    /// Whether the directive has a place in the chain. `false`: it only changes settings in `setup`.
    const HANDLER: bool = true;

    /// Reads all occurrences of the directive in one server block.
    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Self::Config, SetupError>;

    /// Makes the instance of one thread. Off the path of queries: may allocate and lock.
    fn open(config: &Arc<Self::Config>, core: &OpenCx<'_>) -> Self;

    /// The way down. Must not block, lock or allocate when it answers from memory.
    fn on_query(&self, query: &mut Query) -> Flow {
        let _ = query;
        Flow::Next
    }

    /// After `on_query` parked: the same step on a task thread, where it may wait. Its `Flow` takes the place of the parked one.
    fn wait_query(&self, query: &mut Query, cx: &TaskCx) -> impl Future<Output = Flow> {
        let _ = (query, cx);
        async { Flow::Next }
    }

    /// The way up, for every query that passed this row with `Next`, answered or not. Only `Next` and `Park` are meant here.
    fn on_reply(&self, query: &mut Query) -> Flow {
        let _ = query;
        Flow::Next
    }

    /// After `on_reply` parked.
    fn wait_reply(&self, query: &mut Query, cx: &TaskCx) -> impl Future<Output = ()> {
        let _ = (query, cx);
        async {}
    }

    /// Detached work on a copy of the query, asked for with [`Query::background`]: a prefetch, a refresh.
    fn background(&self, query: &mut Query, cx: &TaskCx) -> impl Future<Output = ()> {
        let _ = (query, cx);
        async {}
    }

    /// Sets metadata labels before views are evaluated and before the chain runs. Called only in blocks with *metadata*; *metadata*
    /// itself, the first row, switches collection on for its zones.
    fn on_metadata(&self, query: &mut Query) {
        let _ = query;
    }

    /// What the plugin does for a query on the short way, which answers from memory without a [`Query`]; see [`PlainQuery`]. By default
    /// it bars that way.
    fn plain_part(&self) -> PlainPart {
        PlainPart::Bars
    }

    /// Asks the CPU for what [`Plugin::plain_query`] will read; called for a whole batch before the first answer, where
    /// [`PlainPart`] says that it pays.
    fn plain_prefetch(&self, plain: &Plain, what: Fetch) {
        let _ = (plain, what);
    }

    /// The way down: decides and leaves no trace. An answer is written whole to `out`, but for id and OPT record, and described in
    /// [`PlainQuery::written`].
    fn plain_query<'a>(&'a self, query: &mut PlainQuery<'a>, out: &mut [u8]) -> PlainFlow {
        let _ = (query, out);
        PlainFlow::Long
    }

    /// The way up: may change the order of what was written. `false`: this query needs the long way.
    fn plain_reply(&self, query: &PlainQuery<'_>, out: &mut [u8]) -> bool {
        let _ = (query, out);
        true
    }

    /// The reply is certain: counts and logs. `reply` is the whole message.
    fn plain_done(&self, query: &PlainQuery<'_>, reply: &[u8]) {
        let _ = (query, reply);
    }

    /// Lets go of what was replaced since the last query. Called after something was published, on threads that may get no query.
    fn refresh(&self) {}

    /// Whether the block takes this query at all (*view*).
    fn filter(&self, query: &mut Query) -> bool {
        let _ = query;
        true
    }
}

/// What a step of a chain says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on with the next row.
    Next,
    /// Answered: `Query::answer` is set, go back up.
    Reply,
    /// Wait on a task thread.
    Park,
    /// No reply at all.
    Drop,
}
