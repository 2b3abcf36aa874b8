//! Proxies in front that say who the client is. Each socket of a client is a port of its proxy.

use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::limits;
use crate::transport::proxy::tests::named;
use crate::wire::reply::Reply;

const CLIENT: &str = "192.0.2.7:40212";
const IPV6_CLIENT: &str = "[2001:db8::7]:9";
/// One that *acl* refuses.
const BLOCKED: &str = "192.0.2.66:1";

/// A block in which *whoami* tells whom the server sees.
fn body(options: &str) -> String {
    format!("proxyproto {{\n {options}\n }}\n acl {{\n block net 192.0.2.66\n }}\n whoami")
}

fn behind(server: &Server, identity: &Identity, client: &str) -> Client {
    let mut behind = Client::new(server.addr, identity.client_config("doq", false));
    behind.front = named(client);
    behind.until(|client| client.is_up);
    behind
}

/// The address and port that the server saw: in the first record, and the SRV record behind it.
fn seen(client: &mut Client) -> String {
    let octets = client.ask(&query("a.test", types::A));
    let mut reply = Reply::default();
    reply.read(&octets).unwrap();
    let [address, service] = [0, 1].map(|nth| reply.rdata(&reply.records()[nth]));
    let ip = match address {
        [a, b, c, d] => IpAddr::from([*a, *b, *c, *d]),
        _ => IpAddr::from(*address.first_chunk::<16>().unwrap()),
    };
    let port = u16::from_be_bytes([service[4], service[5]]);
    SocketAddr::new(ip, port).to_string()
}

#[test]
fn a_proxy_names_clients_and_takes_what_is_theirs() {
    on_backends(|backend| {
        let identity = Identity::new();
        let body = body("allow 127.0.0.0/8");
        let server = Server::start(backend, &identity, "quic://.:0", &body, 4);
        let mut one = behind(&server, &identity, CLIENT);
        let mut other = behind(&server, &identity, IPV6_CLIENT);
        let mut blocked = behind(&server, &identity, BLOCKED);
        let mut direct = Client::connect(server.addr, identity.client_config("doq", false));
        for _ in 0..4 {
            assert_eq!(seen(&mut one), CLIENT);
            assert_eq!(seen(&mut other), IPV6_CLIENT);
            let refused = blocked.ask(&query("a.test", types::A));
            assert_eq!(refused[3] & 15, 5, "REFUSED");
            let local = direct.socket.local_addr().unwrap();
            assert_eq!(seen(&mut direct), local.to_string());
        }
        for client in [&mut one, &mut other, &mut blocked, &mut direct] {
            client.close();
        }
        assert_eq!(server.stop(), 0);
    });
}

#[test]
fn connections_outlive_the_ports_of_proxies_and_the_addresses_of_clients() {
    on_backends(|backend| {
        let identity = Identity::new();
        let server = Server::start(backend, &identity, "quic://.:0", &body(""), 4);
        for _ in 0..4 {
            let mut client = behind(&server, &identity, CLIENT);
            assert_eq!(seen(&mut client), CLIENT);
            // The proxy forgets the flow; the client moves; both; the client comes without the proxy, and back.
            client.socket = client::bound();
            assert_eq!(seen(&mut client), CLIENT);
            client.front = named(IPV6_CLIENT);
            assert_eq!(seen(&mut client), IPV6_CLIENT);
            (client.socket, client.front) = (client::bound(), named(CLIENT));
            assert_eq!(seen(&mut client), CLIENT);
            (client.socket, client.front) = (client::bound(), Vec::new());
            let local = client.socket.local_addr().unwrap();
            assert_eq!(seen(&mut client), local.to_string());
            client.front = named(CLIENT);
            assert_eq!(seen(&mut client), CLIENT);
            client.close();
        }
        assert_eq!(server.stop(), 0);
    });
}

#[test]
fn connections_of_one_client_have_ways_of_their_own() {
    let identity = Identity::new();
    let server = Server::start(Backend::Epoll, &identity, "quic://.:0", &body(""), 1);
    // Both are the same client, as far as anybody can tell: each connection has its own way.
    let mut one = behind(&server, &identity, CLIENT);
    let mut other = behind(&server, &identity, CLIENT);
    for _ in 0..4 {
        assert_eq!(seen(&mut one), CLIENT);
        assert_eq!(seen(&mut other), CLIENT);
    }
    // What was under way when the listener goes is told through the proxy too.
    assert_eq!(server.stop(), 0);
    assert_eq!(one.close_code(), u64::from(doq::code::NO_ERROR));
    assert_eq!(other.close_code(), u64::from(doq::code::NO_ERROR));
}

#[test]
fn clients_behind_a_proxy_prove_their_address() {
    let identity = Identity::new();
    let server = Server::start(Backend::Epoll, &identity, "quic://.:0", &body(""), 1);
    let config = identity.client_config("doq", false);
    let mut stuck: Vec<Client> = (0..limits::QUIC_HANDSHAKES_UNPROVEN)
        .map(|_| Client::new(server.addr, config.clone()))
        .collect();
    stuck.iter_mut().for_each(Client::send);
    std::thread::sleep(A_MOMENT);
    let mut client = behind(&server, &identity, CLIENT);
    assert!(client.packets.iter().any(|packet| packet[0] & 0xf0 == 0xf0));
    assert_eq!(seen(&mut client), CLIENT);
}

#[test]
fn strangers_are_treated_as_the_corefile_says() {
    let identity = Identity::new();
    let body_of = |default: &str| body(&format!("allow 10.0.0.0/8\n default {default}"));
    for (default, is_heard) in [("ignore", true), ("reject", false), ("skip", false)] {
        let body = body_of(default);
        let server = Server::start(Backend::Epoll, &identity, "quic://.:0", &body, 2);
        let mut client = Client::new(server.addr, identity.client_config("doq", false));
        client.front = named(CLIENT);
        if is_heard {
            client.until(|client| client.is_up);
            let local = client.socket.local_addr().unwrap();
            assert_eq!(seen(&mut client), local.to_string());
        } else {
            client.turn(A_MOMENT);
            assert!(client.packets.is_empty(), "{default}");
        }
        // Without a header everybody is served.
        client.front = Vec::new();
        let mut bare = Client::connect(server.addr, identity.client_config("doq", false));
        bare.ask(&query("a.test", types::A));
    }
}

#[test]
fn headers_that_are_none_cost_their_datagram_alone() {
    let identity = Identity::new();
    let server = Server::start(Backend::Epoll, &identity, "quic://.:0", &body(""), 2);
    let mut client = behind(&server, &identity, CLIENT);
    let whole = named(CLIENT);
    for cut in 0..=whole.len() {
        let _ = client.socket.send_to(&whole[..cut], server.addr);
    }
    let mut lying = whole.clone();
    lying[14..16].copy_from_slice(&[0xff; 2]);
    let _ = client.socket.send_to(&lying, server.addr);
    let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".repeat(40);
    let _ = client.socket.send_to(&line, server.addr);
    assert_eq!(seen(&mut client), CLIENT);
    client.close();
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_proxy_may_name_the_client_of_a_session_once() {
    let identity = Identity::new();
    let body = body("udp_session_tracking 28s");
    let server = Server::start(Backend::Epoll, &identity, "quic://.:0", &body, 2);
    let mut client = Client::new(server.addr, identity.client_config("doq", false));
    let header = named(CLIENT);
    client.socket.send_to(&header, server.addr).unwrap();
    client.until(|client| client.is_up);
    assert_eq!(seen(&mut client), CLIENT);
    client.close();
    assert_eq!(server.stop(), 0);
}
