//! Certificates by each challenge, and their renewal.

use std::net::TcpListener;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, crypto::ring};
use tokio_rustls::TlsAcceptor;

use super::super::answers;
use super::{ATTEMPTS, Bench, DAY_S, EXPIRY, FAILURES, NameServer, nowhere};
use crate::control::Control;
use crate::testing::Host;
use crate::tune::AcmeChallenge;

#[test]
fn dns_challenges_of_several_names_and_a_wildcard() {
    let bench = Bench::new();
    let (mut run, _server) = bench.run_dns(&[
        "dns.issuing.test",
        "*.dns.issuing.test",
        "b.dns.issuing.test",
    ]);
    run.nothing_is_installed();
    assert_eq!(run.metric(EXPIRY), 0.0);
    let asleep_s = run.until_asleep();
    let issued = run.installed();
    assert_eq!(issued.identity.key.cert.len(), 2);
    let rests_s = [57 * DAY_S - 60, 60 * DAY_S];
    assert!((rests_s[0]..=rests_s[1]).contains(&asleep_s), "{asleep_s}");
    assert_eq!(run.metric(EXPIRY), issued.not_after_s as f64);
    assert_eq!(run.metric(ATTEMPTS), 1.0);
    assert_eq!(run.metric(FAILURES), 0.0);
    run.logged("[INFO] plugin/tls: obtained a certificate for dns.issuing.test and 2 more, valid for 2160h");
    assert_eq!(bench.ca.count("challenge"), 3);
    // The answers are gone with the order.
    let host = Host::new(". {\n whoami\n}\n").unwrap();
    let seen = host.ask("_acme-challenge.dns.issuing.test TXT");
    assert_eq!(seen.answer, Vec::<String>::new());
    assert_eq!(seen.additional.len(), 2, "whoami's");
}

#[test]
fn http_challenges_on_a_port_that_is_there_for_them() {
    let bench = Bench::new();
    let addr = nowhere();
    bench.ca.script(|script| {
        script.http = addr;
        script.processing = 3;
    });
    let mut settings = bench.settings(
        &["a.http.issuing.test", "b.http.issuing.test"],
        AcmeChallenge::Http01,
    );
    settings.http_addr = addr.to_string();
    let mut run = bench.run(settings);
    run.until_asleep();
    run.installed();
    assert_eq!(bench.ca.count("challenge"), 2);
    assert!(
        std::net::TcpStream::connect(addr).is_err(),
        "the port is closed"
    );
}

#[test]
fn a_port_that_is_taken_is_named() {
    let bench = Bench::new();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = held.local_addr().unwrap();
    let mut settings = bench.settings(&["taken.issuing.test"], AcmeChallenge::Http01);
    settings.http_addr = addr.to_string();
    let mut run = bench.run(settings);
    assert_eq!(run.until_asleep(), 60);
    run.logged(&format!(
        "[ERROR] plugin/tls: no certificate for taken.issuing.test: the challenge http-01 cannot be answered on {addr}: \
         listen tcp {addr}: bind: address already in use; until there is one its TLS handshakes fail; next attempt in 1m"
    ));
    assert_eq!(bench.ca.count("challenge"), 0);
}

#[test]
fn handshake_challenges() {
    let bench = Bench::new();
    let control = Control::start().unwrap();
    let addr = handshakes(&control);
    bench.ca.script(|script| script.tls = addr);
    let settings = bench.settings(
        &["A.tls.issuing.test", "b.tls.issuing.test"],
        AcmeChallenge::TlsAlpn01,
    );
    let mut run = bench.run(settings);
    run.until_asleep();
    run.installed();
    assert_eq!(bench.ca.count("challenge"), 2);
    assert!(answers::alpn_certificate("a.tls.issuing.test").is_none());
}

#[test]
fn a_certificate_is_renewed_when_a_third_is_left() {
    let bench = Bench::new();
    let (mut run, _server) = bench.run_dns(&["renewed.issuing.test"]);
    let mut ends_s = 0;
    let mut keys = Vec::new();
    run.until_asleep();
    for round in 1..=3 {
        let issued = run.installed();
        assert!(issued.not_after_s > ends_s);
        ends_s = issued.not_after_s;
        keys.push(issued.identity.key.key.public_key().unwrap().to_vec());
        run.turn();
        let left_s = ends_s - bench.hand.now_s();
        assert!((30 * DAY_S - 60..=33 * DAY_S).contains(&left_s), "{left_s}");
        assert_eq!(run.metric(ATTEMPTS), f64::from(round + 1));
    }
    run.installed();
    keys.dedup();
    assert_eq!(keys.len(), 3, "each has a key of its own");
    assert_eq!(bench.ca.count("new-account"), 1);
}

#[test]
fn a_renewal_that_fails_leaves_the_old_one() {
    let bench = Bench::new();
    let (mut run, server) = bench.run_dns(&["kept.issuing.test"]);
    run.until_asleep();
    let first = run.installed();
    run.lines.clear();
    bench.ca.script(|script| script.dns = nowhere());
    assert_eq!(run.turn(), 60);
    run.nothing_is_installed();
    assert_eq!(run.metric(FAILURES), 1.0);
    assert_eq!(run.metric(EXPIRY), first.not_after_s as f64);
    let line = "[WARNING] plugin/tls: the certificate for kept.issuing.test is not renewed: kept.issuing.test: API error: dns-01: ";
    let lines = std::mem::take(&mut run.lines);
    assert!(lines.len() == 1 && lines[0].starts_with(line), "{lines:#?}");
    assert!(
        lines[0].contains("the old one is served, for another 7"),
        "{lines:#?}"
    );
    // Once it has ended the line says that.
    bench.hand.advance(40 * DAY_S);
    run.turn();
    run.logged(
        "[ERROR] plugin/tls: the certificate for kept.issuing.test has ended and is not renewed: ",
    );
    bench.ca.script(|script| script.dns = server.addr);
    run.turn();
    assert!(run.installed().not_after_s > first.not_after_s);
}

#[test]
fn what_propagates_slowly_is_waited_for() {
    let bench = Bench::new();
    let (_, server) = bench.run_dns(&["unused.issuing.test"]);
    let mut settings = bench.settings(&["slow.issuing.test"], AcmeChallenge::Dns01);
    settings.resolver = Some(server.addr.to_string());
    let mut run = bench.run(settings);
    run.until_asleep();
    run.installed();
    drop(run);

    // One that never shows it: the authority is not asked to look.
    let blind = NameServer::blind();
    let mut settings = bench.settings(&["blind.issuing.test"], AcmeChallenge::Dns01);
    settings.resolver = Some(blind.addr.to_string());
    let looked = bench.ca.count("challenge");
    let mut run = bench.run(settings);
    assert_eq!(run.until_asleep(), 60);
    let resolver = blind.addr;
    run.logged(&format!(
        "the resolver {resolver} was waited for in vain: it does not show the TXT record; is the zone delegated to this server?"
    ));
    assert_eq!(bench.ca.count("challenge"), looked);
}

/// A TLS server that has certificates for challenges alone.
fn handshakes(control: &Control) -> std::net::SocketAddr {
    #[derive(Debug)]
    struct Challenges;
    impl ResolvesServerCert for Challenges {
        fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            let is_challenge = answers::is_challenge(&hello);
            answers::alpn_certificate(hello.server_name().filter(|_| is_challenge)?)
        }
    }
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Challenges));
    config.alpn_protocols = vec![crate::tls::CHALLENGE_PROTOCOL.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    control.spawn("handshakes", async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that fails here says so itself.
            let _ = acceptor.accept(stream).await;
        }
    });
    addr
}
