//! Certificates of scripted servers and of their clients, from an authority that the test makes.

use std::path::Path;
use std::sync::Arc;
#[cfg(feature = "acme-authority")]
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
#[cfg(feature = "acme-authority")]
use rcgen::{PublicKeyData, date_time_ymd};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::testing::files::Dir;

/// A certificate authority, whose files are in a directory that goes with it.
pub struct Authority {
    dir: Dir,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    wants_client: bool,
}

impl Authority {
    /// An authority whose servers take every client. Its certificate is in `ca.crt`.
    pub fn new() -> Authority {
        let mut params = params("percoredns test authority", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let dir = Dir::new();
        dir.write("ca.crt", &certificate.pem());
        Authority {
            dir,
            certificate: certificate.into(),
            issuer: Issuer::new(params, key),
            wants_client: false,
        }
    }

    /// The same, whose servers take only clients with a certificate of it.
    pub fn with_clients() -> Authority {
        Authority {
            wants_client: true,
            ..Authority::new()
        }
    }

    /// Where the files are.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The whole path of the authority's certificate.
    pub fn ca_file(&self) -> String {
        self.dir
            .path()
            .join("ca.crt")
            .to_string_lossy()
            .into_owned()
    }

    /// Makes a client's certificate and key, and returns the whole paths of their files, `NAME.crt` and `NAME.key`. Made again under
    /// the same name it is a rotation.
    pub fn client(&self, name: &str) -> (String, String) {
        let mut params = params(name, &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.write(name, params)
    }

    /// Makes a certificate and key for a server of these names, and returns the whole paths of their files, `NAME.crt` and `NAME.key`. Made
    /// again under the same name it is a rotation.
    pub fn server(&self, name: &str, hosts: &[&str]) -> (String, String) {
        let mut params = params(name, hosts);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.write(name, params)
    }

    fn write(&self, name: &str, params: CertificateParams) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (
            self.dir.write(&format!("{name}.crt"), &certificate.pem()),
            self.dir.write(&format!("{name}.key"), &key.serialize_pem()),
        )
    }

    /// Makes a certificate for a key and some names, valid between two times in seconds since 1970, and returns it in PEM with that of
    /// the authority behind it.
    #[cfg(feature = "acme-authority")]
    pub fn issue(&self, key: &impl PublicKeyData, names: &[String], times_s: [u64; 2]) -> String {
        let mut params = CertificateParams::new(names.to_vec()).expect("names that DNS takes");
        let at = |s| date_time_ymd(1970, 1, 1) + Duration::from_secs(s);
        (params.not_before, params.not_after) = (at(times_s[0]), at(times_s[1]));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(key, &self.issuer).expect("a certificate");
        let ca = std::fs::read_to_string(self.ca_file()).expect("the authority's own");
        certificate.pem() + &ca
    }

    /// What a server of this authority accepts connections with.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::new(self.config(&SERVER_NAMES)))
    }

    /// What a server of these names and addresses speaks TLS by.
    pub fn config(&self, hosts: &[&str]) -> ServerConfig {
        self.config_and_certificate(hosts).0
    }

    /// The same, with its certificate.
    pub fn config_and_certificate(
        &self,
        hosts: &[&str],
    ) -> (ServerConfig, CertificateDer<'static>) {
        let mut params = params("percoredns test server", hosts);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions of the provider");
        let config = if self.wants_client {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate.clone()).expect("a root");
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            config.with_client_cert_verifier(verifier.build().expect("a verifier"))
        } else {
            config.with_no_client_auth()
        };
        let certificate: CertificateDer<'static> = certificate.into();
        let key = PrivateKeyDer::from(key);
        let config = config.with_single_cert(vec![certificate.clone()], key);
        (config.expect("a certificate with its key"), certificate)
    }
}

/// Names of the servers of [`Authority::acceptor`].
const SERVER_NAMES: [&str; 3] = ["127.0.0.1", "localhost", "kubernetes"];

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}

fn params(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("names that DNS takes");
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}
