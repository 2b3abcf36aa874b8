//! How the authority looks whether a name is its client's (RFC 8555 section 8, RFC 8737), by means of others than what is tested.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use domain::base::iana::{Class, Rtype};
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata::Txt;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::crypto::verify_tls13_signature_with_raw_key;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::jose;
use super::script::Script;

/// What the client has to show, by one of the ways.
pub(super) struct Proof {
    pub(super) host: String,
    pub(super) kind: String,
    pub(super) token: String,
    /// Token and thumbprint.
    pub(super) authorization: String,
}

impl Proof {
    /// Looks; `Err` says in a few words what was seen instead.
    pub(super) async fn look(&self, script: &Script) -> Result<(), String> {
        let seen = async {
            match self.kind.as_str() {
                "dns-01" => self.ask_dns(script.dns).await,
                "http-01" => self.ask_http(script.http).await,
                _ => self.ask_tls(script.tls).await,
            }
        };
        match tokio::time::timeout(PATIENCE, seen).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(format!("{}: another answer", self.kind)),
            Ok(Err(error)) => Err(format!("{}: {error}", self.kind)),
            Err(_) => Err(format!("{}: no answer", self.kind)),
        }
    }

    async fn ask_dns(&self, server: SocketAddr) -> io::Result<bool> {
        let name: Name<Vec<u8>> = format!("_Acme-Challenge.{}.", self.host)
            .parse()
            .map_err(io::Error::other)?;
        let mut query = MessageBuilder::new_vec().question();
        query
            .push((&name, Rtype::TXT, Class::IN))
            .map_err(io::Error::other)?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(server).await?;
        socket.send(&query.finish()).await?;
        let mut octets = [0; 512];
        let len = socket.recv(&mut octets).await?;
        let message = Message::from_octets(&octets[..len]).map_err(io::Error::other)?;
        let expect = jose::encode(&Sha256::digest(&self.authorization));
        let answers = message.answer().map_err(io::Error::other)?;
        let mut texts = answers.limit_to::<Txt<_>>().filter_map(Result::ok);
        Ok(texts.any(|record| record.data().text::<Vec<u8>>() == expect.as_bytes()))
    }

    async fn ask_http(&self, server: SocketAddr) -> io::Result<bool> {
        let mut stream = TcpStream::connect(server).await?;
        let (token, host) = (&self.token, &self.host);
        let request = format!(
            "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut response = String::new();
        stream.take(4_096).read_to_string(&mut response).await?;
        let body = response
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.trim_end());
        Ok(response.starts_with("HTTP/1.1 200 ") && body == Some(&self.authorization))
    }

    async fn ask_tls(&self, server: SocketAddr) -> io::Result<bool> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TakesAll))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let stream = TcpStream::connect(server).await?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        let (_, session) = stream.get_ref();
        let is_offered = session.alpn_protocol() == Some(b"acme-tls/1");
        let shown = session.peer_certificates().unwrap_or_default();
        Ok(is_offered && shown.len() == 1 && self.is_shown_by(&shown[0]))
    }

    /// RFC 8737 section 3.
    fn is_shown_by(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
            return false;
        };
        let names = certificate.subject_alternative_name();
        let names = names.ok().flatten().map(|names| &names.value.general_names);
        let is_named = names.is_some_and(
            |names| matches!(&names[..], [GeneralName::DNSName(name)] if *name == self.host),
        );
        let digest = Sha256::digest(&self.authorization);
        let expect = [&[4, 32][..], &digest].concat();
        let mut extensions = certificate.extensions().iter();
        is_named
            && extensions.any(|one| {
                one.oid.to_id_string() == "1.3.6.1.5.5.7.1.31"
                    && one.critical
                    && one.value == expect
            })
    }
}

const PATIENCE: Duration = Duration::from_secs(5);

/// The certificate of a challenge is self-signed: what it holds is what counts.
#[derive(Debug)]
struct TakesAll;

impl ServerCertVerifier for TakesAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 is wanted".to_owned()))
    }

    /// By hand, since rustls refuses to read a certificate with that extension.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let wrong = |_| Error::General("no certificate".to_owned());
        let (_, certificate) = X509Certificate::from_der(certificate).map_err(wrong)?;
        let key = SubjectPublicKeyInfoDer::from(certificate.public_key().raw);
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
