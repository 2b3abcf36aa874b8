//! DNS over QUIC and over HTTP/3 as foreign clients see it.

use std::process::Command;

use percoredns::testing::authority::Authority;

use crate::interop::{output, program};
use crate::server::{Folder, PATIENCE, Server, run, skip};

const ZONE: &str = include_str!("../data/example/db.example.org");

/// A server of a zone on free ports for QUIC, HTTP/3 and UDP, on each backend.
fn both_backends(test: impl Fn(&Server, &Authority)) {
    for runtime in ["auto", "epoll"] {
        let authority = Authority::new();
        let (cert, key) = authority.server("dns", &["dns.test"]);
        let folder = Folder::new();
        let zone = folder.write("db", ZONE);
        let corefile = format!(
            "quic://.:0 https3://.:0 .:0 {{\n tls {cert} {key}\n file {} example.org\n}}\n",
            zone.display()
        );
        let server = Server::with(folder, &corefile, |command| {
            command.args(["-runtime", runtime]);
        });
        test(&server, &authority);
    }
}

/// What kdig says to three questions on one connection, less what tells the transport.
fn kdig(program: &str, host: &str, port: u16, more: &[&str]) -> String {
    let mut command = Command::new(program);
    let at = [&format!("@{host}"), "-p", &port.to_string(), "+nopadding"].map(str::to_owned);
    command.args(at).args(["+noheader", "+nostats", "+noedns"]);
    command.args(more);
    for question in [
        ["example.org", "SOA"],
        ["www.example.org", "A"],
        ["no.example.org", "TXT"],
    ] {
        command.args(question);
    }
    let text = output(&mut command, PATIENCE);
    let lines = text
        .lines()
        .filter(|line| !line.starts_with(";; QUIC session") && !line.contains("id:"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn kdig_gets_over_quic_what_it_gets_over_udp() {
    let Some(program) = program("kdig", "knot-dnsutils") else {
        return;
    };
    let help = output(Command::new(&program).arg("--help"), PATIENCE);
    if !help.contains("+[no]quic") {
        skip("this kdig is built without QUIC (it lists +[no]quic in its help)");
        return;
    }
    both_backends(|server, authority| {
        // Options of TLS choose TLS over TCP, so that of QUIC is last.
        let ca = format!("+tls-ca={}", authority.ca_file());
        let quic = [&ca, "+tls-hostname=dns.test", "+quic"];
        for host in ["127.0.0.1", "::1"] {
            let plain = kdig(&program, host, server.addr(".:").port(), &[]);
            assert!(plain.contains("SOA"), "{plain}");
            let text = kdig(&program, host, server.addr("quic://.:").port(), &quic);
            assert_eq!(text, plain, "{host}");
        }
    });
}

#[test]
fn curl_asks_over_http3() {
    let Some(program) = program("curl", "curl") else {
        return;
    };
    let version = output(Command::new(&program).arg("--version"), PATIENCE);
    if !version.contains("HTTP3") {
        skip("this curl is built without HTTP/3 (it lists HTTP3 among its features)");
        return;
    }
    both_backends(|server, authority| {
        let port = server.addr("https3://.:").port();
        let url = format!(
            "https://dns.test:{port}/dns-query?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA29yZwAAAQAB"
        );
        let resolve = format!("dns.test:{port}:127.0.0.1");
        let mut command = Command::new(&program);
        command.args([
            "--http3-only",
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_version} %{http_code}",
        ]);
        command.args([
            "--cacert",
            &authority.ca_file(),
            "--resolve",
            &resolve,
            &url,
        ]);
        assert_eq!(output(&mut command, PATIENCE), "3 200");
    });
}

#[test]
fn quic_needs_a_certificate() {
    for (scheme, what) in [("quic", "DoQ"), ("https3", "DoH3")] {
        let folder = Folder::new();
        folder.write("Corefile", &format!("{scheme}://.:0 {{\n whoami\n}}\n"));
        let (code, out, err) = run(&folder, &["-conf", "Corefile"]);
        assert_eq!(code, 1);
        let expect = format!("{what} requires TLS");
        assert!(format!("{out}{err}").contains(&expect), "{out}{err}");
    }
}
