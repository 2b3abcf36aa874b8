//! `upstream_proxy_protocol`: an upstream sees the clients of the server in front of it.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;

use percoredns::testing::authority::Authority;

use crate::client::{self, PATIENCE, Reply, Tcp, decode, query};
use crate::interop::{Foreign, program};
use crate::server::{Folder, Server, eventually, free_port};

/// A server that asks `upstream`, which stands behind `line`, and tells it of its clients.
fn in_front_of(upstream: SocketAddr, line: &str, options: &str) -> Server {
    let folder = Folder::new();
    let list = format!("[global]\nupstream_proxy_protocol = [\"{upstream}\"]\n");
    let tune = folder.write("tune.toml", &list);
    let text = format!(".:0 {{\n  errors\n  {line}{upstream} {{\n    {options}\n  }}\n}}\n");
    Server::with(folder, &text, |command| {
        command.arg("-tune").arg(tune);
    })
}

/// Asks over UDP from this address; and the port that was asked from.
fn ask_from(from: &str, to: SocketAddr) -> (Reply, SocketAddr) {
    let socket = UdpSocket::bind((from, 0)).expect("an address of loopback");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(to).unwrap();
    socket.send(&query(7, "www.example.org A")).unwrap();
    let mut buffer = [0; 512];
    let len = socket.recv(&mut buffer).expect("a reply");
    (decode(&buffer[..len]), socket.local_addr().unwrap())
}

#[test]
fn percoredns_behind_itself_sees_the_client() {
    let authority = Authority::new();
    let (cert, key) = authority.server("proxied", &["127.0.0.1"]);
    let tls = format!("tls {}", authority.ca_file());
    for (scheme, line, options) in [
        ("", "forward . ", ""),
        ("", "forward . ", "force_tcp"),
        ("tls://", "forward . tls://", tls.as_str()),
        ("https://", "forward . https://", tls.as_str()),
        ("grpc://", "grpc . grpc://", tls.as_str()),
    ] {
        let metrics = free_port();
        let secure = match scheme {
            "" => String::new(),
            _ => format!("tls {cert} {key}"),
        };
        let behind = Server::start(&format!(
            "{scheme}.:0 {{\n  {secure}\n  proxyproto {{\n    allow 127.0.0.0/8\n    default reject\n  }}\n  prometheus 127.0.0.1:{metrics}\n  \
             log\n  acl {{\n    block net 127.0.0.66\n  }}\n  whoami\n}}\n"
        ));
        let to = SocketAddr::from(([127, 0, 0, 1], behind.addr(&format!("{scheme}.:")).port()));
        let front = in_front_of(to, line, options);
        let addr = front.addr(".:");
        for (from, rcode) in [
            ("127.0.0.5", "NOERROR"),
            ("127.0.0.66", "REFUSED"),
            ("127.0.0.6", "NOERROR"),
        ] {
            let (reply, client) = ask_from(from, addr);
            assert_eq!(reply.rcode, rcode, "{line} {options}: {reply:?}");
            let seen = format!(" {client} - ");
            behind.wait_for(|line| line.contains(&seen) && line.contains(rcode));
        }
        // Over TCP from end to end, on one connection of the client.
        let mut tcp = Tcp::open(addr);
        let own = tcp.0.local_addr().unwrap();
        for id in [1, 2] {
            assert_eq!(tcp.ask(id, "www.example.org A").rcode, "NOERROR");
        }
        behind.wait_for_nth(2, |line| line.contains(&format!(" {own} - ")));
        let (_, body) = client::http(metrics, "/metrics").expect("metrics");
        let errors = client::metric(&body, "percoredns_proxy_protocol_errors_total", &[]);
        assert_eq!(errors, 0.0);
    }
}

#[test]
fn a_listed_upstream_that_comes_back_is_found_by_its_probes() {
    let port = free_port();
    let upstream = SocketAddr::from(([127, 0, 0, 1], port));
    let front = in_front_of(
        upstream,
        "forward . ",
        "max_fails 1\n    health_check 50ms\n    failfast_all_unhealthy_upstreams",
    );
    let addr = front.addr(".:");
    eventually("it is down", || {
        assert_eq!(client::udp(addr, "www.example.org A").rcode, "SERVFAIL");
        let is_down = |line: &String| line.contains("no healthy proxies");
        front.lines().iter().any(is_down)
    });
    let behind = Server::start(&format!(
        ".:{port} {{\n  bind 127.0.0.1\n  proxyproto {{\n    allow 127.0.0.0/8\n    default reject\n  }}\n  whoami\n}}\n"
    ));
    eventually("it is up again", || {
        client::udp(addr, "www.example.org A").rcode == "NOERROR"
    });
    drop(behind);
}

#[test]
fn dnsdist_behind_sees_the_client() {
    let Some(dnsdist) = program("dnsdist", "dnsdist") else {
        return;
    };
    let (folder, port) = (Folder::new(), free_port());
    folder.write(
        "dnsdist.conf",
        &format!(
            "setLocal('127.0.0.1:{port}')\nsetSecurityPollSuffix('')\n\
             function clientIs(ip) local group = newNMG() group:addMask(ip) return NetmaskGroupRule(group) end\n\
             setProxyProtocolACL('127.0.0.2/32')\n\
             addAction(clientIs('127.0.0.1'), SpoofAction('192.0.2.1'))\n\
             addAction(clientIs('127.0.0.5'), SpoofAction('192.0.2.5'))\n\
             addAction(clientIs('127.0.0.6'), SpoofAction('192.0.2.6'))\n\
             addAction(AllRule(), RCodeAction(DNSRCode.REFUSED))\n"
        ),
    );
    let mut command = Command::new(dnsdist);
    command.args(["--supervised", "--disable-syslog", "-C", "dnsdist.conf"]);
    let behind = Foreign::start(&mut command, folder, port, "example.org");
    // From that address it drops what has no header.
    for options in ["", "force_tcp"] {
        let options = &format!("source_address 127.0.0.2\n    {options}");
        let front = in_front_of(behind.addr, "forward . ", options);
        for (from, want) in [("127.0.0.5", "192.0.2.5"), ("127.0.0.6", "192.0.2.6")] {
            let (reply, _) = ask_from(from, front.addr(".:"));
            let is_right = |record: &String| record.ends_with(&format!(" IN A {want}"));
            assert!(reply.answer.iter().any(is_right), "{options}: {reply:?}");
        }
        assert_eq!(ask_from("127.0.0.7", front.addr(".:")).0.rcode, "REFUSED");
    }
}
