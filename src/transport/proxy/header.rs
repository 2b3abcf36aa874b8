//! The PROXY header itself, versions 1 and 2, as HAProxy's proxy-protocol.txt defines it.
//!
//! ```text
//!   version 1:  PROXY TCP4 192.0.2.1 198.51.100.1 40212 53\r\n
//!   version 2:  signature (12) | version, command | family, transport | length (16 bits) | addresses, ports, TLVs
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::limits::{PROXY_HEADER_OCTETS, PROXY_LINE_OCTETS};

/// What stands at the front of a stream or of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// No header: what is there belongs to the protocol behind.
    Bare,
    /// The beginning of a header, or of what may become one.
    Begun,
    /// A whole header.
    Header(Header),
}

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its octets: `1 <= len <= limits::PROXY_HEADER_OCTETS`.
    pub len: usize,
    /// 1 or 2.
    pub version: u8,
    /// Who connected to whom. `None` where the proxy speaks for itself (LOCAL), or names no addresses of IP (UNKNOWN, UNSPEC, UNIX).
    pub ends: Option<Ends>,
}

/// Both ends of the connection that a proxy passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub source: SocketAddr,
    /// The address that the client connected to.
    pub destination: SocketAddr,
}

/// What a header that is written stands in front of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// A stream.
    Stream = 1,
    /// A datagram.
    Datagram = 2,
}

/// It begins as a header does and is none, or is longer than `limits::PROXY_HEADER_OCTETS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Looks for a header at the front. Any octets may be given; none behind the header are looked at.
///
/// # Errors
/// No number of further octets makes a header of it.
pub fn read(octets: &[u8]) -> Result<Front, Malformed> {
    if is_front(octets, SIGNATURE) {
        return binary(octets);
    }
    if is_front(octets, WORD) {
        return line(octets);
    }
    Ok(Front::Bare)
}

/// Whether one begins with the other, as far as both go.
fn is_front(octets: &[u8], mark: &[u8]) -> bool {
    let common = octets.len().min(mark.len());
    octets[..common] == mark[..common]
}

/// Appends a header of version 2, of at most 52 octets. Without `ends` it speaks for the proxy itself (LOCAL, section 2.2).
///
/// Clients of IPv4 that asked an address of IPv6, or the other way round, are told as addresses of IPv6 both, since a header has one family.
pub fn write(ends: Option<&Ends>, carried: Carried, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    let Some(Ends {
        source,
        destination,
    }) = ends
    else {
        return out.extend_from_slice(&[LOCAL, 0, 0, 0]);
    };
    out.push(PROXY);
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            out.extend_from_slice(&[0x10 | carried as u8, 0, IPV4_ENDS as u8]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
        }
        (source, destination) => {
            out.extend_from_slice(&[0x20 | carried as u8, 0, IPV6_ENDS as u8]);
            out.extend_from_slice(&mapped(source).octets());
            out.extend_from_slice(&mapped(destination).octets());
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

// === version 2 ===

fn binary(octets: &[u8]) -> Result<Front, Malformed> {
    let Some((fixed, rest)) = octets.split_first_chunk::<FIXED>() else {
        return Ok(Front::Begun);
    };
    let [.., command, family, high, low] = *fixed;
    let len = usize::from(u16::from_be_bytes([high, low]));
    let command = match command {
        LOCAL => Command::Local,
        PROXY => Command::Proxy,
        _ => return Err(Malformed),
    };
    if FIXED + len > PROXY_HEADER_OCTETS {
        return Err(Malformed);
    }
    let ends_len = match (command, family) {
        // Section 2.2: whatever it says of addresses is skipped.
        (Command::Local, _) | (_, 0x00) => 0,
        (_, 0x11 | 0x12) => IPV4_ENDS,
        (_, 0x21 | 0x22) => IPV6_ENDS,
        (_, 0x31 | 0x32) => UNIX_ENDS,
        _ => return Err(Malformed),
    };
    if len < ends_len {
        return Err(Malformed);
    }
    let Some(body) = rest.get(..len) else {
        return Ok(Front::Begun);
    };
    let ends = match ends_len {
        IPV4_ENDS => ipv4_ends(body),
        IPV6_ENDS => ipv6_ends(body),
        _ => None,
    };
    Ok(Front::Header(Header {
        len: FIXED + len,
        version: 2,
        ends,
    }))
}

#[derive(Clone, Copy)]
enum Command {
    Local,
    Proxy,
}

fn ipv4_ends(body: &[u8]) -> Option<Ends> {
    let ([a, b, c, d, e, f, g, h, ports @ ..], _) = body.split_first_chunk::<IPV4_ENDS>()?;
    let source = Ipv4Addr::new(*a, *b, *c, *d);
    let destination = Ipv4Addr::new(*e, *f, *g, *h);
    Some(ends(source.into(), destination.into(), *ports))
}

fn ipv6_ends(body: &[u8]) -> Option<Ends> {
    let (source, rest) = body.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    let (ports, _) = rest.split_first_chunk::<4>()?;
    let ip = |octets: &[u8; 16]| IpAddr::V6(Ipv6Addr::from(*octets));
    Some(ends(ip(source), ip(destination), *ports))
}

fn ends(source: IpAddr, destination: IpAddr, [a, b, c, d]: [u8; 4]) -> Ends {
    Ends {
        source: SocketAddr::new(source, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
    }
}

// === version 1 ===

fn line(octets: &[u8]) -> Result<Front, Malformed> {
    let reach = octets.len().min(PROXY_LINE_OCTETS);
    let end = octets[..reach].windows(2).position(|pair| pair == b"\r\n");
    let Some(end) = end else {
        return match octets.len() < PROXY_LINE_OCTETS {
            true => Ok(Front::Begun),
            false => Err(Malformed),
        };
    };
    let line = std::str::from_utf8(&octets[..end]).map_err(|_| Malformed)?;
    let mut words = line.split(' ').skip(1);
    let ends = match words.next() {
        // Section 2.1: the rest of the line is not looked at.
        Some("UNKNOWN") => None,
        Some(family @ ("TCP4" | "TCP6")) => Some(line_ends(family == "TCP4", words)?),
        _ => return Err(Malformed),
    };
    Ok(Front::Header(Header {
        len: end + 2,
        version: 1,
        ends,
    }))
}

fn line_ends<'a>(is_v4: bool, mut words: impl Iterator<Item = &'a str>) -> Result<Ends, Malformed> {
    let mut word = || words.next().ok_or(Malformed);
    let (source, destination) = (address(is_v4, word()?)?, address(is_v4, word()?)?);
    let (from, to) = (port(word()?)?, port(word()?)?);
    match words.next() {
        None => Ok(Ends {
            source: SocketAddr::new(source, from),
            destination: SocketAddr::new(destination, to),
        }),
        Some(_) => Err(Malformed),
    }
}

fn address(is_v4: bool, word: &str) -> Result<IpAddr, Malformed> {
    let addr: IpAddr = word.parse().map_err(|_| Malformed)?;
    (addr.is_ipv4() == is_v4).then_some(addr).ok_or(Malformed)
}

/// Digits alone, none of them a leading zero.
fn port(word: &str) -> Result<u16, Malformed> {
    let is_plain = word.bytes().all(|octet| octet.is_ascii_digit())
        && (word.len() == 1 || !word.starts_with('0'));
    let port = word.parse().map_err(|_| Malformed)?;
    is_plain.then_some(port).ok_or(Malformed)
}

/// How a header of version 1 begins.
const WORD: &[u8] = b"PROXY ";
/// How one of version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The version with a command: the proxy speaks for itself, or for a client.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Octets of version 2 in front of the addresses.
const FIXED: usize = 16;
/// Octets of two addresses and their ports.
const IPV4_ENDS: usize = 12;
const IPV6_ENDS: usize = 36;
/// Octets of two paths.
const UNIX_ENDS: usize = 216;
