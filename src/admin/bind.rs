//! Listening sockets for address texts as Go takes them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};

use crate::corefile::host_port;
use crate::limits;

/// Binds `HOST:PORT` with SO_REUSEPORT. An empty or unspecified host takes both families.
pub(super) fn listen(addr: &str) -> Result<TcpListener, String> {
    let (host, port) = host_port(addr).map_err(|error| format!("listen tcp: {error}"))?;
    if host.is_empty() {
        return listen_any(port).map_err(|error| bind_error(addr, &error));
    }
    let target = resolve(addr, &host, port)?;
    let listener = if target.ip().is_unspecified() {
        listen_any(port)
    } else {
        listen_at(target)
    };
    listener.map_err(|error| bind_error(&target.to_string(), &error))
}

/// The first IPv4 address of a host, else its first address.
fn resolve(addr: &str, host: &str, port: u16) -> Result<SocketAddr, String> {
    let no_host = || format!("listen tcp: lookup {host}: no such host (in address {addr})");
    let found: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|_| no_host())?
        .collect();
    let first = found.iter().find(|addr| addr.is_ipv4()).or(found.first());
    first.copied().ok_or_else(no_host)
}

fn listen_any(port: u16) -> io::Result<TcpListener> {
    listen_at(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)).or_else(|error| {
        // A kernel without IPv6, or one where it is switched off.
        match error.raw_os_error() {
            Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL) => {
                listen_at(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
            }
            _ => Err(error),
        }
    })
}

fn listen_at(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(addr),
        Type::STREAM.cloexec().nonblocking(),
        Some(Protocol::TCP),
    )?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&addr.into())?;
    socket.listen(limits::ADMIN_BACKLOG)?;
    Ok(socket.into())
}

fn bind_error(addr: &str, error: &io::Error) -> String {
    let why = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => "address already in use",
        Some(libc::EACCES) => "permission denied (a port below 1024 needs CAP_NET_BIND_SERVICE)",
        Some(libc::EADDRNOTAVAIL) => "cannot assign requested address",
        _ => return format!("listen tcp {addr}: bind: {error}"),
    };
    format!("listen tcp {addr}: bind: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_addresses_are_named() {
        for (addr, expect) in [
            ("8080", "listen tcp: address 8080: missing port in address"),
            (
                "::1:80",
                "listen tcp: address ::1:80: too many colons in address",
            ),
            (
                "[::1:80",
                "listen tcp: address [::1:80: missing ']' in address",
            ),
            (":http?", "listen tcp: lookup tcp/http?: unknown port"),
            (":65536", "listen tcp: address 65536: invalid port"),
            (
                "192.0.2.1:0",
                "listen tcp 192.0.2.1:0: bind: cannot assign requested address",
            ),
        ] {
            assert_eq!(listen(addr).unwrap_err(), expect);
        }
    }

    #[test]
    fn a_port_of_a_program_without_reuse_is_in_use() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = held.local_addr().unwrap();
        let expect = format!("listen tcp {addr}: bind: address already in use");
        assert_eq!(listen(&addr.to_string()).unwrap_err(), expect);
        let wild = format!(":{}", addr.port());
        assert_eq!(
            listen(&wild).unwrap_err(),
            format!("listen tcp {wild}: bind: address already in use")
        );
        // The host is named as it was resolved.
        assert_eq!(
            listen(&format!("localhost:{}", addr.port())).unwrap_err(),
            expect
        );
    }

    #[test]
    fn two_may_share_a_port() {
        let first = listen("127.0.0.1:0").unwrap();
        listen(&first.local_addr().unwrap().to_string()).unwrap();
    }

    #[test]
    fn an_empty_host_takes_both_families() {
        let listener = listen(":0").unwrap();
        let local = listener.local_addr().unwrap();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, local.port())).unwrap();
        if local.is_ipv6() {
            std::net::TcpStream::connect((Ipv6Addr::LOCALHOST, local.port())).unwrap();
        }
    }
}
