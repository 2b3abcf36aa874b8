//! The settings themselves: plain data, resolved for this machine. A setting that nobody gave has the value that the program always had.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::lang::cidr::NetSet;
use crate::limits;
use crate::runtime::cores::CorePlan;
use crate::runtime::{Backend, Seat};
use crate::tls::Pin;

/// How names are proven to an ACME authority to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AcmeChallenge {
    /// A TXT record on each DNS listener (RFC 8555 section 8.4); CoreDNS's way.
    #[default]
    Dns01,
    /// A file on port 80 (RFC 8555 section 8.3).
    Http01,
    /// A certificate in a handshake on port 443 (RFC 8737).
    TlsAlpn01,
}

impl AcmeChallenge {
    /// All of them.
    pub const ALL: [AcmeChallenge; 3] = [
        AcmeChallenge::Dns01,
        AcmeChallenge::Http01,
        AcmeChallenge::TlsAlpn01,
    ];
}

impl std::fmt::Display for AcmeChallenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            AcmeChallenge::Dns01 => "dns-01",
            AcmeChallenge::Http01 => "http-01",
            AcmeChallenge::TlsAlpn01 => "tls-alpn-01",
        })
    }
}

/// Settings of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// One for each data core, in order; never empty.
    pub cores: Vec<CoreSettings>,
    /// How the names of *tls* `acme` are proven to be ours.
    pub acme_challenge: AcmeChallenge,
    /// The name that certificates of the encrypted listeners have, by which clients are told of them (RFC 9462); `None`: they are not.
    pub ddr: Option<String>,
    /// The network card whose queues the cores' `nic_queue` counts.
    pub nic: Option<String>,
    /// File that the caches are written to and warmed from; `None` for none.
    pub cache_snapshot: Option<PathBuf>,
    /// Between two writes of `cache_snapshot`.
    pub cache_snapshot_interval: Duration,
    /// Octets of entries that all caches together may hold; `None`: what their capacities in entries allow.
    pub cache_octets_max: Option<usize>,
    /// File that what is known of a cluster is written to and read from at start, with a mark of the cluster behind its name; `None` for none.
    pub kubernetes_snapshot: Option<PathBuf>,
    /// Between two looks whether `kubernetes_snapshot` must be written.
    pub kubernetes_snapshot_interval: Duration,
    /// Whether DNS over HTTPS has a JSON form too.
    pub doh_json: bool,
    /// HTTP proxies that are believed what they tell of the client's address.
    pub doh_trusted_proxies: NetSet,
    /// Keys that upstreams over TLS must have, by address; at most `limits::UPSTREAM_PINS` each.
    pub upstream_pins: BTreeMap<IpAddr, Vec<Pin>>,
    /// Upstreams that are told of their clients by PROXY headers, without the scope of a link-local address; at most
    /// `limits::TUNE_PROXIED_UPSTREAMS`.
    pub upstream_proxy_protocol: BTreeSet<(IpAddr, u16)>,
}

impl Settings {
    /// Default settings for these cores, whose task threads wait as `backend` says.
    pub fn of_plan(plan: &[CorePlan], backend: Backend) -> Settings {
        let core = |core: &CorePlan| CoreSettings {
            cpu: core.cpu,
            backend,
            ..CoreSettings::default()
        };
        Settings {
            cores: plan.iter().map(core).collect(),
            acme_challenge: AcmeChallenge::default(),
            ddr: None,
            nic: None,
            cache_snapshot: None,
            cache_snapshot_interval: limits::CACHE_SNAPSHOT_INTERVAL,
            cache_octets_max: None,
            kubernetes_snapshot: None,
            kubernetes_snapshot_interval: limits::KUBE_SNAPSHOT_INTERVAL,
            doh_json: false,
            doh_trusted_proxies: NetSet::default(),
            upstream_pins: BTreeMap::new(),
            upstream_proxy_protocol: BTreeSet::new(),
        }
    }

    /// Default settings for so many floating cores on epoll, which runs everywhere.
    pub fn floating(cores: usize) -> Settings {
        let plan: Vec<CorePlan> = (0..cores)
            .map(|index| CorePlan { index, cpu: None })
            .collect();
        Settings::of_plan(&plan, Backend::Epoll)
    }

    /// Whether the upstream at this address is told of its clients (`upstream_proxy_protocol`).
    pub fn tells_clients(&self, to: SocketAddr) -> bool {
        self.upstream_proxy_protocol.contains(&(to.ip(), to.port()))
    }

    /// The settings of a core; those of the first for one that does not exist.
    pub fn core(&self, core: usize) -> &CoreSettings {
        self.cores.get(core).unwrap_or(&self.cores[0])
    }
}

/// Settings of one data core. The bounds of each are in `limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreSettings {
    /// The CPU that its threads stay on; `None` = they float.
    pub cpu: Option<u32>,
    /// The NUMA node that its memory should come from, and that it floats over without `cpu`; `None` = the kernel's choice.
    pub numa_node: Option<u32>,
    /// The queue of `Settings::nic` whose interrupts its CPU should take.
    pub nic_queue: Option<u32>,
    /// How its task thread waits.
    pub backend: Backend,
    /// Datagrams taken at once: `1 <= batch_len <= limits::BATCH`.
    pub batch_len: usize,
    /// SO_RCVBUF of its UDP sockets.
    pub udp_receive_buffer_octets: usize,
    /// SO_SNDBUF of its UDP sockets; `None` = the kernel's default (net.core.wmem_default).
    pub udp_send_buffer_octets: Option<usize>,
    /// Microseconds that its packet thread asks the network card for packets before it sleeps; 0 = interrupts alone.
    pub busy_poll_us: u32,
    /// Packets taken from the card in one busy poll: `1 <= busy_poll_budget <= limits::BUSY_POLL_BUDGET_MAX`.
    pub busy_poll_budget: u16,
    /// While busy polling goes on, the card's interrupts and softirqs stay off (SO_PREFER_BUSY_POLL).
    pub prefer_busy_poll: bool,
    /// Nanoseconds that interrupts stay off between two busy polls which both found packets; 0 = not at all.
    pub irq_suspend_ns: u64,
    /// Whether replies to one client leave as one segmented packet (UDP_SEGMENT).
    pub gso: bool,
    /// Whether its part of the caches asks for huge pages.
    pub huge_pages: bool,
    /// The weight of its part of each cache: a core holds `cache_share` of the sum over all cores.
    pub cache_share: u32,
    /// Queries that may wait on its task thread; further ones are shed.
    pub parked_max: usize,
    /// TCP connections; the newest beyond it is closed at once.
    pub tcp_connections_max: usize,
    /// Exchanges with upstreams at once: `upstream_in_flight_max <= parked_max`.
    pub upstream_in_flight_max: usize,
    /// Idle sockets kept for one upstream and protocol.
    pub upstream_idle_max: usize,
    /// The nice value of its threads (setpriority(2)): -20 runs first, 19 last.
    pub nice: i8,
    /// Nanoseconds that its packet thread runs before others on its CPU get their turn (sched_setattr(2)); 0 = as the kernel likes.
    pub slice_ns: u64,
}

impl CoreSettings {
    /// Where its task thread sits.
    pub fn task_seat(&self) -> Seat {
        Seat {
            is_pinned: self.cpu.is_some(),
            numa_node: self.numa_node,
            nice: self.nice,
            slice_ns: match self.slice_ns {
                0 => 0,
                packets_ns => packets_ns + limits::STINT_NS,
            },
        }
    }

    /// Where its packet thread sits.
    pub fn packet_seat(&self) -> Seat {
        Seat {
            slice_ns: self.slice_ns,
            ..self.task_seat()
        }
    }
}

impl Default for CoreSettings {
    fn default() -> CoreSettings {
        CoreSettings {
            cpu: None,
            numa_node: None,
            nic_queue: None,
            backend: Backend::Epoll,
            batch_len: limits::BATCH,
            udp_receive_buffer_octets: limits::UDP_RECEIVE_BUFFER,
            udp_send_buffer_octets: None,
            busy_poll_us: 0,
            busy_poll_budget: limits::BUSY_POLL_BUDGET,
            prefer_busy_poll: false,
            irq_suspend_ns: 0,
            gso: true,
            huge_pages: false,
            cache_share: 1,
            parked_max: limits::PARKED_PER_CORE,
            tcp_connections_max: limits::TCP_CONNECTIONS_PER_CORE,
            upstream_in_flight_max: limits::UPSTREAM_IN_FLIGHT_PER_CORE,
            upstream_idle_max: limits::UPSTREAM_IDLE,
            nice: 0,
            slice_ns: limits::SLICE_NS,
        }
    }
}
