//! Upstreams as a Corefile names them: addresses, files in the manner of resolv.conf, host names.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;

use crate::corefile::address::Scheme;
use crate::corefile::split_host_port;
use crate::limits;
use crate::wire::name::NameBuf;

/// What one argument stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What is spoken there.
    pub scheme: Scheme,
    /// The name of the certificate, behind a `%`.
    pub server_name: Option<String>,
    /// Where it is.
    pub location: Location,
}

/// Where an upstream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// An address and a port.
    Address(SocketAddr),
    /// The name servers of a file; none if it lists none.
    File(Vec<SocketAddr>),
    /// A host to look up.
    Host(String, u16),
    /// A socket in the file system.
    Path(PathBuf),
}

/// What a plugin takes.
pub struct Takes {
    /// Its name, for errors.
    pub plugin: &'static str,
    /// The schemes that may be written.
    pub schemes: &'static [Scheme],
    /// What is spoken where none is written; the port is 53 all the same.
    pub bare: Scheme,
    /// Whether `unix://PATH` may be written.
    pub paths: bool,
}

impl Takes {
    /// Reads `[SCHEME://]IP[%NAME][:PORT]`, the name of a file, or `[SCHEME://]HOST[:PORT]`. Behind the `%` is the zone of a link-local
    /// address, or the name of the certificate where TLS is spoken.
    ///
    /// # Errors
    /// Another scheme, or text that is none of these.
    pub fn parse(&self, text: &str) -> Result<Target, String> {
        let (scheme, port, rest) = self.scheme(text)?;
        let Some(scheme) = scheme else {
            return Ok(Target {
                scheme: self.bare,
                server_name: None,
                location: Location::Path(rest.into()),
            });
        };
        let is_http = matches!(scheme, Scheme::Https | Scheme::Https3);
        if is_http && rest.contains('/') {
            return Err(format!(
                "a path is not supported in {text:?}: the path of {scheme} upstreams is always /dns-query; remove it"
            ));
        }
        let (rest, server_name) = match scheme {
            Scheme::Dns | Scheme::Grpc => (rest.to_owned(), None),
            _ => split_server_name(rest).map_err(|()| format!("no server name in {text:?}"))?,
        };
        let location = location(text, &rest, port, scheme == Scheme::Dns)?;
        Ok(Target {
            scheme,
            server_name,
            location,
        })
    }

    /// The scheme, none for a path, with its port; and what is behind it.
    fn scheme<'t>(&self, text: &'t str) -> Result<(Option<Scheme>, u16, &'t str), String> {
        let Some((name, rest)) = text.split_once("://") else {
            return Ok((Some(self.bare), DNS_PORT, text));
        };
        if name == "unix" && self.paths {
            return Ok((None, 0, rest));
        }
        match Scheme::from_name(name) {
            Some(scheme) if self.schemes.contains(&scheme) => {
                Ok((Some(scheme), scheme.default_port(DNS_PORT), rest))
            }
            None if name != "unix" => Err(format!("not an IP address or file: {text:?}")),
            _ => Err(format!(
                "'{name}' is not supported as a destination protocol in {}: {text}",
                self.plugin
            )),
        }
    }
}

/// Takes the name of a certificate out of `IP%NAME[:PORT]`, `IP:PORT%NAME` or `[IP%NAME]:PORT`.
fn split_server_name(text: &str) -> Result<(String, Option<String>), ()> {
    let Some((before, behind)) = text.rsplit_once('%') else {
        return Ok((text.to_owned(), None));
    };
    let end = behind.find([':', ']']).unwrap_or(behind.len());
    let (name, rest) = behind.split_at(end);
    match name.is_empty() {
        true => Err(()),
        false => Ok((format!("{before}{rest}"), Some(name.to_owned()))),
    }
}

fn location(text: &str, rest: &str, port: u16, may_be_file: bool) -> Result<Location, String> {
    if let Some(ip) = address(rest) {
        return Ok(Location::Address(with_port(ip, port)));
    }
    if let Some(inner) = rest
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        && let Some(ip) = address(inner)
    {
        return Ok(Location::Address(with_port(ip, port)));
    }
    let host_and_port = split_host_port(rest).ok();
    if let Some((host, port)) = host_and_port
        && let Some(ip) = address(host)
    {
        let port = port
            .parse()
            .map_err(|_| format!("invalid port {port:?} in {text:?}"))?;
        return Ok(Location::Address(with_port(ip, port)));
    }
    if may_be_file {
        match read_file(rest) {
            Ok(text) => return Ok(Location::File(name_servers(&text))),
            Err(error) if rest.contains('/') => {
                return Err(format!("not an IP address or file: {rest:?}: {error}"));
            }
            Err(_) => {}
        }
    }
    let no_host = || format!("not an IP address, file, or valid domain: {text:?}");
    let (host, port) = match host_and_port {
        Some((host, port)) => (host, port.parse().map_err(|_| no_host())?),
        None => (rest, port),
    };
    match NameBuf::from_text(host) {
        Ok(name) if name.as_wire().len() > 1 && !host.contains([':', '/']) => {
            Ok(Location::Host(host.to_owned(), port))
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

    const ALL: Takes = Takes {
        plugin: "forward",
        schemes: &[
            Scheme::Dns,
            Scheme::Tls,
            Scheme::Https,
            Scheme::Quic,
            Scheme::Https3,
        ],
        bare: Scheme::Dns,
        paths: false,
    };
    const GRPC: Takes = Takes {
        plugin: "grpc",
        schemes: &[Scheme::Grpc],
        bare: Scheme::Grpc,
        paths: true,
    };

    #[test]
    fn addresses_files_and_hosts() {
        let at = |text: &str| Location::Address(text.parse().unwrap());
        let check = |text: &str, want: Location| {
            let target = ALL.parse(text).unwrap();
            assert_eq!(target.scheme, Scheme::Dns, "{text}");
            assert_eq!(target.location, want, "{text}");
        };
        check("127.0.0.1", at("127.0.0.1:53"));
        check("dns://127.0.0.1", at("127.0.0.1:53"));
        check("127.0.0.1:5301", at("127.0.0.1:5301"));
        check("::1", at("[::1]:53"));
        check("[::1]", at("[::1]:53"));
        check("[::1]:5301", at("[::1]:5301"));
        check("dns://[2001:db8::1]:53", at("[2001:db8::1]:53"));
        check("[fe80::1%7]:53", at("[fe80::1%7]:53"));
        check("fe80::1%lo", at("[fe80::1%1]:53"));
        let host = |port| Location::Host("ns.example.org".into(), port);
        check("ns.example.org", host(53));
        check("ns.example.org:54", host(54));
    }

    #[test]
    fn schemes_have_ports_and_names() {
        let check = |takes: &Takes, text: &str, scheme: Scheme, address: &str, name: &str| {
            let target = takes.parse(text).unwrap();
            assert_eq!(target.scheme, scheme, "{text}");
            let location = Location::Address(address.parse().unwrap());
            assert_eq!(target.location, location, "{text}");
            assert_eq!(target.server_name.unwrap_or_default(), name, "{text}");
        };
        use Scheme::{Grpc, Https, Https3, Quic, Tls};
        check(&ALL, "tls://9.9.9.9", Tls, "9.9.9.9:853", "");
        check(&ALL, "tls://9.9.9.9:854", Tls, "9.9.9.9:854", "");
        check(&ALL, "tls://9.9.9.9%a.b", Tls, "9.9.9.9:853", "a.b");
        check(&ALL, "tls://9.9.9.9%a.b:854", Tls, "9.9.9.9:854", "a.b");
        check(&ALL, "tls://9.9.9.9:854%a.b", Tls, "9.9.9.9:854", "a.b");
        check(&ALL, "tls://::1%a.b", Tls, "[::1]:853", "a.b");
        check(&ALL, "tls://[::1%a.b]:854", Tls, "[::1]:854", "a.b");
        check(&ALL, "tls://[::1]%a.b:854", Tls, "[::1]:854", "a.b");
        check(&ALL, "https://1.1.1.1", Https, "1.1.1.1:443", "");
        check(&ALL, "quic://1.1.1.1", Quic, "1.1.1.1:853", "");
        check(&ALL, "https3://1.1.1.1", Https3, "1.1.1.1:443", "");
        check(&GRPC, "1.1.1.1", Grpc, "1.1.1.1:53", "");
        check(&GRPC, "grpc://1.1.1.1", Grpc, "1.1.1.1:443", "");
        let unix = GRPC.parse("unix:///run/a.sock").unwrap();
        assert_eq!(unix.location, Location::Path("/run/a.sock".into()));
        let host = ALL.parse("https://dns.example").unwrap();
        assert_eq!(host.location, Location::Host("dns.example".into(), 443));
    }

    #[test]
    fn other_texts_are_refused() {
        let check = |takes: &Takes, text: &str, want: &str| {
            let error = takes.parse(text).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        };
        let no_scheme = "'grpc' is not supported as a destination protocol in forward: grpc://a";
        check(&ALL, "grpc://a", no_scheme);
        check(&ALL, "unix:///a", "'unix' is not supported");
        check(
            &GRPC,
            "tls://1.1.1.1",
            "'tls' is not supported as a destination protocol in grpc",
        );
        check(&ALL, "ftp://1.1.1.1", "not an IP address or file");
        check(
            &ALL,
            "https://1.1.1.1/dns-query",
            "always /dns-query; remove it",
        );
        check(&ALL, "tls://1.1.1.1%", "no server name in");
        check(&ALL, "tls:///etc/resolv.conf", "or valid domain");
        check(
            &ALL,
            "/no/such/file",
            "not an IP address or file: \"/no/such/file\"",
        );
        check(
            &ALL,
            "a..b",
            "not an IP address, file, or valid domain: \"a..b\"",
        );
        check(&ALL, "127.0.0.1:65536", "invalid port \"65536\"");
        check(&ALL, ".", "file");
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
