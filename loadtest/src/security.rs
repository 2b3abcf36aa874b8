//! TLS of the generators: a certificate made for one run, and what clients and the bare servers do with it.
//!
//! Runs on: pure, but for the files that servers read the certificate from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A self-signed certificate and the files that it lies in.
pub struct Certificate {
    /// PEM of the certificate; also what clients trust.
    pub cert: PathBuf,
    /// PEM of its key.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes one for [`SERVER_NAME`] and 127.0.0.1, ECDSA over P-256, and writes it to `dir`.
    pub fn make(dir: &Path) -> Result<Certificate, String> {
        let names = [SERVER_NAME, "127.0.0.1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names.to_vec())
            .map_err(|e| format!("certificate: {e}"))?;
        let files = Certificate {
            cert: dir.join("cert.pem"),
            key: dir.join("key.pem"),
        };
        write(&files.cert, &made.cert.pem())?;
        write(&files.key, &made.signing_key.serialize_pem())?;
        Ok(files)
    }

    /// The same with an RSA key of 2,048 bits, which the program openssl makes.
    pub fn make_rsa(dir: &Path) -> Result<Certificate, String> {
        let files = Certificate {
            cert: dir.join("rsa-cert.pem"),
            key: dir.join("rsa-key.pem"),
        };
        let config = dir.join("rsa.conf");
        write(
            &config,
            &format!(
                "[req]\ndistinguished_name = name\nx509_extensions = leaf\nprompt = no\n[name]\nCN = {SERVER_NAME}\n[leaf]\n\
                 basicConstraints = critical, CA:FALSE\nsubjectAltName = DNS:{SERVER_NAME}, IP:127.0.0.1\n"
            ),
        )?;
        let made = Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-config",
            ])
            .arg(&config)
            .arg("-keyout")
            .arg(&files.key)
            .arg("-out")
            .arg(&files.cert)
            .output()
            .map_err(|e| format!("openssl: {e}"))?;
        match made.status.success() {
            true => Ok(files),
            false => Err(format!(
                "openssl: {}",
                String::from_utf8_lossy(&made.stderr)
            )),
        }
    }

    /// A server's configuration with stateless tickets, as the servers under test have.
    pub fn server(&self, alpn: &[u8]) -> Result<ServerConfig, String> {
        let chain = chain(&self.cert)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|e| format!("{}: {e}", self.key.display()))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|e| format!("{}: {e}", self.cert.display()))?;
        config.alpn_protocols = vec![alpn.to_vec()];
        config.ticketer =
            rustls::crypto::ring::Ticketer::new().map_err(|e| format!("tickets: {e}"))?;
        Ok(config)
    }
}

/// What clients know of a server: whose certificate is right, and under which name.
#[derive(Clone)]
pub struct Security {
    roots: Arc<RootCertStore>,
    /// The name that the certificate must have.
    pub name: ServerName<'static>,
}

impl Security {
    /// Trusts the certificates of a PEM file, for this name.
    pub fn trusting(cert: &Path, name: &str) -> Result<Security, String> {
        let mut roots = RootCertStore::empty();
        for certificate in chain(cert)? {
            roots
                .add(certificate)
                .map_err(|e| format!("{}: {e}", cert.display()))?;
        }
        Ok(Security {
            roots: roots.into(),
            name: ServerName::try_from(name.to_owned()).map_err(|e| format!("\"{name}\": {e}"))?,
        })
    }

    /// A client that speaks one protocol over TLS 1.3; with `resumes` it keeps tickets and uses them.
    pub fn client(&self, alpn: &[u8], resumes: bool) -> Result<ClientConfig, String> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| format!("TLS 1.3: {e}"))?
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        if !resumes {
            config.resumption = rustls::client::Resumption::disabled();
        }
        Ok(config)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn chain(cert: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|e| format!("{}: {e}", cert.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

/// The name in certificates that are made here.
pub const SERVER_NAME: &str = "localhost";
/// ALPN of DNS over TLS (RFC 7858).
pub const ALPN_DOT: &[u8] = b"dot";
/// ALPN of HTTP/2 (RFC 9113).
pub const ALPN_H2: &[u8] = b"h2";
/// ALPN of DNS over QUIC (RFC 9250).
pub const ALPN_DOQ: &[u8] = b"doq";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::TempDir;

    #[test]
    fn a_client_trusts_the_made_certificate_and_no_other() {
        let (a, b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (made, other) = (
            Certificate::make(a.path()).unwrap(),
            Certificate::make(b.path()).unwrap(),
        );
        let server = Arc::new(made.server(ALPN_DOT).unwrap());
        let check = |server: &Arc<ServerConfig>, trusted: &Certificate, name: &str| {
            let security = Security::trusting(&trusted.cert, name).unwrap();
            let config = Arc::new(security.client(ALPN_DOT, false).unwrap());
            let mut client = rustls::ClientConnection::new(config, security.name).unwrap();
            let mut server = rustls::ServerConnection::new(server.clone()).unwrap();
            while client.is_handshaking() || server.is_handshaking() {
                let mut wire = Vec::new();
                client.write_tls(&mut wire).unwrap();
                server.read_tls(&mut &wire[..]).unwrap();
                server.process_new_packets()?;
                wire.clear();
                server.write_tls(&mut wire).unwrap();
                client.read_tls(&mut &wire[..]).unwrap();
                client.process_new_packets()?;
            }
            Ok::<_, rustls::Error>(client.alpn_protocol().map(<[u8]>::to_vec))
        };
        assert_eq!(
            check(&server, &made, SERVER_NAME),
            Ok(Some(ALPN_DOT.to_vec()))
        );
        assert!(check(&server, &other, SERVER_NAME).is_err(), "another key");
        assert!(
            check(&server, &made, "example.org").is_err(),
            "another name"
        );
        assert!(Security::trusting(Path::new("/nowhere"), "a").is_err());
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("SKIPPED: openssl is not installed");
            return;
        }
        let rsa = Certificate::make_rsa(a.path()).unwrap();
        let server = Arc::new(rsa.server(ALPN_DOT).unwrap());
        assert_eq!(
            check(&server, &rsa, SERVER_NAME),
            Ok(Some(ALPN_DOT.to_vec()))
        );
        assert!(check(&server, &made, SERVER_NAME).is_err(), "another key");
    }
}
