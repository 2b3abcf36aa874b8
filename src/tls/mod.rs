//! Certificates, keys and what follows from them: the terms on which TLS is spoken, with clients and with upstreams.
//!
//! Runs on: set-up and control thread; data cores take what is current when a handshake begins.
//!
//! **Invariant**: what cannot be loaded never replaces what works.
//!
//! ```text
//!   *tls* -> Settings -> Live: certificate, key and client authorities, again when their files change
//!                          -> rustls::ServerConfig for each transport, with one key for tickets
//!   `tls` of an upstream -> ClientSettings -> Client -> rustls::ClientConfig, with the sessions to resume
//! ```

#[cfg(feature = "acme")]
pub mod acme;
mod client;
mod clients;
mod files;
mod keylog;
mod live;
mod pins;
mod signatures;
#[cfg(test)]
mod tests;

pub use client::{Client, ClientSettings, server_name};
pub use files::{Identity, identity, roots, system_roots};
pub use live::{Live, Settings, Source, Tickets};
pub use pins::Pin;

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, SupportedCipherSuite};

/// How certificates of clients are taken (*tls* `client_auth`), in Go's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// None is asked for.
    #[default]
    NoCert,
    /// One is asked for; whatever comes is taken.
    Request,
    /// One is needed, of whatever authority.
    Require,
    /// One that comes must be of our authorities.
    VerifyIfGiven,
    /// One of our authorities is needed.
    RequireAndVerify,
}

/// The protocol that an authority offers which checks a name by a handshake (RFC 8737): nothing is said after it.
pub const CHALLENGE_PROTOCOL: &[u8] = b"acme-tls/1";

/// How often files are looked at: a new certificate is used within that time.
pub const LOOK: Duration = Duration::from_secs(2);

/// The ciphers of this process, in the order in which a server takes them: AES of 128 bits first, with which a handshake hashes by SHA-256.
/// CPUs have instructions for that and few for SHA-384, which is a seventh of a handshake.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    let is_second = |suite: &SupportedCipherSuite| {
        use CipherSuite::*;
        !matches!(
            suite.suite(),
            TLS13_AES_128_GCM_SHA256
                | TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    };
    provider.cipher_suites.sort_by_key(is_second);
    Arc::new(provider)
}
