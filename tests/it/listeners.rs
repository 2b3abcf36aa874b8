//! Which sockets are opened, what is printed about them, and from where replies leave.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use crate::client;
use crate::server::{Folder, Server, free_port, run};

#[test]
fn port_0_is_the_same_port_on_udp_and_tcp() {
    let server = Server::start(".:0 {\n  whoami\n}\n");
    let addr = server.addr(".:");
    let udp = client::udp(addr, "example.org A");
    let tcp = client::tcp(addr, "example.org A");
    assert!(udp.additional[1].starts_with("_udp.example.org. 0 IN SRV "));
    assert!(tcp.additional[1].starts_with("_tcp.example.org. 0 IN SRV "));
}

#[test]
fn replies_leave_from_the_address_that_was_asked() {
    let server = Server::start(".:0 {\n  whoami\n}\n");
    let port = server.addr(".:").port();
    for host in ["127.0.0.1", "127.0.0.2", "127.8.9.10", "::1"] {
        let host: IpAddr = host.parse().unwrap();
        if host == IpAddr::V6(Ipv6Addr::LOCALHOST) && UdpSocket::bind((host, 0)).is_err() {
            crate::server::skip("no IPv6 on loopback (ip addr add ::1/128 dev lo)");
            continue;
        }
        // The client's socket is connected: a reply from another address would not arrive.
        let reply = client::udp(SocketAddr::new(host, port), "example.org A");
        assert_eq!(reply.rcode, "NOERROR", "{host}");
        let rtype = if host.is_ipv4() { " A " } else { " AAAA " };
        assert!(reply.additional[0].contains(rtype), "{host}: {reply:?}");
    }
}

#[test]
fn listener_lines_name_zone_port_and_address() {
    let server =
        Server::start("example.org:0 example.net:0 {\n  whoami\n}\n10.0.0.0/24:0 {\n  whoami\n}\n");
    for zone in ["example.org.", "example.net.", "0.0.10.in-addr.arpa."] {
        let addr = server.addr(&format!("{zone}:"));
        assert_ne!(addr.port(), 0);
        assert_eq!(client::udp(addr, &format!("a.{zone} A")).rcode, "NOERROR");
    }
}

#[test]
fn a_port_held_by_another_program_stops_the_start() {
    let port = free_port();
    let _holder = TcpListener::bind(("0.0.0.0", port)).unwrap();
    let folder = Folder::new();
    folder.write("Corefile", &format!(".:{port} {{\n  whoami\n}}\n"));
    let (code, _, err) = run(&folder, &["-conf", "Corefile"]);
    assert_eq!(code, 1);
    let want = format!("Listen: listen tcp :{port}: bind: address already in use");
    assert!(err.starts_with(&want), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.contains("SO_REUSEPORT"), "the remedy is missing: {err}");
}

#[test]
fn a_udp_port_held_by_another_program_stops_the_start() {
    let port = free_port();
    let _holder = UdpSocket::bind(("0.0.0.0", port)).unwrap();
    let folder = Folder::new();
    folder.write("Corefile", &format!(".:{port} {{\n  whoami\n}}\n"));
    let (code, _, err) = run(&folder, &["-conf", "Corefile"]);
    assert_eq!(code, 1);
    let want = format!("Listen: listen udp :{port}: bind: address already in use");
    assert!(err.starts_with(&want), "{err}");
}

#[test]
fn two_processes_share_a_port() {
    let one = Server::start(".:0 {\n  whoami\n}\n");
    let addr = one.addr(".:");
    let mut two = Server::start(&format!(".:{} {{\n  whoami\n}}\n", addr.port()));
    for _ in 0..32 {
        assert_eq!(client::udp(addr, "example.org A").rcode, "NOERROR");
        assert_eq!(client::tcp(addr, "example.org A").rcode, "NOERROR");
    }
    // The other goes on alone. A fresh connection may have been queued at the one that goes; the client tries again.
    two.signal(libc::SIGTERM);
    assert_eq!(two.wait(), 0);
    for _ in 0..8 {
        assert_eq!(client::udp(addr, "example.org A").rcode, "NOERROR");
        assert_eq!(client::tcp(addr, "example.org A").rcode, "NOERROR");
    }
}

#[test]
fn multisocket_prints_a_line_for_each_socket() {
    let server = Server::start("example.org:0 {\n  multisocket 3\n  whoami\n}\n");
    let line = server.wait_for_nth(3, |line| line.starts_with("example.org.:"));
    let count = server
        .lines()
        .iter()
        .filter(|other| **other == line)
        .count();
    assert_eq!(count, 3, "the same port three times: {:?}", server.lines());
    let addr = server.addr("example.org.:");
    for _ in 0..12 {
        assert_eq!(client::udp(addr, "example.org A").rcode, "NOERROR");
        assert_eq!(client::tcp(addr, "example.org A").rcode, "NOERROR");
    }
}

#[test]
fn bind_limits_a_block_to_its_addresses() {
    let server = Server::start(".:0 {\n  bind 127.0.0.3 127.0.0.4\n  whoami\n}\n");
    let lines: Vec<String> = ["127.0.0.3", "127.0.0.4"]
        .iter()
        .map(|host| {
            server.wait_for(|line| line.starts_with(".:") && line.ends_with(&format!(" on {host}")))
        })
        .collect();
    for (line, host) in lines.iter().zip(["127.0.0.3", "127.0.0.4"]) {
        let port: u16 = line[2..].split(' ').next().unwrap().parse().unwrap();
        let addr = SocketAddr::new(host.parse().unwrap(), port);
        assert_eq!(client::udp(addr, "example.org A").rcode, "NOERROR");
        let other = SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(
            client::try_udp(
                other,
                "example.org A",
                std::time::Duration::from_millis(200)
            ),
            None
        );
    }
}

#[test]
fn an_address_that_no_interface_has_stops_the_start() {
    let folder = Folder::new();
    folder.write("Corefile", ".:0 {\n  bind 198.51.100.99\n  whoami\n}\n");
    let (code, _, err) = run(&folder, &["-conf", "Corefile"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("bind: cannot assign requested address"),
        "{err}"
    );
}
