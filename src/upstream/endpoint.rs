//! Where an upstream is and what it speaks.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use crate::tls::Client;

/// What an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// UDP and TCP.
    Dns,
    /// TLS (RFC 7858).
    Tls,
    /// HTTP/2 over TLS (RFC 8484).
    Https(Method),
    /// HTTP/3 (RFC 8484).
    Https3(Method),
    /// QUIC (RFC 9250).
    Quic,
    /// CoreDNS's gRPC service, over TLS or not.
    Grpc,
}

impl Transport {
    /// Whether QUIC carries it.
    pub(super) fn is_quic(self) -> bool {
        matches!(self, Transport::Quic | Transport::Https3(_))
    }

    /// Its `proto` label.
    pub(super) fn label(self) -> &'static str {
        match self {
            Transport::Dns => "tcp",
            Transport::Tls => "tcp-tls",
            Transport::Https(_) => "https",
            Transport::Https3(_) => "https3",
            Transport::Quic => "quic",
            Transport::Grpc => "grpc",
        }
    }
}

/// How HTTP carries the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Method {
    /// In the path, which caches of HTTP understand.
    Get,
    /// In the body.
    #[default]
    Post,
}

/// Where an upstream listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An address and a port.
    Ip(SocketAddr),
    /// A socket in the file system.
    Path(PathBuf),
}

/// One upstream.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// What it speaks.
    pub transport: Transport,
    /// The terms of TLS; none where it is not spoken.
    pub tls: Option<Arc<Client>>,
    /// Whether it is told of each client by a PROXY header (`upstream_proxy_protocol`).
    pub is_proxied: bool,
}

impl Endpoint {
    /// An upstream over UDP and TCP.
    pub fn plain(addr: SocketAddr) -> Endpoint {
        Endpoint {
            address: Address::Ip(addr),
            transport: Transport::Dns,
            tls: None,
            is_proxied: false,
        }
    }

    /// Who HTTP asks: the name of the certificate, and the port unless it is the scheme's own.
    pub(super) fn authority(&self) -> String {
        let (ip, port) = match &self.address {
            Address::Ip(addr) => (Some(addr.ip()), addr.port()),
            Address::Path(_) => (None, HTTPS_PORT),
        };
        let host = match (&self.tls, ip) {
            (Some(tls), _) => tls.name().to_str().into_owned(),
            (None, Some(ip)) => ip.to_string(),
            (None, None) => "localhost".to_owned(),
        };
        let host = match host.parse() {
            Ok(IpAddr::V6(_)) => format!("[{host}]"),
            _ => host,
        };
        match port {
            HTTPS_PORT => host,
            port => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Address {
    /// Without the scope of a link-local address, as CoreDNS's labels have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(SocketAddr::V4(addr)) => addr.fmt(f),
            Address::Ip(SocketAddr::V6(addr)) => write!(f, "[{}]:{}", addr.ip(), addr.port()),
            Address::Path(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

const HTTPS_PORT: u16 = 443;
