//! Clients that do what they must not: the connection or the stream ends with its own error, others notice nothing.

use std::net::{SocketAddr, UdpSocket};

use super::*;
use crate::limits;

/// The code that the connection ends with after these octets, `is_whole` or not, on one stream; another connection goes on.
fn check_close(octets: &[u8], expect: u32) {
    let identity = Identity::new();
    let server = Server::start(Backend::Epoll, &identity, "quic://.:0", HOSTS, 1);
    let config = identity.client_config("doq", false);
    let mut other = Client::connect(server.addr, config.clone());
    let mut client = Client::connect(server.addr, config);
    client.open(Dir::Bi, octets, true);
    assert_eq!(client.close_code(), u64::from(expect), "{octets:?}");
    other.ask(&query("one.test", types::A));
    other.close();
    assert_eq!(server.stop(), 0);
}

#[test]
fn what_breaks_the_protocol_closes_the_connection() {
    let good = query("one.test", types::A);
    let with_id = {
        let mut message = good.clone();
        message[1] = 1;
        framed(&message)
    };
    let response = {
        let mut message = good.clone();
        message[2] |= 0x80;
        framed(&message)
    };
    let update = {
        let mut message = good.clone();
        message[2] = 0x28;
        framed(&message)
    };
    let keepalive = framed(&with_options(good.clone(), &[0, 11, 0, 0]));
    let twice = [framed(&good), framed(&good)].concat();
    let cut = &framed(&good)[..20];
    let garbage = framed(&[0, 0, 1, 0, 0, 9, 0, 0, 0, 0, 0, 0]);
    for octets in [
        &with_id[..],
        &response,
        &update,
        &keepalive,
        &twice,
        cut,
        &garbage,
        &[],
        &[0],
        &[0, 0],
        &[0, 1, 0],
    ] {
        check_close(octets, doq::code::PROTOCOL_ERROR);
    }
}

#[test]
fn streams_of_one_way_are_none() {
    let identity = Identity::new();
    let server = Server::start(Backend::Epoll, &identity, "quic://.:0", HOSTS, 1);
    let mut client = Client::connect(server.addr, identity.client_config("doq", false));
    assert!(client.quic.streams().open(Dir::Uni).is_none());
    drop(server);
}

#[test]
fn a_request_that_is_not_whole_in_time_loses_its_stream() {
    let identity = Identity::new();
    let body = format!("timeouts {{\n read 1s\n }}\n {HOSTS}");
    let server = Server::start(Backend::Epoll, &identity, "quic://.:0", &body, 1);
    let mut client = Client::connect(server.addr, identity.client_config("doq", false));
    let before = refused_streams("slow");
    let good = framed(&query("one.test", types::A));
    // An octet, a message whose end is missing, nothing at all on a stream below one that is used.
    let one = client.open(Dir::Bi, &good[..1], false);
    let unended = client.open(Dir::Bi, &good, false);
    let skipped = client.quic.streams().open(Dir::Bi).unwrap();
    client.got.entry(skipped).or_default();
    client.ask(&query("one.test", types::A));
    let code = Some(u64::from(doq::code::EXCESSIVE_LOAD));
    for id in [one, unended] {
        client.until(|client| client.got[&id].reset == code);
        assert!(client.got[&id].octets.is_empty());
    }
    client.until(|_| refused_streams("slow") - before >= 3.0);
    client.ask(&query("one.test", types::A));
}

#[test]
fn octets_of_unfinished_requests_are_bounded() {
    let identity = Identity::new();
    let server = Server::start(Backend::Epoll, &identity, "quic://.:0", HOSTS, 1);
    let mut client = Client::connect(server.addr, identity.client_config("doq", false));
    let before = refused_streams("long");
    let ids: Vec<_> = (0..15)
        .map(|_| client.open(Dir::Bi, &[0xff], false))
        .collect();
    let kilobytes = 2 * limits::QUIC_PARTIAL_OCTETS / (15 << 10);
    for _ in 0..kilobytes {
        for &id in &ids {
            // A stream that was stopped takes no more.
            let _ = client.quic.send_stream(id).write(&[0; 1 << 10]);
        }
        client.turn(std::time::Duration::from_millis(1));
    }
    let code = Some(u64::from(doq::code::EXCESSIVE_LOAD));
    client.until(|client| client.got.values().any(|got| got.reset == code));
    assert!(refused_streams("long") > before);
    client.ask(&query("one.test", types::A));
}

#[test]
fn as_many_connections_as_the_listener_may_hold() {
    let identity = Identity::new();
    let body = format!("https3 {{\n max_connections 2\n }}\n {HOSTS}");
    let server = Server::start(Backend::Epoll, &identity, "https3://.:0", &body, 2);
    let config = identity.client_config("h3", false);
    let mut first = Client::connect(server.addr, config.clone());
    let mut second = Client::connect(server.addr, config.clone());
    let mut third = Client::new(server.addr, config.clone());
    assert_eq!(third.close_code(), 0x107);
    first.close();
    // Its place is free as soon as the server has heard of it.
    let mut fourth = (0..50)
        .find_map(|_| {
            let mut client = Client::connect(server.addr, config.clone());
            client.turn(A_MOMENT);
            client.lost.is_none().then_some(client)
        })
        .expect("a free place");
    second.close();
    fourth.close();
    assert_eq!(server.stop(), 0);
}

#[test]
fn as_many_streams_as_may_wait() {
    let identity = Identity::new();
    let body =
        "quic {\n worker_pool_size 2\n max_streams 8\n }\n erratic {\n delay 1 300ms\n drop 0\n }";
    let server = Server::start(Backend::Epoll, &identity, "quic://.:0", body, 1);
    let mut client = Client::connect(server.addr, identity.client_config("doq", false));
    let asked = framed(&query("a.test", types::A));
    let ids: Vec<_> = (0..8).map(|_| client.open(Dir::Bi, &asked, true)).collect();
    assert!(client.quic.streams().open(Dir::Bi).is_none(), "the ninth");
    let code = Some(u64::from(doq::code::EXCESSIVE_LOAD));
    client.until(|client| {
        ids.iter()
            .all(|id| client.got[id].is_whole || client.got[id].reset == code)
    });
    assert_eq!(ids.iter().filter(|id| client.got[id].is_whole).count(), 2);
    // They are free again.
    client.ask(&query("a.test", types::A));
}

#[test]
fn many_handshakes_make_clients_prove_their_address() {
    let identity = Identity::new();
    let server = Server::start(Backend::Epoll, &identity, "quic://.:0", HOSTS, 1);
    let config = identity.client_config("doq", false);
    // They send their first packet and never go on.
    let mut stuck: Vec<Client> = (0..limits::QUIC_HANDSHAKES_UNPROVEN)
        .map(|_| Client::new(server.addr, config.clone()))
        .collect();
    stuck.iter_mut().for_each(Client::send);
    std::thread::sleep(A_MOMENT);
    let mut client = Client::connect(server.addr, config);
    // The type of a long header: 3 is a Retry (RFC 9000 section 17.2.5).
    let is_retry = |packet: &Vec<u8>| packet[0] & 0xf0 == 0xf0;
    assert_eq!(
        client
            .packets
            .iter()
            .filter(|packet| is_retry(packet))
            .count(),
        1
    );
    client.ask(&query("one.test", types::A));
}

/// Sends a datagram and returns what comes back soon.
fn exchange(socket: &UdpSocket, server: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
    socket.set_read_timeout(Some(A_MOMENT)).unwrap();
    socket.send_to(datagram, server).unwrap();
    let mut reply = vec![0; 2048];
    let len = socket.recv(&mut reply).ok()?;
    reply.truncate(len);
    Some(reply)
}

#[test]
fn garbage_is_ignored_or_costs_less_than_it_took_to_send() {
    let identity = Identity::new();
    let server = Server::start(Backend::Epoll, &identity, "quic://.:0", HOSTS, 1);
    let mut client = Client::connect(server.addr, identity.client_config("doq", false));
    let socket = client::bound();
    // A version that there is not: the versions that there are; not for a short packet, which may be forged to make us send more.
    let mut strange = vec![0xc0, 0x0a, 0x0b, 0x0c, 0x0d, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0];
    assert_eq!(exchange(&socket, server.addr, &strange), None);
    strange.resize(1200, 0);
    let versions = exchange(&socket, server.addr, &strange).unwrap();
    assert_eq!(versions[1..5], [0; 4]);
    assert!(versions.windows(4).any(|four| four == [0, 0, 0, 1]));
    let mut state = 7u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    socket.set_nonblocking(true).unwrap();
    for len in (0..1400).step_by(3) {
        let mut datagram: Vec<u8> = (0..len).map(|_| random()).collect();
        if len % 2 == 0 && len > 5 {
            datagram[..5].copy_from_slice(&[0xc3, 0, 0, 0, 1]);
        }
        let _ = socket.send_to(&datagram, server.addr);
        let mut reply = [0; 2048];
        if let Ok(count) = socket.recv(&mut reply) {
            assert!(count <= 1200, "{count}");
        }
    }
    // Cut and changed packets of a connection that stands.
    for packet in client.packets.clone() {
        let _ = client
            .socket
            .send_to(&packet[..packet.len() / 2], server.addr);
        let mut changed = packet;
        changed[0] ^= 0x40;
        let _ = client.socket.send_to(&changed, server.addr);
    }
    assert!(
        client
            .ask(&query("one.test", types::A))
            .ends_with(&[192, 0, 2, 1])
    );
    client.close();
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_client_that_takes_no_replies_is_let_go() {
    let identity = Identity::new();
    let body = "timeouts {\n write 1s\n }\n erratic {\n large\n drop 0\n }";
    let server = Server::start(Backend::Epoll, &identity, "quic://.:0", body, 1);
    let mut config = identity.client_config("doq", false);
    let mut transport = quinn_proto::TransportConfig::default();
    // Less than a reply.
    transport.stream_receive_window(100u32.into());
    config.transport_config(std::sync::Arc::new(transport));
    let mut client = Client::connect(server.addr, config);
    let id = client.quic.streams().open(Dir::Bi).unwrap();
    let asked = framed(&query("large.test", types::A));
    let mut stream = client.quic.send_stream(id);
    stream.write(&asked).unwrap();
    stream.finish().unwrap();
    // The client acknowledges what comes, and never reads.
    client.reads = false;
    assert_eq!(client.close_code(), u64::from(doq::code::EXCESSIVE_LOAD));
}
