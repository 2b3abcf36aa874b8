//! Clients behind a proxy that names them (PROXY protocol): who may name them, and what was named.
//!
//! ```text
//!   peer --Policy--> Treatment: Skip      nothing is looked for
//!                               Use       the client is whom the header names
//!                               Ignore    a header is taken off and not believed
//!                               Reject    who sends one is sent away
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

mod header;
mod sessions;
#[cfg(test)]
pub mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

pub use header::{Carried, Ends, Front, Header, Malformed, read, write};
pub use sessions::Sessions;

use crate::lang::cidr::NetSet;
use crate::runtime::clock::Nanos;
use crate::telemetry::metrics::{SharedCounter, registry};

/// What becomes of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// The client is whom it names.
    Use,
    /// It is taken off, and the client is who sent it.
    Ignore,
    /// The connection is closed, the datagram dropped.
    Reject,
    /// None is looked for.
    Skip,
}

/// What *proxyproto* says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Proxies that are believed (`allow`).
    pub allow: NetSet,
    /// What becomes of the headers of all others.
    pub others: Treatment,
    /// `udp_session_tracking`.
    pub tracking: Option<Tracking>,
}

/// Sessions over UDP whose first datagram alone has a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracking {
    /// How long a session lives without a datagram, in nanoseconds.
    pub ttl_ns: u64,
    /// Sessions: `1 <= sessions <= limits::PROXY_SESSIONS_MAX`.
    pub sessions: usize,
}

/// The policy of a listener, what it remembers and what it counts; shared by all cores.
pub struct Proxies {
    policy: Arc<Policy>,
    tracked: Option<(Tracking, Arc<Sessions>)>,
    malformed: SharedCounter,
    rejected: SharedCounter,
    ignored: SharedCounter,
    incomplete: SharedCounter,
    dropped_sessions: SharedCounter,
}

/// Who a connection is of, once its front has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// So many octets are the header's, and these are its ends where they count.
    Open(usize, Option<Ends>),
    /// More octets decide.
    Wait,
    /// It is to be closed, and has been counted.
    Close,
}

// === impl Policy ===

impl Policy {
    /// What becomes of a header that this peer sends.
    pub fn treatment(&self, peer: SocketAddr) -> Treatment {
        match self.trusts(peer) {
            true => Treatment::Use,
            false => self.others,
        }
    }

    /// Whether the peer is among the proxies that `allow` names.
    pub fn trusts(&self, peer: SocketAddr) -> bool {
        self.allow.contains(peer.ip().to_canonical())
    }
}

// === impl Proxies ===

impl Proxies {
    /// `sessions`: where a listener of datagrams tracks them, if the policy wants it.
    pub fn new(policy: Arc<Policy>, sessions: Option<Arc<Sessions>>) -> Proxies {
        let errors = |reason| {
            registry().shared_counter(
                "percoredns_proxy_protocol_errors_total",
                "PROXY headers that were not used: no valid header, one that did not come whole, or one of a peer whose headers are rejected or ignored.",
                &[("reason", reason)],
            )
        };
        Proxies {
            tracked: policy.tracking.zip(sessions),
            policy,
            malformed: errors("malformed"),
            rejected: errors("rejected"),
            ignored: errors("ignored"),
            incomplete: errors("incomplete"),
            dropped_sessions: registry().shared_counter(
                "percoredns_proxy_protocol_dropped_sessions_total",
                "Sessions over UDP whose client was forgotten because more were open than udp_session_tracking has room for.",
                &[],
            ),
        }
    }

    /// What becomes of headers.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Judges the first octets of a stream. For peers whose treatment is not [`Treatment::Skip`].
    pub fn judge(&self, treatment: Treatment, octets: &[u8]) -> Verdict {
        match (read(octets), treatment) {
            (_, Treatment::Skip) | (Ok(Front::Bare), _) => Verdict::Open(0, None),
            (Ok(Front::Begun), _) => Verdict::Wait,
            (Ok(Front::Header(header)), Treatment::Use) => Verdict::Open(header.len, header.ends),
            (Ok(Front::Header(header)), Treatment::Ignore) => {
                self.ignored.inc();
                Verdict::Open(header.len, None)
            }
            (Ok(Front::Header(_)), Treatment::Reject) => {
                self.rejected.inc();
                Verdict::Close
            }
            (Err(Malformed), _) => {
                self.malformed.inc();
                Verdict::Close
            }
        }
    }

    /// Counts a connection that ended, or ran out of time, in the midst of a header.
    pub fn note_incomplete(&self) {
        self.incomplete.inc();
    }

    /// Takes the header off a datagram: the client, and what is behind the header. `None`: it is to be dropped, and has been counted.
    /// Replies go to `peer`, whoever the client is. A header of version 1 is none that a datagram may have.
    pub fn unwrap_datagram<'a>(
        &self,
        peer: SocketAddr,
        datagram: &'a [u8],
        now_ns: Nanos,
    ) -> Option<(SocketAddr, &'a [u8])> {
        let treatment = self.policy.treatment(peer);
        if treatment == Treatment::Skip {
            return Some((peer, datagram));
        }
        let header = match read(datagram) {
            Ok(Front::Header(header)) if header.version == 2 => Some(header),
            Ok(Front::Bare) => None,
            // Shorter than any mark of a header, and than any message.
            Ok(Front::Begun) if datagram.len() < MESSAGE_OCTETS_MIN => None,
            _ => {
                self.malformed.inc();
                return None;
            }
        };
        let Some(header) = header else {
            let is_tracked = treatment == Treatment::Use;
            let client = is_tracked.then(|| self.session(peer, now_ns)).flatten();
            return Some((client.unwrap_or(peer), datagram));
        };
        let client = match treatment {
            Treatment::Reject => {
                self.rejected.inc();
                return None;
            }
            Treatment::Ignore | Treatment::Skip => {
                self.ignored.inc();
                peer
            }
            Treatment::Use => {
                let client = header.ends.map_or(peer, |ends| ends.source);
                self.begin_session(peer, client, now_ns);
                client
            }
        };
        // `len` is that of a header that was found in these octets.
        Some((client, &datagram[header.len..]))
    }

    fn session(&self, peer: SocketAddr, now_ns: Nanos) -> Option<SocketAddr> {
        let (tracking, sessions) = self.tracked.as_ref()?;
        sessions.find(peer, now_ns, tracking.ttl_ns)
    }

    fn begin_session(&self, peer: SocketAddr, client: SocketAddr, now_ns: Nanos) {
        if let Some((tracking, sessions)) = &self.tracked
            && !sessions.store(peer, client, now_ns, tracking.ttl_ns)
        {
            self.dropped_sessions.inc();
        }
    }
}

/// Octets of the shortest DNS message; QUIC's packets are longer.
const MESSAGE_OCTETS_MIN: usize = 12;
