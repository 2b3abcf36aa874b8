//! Tests of *tls*.

use super::*;
use crate::testing::authority::Authority;
use crate::testing::directive::{set_up, set_up_error};

/// Lines with the files of a server in place of `CERT`, `KEY` and `CA`.
fn lines(authority: &Authority, text: &str) -> String {
    let (cert, key) = authority.server("dns", &["dns.test"]);
    text.replace("CERT", &cert)
        .replace("KEY", &key)
        .replace("CA", &authority.ca_file())
}

#[test]
fn lines_name_files_and_what_clients_show() {
    let authority = Authority::new();
    let check = |text: &str, want: &str| {
        let set_up = set_up::<Tls>("tls", &lines(&authority, text)).unwrap();
        let live = format!("{:?}", set_up.settings.tls.unwrap());
        assert!(live.contains(want), "{text}: {live}");
        assert_eq!(set_up.life.periodic.len(), 1);
    };
    check("tls CERT KEY", "client_auth: NoCert");
    check("tls CERT KEY CA", "ca: Some(");
    check("tls CERT KEY {\n client_auth nocert\n}", "NoCert");
    check("tls CERT KEY {\n client_auth request\n}", "Request");
    check("tls CERT KEY CA {\n client_auth require\n}", "Require,");
    check(
        "tls CERT KEY CA {\n client_auth verify_if_given\n}",
        "VerifyIfGiven",
    );
    check(
        "tls CERT KEY CA {\n client_auth require_and_verify\n}",
        "RequireAndVerify",
    );
    // The last line of a block wins.
    check(
        "tls CERT KEY {\n client_auth request\n}\ntls CERT KEY",
        "NoCert",
    );
    let keylog = authority.path().join("keys.log");
    check(
        &format!("tls CERT KEY {{\n keylog {}\n}}", keylog.display()),
        "keys.log",
    );
}

#[test]
fn wrong_lines_are_refused() {
    let authority = Authority::new();
    let check = |text: &str, want: &str| {
        let error = set_up_error::<Tls>("tls", &lines(&authority, text));
        assert!(error.contains(want), "{text}: {error}");
    };
    check("tls", "Wrong argument count");
    check("tls CERT", "Wrong argument count");
    check("tls CERT KEY CA more", "Wrong argument count");
    check(
        "tls /no/cert KEY",
        "open /no/cert: no such file or directory",
    );
    check(
        "tls CERT KEY /no/ca {\n client_auth require_and_verify\n}",
        "open /no/ca",
    );
    check("tls CERT KEY {\n client_auth\n}", "Wrong argument count");
    check(
        "tls CERT KEY {\n client_auth maybe\n}",
        "unknown authentication type 'maybe'",
    );
    check(
        "tls CERT KEY {\n protocols 1.2 1.3\n}",
        "unknown option 'protocols'",
    );
    check(
        "tls CERT KEY {\n keylog /no/such/dir/log\n}",
        "open /no/such/dir/log",
    );
}

#[cfg(feature = "acme")]
#[test]
fn authorities_are_named_with_what_they_need() {
    let dir = crate::testing::files::Dir::new();
    let storage = dir.path().join("acme");
    let lines = format!(
        "tls {{\n acme a.example b.example\n email me@example.org\n storage {}\n resolver 192.0.2.1:53\n ca https://ca.test/dir\n}}",
        storage.display()
    );
    let set_up = set_up::<Tls>("tls", &lines).unwrap();
    let live = format!("{:?}", set_up.settings.tls.unwrap());
    assert!(live.contains("Installed"), "{live}");
    assert_eq!(
        (set_up.life.on_start.len(), set_up.life.on_stop.len()),
        (1, 1)
    );
    let check = |text: &str, want: &str| {
        let error = set_up_error::<Tls>("tls", text);
        assert!(error.contains(want), "{text}: {error}");
    };
    check("tls {\n}", "Wrong argument count");
    check("tls {\n email me@example.org\n}", "Wrong argument count");
    check("tls {\n acme\n}", "");
    check("tls {\n acme a.example\n email\n}", "Wrong argument count");
    check(
        "tls {\n acme a.example\n client_auth require\n}",
        "unknown option 'client_auth'",
    );
    check("tls {\n acme *.a..example\n}", "");
}
