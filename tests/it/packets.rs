//! Whatever bytes come in: at most one reply, none to a reply, and the server goes on.
//!
//! With `PERCOREDNS_PACKETS=FILE` the packets of that file are sent too: each a length of 16 bits, big-endian, and so many octets.

use std::net::SocketAddr;
use std::time::Duration;

use crate::client::{self, Tcp, query};
use crate::server::{Folder, Server, free_port};

/// What ends a round: its reply has this name and id.
const SENTINEL: &str = "sentinel.example.net A";
const SENTINEL_ID: u16 = 0x5e5e;
/// Packets in flight at a time: far below what a socket's buffer holds.
const ROUND: usize = 64;
/// What fits a UDP packet over IPv4.
const DATAGRAM_OCTETS: usize = 65_507;

fn start() -> (Server, u16) {
    let folder = Folder::new();
    folder.write("db", include_str!("../data/example/db.example.org"));
    let metrics = free_port();
    let corefile = format!(
        "example.org:0 {{\n  prometheus 127.0.0.1:{metrics}\n  errors\n  cache\n  file db\n}}\n.:0 {{\n  prometheus 127.0.0.1:{metrics}\n  errors\n  whoami\n}}\n"
    );
    let server = Server::with(folder, &corefile, |_| {});
    (server, metrics)
}

fn is_reply(packet: &[u8]) -> bool {
    packet.get(2).is_some_and(|octet| octet & 0x80 != 0)
}

fn is_sentinel(reply: &[u8]) -> bool {
    reply.get(..2) == Some(&SENTINEL_ID.to_be_bytes())
        && reply.windows(9).any(|window| window == b"\x08sentinel")
}

/// Packets whose reply must not be mistaken for the sentinel's.
fn usable(packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    packets
        .into_iter()
        .filter(|packet| !is_sentinel(packet))
        .collect()
}

fn replay_udp(addr: SocketAddr, packets: &[Vec<u8>]) {
    let sentinel = query(SENTINEL_ID, SENTINEL);
    // What no datagram can carry is for TCP alone.
    let fitting: Vec<&Vec<u8>> = packets
        .iter()
        .filter(|packet| packet.len() <= DATAGRAM_OCTETS)
        .collect();
    for round in fitting.chunks(ROUND) {
        let sockets: Vec<_> = round
            .iter()
            .map(|packet| {
                let socket = client::connected(addr);
                socket.send(packet).expect("sent");
                socket
            })
            .collect();
        for socket in &sockets {
            socket.send(&sentinel).expect("sent");
        }
        let mut replies: Vec<Vec<Vec<u8>>> = vec![Vec::new(); round.len()];
        let mut buffer = [0; 4096];
        for (nth, socket) in sockets.iter().enumerate() {
            socket
                .set_read_timeout(Some(client::PATIENCE))
                .expect("a timeout");
            loop {
                let len = socket
                    .recv(&mut buffer)
                    .unwrap_or_else(|error| panic!("{error} after {:02x?}", round[nth]));
                if is_sentinel(&buffer[..len]) {
                    break;
                }
                replies[nth].push(buffer[..len].to_vec());
            }
        }
        // A packet and its sentinel may be answered by different cores: what comes late is looked for once more.
        std::thread::sleep(Duration::from_millis(2));
        for (nth, socket) in sockets.iter().enumerate() {
            socket.set_nonblocking(true).expect("an option");
            while let Ok(len) = socket.recv(&mut buffer) {
                replies[nth].push(buffer[..len].to_vec());
            }
            judge(round[nth], &replies[nth]);
        }
    }
}

fn replay_tcp(addr: SocketAddr, packets: &[Vec<u8>]) {
    let sentinel = query(SENTINEL_ID, SENTINEL);
    let mut tcp = Tcp::open(addr);
    for packet in packets {
        let sent = tcp.send(packet).and_then(|()| tcp.send(&sentinel));
        sent.unwrap_or_else(|error| panic!("{error} at {packet:02x?}"));
        let mut replies = Vec::new();
        loop {
            let reply = tcp
                .receive()
                .unwrap_or_else(|error| panic!("{error} after {packet:02x?}"));
            if is_sentinel(&reply) {
                break;
            }
            replies.push(reply);
        }
        judge(packet, &replies);
    }
}

fn judge(packet: &[u8], replies: &[Vec<u8>]) {
    assert!(
        replies.len() <= 1,
        "{} replies to {packet:02x?}",
        replies.len()
    );
    for reply in replies {
        assert!(!is_reply(packet), "a reply to a reply: {packet:02x?}");
        assert!(packet.len() >= 12, "a reply to {packet:02x?}");
        assert!(
            is_reply(reply) && reply[..2] == packet[..2],
            "{packet:02x?} -> {reply:02x?}"
        );
        // A client must be able to read it: the counts are those of the sections.
        client::decode(reply);
    }
}

fn replay(packets: Vec<Vec<u8>>) {
    let packets = usable(packets);
    let (server, metrics) = start();
    let addr = server.addr(".:");
    let zone = server.addr("example.org.:");
    replay_udp(addr, &packets);
    replay_tcp(addr, &packets);
    // There the sentinel is refused, which is an answer too.
    replay_udp(zone, &packets);
    assert_eq!(client::udp(zone, "www.example.org A").answer.len(), 1);
    let (_, body) = client::http(metrics, "/metrics").expect("metrics");
    assert_eq!(client::metric(&body, "coredns_panics_total", &[]), 0.0);
    let lines = server.lines();
    assert!(
        !lines.iter().any(|line| line.contains("panic")),
        "{lines:?}"
    );
}

#[test]
fn mutated_packets() {
    replay(mutations(600));
}

#[test]
fn packets_of_a_file() {
    let Some(path) = std::env::var_os("PERCOREDNS_PACKETS") else {
        crate::server::skip("PERCOREDNS_PACKETS names no file of packets to replay");
        return;
    };
    let bytes = std::fs::read(path).expect("the file of PERCOREDNS_PACKETS");
    let (mut packets, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let (packet, after) = after.split_at(usize::from(u16::from_be_bytes(*len)));
        packets.push(packet.to_vec());
        rest = after;
    }
    assert!(!packets.is_empty());
    replay(packets);
}

/// The same packets in every run: valid queries with octets changed, cut off, doubled or put in.
fn mutations(count: usize) -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        "www.example.org A",
        "WwW.ExAmPlE.oRg AAAA bufsize=4096",
        "example.org ANY +do",
        "example.org AXFR",
        "_dns._udp.example.org SRV bufsize=512",
        "version.bind TXT class=CH",
        "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.example.com DS -rd",
        ". NS bufsize=65535",
    ]
    .iter()
    .map(|text| query(0x1234, text))
    .collect();
    // Compression pointers to themselves, forwards, and into the header; a reply; an update; no question; an empty message.
    seeds
        .push(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01".to_vec());
    seeds
        .push(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\xff\x00\x01\x00\x01".to_vec());
    seeds
        .push(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x00\x00\x01\x00\x01".to_vec());
    seeds.push(b"\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01".to_vec());
    seeds.push(b"\x12\x34\x28\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x01".to_vec());
    seeds.push(b"\x12\x34\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00".to_vec());
    seeds.push(Vec::new());
    let mut packets = seeds.clone();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |below: usize| {
        // xorshift64: no dependency, the same on every machine.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below.max(1) as u64) as usize
    };
    while packets.len() < count {
        let mut packet = seeds[next(seeds.len())].clone();
        for _ in 0..=next(4) {
            let (at, octet) = (next(packet.len()), next(256) as u8);
            match next(5) {
                0 | 1 if !packet.is_empty() => packet[at] = octet,
                2 => packet.truncate(at),
                3 => packet.insert(at, octet),
                _ => packet.extend(vec![octet; next(600)]),
            }
        }
        packets.push(packet);
    }
    packets
}
