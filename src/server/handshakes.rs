//! TLS handshakes of one core: how many may be under way, and how they ended.

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

use rustls::{CommonState, HandshakeKind};

use super::clients::Client;
use crate::limits;
use crate::telemetry::metrics::{Counter, registry};

/// `0 <= under_way <= limits::HANDSHAKES_PER_CORE`, and of each client at most `limits::HANDSHAKES_PER_CLIENT`.
pub(super) struct Handshakes {
    under_way: Cell<usize>,
    /// As many entries as clients that shake hands.
    by_client: RefCell<BTreeMap<Client, u32>>,
    full: Counter,
    resumed: Counter,
    failed: Counter,
    refused: Counter,
}

impl Handshakes {
    pub(super) fn new() -> Handshakes {
        let counter = |result| {
            registry().counter(
                "percoredns_tls_handshakes_total",
                "TLS handshakes with clients, by how they ended.",
                &[("result", result)],
            )
        };
        Handshakes {
            under_way: Cell::new(0),
            by_client: RefCell::default(),
            full: counter("full"),
            resumed: counter("resumed"),
            failed: counter("failed"),
            refused: counter("refused"),
        }
    }

    /// Begins one; `None`, and counted, if as many as may are under way, on this core or with this client.
    pub(super) fn enter(&self, client: Client) -> Option<UnderWay<'_>> {
        let mut by_client = self.by_client.borrow_mut();
        let own = by_client.get(&client).copied().unwrap_or_default();
        if self.under_way.get() >= limits::HANDSHAKES_PER_CORE
            || own >= limits::HANDSHAKES_PER_CLIENT
        {
            self.refused.inc();
            return None;
        }
        by_client.insert(client, own + 1);
        self.under_way.set(self.under_way.get() + 1);
        Some(UnderWay(self, client))
    }

    /// Counts one that is done.
    pub(super) fn done(&self, common: &CommonState) {
        match common.handshake_kind() {
            Some(HandshakeKind::Resumed) => self.resumed.inc(),
            _ => self.full.inc(),
        }
    }

    /// Counts one that broke off or took too long.
    pub(super) fn failed(&self) {
        self.failed.inc();
    }
}

/// A handshake that is under way, until it is dropped.
pub(super) struct UnderWay<'a>(&'a Handshakes, Client);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
        let mut by_client = self.0.by_client.borrow_mut();
        if let Some(own) = by_client.get_mut(&self.1) {
            *own -= 1;
            if *own == 0 {
                by_client.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(nth: u32) -> Client {
        Client::of(std::net::Ipv4Addr::from(nth).into())
    }

    #[test]
    fn one_client_leaves_room_to_others_and_the_core_is_bounded() {
        let handshakes = Handshakes::new();
        let greedy = || handshakes.enter(client(1));
        let held: Vec<_> = (0..2 * limits::HANDSHAKES_PER_CLIENT)
            .filter_map(|_| greedy())
            .collect();
        assert_eq!(held.len(), limits::HANDSHAKES_PER_CLIENT as usize);
        let mut others: Vec<_> = (2..3_000)
            .filter_map(|nth| handshakes.enter(client(nth)))
            .collect();
        assert_eq!(held.len() + others.len(), limits::HANDSHAKES_PER_CORE);
        others.pop();
        assert!(greedy().is_none());
        drop(held);
        assert!(greedy().is_some());
        drop(others);
        assert_eq!(handshakes.under_way.get(), 0);
        assert!(handshakes.by_client.borrow().is_empty());
    }
}
