//! What a manager finds in its files.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::{ATTEMPTS, Bench, DAY_S, EXPIRY};

/// The files in the storage, by name.
fn files(bench: &Bench) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(bench.dir.path().join("acme")).unwrap();
    let mut files: Vec<(String, PathBuf)> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), entry.path())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_restart_uses_the_stored_certificate() {
    let bench = Bench::new();
    let names = ["*.stored.test", "stored.test"];
    let (mut run, _server) = bench.run_dns(&names);
    run.until_asleep();
    let first = run.installed();
    drop(run);
    let (asked, ordered) = (bench.ca.count("directory"), bench.ca.count("new-order"));
    bench.hand.advance(10 * DAY_S);

    let (mut run, _server) = bench.run_dns(&names);
    let again = run.installed();
    assert_eq!(again.identity.key.cert, first.identity.key.cert);
    assert_eq!(run.metric(EXPIRY), first.not_after_s as f64);
    let asleep_s = run.until_asleep();
    assert!(
        (47 * DAY_S - 60..=50 * DAY_S).contains(&asleep_s),
        "{asleep_s}"
    );
    assert_eq!(bench.ca.count("directory"), asked, "nobody was asked");
    run.turn();
    run.installed();
    assert_eq!(bench.ca.count("new-order"), ordered + 1);
    assert_eq!(bench.ca.count("new-account"), 1);
}

#[test]
fn files_are_for_their_owner_alone() {
    let bench = Bench::new();
    let (mut run, _server) = bench.run_dns(&["*.modes.stored.test"]);
    run.until_asleep();
    run.installed();
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&bench.dir.path().join("acme")), 0o700);
    let files = files(&bench);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert!(
        matches!(names[..], [certificate, account]
            if certificate.starts_with("_.modes.stored.test-") && certificate.ends_with(".pem")
            && account.starts_with("account-") && account.ends_with(".json")),
        "{names:?}"
    );
    assert!(files.iter().all(|(_, path)| mode(path) == 0o600));
}

#[test]
fn what_has_ended_or_is_broken_is_ordered_anew() {
    let bench = Bench::new();
    let names = ["broken.stored.test"];
    let (mut run, _server) = bench.run_dns(&names);
    run.until_asleep();
    run.installed();
    drop(run);
    let certificate = files(&bench).pop().unwrap().1;

    bench.hand.advance(90 * DAY_S);
    let (mut run, _server) = bench.run_dns(&names);
    run.nothing_is_installed();
    run.logged("[WARNING] plugin/tls: the stored certificate for broken.stored.test has ended");
    run.until_asleep();
    run.installed();
    drop(run);

    let good = fs::read_to_string(&certificate).unwrap();
    let key_only = good.split("-----BEGIN CERTIFICATE").next().unwrap();
    for (text, mode, expect) in [
        ("", 0o600, "it holds no certificate"),
        (key_only, 0o600, "it holds no certificate"),
        (
            &*good.replacen("CERTIFICATE-----\nM", "CERTIFICATE-----\n!", 1),
            0o600,
            "its certificates cannot be read",
        ),
        (&good, 0o666, "everybody may write to it (chmod 600)"),
    ] {
        fs::write(&certificate, text).unwrap();
        fs::set_permissions(&certificate, Permissions::from_mode(mode)).unwrap();
        let (mut run, _server) = bench.run_dns(&names);
        run.nothing_is_installed();
        run.logged(&format!("{}: {expect}", certificate.display()));
        let attempts = run.metric(ATTEMPTS);
        run.until_asleep();
        run.installed();
        assert_eq!(run.metric(ATTEMPTS), attempts + 1.0);
    }
}

#[test]
fn a_broken_account_is_told_not_replaced() {
    let bench = Bench::new();
    let (mut run, _server) = bench.run_dns(&["account.stored.test"]);
    run.until_asleep();
    run.installed();
    let account = files(&bench).remove(0).1;
    fs::write(&account, "{}").unwrap();
    run.lines.clear();
    assert_eq!(run.turn(), 60);
    run.logged(&format!("{}: missing field ", account.display()));
    assert_eq!(bench.ca.count("new-account"), 1);
}
