//! TLS handshakes of one core: how many may be under way, and how they ended.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::Cell;

use rustls::{CommonState, HandshakeKind};

use crate::limits;
use crate::telemetry::metrics::{Counter, registry};

/// `0 <= under_way <= limits::HANDSHAKES_PER_CORE`.
pub(super) struct Handshakes {
    under_way: Cell<usize>,
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
            full: counter("full"),
            resumed: counter("resumed"),
            failed: counter("failed"),
            refused: counter("refused"),
        }
    }

    /// Begins one; `None`, and counted, if as many as may are under way.
    pub(super) fn enter(&self) -> Option<UnderWay<'_>> {
        if self.under_way.get() >= limits::HANDSHAKES_PER_CORE {
            self.refused.inc();
            return None;
        }
        self.under_way.set(self.under_way.get() + 1);
        Some(UnderWay(self))
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
pub(super) struct UnderWay<'a>(&'a Handshakes);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
    }
}
