//! What the authority does apart from what is asked of it.

use std::net::SocketAddr;
use std::sync::Arc;

/// How the authority behaves. See [`super::Ca::script`].
#[derive(Clone)]
pub struct Script {
    /// The challenges that it offers.
    pub challenges: Vec<&'static str>,
    /// The name server that it asks for the records of DNS challenges.
    pub dns: SocketAddr,
    /// Where it asks instead of port 80 of a name.
    pub http: SocketAddr,
    /// Where it asks instead of port 443 of a name.
    pub tls: SocketAddr,
    /// Its clock, in seconds since 1970.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// How long its certificates are valid.
    pub lifetime_s: u64,
    /// So many of the next signed requests have a nonce that it takes for a bad one.
    pub bad_nonces: usize,
    /// Requests that fail. The first one that applies is used up first.
    pub refusals: Vec<Refusal>,
    /// How often it is looked at before an order that was finalized is done.
    pub processing: usize,
    /// What is wrong with its certificates.
    pub flaw: Option<Flaw>,
}

/// Requests that fail.
#[derive(Debug, Clone, Default)]
pub struct Refusal {
    /// The resource, as [`super::Ca::count`] has it.
    pub resource: &'static str,
    /// The status code.
    pub code: u16,
    /// The type of the problem, behind `urn:ietf:params:acme:error:`.
    pub kind: &'static str,
    /// Seconds of a Retry-After.
    pub retry_after_s: Option<u64>,
    /// How many requests.
    pub times: usize,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It is none.
    Garbage,
    /// It is for another key.
    OtherKey,
    /// It is for another name.
    OtherName,
    /// It has ended.
    Ended,
    /// There is more than [`crate::limits::ACME_RESPONSE_OCTETS`] of it.
    Endless,
}

impl Default for Script {
    fn default() -> Script {
        // Nobody listens there.
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        Script {
            challenges: vec!["http-01", "dns-01", "tls-alpn-01"],
            dns: nowhere,
            http: nowhere,
            tls: nowhere,
            clock: Arc::new(crate::runtime::clock::wall_s),
            lifetime_s: 90 * 24 * 3_600,
            bad_nonces: 0,
            refusals: Vec::new(),
            processing: 0,
            flaw: None,
        }
    }
}
