//! Tests of what handshakes go by: both ends are rustls, without a socket between them.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::ClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::ServerConnection;
use rustls::{ClientConfig, HandshakeKind, ServerConfig};

use super::*;
use crate::corefile::address::Scheme;
use crate::testing::authority::Authority;
use crate::testing::files::Dir;

/// The settings of a server with these files.
fn settings((cert, key): &(String, String)) -> Settings {
    Settings {
        source: Source::Files {
            cert: PathBuf::from(cert),
            key: PathBuf::from(key),
        },
        ca: None,
        client_auth: ClientAuth::NoCert,
        keylog: None,
    }
}

fn live(settings: Settings) -> Live {
    Live::load(settings, Arc::new(Tickets::new().unwrap())).unwrap()
}

/// A client that trusts the authority, and shows a certificate if it has one.
fn client(authority: &Authority, own: Option<&(String, String)>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(authority.ca_file().as_ref()).unwrap());
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let own = identity(cert.as_ref(), key.as_ref()).unwrap();
            builder
                .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(own.key)))
        }
    };
    Arc::new(config)
}

/// Shakes hands and returns the client's end, or the first error of either end.
fn shake(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
) -> Result<ClientConnection, rustls::Error> {
    let mut server = ServerConnection::new(server)?;
    let name = ServerName::try_from("dns.test").unwrap();
    let mut client = ClientConnection::new(client, name)?;
    for _ in 0..8 {
        let mut records = Vec::new();
        client.write_tls(&mut records).unwrap();
        server.read_tls(&mut &records[..]).unwrap();
        server.process_new_packets()?;
        records.clear();
        server.write_tls(&mut records).unwrap();
        client.read_tls(&mut &records[..]).unwrap();
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(client)
}

fn first_certificate(client: &ClientConnection) -> Vec<u8> {
    client.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn a_changed_certificate_is_served_and_a_broken_one_is_not() {
    let authority = Authority::new();
    let files = authority.server("dns", &["dns.test"]);
    let live = live(settings(&files));
    // Who resumes sees no certificate, so each is new here.
    let served = || {
        let stranger = client(&authority, None);
        first_certificate(&shake(live.current(Scheme::Tls), stranger).unwrap())
    };
    let old = served();
    live.refresh();
    assert_eq!(served(), old);
    authority.server("dns", &["dns.test"]);
    live.refresh();
    let new = served();
    assert_ne!(new, old);
    for broken in [
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "\u{0}",
    ] {
        std::fs::write(&files.0, broken).unwrap();
        live.refresh();
        assert_eq!(served(), new, "{broken:?}");
    }
    std::fs::remove_file(&files.1).unwrap();
    live.refresh();
    assert_eq!(served(), new);
    authority.server("dns", &["dns.test"]);
    live.refresh();
    assert_ne!(served(), new);
}

#[test]
fn files_that_do_not_fit_are_named() {
    let (authority, dir) = (Authority::new(), Dir::new());
    let (cert, key) = authority.server("dns", &["dns.test"]);
    let (_, other_key) = authority.server("other", &["dns.test"]);
    let text = dir.write("text.pem", "no PEM");
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let garbage = dir.write("garbage.pem", garbage);
    let check = |cert: &str, key: &str, want: &str| {
        let error = identity(cert.as_ref(), key.as_ref()).err().unwrap();
        assert!(error.contains(want), "{error}");
    };
    check(
        "/no/such.pem",
        &key,
        "open /no/such.pem: no such file or directory",
    );
    check(
        &text,
        &key,
        "text.pem: tls: failed to find any PEM data in certificate input",
    );
    check(&garbage, &key, "garbage.pem: x509: malformed certificate");
    check(&cert, &text, "text.pem: tls: no private key");
    check(
        &cert,
        &other_key,
        "dns.crt: tls: private key does not match public key",
    );
    assert!(roots(text.as_ref()).is_err());
    assert!(
        roots(garbage.as_ref())
            .unwrap_err()
            .contains("could not read root certs")
    );
}

#[test]
fn clients_show_what_is_asked_for() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let files = authority.server("dns", &["dns.test"]);
    let (known, unknown) = (authority.client("friend"), stranger.client("stranger"));
    // Without a certificate, with one of another authority, with one of ours.
    let check = |client_auth, want: [bool; 3]| {
        let live = live(Settings {
            ca: Some(authority.ca_file().into()),
            client_auth,
            ..settings(&files)
        });
        let got = [None, Some(&unknown), Some(&known)]
            .map(|own| shake(live.current(Scheme::Tls), client(&authority, own)).is_ok());
        assert_eq!(got, want, "{client_auth:?}");
    };
    check(ClientAuth::NoCert, [true, true, true]);
    check(ClientAuth::Request, [true, true, true]);
    check(ClientAuth::Require, [false, true, true]);
    check(ClientAuth::VerifyIfGiven, [true, false, true]);
    check(ClientAuth::RequireAndVerify, [false, false, true]);
}

#[test]
fn sessions_resume_until_other_clients_are_let_in() {
    let (authority, other) = (Authority::new(), Authority::new());
    let settings = Settings {
        ca: Some(other.ca_file().into()),
        client_auth: ClientAuth::VerifyIfGiven,
        ..settings(&authority.server("dns", &["dns.test"]))
    };
    let tickets = Arc::new(Tickets::new().unwrap());
    let live = Live::load(settings.clone(), tickets.clone()).unwrap();
    let returning = client(&authority, None);
    let kind = |live: &Live| {
        let shaken = shake(live.current(Scheme::Tls), returning.clone()).unwrap();
        shaken.handshake_kind().unwrap()
    };
    assert_eq!(kind(&live), HandshakeKind::Full);
    assert_eq!(kind(&live), HandshakeKind::Resumed);
    // A new certificate, and a new configuration.
    authority.server("dns", &["dns.test"]);
    live.refresh();
    assert_eq!(kind(&live), HandshakeKind::Resumed);
    let next = Live::load(settings.clone(), tickets).unwrap();
    assert_eq!(kind(&next), HandshakeKind::Resumed);
    // Other authorities of clients.
    let (key, third) = (settings.tickets_key(), Authority::new());
    std::fs::copy(third.ca_file(), other.ca_file()).unwrap();
    assert_ne!(settings.tickets_key(), key);
    // The certificate is half written when that is first seen.
    let (cert, _) = authority.server("dns", &["dns.test"]);
    let whole = std::fs::read(&cert).unwrap();
    std::fs::write(&cert, "half").unwrap();
    live.refresh();
    assert_eq!(kind(&live), HandshakeKind::Resumed);
    std::fs::write(&cert, whole).unwrap();
    live.refresh();
    assert_eq!(kind(&live), HandshakeKind::Full);
    assert_eq!(kind(&live), HandshakeKind::Resumed);
}

#[test]
fn each_transport_offers_its_protocol() {
    let authority = Authority::new();
    let live = live(settings(&authority.server("dns", &["dns.test"])));
    let check = |scheme, offered: &str, want: Option<&str>| {
        let mut config = ClientConfig::clone(&client(&authority, None));
        config.alpn_protocols = offered
            .split(' ')
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let shaken = shake(live.current(scheme), Arc::new(config));
        let agreed = shaken.ok().map(|client| {
            let name = client.alpn_protocol().unwrap_or(b"none");
            String::from_utf8_lossy(name).into_owned()
        });
        assert_eq!(agreed.as_deref(), want, "{scheme} {offered}");
    };
    check(Scheme::Tls, "dot", Some("none"));
    check(Scheme::Https, "http/1.1 h2", Some("h2"));
    check(Scheme::Https, "http/1.1", Some("http/1.1"));
    check(Scheme::Https, "spdy", None);
    check(Scheme::Grpc, "h2", Some("h2"));
    check(Scheme::Quic, "doq", Some("doq"));
    check(Scheme::Https3, "h3", Some("h3"));
}

#[test]
fn secrets_are_logged_for_those_who_ask() {
    let (authority, dir) = (Authority::new(), Dir::new());
    let keylog = dir.path().join("keys.log");
    let live = live(Settings {
        keylog: Some(keylog.clone()),
        ..settings(&authority.server("dns", &["dns.test"]))
    });
    shake(live.current(Scheme::Tls), client(&authority, None)).unwrap();
    let lines = std::fs::read_to_string(&keylog).unwrap();
    let line = lines
        .lines()
        .find(|line| line.starts_with("SERVER_TRAFFIC_SECRET_0 "));
    let words: Vec<_> = line.unwrap().split(' ').map(str::len).collect();
    assert_eq!(words[1], 64);
    assert!(words[2] >= 64);
}
