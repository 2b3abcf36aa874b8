//! Upstreams as a Corefile names them: addresses, files in the manner of resolv.conf, host names.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::corefile::split_host_port;
use crate::limits;
use crate::wire::name::NameBuf;

/// What one argument stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An address and a port.
    Address(SocketAddr),
    /// The name servers of a file; none if it lists none.
    File(Vec<SocketAddr>),
    /// A host to look up.
    Host(String, u16),
}

/// Reads `[dns://]IP[%ZONE][:PORT]`, the name of a file, or `HOST[:PORT]`. `plugin` is named in errors.
///
/// # Errors
/// Another scheme, or text that is none of the three.
pub fn parse(plugin: &str, text: &str) -> Result<Target, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("dns", text));
    match scheme {
        "dns" => {}
        "tls" | "https" | "quic" => {
            return Err(format!(
                "{scheme}:// upstreams are not built into percoredns yet: {text:?}; name an upstream without a scheme, for UDP and TCP"
            ));
        }
        "grpc" | "https3" | "unix" => {
            return Err(format!(
                "'{scheme}' is not supported as a destination protocol in {plugin}: {text}"
            ));
        }
        _ => return Err(format!("not an IP address or file: {text:?}")),
    }
    if let Some(ip) = address(rest) {
        return Ok(Target::Address(with_port(ip, DNS_PORT)));
    }
    let host_and_port = split_host_port(rest).ok();
    if let Some((host, port)) = host_and_port
        && let Some(ip) = address(host)
    {
        let port = port
            .parse()
            .map_err(|_| format!("invalid port {port:?} in {text:?}"))?;
        return Ok(Target::Address(with_port(ip, port)));
    }
    match read_file(rest) {
        Ok(text) => return Ok(Target::File(name_servers(&text))),
        Err(error) if rest.contains('/') => {
            return Err(format!("not an IP address or file: {rest:?}: {error}"));
        }
        Err(_) => {}
    }
    let no_host = || format!("not an IP address, file, or valid domain: {text:?}");
    let (host, port) = match host_and_port {
        Some((host, port)) => (host, port.parse().map_err(|_| no_host())?),
        None => (rest, DNS_PORT),
    };
    match NameBuf::from_text(host) {
        Ok(name) if name.as_wire().len() > 1 && !host.contains(':') => {
            Ok(Target::Host(host.to_owned(), port))
        }
        _ => Err(no_host()),
    }
}

/// `IP` or `IP:PORT`, port 53 unless it is given.
pub fn parse_resolver(text: &str) -> Option<SocketAddr> {
    if let Some(ip) = address(text) {
        return Some(with_port(ip, DNS_PORT));
    }
    let (host, port) = split_host_port(text).ok()?;
    Some(with_port(address(host)?, port.parse().ok()?))
}

/// The addresses of `nameserver` lines, port 53; a zone is removed, and what is no address is skipped.
fn name_servers(text: &str) -> Vec<SocketAddr> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let server = words.next().filter(|&word| word == "nameserver");
        let server = server.and(words.next())?;
        let ip = server.split('%').next()?.parse::<IpAddr>().ok()?;
        Some(SocketAddr::new(ip, DNS_PORT))
    });
    addresses.collect()
}

/// The start of a file in the manner of resolv.conf, at most `limits::RESOLV_CONF_OCTETS`.
///
/// # Errors
/// It cannot be read.
pub fn read_file(path: &str) -> io::Result<String> {
    let mut octets = Vec::new();
    let most = limits::RESOLV_CONF_OCTETS as u64;
    File::open(path)?.take(most).read_to_end(&mut octets)?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

/// An address and the scope of a link-local one.
type Scoped = (IpAddr, u32);

fn address(text: &str) -> Option<Scoped> {
    match text.split_once('%') {
        None => Some((text.parse().ok()?, 0)),
        Some((ip, zone)) => {
            let ip: Ipv6Addr = ip.parse().ok()?;
            Some((ip.into(), scope(zone).unwrap_or(0)))
        }
    }
}

/// The index of an interface, given by name or number.
fn scope(zone: &str) -> Option<u32> {
    if zone.is_empty() || zone.contains(['/', '.']) {
        return None;
    }
    let index = std::fs::read_to_string(format!("/sys/class/net/{zone}/ifindex"));
    match index {
        Ok(index) => index.trim().parse().ok(),
        Err(_) => zone.parse().ok(),
    }
}

fn with_port((ip, scope): Scoped, port: u16) -> SocketAddr {
    match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, port),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope).into(),
    }
}

const DNS_PORT: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_files_and_hosts() {
        let at = |text: &str| Target::Address(text.parse().unwrap());
        let check =
            |text: &str, want: Target| assert_eq!(parse("forward", text), Ok(want), "{text}");
        check("127.0.0.1", at("127.0.0.1:53"));
        check("dns://127.0.0.1", at("127.0.0.1:53"));
        check("127.0.0.1:5301", at("127.0.0.1:5301"));
        check("::1", at("[::1]:53"));
        check("[::1]:5301", at("[::1]:5301"));
        check("dns://[2001:db8::1]:53", at("[2001:db8::1]:53"));
        check("[fe80::1%7]:53", at("[fe80::1%7]:53"));
        check("fe80::1%lo", at("[fe80::1%1]:53"));
        check("ns.example.org", Target::Host("ns.example.org".into(), 53));
        check(
            "ns.example.org:54",
            Target::Host("ns.example.org".into(), 54),
        );
    }

    #[test]
    fn other_texts_are_refused() {
        let check = |text: &str, want: &str| {
            let error = parse("forward", text).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        };
        check(
            "tls://9.9.9.9",
            "tls:// upstreams are not built into percoredns yet",
        );
        check("https://1.1.1.1", "https:// upstreams are not built");
        check("quic://1.1.1.1", "quic:// upstreams are not built");
        check(
            "grpc://1.1.1.1",
            "'grpc' is not supported as a destination protocol in forward: grpc://1.1.1.1",
        );
        check("ftp://1.1.1.1", "not an IP address or file");
        check(
            "/no/such/file",
            "not an IP address or file: \"/no/such/file\"",
        );
        check("a..b", "not an IP address, file, or valid domain: \"a..b\"");
        check("127.0.0.1:65536", "invalid port \"65536\"");
        check(".", "file");
    }

    #[test]
    fn files_list_name_servers() {
        let text = "# comment\nsearch a.b\nnameserver 192.0.2.1\n nameserver\tfe80::1%eth0 x\nnameserver\nnameserver x\n";
        let want = ["192.0.2.1:53", "[fe80::1]:53"].map(|text| text.parse().unwrap());
        assert_eq!(name_servers(text), want);
    }

    #[test]
    fn resolvers_are_addresses() {
        assert_eq!(parse_resolver("192.0.2.1"), "192.0.2.1:53".parse().ok());
        assert_eq!(parse_resolver("[::1]:54"), "[::1]:54".parse().ok());
        assert_eq!(parse_resolver("ns.example.org"), None);
    }
}
