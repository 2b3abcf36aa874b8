//! The TCP connections of one core by client, so that none takes what is for all.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::limits;
use crate::telemetry::metrics::{Counter, registry};

/// Who is granted `limits::TCP_CONNECTIONS_PER_CLIENT` connections: an IPv4 address, or the 64 bits of an IPv6 network, of which one
/// host has all the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Client {
    pub(super) fn of(addr: IpAddr) -> Client {
        match addr.to_canonical() {
            IpAddr::V4(addr) => Client::V4(addr.octets()),
            IpAddr::V6(addr) => {
                let [a, b, c, d, e, f, g, h, ..] = addr.octets();
                Client::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// Open connections: as many entries as clients that have any, `limits::TCP_CONNECTIONS_PER_CORE` at most.
pub(super) struct Clients {
    count: Cell<usize>,
    open: RefCell<BTreeMap<Client, u32>>,
    refused_core: Counter,
    refused_client: Counter,
}

impl Clients {
    pub(super) fn new() -> Clients {
        let counter = |reason| {
            registry().counter(
                "percoredns_tcp_refused_connections_total",
                "TCP connections closed at once because the core or the client had as many as it may.",
                &[("reason", reason)],
            )
        };
        Clients {
            count: Cell::new(0),
            open: RefCell::default(),
            refused_core: counter("core"),
            refused_client: counter("client"),
        }
    }

    /// All that are open.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.count.get()
    }

    /// Counts one more of this client; false, and counted as refused, if the core (`of_core_max`) or the client has as many as it may.
    pub(super) fn enter(&self, client: Client, of_core_max: usize) -> bool {
        if self.count.get() >= of_core_max {
            self.refused_core.inc();
            return false;
        }
        let mut open = self.open.borrow_mut();
        let own = open.entry(client).or_default();
        if *own >= limits::TCP_CONNECTIONS_PER_CLIENT {
            self.refused_client.inc();
            return false;
        }
        *own += 1;
        self.count.set(self.count.get() + 1);
        true
    }

    /// Takes back an [`Clients::enter`] that said yes.
    pub(super) fn leave(&self, client: Client) {
        self.count.set(self.count.get().saturating_sub(1));
        let mut open = self.open.borrow_mut();
        if let Some(own) = open.get_mut(&client) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                open.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(addr: &str) -> Client {
        Client::of(addr.parse().unwrap())
    }

    #[test]
    fn a_client_is_an_address_or_an_ipv6_network() {
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("2001:db8::1"), client("2001:db8::ff:2"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
    }

    #[test]
    fn one_client_leaves_room_to_others_and_the_core_is_bounded() {
        let clients = Clients::new();
        let (greedy, other) = (client("192.0.2.1"), client("192.0.2.2"));
        let granted = (0..10_000)
            .filter(|_| clients.enter(greedy, limits::TCP_CONNECTIONS_PER_CORE))
            .count();
        assert_eq!(granted, limits::TCP_CONNECTIONS_PER_CLIENT as usize);
        assert!(clients.enter(other, limits::TCP_CONNECTIONS_PER_CORE));
        clients.leave(greedy);
        assert!(clients.enter(greedy, limits::TCP_CONNECTIONS_PER_CORE));
        assert!(!clients.enter(greedy, limits::TCP_CONNECTIONS_PER_CORE));
        let crowd = (0..20_000u32).map(|nth| Client::V4(nth.to_be_bytes()));
        let more = crowd
            .filter(|&client| clients.enter(client, limits::TCP_CONNECTIONS_PER_CORE))
            .count();
        assert_eq!(granted + 1 + more, limits::TCP_CONNECTIONS_PER_CORE);
        assert_eq!(clients.count(), limits::TCP_CONNECTIONS_PER_CORE);
        assert!(!clients.enter(client("198.51.100.1"), limits::TCP_CONNECTIONS_PER_CORE));
    }

    #[test]
    fn who_has_left_is_forgotten() {
        let clients = Clients::new();
        for nth in 0..100u32 {
            assert!(clients.enter(
                Client::V4(nth.to_be_bytes()),
                limits::TCP_CONNECTIONS_PER_CORE
            ));
        }
        (0..100u32).for_each(|nth| clients.leave(Client::V4(nth.to_be_bytes())));
        assert_eq!((clients.count(), clients.open.borrow().len()), (0, 0));
    }
}
