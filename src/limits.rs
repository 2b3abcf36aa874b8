//! Every bound of the program, with its reason. Nothing that grows lives without a line here.

use std::time::Duration;

// === wire ===

/// Octets of a domain name on the wire, the root label included (RFC 1035 section 2.3.4).
pub const NAME_OCTETS: usize = 255;
/// Labels of a domain name, the root label not counted (follows from `NAME_OCTETS`).
pub const NAME_LABELS: usize = 127;
/// Octets read of a UDP query; CoreDNS reads as many and answers FORMERR to what is cut.
pub const UDP_QUERY_OCTETS: usize = 512;
/// Octets of a reply over UDP, whatever the client says: no more fits a packet of IPv4.
pub const UDP_REPLY_OCTETS: usize = 65_507;
/// Octets of a message over a stream transport (RFC 1035 section 4.2.2: the length has 16 bits).
pub const MESSAGE_OCTETS: usize = 65_535;

// === lang ===

/// Characters of a regular expression; CoreDNS refuses longer ones too.
pub const REGEXP_CHARS: usize = 10_000;
/// Octets of a compiled regular expression, so that `(\pL{1000}){1000}` is an error and not an outage.
pub const REGEXP_OCTETS: usize = 10 << 20;
/// Octets of scratch memory that one core may spend on matching one expression.
pub const REGEXP_SCRATCH_OCTETS: usize = 1 << 20;

// === telemetry ===

/// Lines that threads without a lane of their own may have queued for the log.
pub const LOG_RING_LINES: usize = 2048;
/// Words of 8 octets that one data core may have queued for the log. A query with a name of ordinary length takes 9, so at 2 ms between
/// two drains that is 1.8 million lines a second.
pub const LOG_LANE_WORDS: usize = 32 * 1024;
/// Octets of one log line; longer ones are cut. A name of 255 octets printed with escapes is 1,020 octets.
pub const LOG_LINE_OCTETS: usize = 4096;
/// Octets gathered before a write to standard output.
pub const LOG_BATCH_OCTETS: usize = 64 * 1024;
/// Octets that an idle line buffer may keep; larger ones are freed, so that one burst of long lines does not
/// pin `LOG_RING_LINES * LOG_LINE_OCTETS`.
pub const LOG_LINE_KEPT_OCTETS: usize = 512;
/// Pause between two drains of the log while lines keep coming: bounds the wake-ups of the writer.
pub const LOG_PAUSE_MS: u64 = 2;
/// Longest wait of `log::flush`; after it a blocked reader of standard output loses the lines.
pub const LOG_FLUSH_MS_MAX: u64 = 2_000;

const _: () = assert!(LOG_LINE_OCTETS > 4 * NAME_OCTETS && LOG_LINE_KEPT_OCTETS <= LOG_LINE_OCTETS);
// A line's octets are counted in 16 bits, and places in the circle are found by a mask.
const _: () = assert!(LOG_LINE_OCTETS <= u16::MAX as usize && LOG_LANE_WORDS.is_power_of_two());
const _: () = assert!(LOG_LANE_WORDS * 8 > LOG_LINE_OCTETS * 2);

// === control ===

/// Threads for work that blocks (files, reloads, periodic checks). Idle ones end after ten seconds.
pub const CONTROL_BLOCKING_THREADS: usize = 8;
/// Signals that may wait for their handler; more of the same kind tell nothing new.
pub const CONTROL_SIGNALS: usize = 16;

// === admin ===

/// Seconds that a client of an admin endpoint has to send a request, to take its answer, or to stay idle.
pub const ADMIN_TIMEOUT_S: u64 = 5;
/// Open connections of one admin address; further ones are closed at once and counted.
pub const ADMIN_CONNECTIONS: usize = 256;
/// Octets of a request's line and header fields.
pub const ADMIN_HEADER_OCTETS: usize = 16 * 1024;
/// Header fields of a request.
pub const ADMIN_HEADERS: usize = 64;
/// Connections that the kernel queues for one admin address.
pub const ADMIN_BACKLOG: i32 = 128;
/// Octets of a reply that the self-check of `health` reads.
pub const ADMIN_PROBE_OCTETS: usize = 512;

// === corefile ===

/// Octets of one Corefile or imported file; a Kubernetes ConfigMap holds 1 MiB, inline hosts may be larger.
pub const COREFILE_OCTETS: usize = 16 << 20;
/// Octets of all tokens, imports included: a snippet that is imported often multiplies them.
pub const COREFILE_TOTAL_OCTETS: usize = 64 << 20;
/// Tokens of a configuration, imports included (about 100 octets of memory each).
pub const COREFILE_TOKENS: usize = 2_000_000;
/// Imports of snippets in one parse; CoreDNS's number.
pub const SNIPPET_IMPORTS: usize = 10_000;
/// Imports of files in one parse, and names read of a directory; CoreDNS's number for the first.
pub const IMPORT_FILES: usize = 100_000;
/// Octets scanned and written to replace environment references: a value may refer to itself.
pub const ENV_OCTETS: usize = 16 << 20;
/// Warnings kept of one parse: an import inside a loop of imports could repeat them.
pub const COREFILE_WARNINGS: usize = 100;
/// Names, and zones, of one *federation*: each name becomes a rule in which all zones stand, so that the text grows by their product.
pub const FEDERATION_NAMES: usize = 64;

const _: () =
    assert!(COREFILE_OCTETS <= COREFILE_TOTAL_OCTETS && COREFILE_OCTETS < u32::MAX as usize);

// === runtime ===

/// Tasks alive on one task thread: TCP connections, upstream exchanges and what they spawn. Further ones are refused.
pub const TASKS_PER_CORE: usize = 65_536;
/// Timers armed on one task thread: a few for each task. A timer beyond goes off at once, which sheds its work.
pub const TIMERS_PER_CORE: usize = 4 * TASKS_PER_CORE;
/// Tasks polled before the task thread looks at its sockets, timers and mailboxes again.
pub const TASKS_PER_TURN: usize = 128;
/// Readiness events taken from the kernel at once.
pub const EVENTS_PER_TURN: usize = 256;
/// Entries of each of glommio's three submission rings; more requests than these wait for the next turn.
pub const RING_DEPTH: usize = 128;
/// Octets that glommio keeps for disk buffers, which nothing here uses: the least it accepts (its default is 10 MiB).
pub const RING_BUFFER_OCTETS: usize = 65_536;
/// How long accepting pauses after the process ran out of descriptors or memory: no spin, no lost listener.
pub const ACCEPT_PAUSE_MS: u64 = 100;

const _: () = assert!(TIMERS_PER_CORE >= TASKS_PER_CORE, "a task has a timer");
const _: () = assert!(
    TASKS_PER_CORE <= u32::MAX as usize,
    "slots have 32-bit names"
);

/// Octets from which memory of a large value is mapped by itself, so that it goes back to the kernel with the value; the kernel allows
/// a process 65,530 mappings.
pub const PAGES_OCTETS: usize = 256 * 1024;

// === plugin ===

/// Internal lookups inside each other (CNAME chains over blocks): a loop ends here.
pub const LOOKUP_DEPTH: usize = 8;
/// Internal lookups that one query of a client may cause in all, whoever asks for them: the depth alone lets k rewrite rules make
/// k to the power of `LOOKUP_DEPTH`. A chain of `ZONE_CNAME_CHAIN` names in each of eight blocks fits.
pub const LOOKUPS_PER_QUERY: u16 = 100;
/// Octets of the text of an expression: a view with a thousand networks fits.
pub const EXPR_TEXT_OCTETS: usize = 64 << 10;
/// Levels of an expression's tree, which bounds the stack of its evaluation.
pub const EXPR_DEPTH: u32 = 100;
/// Levels of arrays in arrays.
pub const EXPR_VALUE_DEPTH: u32 = 32;
/// Items of an array that an expression may make.
pub const EXPR_ITEMS: usize = 10_000;
/// Octets of a text that an expression may make.
pub const EXPR_OCTETS: usize = 64 << 10;
/// Steps of one evaluation (nodes visited and items touched): a few milliseconds at most.
pub const EXPR_STEPS: u32 = 100_000;
/// Octets of a compiled pattern that is only known when a query comes in.
pub const EXPR_REGEXP_OCTETS: usize = 64 << 10;
// === zone ===

/// Octets of one zone file; offsets in it have 32 bits. A file of this size holds some 40 million records.
pub const ZONE_FILE_OCTETS: usize = 2 << 30;
/// Octets of names and record data of one zone; offsets in it have 32 bits.
pub const ZONE_DATA_OCTETS: usize = 3 << 30;
/// Records of one zone, those that `$GENERATE` makes included.
pub const ZONE_RECORDS: usize = 100_000_000;
/// Records that one `$GENERATE` line may make (as miekg/dns: a range of 16 bits).
pub const ZONE_GENERATE_STEPS: u64 = 65_536;
/// Tokens of one entry; 65,535 octets of data written as single hex digits need twice as many.
pub const ZONE_ENTRY_TOKENS: usize = 140_000;
/// Nesting of `$INCLUDE` (as miekg/dns).
pub const ZONE_INCLUDE_DEPTH: usize = 7;
/// Files that one zone may include in all, so that nested includes cannot multiply without end.
pub const ZONE_INCLUDES: usize = 10_000;
/// Warnings kept of one load; the rest is counted.
pub const ZONE_WARNINGS: usize = 10;
/// CNAME records in one answer: the first and the nine that CoreDNS follows inside a zone.
pub const ZONE_CNAME_CHAIN: usize = 10;
/// Targets of one answer whose addresses are looked up for the additional section (CVE-2024-11187).
pub const ZONE_ADDITIONAL_NAMES: usize = 64;

/// Threads that read one zone file at the start; more would wait for memory. A reload has one, since the others answer queries.
pub const ZONE_LOAD_THREADS: usize = 8;
/// Octets of a zone file that one thread reads at a time. Smaller files are not worth a thread.
pub const ZONE_CHUNK_OCTETS: usize = 1 << 20;

const _: () = assert!(ZONE_FILE_OCTETS < u32::MAX as usize);
const _: () = assert!(ZONE_DATA_OCTETS < u32::MAX as usize);
// === cache ===

/// Mean octets of an entry that a cache table makes room for: `capacity` entries never take more than `capacity` times this,
/// so that a flood of 64 KiB answers ends at 20 MB in a table of the default size and not at 650.
pub const CACHE_ENTRY_OCTETS_MEAN: usize = 2_048;
/// One part in so many of a cache table is kept for names that were not asked twice yet.
pub const CACHE_PROBATION_PART: usize = 10;
/// Entries looked at for one eviction before one goes although it was visited: bounds the time of a write.
pub const CACHE_EVICTION_STEPS: usize = 256;
/// Entries evicted by one write: more than a large answer pushes out, few enough that a bound which shrank delays nobody.
pub const CACHE_EVICTIONS_AT_ONCE: usize = 1_024;
/// Octets of a snapshot of all caches: some forty million answers, which take a minute to check at start.
pub const CACHE_SNAPSHOT_OCTETS: u64 = 4 << 30;
/// Age at which a snapshot is not read any more; few answers outlive it, and it is a sign of something else.
pub const CACHE_SNAPSHOT_AGE: Duration = Duration::from_secs(24 * 3600);
/// Distinct questions of one core that are being asked upstream with others waiting; further ones are asked unshared.
pub const CACHE_FLIGHTS: usize = 16_384;
/// Seconds after which a claimed refresh counts as lost; longer than an upstream exchange may take.
pub const CACHE_CLAIM_S: u8 = 10;
/// Entries from which on a cache counts as larger than what a CPU caches: some 5 MiB.
pub const CACHE_LARGE: usize = 32_768;
/// Entries that one *cache* table may be asked to hold: its index alone takes 10 octets for each.
pub const CACHE_CAPACITY: usize = 1 << 28;
/// CNAME records followed to see whether an answer answers its question.
pub const CACHE_CNAME_STEPS: usize = 32;
/// Queries that wait for one upstream answer; further ones are asked unshared.
pub const CACHE_FLIGHT_WAITERS: usize = 4_096;
/// Octets of the text of a template.
pub const TEMPLATE_TEXT_OCTETS: usize = 64 << 10;
/// Levels of blocks and parentheses in a template's text.
pub const TEMPLATE_DEPTH: u32 = 50;
/// Levels of blocks, parentheses and called templates while one runs.
pub const TEMPLATE_RUN_DEPTH: u32 = 100;
/// Steps of one execution (nodes visited and items touched).
pub const TEMPLATE_STEPS: u32 = 100_000;
/// Octets that a template may write: no resource record is longer than a message.
pub const TEMPLATE_OCTETS: usize = 64 << 10;

// === server ===

/// Listeners of one configuration; a listener has one socket for each core.
pub const LISTENERS: usize = 1024;
/// Queries of one core that wait on its task thread. Beyond it new ones that would wait are shed; hits and local names are not.
pub const PARKED_PER_CORE: usize = 8192;
/// Datagrams taken from the kernel at once (recvmmsg) and answered before the next look at anything else.
pub const BATCH: usize = 64;
/// Octets of a reply that leaves as a segment of a larger message: with its headers it fits every path of IPv6 (RFC 8200 section 5).
pub const UDP_SEGMENT_OCTETS: usize = 1_232;
/// Octets of a segmented message: what an IPv4 packet holds, with room for options.
pub const UDP_SEGMENTED_OCTETS: usize = 65_000;
/// Octets of reply kept for each datagram of a batch; longer replies go out one by one from a larger buffer.
pub const BATCH_REPLY_OCTETS: usize = 4096;
/// Sockets of other cores that one core reads from while those are busy; further offers are declined.
pub const HELPED_SOCKETS: usize = 64;
/// TCP connections of one core; beyond it the newest is closed at once.
pub const TCP_CONNECTIONS_PER_CORE: usize = 8192;
/// TCP connections that one core grants one client address (an IPv4 address, or the 64 bits of an IPv6 network): one client that opens
/// all it can leaves seven eighths to the others. A resolver or a node of a cluster that shares one address needs tens.
pub const TCP_CONNECTIONS_PER_CLIENT: u32 = 1_024;
/// Queries of one TCP connection that are being answered; beyond it its reading stops.
pub const TCP_QUERIES_IN_FLIGHT: usize = 128;
/// Octets of replies that wait for a TCP client to read; beyond it its reading stops.
pub const TCP_UNSENT_OCTETS: usize = 128 * 1024;

/// Connections of one `https://`, `https3://`, `quic://` or `grpc://` listener, on all cores: CoreDNS's number.
pub const TRANSPORT_CONNECTIONS: usize = 200;
/// Streams of one `https3://`, `quic://` or `grpc://` connection: CoreDNS's number.
pub const TRANSPORT_STREAMS: usize = 256;
/// Streams of all connections of one `quic://` listener that are being answered: CoreDNS's number.
pub const QUIC_WORKERS: usize = 1_024;
/// Room for replies of at most this size is kept by the thread when no connection uses it.
pub const TCP_SPARE_OCTETS: usize = 64 * 1024;
/// TLS handshakes of one core that are under way; beyond it the newest connection is closed. Each holds some 10 KiB.
pub const HANDSHAKES_PER_CORE: usize = 1_024;
/// Those of one client (an IPv4 address, or the 64 bits of an IPv6 network): one that never ends any leaves seven eighths to the others.
pub const HANDSHAKES_PER_CLIENT: u32 = 128;

const _: () = assert!(8 * HANDSHAKES_PER_CLIENT as usize <= HANDSHAKES_PER_CORE);

/// QUIC connections of one core, whatever its listeners allow; beyond it the newest is refused.
pub const QUIC_CONNECTIONS_PER_CORE: usize = 8_192;
/// QUIC handshakes of one socket beyond which clients have to prove their address first (Retry): forged ones then cost a packet each.
pub const QUIC_HANDSHAKES_UNPROVEN: usize = 64;
/// Streams that a QUIC connection is granted at first. More are granted while many are in use: room is kept for each that is granted.
pub const QUIC_STREAMS_AT_FIRST: u32 = 16;
/// Streams that a connection may ever be granted, where its directive says "any number" or more.
pub const QUIC_STREAMS: usize = 65_536;
/// Streams of one way that an HTTP/3 client may open: control, two of QPACK, and some to be ignored (RFC 9114 section 6.2.3).
pub const H3_SIDE_STREAMS: u32 = 8;
/// Octets of a QUIC stream, and of all of a connection, that a client may send before they are read; a query has a hundredth.
pub const QUIC_STREAM_WINDOW: u32 = 16 * 1024;
/// See [`QUIC_STREAM_WINDOW`].
pub const QUIC_RECEIVE_WINDOW: u32 = 128 * 1024;
/// Octets that one QUIC connection keeps until the client has acknowledged them.
pub const QUIC_SEND_WINDOW: u64 = 256 * 1024;
/// Octets of unfinished requests that one QUIC connection keeps; a stream that would exceed it is stopped. Two of the longest fit.
pub const QUIC_PARTIAL_OCTETS: usize = 192 * 1024;
/// Octets of replies that wait for a QUIC client to take them; beyond it no further stream is read.
pub const QUIC_UNSENT_OCTETS: usize = 128 * 1024;
/// Queries of one QUIC connection that wait for others; beyond it no further stream is read.
pub const QUIC_QUERIES_IN_FLIGHT: usize = 128;
/// Octets of first packets that one QUIC endpoint keeps until it has decided, which it does at once.
pub const QUIC_INCOMING_OCTETS: u64 = 64 * 1024;
/// Octets of frames around a request over HTTP/3, besides its header fields and its body.
pub const H3_FRAMING_OCTETS: usize = 4 * 1024;
/// Octets of an unfinished frame on the control stream of an HTTP/3 client.
pub const H3_CONTROL_OCTETS: usize = 1_024;

const _: () = assert!(8 * TCP_CONNECTIONS_PER_CLIENT as usize <= TCP_CONNECTIONS_PER_CORE);
const _: () = assert!(QUIC_HANDSHAKES_UNPROVEN < HANDSHAKES_PER_CORE);
const _: () =
    assert!(2 * (HTTP_HEADER_OCTETS + MESSAGE_OCTETS + H3_FRAMING_OCTETS) <= QUIC_PARTIAL_OCTETS);

// === http ===

/// Requests of one `https://` connection that may be open: what Go's server, so CoreDNS, grants.
pub const HTTP_STREAMS: usize = 250;
/// Queries of one `grpc://` connection where *grpc_server* says 0: as many as may wait on a core.
pub const GRPC_STREAMS: usize = PARKED_PER_CORE;
/// Octets of a request's line and fields: those of a browser take 2 KiB, and a query of 12,000 octets fits a GET.
pub const HTTP_HEADER_OCTETS: usize = 16 * 1024;
/// Fields of an HTTP/1.1 request.
pub const HTTP_HEADERS: usize = 64;
/// Octets of a gRPC message around the DNS message in it: its prefix, tag and length, and fields that we do not know.
pub const GRPC_EXTRA_OCTETS: usize = 1_024;
/// Octets that a client may send of one body before it is told that it may go on, which it is not: one more than the longest that is taken.
pub const HTTP_STREAM_WINDOW: u32 = (MESSAGE_OCTETS + GRPC_EXTRA_OCTETS + 1) as u32;
/// Octets of all bodies of one connection that are not whole yet: a few of the longest, or a thousand ordinary ones.
pub const HTTP_CONNECTION_WINDOW: u32 = 256 * 1024;
/// Octets of replies for which an HTTP/2 client gives no window; beyond it the next such stream is reset.
pub const HTTP_STUCK_OCTETS: usize = 256 * 1024;
/// Octets that are gathered before they are written to the socket in the middle of a turn.
pub const HTTP_GATHERED_OCTETS: usize = 64 * 1024;
/// Reads of one connection between two turns of the other tasks.
pub const HTTP_READS_IN_A_ROW: usize = 4;
/// Octets without a request, a part of a body or a window that frees a reply among them: PING, SETTINGS, PRIORITY or CONTINUATION frames
/// alone. The connection then ends with ENHANCE_YOUR_CALM. Ordinary clients send less than 1 KiB.
pub const HTTP_IDLE_OCTETS: usize = 256 * 1024;
/// Octets that are taken at once, to be forgotten, from a client whose connection we have ended; a body that was refused is shorter.
pub const HTTP_DRAINED_OCTETS: usize = 128 * 1024;
/// Streams reset by the client before we saw them (rapid reset, CVE-2023-44487); then the connection ends with ENHANCE_YOUR_CALM.
pub const HTTP_RESETS_UNSEEN: usize = 20;
/// Streams that we reset because the client broke the protocol on them; then the connection ends likewise.
pub const HTTP_RESETS_FOR_ERRORS: usize = 128;
/// Streams reset by us that are remembered, so that what is still under way for them is no error.
pub const HTTP_RESETS_REMEMBERED: usize = 32;
/// Seconds that a DoH reply may be kept by HTTP caches; CoreDNS's number.
pub const HTTP_MAX_AGE_S: u32 = 3_600;
/// Proxies in a chain of `Forwarded` or `X-Forwarded-For` that are looked at, from the nearest.
pub const FORWARDED_HOPS: usize = 16;

const _: () = assert!(HTTP_STREAM_WINDOW < HTTP_CONNECTION_WINDOW);

// === transport ===

/// QUIC datagrams taken from the kernel, or given to it, at once.
pub const QUIC_DATAGRAMS: usize = 32;
/// Octets of a QUIC datagram: what Ethernet carries over IPv4. Peers are told, and keep to it.
pub const QUIC_DATAGRAM_OCTETS: usize = 1_472;
/// Packets of one connection that leave as one message which the kernel cuts.
pub const QUIC_SEGMENTS: usize = 10;

/// Plaintext of one TLS record (RFC 8446 section 5.1).
pub const TLS_RECORD_OCTETS: usize = 16 * 1024;
/// Octets of a TLS record or handshake message that are kept until the rest arrives: the largest handshake message that rustls takes, in
/// records. A chain of client certificates is a tenth of it.
pub const TLS_PARTIAL_OCTETS: usize = 72 * 1024;
/// A buffer for records of at most this size is kept by the thread.
pub const TLS_SPARE_OCTETS: usize = 64 * 1024;

/// Octets of a PROXY header: the most that its definition asks a receiver to take, since it fits the first segment of any path.
pub const PROXY_HEADER_OCTETS: usize = 536;
/// Octets of a PROXY header of version 1: what its definition allows.
pub const PROXY_LINE_OCTETS: usize = 107;
/// UDP sessions that *proxyproto* tracks for a listener unless told otherwise; CoreDNS's number.
pub const PROXY_SESSIONS: usize = 10_240;
/// UDP sessions that it may be told to track: they take 256 MiB.
pub const PROXY_SESSIONS_MAX: usize = 1 << 20;

const _: () =
    assert!(PROXY_LINE_OCTETS <= PROXY_HEADER_OCTETS && PROXY_SESSIONS <= PROXY_SESSIONS_MAX);

/// Connections that wait to be accepted on one socket; the kernel cuts it to net.core.somaxconn.
pub const TCP_BACKLOG: i32 = 4096;
/// Octets of queries that the kernel keeps for one UDP socket while its core is busy: about 5 ms at a million queries a second.
/// The kernel doubles it and cuts it to net.core.rmem_max.
pub const UDP_RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

// === supervisor ===

/// Threads of data cores that may die within a minute before the process gives up and exits.
pub const CORE_RESTARTS_PER_MINUTE: usize = 5;
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
/// Connections with several queries each that one core keeps to one upstream over TLS. Servers that answer one query after the other
/// (CoreDNS does) hold up those behind a slow one, so a few are better than one.
pub const UPSTREAM_SESSIONS: usize = 16;
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
/// Octets of the headers of one HTTP response from an upstream.
pub const UPSTREAM_HEADER_OCTETS: u32 = 16 << 10;
/// Octets of response bodies that one HTTP/2 connection may have on the way to us.
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
const _: () =
    assert!(UPSTREAM_SESSIONS * UPSTREAM_SESSION_QUERIES >= UPSTREAM_IN_FLIGHT_PER_CORE / 2);

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

// === hosts ===

/// Octets of a hosts file: some eight million lines. Names are kept with offsets of 32 bits, reverse names included.
pub const HOSTS_FILE_OCTETS: u64 = 256 << 20;

// === loadbalance ===

/// Octets of a weight file: more than a million addresses.
pub const WEIGHT_FILE_OCTETS: u64 = 64 << 20;

// === tune: the most that a `-tune` file may ask for ===

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

// === kube ===

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

// === tls: certificates of an ACME authority ===

/// Names of one certificate; what Let's Encrypt takes.
pub const ACME_DOMAINS: usize = 100;
/// Answers to challenges that the process holds at a time: ten certificates of the largest size.
pub const ACME_ANSWERS: usize = 10 * ACME_DOMAINS;
/// Octets of one response of an authority; a chain of ten certificates has some 20 KB.
pub const ACME_RESPONSE_OCTETS: usize = 1 << 20;
/// Octets of a file with an account, or with a certificate and its key.
pub const ACME_FILE_OCTETS: u64 = 1 << 20;
/// Certificates of one chain; two or three are usual.
pub const ACME_CHAIN: usize = 10;
/// Octets of the token of a challenge; those of Let's Encrypt have 43, and it becomes a path.
pub const ACME_TOKEN_OCTETS: usize = 255;
/// From the start of a request to an authority to the end of its response.
pub const ACME_REQUEST_S: u64 = 30;
/// Shortest pause between two looks at an order; each further one doubles it.
pub const ACME_POLL_MS_MIN: u64 = 500;
/// Longest pause between two looks at an order.
pub const ACME_POLL_MS_MAX: u64 = 15_000;
/// How long an authority may take to validate, and to sign, before the attempt counts as failed.
pub const ACME_POLL_S: u64 = 180;
/// How long a resolver may take to show the answer to a challenge; CoreDNS's number.
pub const ACME_PROPAGATION_S: u64 = 120;
/// Between two questions to that resolver.
pub const ACME_PROPAGATION_PAUSE_MS: u64 = 2_000;
/// How long one such question waits for its reply.
pub const ACME_PROPAGATION_REPLY_MS: u64 = 3_000;
/// Octets read of that reply: as much as a resolver sends without EDNS.
pub const ACME_PROPAGATION_OCTETS: usize = 512;
/// Shortest pause after a failed attempt; each further one doubles it.
pub const ACME_RETRY_S_MIN: u64 = 60;
/// Longest pause after a failed attempt, unless the authority asks for more.
pub const ACME_RETRY_S_MAX: u64 = 3_600;
/// Longest pause that an authority may ask for with Retry-After: then it is asked again whatever it said.
pub const ACME_RETRY_AFTER_S_MAX: u64 = 24 * 3_600;
/// Longest sleep until a renewal: the wall clock, which says when a certificate ends, may be set meanwhile.
pub const ACME_SLEEP_S: u64 = 3_600;

const _: () = assert!(ACME_RETRY_S_MIN < ACME_RETRY_S_MAX);
const _: () = assert!(ACME_POLL_MS_MAX < ACME_RETRY_S_MIN * 1_000);
