//! A certificate with its key, checked before anybody sees it.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::limits;
use crate::tls::Identity;

/// A certificate that an authority issued.
pub struct Issued {
    /// With those between it and a root, `limits::ACME_CHAIN` at most, and its key.
    pub identity: Identity,
    /// From when on it is valid, in seconds since 1970.
    pub not_before_s: u64,
    /// Until when it is valid, in seconds since 1970.
    pub not_after_s: u64,
}

impl Issued {
    /// Reads certificates and a key from PEM and checks that they belong together and name all `domains`, which are in lower case.
    /// Whether it has ended is for who uses it.
    ///
    /// # Errors
    /// Why it is of no use.
    pub(super) fn read(pem: &[u8], domains: &[String]) -> Result<Issued, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem)
            .take(limits::ACME_CHAIN + 1)
            .collect();
        let chain = chain.map_err(|error| format!("its certificates cannot be read: {error}"))?;
        let Some(leaf) = chain.first() else {
            return Err("it holds no certificate".to_owned());
        };
        if chain.len() > limits::ACME_CHAIN {
            let most = limits::ACME_CHAIN;
            return Err(format!("it holds more than {most} certificates"));
        }
        let (not_before_s, not_after_s) = validity(leaf, domains)?;
        let key = PrivateKeyDer::from_pem_slice(pem)
            .map_err(|error| format!("its key cannot be read: {error}"))?;
        Ok(Issued {
            identity: Identity::new(chain, key)?,
            not_before_s,
            not_after_s,
        })
    }
}

/// From when to when a certificate that names all the domains is valid.
fn validity(leaf: &CertificateDer<'_>, domains: &[String]) -> Result<(u64, u64), String> {
    let (_, parsed) = X509Certificate::from_der(leaf)
        .map_err(|error| format!("its certificate cannot be read: {error}"))?;
    let names = parsed.subject_alternative_name();
    let names = names.map_err(|error| format!("its names cannot be read: {error}"))?;
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    let is_named = |domain: &&String| {
        names.iter().any(
            |name| matches!(name, GeneralName::DNSName(name) if name.eq_ignore_ascii_case(domain)),
        )
    };
    if let Some(missing) = domains.iter().find(|domain| !is_named(domain)) {
        return Err(format!("the certificate does not name {missing}"));
    }
    let seconds = |timestamp: i64| u64::try_from(timestamp).unwrap_or(0);
    let validity = parsed.validity();
    Ok((
        seconds(validity.not_before.timestamp()),
        seconds(validity.not_after.timestamp()),
    ))
}
