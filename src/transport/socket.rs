//! Opening listening sockets: SO_REUSEPORT groups, their options, errors as Go words them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::limits;
use crate::tune::CoreSettings;

/// Which protocols the sockets of an address are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// Both, on one port.
    Both,
    /// UDP alone.
    Udp,
    /// TCP alone.
    Tcp,
}

/// The sockets of one address: `n` for UDP and `n` for TCP, in the order of the cores they belong to; none of a protocol that was not asked for.
pub struct Group {
    /// The address as bound: the port is real even if 0 was asked for.
    pub addr: SocketAddr,
    /// UDP sockets.
    pub udp: Vec<OwnedFd>,
    /// TCP listeners.
    pub tcp: Vec<TcpListener>,
}

/// Opens UDP and TCP sockets on one address, one of each that is wanted for every core given.
///
/// # Errors
/// CoreDNS's wording, with the remedy where the kernel's reason has one.
pub fn open_group(
    wanted: SocketAddr,
    carries: Carries,
    cores: &[CoreSettings],
) -> Result<Group, String> {
    match open_all(wanted, carries, cores) {
        Err(Failure::NoIpv6) if is_wildcard_v6(wanted) => {
            let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), wanted.port());
            open_all(v4, carries, cores).map_err(|failure| failure.text(wanted))
        }
        outcome => outcome.map_err(|failure| failure.text(wanted)),
    }
}

enum Failure {
    NoIpv6,
    Listen(&'static str, io::Error),
}

impl Failure {
    fn text(&self, wanted: SocketAddr) -> String {
        let addr = go_addr(wanted);
        match self {
            Failure::NoIpv6 => format!(
                "Listen: listen tcp {addr}: socket: address family not supported by protocol"
            ),
            Failure::Listen(network, error) => format!(
                "Listen: listen {network} {addr}: bind: {}{}",
                reason(error),
                remedy(error, wanted)
            ),
        }
    }
}

/// `:53` for the wildcard, as Go prints it.
pub fn go_addr(addr: SocketAddr) -> String {
    if addr.ip().is_unspecified() {
        format!(":{}", addr.port())
    } else {
        addr.to_string()
    }
}

fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => "address already in use".to_owned(),
        Some(libc::EACCES) => "permission denied".to_owned(),
        Some(libc::EADDRNOTAVAIL) => "cannot assign requested address".to_owned(),
        _ => error.to_string(),
    }
}

fn remedy(error: &io::Error, wanted: SocketAddr) -> String {
    match error.raw_os_error() {
        Some(libc::EACCES) => format!(
            " (port {} needs CAP_NET_BIND_SERVICE: grant it with setcap cap_net_bind_service=+ep, or use a port above 1023)",
            wanted.port()
        ),
        Some(libc::EADDRINUSE) => " (another program holds the port without SO_REUSEPORT, or as another user: see ss -lunp)".to_owned(),
        Some(libc::EADDRNOTAVAIL) => " (no interface has this address: see ip addr)".to_owned(),
        _ => String::new(),
    }
}

fn is_wildcard_v6(addr: SocketAddr) -> bool {
    addr.is_ipv6() && addr.ip().is_unspecified()
}

fn open_all(
    wanted: SocketAddr,
    carries: Carries,
    cores: &[CoreSettings],
) -> Result<Group, Failure> {
    let mut attempt = 0;
    loop {
        let mut addr = wanted;
        let mut group = Group {
            addr,
            udp: Vec::with_capacity(cores.len()),
            tcp: Vec::with_capacity(cores.len()),
        };
        let outcome = fill(&mut group, &mut addr, carries, cores);
        group.addr = addr;
        match outcome {
            // A port that TCP got free may be taken on UDP: with port 0 another one is tried.
            Err(Failure::Listen(_, error))
                if wanted.port() == 0
                    && error.raw_os_error() == Some(libc::EADDRINUSE)
                    && attempt < 16 =>
            {
                attempt += 1;
            }
            Err(failure) => return Err(failure),
            Ok(()) => return Ok(group),
        }
    }
}

fn fill(
    group: &mut Group,
    addr: &mut SocketAddr,
    carries: Carries,
    cores: &[CoreSettings],
) -> Result<(), Failure> {
    let wanted = |carries_it| if carries_it { cores } else { &[] };
    for core in wanted(carries != Carries::Udp) {
        let socket =
            open(*addr, Type::STREAM, carries, core).map_err(|error| failure("tcp", error))?;
        socket
            .listen(limits::TCP_BACKLOG)
            .map_err(|error| failure("tcp", error))?;
        take_port(addr, &socket);
        group.tcp.push(socket.into());
    }
    for core in wanted(carries != Carries::Tcp) {
        let socket =
            open(*addr, Type::DGRAM, carries, core).map_err(|error| failure("udp", error))?;
        take_port(addr, &socket);
        group.udp.push(socket.into());
    }
    Ok(())
}

/// The port that the kernel chose, where it was asked to.
fn take_port(addr: &mut SocketAddr, socket: &Socket) {
    let local = socket.local_addr().ok().and_then(|local| local.as_socket());
    addr.set_port(local.map_or(addr.port(), |local| local.port()));
}

fn failure(network: &'static str, error: io::Error) -> Failure {
    match error.raw_os_error() {
        Some(libc::EAFNOSUPPORT) => Failure::NoIpv6,
        _ => Failure::Listen(network, error),
    }
}

fn open(addr: SocketAddr, kind: Type, carries: Carries, core: &CoreSettings) -> io::Result<Socket> {
    let is_udp = kind == Type::DGRAM;
    let protocol = if is_udp { Protocol::UDP } else { Protocol::TCP };
    let socket = Socket::new(
        Domain::for_address(addr),
        kind.nonblocking().cloexec(),
        Some(protocol),
    )?;
    if addr.is_ipv6() {
        socket.set_only_v6(!is_wildcard_v6(addr))?;
    }
    socket.set_reuse_port(true)?;
    if !is_udp {
        socket.set_reuse_address(true)?;
        socket.set_tcp_nodelay(true)?;
    } else {
        size_buffers(&socket, core);
        if addr.ip().is_unspecified() {
            report_destination(&socket, addr)?;
        }
        match carries {
            Carries::Udp => never_fragment(&socket, addr),
            _ => no_fragments(&socket, addr),
        }
    }
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// With CAP_NET_ADMIN the sizes are those that were asked for, else net.core.rmem_max and wmem_max cut them. A refusal leaves the system's
/// default, which still works; [`shortfall`] tells.
fn size_buffers(socket: &Socket, core: &CoreSettings) {
    let size = |force, option, octets: usize| {
        // limits::TUNE_SOCKET_BUFFER_OCTETS fits.
        let octets = octets as libc::c_int;
        if set_int(socket, libc::SOL_SOCKET, force, octets).is_err() {
            let _ = set_int(socket, libc::SOL_SOCKET, option, octets);
        }
    };
    size(
        libc::SO_RCVBUFFORCE,
        libc::SO_RCVBUF,
        core.udp_receive_buffer_octets,
    );
    if let Some(octets) = core.udp_send_buffer_octets {
        size(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, octets);
    }
}

/// What a UDP socket of this core got less than it asked for, with the setting of the kernel that bounds it; none when all was given.
pub fn shortfall(socket: &impl AsFd, core: &CoreSettings) -> Option<String> {
    let socket = SockRef::from(socket);
    // The kernel doubles what it is asked for, for its own bookkeeping.
    let got = |size: io::Result<usize>| size.map_or(0, |doubled| doubled / 2);
    let receive = got(socket.recv_buffer_size());
    if receive < core.udp_receive_buffer_octets {
        return Some(cut(
            "receive",
            core.udp_receive_buffer_octets,
            receive,
            "rmem_max",
        ));
    }
    let wanted = core.udp_send_buffer_octets?;
    let send = got(socket.send_buffer_size());
    (send < wanted).then(|| cut("send", wanted, send, "wmem_max"))
}

fn cut(kind: &str, wanted: usize, got: usize, setting: &str) -> String {
    format!(
        "the UDP {kind} buffer has {got} octets instead of {wanted}: sysctl -w net.core.{setting}={wanted}, or CAP_NET_ADMIN"
    )
}

/// Asks for the destination address of each packet, so that the reply leaves from there.
fn report_destination(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    if addr.is_ipv6() {
        // IPv4 packets on a dual-stack socket are reported as mapped addresses.
        return set_int(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1);
    }
    set_int(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
}

/// Forged "packet too big" messages must not shrink our path MTU (RFC 9715 section 3.1). Older kernels refuse, which is harmless.
fn no_fragments(socket: &Socket, addr: SocketAddr) {
    let _ = set_int(
        socket,
        libc::IPPROTO_IP,
        libc::IP_MTU_DISCOVER,
        libc::IP_PMTUDISC_OMIT,
    );
    if addr.is_ipv6() {
        let _ = set_int(
            socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_OMIT,
        );
    }
}

/// QUIC packets must not be fragmented at all (RFC 9000 section 14), and probe the path themselves; what the network marked as congestion
/// is reported with each (section 13.4). An older kernel that refuses costs throughput only.
fn never_fragment(socket: &Socket, addr: SocketAddr) {
    let _ = set_int(
        socket,
        libc::IPPROTO_IP,
        libc::IP_MTU_DISCOVER,
        libc::IP_PMTUDISC_PROBE,
    );
    let _ = set_int(socket, libc::IPPROTO_IP, libc::IP_RECVTOS, 1);
    if addr.is_ipv6() {
        let _ = set_int(
            socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_PROBE,
        );
        let _ = set_int(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1);
    }
}

/// Sets an option whose value is a C int.
pub(super) fn set_int(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer and length describe one live c_int for the time of the call.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            len,
        )
    };
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_has_the_buffers_of_its_core() {
        let core = |receive: usize, send| CoreSettings {
            udp_receive_buffer_octets: receive << 10,
            udp_send_buffer_octets: send,
            ..CoreSettings::default()
        };
        // net.core.rmem_max and wmem_max are larger on every machine.
        let cores = [core(64, Some(96 << 10)), core(128, None)];
        let group = open_group("127.0.0.1:0".parse().unwrap(), Carries::Both, &cores).unwrap();
        let sizes: Vec<(usize, usize)> = group
            .udp
            .iter()
            .map(|udp| {
                let socket = SockRef::from(udp);
                let doubled = (socket.recv_buffer_size(), socket.send_buffer_size());
                (doubled.0.unwrap() >> 11, doubled.1.unwrap() >> 11)
            })
            .collect();
        assert_eq!(sizes[0], (64, 96));
        assert_eq!(sizes[1].0, 128);
        for (udp, core) in group.udp.iter().zip(&cores) {
            assert_eq!(shortfall(udp, core), None);
        }
        let line = shortfall(&group.udp[0], &core(1024, None)).unwrap();
        assert_eq!(
            line,
            "the UDP receive buffer has 65536 octets instead of 1048576: sysctl -w net.core.rmem_max=1048576, or CAP_NET_ADMIN"
        );
        let line = shortfall(&group.udp[0], &core(64, Some(1 << 20))).unwrap();
        assert!(line.contains("send buffer has 98304 octets") && line.contains("wmem_max"));
    }
}
