//! Designated resolvers (RFC 9462): a client that knows this server's address learns which of its listeners are encrypted. For those who
//! ask for it (`ddr` of `-tune`).

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::net::IpAddr;

use super::config::Listener;
use crate::corefile::address::Scheme;
use crate::plugin::Query;
use crate::wire::name::NameBuf;
use crate::wire::reply::Section;
use crate::wire::{flag, types};

/// What is answered below resolver.arpa., where the settings name this server.
pub struct Designated {
    /// `_dns.` and the server's name, which may be asked for instead of `_dns.resolver.arpa.`
    own: NameBuf,
    target: NameBuf,
    /// What each encrypted listener is told by, best first.
    listeners: Vec<Offer>,
}

struct Offer {
    /// The `alpn` of a transport (RFC 9461 section 4).
    alpn: &'static str,
    port: u16,
    is_http: bool,
}

impl Designated {
    /// The encrypted listeners of a configuration under the name that their certificate has. `None` if that is no name with a place for
    /// `_dns` in front.
    pub fn of(name: &str, listeners: &[Listener]) -> Option<Designated> {
        let target = NameBuf::from_text(name).ok()?;
        let own = NameBuf::from_text(&["_dns.", name].concat()).ok()?;
        let offers = listeners.iter().filter(|listener| listener.tls.is_some());
        let offers = offers.filter_map(|listener| {
            let (alpn, is_http) = match listener.scheme {
                Scheme::Quic => ("doq", false),
                Scheme::Https3 => ("h3", true),
                Scheme::Https => ("h2", true),
                Scheme::Tls => ("dot", false),
                Scheme::Dns | Scheme::Grpc => return None,
            };
            Some(Offer {
                alpn,
                port: listener.port,
                is_http,
            })
        });
        Some(Designated {
            own,
            target,
            listeners: offers.collect(),
        })
    }

    /// Whether a name is one of those that are answered here.
    #[inline]
    pub fn owns(&self, name: &[u8]) -> bool {
        name == RESOLVER || name == DNS_RESOLVER || name == self.own.as_wire()
    }

    /// Answers a query for a name that is owned: SVCB with all listeners, and nothing for other types. `false`: it is none of that.
    pub fn answer(&self, query: &mut Query) -> bool {
        if !self.owns(query.name()) || query.qclass != types::CLASS_IN || query.opcode() != 0 {
            return false;
        }
        let address = query.local.0.ip().to_canonical();
        let is_asked = query.qtype == types::SVCB && query.name() != RESOLVER;
        let (name, reply) = query.respond_to_name();
        reply.set_flag(flag::AA, true);
        let asked = self.listeners.iter().filter(|_| is_asked);
        for (nth, offer) in asked.enumerate() {
            // limits::LISTENERS fits 16 bits.
            let rdata = offer.rdata(nth as u16 + 1, &self.target, address);
            reply.push(
                Section::Answer,
                name,
                types::SVCB,
                types::CLASS_IN,
                TTL_S,
                &rdata,
            );
        }
        true
    }
}

impl Offer {
    /// Priority, target and parameters in the order of their keys (RFC 9460 section 2.2).
    fn rdata(&self, priority: u16, target: &NameBuf, address: IpAddr) -> Vec<u8> {
        let mut out = priority.to_be_bytes().to_vec();
        out.extend_from_slice(target.as_wire());
        let mut param = |key: u16, value: &[u8]| {
            out.extend_from_slice(&key.to_be_bytes());
            // Each is a few octets long.
            out.extend_from_slice(&(value.len() as u16).to_be_bytes());
            out.extend_from_slice(value);
        };
        let alpn = [&[self.alpn.len() as u8], self.alpn.as_bytes()].concat();
        param(ALPN, &alpn);
        param(PORT, &self.port.to_be_bytes());
        if let IpAddr::V4(address) = address {
            param(IPV4HINT, &address.octets());
        }
        if let IpAddr::V6(address) = address {
            param(IPV6HINT, &address.octets());
        }
        if self.is_http {
            param(DOHPATH, b"/dns-query{?dns}");
        }
        out
    }
}

const RESOLVER: &[u8] = b"\x08resolver\x04arpa\0";
const DNS_RESOLVER: &[u8] = b"\x04_dns\x08resolver\x04arpa\0";
/// A client looks again when its network changes, and no later than this.
const TTL_S: u32 = 300;
/// Keys of parameters (IANA "Service Parameter Keys").
const ALPN: u16 = 1;
const PORT: u16 = 3;
const IPV4HINT: u16 = 4;
const IPV6HINT: u16 = 6;
const DOHPATH: u16 = 7;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use super::*;
    use crate::corefile::RealSource;
    use crate::plugin::Carry;
    use crate::testing::authority::Authority;
    use crate::testing::{Host, directive};
    use crate::tune::Settings;

    #[test]
    fn clients_are_told_of_encrypted_listeners() {
        let authority = Authority::new();
        let (cert, key) = authority.server("dns", &["dns.test"]);
        let text =
            format!("tls://.:8853 .:53 {{\n tls {cert} {key}\n}}\ntls://a.test:9853 {{\n}}\n");
        let mut tune = Settings::floating(1);
        tune.ddr = Some("dns.test".to_owned());
        let host = Host::tuned(&text, &RealSource, &Carry::default(), &Arc::new(tune)).unwrap();
        let designated = host.config.designated.as_ref().unwrap();
        let ask = |name: &str, qtype, qclass| {
            let mut query = directive::query(name, qtype);
            query.local = SocketAddr::from(([192, 0, 2, 53], 53)).into();
            query.qclass = qclass;
            designated.answer(&mut query).then(|| {
                let answers = query.reply.section(Section::Answer);
                let rdata = answers.map(|record| query.reply.rdata(record).to_vec());
                rdata.collect::<Vec<_>>()
            })
        };
        let name = b"\x03dns\x04test\0";
        let params = b"\0\x01\0\x04\x03dot\0\x03\0\x02\x22\x95\0\x04\0\x04\xc0\0\x02\x35";
        let want = [&b"\0\x01"[..], name, params].concat();
        let svcb = |name| ask(name, types::SVCB, types::CLASS_IN);
        assert_eq!(svcb("_dns.resolver.arpa"), Some(vec![want.clone()]));
        assert_eq!(svcb("_DNS.dns.TEST"), Some(vec![want]));
        assert_eq!(svcb("resolver.arpa"), Some(vec![]));
        assert_eq!(svcb("dns.test"), None);
        let (name, chaos) = ("_dns.resolver.arpa", types::CLASS_IN + 2);
        assert_eq!(ask(name, types::A, types::CLASS_IN), Some(vec![]));
        assert_eq!(ask(name, types::SVCB, chaos), None);
    }
}
