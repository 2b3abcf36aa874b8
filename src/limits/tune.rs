//! The most that a `-tune` file may ask for.

use std::time::Duration;

use super::{PARKED_PER_CORE, TASKS_PER_CORE, TCP_CONNECTIONS_PER_CORE};

/// Octets of one socket buffer: the kernel doubles the number in 32 bits with a sign.
pub const TUNE_SOCKET_BUFFER_OCTETS: usize = 1 << 30 >> 1;
/// Octets of one socket buffer below which one batch of full datagrams does not fit.
pub const TUNE_SOCKET_BUFFER_OCTETS_MIN: usize = 64 << 10;
/// Queries that may wait on one core: half of its tasks. As many exchanges with upstreams take 256 MiB of buffers.
pub const TUNE_PARKED: usize = TASKS_PER_CORE / 2;
/// TCP connections of one core: the other half.
pub const TUNE_TCP_CONNECTIONS: usize = TASKS_PER_CORE / 2;
/// Idle sockets of one core for one upstream: each takes one of the 64,512 ports of an address.
pub const TUNE_UPSTREAM_IDLE: usize = 16_384;
/// Microseconds of one busy poll: a core that spins longer gives its task thread no turn.
pub const BUSY_POLL_US_MAX: u32 = 10_000;
/// Packets of one busy poll; the kernel's default.
pub const BUSY_POLL_BUDGET: u16 = 8;
/// The kernel wants CAP_NET_ADMIN for a larger budget than NAPI's weight.
pub const BUSY_POLL_BUDGET_MAX: u16 = 64;
/// Interrupts that stay off longer than this delay every packet that comes after a pause.
pub const IRQ_SUSPEND_NS_MAX: u64 = 100_000_000;
/// The slice of a packet thread, and the shortest that the kernel grants (sched(7)). Beside a busy program the longest wait for the CPU
/// is a few slices, and the kernel's own is 3 ms.
pub const SLICE_NS: u64 = 100_000;
/// The longest slice that the kernel grants.
pub const SLICE_NS_MAX: u64 = 100_000_000;
/// The largest weight of one core's part of the caches; the least is 1.
pub const CACHE_SHARE_MAX: u32 = 1_000;
/// Between two writes of the cache's snapshot: what a crash forgets is at most this old.
pub const CACHE_SNAPSHOT_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// Shortest pause between two snapshots: each writes the whole cache.
pub const CACHE_SNAPSHOT_INTERVAL_MIN: Duration = Duration::from_secs(10);
/// Longest pause between two snapshots; TTLs above a day are rare.
pub const CACHE_SNAPSHOT_INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);
/// The least that the caches may be bounded to: less holds no answer of 64 KiB for each shard.
pub const CACHE_OCTETS_MIN: usize = 1 << 20;
/// The most that the caches may be bounded to; a typing error, not a machine.
pub const CACHE_OCTETS_MAX: usize = 1 << 40;

const _: () = assert!(TUNE_PARKED + TUNE_TCP_CONNECTIONS <= TASKS_PER_CORE);
const _: () = assert!(
    PARKED_PER_CORE <= TUNE_PARKED && TCP_CONNECTIONS_PER_CORE <= TUNE_TCP_CONNECTIONS,
    "defaults keep their bounds"
);
/// Networks of one list in a settings file: each address of a large fleet of proxies fits.
pub const TUNE_NETWORKS: usize = 4_096;
/// Upstreams that a settings file lists for the PROXY protocol: several for each *forward* line of a large Corefile.
pub const TUNE_PROXIED_UPSTREAMS: usize = 4_096;
/// Octets of a settings file: one with a table for each of 8,192 cores fits.
pub const TUNE_FILE_OCTETS: usize = 4 << 20;
/// Cores that a settings file may name, one for each CPU that Linux can be built for.
pub const TUNE_CORES: usize = 8_192;
