//! TLS: certificates of the authority, of others, and of clients.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::client::{Answer, JSON, names};
use super::service;
use crate::testing::kube_api::{Api, Authority};

/// Lists services over TLS with what is in the files.
fn list(api: &Api, ca: &str, client: Option<(String, String)>) -> io::Result<Vec<String>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots);
    let config = match client {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
            let key = PrivateKeyDer::from_pem_file(key).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let host = api.addr().ip().into();
    let session = ClientConnection::new(Arc::new(config), host).unwrap();
    let stream = TcpStream::connect(api.addr())?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let stream = StreamOwned::new(session, stream);
    Ok(names(
        &Answer::read(stream, "/api/v1/services", JSON, "")?.json(),
    ))
}

#[test]
fn a_client_that_trusts_the_authority_is_served() {
    let (authority, other) = (Authority::new(), Authority::new());
    let api = Api::with_tls(&authority);
    api.put(service("ns", "s"));
    assert!(api.url().starts_with("https://127.0.0.1:"));
    assert_eq!(list(&api, &authority.ca_file(), None).unwrap(), ["ns/s"]);
    list(&api, &other.ca_file(), None).unwrap_err();
    api.restart();
    assert_eq!(list(&api, &authority.ca_file(), None).unwrap(), ["ns/s"]);
}

#[test]
fn clients_show_certificates_of_the_authority() {
    let (authority, other) = (Authority::with_clients(), Authority::new());
    let api = Api::with_tls(&authority);
    api.put(service("ns", "s"));
    let ca = authority.ca_file();
    list(&api, &ca, None).unwrap_err();
    list(&api, &ca, Some(other.client("stranger"))).unwrap_err();
    let first = authority.client("node");
    assert_eq!(list(&api, &ca, Some(first.clone())).unwrap(), ["ns/s"]);
    // A rotation has the same files.
    assert_eq!(authority.client("node"), first);
    assert_eq!(list(&api, &ca, Some(first)).unwrap(), ["ns/s"]);
    assert!(authority.path().join("node.key").is_file());
}
