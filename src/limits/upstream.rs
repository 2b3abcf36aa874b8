//! What is asked of other servers.

use super::PARKED_PER_CORE;

// === upstream ===

/// Exchanges with upstreams that one core may have in flight; each has a socket of its own. One upstream may have as many as are left
/// free, so that one that stalls takes half; hence no more than `PARKED_PER_CORE`, or the waiting room would fill first.
pub const UPSTREAM_IN_FLIGHT_PER_CORE: usize = 8_192;
/// Octets read of a UDP reply; a longer one counts as truncated, and the client asks again over TCP.
pub const UPSTREAM_UDP_OCTETS: usize = 8_192;
/// Idle sockets that one core keeps for one upstream and protocol.
pub const UPSTREAM_IDLE: usize = 1_024;
/// Exchanges over one UDP socket; then its port is given up, so that a busy port is not there to be found for long.
pub const UPSTREAM_UDP_USES: u32 = 256;
/// Random source ports tried for one socket before the kernel chooses: others may hold some of them.
pub const UPSTREAM_BIND_TRIES: usize = 8;
/// Messages that answer nothing, read in a row before other tasks get their turn.
pub const UPSTREAM_IGNORED_IN_A_ROW: usize = 64;
/// Milliseconds that a health probe waits for its reply.
pub const UPSTREAM_PROBE_MS: u64 = 1_000;
/// Shortest pause between two probes: `health_check 0s` must not spin.
pub const UPSTREAM_PROBE_PAUSE_MS_MIN: u64 = 10;
/// Shortest and longest wait for a TCP connection, between which twice the average is taken; CoreDNS's numbers.
pub const UPSTREAM_DIAL_MS_MIN: u64 = 1_000;
/// See [`UPSTREAM_DIAL_MS_MIN`].
pub const UPSTREAM_DIAL_MS_MAX: u64 = 30_000;
/// TLS sessions that are kept for one upstream to be resumed, by all cores: rustls keeps up to eight tickets for each name.
pub const UPSTREAM_TLS_SESSIONS: usize = 32;
/// Connections with several queries each that one core opens to one upstream over TLS. Servers that answer one query after the other
/// (CoreDNS does) hold up those behind a slow one, so there is one for every few queries that an upstream may have in flight.
pub const UPSTREAM_SESSIONS: usize = 512;
/// Queries of one such connection above which one more is opened, if there may be one.
pub const UPSTREAM_SESSION_EASY: usize = 8;
/// Queries in flight on one connection over TLS; beyond it the exchange is refused.
pub const UPSTREAM_SESSION_QUERIES: usize = 512;
/// The same where the protocol keeps streams apart (HTTP/2): servers allow 100 and more, ours 256.
pub const UPSTREAM_STREAMS: usize = 256;
/// Streams of one connection above which one more is opened, if there may be one: servers may be spread over machines.
pub const UPSTREAM_STREAMS_EASY: usize = 64;
/// Connections with streams that one core keeps to one upstream.
pub const UPSTREAM_STREAM_SESSIONS: usize = 16;
/// Octets that wait for the task of a connection over TLS, beyond which the connection takes no more: 512 queries, and some of them large.
pub const UPSTREAM_SESSION_UNSENT: usize = 256 << 10;
/// Connections with several queries that one core is opening to one upstream at a time: a handshake takes the upstream most of a millisecond.
pub const UPSTREAM_DIALS: usize = 4;
/// Connections that may end under one query before it fails with them; what makes a server close them ends no more.
pub const UPSTREAM_TRIES: usize = 4;
/// Octets of the headers of one HTTP response from an upstream.
pub const UPSTREAM_HEADER_OCTETS: u32 = 16 << 10;
/// Milliseconds of a QUIC connection without a packet after a query was sent, and eight round trips, after which its upstream has gone or been
/// restarted: it would have acknowledged the query at once. Its probes were lost by then, the first after some 100 ms.
pub const UPSTREAM_QUIC_SILENCE_MS: u64 = 1_000;
/// Milliseconds after which a QUIC connection to an upstream that carries nothing is over; upstreams may ask for less. Longer than any query
/// waits.
pub const UPSTREAM_QUIC_IDLE_MS: u64 = 30_000;
/// Octets of response bodies that one HTTP/2 or QUIC connection may have on the way to us.
pub const UPSTREAM_HTTP_WINDOW: u32 = 1 << 20;
/// Octets that one HTTP/2 connection to an upstream keeps until the kernel takes them.
pub const UPSTREAM_HTTP_UNSENT: usize = 64 << 10;
/// Pins of one upstream: a few keys to change to.
pub const UPSTREAM_PINS: usize = 16;
/// Rcodes of one upstream that have a series of their own in a core's metrics; the rest is counted as `other`.
pub const UPSTREAM_RCODE_SERIES: usize = 32;
/// Octets of a file that lists name servers.
pub const RESOLV_CONF_OCTETS: usize = 1 << 20;
/// Elements of a search path that a file gives: as many as Kubernetes lets a pod have.
pub const SEARCH_ELEMENTS: usize = 32;

const _: () = assert!(UPSTREAM_IN_FLIGHT_PER_CORE <= PARKED_PER_CORE);
const _: () = assert!(UPSTREAM_SESSIONS * UPSTREAM_SESSION_EASY >= UPSTREAM_IN_FLIGHT_PER_CORE / 2);

// === forward, grpc, loop ===

/// Upstreams of one *forward* line as written; CoreDNS's number.
pub const FORWARD_TARGETS: usize = 15;
/// Upstreams of one *forward* line after files and names are resolved.
pub const FORWARD_UPSTREAMS: usize = 256;
/// Milliseconds for one query over all attempts; CoreDNS's number.
pub const FORWARD_DEADLINE_MS: u64 = 5_000;
/// Pause after each round of attempts that failed at once, where nothing but the deadline ends them.
pub const FORWARD_RETRY_PAUSE_MS: u64 = 10;
/// Seconds that a connection of *grpc* is kept without a query.
pub const GRPC_IDLE_S: u64 = 300;
/// Seconds that *loop* goes on with its probe; CoreDNS's number.
pub const LOOP_PROBE_S: u64 = 30;
