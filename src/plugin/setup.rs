//! What a directive's `setup` sees and leaves behind, and what its `open` gets on each core.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::admin;
use crate::control;
use crate::corefile::ZoneName;
#[cfg(feature = "kubernetes")]
use crate::kube;
use crate::runtime::epoch::Pin;
use crate::search::SearchPath;
use crate::tls;
use crate::transport::interfaces::Host;
use crate::transport::proxy;
use crate::tune::{CoreSettings, Settings};

/// Settings of a server block that its listeners or the server read; directives without a place in the chain write them.
#[derive(Debug, Clone)]
pub struct BlockSettings {
    /// Addresses to listen on; empty means all (*bind*).
    pub listen: Vec<Host>,
    /// Whether *bind* was given: an empty list then means no listener at all.
    pub bound: bool,
    /// Base of relative paths (*root*).
    pub root: PathBuf,
    /// *debug*: process-wide debug log, and panics are not recovered on the listeners of this block.
    pub debug: bool,
    /// *errors stacktrace*.
    pub stacktrace: bool,
    /// Sockets for each address (*multisocket*).
    pub sockets: Option<usize>,
    /// TCP read timeout of the first query (*timeouts*).
    pub read_timeout: Option<Duration>,
    /// TCP write timeout.
    pub write_timeout: Option<Duration>,
    /// TCP idle timeout between queries.
    pub idle_timeout: Option<Duration>,
    /// Queries on one TCP connection, `None` for no limit.
    pub max_tcp_queries: Option<u32>,
    /// Whether classes other than IN reach the plugins (*chaos*, *forward*).
    pub any_class: bool,
    /// The certificate of encrypted listeners (*tls*).
    pub tls: Option<Arc<tls::Live>>,
    /// Proxies that may say who their client is (*proxyproto*); `None`: no header is looked for.
    pub proxies: Option<Arc<proxy::Policy>>,
    /// Bounds of single transports (*https*, *https3*, *quic*, *grpc_server*).
    pub bounds: TransportBounds,
    /// The name of the *view* filter.
    pub view: Option<String>,
    /// EDNS option codes that replies may echo (*rewrite*); they count for the whole process.
    pub echoed_options: Vec<u16>,
    /// What rows of the block have for each other.
    pub offers: Arc<Offers>,
}

/// What directives say about how much one listener may hold at a time; `None`: they say nothing, and CoreDNS's number counts.
#[derive(Debug, Clone, Default)]
pub struct TransportBounds {
    /// Of `https://`: connections.
    pub https: Bounds,
    /// Of `https3://`: connections, and streams of each.
    pub https3: Bounds,
    /// Of `quic://`: streams of each connection.
    pub quic: Bounds,
    /// Of `quic://`: streams of all connections that are being answered.
    pub quic_workers: Option<usize>,
    /// Of `grpc://`: connections, and streams of each.
    pub grpc: Bounds,
}

/// Bounds of one transport; 0 is no bound.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// Connections of a listener, on all cores.
    pub connections: Option<usize>,
    /// Streams of a connection.
    pub streams: Option<usize>,
}

/// What a row offers to other rows of its block, those above it too: they take it along in `setup` and look into it once all are set up.
#[derive(Default)]
pub struct Offers {
    /// The cluster that the block serves (*kubernetes*).
    #[cfg(feature = "kubernetes")]
    pub cluster: OnceLock<Arc<kube::Served>>,
    /// Where its services are told by their external addresses (*k8s_external*).
    #[cfg(feature = "kubernetes")]
    pub external: OnceLock<Arc<kube::External>>,
    /// Search paths of clients (*autopath*), one for each of `SEARCH_OFFERERS`.
    search: [OnceLock<Arc<dyn SearchPath>>; SEARCH_OFFERERS.len()],
}

impl Offers {
    /// Whether a row of the block has the name in memory, as it is now: what was kept of it elsewhere would only be older.
    #[inline]
    pub fn owns(&self, name: &[u8], pin: &Pin) -> bool {
        #[cfg(feature = "kubernetes")]
        if let Some(served) = self.cluster.get() {
            let view = served.view(pin);
            let external = self.external.get();
            return served.owns(view, name)
                || external.is_some_and(|external| external.owns(served, view, name));
        }
        let _ = (name, pin);
        false
    }

    /// Where the search path of that directive is found; `None`: it offers none.
    pub fn search_slot(directive: &str) -> Option<usize> {
        SEARCH_OFFERERS.iter().position(|name| *name == directive)
    }

    /// Offers the search path of a directive, which must be one of those that do.
    pub fn offer_search(&self, directive: &str, path: Arc<dyn SearchPath>) {
        let slot = Offers::search_slot(directive).and_then(|slot| self.search.get(slot));
        debug_assert!(slot.is_some(), "{directive} is not among SEARCH_OFFERERS");
        if let Some(slot) = slot {
            // A block is set up once, and with it each directive.
            let _ = slot.set(path);
        }
    }

    /// The search path in a slot, once its directive is set up.
    #[inline]
    pub fn search(&self, slot: usize) -> Option<&Arc<dyn SearchPath>> {
        self.search.get(slot)?.get()
    }
}

/// Directives that know search paths of clients.
const SEARCH_OFFERERS: [&str; 2] = ["kubernetes", "erratic"];

impl std::fmt::Debug for Offers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Offers")
    }
}

impl Default for BlockSettings {
    fn default() -> BlockSettings {
        BlockSettings {
            listen: Vec::new(),
            bound: false,
            root: PathBuf::new(),
            debug: false,
            stacktrace: false,
            sockets: None,
            read_timeout: None,
            write_timeout: None,
            idle_timeout: None,
            max_tcp_queries: None,
            any_class: false,
            tls: None,
            proxies: None,
            bounds: TransportBounds::default(),
            view: None,
            echoed_options: Vec::new(),
            offers: Arc::default(),
        }
    }
}

impl BlockSettings {
    /// Joins a relative path to *root*, as `file`, `hosts` and others do.
    pub fn path(&self, path: &str) -> PathBuf {
        if Path::new(path).is_absolute() || self.root.as_os_str().is_empty() {
            PathBuf::from(path)
        } else {
            self.root.join(path)
        }
    }
}

/// One server address, zone and view of a block: what its metrics are labelled with. `Query::route.site` is an index into a block's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// `dns://:53`, or `dns://127.0.0.1:53` with *bind*.
    pub server: String,
    /// The zone of the key, with the final dot.
    pub zone: String,
    /// The view's name, empty without one.
    pub view: String,
}

/// Everything about one configuration that is not a chain: periodic work, HTTP endpoints, what to do at start and stop.
/// Nothing here happens before the configuration is committed.
#[derive(Default)]
pub struct Lifecycle {
    /// Work to repeat on the control thread.
    pub periodic: Vec<Periodic>,
    /// Plugins that *ready* waits for.
    pub readiness: Arc<admin::Readiness>,
    /// HTTP routes by address.
    pub endpoints: admin::Endpoints,
    /// Runs once when the configuration serves; the context tells addresses that were bound.
    pub on_start: Vec<StartHook>,
    /// Runs when the configuration is replaced or the process stops, after lameduck.
    pub on_stop: Vec<Box<dyn FnOnce() + Send>>,
    /// How long to keep answering after SIGTERM (*health* lameduck); the longest wins.
    pub lameduck: Duration,
    /// Called when a shutdown begins, before lameduck (*ready* stops saying yes).
    pub on_drain: Vec<Box<dyn FnOnce() + Send>>,
    /// *reload*: interval and jitter.
    pub reload: Option<(Duration, Duration)>,
}

/// See [`Lifecycle::on_start`].
pub type StartHook = Box<dyn FnOnce(&Started) + Send>;

/// What a start hook may use.
pub struct Started {
    /// The control thread.
    pub control: control::Control,
    /// Bound DNS listeners in order: server address label and the real socket address.
    pub listeners: Vec<(String, std::net::SocketAddr)>,
    /// Whether this is a reload rather than the start of the process.
    pub reloaded: bool,
}

/// See [`SetupCx::every`].
pub struct Periodic {
    /// Between two runs.
    pub interval: Duration,
    /// For log lines about a run that panicked.
    pub name: String,
    /// The work; it may block.
    pub work: Box<dyn FnMut() + Send>,
}

/// Values that outlive a configuration, by type and key: cache stores, upstream health. What no configuration uses any more goes.
#[derive(Default)]
pub struct Carry {
    values: Mutex<BTreeMap<(TypeId, String), Arc<dyn Any + Send + Sync>>>,
}

impl Carry {
    /// The value of that key, made now if there is none.
    pub fn obtain<T: Any + Send + Sync>(&self, key: &str, make: impl FnOnce() -> Arc<T>) -> Arc<T> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = values
            .entry((TypeId::of::<T>(), key.to_owned()))
            .or_insert_with(|| make());
        // The key holds the type, so the downcast cannot fail; the fall-back keeps this free of panics.
        slot.clone()
            .downcast::<T>()
            .unwrap_or_else(|_| unreachable!("values are keyed by their type"))
    }

    /// Drops every value that only this map still holds.
    pub fn prune(&self) {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.retain(|_, value| Arc::strong_count(value) > 1);
    }
}

/// The context of one directive's `setup`. It runs once for each directive of a block, with all its occurrences in one cursor.
pub struct SetupCx<'a> {
    /// The zones of the block's keys, in order.
    pub zones: &'a [ZoneName],
    /// Number of the block in the Corefile, from 0.
    pub block_index: usize,
    /// Digest of the block's own tokens: changes when anything in the block changes.
    pub block_digest: &'a str,
    /// Digest of the whole configuration.
    pub digest: &'a str,
    /// Settings that earlier rows of the table made and that this one may change.
    pub settings: &'a mut BlockSettings,
    /// What happens beside the chain.
    pub life: &'a mut Lifecycle,
    /// Values that survive a reload.
    pub carry: &'a Carry,
    /// Data cores of the process.
    pub cores: usize,
    /// Names of the directives of this block, in table order.
    pub directives: &'a [&'static str],
    /// The default port (`-dns.port`).
    pub default_port: u16,
    /// What `-tune` sets; the same for the life of the process.
    pub tune: &'a Settings,
}

impl SetupCx<'_> {
    /// The path, below *root* if relative.
    pub fn path(&self, path: &str) -> PathBuf {
        self.settings.path(path)
    }

    /// Repeats blocking work on the control side while this configuration serves. The first run is one interval after the start.
    pub fn every(&mut self, interval: Duration, name: &str, work: impl FnMut() + Send + 'static) {
        self.life.periodic.push(Periodic {
            interval,
            name: name.to_owned(),
            work: Box::new(work),
        });
    }
}

/// Which of a core's two threads an instance lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Answers from memory; never waits.
    Packet,
    /// Runs everything that waits.
    Task,
}

/// The context of `open`: one instance for each thread.
pub struct OpenCx<'a> {
    /// The core, from 0.
    pub core: usize,
    /// Data cores of the process.
    pub cores: usize,
    /// Packet or task thread.
    pub role: Role,
    /// The plugin's row in its chain.
    pub row: usize,
    /// The block's sites; `Query::route.site` is an index into it.
    pub sites: &'a [Site],
    /// Zones of the block's keys.
    pub zones: &'a [ZoneName],
    /// Names of the block's handlers in order (the ones with a place in the chain).
    pub handlers: &'a [&'static str],
    /// What `-tune` sets for this core.
    pub tune: &'a CoreSettings,
}

impl OpenCx<'_> {
    /// Whether this is the one instance that registers things that exist once for each configuration.
    pub fn is_first(&self) -> bool {
        self.core == 0 && self.role == Role::Task
    }
}
