//! From what a Corefile says of upstreams to endpoints: names, certificates, methods. It reads files.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::endpoint::{Address, Endpoint, Method, Transport};
use super::resolve;
use super::target::{Location, Takes, Target};
use crate::corefile::address::Scheme;
use crate::corefile::zones::zones_of;
use crate::corefile::{Args, SetupError, ZoneName};
use crate::limits;
use crate::plugin::SetupCx;
use crate::telemetry::log;
use crate::tls::{Client, ClientSettings, server_name};

/// Reads FROM: a zone, or the first of those that a CIDR block makes.
///
/// # Errors
/// None, or no zone.
pub fn zone(args: &mut Args<'_>) -> Result<ZoneName, SetupError> {
    let text = args.expect_arg()?;
    let zones = zones_of(text);
    let Some(first) = zones.first() else {
        return Err(args.err(format!("unable to normalize '{text}'")));
    };
    if zones.len() > 1 {
        log::warning(
            Some(args.name()),
            format_args!(
                "Unsupported CIDR notation: '{text}' expands to multiple zones. Using only '{first}'."
            ),
        );
    }
    Ok(first.clone())
}

/// Reads TO...
///
/// # Errors
/// None, too many, or one that is not taken.
pub fn targets(args: &mut Args<'_>, takes: &Takes) -> Result<Vec<Target>, SetupError> {
    let texts = some_args(args)?;
    let count = texts.len();
    if count > limits::FORWARD_TARGETS {
        let most = limits::FORWARD_TARGETS;
        return Err(args.err(format!("more than {most} TOs configured: {count}")));
    }
    let targets = texts.iter().map(|text| takes.parse(text));
    let targets: Vec<Target> = targets.collect::<Result<_, _>>().map_err(|e| args.err(e))?;
    let is_empty =
        |target: &Target| matches!(&target.location, Location::File(servers) if servers.is_empty());
    if targets.iter().all(is_empty) {
        return Err(args.err("no nameservers found"));
    }
    Ok(targets)
}

/// The words that are left on the line.
///
/// # Errors
/// There are none.
pub fn some_args<'a>(args: &mut Args<'a>) -> Result<Vec<&'a str>, SetupError> {
    let words = args.remaining_args();
    if words.is_empty() {
        return Err(args.arg_err());
    }
    Ok(words)
}

/// The options of a directive that are about TLS and HTTP.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// `tls` was given: the certificate with its key, and the authorities.
    tls: Option<Files>,
    /// `tls_servername`.
    pub server_name: Option<String>,
    /// `doh_method`.
    pub method: Method,
}

#[derive(Debug, Clone, Default)]
struct Files {
    cert: Option<(PathBuf, PathBuf)>,
    ca: Option<PathBuf>,
}

/// Where a target is, with the name that its certificate should have; of its own, or of its host.
struct Found {
    scheme: Scheme,
    address: Address,
    name: Option<String>,
}

impl Terms {
    /// Reads `tls [CERT KEY] [CA]`.
    ///
    /// # Errors
    /// More words.
    pub fn read_tls(&mut self, args: &mut Args<'_>, cx: &SetupCx<'_>) -> Result<(), SetupError> {
        let paths = args.remaining_args();
        let pair = |cert, key| Some((cx.path(cert), cx.path(key)));
        let (cert, ca) = match paths[..] {
            [] => (None, None),
            [ca] => (None, Some(cx.path(ca))),
            [cert, key] => (pair(cert, key), None),
            [cert, key, ca] => (pair(cert, key), Some(cx.path(ca))),
            _ => return Err(args.arg_err()),
        };
        self.tls = Some(Files { cert, ca });
        Ok(())
    }

    /// Reads `tls_servername NAME`.
    ///
    /// # Errors
    /// No name, or one that no certificate has.
    pub fn read_server_name(&mut self, args: &mut Args<'_>) -> Result<(), SetupError> {
        let name = args.expect_arg()?;
        server_name(name).map_err(|error| args.err(error))?;
        self.server_name = Some(name.to_owned());
        Ok(())
    }

    /// The endpoints of all targets in order, each once. Blocks: hosts are resolved, and files read.
    ///
    /// # Errors
    /// A host or a file that is of no use; two names for one upstream; too many.
    pub fn endpoints(
        &self,
        cx: &SetupCx<'_>,
        targets: &[Target],
        resolvers: &[SocketAddr],
    ) -> Result<Vec<Endpoint>, String> {
        let mut all: Vec<Endpoint> = Vec::new();
        for target in targets {
            if let (Some(ours), Some(own)) = (&self.server_name, &target.server_name) {
                return Err(format!(
                    "both forward ('{ours}') and proxy level ('{own}') TLS servernames are set for upstream proxy '{}'",
                    show(&target.location)
                ));
            }
            for found in find(target, resolvers)? {
                let endpoint = self.endpoint(cx, found)?;
                if !all.iter().any(|other| other.is_same(&endpoint)) {
                    all.push(endpoint);
                }
            }
        }
        if all.len() > limits::FORWARD_UPSTREAMS {
            let most = limits::FORWARD_UPSTREAMS;
            let count = all.len();
            return Err(format!("more than {most} addresses of upstreams: {count}"));
        }
        Ok(all)
    }

    fn endpoint(&self, cx: &SetupCx<'_>, found: Found) -> Result<Endpoint, String> {
        let (transport, alpn): (_, Option<&'static [u8]>) = match found.scheme {
            Scheme::Dns => (Transport::Dns, None),
            Scheme::Tls => (Transport::Tls, None),
            Scheme::Https => (Transport::Https(self.method), Some(b"h2")),
            Scheme::Grpc => (Transport::Grpc, Some(b"h2")),
            Scheme::Https3 => (Transport::Https3(self.method), Some(b"h3")),
            Scheme::Quic => (Transport::Quic, Some(b"doq")),
        };
        let speaks_tls = match transport {
            Transport::Dns => false,
            // Without *tls* it is plain, as CoreDNS's is.
            Transport::Grpc => self.tls.is_some(),
            _ => true,
        };
        let tls = match speaks_tls {
            true => Some(self.client(cx, &found, alpn)?),
            false => None,
        };
        let is_proxied = match &found.address {
            Address::Ip(addr) => cx.tune.tells_clients(*addr),
            Address::Path(_) => false,
        };
        if is_proxied && transport.is_quic() {
            // Each datagram of QUIC would need a header, and connections outlive a query.
            return Err(format!(
                "{}:// upstream {} is in upstream_proxy_protocol, which QUIC cannot carry; take it out of the file of -tune, or use tls:// or https://",
                found.scheme, found.address
            ));
        }
        Ok(Endpoint {
            address: found.address,
            transport,
            tls,
            is_proxied,
        })
    }

    /// The terms of TLS with one upstream. They outlive a reload, with the sessions that can be resumed.
    fn client(
        &self,
        cx: &SetupCx<'_>,
        found: &Found,
        alpn: Option<&'static [u8]>,
    ) -> Result<Arc<Client>, String> {
        let name = match (&self.server_name, &found.name, &found.address) {
            (Some(name), ..) | (None, Some(name), _) => name.clone(),
            (None, None, Address::Ip(addr)) => addr.ip().to_string(),
            (None, None, Address::Path(_)) => "localhost".to_owned(),
        };
        let files = self.tls.clone().unwrap_or_default();
        let pins = match &found.address {
            Address::Ip(addr) => cx.tune.upstream_pins.get(&addr.ip()),
            Address::Path(_) => None,
        };
        let settings = ClientSettings {
            cert: files.cert,
            ca: files.ca,
            name: server_name(&name)?,
            pins: pins.cloned().unwrap_or_default(),
            alpn,
        };
        let key = format!("{} {settings:?}", found.address);
        let loaded = Client::load(settings)?;
        let client = cx.carry.obtain(&key, || Arc::new(loaded));
        // An old one may not have seen yet what the new one was just made of.
        client.refresh();
        Ok(client)
    }
}

impl Endpoint {
    /// What tells endpoints, and what is known of their health, from one another.
    pub fn key(&self) -> String {
        let Endpoint {
            address,
            transport,
            tls,
            is_proxied,
        } = self;
        format!("{address:?} {transport:?} {tls:?} {is_proxied}")
    }

    fn is_same(&self, other: &Endpoint) -> bool {
        self.key() == other.key()
    }
}

/// Looks again, on the control side, at the files of these endpoints while the configuration serves.
pub fn watch(cx: &mut SetupCx<'_>, plugin: &'static str, endpoints: &[Endpoint]) {
    let clients: Vec<_> = endpoints.iter().filter_map(|to| to.tls.clone()).collect();
    if !clients.is_empty() {
        cx.every(crate::tls::LOOK, plugin, move || {
            for client in &clients {
                client.refresh();
            }
        });
    }
}

fn find(target: &Target, resolvers: &[SocketAddr]) -> Result<Vec<Found>, String> {
    let found = |address| Found {
        scheme: target.scheme,
        address,
        name: target.server_name.clone(),
    };
    let at = |addr: &SocketAddr| found(Address::Ip(*addr));
    Ok(match &target.location {
        Location::Address(addr) => vec![at(addr)],
        Location::File(servers) => servers.iter().map(at).collect(),
        Location::Path(path) => vec![found(Address::Path(path.clone()))],
        Location::Host(host, port) => {
            let named = |addr: &SocketAddr| Found {
                name: target.server_name.clone().or(Some(host.clone())),
                ..at(addr)
            };
            let addresses = resolve::addresses(host, *port, resolvers)?;
            addresses.iter().map(named).collect()
        }
    })
}

fn show(location: &Location) -> String {
    match location {
        Location::Address(addr) => addr.to_string(),
        Location::Host(host, port) => format!("{host}:{port}"),
        Location::Path(path) => path.display().to_string(),
        Location::File(_) => "file".to_owned(),
    }
}
