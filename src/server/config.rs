//! A Corefile turned into blocks and listeners: everything that can be known before a socket is opened.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::designated::Designated;
use super::router::Router;
use crate::corefile::address::{self, Key, Overlap, Scheme};
use crate::corefile::{
    self, Args, Corefile, Known, ServerBlock, SetupError, Source, ZoneName, hints,
};
use crate::limits;
use crate::plugin::{
    self, AnyConfig, BUILT, BlockSettings, Carry, Lifecycle, PLUGIN_CFG, SetupCx, Site,
    TransportBounds,
};
use crate::tls;
use crate::transport::interfaces::Host;
use crate::transport::proxy::{Proxies, Sessions};
use crate::tune::Settings;

/// One parsed configuration. Immutable once it is built; shared by all threads.
pub struct Config {
    /// Counts the configurations of this process.
    pub generation: u64,
    /// The server blocks, in Corefile order.
    pub blocks: Vec<Block>,
    /// The listeners: each a group of keys with one scheme, address and port.
    pub listeners: Vec<Listener>,
    /// SHA-512 of the parsed tokens.
    pub digest: String,
    /// EDNS option codes that are echoed besides the standard ones.
    pub echoed_options: Vec<u16>,
    /// What `-tune` sets; the same for the life of the process.
    pub tune: Arc<Settings>,
    /// What clients are told of the encrypted listeners, where `-tune` says so.
    pub designated: Option<Designated>,
}

/// One server block.
pub struct Block {
    /// Its zones, in the order of its keys.
    pub zones: Vec<ZoneName>,
    /// What its directives set.
    pub settings: BlockSettings,
    /// Its handlers in table order.
    pub plugins: Vec<AnyConfig>,
    /// One for each key and address: labels of metrics.
    pub sites: Vec<Site>,
}

/// One address to listen on.
pub struct Listener {
    /// The transport.
    pub scheme: Scheme,
    /// The address; `None` is the dual-stack wildcard.
    pub host: Option<Host>,
    /// The port as written: 0 asks for a free one.
    pub port: u16,
    /// `dns://:53`: the `server` label.
    pub label: String,
    /// One line for each key at start-up, sorted by zone.
    pub lines: Vec<(Key, String)>,
    /// Zones to blocks.
    pub router: Router,
    /// Whether classes other than IN reach the plugins.
    pub any_class: bool,
    /// Whether panics are left to surface.
    pub debug: bool,
    /// Sockets for each address, where *multisocket* says.
    pub sockets: Option<usize>,
    /// Stream timeouts.
    pub timeouts: Timeouts,
    /// The certificate, where *tls* names one and the transport has use for it.
    pub tls: Option<Arc<tls::Live>>,
    /// Proxies that may say who their client is, where *proxyproto* names some.
    pub proxies: Option<Arc<Proxies>>,
    /// Bounds of its transport, and what they bound.
    pub load: Load,
}

/// What a listener holds on all cores, and may hold.
#[derive(Debug, Default)]
pub struct Load {
    /// Connections that it may hold; 0 = any number.
    pub connections_max: usize,
    /// Streams of each connection; 0 = any number.
    pub streams_max: usize,
    /// Streams of all connections that may be answered at a time (QUIC); 0 = any number.
    pub workers_max: usize,
    /// Connections that are open, those that an earlier configuration accepted included: `connections <= connections_max` where that is not
    /// 0 and did not shrink.
    pub connections: Arc<AtomicUsize>,
    /// Streams that wait for others, those of an earlier configuration not counted: `workers <= workers_max` where that is not 0.
    pub workers: Arc<AtomicUsize>,
}

/// Timeouts and bounds of streams (compare *timeouts*).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the first query.
    pub read: Duration,
    /// For writing a reply.
    pub write: Duration,
    /// Between queries.
    pub idle: Duration,
    /// Queries on one connection.
    pub max_queries: Option<u32>,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            read: Duration::from_secs(3),
            write: Duration::from_secs(5),
            idle: Duration::from_secs(10),
            max_queries: None,
        }
    }
}

impl Timeouts {
    /// Those of a transport where *timeouts* says nothing.
    fn of(scheme: Scheme) -> Timeouts {
        let mut timeouts = Timeouts::default();
        if scheme == Scheme::Grpc {
            // CoreDNS sets none there, and clients keep their channels.
            timeouts.idle = Duration::from_secs(limits::GRPC_IDLE_S);
        }
        timeouts
    }
}

impl Listener {
    /// The socket address to bind.
    pub fn socket_addr(&self) -> SocketAddr {
        match &self.host {
            Some(host) => host.socket_addr(self.port),
            None => SocketAddr::from((Ipv6Addr::UNSPECIFIED, self.port)),
        }
    }
}

/// What building needs to know besides the text.
pub struct Surroundings<'a> {
    /// Environment and files.
    pub source: &'a dyn Source,
    /// What `-tune` sets, and with it the data cores of the process.
    pub tune: &'a Arc<Settings>,
    /// `-dns.port`.
    pub default_port: u16,
    /// What survives reloads.
    pub carry: &'a Carry,
    /// Number of this configuration.
    pub generation: u64,
}

/// What a built configuration leaves to be done when it is committed.
pub struct Built {
    /// The configuration.
    pub config: Config,
    /// Hooks, periodic work and endpoints.
    pub life: Lifecycle,
    /// Warnings of the parser.
    pub warnings: Vec<String>,
}

/// Parses a Corefile and sets every directive up. Nothing outside is changed, whatever the outcome.
///
/// # Errors
/// The message as CoreDNS prints it after start-up fails: file, line, directive and reason.
pub fn build(name: &str, text: &str, around: &Surroundings<'_>) -> Result<Built, String> {
    let corefile = parse(name, text, around.source)?;
    let mut keys = Vec::with_capacity(corefile.blocks.len());
    for block in &corefile.blocks {
        keys.push(address::keys(block, around.default_port).map_err(|error| error.to_string())?);
    }
    let digest = corefile.digest();
    let mut life = Lifecycle::default();
    let mut drafts: Vec<Draft> = corefile
        .blocks
        .iter()
        .zip(keys)
        .map(|(block, keys)| Draft::new(block, keys))
        .collect();
    for name in BUILT {
        for (index, draft) in drafts.iter_mut().enumerate() {
            draft
                .set_up(name, index, &digest, &mut life, around)
                .map_err(|error| format!("plugin/{name}: {error}"))?;
        }
    }
    let mut listeners = Listeners::new(around.carry);
    for (index, draft) in drafts.iter_mut().enumerate() {
        let index = u16::try_from(index).map_err(|_| "too many server blocks".to_owned())?;
        listeners
            .add_block(index, draft)
            .map_err(|error| error.to_string())?;
    }
    let blocks: Vec<Block> = drafts.into_iter().map(Draft::finish).collect();
    let echoed = blocks
        .iter()
        .flat_map(|block| &block.settings.echoed_options);
    let echoed_options = echoed.copied().collect();
    let ddr = around.tune.ddr.as_deref();
    let config = Config {
        designated: ddr.and_then(|name| Designated::of(name, &listeners.list)),
        generation: around.generation,
        blocks,
        listeners: listeners.list,
        digest,
        echoed_options,
        tune: around.tune.clone(),
    };
    Ok(Built {
        config,
        life,
        warnings: corefile.warnings,
    })
}

/// SHA-512 of a Corefile's tokens, be its directives known or not.
///
/// # Errors
/// It does not parse: file, line and reason.
pub fn digest(name: &str, text: &str) -> Result<String, String> {
    corefile::parse(name, text, &|_: &str| Known::Yes, &corefile::RealSource)
        .map(|corefile| corefile.digest())
        .map_err(|error| error.to_string())
}

fn parse(name: &str, text: &str, source: &dyn Source) -> Result<Corefile, String> {
    let known = |name: &str| {
        if BUILT.contains(&name) {
            Known::Yes
        } else if PLUGIN_CFG.contains(&name) {
            Known::NotBuilt
        } else {
            hints::of(name).map_or(Known::No, Known::Outside)
        }
    };
    corefile::parse(name, text, &known, source).map_err(|error| error.to_string())
}

// === Draft ===

/// A block while its directives are being set up.
struct Draft<'a> {
    block: &'a ServerBlock,
    keys: Vec<Key>,
    zones: Vec<ZoneName>,
    digest: String,
    directives: Vec<&'static str>,
    settings: BlockSettings,
    plugins: Vec<AnyConfig>,
    sites: Vec<Site>,
}

impl<'a> Draft<'a> {
    fn new(block: &'a ServerBlock, keys: Vec<Key>) -> Draft<'a> {
        let zones = keys.iter().map(|key| key.zone.clone()).collect();
        let present = |name: &&'static str| {
            block
                .directives
                .iter()
                .any(|directive| directive.name == **name)
        };
        Draft {
            digest: block.digest(),
            directives: BUILT.iter().copied().filter(present).collect(),
            block,
            keys,
            zones,
            settings: BlockSettings::default(),
            plugins: Vec::new(),
            sites: Vec::new(),
        }
    }

    fn set_up(
        &mut self,
        name: &str,
        index: usize,
        digest: &str,
        life: &mut Lifecycle,
        around: &Surroundings<'_>,
    ) -> Result<(), SetupError> {
        let Some(directive) = self
            .block
            .directives
            .iter()
            .find(|directive| directive.name == name)
        else {
            return Ok(());
        };
        let mut cx = SetupCx {
            zones: &self.zones,
            block_index: index,
            block_digest: &self.digest,
            digest,
            settings: &mut self.settings,
            life,
            carry: around.carry,
            cores: around.tune.cores.len(),
            directives: &self.directives,
            default_port: around.default_port,
            tune: around.tune,
        };
        if let Some(outcome) = plugin::setup(name, &mut Args::new(directive), &mut cx) {
            let config = outcome?;
            if config.is_handler() {
                self.plugins.push(config);
            }
        }
        Ok(())
    }

    fn finish(self) -> Block {
        Block {
            zones: self.zones,
            settings: self.settings,
            plugins: self.plugins,
            sites: self.sites,
        }
    }
}

// === Listeners ===

/// Groups keys by scheme, address and port.
struct Listeners<'a> {
    list: Vec<Listener>,
    overlap: Overlap,
    carry: &'a Carry,
}

impl<'a> Listeners<'a> {
    fn new(carry: &'a Carry) -> Listeners<'a> {
        Listeners {
            list: Vec::new(),
            overlap: Overlap::default(),
            carry,
        }
    }

    fn add_block(&mut self, index: u16, draft: &mut Draft<'_>) -> Result<(), SetupError> {
        let carry = self.carry;
        let hosts: BTreeSet<Option<Host>> = match (draft.settings.bound, &draft.settings.listen[..])
        {
            (true, listen) => listen.iter().cloned().map(Some).collect(),
            (false, _) => BTreeSet::from([None]),
        };
        for key in &draft.keys {
            check_transport(key, &draft.settings)?;
            for host in &hosts {
                let text = host.as_ref().map(Host::to_string).unwrap_or_default();
                self.overlap
                    .add(key, &text, draft.settings.view.is_some())?;
                let site = u16::try_from(draft.sites.len())
                    .map_err(|_| SetupError::plain("too many keys in a block"))?;
                let label = server_label(key, &text);
                let view = draft.settings.view.clone().unwrap_or_default();
                draft.sites.push(Site {
                    server: label.clone(),
                    zone: key.zone.as_str().to_owned(),
                    view,
                });
                let listener = self.group(key, host.as_ref(), label)?;
                listener.router.add(&key.zone, index, site);
                listener.take(&draft.settings, carry);
                listener.lines.push((key.clone(), key.listener_line(&text)));
                listener
                    .lines
                    .sort_by(|one, other| one.0.zone.cmp(&other.0.zone));
            }
        }
        Ok(())
    }

    fn group(
        &mut self,
        key: &Key,
        host: Option<&Host>,
        label: String,
    ) -> Result<&mut Listener, SetupError> {
        let same = |listener: &Listener| {
            (listener.scheme, listener.host.as_ref(), listener.port) == (key.scheme, host, key.port)
        };
        let at = match self.list.iter().position(same) {
            Some(at) => at,
            None if self.list.len() >= limits::LISTENERS => {
                return Err(SetupError::plain(format!(
                    "more than {} listeners",
                    limits::LISTENERS
                )));
            }
            None => {
                let open = self.carry.obtain(&label, Arc::<AtomicUsize>::default);
                self.list.push(Listener {
                    scheme: key.scheme,
                    host: host.cloned(),
                    port: key.port,
                    label,
                    lines: Vec::new(),
                    router: Router::default(),
                    any_class: false,
                    debug: false,
                    sockets: None,
                    timeouts: Timeouts::of(key.scheme),
                    tls: None,
                    proxies: None,
                    load: Load::new(key.scheme, open),
                });
                self.list.len() - 1
            }
        };
        Ok(&mut self.list[at])
    }
}

/// Whether the transport of a key is built, and has what it needs.
fn check_transport(key: &Key, settings: &BlockSettings) -> Result<(), SetupError> {
    let needs = match key.scheme {
        Scheme::Https3 => "DoH3 requires TLS",
        Scheme::Quic => "DoQ requires TLS",
        _ => return Ok(()),
    };
    match settings.tls {
        Some(_) => Ok(()),
        None => Err(SetupError::plain(format!(
            "{needs}: {key} needs a tls directive in its block"
        ))),
    }
}

/// `dns://:53`, `dns://127.0.0.1:53`, `dns://[::1]:53`: what metrics and log lines call a server.
fn server_label(key: &Key, host: &str) -> String {
    let (scheme, port) = (key.scheme.as_str(), key.port);
    match host.contains(':') {
        true => format!("{scheme}://[{host}]:{port}"),
        false => format!("{scheme}://{host}:{port}"),
    }
}

impl Listener {
    /// Merges a block's settings: the last *tls*, *proxyproto* and bounds win, the first *multisocket* of the group counts, the last
    /// timeouts win.
    fn take(&mut self, settings: &BlockSettings, carry: &Carry) {
        self.any_class |= settings.any_class;
        self.debug |= settings.debug;
        if self.lines.is_empty() {
            self.sockets = settings.sockets;
        }
        if self.scheme != Scheme::Dns {
            self.tls = settings.tls.clone().or(self.tls.take());
        }
        if let Some(policy) = &settings.proxies {
            let tracking = policy.tracking.filter(|_| {
                let over_udp = [Scheme::Dns, Scheme::Quic, Scheme::Https3];
                over_udp.contains(&self.scheme)
            });
            // Kept over reloads: a session has told its client once and will not again.
            let sessions = tracking.map(|tracking| {
                let key = format!("{} {}", self.label, tracking.sessions);
                carry.obtain(&key, || Arc::new(Sessions::new(tracking.sessions)))
            });
            self.proxies = Some(Arc::new(Proxies::new(policy.clone(), sessions)));
        }
        self.load.take(self.scheme, &settings.bounds);
        let timeouts = &mut self.timeouts;
        timeouts.read = settings.read_timeout.unwrap_or(timeouts.read);
        timeouts.write = settings.write_timeout.unwrap_or(timeouts.write);
        timeouts.idle = settings.idle_timeout.unwrap_or(timeouts.idle);
        timeouts.max_queries = settings.max_tcp_queries.or(timeouts.max_queries);
    }
}

impl Load {
    /// CoreDNS's numbers.
    fn new(scheme: Scheme, connections: Arc<AtomicUsize>) -> Load {
        let (connections_max, streams_max, workers_max) = match scheme {
            Scheme::Dns | Scheme::Tls => (0, 0, 0),
            Scheme::Https => (limits::TRANSPORT_CONNECTIONS, 0, 0),
            Scheme::Https3 | Scheme::Grpc => {
                (limits::TRANSPORT_CONNECTIONS, limits::TRANSPORT_STREAMS, 0)
            }
            Scheme::Quic => (
                limits::TRANSPORT_CONNECTIONS,
                limits::TRANSPORT_STREAMS,
                limits::QUIC_WORKERS,
            ),
        };
        Load {
            connections_max,
            streams_max,
            workers_max,
            connections,
            ..Load::default()
        }
    }

    fn take(&mut self, scheme: Scheme, bounds: &TransportBounds) {
        let own = match scheme {
            Scheme::Dns | Scheme::Tls => return,
            Scheme::Https => bounds.https,
            Scheme::Https3 => bounds.https3,
            Scheme::Quic => bounds.quic,
            Scheme::Grpc => bounds.grpc,
        };
        self.connections_max = own.connections.unwrap_or(self.connections_max);
        self.streams_max = own.streams.unwrap_or(self.streams_max);
        if scheme == Scheme::Quic {
            self.workers_max = bounds.quic_workers.unwrap_or(self.workers_max);
        }
    }
}

/// Shared by the threads of a configuration.
pub type Shared = Arc<Config>;
