//! What clients may take: sockets, connections, streams, octets on their way in and out.

use super::MESSAGE_OCTETS;

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
/// Addresses of the client behind a proxy through which a QUIC connection is heard: the current one, the one before, and two that may be
/// next, or forged.
pub const QUIC_WAYS: usize = 4;
/// Octets of frames around a request over HTTP/3, besides its header fields and its body.
pub const H3_FRAMING_OCTETS: usize = 4 * 1024;
/// Octets of an unfinished frame on the control stream of an HTTP/3 client.
pub const H3_CONTROL_OCTETS: usize = 1_024;

const _: () = assert!(8 * HANDSHAKES_PER_CLIENT as usize <= HANDSHAKES_PER_CORE);
const _: () = assert!(8 * TCP_CONNECTIONS_PER_CLIENT as usize <= TCP_CONNECTIONS_PER_CORE);
const _: () = assert!(QUIC_WAYS >= 2, "the current address is never forgotten");
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
/// Octets received at once: a proxy may have put its header in front.
pub const QUIC_RECEIVED_OCTETS: usize = QUIC_DATAGRAM_OCTETS + PROXY_HEADER_OCTETS;
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
