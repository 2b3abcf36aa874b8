//! What authorities, files and the network do wrong.

use std::time::Duration;

use super::{ATTEMPTS, Bench, FAILURES, NameServer, Run};
use crate::testing::Host;
use crate::testing::acme::{Ca, Flaw, Refusal};
use crate::tune::AcmeChallenge;

fn refuse(bench: &Bench, resource: &'static str, code: u16, kind: &'static str, times: usize) {
    let refusal = Refusal {
        resource,
        code,
        kind,
        retry_after_s: None,
        times,
    };
    bench.ca.script(|script| script.refusals.push(refusal));
}

/// The next attempt succeeds.
fn recovers(run: &mut Run) {
    run.nothing_is_installed();
    run.turn();
    run.installed();
    run.lines.clear();
}

#[test]
fn an_authority_that_is_down_at_start() {
    let bench = Bench::with(Ca::stopped());
    let (mut run, _server) = bench.run_dns(&["down.failures.test"]);
    assert_eq!(run.until_asleep(), 60);
    let url = bench.ca.url();
    run.logged(&format!(
        "[ERROR] plugin/tls: no certificate for down.failures.test: the authority {url}, a new account: client error (Connect): "
    ));
    for expect_s in [120, 240, 480, 960, 1_920, 3_600, 3_600] {
        let asleep_s = run.turn();
        assert!(
            (expect_s * 3 / 4..=expect_s).contains(&asleep_s),
            "{asleep_s}"
        );
    }
    assert_eq!((run.metric(ATTEMPTS), run.metric(FAILURES)), (8.0, 8.0));
    bench.ca.start();
    recovers(&mut run);
    assert_eq!(run.metric(FAILURES), 8.0);
}

#[test]
fn nonces_that_are_not_liked_are_replaced() {
    let bench = Bench::new();
    let (mut run, _server) = bench.run_dns(&["nonce.failures.test"]);
    bench.ca.script(|script| script.bad_nonces = 2);
    run.until_asleep();
    run.installed();
    assert_eq!(run.metric(FAILURES), 0.0);
    assert_eq!(bench.ca.count("new-account"), 3);
}

#[test]
fn an_authority_says_when_to_come_back() {
    let bench = Bench::new();
    let (mut run, _server) = bench.run_dns(&["limit.failures.test"]);
    bench.ca.script(|script| {
        script.refusals.push(Refusal {
            resource: "new-order",
            code: 429,
            kind: "rateLimited",
            retry_after_s: Some(7_200),
            times: 1,
        });
    });
    assert_eq!(run.until_asleep(), 7_200);
    run.logged(
        "a new order: API error: as the script has it (urn:ietf:params:acme:error:rateLimited)",
    );
    refuse(&bench, "new-order", 429, "rateLimited", 1);
    assert_eq!(run.turn(), 3_600, "where it does not say, an hour");
    refuse(&bench, "new-order", 503, "serverInternal", 1);
    let asleep_s = run.turn();
    assert!((180..=240).contains(&asleep_s), "{asleep_s}");
    recovers(&mut run);
}

#[test]
fn refusals_on_the_way_are_told_and_tried_again() {
    let bench = Bench::new();
    let (mut run, _server) = bench.run_dns(&["refused.failures.test"]);
    let cases = [
        ("directory", "serverInternal", "the authority "),
        (
            "new-nonce",
            "serverInternal",
            "error response from newNonce",
        ),
        (
            "new-account",
            "externalAccountRequired",
            "a new account: API error",
        ),
        ("new-order", "rejectedIdentifier", "a new order: API error"),
        (
            "authorization",
            "serverInternal",
            "an authorization: API error",
        ),
        ("challenge", "malformed", "a challenge: API error"),
        ("order", "serverInternal", "the order: API error"),
        (
            "finalize",
            "badCSR",
            "the request for the certificate: API error",
        ),
        (
            "certificate",
            "serverInternal",
            "the certificate: API error",
        ),
    ];
    refuse(&bench, cases[0].0, 500, cases[0].1, 1);
    run.until_asleep();
    for (nth, (_, _, text)) in cases.iter().enumerate() {
        run.logged(text);
        run.nothing_is_installed();
        if let Some((resource, kind, _)) = cases.get(nth + 1) {
            refuse(&bench, resource, 500, kind, 1);
            run.turn();
        }
    }
    recovers(&mut run);
}

#[test]
fn certificates_of_no_use_are_not_installed() {
    let bench = Bench::new();
    let (mut run, _server) = bench.run_dns(&["flawed.failures.test"]);
    let cases = [
        (
            Flaw::Garbage,
            "what the authority issued is of no use: it holds no certificate",
        ),
        (Flaw::OtherKey, "tls: private key does not match public key"),
        (
            Flaw::OtherName,
            "the certificate does not name flawed.failures.test",
        ),
        (Flaw::Ended, "has ended already; is the clock right?"),
        (Flaw::Endless, "the certificate: length limit exceeded"),
    ];
    bench.ca.script(|script| script.flaw = Some(cases[0].0));
    run.until_asleep();
    for (nth, (_, text)) in cases.iter().enumerate() {
        run.logged(text);
        run.nothing_is_installed();
        if let Some((flaw, _)) = cases.get(nth + 1) {
            bench.ca.script(|script| script.flaw = Some(*flaw));
            run.turn();
        }
    }
    bench.ca.script(|script| script.flaw = None);
    recovers(&mut run);
}

#[test]
fn the_authority_sees_something_else() {
    let bench = Bench::new();
    // Another server on the port: 404, and handshakes without certificates.
    let other = Ca::new();
    let addr = other.url();
    let addr = addr.strip_prefix("https://").unwrap();
    let addr = addr.strip_suffix("/directory").unwrap().parse().unwrap();
    bench
        .ca
        .script(|script| (script.http, script.tls) = (addr, addr));
    for (challenge, domain) in [
        (AcmeChallenge::Http01, "http.failures.test"),
        (AcmeChallenge::TlsAlpn01, "tls.failures.test"),
    ] {
        let mut settings = bench.settings(&[domain], challenge);
        settings.http_addr = super::nowhere().to_string();
        let mut run = bench.run(settings);
        run.until_asleep();
        run.nothing_is_installed();
        run.logged(&format!(
            "no certificate for {domain}: {domain}: API error: {challenge}: "
        ));
    }
}

#[test]
fn a_challenge_that_is_not_offered_is_named() {
    let bench = Bench::new();
    let settings = bench.settings(&["offer.failures.test"], AcmeChallenge::TlsAlpn01);
    bench
        .ca
        .script(|script| script.challenges = vec!["http-01"]);
    let mut run = bench.run(settings);
    run.until_asleep();
    run.logged(
        "the authority does not offer the challenge tls-alpn-01 for offer.failures.test; see acme_challenge of -tune",
    );
}

#[test]
fn roots_that_are_missing_or_others() {
    let bench = Bench::new();
    let other = Ca::stopped();
    let cases = [
        (
            other.ca_file(),
            "client error (Connect): invalid peer certificate: ",
        ),
        (
            bench.dir.write("empty.pem", ""),
            "tls: failed to find any PEM data",
        ),
        (
            bench.dir.path().join("none.pem").display().to_string(),
            "none.pem: no such file or directory",
        ),
    ];
    for (file, expect) in cases {
        let mut settings = bench.settings(&["roots.failures.test"], AcmeChallenge::Dns01);
        settings.ca_root = Some(file.into());
        let mut run = bench.run(settings);
        run.until_asleep();
        run.logged(expect);
    }
    assert_eq!(bench.ca.count("directory"), 0);
}

#[test]
fn what_cannot_be_stored_is_not_ordered() {
    let bench = Bench::new();
    let mut settings = bench.settings(&["store.failures.test"], AcmeChallenge::Dns01);
    settings.storage = bench.dir.write("file", "").into();
    let folder = settings.storage.display().to_string();
    let mut run = bench.run(settings);
    run.until_asleep();
    run.logged(&format!("storage {folder} cannot be written ("));
    assert_eq!(bench.ca.count("directory"), 0);
}

#[test]
fn an_account_that_is_gone_is_opened_again() {
    let bench = Bench::new();
    let server = NameServer::start(". {\n whoami\n}\n");
    bench.ca.script(|script| script.dns = server.addr);
    let mut settings = bench.settings(&["gone.failures.test"], AcmeChallenge::Dns01);
    settings.email = Some("admin@failures.test".to_owned());
    let mut run = bench.run(settings);
    run.until_asleep();
    run.installed();
    bench.ca.forget_accounts();
    run.turn();
    run.installed();
    assert_eq!(run.metric(FAILURES), 0.0);
    assert_eq!(bench.ca.contacts(), ["mailto:admin@failures.test"; 2]);
}

#[test]
fn a_manager_that_goes_takes_its_answers_along() {
    let bench = Bench::new();
    let mute = NameServer::mute();
    let mut settings = bench.settings(&["left.failures.test"], AcmeChallenge::Dns01);
    settings.resolver = Some(mute.addr.to_string());
    let manager = super::Manager::open(settings, |_| panic!("nothing is issued"));
    manager.start(&bench.control);
    manager.start(&bench.control);
    let host = Host::new(". {\n whoami\n}\n").unwrap();
    let is_answered = || {
        !host
            .ask("_acme-challenge.left.failures.test TXT")
            .answer
            .is_empty()
    };
    wait(is_answered);
    assert_eq!(bench.ca.count("new-order"), 1, "started once");
    drop(manager);
    wait(|| !is_answered());
}

/// Waits for what another thread does.
fn wait(condition: impl Fn() -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(std::time::Instant::now() < end);
        std::thread::sleep(Duration::from_millis(2));
    }
}
