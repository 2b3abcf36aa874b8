//! The connections of one core by client, so that none takes what is for all.

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
    refused_listener: Counter,
}

impl Clients {
    /// None yet; over TCP.
    pub(super) fn of_tcp() -> Clients {
        Clients::new(
            "percoredns_tcp_refused_connections_total",
            "TCP connections closed at once because the core, the client or the listener had as many as it may.",
        )
    }

    /// None yet; over QUIC.
    pub(super) fn of_quic() -> Clients {
        Clients::new(
            "percoredns_quic_refused_connections_total",
            "QUIC connections refused because the core, the client or the listener had as many as it may.",
        )
    }

    fn new(name: &str, help: &str) -> Clients {
        let counter = |reason| registry().counter(name, help, &[("reason", reason)]);
        Clients {
            count: Cell::new(0),
            open: RefCell::default(),
            refused_core: counter("core"),
            refused_client: counter("client"),
            refused_listener: counter("listener"),
        }
    }

    /// All that are open.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.count.get()
    }

    /// Counts one more connection; false, and counted as refused, if the core has as many as it may (`of_core_max`).
    pub(super) fn enter(&self, of_core_max: usize) -> bool {
        if self.count.get() >= of_core_max {
            self.refused_core.inc();
            return false;
        }
        self.count.set(self.count.get() + 1);
        true
    }

    /// Counts one of the connections as this client's; false, and counted as refused, if the client has as many as it may.
    pub(super) fn claim(&self, client: Client) -> bool {
        let mut open = self.open.borrow_mut();
        let own = open.entry(client).or_default();
        if *own >= limits::TCP_CONNECTIONS_PER_CLIENT {
            self.refused_client.inc();
            return false;
        }
        *own += 1;
        true
    }

    /// Counts one that its listener has no room for.
    pub(super) fn refused_by_listener(&self) {
        self.refused_listener.inc();
    }

    /// Takes back an [`Clients::enter`] that said yes, and the [`Clients::claim`] for this client.
    pub(super) fn leave(&self, client: Option<Client>) {
        self.count.set(self.count.get().saturating_sub(1));
        let Some(client) = client else { return };
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

    /// Opens a connection as the accept loop does.
    fn open(clients: &Clients, client: Client) -> bool {
        let is_open = clients.enter(limits::TCP_CONNECTIONS_PER_CORE);
        let is_granted = is_open && clients.claim(client);
        if is_open && !is_granted {
            clients.leave(None);
        }
        is_granted
    }

    #[test]
    fn one_client_leaves_room_to_others_and_the_core_is_bounded() {
        let clients = Clients::of_tcp();
        let (greedy, other) = (client("192.0.2.1"), client("192.0.2.2"));
        let granted = (0..10_000).filter(|_| open(&clients, greedy)).count();
        assert_eq!(granted, limits::TCP_CONNECTIONS_PER_CLIENT as usize);
        assert!(open(&clients, other));
        clients.leave(Some(greedy));
        assert!(open(&clients, greedy));
        assert!(!open(&clients, greedy));
        let crowd = (0..20_000u32).map(|nth| Client::V4(nth.to_be_bytes()));
        let more = crowd.filter(|&client| open(&clients, client)).count();
        assert_eq!(granted + 1 + more, limits::TCP_CONNECTIONS_PER_CORE);
        assert_eq!(clients.count(), limits::TCP_CONNECTIONS_PER_CORE);
        assert!(!open(&clients, client("198.51.100.1")));
    }

    #[test]
    fn who_has_left_is_forgotten() {
        let clients = Clients::of_tcp();
        for nth in 0..100u32 {
            assert!(open(&clients, Client::V4(nth.to_be_bytes())));
        }
        (0..100u32).for_each(|nth| clients.leave(Some(Client::V4(nth.to_be_bytes()))));
        assert_eq!((clients.count(), clients.open.borrow().len()), (0, 0));
    }

    #[test]
    fn connections_of_nobody_yet_count_for_the_core_alone() {
        let clients = Clients::of_tcp();
        let most = limits::TCP_CONNECTIONS_PER_CLIENT as usize + 1;
        assert!((0..most).all(|_| clients.enter(most)));
        assert!(!clients.enter(most));
        assert!(clients.open.borrow().is_empty());
        (0..most).for_each(|_| clients.leave(None));
        assert_eq!(clients.count(), 0);
    }
}
