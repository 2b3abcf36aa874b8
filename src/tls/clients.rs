//! Certificates of clients that are looked at but not verified.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DistinguishedName, Error, RootCertStore};

use super::signatures::verify_signatures;
use super::{ClientAuth, provider};

/// What judges the certificates of clients; `roots` is asked for only where one is verified.
///
/// # Errors
/// The authorities are not usable.
pub(super) fn verifier(
    auth: ClientAuth,
    roots: impl FnOnce() -> Result<RootCertStore, String>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let verified = |roots| WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let any = |is_mandatory| -> Arc<dyn ClientCertVerifier> {
        Arc::new(Any {
            is_mandatory,
            provider: provider(),
        })
    };
    match auth {
        ClientAuth::NoCert => Ok(WebPkiClientVerifier::no_client_auth()),
        ClientAuth::Request => Ok(any(false)),
        ClientAuth::Require => Ok(any(true)),
        ClientAuth::VerifyIfGiven => verified(roots()?)
            .allow_unauthenticated()
            .build()
            .map_err(|error| error.to_string()),
        ClientAuth::RequireAndVerify => verified(roots()?)
            .build()
            .map_err(|error| error.to_string()),
    }
}

/// Takes every certificate whose key the client has.
#[derive(Debug)]
struct Any {
    is_mandatory: bool,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Any {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    verify_signatures!();
}
