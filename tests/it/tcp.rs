//! Streams: pipelining, order, timeouts, peers that do not read.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use crate::client::{self, Tcp, decode, frame, query};
use crate::server::Server;
use crate::upstream::Upstream;

fn both_backends(test: impl Fn(&dyn Fn(&str) -> Server)) {
    for runtime in ["auto", "epoll"] {
        test(&|corefile| {
            Server::with(crate::server::Folder::new(), corefile, |command| {
                command.args(["-runtime", runtime]);
            })
        });
    }
}

#[test]
fn pipelined_queries_are_all_answered() {
    both_backends(|start| {
        let server = start(".:0 {\n  whoami\n}\n");
        let mut tcp = Tcp::open(server.addr(".:"));
        let all: Vec<u8> = (0..300u16)
            .flat_map(|id| frame(&query(id, "example.org A")))
            .collect();
        tcp.0.write_all(&all).unwrap();
        let mut ids: Vec<u16> = (0..300)
            .map(|_| decode(&tcp.receive().expect("a reply")).id)
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..300).collect::<Vec<u16>>());
    });
}

#[test]
fn a_message_may_come_octet_by_octet() {
    both_backends(|start| {
        let server = start(".:0 {\n  whoami\n}\n");
        let mut tcp = Tcp::open(server.addr(".:"));
        for octet in frame(&query(9, "example.org A")) {
            tcp.0.write_all(&[octet]).unwrap();
        }
        assert_eq!(decode(&tcp.receive().unwrap()).id, 9);
    });
}

#[test]
fn a_fast_answer_overtakes_a_slow_one() {
    let upstream = Upstream::start();
    both_backends(|start| {
        let server = start(&format!(".:0 {{\n  forward . {}\n}}\n", upstream.addr));
        let mut tcp = Tcp::open(server.addr(".:"));
        tcp.send(&query(1, "slow.example A")).unwrap();
        tcp.send(&query(2, "quick.example A")).unwrap();
        let order = [(); 2].map(|()| decode(&tcp.receive().expect("a reply")).id);
        assert_eq!(order, [2, 1]);
    });
}

#[test]
fn what_was_asked_before_the_end_of_the_stream_is_answered() {
    let upstream = Upstream::start();
    both_backends(|start| {
        let server = start(&format!(".:0 {{\n  forward . {}\n}}\n", upstream.addr));
        let mut tcp = Tcp::open(server.addr(".:"));
        tcp.send(&query(1, "slow.example A")).unwrap();
        tcp.0.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(decode(&tcp.receive().expect("a reply")).rcode, "NOERROR");
        assert!(tcp.receive().is_err(), "the connection ends");
    });
}

/// Waits for the peer to close, and says how long it took.
#[track_caller]
pub fn closed_after(mut tcp: Tcp) -> Duration {
    let begin = Instant::now();
    let mut octet = [0];
    match tcp.0.read(&mut octet) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("still open: {other:?}"),
    }
    begin.elapsed()
}

#[test]
fn connections_that_say_nothing_are_closed() {
    both_backends(|start| {
        let server = start(".:0 {\n  timeouts {\n    read 1s\n    idle 2s\n  }\n  whoami\n}\n");
        let addr = server.addr(".:");
        let took = closed_after(Tcp::open(addr));
        assert!((900..1900).contains(&took.as_millis()), "read: {took:?}");
        let mut tcp = Tcp::open(addr);
        tcp.ask(1, "example.org A");
        let took = closed_after(tcp);
        assert!(took.as_millis() >= 1900, "idle: {took:?}");
    });
}

#[test]
fn a_query_that_trickles_in_is_cut_off() {
    let server = Server::start(".:0 {\n  timeouts {\n    read 1s\n  }\n  whoami\n}\n");
    let mut tcp = Tcp::open(server.addr(".:"));
    let begin = Instant::now();
    for octet in frame(&query(
        9,
        "a.name.that.takes.longer.to.send.than.the.limit.example A",
    )) {
        if tcp.0.write_all(&[octet]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn maxtcpqueries_ends_a_connection() {
    let server = Server::start(".:0 {\n  timeouts {\n    maxtcpqueries 2\n  }\n  whoami\n}\n");
    let mut tcp = Tcp::open(server.addr(".:"));
    tcp.ask(1, "example.org A");
    tcp.ask(2, "example.org A");
    let took = closed_after(tcp);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_peer_that_does_not_read_hurts_nobody_else() {
    both_backends(|start| {
        let server = start(".:0 {\n  timeouts {\n    write 1s\n  }\n  whoami\n}\n");
        let addr = server.addr(".:");
        // It asks until both ends are full; then the server must have stopped reading, or its memory would grow.
        let mut deaf: Vec<Tcp> = (0..4).map(|_| Tcp::open(addr)).collect();
        let batch: Vec<u8> = (0..200u16)
            .flat_map(|id| frame(&query(id, "example.org A")))
            .collect();
        for tcp in &mut deaf {
            tcp.0
                .set_write_timeout(Some(Duration::from_millis(300)))
                .unwrap();
            let mut written = 0usize;
            while let Ok(count) = tcp.0.write(&batch) {
                written += count;
                assert!(written < 64 << 20, "the server never stops reading");
            }
        }
        for _ in 0..10 {
            let begin = Instant::now();
            assert_eq!(client::tcp(addr, "example.org A").rcode, "NOERROR");
            assert_eq!(client::udp(addr, "example.org A").rcode, "NOERROR");
            assert!(
                begin.elapsed() < Duration::from_secs(2),
                "{:?}",
                begin.elapsed()
            );
        }
    });
}

#[test]
fn many_idle_connections_are_held() {
    let server = Server::start(".:0 {\n  whoami\n}\n");
    let addr = server.addr(".:");
    let mut held: Vec<Tcp> = (0..200).map(|_| Tcp::open(addr)).collect();
    for (nth, tcp) in held.iter_mut().enumerate() {
        tcp.ask(nth as u16, "example.org A");
    }
    assert_eq!(client::tcp(addr, "example.org A").rcode, "NOERROR");
}

#[test]
fn large_answers_take_tcp() {
    let upstream = Upstream::start();
    both_backends(|start| {
        let server = start(&format!(
            ".:0 {{\n  cache\n  forward . {}\n}}\n",
            upstream.addr
        ));
        let udp = server.ask("big.example TXT bufsize=1232");
        assert!(udp.flags.contains("tc"), "{udp:?}");
        let tcp = client::tcp(server.addr(".:"), "big.example TXT");
        assert_eq!((tcp.answer.len(), tcp.flags.contains("tc")), (40, false));
    });
}

#[test]
fn one_client_does_not_take_every_connection() {
    let server = Server::with(
        crate::server::Folder::new(),
        ".:0 {\n  whoami\n}\n",
        |command| {
            command.args(["-cores", "0"]);
        },
    );
    let addr = server.addr(".:");
    let from = |host: u8| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        let local = std::net::SocketAddr::from(([127, 0, 0, host], 0));
        socket.bind(&local.into()).expect("an address");
        let to = std::net::SocketAddr::from(([127, 0, 0, 1], addr.port()));
        socket.connect(&to.into()).expect("a connection");
        let tcp = Tcp(socket.into());
        tcp.0.set_read_timeout(Some(client::PATIENCE)).unwrap();
        tcp
    };
    let ask = |tcp: &mut Tcp| tcp.send(&query(1, "example.org A")).is_ok() && tcp.receive().is_ok();
    let mut greedy: Vec<Tcp> = (0..1_100).map(|_| from(2)).collect();
    let served = greedy
        .iter_mut()
        .map(ask)
        .filter(|&is_served| is_served)
        .count();
    assert_eq!(served, 1_024);
    assert!(ask(&mut from(3)), "another client is served");
    drop(greedy);
    crate::server::eventually("the client is served again", || ask(&mut from(2)));
}
