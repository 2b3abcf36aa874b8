//! Upstreams that are known by their keys (RFC 7858 section 4.2).

use std::fmt;
use std::sync::Arc;

use domain::utils::base64;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::provider;
use super::signatures::verify_signatures;

/// SHA-256 of a SubjectPublicKeyInfo (RFC 7469 section 2.4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pin([u8; 32]);

impl Pin {
    /// Reads base64 as `openssl dgst -sha256 -binary | base64` writes it.
    ///
    /// # Errors
    /// It is none, or not of 32 octets.
    pub fn parse(text: &str) -> Result<Pin, String> {
        let octets = base64::decode::<Vec<u8>>(text).ok();
        let octets = octets.and_then(|octets| octets.try_into().ok());
        octets.map(Pin).ok_or_else(|| {
            format!("not the SHA-256 of a public key in base64, 44 characters: {text:?}")
        })
    }

    /// Of the key of a certificate; none where it cannot be read.
    pub fn of(certificate: &[u8]) -> Option<Pin> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        Some(Pin(Sha256::digest(parsed.public_key().raw).into()))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        base64::display(&self.0, f)
    }
}

/// Takes a server whose own key is pinned, whoever signed its certificate and for whatever name and time. A pin of an authority would say
/// less: everybody can send a certificate of one beside his own.
#[derive(Debug)]
pub(super) struct Pinned {
    pins: Vec<Pin>,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    pub(super) fn new(pins: Vec<Pin>) -> Pinned {
        Pinned {
            pins,
            provider: provider(),
        }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match Pin::of(own) {
            Some(pin) if self.pins.contains(&pin) => Ok(ServerCertVerified::assertion()),
            _ => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    verify_signatures!();
}
