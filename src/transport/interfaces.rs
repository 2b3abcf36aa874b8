//! The network interfaces of this machine, the addresses that *bind* may name, and the machine's own name.

use std::ffi::CStr;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host {
    /// The address.
    pub ip: IpAddr,
    /// Name and index of its interface, which an IPv6 link-local address needs (RFC 4007 section 6).
    pub scope: Option<(String, u32)>,
}

impl Host {
    /// The address with a port.
    pub fn socket_addr(&self, port: u16) -> SocketAddr {
        match (self.ip, &self.scope) {
            (IpAddr::V6(ip), Some((_, index))) => SocketAddrV6::new(ip, port, 0, *index).into(),
            (ip, _) => SocketAddr::new(ip, port),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Host {
        Host { ip, scope: None }
    }
}

impl fmt::Display for Host {
    /// `192.0.2.1`, `fe80::1%eth0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ip)?;
        match &self.scope {
            Some((name, _)) => write!(f, "%{name}"),
            None => Ok(()),
        }
    }
}

/// Every interface that is there, with one of its addresses; one without addresses comes once.
pub fn list() -> io::Result<Vec<(String, Option<Host>)>> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the call writes one pointer, to a place that is valid for it.
    if unsafe { libc::getifaddrs(&mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = first;
    // SAFETY: after success the list is made of valid nodes up to a null pointer, and lives until freeifaddrs below.
    while let Some(node) = unsafe { next.as_ref() } {
        next = node.ifa_next;
        if !node.ifa_name.is_null() {
            // SAFETY: the name is a string that ends with a null octet and lives as long as the list.
            let name = unsafe { CStr::from_ptr(node.ifa_name) };
            let name = name.to_string_lossy().into_owned();
            // SAFETY: a valid node's address is null or points to a socket address of its own family.
            let host = unsafe { host_of(node.ifa_addr, &name) };
            found.push((name, host));
        }
    }
    // SAFETY: `first` came from getifaddrs, and nothing that was copied out of the list refers to it.
    unsafe { libc::freeifaddrs(first) };
    Ok(found)
}

/// The name of this machine; `localhost` where it has none.
pub fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// # Safety
/// `addr` is null or points to a socket address as long as its family says.
unsafe fn host_of(addr: *const libc::sockaddr, name: &str) -> Option<Host> {
    // SAFETY: the caller says so; every socket address starts with its family.
    let family = i32::from(unsafe { addr.as_ref() }?.sa_family);
    match family {
        libc::AF_INET => {
            // SAFETY: of this family it is a sockaddr_in; it may lie unaligned.
            let v4 = unsafe { addr.cast::<libc::sockaddr_in>().read_unaligned() };
            let octets = v4.sin_addr.s_addr.to_ne_bytes();
            Some(IpAddr::from(octets).into())
        }
        libc::AF_INET6 => {
            // SAFETY: of this family it is a sockaddr_in6; it may lie unaligned.
            let v6 = unsafe { addr.cast::<libc::sockaddr_in6>().read_unaligned() };
            let ip = std::net::Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let needs = ip.is_unicast_link_local();
            Some(Host {
                ip: ip.into(),
                scope: needs.then(|| (name.to_owned(), v6.sin6_scope_id)),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_its_address() {
        let found = list().unwrap();
        let loopback: Host = IpAddr::from([127, 0, 0, 1]).into();
        assert!(
            found
                .iter()
                .any(|(name, host)| name == "lo" && host.as_ref() == Some(&loopback)),
            "{found:?}"
        );
    }

    #[test]
    fn the_machine_has_a_name() {
        let name = hostname();
        assert!(!name.is_empty() && name.trim() == name, "{name:?}");
    }

    #[test]
    fn link_local_addresses_have_a_scope() {
        let host = Host {
            ip: "fe80::1".parse().unwrap(),
            scope: Some(("eth0".to_owned(), 7)),
        };
        assert_eq!(host.to_string(), "fe80::1%eth0");
        assert_eq!(host.socket_addr(53).to_string(), "[fe80::1%7]:53");
        let plain = Host::from(IpAddr::from([192, 0, 2, 1]));
        assert_eq!(
            (plain.to_string(), plain.socket_addr(53).to_string()),
            ("192.0.2.1".into(), "192.0.2.1:53".into())
        );
    }
}
