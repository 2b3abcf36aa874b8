//! What is kept, and waited for, of a cluster.

use std::time::Duration;

use super::LOOKUPS_PER_QUERY;

/// Objects of one kind (namespaces, services, slices, pods) that the store numbers; more than any cluster has been run with.
pub const KUBE_OBJECTS: u32 = 8 << 20;
/// Numbers that rest before the oldest of them is used again: a reader may hold one for as long as it answers one batch.
pub const KUBE_NUMBERS_RESTING: usize = 4_096;
/// Endpoints of one slice that are kept; the API server takes 1,000.
pub const KUBE_SLICE_ENDPOINTS: usize = 4_096;
/// Slices of one service that are kept: at the usual 100 endpoints a slice, 800,000 endpoints.
pub const KUBE_SERVICE_SLICES: usize = 8_192;
/// Ports of one service or slice that are kept; the API server takes 100 for a slice, and services of several thousand have been seen.
pub const KUBE_PORTS: usize = 4_096;
/// Addresses of one service: cluster, external and load balancer ones, each; the API server takes two, and some tens.
pub const KUBE_SERVICE_ADDRESSES: usize = 255;
/// Ways to one service that are told where some of them are names, each of which takes two lookups: as many as one query may cause.
pub const KUBE_EXTERNAL_LOOKUPS: usize = LOOKUPS_PER_QUERY as usize / 2;
/// Slices with one address of which names are told: that of a node may be behind thousands of services.
pub const KUBE_POINTERS: usize = 128;
/// Octets of one object, in either encoding: a slice of 1,000 endpoints, the most that there is, has 300 KB of JSON; etcd takes 1.5 MB.
pub const KUBE_OBJECT_OCTETS: usize = 4 << 20;
/// Addresses of one object: the API takes 1,000 endpoints of 100 addresses each in a slice.
pub const KUBE_ADDRESSES: usize = 100_000;
/// Addresses of one pod, which has one of each family.
pub const KUBE_POD_ADDRESSES: usize = 32;
/// Labels of one pod, all of which are kept as metadata.
pub const KUBE_LABELS: usize = 1_024;
/// Octets that are decoded before other work of the control thread has its turn: less than a millisecond.
pub const KUBE_DECODE_OCTETS: usize = 64 << 10;
/// Octets that are read of the body of an error response, for its message.
pub const KUBE_ERROR_OCTETS: usize = 64 << 10;
/// Octets of a file with credentials; a bundle of all public CAs has 250 KB.
pub const KUBE_CREDENTIAL_OCTETS: u64 = 4 << 20;
/// Shortest pause between two looks at the files with credentials.
pub const KUBE_CREDENTIALS_S: u64 = 1;
/// Seconds between two log lines about skipped objects, or failures, of one kind.
pub const KUBE_SKIPPED_LOG_S: u64 = 60;
/// Objects on one page of a list; what client-go asks for.
pub const KUBE_PAGE: u32 = 500;
/// Requests a second and at once where the Corefile says 0; client-go's numbers.
pub const KUBE_QPS: f64 = 5.0;
/// See [`KUBE_QPS`].
pub const KUBE_BURST: u32 = 10;
/// Shortest and longest time that a watch is asked for, between which chance decides, so that not all servers reconnect at once.
pub const KUBE_WATCH_S_MIN: u64 = 300;
/// See [`KUBE_WATCH_S_MIN`].
pub const KUBE_WATCH_S_MAX: u64 = 600;
/// How much longer than asked a watch may be silent before its connection counts as dead.
pub const KUBE_WATCH_MARGIN_S: u64 = 30;
/// Silence after which a watch counts as dead whose server sends bookmarks, which it does once a minute.
pub const KUBE_BOOKMARK_S_MAX: u64 = 130;
/// Silence on a connection to the API server after which the kernel asks whether the other side is there, and between two such questions.
pub const KUBE_KEEPALIVE_S: u64 = 5;
/// Such questions without an answer after which the connection is dead: 15 s after the last sign of life.
pub const KUBE_KEEPALIVES: u32 = 2;
/// Silences in a row after which a server counts as one that has ceased to send bookmarks.
pub const KUBE_SILENCES: u32 = 3;
/// Silence within a list, or before the end of the initial events of a watch, after which the connection counts as dead.
pub const KUBE_LIST_SILENCE_S: u64 = 30;
/// Until a connection is there.
pub const KUBE_CONNECT_S: u64 = 5;
/// Until the head of a response is there: a list may have to come from etcd.
pub const KUBE_RESPONSE_S: u64 = 60;
/// A watch that ends sooner without an event has failed, whatever its status says.
pub const KUBE_WATCH_SHORT_S: u64 = 1;
/// Shortest pause after a failure; each further one doubles it.
pub const KUBE_RETRY_MS_MIN: u64 = 200;
/// Longest pause: what is known must be current within 5 s after the server is ready again.
pub const KUBE_RETRY_MS_MAX: u64 = 3_000;
/// Longest pause while connections are refused, which costs nobody anything.
pub const KUBE_REFUSED_MS_MAX: u64 = 1_000;
/// Longest pause that a server may ask for with Retry-After.
pub const KUBE_RETRY_AFTER_S_MAX: u64 = 30;
/// How long lists are used after a server could not stream one.
pub const KUBE_STREAM_LIST_RETRY_S: u64 = 600;
/// Objects that are removed after a list before other work of the control thread has its turn: less than a millisecond.
pub const KUBE_SWEPT: usize = 256;
/// Objects that are looked at for that.
pub const KUBE_SWEPT_LOOKS: u32 = 64 << 10;
/// Octets of a zone's or a pod's name that are kept.
pub const KUBE_TEXT_OCTETS: usize = 253;
/// Octets of the file that a cluster's state is kept in, all of which is in memory while it is checked; 100,000 services with 250,000
/// endpoints take 20 MiB.
pub const KUBE_SNAPSHOT_OCTETS: u64 = 1 << 30;
/// Between two looks whether that file must be written: what a crash forgets is at most this old.
pub const KUBE_SNAPSHOT_INTERVAL: Duration = Duration::from_secs(60);
/// Shortest pause between two of them: each write is of the whole cluster.
pub const KUBE_SNAPSHOT_INTERVAL_MIN: Duration = Duration::from_secs(10);
/// Longest pause between two of them.
pub const KUBE_SNAPSHOT_INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);
/// Octets of blocks that are copied for that file at a time.
pub const KUBE_SNAPSHOT_STEP_OCTETS: usize = 256 << 10;

const _: () = assert!(KUBE_WATCH_S_MIN < KUBE_WATCH_S_MAX);
const _: () =
    assert!(KUBE_RETRY_MS_MIN < KUBE_REFUSED_MS_MAX && KUBE_REFUSED_MS_MAX < KUBE_RETRY_MS_MAX);
