//! DNS over HTTPS and gRPC, asked by curl, kdig and dig. Each test says SKIPPED where its program is not installed.

use std::fs;
use std::process::Command;

use crate::client::{self, decode, query};
use crate::interop::{certify, output, program};
use crate::server::{Folder, PATIENCE, Server, eventually, free_port};

const ZONE: &str = include_str!("../data/example/db.example.org");

/// A server of a zone on each of these keys, with `cert.pem` where they have TLS.
fn start(keys: &[&str], more: &str, runtime: &str) -> Option<Server> {
    let folder = Folder::new();
    folder.write("db", ZONE);
    let openssl = program("openssl", "openssl")?;
    certify(&openssl, &folder);
    let blocks: String = keys
        .iter()
        .map(|key| {
            let (key, tls) = match key.strip_prefix("plain+") {
                Some(key) => (key, ""),
                None => (*key, "  tls cert.pem key.pem\n"),
            };
            format!("{key} {{\n{tls}{more}  file db example.org\n  chaos\n}}\n")
        })
        .collect();
    let server = Server::with(folder, &blocks, |command| {
        command.args(["-runtime", runtime]);
    });
    Some(server)
}

/// Status and body of what curl fetches.
fn curl(curl: &str, server: &Server, args: &[&str]) -> (String, Vec<u8>) {
    let mut command = Command::new(curl);
    let base = [
        "-s",
        "-k",
        "-m",
        "10",
        "-o",
        "body",
        "-w",
        "%{http_version} %{http_code}",
    ];
    command
        .current_dir(server.folder.path())
        .args(base)
        .args(args);
    let path = server.folder.path().join("body");
    let _ = fs::remove_file(&path);
    let status = output(&mut command, PATIENCE);
    (status, fs::read(&path).unwrap_or_default())
}

#[test]
fn curl_gets_the_octets_that_udp_gives() {
    let Some(program) = program("curl", "curl") else {
        return;
    };
    for runtime in ["auto", "epoll"] {
        let keys = ["https://.:0", "plain+dns://.:0"];
        let Some(server) = start(&keys, "", runtime) else {
            return;
        };
        let (doh, dns) = (server.addr("https://.:"), server.addr(".:"));
        let url = format!("https://127.0.0.1:{}/dns-query", doh.port());
        for text in [
            "www.example.org A",
            "nx.example.org A",
            "example.org SOA +do",
            "example.org MX bufsize=4096",
            "example.com A",
            "version.bind TXT class=CH",
        ] {
            let message = query(0x1234, text);
            let udp = client::exchange(dns, &message, PATIENCE).expect("a reply");
            fs::write(server.folder.path().join("query"), &message).unwrap();
            for (version, expect) in [("--http2", "2 200"), ("--http1.1", "1.1 200")] {
                let args = [version, "--data-binary", "@query", &url];
                let (status, body) = curl(&program, &server, &args);
                assert_eq!((&*status, &body), (expect, &udp), "{text}");
            }
        }
        let (status, _) = curl(&program, &server, &["--http2", &url]);
        assert_eq!(status, "2 400");
        let (status, _) = curl(&program, &server, &["--http2", "-X", "PUT", &url]);
        assert_eq!(status, "2 400");
        let nowhere = url.replace("dns-query", "nowhere");
        let (status, _) = curl(&program, &server, &["--http1.1", &nowhere]);
        assert_eq!(status, "1.1 404");
    }
}

#[test]
fn without_tls_there_is_plain_http() {
    let Some(program) = program("curl", "curl") else {
        return;
    };
    let Some(server) = start(&["plain+https://.:0"], "", "auto") else {
        return;
    };
    let url = format!(
        "http://127.0.0.1:{}/dns-query?dns=",
        server.addr("https://.:").port()
    );
    // www.example.org A
    let url = url + "AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA29yZwAAAQAB";
    for (version, expect) in [
        ("--http1.1", "1.1 200"),
        ("--http2", "1.1 200"),
        ("--http2-prior-knowledge", "2 200"),
    ] {
        let (status, body) = curl(&program, &server, &[version, &url]);
        assert_eq!(status, expect, "{version}");
        assert_eq!(decode(&body).rcode, "NOERROR");
    }
}

#[test]
fn dig_and_kdig_are_content() {
    let ask = |program: &str, host: &str, port: u16, way: &str| {
        let (host, port) = (format!("@{host}"), port.to_string());
        let mut command = Command::new(program);
        let base = [&host, "-p", &port, "www.example.org", "A", way];
        output(command.args(base), PATIENCE)
    };
    for runtime in ["auto", "epoll"] {
        let Some(server) = start(&["https://.:0"], "", runtime) else {
            return;
        };
        let port = server.addr("https://.:").port();
        for (name, package, ways) in [
            ("kdig", "knot-dnsutils", ["+https", "+https-get"]),
            ("dig", "bind9-dnsutils", ["+https", "+https-get"]),
        ] {
            let Some(program) = program(name, package) else {
                continue;
            };
            // dig writes the authority of an IPv6 address without brackets.
            for (host, way) in ["127.0.0.1", "::1"]
                .map(|host| ways.map(|way| (host, way)))
                .concat()
            {
                let text = ask(&program, host, port, way);
                if text.contains("Invalid option") {
                    crate::server::skip(&format!("{name} has no {way}"));
                    continue;
                }
                let is_good = text.contains("status: NOERROR");
                assert!(is_good, "{name} {way} @{host}: {text}");
            }
        }
    }
}

#[test]
fn calls_over_grpc_are_answered_with_tls_and_without() {
    let Some(program) = program("curl", "curl") else {
        return;
    };
    for (runtime, key, scheme, version) in [
        ("auto", "grpc://.:0", "https", "--http2"),
        ("epoll", "grpc://.:0", "https", "--http2"),
        (
            "auto",
            "plain+grpc://.:0",
            "http",
            "--http2-prior-knowledge",
        ),
        (
            "epoll",
            "plain+grpc://.:0",
            "http",
            "--http2-prior-knowledge",
        ),
    ] {
        let Some(server) = start(&[key], "", runtime) else {
            return;
        };
        let message = query(7, "www.example.org A");
        let len = message.len() as u8;
        let call = [&[0, 0, 0, 0, len + 2, 0x0a, len], &message[..]].concat();
        fs::write(server.folder.path().join("call"), call).unwrap();
        let port = server.addr("grpc://.:").port();
        let url = format!("{scheme}://127.0.0.1:{port}/coredns.dns.DnsService/Query");
        let kind = "content-type: application/grpc";
        let args = [version, "-H", kind, "--data-binary", "@call", &url];
        let (status, body) = curl(&program, &server, &args);
        assert_eq!(status, "2 200", "{key}");
        // The prefix of five octets, the tag, and a length in one octet or two.
        let start = if body[6] < 0x80 { 7 } else { 8 };
        let reply = decode(&body[start..]);
        assert_eq!((reply.id, &*reply.rcode), (7, "NOERROR"));
    }
}

#[test]
fn responses_and_refused_connections_are_counted() {
    let Some(program) = program("curl", "curl") else {
        return;
    };
    let port = free_port();
    let more = format!("  prometheus 127.0.0.1:{port}\n  https {{\n    max_connections 1\n  }}\n");
    let Some(server) = start(&["plain+https://.:0"], &more, "auto") else {
        return;
    };
    let addr = server.addr("https://.:");
    let url = format!("http://127.0.0.1:{}/dns-query", addr.port());
    let (status, _) = curl(&program, &server, &["--http1.1", &url]);
    assert_eq!(status, "1.1 400");
    let metric = |name: &str, labels: &[&str]| {
        let (_, text) = client::http(port, "/metrics").expect("metrics");
        client::metric(&text, name, labels)
    };
    let responses = || {
        metric(
            "coredns_dns_https_responses_total",
            &["status=\"400\"", "https://:"],
        )
    };
    eventually("the response is counted", || responses() == 1.0);
    let refused = || metric("percoredns_tcp_refused_connections_total", &["listener"]);
    let held: Vec<client::Tcp> = (0..3).map(|_| client::Tcp::open(addr)).collect();
    eventually("the newest are refused", || refused() >= 2.0);
    drop(held);
    eventually("there is room again", || {
        curl(&program, &server, &["--http1.1", &url]).0 == "1.1 400"
    });
}
