//! PEM files of certificates and keys.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::provider;

/// A certificate chain with its key, ready to be shown.
pub struct Identity {
    /// What rustls signs with.
    pub key: Arc<CertifiedKey>,
    /// When its first certificate is no longer valid, in seconds since 1970.
    pub not_after_s: i64,
}

impl Identity {
    /// Puts a chain and its key together.
    ///
    /// # Errors
    /// The key is of no kind that is known, or not that of the first certificate; in Go's words where it has some.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Identity, String> {
        let Some(first) = chain.first() else {
            return Err("tls: failed to find any PEM data in certificate input".to_owned());
        };
        let (_, parsed) = X509Certificate::from_der(first)
            .map_err(|error| format!("x509: malformed certificate: {error}"))?;
        let not_after_s = parsed.validity().not_after.timestamp();
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                "tls: private key does not match public key".to_owned()
            }
            other => format!("tls: failed to parse private key: {other}"),
        })?;
        let key = Arc::new(key);
        Ok(Identity { key, not_after_s })
    }
}

/// Reads a certificate chain and its key.
///
/// # Errors
/// A file cannot be read or holds no PEM, or the two do not belong together; the file is named.
pub fn identity(cert: &Path, key: &Path) -> Result<Identity, String> {
    let chain = certificates(cert)?;
    let octets = read(key)?;
    let parsed = PrivateKeyDer::from_pem_slice(&octets)
        .map_err(|error| format!("{}: tls: no private key: {error}", key.display()))?;
    Identity::new(chain, parsed).map_err(|error| format!("{}: {error}", cert.display()))
}

/// Reads the authorities of a file.
///
/// # Errors
/// It cannot be read, or holds no certificate that may be an authority.
pub fn roots(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(certificates(file)?);
    match taken {
        0 => Err(format!("{}: could not read root certs", file.display())),
        _ => Ok(roots),
    }
}

/// The authorities that this system trusts.
///
/// # Errors
/// It has none.
pub fn system_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    match taken {
        0 => Err(
            "no certificate authorities are installed on this system (Debian: apt-get install ca-certificates); name a file of them"
                .to_owned(),
        ),
        _ => Ok(roots),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let octets = read(file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(format!(
            "{}: tls: failed to find any PEM data in certificate input",
            file.display()
        )),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.split(" (os error").next().unwrap_or_default();
        format!("open {}: {}", file.display(), reason.to_lowercase())
    })
}

/// What tells one state of a few files from another: digests of what is in them, since a clock of a file system may stand still between
/// two changes. `None` for a file that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamps([Option<Digest>; 3]);

pub(super) type Digest = [u8; 32];

impl Stamps {
    /// Of a certificate, its key, and authorities.
    pub(super) fn of(files: [Option<&Path>; 3]) -> Stamps {
        let digest = |file: Option<&Path>| Some(Sha256::digest(fs::read(file?).ok()?).into());
        Stamps(files.map(digest))
    }

    pub(super) fn authorities(&self) -> Option<Digest> {
        self.0[2]
    }
}
