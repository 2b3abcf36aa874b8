//! Where packets for a client leave to, when a proxy says who that is.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::net::SocketAddr;

use crate::limits;

/// The peers through which the client of one connection was heard last. The protocol knows the client's addresses alone.
#[derive(Debug, Default)]
pub(super) struct Ways {
    /// `heard.len() <= limits::QUIC_WAYS`, the latest last; empty as long as no proxy spoke.
    heard: Vec<Heard>,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    client: SocketAddr,
    peer: SocketAddr,
}

impl Ways {
    /// Notes that `peer` sent a datagram of `client`. `current` is where the protocol sends to now: whoever claims to be the client from
    /// elsewhere, which anybody may who has seen its packets, does not make us forget the way to that address.
    pub(super) fn note(&mut self, client: SocketAddr, peer: SocketAddr, current: SocketAddr) {
        if self.heard.is_empty() {
            if client == peer {
                return;
            }
            // A connection that began without the proxy.
            if client != current {
                self.push(current, current);
            }
        }
        let is_other = |heard: &Heard| heard.client != client;
        self.heard.retain(is_other);
        if self.heard.len() >= limits::QUIC_WAYS {
            let oldest = self.heard.iter().position(|heard| heard.client != current);
            self.heard.remove(oldest.unwrap_or(0));
        }
        self.push(client, peer);
    }

    /// Who takes packets for the client at this address; `None`: it was not heard lately.
    pub(super) fn to(&self, client: SocketAddr) -> Option<SocketAddr> {
        if self.heard.is_empty() {
            return Some(client);
        }
        let heard = self.heard.iter().find(|heard| heard.client == client);
        heard.map(|heard| heard.peer)
    }

    fn push(&mut self, client: SocketAddr, peer: SocketAddr) {
        self.heard.push(Heard { client, peer });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn without_a_proxy_nothing_is_kept() {
        let mut ways = Ways::default();
        ways.note(addr(1), addr(1), addr(1));
        ways.note(addr(2), addr(2), addr(1));
        assert_eq!(ways.heard.capacity(), 0);
        assert_eq!(ways.to(addr(3)), Some(addr(3)));
    }

    #[test]
    fn the_latest_way_counts() {
        let mut ways = Ways::default();
        ways.note(addr(1), addr(100), addr(1));
        ways.note(addr(1), addr(101), addr(1));
        assert_eq!(ways.to(addr(1)), Some(addr(101)));
        assert_eq!(ways.to(addr(100)), None, "nobody spoke for it");
        // Without the proxy it is heard at its own address.
        ways.note(addr(100), addr(100), addr(1));
        assert_eq!(ways.to(addr(100)), Some(addr(100)));
        assert_eq!(ways.to(addr(1)), Some(addr(101)));
    }

    #[test]
    fn a_connection_that_began_without_the_proxy_keeps_its_way() {
        let mut ways = Ways::default();
        ways.note(addr(1), addr(1), addr(1));
        ways.note(addr(2), addr(100), addr(1));
        assert_eq!(ways.to(addr(1)), Some(addr(1)));
        assert_eq!(ways.to(addr(2)), Some(addr(100)));
    }

    #[test]
    fn the_current_way_outlives_any_number_of_others() {
        let mut ways = Ways::default();
        ways.note(addr(1), addr(100), addr(1));
        for port in 2..1_000 {
            ways.note(addr(port), addr(200), addr(1));
            assert!(ways.heard.len() <= limits::QUIC_WAYS);
            assert_eq!(ways.to(addr(port)), Some(addr(200)));
        }
        assert_eq!(ways.to(addr(1)), Some(addr(100)));
        // Where the client is now, and where it was, both are known.
        ways.note(addr(1_000), addr(300), addr(999));
        assert_eq!(ways.to(addr(999)), Some(addr(200)));
        assert_eq!(ways.to(addr(2)), None);
    }
}
