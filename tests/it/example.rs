//! Corefile.example and the tour of the README.

use std::fs;
use std::path::Path;

use crate::client;
use crate::server::{Folder, Server, command, free_port};

/// The example as it is in the repository, with free ports in place of its own.
fn example() -> (String, [u16; 3]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("Corefile.example")).unwrap();
    assert!(
        text.contains(":1053"),
        "port 1053 is gone from Corefile.example"
    );
    // First, since a free port may begin with the same digits.
    let mut text = text.replace(":1053", ":0");
    let ports = [free_port(), free_port(), free_port()];
    for (from, to) in [":8080", ":8181", ":9153"].iter().zip(ports) {
        assert!(text.contains(from), "{from} is gone from Corefile.example");
        text = text.replace(from, &format!(":{to}"));
    }
    (text, ports)
}

/// Started in the repository, because the example names its files from there.
fn start() -> (Server, [u16; 3], String) {
    let (text, ports) = example();
    let folder = Folder::new();
    let path = folder.write("Corefile", &text);
    let mut command = command(&folder);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("-conf")
        .arg(path);
    let server = Server::spawn(command, folder);
    server.wait_for(|line| line.starts_with("percoredns-"));
    (server, ports, text)
}

#[test]
fn it_answers_from_its_zone() {
    let (server, _, _) = start();
    let addr = server.addr("example.org.:");
    let reply = client::udp(addr, "www.example.org A");
    assert_eq!(reply.answer, ["www.example.org. 3600 IN A 192.0.2.80"]);
    assert!(reply.flags.contains("aa"), "{reply:?}");
    assert_eq!(client::tcp(addr, "www.example.org A").answer, reply.answer);
    assert_eq!(client::udp(addr, "missing.example.org A").rcode, "NXDOMAIN");
    server.wait_for(|line| line.contains("\"A IN www.example.org. udp "));
}

#[test]
fn it_answers_from_its_hosts_file() {
    let (server, _, _) = start();
    let reply = server.ask("Printer.home.arpa A");
    assert_eq!(reply.answer, ["Printer.home.arpa. 60 IN A 192.0.2.10"]);
    assert_eq!(server.ask("nas.home.arpa AAAA").answer.len(), 1);
    assert_eq!(server.ask("router.home.arpa A").answer.len(), 1);
    let reverse = server.ask("10.2.0.192.in-addr.arpa PTR");
    assert!(
        reverse
            .answer
            .iter()
            .any(|record| record.ends_with(" PTR printer.home.arpa.")),
        "{reverse:?}"
    );
}

#[test]
fn health_ready_and_metrics_are_there() {
    let (server, [health, ready, metrics], _) = start();
    assert_eq!(client::http(health, "/health"), Some((200, "OK".into())));
    assert_eq!(client::http(ready, "/ready"), Some((200, "OK".into())));
    client::udp(server.addr("example.org.:"), "www.example.org A");
    // Counters of a core are summed when they are read.
    let (status, body) = client::http(metrics, "/metrics").expect("the metrics");
    assert_eq!(status, 200);
    let requests = client::metric(
        &body,
        "coredns_dns_requests_total",
        &["zone=\"example.org.\"", "type=\"A\"", "proto=\"udp\""],
    );
    assert_eq!(requests, 1.0, "{body}");
}

#[test]
fn the_tour_ends_with_a_broken_corefile_that_changes_nothing() {
    let (server, [health, ..], text) = start();
    assert_eq!(server.reload(&text), "[INFO] Reloading complete");
    let outcome = server.reload(&text.replace("errors", "erors"));
    assert!(outcome.contains("Unknown directive 'erors'"), "{outcome}");
    let addr = server.addr("example.org.:");
    assert_eq!(client::udp(addr, "www.example.org A").rcode, "NOERROR");
    assert_eq!(client::http(health, "/health"), Some((200, "OK".into())));
}
