//! Datagrams in batches: recvmmsg into fixed buffers, sendmmsg out of fixed buffers, replies from the address that was asked.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use super::outbox::Outbox;
use crate::limits::{BATCH, PROXY_HEADER_OCTETS, UDP_QUERY_OCTETS};

/// A bound UDP socket. Both threads of a core send on it.
pub struct Socket {
    fd: OwnedFd,
    local: SocketAddr,
}

impl Socket {
    /// Takes a bound socket and the address it was bound to.
    pub fn new(fd: OwnedFd, local: SocketAddr) -> Socket {
        Socket { fd, local }
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The descriptor, for epoll.
    pub fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Room for one control message: a header (16 octets) and an `in6_pktinfo` (20), padded.
pub(super) const CONTROL: usize = 40;

/// The peer's address and the control message of one datagram, as the kernel gave and takes them.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Envelope {
    control: [u8; CONTROL],
    control_len: usize,
    name: [u8; size_of::<libc::sockaddr_in6>()],
    name_len: u32,
}

impl Envelope {
    pub(super) const EMPTY: Envelope = Envelope {
        control: [0; CONTROL],
        control_len: 0,
        name: [0; 28],
        name_len: 0,
    };

    /// The client's socket address as the kernel takes it.
    pub(super) fn name(&self) -> &[u8] {
        &self.name[..(self.name_len as usize).min(self.name.len())]
    }

    /// The control message of a reply, empty where the socket has one address.
    pub(super) fn control(&self) -> &[u8] {
        &self.control[..self.control_len.min(CONTROL)]
    }

    /// A number that two clients rarely share. It only sorts: [`Envelope::is_same_way`] decides.
    pub(super) fn client_hash(&self) -> usize {
        // Port and IPv4 address, or port and flow; the last octets of an IPv6 address beside them.
        let front = u64::from_ne_bytes(octets(&self.name[..8]));
        let back = u64::from_ne_bytes(octets(&self.name[16..24]));
        let back = if self.name_len > 16 { back } else { 0 };
        ((front ^ back).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize
    }

    /// Whether replies to both leave from one address to one client.
    pub(super) fn is_same_way(&self, other: &Envelope) -> bool {
        self.name() == other.name() && self.control() == other.control()
    }

    fn peer(&self) -> SocketAddr {
        let port = u16::from_be_bytes([self.name[2], self.name[3]]);
        let family = u16::from_ne_bytes([self.name[0], self.name[1]]) as i32;
        if family == libc::AF_INET6 {
            let ip: [u8; 16] = octets(&self.name[8..24]);
            let flow = u32::from_be_bytes(octets(&self.name[4..8]));
            let scope = u32::from_ne_bytes(octets(&self.name[24..28]));
            SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into()
        } else {
            SocketAddrV4::new(Ipv4Addr::from(octets::<4>(&self.name[4..8])), port).into()
        }
    }

    /// The address the datagram was sent to, where the kernel reported it; makes the control message fit for the reply:
    /// same source address, any interface (the route decides), except for link-local addresses.
    fn destination(&mut self) -> Option<IpAddr> {
        if self.control_len < 16 {
            return None;
        }
        let level = i32::from_ne_bytes(octets(&self.control[8..12]));
        let kind = i32::from_ne_bytes(octets(&self.control[12..16]));
        if level == libc::IPPROTO_IPV6 && kind == libc::IPV6_PKTINFO {
            let ip = Ipv6Addr::from(octets::<16>(&self.control[16..32]));
            if !ip.is_unicast_link_local() {
                self.control[32..36].fill(0);
            }
            Some(ip.into())
        } else if level == libc::IPPROTO_IP && kind == libc::IP_PKTINFO {
            self.control[16..20].fill(0);
            Some(Ipv4Addr::from(octets::<4>(&self.control[24..28])).into())
        } else {
            self.control_len = 0;
            None
        }
    }
}

/// The first `N` octets; zeroes where there are fewer.
fn octets<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk::<N>().copied().unwrap_or([0; N])
}

/// Where one reply goes, for a query that left its batch.
pub struct ReplyPath {
    socket: Arc<Socket>,
    envelope: Envelope,
}

impl ReplyPath {
    /// Sends the reply. A full socket buffer or an unreachable client loses it, as it would on the wire.
    pub fn send(&self, reply: &[u8]) -> bool {
        send_one(&self.socket, &self.envelope, reply)
    }
}

pub(super) fn send_one(socket: &Socket, envelope: &Envelope, reply: &[u8]) -> bool {
    let mut iov = libc::iovec {
        iov_base: reply.as_ptr().cast_mut().cast(),
        iov_len: reply.len(),
    };
    // SAFETY: msghdr is plain data for which zeroes are valid.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = &raw mut iov;
    header.msg_iovlen = 1;
    header.msg_name = envelope.name.as_ptr().cast_mut().cast();
    header.msg_namelen = envelope.name_len;
    if envelope.control_len > 0 {
        header.msg_control = envelope.control.as_ptr().cast_mut().cast();
        header.msg_controllen = envelope.control_len;
    }
    // SAFETY: every pointer in `header` is into `reply`, `iov` or `envelope`, which outlive the call; the kernel only reads them.
    let sent = unsafe {
        libc::sendmsg(
            socket.raw_fd(),
            &raw const header,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    sent >= 0
}

/// Buffers of one packet thread: received datagrams, and replies that wait to be sent together.
pub struct Batch {
    queries: Box<[QueryRoom; BATCH]>,
    envelopes: Box<[Envelope; BATCH]>,
    outbox: Outbox,
    /// Set up once for all calls of recvmmsg: the `nth` header points at the `nth` query and envelope.
    incoming: Messages,
    /// Lengths of the datagrams received last: `received <= BATCH`; a full batch at first, so that all headers are set.
    lengths: [usize; BATCH],
    received: usize,
    /// Datagrams to take at once: `1 <= len_max <= BATCH`.
    len_max: usize,
}

/// What is received of a datagram: a query, and the header in front of it where a proxy passes it on.
const DATAGRAM_OCTETS: usize = UDP_QUERY_OCTETS + PROXY_HEADER_OCTETS;

/// Room for one query. An odd number of cache lines, or the beginnings of all queries would share a few sets of the first-level cache.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct QueryRoom([u8; ROOM_OCTETS]);

const ROOM_OCTETS: usize = 17 * 64;
const _: () = assert!(ROOM_OCTETS >= DATAGRAM_OCTETS);

// SAFETY: the raw pointers in `incoming` and in the outbox point into boxes that this very value owns and never replaces.
unsafe impl Send for Batch {}

impl Batch {
    /// Buffers for `limits::BATCH` datagrams. `segments`: whether replies to one client may leave as one segmented message.
    pub fn new(segments: bool) -> Batch {
        let mut batch = Batch {
            queries: boxed(QueryRoom([0; ROOM_OCTETS])),
            envelopes: boxed(Envelope::EMPTY),
            outbox: Outbox::new(segments),
            incoming: Messages::new(),
            lengths: [0; BATCH],
            received: BATCH,
            len_max: BATCH,
        };
        for nth in 0..BATCH {
            let envelope = &mut batch.envelopes[nth];
            batch.incoming.vectors[nth] = libc::iovec {
                iov_base: batch.queries[nth].0.as_mut_ptr().cast(),
                iov_len: DATAGRAM_OCTETS,
            };
            let header = &mut batch.incoming.headers[nth].msg_hdr;
            header.msg_iov = &raw mut batch.incoming.vectors[nth];
            header.msg_iovlen = 1;
            header.msg_name = envelope.name.as_mut_ptr().cast();
            header.msg_control = envelope.control.as_mut_ptr().cast();
        }
        batch
    }

    /// Takes no more than this many datagrams at once; more than `limits::BATCH` are as many.
    pub fn limit(mut self, len_max: usize) -> Batch {
        self.len_max = len_max.clamp(1, BATCH);
        self
    }

    /// Receives what is there, at most a batch; 0 when nothing is.
    pub fn recv(&mut self, socket: &Socket) -> io::Result<usize> {
        // The kernel overwrote the lengths of those that it filled last time.
        for header in &mut self.incoming.headers[..self.received] {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in6>() as u32;
            header.msg_hdr.msg_controllen = CONTROL;
        }
        self.received = 0;
        self.outbox.clear();
        // SAFETY: each header points at buffers of this value, of the lengths given, and nothing else touches them meanwhile.
        let count = unsafe {
            libc::recvmmsg(
                socket.raw_fd(),
                self.incoming.headers.as_mut_ptr(),
                self.len_max as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock {
                Ok(0)
            } else {
                Err(error)
            };
        }
        self.received = count as usize;
        for nth in 0..self.received {
            let header = &self.incoming.headers[nth];
            // A datagram longer than the buffer arrives cut, as it does in CoreDNS.
            self.lengths[nth] = (header.msg_len as usize).min(UDP_QUERY_OCTETS);
            self.envelopes[nth].name_len = header.msg_hdr.msg_namelen;
            self.envelopes[nth].control_len = header.msg_hdr.msg_controllen;
        }
        Ok(self.received)
    }

    /// All that was received of the `nth` datagram, which may be more than a query has.
    pub fn datagram(&self, nth: usize) -> &[u8] {
        let len = self.incoming.headers[nth].msg_len as usize;
        &self.queries[nth].0[..len.min(DATAGRAM_OCTETS)]
    }

    /// Makes the `nth` datagram the query that stands behind so many of its octets; behind all of them is an empty one.
    pub fn strip(&mut self, nth: usize, octets: usize) {
        let len = self.datagram(nth).len();
        let from = octets.min(len);
        let to = len.min(from + UDP_QUERY_OCTETS);
        self.queries[nth].0.copy_within(from..to, 0);
        self.lengths[nth] = to - from;
    }

    /// The octets of the `nth` datagram. `nth < ` what `recv` returned, here and below.
    pub fn query(&self, nth: usize) -> &[u8] {
        &self.queries[nth].0[..self.lengths[nth]]
    }

    /// The sender of the `nth` datagram, and the address it was sent to. Asked once for each before its reply leaves.
    pub fn addresses(&mut self, nth: usize, socket: &Socket) -> (SocketAddr, SocketAddr) {
        let envelope = &mut self.envelopes[nth];
        let (peer, destination) = (envelope.peer(), envelope.destination());
        let local = SocketAddr::new(
            destination.unwrap_or(socket.local.ip()),
            socket.local.port(),
        );
        (peer, local)
    }

    /// The `nth` datagram and room for its reply, which [`Batch::queue`] then sends.
    pub fn query_and_room(&mut self, nth: usize) -> (&[u8], &mut [u8]) {
        let query = &self.queries[nth].0[..self.lengths[nth]];
        (query, self.outbox.room())
    }

    /// Queues the first `len` octets of the room as the reply to the `nth` datagram.
    pub fn queue(&mut self, nth: usize, len: usize) {
        self.outbox.queue(nth, len);
    }

    /// Queues the reply to the `nth` datagram; one longer than the room is sent at once. `false`: the kernel refused it.
    pub fn push(&mut self, nth: usize, socket: &Socket, reply: &[u8]) -> bool {
        let Some(room) = self.outbox.room().get_mut(..reply.len()) else {
            return send_one(socket, &self.envelopes[nth], reply);
        };
        room.copy_from_slice(reply);
        self.outbox.queue(nth, reply.len());
        true
    }

    /// Where a reply to the `nth` datagram goes when it is sent later.
    pub fn reply_path(&self, nth: usize, socket: &Arc<Socket>) -> ReplyPath {
        ReplyPath {
            socket: socket.clone(),
            envelope: self.envelopes[nth],
        }
    }

    /// Sends what is queued; returns how many replies the kernel refused.
    pub fn flush(&mut self, socket: &Socket) -> usize {
        self.outbox.flush(socket, &self.envelopes)
    }
}

/// The kernel's description of a batch of messages.
pub(super) struct Messages {
    pub(super) vectors: Box<[libc::iovec; BATCH]>,
    headers: Box<[libc::mmsghdr; BATCH]>,
}

impl Messages {
    pub(super) fn new() -> Messages {
        // SAFETY: iovec and mmsghdr are plain data for which zeroes are valid.
        unsafe {
            Messages {
                vectors: Box::new_zeroed().assume_init(),
                headers: Box::new_zeroed().assume_init(),
            }
        }
    }

    /// Describes the `nth` message: its parts, where it goes, its control messages. What is pointed at must live until it is sent.
    pub(super) fn set(&mut self, nth: usize, parts: Range<usize>, name: &[u8], control: &[u8]) {
        let parts = &mut self.vectors[parts];
        let header = &mut self.headers[nth].msg_hdr;
        header.msg_iov = parts.as_mut_ptr();
        header.msg_iovlen = parts.len();
        header.msg_name = name.as_ptr().cast_mut().cast();
        header.msg_namelen = name.len() as u32;
        header.msg_control = match control.is_empty() {
            true => std::ptr::null_mut(),
            false => control.as_ptr().cast_mut().cast(),
        };
        header.msg_controllen = control.len();
    }

    /// Sends the messages `from..to`; returns how many the kernel took.
    pub(super) fn send(&mut self, socket: &Socket, from: usize, to: usize) -> io::Result<usize> {
        let headers = &mut self.headers[from..to];
        // SAFETY: these headers were set for this flush and point at buffers of the batch, which outlive the call; the kernel only reads them.
        let sent = unsafe {
            libc::sendmmsg(
                socket.raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as u32,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        match usize::try_from(sent) {
            Ok(sent) if sent > 0 => Ok(sent),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// A boxed array made on the heap: the stack of a thread is no place for a quarter of a MiB.
pub(super) fn boxed<T: Copy, const N: usize>(value: T) -> Box<[T; N]> {
    match vec![value; N].into_boxed_slice().try_into() {
        Ok(array) => array,
        // `vec![_; N]` has N elements.
        Err(_) => unreachable!("a vector of N elements is an array of N"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;
    use crate::transport::socket;
    use crate::tune::CoreSettings;

    /// A server's socket, and the address of it that clients ask.
    pub(in crate::transport) fn server(listen: &str, ask: &str) -> (Socket, SocketAddr) {
        let group = socket::open_group(
            listen.parse().unwrap(),
            socket::Carries::Both,
            &[CoreSettings::default()],
        )
        .unwrap();
        let asked = format!("{ask}:{}", group.addr.port()).parse().unwrap();
        let fd = group.udp.into_iter().next().unwrap();
        (Socket::new(fd, group.addr), asked)
    }

    pub(in crate::transport) fn client(asked: SocketAddr) -> UdpSocket {
        let any = match asked.is_ipv4() {
            true => "0.0.0.0:0",
            false => "[::]:0",
        };
        let client = UdpSocket::bind(any).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        // Connected: a reply from another address than the one asked would not arrive.
        client.connect(asked).unwrap();
        client
    }

    fn check_echo(listen: &str, ask: &str) {
        let (server, asked) = server(listen, ask);
        let client = client(asked);
        for len in [1usize, 12, 512, 600] {
            client.send(&vec![7; len]).unwrap();
        }
        let (mut batch, mut got) = (Batch::new(true), 0);
        while got < 4 {
            let count = batch.recv(&server).unwrap();
            for nth in 0..count {
                let (peer, local) = batch.addresses(nth, &server);
                assert_eq!(local.ip().to_canonical(), asked.ip());
                assert_eq!(peer.port(), client.local_addr().unwrap().port());
                let copy = batch.query(nth).to_vec();
                assert!(batch.push(nth, &server, &copy));
            }
            assert_eq!(batch.flush(&server), 0);
            got += count;
        }
        let lengths: Vec<usize> = (0..4)
            .map(|_| client.recv(&mut [0; 700]).unwrap())
            .collect();
        assert_eq!(lengths, [1, 12, 512, 512]);
    }

    #[test]
    fn replies_leave_from_the_address_that_was_asked() {
        check_echo("[::]:0", "127.0.0.1");
        check_echo("[::]:0", "127.9.8.7");
        check_echo("[::]:0", "[::1]");
        check_echo("127.0.0.1:0", "127.0.0.1");
        check_echo("0.0.0.0:0", "127.0.0.2");
        check_echo("[::1]:0", "[::1]");
    }

    #[test]
    fn what_stands_in_front_of_a_query_is_taken_off() {
        let (server, asked) = server("127.0.0.1:0", "127.0.0.1");
        let client = client(asked);
        let octets: Vec<u8> = (0..2_000u16).map(|nth| (nth % 251) as u8).collect();
        for len in [20, 600, 2_000] {
            client.send(&octets[..len]).unwrap();
        }
        let mut batch = Batch::new(true);
        assert_eq!(batch.recv(&server).unwrap(), 3);
        let check = |batch: &mut Batch, nth, octets_off: usize, expect: Range<usize>| {
            batch.strip(nth, octets_off);
            assert_eq!(batch.query(nth), &octets[expect]);
        };
        assert_eq!(batch.datagram(0), &octets[..20]);
        check(&mut batch, 0, 20, 0..0);
        check(&mut batch, 1, 100, 100..600);
        // Cut where a query ends, as one without anything in front.
        check(&mut batch, 2, 536, 536..1_048);
        check(&mut batch, 2, 9_999, 0..0);
    }

    #[test]
    fn a_batch_takes_no_more_than_it_is_told() {
        let (server, asked) = server("127.0.0.1:0", "127.0.0.1");
        let client = client(asked);
        for _ in 0..7 {
            client.send(&[7]).unwrap();
        }
        let mut batch = Batch::new(true).limit(3);
        let counts: Vec<usize> = (0..4).map(|_| batch.recv(&server).unwrap()).collect();
        assert_eq!(counts, [3, 3, 1, 0]);
    }
}
