//! Upstreams over TLS and HTTPS that nobody here wrote, and percoredns itself. Each test says SKIPPED where its program is not installed.

use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};

use percoredns::testing::authority::Authority;

use crate::interop::program;
use crate::server::{Folder, Server, eventually, free_port};

/// A server over TLS and HTTPS that answers `www.secure.test A` with 192.0.2.33.
struct Foreign {
    child: Child,
    tls: u16,
    https: u16,
    _folder: Folder,
}

impl Foreign {
    fn start(mut command: Command, folder: Folder, tls: u16, https: u16) -> Foreign {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let foreign = Foreign {
            child,
            tls,
            https,
            _folder: folder,
        };
        for port in [tls, https] {
            eventually("it listens", || {
                TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
            });
        }
        foreign
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const HOSTS: [&str; 2] = ["dns.example", "127.0.0.1"];

fn start_unbound(authority: &Authority) -> Option<Foreign> {
    let unbound = program("unbound", "unbound")?;
    let (cert, key) = authority.server("unbound", &HOSTS);
    let (folder, tls, https) = (Folder::new(), free_port(), free_port());
    let at = folder.path().display().to_string();
    let conf = format!(
        "server:\n  interface: 127.0.0.1@{tls}\n  interface: 127.0.0.1@{https}\n  tls-port: {tls}\n  https-port: {https}\n  \
         tls-service-pem: \"{cert}\"\n  tls-service-key: \"{key}\"\n  username: \"\"\n  chroot: \"\"\n  directory: \"{at}\"\n  \
         pidfile: \"{at}/pid\"\n  use-syslog: no\n  do-daemonize: no\n  num-threads: 1\n  module-config: \"iterator\"\n  \
         access-control: 127.0.0.0/8 allow\n  local-zone: \"secure.test.\" static\n  \
         local-data: \"www.secure.test. 120 IN A 192.0.2.33\"\n\
         remote-control:\n  control-enable: no\n"
    );
    folder.write("unbound.conf", &conf);
    let mut command = Command::new(unbound);
    command.args(["-d", "-c", &format!("{at}/unbound.conf")]);
    Some(Foreign::start(command, folder, tls, https))
}

fn start_dnsdist(authority: &Authority) -> Option<Foreign> {
    let dnsdist = program("dnsdist", "dnsdist")?;
    let (cert, key) = authority.server("dnsdist", &HOSTS);
    let (folder, tls, https) = (Folder::new(), free_port(), free_port());
    let at = folder.path().display().to_string();
    let plain = free_port();
    let conf = format!(
        "setLocal(\"127.0.0.1:{plain}\")\nsetSecurityPollSuffix(\"\")\n\
         addTLSLocal(\"127.0.0.1:{tls}\", \"{cert}\", \"{key}\")\n\
         addDOHLocal(\"127.0.0.1:{https}\", \"{cert}\", \"{key}\", \"/dns-query\")\n\
         addAction(QNameRule(\"www.secure.test\"), SpoofAction(\"192.0.2.33\"))\n\
         addAction(AllRule(), RCodeAction(DNSRCode.NXDOMAIN))\n"
    );
    folder.write("dnsdist.conf", &conf);
    let mut command = Command::new(dnsdist);
    command.args(["--supervised", "--disable-syslog", "-C"]);
    command.arg(format!("{at}/dnsdist.conf"));
    Some(Foreign::start(command, folder, tls, https))
}

fn check(authority: &Authority, foreign: &Foreign) {
    let ca = authority.ca_file();
    for (to, options) in [
        (format!("tls://127.0.0.1:{}", foreign.tls), ""),
        (format!("tls://127.0.0.1%dns.example:{}", foreign.tls), ""),
        (format!("https://127.0.0.1:{}", foreign.https), ""),
        (
            format!("https://127.0.0.1:{}", foreign.https),
            "tls_servername dns.example\n    doh_method GET",
        ),
    ] {
        let server = Server::start(&format!(
            ".:0 {{\n  errors\n  forward . {to} {{\n    tls {ca}\n    {options}\n  }}\n}}\n"
        ));
        for query in ["www.secure.test A", "www.secure.test A +do"] {
            let reply = server.ask(query);
            let is_right = |record: &String| record.ends_with(" IN A 192.0.2.33");
            assert!(
                reply.answer.iter().any(is_right),
                "{to} {options}: {reply:?}"
            );
        }
        assert_eq!(server.ask("missing.secure.test A").rcode, "NXDOMAIN");
    }
    // A certificate for another name is none.
    let to = format!("tls://127.0.0.1%other.example:{}", foreign.tls);
    let server = Server::start(&format!(
        ".:0 {{\n  errors\n  forward . {to} {{\n    tls {ca}\n  }}\n}}\n"
    ));
    assert_eq!(server.ask("www.secure.test A").rcode, "SERVFAIL");
    server.wait_for(|line| line.contains("tls: failed to verify certificate"));
}

#[test]
fn forwards_to_unbound_over_tls_and_https() {
    let authority = Authority::new();
    if let Some(unbound) = start_unbound(&authority) {
        check(&authority, &unbound);
    }
}

#[test]
fn forwards_to_dnsdist_over_tls_and_https() {
    let authority = Authority::new();
    if let Some(dnsdist) = start_dnsdist(&authority) {
        check(&authority, &dnsdist);
    }
}

#[test]
fn forwards_to_itself_over_each_transport() {
    let authority = Authority::new();
    let (cert, key) = authority.server("own", &HOSTS);
    let ca = authority.ca_file();
    for (scheme, plugin, to) in [
        ("tls", "forward", "tls"),
        ("https", "forward", "https"),
        ("grpc", "grpc", "grpc"),
    ] {
        let upstream = Server::start(&format!(
            "{scheme}://.:0 {{\n  tls {cert} {key}\n  template IN A {{\n    answer \"{{{{ .Name }}}} 60 IN A 192.0.2.44\"\n  }}\n}}\n"
        ));
        let port = upstream.addr(&format!("{scheme}://.:")).port();
        let server = Server::start(&format!(
            ".:0 {{\n  {plugin} . {to}://127.0.0.1:{port} {{\n    tls {ca}\n  }}\n}}\n"
        ));
        for nth in 0..50 {
            let reply = server.ask(&format!("n{nth}.example.org A +do"));
            assert!(
                reply.answer[0].ends_with(" IN A 192.0.2.44"),
                "{scheme}: {reply:?}"
            );
        }
    }
}
