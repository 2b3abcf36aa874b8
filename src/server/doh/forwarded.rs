//! The client's address as proxies tell it: `Forwarded` (RFC 7239) or `X-Forwarded-For`, one of them.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use crate::lang::cidr::NetSet;
use crate::limits;

/// Who asks, if the peer is a trusted proxy: the nearest address that is none, or the farthest proxy. `None`: the peer itself.
///
/// What stands before the first address that cannot be read was told by nobody whom we trust, so it is not looked at.
pub(in crate::server) fn client(
    fields: &HeaderMap,
    peer: SocketAddr,
    trusted: &NetSet,
) -> Option<SocketAddr> {
    if !trusted.contains(peer.ip().to_canonical()) {
        return None;
    }
    let has_standard = fields.contains_key(http::header::FORWARDED);
    if has_standard && fields.contains_key("x-forwarded-for") {
        // A proxy that writes one of them lets the other through as the client wrote it, and nobody can tell which.
        return None;
    }
    let name = if has_standard {
        "forwarded"
    } else {
        "x-forwarded-for"
    };
    let values = fields.get_all(name).iter().collect::<Vec<_>>();
    let hops = values
        .into_iter()
        .rev()
        .flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
    let mut nearest = None;
    for hop in hops.take(limits::FORWARDED_HOPS) {
        let node = if has_standard { node(hop) } else { Some(hop) };
        let Some(addr) = node.and_then(|node| address(node.trim())) else {
            break;
        };
        nearest = Some(addr);
        if !trusted.contains(addr.ip().to_canonical()) {
            break;
        }
    }
    nearest
}

/// The value of `for` in one element of `Forwarded`.
fn node(element: &str) -> Option<&str> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut nodes = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    let (_, value) = nodes.next()?;
    Some(value.trim().trim_matches('"'))
}

/// An address with a port or without, IPv6 in brackets or bare. A port that is left out is 0.
fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Some(addr);
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let addr: IpAddr = bare.unwrap_or(text).parse().ok()?;
    Some(SocketAddr::new(addr, 0))
}
