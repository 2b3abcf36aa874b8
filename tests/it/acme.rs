//! A certificate of an ACME authority, from the Corefile to a client: ordered, shown, renewed, and kept for the next start.

use percoredns::testing::acme::Ca;

use crate::server::{Folder, Server, eventually, free_port};
use crate::tls::Tls;

fn corefile(ca: &Ca, port: u16) -> String {
    format!(
        "tls://.:0 .:{port} {{\n tls {{\n  acme dns.test\n  email me@example.org\n  ca {}\n  ca_root {}\n  storage store\n }}\n whoami\n}}\n",
        ca.url(),
        ca.ca_file()
    )
}

#[test]
fn a_certificate_is_ordered_renewed_and_kept() {
    let (ca, port) = (Ca::new(), free_port());
    ca.script(|script| {
        script.dns = format!("127.0.0.1:{port}").parse().unwrap();
        // Which is to be renewed at once.
        script.lifetime_s = 9;
    });
    let server = Server::with(Folder::new(), &corefile(&ca, port), |_| {});
    server.wait_for(|line| line.contains("plugin/tls: obtained a certificate for dns.test"));
    let to = server.addr("tls://.:");
    let shown = || Tls::trusting(to, &ca.ca_file()).shake_hands();
    let first = shown();
    assert_eq!(ca.contacts(), ["mailto:me@example.org"]);
    eventually("another certificate is shown", || shown() != first);
    assert!(ca.count("finalize") >= 2);
    // The next start has it before it listens, whatever the authority says.
    ca.script(|script| script.lifetime_s = 90 * 86_400);
    server.wait_for_nth(3, |line| {
        line.contains("obtained a certificate for dns.test")
    });
    let last = shown();
    let orders = ca.count("new-order");
    let store = std::fs::read_dir(server.folder.path().join("store")).unwrap();
    assert!(store.count() >= 1);
    let again = Folder::new();
    copy(
        &server.folder.path().join("store"),
        &again.path().join("store"),
    );
    drop(server);
    let server = Server::with(again, &corefile(&ca, port), |_| {});
    let kept = Tls::trusting(server.addr("tls://.:"), &ca.ca_file()).shake_hands();
    assert_eq!(kept, last);
    assert_eq!(ca.count("new-order"), orders);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
