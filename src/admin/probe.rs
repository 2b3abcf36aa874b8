//! One GET of an admin endpoint, as the self-check of `health` makes it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::corefile::host_port;
use crate::limits;

/// Asks for `path` and returns the HTTP status. Only for the control thread.
///
/// # Errors
/// Nobody listens, the connection broke, what came is not HTTP, or `timeout` has passed.
pub async fn probe(addr: SocketAddr, path: &str, timeout: Duration) -> io::Result<u16> {
    tokio::time::timeout(timeout, ask(addr, path))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn ask(addr: SocketAddr, path: &str) -> io::Result<u16> {
    let stream = TcpStream::connect(addr).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    let mut left = request.as_bytes();
    while !left.is_empty() {
        stream.writable().await?;
        left = &left[moved(stream.try_write(left))?..];
    }
    let mut reply = [0; limits::ADMIN_PROBE_OCTETS];
    let mut len = 0;
    loop {
        if let Some(status) = status(&reply[..len]) {
            return Ok(status);
        }
        stream.readable().await?;
        match stream.try_read(&mut reply[len..]) {
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "not an HTTP reply",
                ));
            }
            read => len += moved(read)?,
        }
    }
}

/// Octets moved; none if the socket was not ready after all.
fn moved(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

/// Where an endpoint's own address can be asked: the text resolved, a wildcard replaced by loopback. Blocks on a
/// host name.
///
/// # Errors
/// The text is no address or the host has none.
pub fn self_address(addr: &str) -> Result<SocketAddr, String> {
    let (host, port) = host_port(addr)?;
    if host.is_empty() {
        return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
    let found: Vec<SocketAddr> = (host.as_str(), port)
        .to_socket_addrs()
        .map_err(|_| format!("lookup {host}: no such host"))?
        .collect();
    let first = found.iter().find(|addr| addr.is_ipv4()).or(found.first());
    let addr = first.ok_or_else(|| format!("lookup {host}: no such host"))?;
    // A wildcard takes both families, so its IPv4 loopback is always there, and ::1 may not be.
    let ip = if addr.ip().is_unspecified() {
        Ipv4Addr::LOCALHOST.into()
    } else {
        addr.ip()
    };
    Ok(SocketAddr::new(ip, addr.port()))
}

fn status(reply: &[u8]) -> Option<u16> {
    let rest = reply
        .strip_prefix(b"HTTP/1.1 ")
        .or_else(|| reply.strip_prefix(b"HTTP/1.0 "))?;
    std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_from_the_first_line() {
        for (reply, expect) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], Some(200)),
            (b"HTTP/1.0 503 Service Unavailable\r\n", Some(503)),
            (b"HTTP/1.1 2", None),
            (b"", None),
            (b"SSH-2.0-x", None),
        ] {
            assert_eq!(status(reply), expect);
        }
    }

    #[test]
    fn wildcards_are_asked_on_loopback() {
        for (addr, expect) in [
            (":1", "127.0.0.1:1"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "127.0.0.1:1"),
            ("[::1]:1", "[::1]:1"),
            ("192.0.2.1:1", "192.0.2.1:1"),
            ("localhost:1", "127.0.0.1:1"),
        ] {
            assert_eq!(self_address(addr), Ok(expect.parse().unwrap()));
        }
        assert!(
            self_address("nowhere")
                .unwrap_err()
                .contains("missing port")
        );
    }
}
