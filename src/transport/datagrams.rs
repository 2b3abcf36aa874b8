//! Datagrams of QUIC: batches in and out, each with its addresses and its congestion mark (ECN, RFC 3168).
//!
//! Unlike plain DNS, what comes in is up to a path MTU long (and what a proxy puts in front), and what goes out is written by the protocol in any number and size; several
//! packets of one length to one peer leave as one message that the kernel cuts (UDP_SEGMENT).

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::udp::Socket;
use crate::limits::{QUIC_DATAGRAMS, QUIC_RECEIVED_OCTETS};

/// A datagram that has arrived.
pub struct Datagram<'a> {
    /// Who sent it.
    pub peer: SocketAddr,
    /// The address it was sent to.
    pub local: IpAddr,
    /// The two ECN bits.
    pub ecn: u8,
    /// Its payload.
    pub octets: &'a [u8],
}

/// Where a message goes.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// To whom.
    pub peer: SocketAddr,
    /// From which address; `None`: the kernel chooses.
    pub local: Option<IpAddr>,
    /// The two ECN bits.
    pub ecn: u8,
}

// === Inbox ===

/// Room for the datagrams of one recvmmsg.
pub struct Inbox {
    rooms: Box<[[u8; QUIC_RECEIVED_OCTETS]]>,
    names: Box<[Name]>,
    controls: Box<[Control]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

impl Inbox {
    /// An empty one.
    pub fn new() -> Inbox {
        let mut inbox = Inbox {
            rooms: vec![[0; QUIC_RECEIVED_OCTETS]; QUIC_DATAGRAMS].into_boxed_slice(),
            names: vec![Name::EMPTY; QUIC_DATAGRAMS].into_boxed_slice(),
            controls: vec![Control::EMPTY; QUIC_DATAGRAMS].into_boxed_slice(),
            vectors: vec![EMPTY_VECTOR; QUIC_DATAGRAMS].into_boxed_slice(),
            headers: (0..QUIC_DATAGRAMS).map(|_| empty_header()).collect(),
        };
        for nth in 0..QUIC_DATAGRAMS {
            inbox.vectors[nth] = libc::iovec {
                iov_base: inbox.rooms[nth].as_mut_ptr().cast(),
                iov_len: QUIC_RECEIVED_OCTETS,
            };
            let header = &mut inbox.headers[nth].msg_hdr;
            header.msg_iov = &raw mut inbox.vectors[nth];
            header.msg_iovlen = 1;
            header.msg_name = inbox.names[nth].octets.as_mut_ptr().cast();
            header.msg_control = inbox.controls[nth].octets.as_mut_ptr().cast();
        }
        inbox
    }

    /// Receives what is there, `limits::QUIC_DATAGRAMS` at most.
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` when nothing is there.
    pub fn recv(&mut self, socket: &Socket) -> io::Result<usize> {
        for header in &mut self.headers {
            header.msg_hdr.msg_namelen = NAME as u32;
            header.msg_hdr.msg_controllen = CONTROL;
        }
        // SAFETY: each header points at buffers of this value, of the lengths given, and nothing else touches them meanwhile.
        let count = unsafe {
            libc::recvmmsg(
                socket.raw_fd(),
                self.headers.as_mut_ptr(),
                QUIC_DATAGRAMS as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// The `nth` datagram, `nth < ` what `recv` returned; `None`: it was longer than any that we let peers send.
    pub fn datagram(&self, nth: usize, socket: &Socket) -> Option<Datagram<'_>> {
        let header = &self.headers[nth];
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        let len = (header.msg_len as usize).min(QUIC_RECEIVED_OCTETS);
        let control = &self.controls[nth].octets;
        let (local, ecn) = read_control(&control[..header.msg_hdr.msg_controllen.min(CONTROL)]);
        Some(Datagram {
            peer: self.names[nth].addr(),
            local: local.unwrap_or(socket.local_addr().ip()),
            ecn,
            octets: &self.rooms[nth][..len],
        })
    }
}

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox::new()
    }
}

// === Outbox ===

/// Messages that wait to be sent together.
pub struct Outbox {
    /// One buffer for each message: the protocol writes each from its beginning.
    rooms: Vec<Vec<u8>>,
    /// What is queued: `queued.len() <= limits::QUIC_DATAGRAMS`.
    queued: Vec<Queued>,
    flushed: Flushed,
    names: Box<[Name]>,
    controls: Box<[Control]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

struct Queued {
    way: Way,
    len: usize,
    /// Octets of each packet but the last, where there are several.
    segment: Option<u16>,
}

/// What became of flushes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Messages that the kernel refused: the peer counts them as lost on the way.
    pub lost: usize,
    /// The kernel does not cut messages for this socket: they must be sent one by one.
    pub no_segments: bool,
}

impl Outbox {
    /// An empty one.
    pub fn new() -> Outbox {
        Outbox {
            rooms: vec![Vec::new(); QUIC_DATAGRAMS + 1],
            queued: Vec::with_capacity(QUIC_DATAGRAMS),
            flushed: Flushed::default(),
            names: vec![Name::EMPTY; QUIC_DATAGRAMS].into_boxed_slice(),
            controls: vec![Control::EMPTY; QUIC_DATAGRAMS].into_boxed_slice(),
            vectors: vec![EMPTY_VECTOR; QUIC_DATAGRAMS].into_boxed_slice(),
            headers: (0..QUIC_DATAGRAMS).map(|_| empty_header()).collect(),
        }
    }

    /// Whether there is no room for one more message: flush first.
    pub fn is_full(&self) -> bool {
        self.queued.len() >= QUIC_DATAGRAMS
    }

    /// An empty buffer for the next message.
    pub fn room(&mut self) -> &mut Vec<u8> {
        // There is one more than may be queued.
        let room = &mut self.rooms[self.queued.len()];
        room.clear();
        room
    }

    /// Queues the first `len` octets of the room.
    pub fn queue(&mut self, way: Way, len: usize, segment: Option<usize>) {
        if !self.is_full() {
            let segment = segment
                .filter(|segment| *segment < len)
                .and_then(|segment| u16::try_from(segment).ok());
            self.queued.push(Queued { way, len, segment });
        }
    }

    /// What became of the flushes since it was asked last.
    pub fn outcome(&mut self) -> Flushed {
        std::mem::take(&mut self.flushed)
    }

    /// Sends what is queued.
    pub fn flush(&mut self, socket: &Socket) {
        let count = self.queued.len();
        self.describe(socket.local_addr().is_ipv6());
        let flushed = &mut self.flushed;
        let mut at = 0;
        while at < count {
            // SAFETY: these headers were just set and point at buffers of this value, which outlive the call; the kernel only reads them.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.raw_fd(),
                    self.headers[at..count].as_mut_ptr(),
                    (count - at) as u32,
                    libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                )
            };
            match usize::try_from(sent) {
                Ok(sent) if sent > 0 => at += sent,
                _ => {
                    let error = io::Error::last_os_error();
                    if error.kind() == io::ErrorKind::Interrupted {
                        continue;
                    }
                    // Too long for the interface, unreachable, no room: the first message is lost, as it would be on the wire.
                    let cut = self.queued[at].segment.is_some();
                    let refused = matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL));
                    flushed.no_segments |= cut && refused;
                    flushed.lost += 1;
                    at += 1;
                }
            }
        }
        self.queued.clear();
    }

    fn describe(&mut self, is_v6: bool) {
        for (nth, queued) in self.queued.iter().enumerate() {
            let (name, control) = (&mut self.names[nth], &mut self.controls[nth]);
            let way = &queued.way;
            name.set(way.peer, is_v6);
            control.write(way, is_v6, queued.segment);
            self.vectors[nth] = libc::iovec {
                iov_base: self.rooms[nth].as_mut_ptr().cast(),
                iov_len: queued.len.min(self.rooms[nth].len()),
            };
            let header = &mut self.headers[nth].msg_hdr;
            header.msg_iov = &raw mut self.vectors[nth];
            header.msg_iovlen = 1;
            header.msg_name = name.octets.as_mut_ptr().cast();
            header.msg_namelen = name.len;
            header.msg_controllen = control.len;
            header.msg_control = match control.len {
                0 => std::ptr::null_mut(),
                _ => control.octets.as_mut_ptr().cast(),
            };
        }
    }
}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox::new()
    }
}

// === Name ===

/// A socket address as the kernel gives and takes it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Name {
    octets: [u8; NAME],
    len: u32,
}

impl Name {
    const EMPTY: Name = Name {
        octets: [0; NAME],
        len: 0,
    };

    fn addr(&self) -> SocketAddr {
        let [family_0, family_1, port_0, port_1, rest @ ..] = self.octets;
        let port = u16::from_be_bytes([port_0, port_1]);
        let [flow @ .., _, _, _, _] = rest;
        let [f0, f1, f2, f3, ip @ ..] = flow;
        if i32::from(u16::from_ne_bytes([family_0, family_1])) == libc::AF_INET6 {
            let [.., s0, s1, s2, s3] = self.octets;
            let flow = u32::from_be_bytes([f0, f1, f2, f3]);
            let scope = u32::from_ne_bytes([s0, s1, s2, s3]);
            SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into()
        } else {
            SocketAddrV4::new(Ipv4Addr::new(f0, f1, f2, f3), port).into()
        }
    }

    /// `is_v6`: the socket takes addresses of IPv6 alone, in which those of IPv4 are mapped.
    fn set(&mut self, addr: SocketAddr, is_v6: bool) {
        self.octets = [0; NAME];
        self.octets[2..4].copy_from_slice(&addr.port().to_be_bytes());
        let (family, len) = match (addr, is_v6) {
            (SocketAddr::V4(v4), false) => {
                self.octets[4..8].copy_from_slice(&v4.ip().octets());
                (libc::AF_INET, size_of::<libc::sockaddr_in>())
            }
            (SocketAddr::V4(v4), true) => {
                self.octets[8..24].copy_from_slice(&v4.ip().to_ipv6_mapped().octets());
                (libc::AF_INET6, NAME)
            }
            (SocketAddr::V6(v6), _) => {
                self.octets[4..8].copy_from_slice(&v6.flowinfo().to_be_bytes());
                self.octets[8..24].copy_from_slice(&v6.ip().octets());
                self.octets[24..].copy_from_slice(&v6.scope_id().to_ne_bytes());
                (libc::AF_INET6, NAME)
            }
        };
        // Families and lengths are small.
        self.octets[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        self.len = len as u32;
    }
}

// === Control ===

/// Control messages of one datagram.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control {
    octets: [u8; CONTROL],
    len: usize,
}

impl Control {
    const EMPTY: Control = Control {
        octets: [0; CONTROL],
        len: 0,
    };

    fn write(&mut self, way: &Way, is_v6: bool, segment: Option<u16>) {
        self.len = 0;
        match (way.local, is_v6) {
            (Some(IpAddr::V4(ip)), false) if !ip.is_unspecified() => {
                // in_pktinfo: interface, source, destination.
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&ip.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            (Some(ip), true) if !ip.is_unspecified() => {
                let ip = match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                // in6_pktinfo: source, interface.
                let mut info = [0; 20];
                info[..16].copy_from_slice(&ip.octets());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            _ => {}
        }
        if way.ecn != 0 {
            let mark = libc::c_int::from(way.ecn).to_ne_bytes();
            match way.peer.ip().to_canonical() {
                IpAddr::V4(_) => self.push(libc::IPPROTO_IP, libc::IP_TOS, &mark),
                IpAddr::V6(_) => self.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &mark),
            }
        }
        if let Some(segment) = segment {
            self.push(libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
        }
    }

    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let len = CMSG_HEADER + data.len();
        let Some(room) = self.octets[self.len..].get_mut(..len.next_multiple_of(8)) else {
            return;
        };
        room.fill(0);
        room[..8].copy_from_slice(&len.to_ne_bytes());
        room[8..12].copy_from_slice(&level.to_ne_bytes());
        room[12..16].copy_from_slice(&kind.to_ne_bytes());
        room[16..len].copy_from_slice(data);
        self.len += len.next_multiple_of(8);
    }
}

/// The destination and the ECN bits, where the kernel reported them.
fn read_control(mut control: &[u8]) -> (Option<IpAddr>, u8) {
    let (mut local, mut ecn) = (None, 0);
    while let Some((len, rest)) = control.split_first_chunk::<8>() {
        let len = usize::from_ne_bytes(*len);
        let Some(data) = len
            .checked_sub(CMSG_HEADER)
            .and_then(|data_len| rest.get(8..8 + data_len))
        else {
            break;
        };
        let word = |at: usize| {
            let octets = rest[at..].first_chunk::<4>().copied();
            i32::from_ne_bytes(octets.unwrap_or_default())
        };
        match (word(0), word(4)) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // The last of three words: where the packet was sent to.
                local = data.last_chunk::<4>().map(|ip| Ipv4Addr::from(*ip).into());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                local = data
                    .first_chunk::<16>()
                    .map(|ip| Ipv6Addr::from(*ip).into());
            }
            (libc::IPPROTO_IP, libc::IP_TOS) => ecn = data.first().map_or(0, |tos| tos & 3),
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                let class = data.first_chunk::<4>().copied().unwrap_or_default();
                ecn = (i32::from_ne_bytes(class) & 3) as u8;
            }
            _ => {}
        }
        control = control.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    (local, ecn)
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: plain data for which zeroes are valid.
    unsafe { std::mem::zeroed() }
}

const EMPTY_VECTOR: libc::iovec = libc::iovec {
    iov_base: std::ptr::null_mut(),
    iov_len: 0,
};
/// A socket address of either family.
const NAME: usize = size_of::<libc::sockaddr_in6>();
/// The header of a control message on 64-bit systems: length, level, type.
const CMSG_HEADER: usize = 16;
/// `in6_pktinfo`, an ECN mark and a segment length, or both kinds of pktinfo and a mark.
const CONTROL: usize = 40 + 32 + 24;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;
    use crate::transport::socket::{self, Carries};
    use crate::tune::CoreSettings;

    fn bound(listen: &str) -> Socket {
        let cores = [CoreSettings::default()];
        let group = socket::open_group(listen.parse().unwrap(), Carries::Udp, &cores).unwrap();
        Socket::new(group.udp.into_iter().next().unwrap(), group.addr)
    }

    /// Sends to ourselves from the wildcard address, marked and cut, and looks at what arrives.
    fn check(listen: &str, ask: &str) {
        let server = bound(listen);
        let asked: SocketAddr = format!("{ask}:{}", server.local_addr().port())
            .parse()
            .unwrap();
        let any = if asked.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let client = UdpSocket::bind(any).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        client.connect(asked).unwrap();
        client.send(b"ping").unwrap();
        let mut inbox = Inbox::new();
        assert_eq!(inbox.recv(&server).unwrap(), 1);
        assert_eq!(
            inbox.recv(&server).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        client.send(b"ping").unwrap();
        assert_eq!(inbox.recv(&server).unwrap(), 1);
        let datagram = inbox.datagram(0, &server).unwrap();
        assert_eq!((datagram.octets, datagram.ecn), (&b"ping"[..], 0));
        assert_eq!(datagram.local.to_canonical(), asked.ip());
        let way = Way {
            peer: datagram.peer,
            local: Some(datagram.local),
            ecn: 2,
        };
        let mut outbox = Outbox::new();
        outbox.room().extend([7; 25]);
        outbox.queue(way, 25, Some(10));
        outbox.room().extend([8; 3]);
        outbox.queue(way, 3, None);
        outbox.flush(&server);
        assert_eq!(outbox.outcome(), Flushed::default());
        for (octet, len) in [(7, 10), (7, 10), (7, 5), (8, 3)] {
            let mut octets = [0; 64];
            assert_eq!(client.recv(&mut octets).unwrap(), len);
            assert!(octets[..len].iter().all(|&got| got == octet));
        }
        // A mark comes through.
        let other = bound(&format!(
            "{}:0",
            listen.rsplit_once(':').map_or("", |(ip, _)| ip)
        ));
        let to = SocketAddr::new(asked.ip(), other.local_addr().port());
        outbox.room().extend(*b"marked");
        outbox.queue(Way { peer: to, ..way }, 6, None);
        outbox.flush(&server);
        assert_eq!(outbox.outcome(), Flushed::default());
        assert_eq!(inbox.recv(&other).unwrap(), 1);
        let datagram = inbox.datagram(0, &other).unwrap();
        assert_eq!((datagram.octets, datagram.ecn), (&b"marked"[..], 2));
        assert_eq!(datagram.peer.ip().to_canonical(), asked.ip());
    }

    #[test]
    fn addresses_and_marks_of_both_families_go_both_ways() {
        check("127.0.0.1:0", "127.0.0.1");
        check("0.0.0.0:0", "127.3.2.1");
        check("[::]:0", "127.3.2.1");
        check("[::]:0", "[::1]");
        check("[::1]:0", "[::1]");
    }

    #[test]
    fn what_is_too_long_is_not_taken_for_less() {
        let server = bound("127.0.0.1:0");
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for len in [QUIC_RECEIVED_OCTETS + 1, QUIC_RECEIVED_OCTETS] {
            client.send_to(&vec![1; len], server.local_addr()).unwrap();
        }
        let mut inbox = Inbox::new();
        assert_eq!(inbox.recv(&server).unwrap(), 2);
        assert!(inbox.datagram(0, &server).is_none());
        let whole = inbox.datagram(1, &server).unwrap();
        assert_eq!(whole.octets.len(), QUIC_RECEIVED_OCTETS);
    }

    #[test]
    fn a_full_outbox_has_no_room() {
        let server = bound("127.0.0.1:0");
        let mut outbox = Outbox::new();
        let way = Way {
            peer: server.local_addr(),
            local: None,
            ecn: 0,
        };
        for _ in 0..QUIC_DATAGRAMS {
            outbox.room().push(1);
            outbox.queue(way, 1, None);
        }
        assert!(outbox.is_full());
        outbox.flush(&server);
        assert!(!outbox.is_full());
    }
}
