//! Keys of server blocks: which zone is served over which transport on which port, and which of them collide.

use std::collections::HashMap;
use std::fmt;

use super::zone_name::ZoneName;
use super::zones::{split_port, split_scheme};
use super::{ServerBlock, SetupError, Token};

/// How queries of a server block arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Plain DNS over UDP and TCP.
    Dns,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over QUIC (RFC 9250).
    Quic,
    /// CoreDNS's gRPC service.
    Grpc,
    /// DNS over HTTPS (RFC 8484) with HTTP/1.1 and HTTP/2.
    Https,
    /// DNS over HTTP/3.
    Https3,
}

impl Scheme {
    /// Its name without `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Quic => "quic",
            Self::Grpc => "grpc",
            Self::Https => "https",
            Self::Https3 => "https3",
        }
    }

    /// Port of a key that names none; `dns_port` is the one of plain DNS.
    pub fn default_port(self, dns_port: u16) -> u16 {
        match self {
            Self::Dns => dns_port,
            Self::Tls | Self::Quic => 853,
            Self::Grpc | Self::Https | Self::Https3 => 443,
        }
    }

    /// The scheme of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [
            Self::Dns,
            Self::Tls,
            Self::Quic,
            Self::Grpc,
            Self::Https,
            Self::Https3,
        ];
        all.into_iter().find(|scheme| scheme.as_str() == name)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One zone on one port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Transport.
    pub scheme: Scheme,
    /// Zone.
    pub zone: ZoneName,
    /// Port; 0 lets the kernel choose one.
    pub port: u16,
}

impl Key {
    /// `SCHEME://ZONE:PORT[ on HOST]`, the form of errors; `host` is empty without *bind*.
    pub fn address(&self, host: &str) -> String {
        let Self { scheme, zone, port } = self;
        format!("{scheme}://{zone}:{port}{}", on(host))
    }

    /// `[SCHEME://]ZONE:PORT[ on HOST]`, the line that start-up prints; plain DNS goes without its scheme.
    pub fn listener_line(&self, host: &str) -> String {
        format!("{self}{}", on(host))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scheme != Scheme::Dns {
            write!(f, "{}://", self.scheme)?;
        }
        write!(f, "{}:{}", self.zone, self.port)
    }
}

/// The keys of a server block in their order, each CIDR key replaced by its reverse zones. Never empty.
pub fn keys(block: &ServerBlock, dns_port: u16) -> Result<Vec<Key>, SetupError> {
    let mut keys = Vec::new();
    for token in &block.keys {
        let (scheme, rest) = split_scheme(&token.text);
        let (zones, port) = split_port(rest).map_err(|error| {
            SetupError::plain(format!("error inspecting server blocks: {error}"))
        })?;
        let scheme = Scheme::from_name(scheme).ok_or_else(|| no_server(token, scheme))?;
        let port = match port {
            None => scheme.default_port(dns_port),
            Some(port) => u16::try_from(port)
                .map_err(|_| SetupError::plain(format!("address {port}: invalid port")))?,
        };
        keys.extend(zones.into_iter().map(|zone| Key { scheme, zone, port }));
    }
    Ok(keys)
}

fn no_server(token: &Token, scheme: &str) -> SetupError {
    let message =
        format!("no server listens on {scheme}://; use dns, tls, quic, grpc, https or https3");
    SetupError::at(token.file.clone(), token.line, message)
}

fn on(host: &str) -> String {
    if host.is_empty() {
        String::new()
    } else {
        format!(" on {host}")
    }
}

// === overlap ===

/// Finds zones that are served twice, or both on all addresses and on one of them.
///
/// The check is by zone: different zones may be bound and unbound on one port.
#[derive(Debug, Default)]
pub struct Overlap {
    /// Per key, the hosts registered for it, the last one at the end.
    hosts: HashMap<Key, Vec<String>>,
}

impl Overlap {
    /// Registers `key` on `host`, empty for all addresses. A block with a *view* may repeat a zone, so it is checked
    /// but not registered.
    pub fn add(&mut self, key: &Key, host: &str, has_view: bool) -> Result<(), SetupError> {
        let hosts = self.hosts.get(key).map_or(&[][..], Vec::as_slice);
        let is_defined = hosts.iter().any(|other| other == host);
        if is_defined {
            if has_view {
                return Ok(());
            }
            let message = format!("cannot serve {} - it is already defined", key.address(host));
            return Err(SetupError::plain(message));
        }
        let other = if host.is_empty() {
            hosts.last()
        } else {
            hosts.iter().find(|other| other.is_empty())
        };
        if let Some(other) = other {
            let (this, other) = (key.address(host), key.address(other));
            let message =
                format!("cannot serve {this} - zone overlap listener capacity with {other}");
            return Err(SetupError::plain(message));
        }
        if !has_view {
            self.hosts
                .entry(key.clone())
                .or_default()
                .push(host.to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(keys_text: &str) -> Result<Vec<Key>, String> {
        let file: std::sync::Arc<str> = "Corefile".into();
        let token = |text: &str| Token {
            file: file.clone(),
            line: 1,
            text: text.to_owned(),
        };
        let block = ServerBlock {
            keys: keys_text.split(' ').map(token).collect(),
            directives: Vec::new(),
        };
        keys(&block, 1053).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_have_schemes_zones_and_ports() {
        #[track_caller]
        fn check(text: &str, want: &[&str]) {
            let lines: Vec<_> = read(text).unwrap().iter().map(Key::to_string).collect();
            assert_eq!(lines, want, "{text}");
        }
        check(".", &[".:1053"]);
        check("Example.org:53 dns://a", &["example.org.:53", "a.:1053"]);
        check("tls://a quic://a", &["tls://a.:853", "quic://a.:853"]);
        check(
            "grpc://a https://a https3://a",
            &["grpc://a.:443", "https://a.:443", "https3://a.:443"],
        );
        check("tls://.:8853", &["tls://.:8853"]);
        check(".:0", &[".:0"]);
        check(
            "tls://10.0.0.0/15 a",
            &[
                "tls://0.10.in-addr.arpa.:853",
                "tls://1.10.in-addr.arpa.:853",
                "a.:1053",
            ],
        );
        check("squic://a", &["squic://a.:1053"]);
        check("192.0.2.1:53", &["192.0.2.1.:53"]);
    }

    #[test]
    fn bad_keys_are_refused() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            assert_eq!(read(text).unwrap_err(), want, "{text}");
        }
        check(
            ":1053",
            "error inspecting server blocks: zone is not a valid domain name: ",
        );
        check(
            "a:",
            "error inspecting server blocks: expecting data after last colon: \"a:\"",
        );
        check(".:65536", "address 65536: invalid port");
        check(".:-1", "address -1: invalid port");
        check(
            "unix://a",
            "Corefile:1 - Error during parsing: no server listens on unix://; \
             use dns, tls, quic, grpc, https or https3",
        );
    }

    #[test]
    fn listener_lines_name_their_address() {
        let keys = read(".:53 tls://example.org").unwrap();
        assert_eq!(keys[0].listener_line(""), ".:53");
        assert_eq!(keys[0].listener_line("127.0.0.1"), ".:53 on 127.0.0.1");
        assert_eq!(
            keys[1].listener_line("::1"),
            "tls://example.org.:853 on ::1"
        );
        assert_eq!(keys[0].address("127.0.0.1"), "dns://.:53 on 127.0.0.1");
    }

    #[test]
    fn zones_served_twice_are_found() {
        #[track_caller]
        fn check(entries: &[(&str, &str, bool)], want: Result<(), &str>) {
            let mut overlap = Overlap::default();
            let mut result = Ok(());
            for (key, host, has_view) in entries {
                let keys = read(key).unwrap();
                result = result.and_then(|()| overlap.add(&keys[0], host, *has_view));
            }
            let result = result.map_err(|error| error.to_string());
            assert_eq!(result, want.map_err(str::to_owned));
        }
        check(&[("a:53", "", false), ("b:53", "", false)], Ok(()));
        check(
            &[
                ("a:53", "", false),
                ("tls://a:53", "", false),
                ("a:54", "", false),
            ],
            Ok(()),
        );
        check(
            &[("a:53", "", false), ("A.:53", "", false)],
            Err("cannot serve dns://a.:53 - it is already defined"),
        );
        check(
            &[("a:53", "::1", false), ("a:53", "::1", false)],
            Err("cannot serve dns://a.:53 on ::1 - it is already defined"),
        );
        check(&[("a:53", "::1", false), ("a:53", "::2", false)], Ok(()));
        check(
            &[("a:53", "", false), ("a:53", "::1", false)],
            Err(
                "cannot serve dns://a.:53 on ::1 - zone overlap listener capacity with dns://a.:53",
            ),
        );
        check(
            &[
                ("a:53", "::1", false),
                ("a:53", "::2", false),
                ("a:53", "", false),
            ],
            Err(
                "cannot serve dns://a.:53 - zone overlap listener capacity with dns://a.:53 on ::2",
            ),
        );
        check(
            &[("a:53", "", true), ("a:53", "", true), ("a:53", "", false)],
            Ok(()),
        );
        check(&[("a:53", "", false), ("a:53", "", true)], Ok(()));
        check(
            &[("a:53", "", false), ("a:53", "::1", true)],
            Err(
                "cannot serve dns://a.:53 on ::1 - zone overlap listener capacity with dns://a.:53",
            ),
        );
        check(&[("a:53", "", false), ("b:53", "::1", false)], Ok(()));
    }
}
