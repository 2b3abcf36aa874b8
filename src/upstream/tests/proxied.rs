//! Upstreams that are told of each client by a PROXY header.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use super::tls::{answers, client, endpoint, outcome, patient, pool_of};
use super::*;
use crate::testing::authority::Authority;
use crate::tls::ClientSettings;
use crate::transport::proxy::{self, Ends, Front, Header};
use crate::upstream::fake_tls::{Secure, Told};

/// What headers said, in order.
type Seen = Arc<Mutex<Vec<Header>>>;

fn ends(client: &str, asked: &str) -> Ends {
    Ends {
        source: client.parse().unwrap(),
        destination: asked.parse().unwrap(),
    }
}

fn header(octets: &[u8]) -> Option<Header> {
    match proxy::read(octets) {
        Ok(Front::Header(header)) => Some(header),
        Ok(Front::Begun) => None,
        other => panic!("{other:?}: {octets:?}"),
    }
}

/// What the headers named.
fn named(seen: &Seen) -> Vec<Option<Ends>> {
    seen.lock().unwrap().iter().map(|head| head.ends).collect()
}

/// A listener that takes the header off each connection, and passes the rest on to `behind`.
fn gate(behind: SocketAddr) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, seen) = (listener.local_addr().unwrap(), Seen::default());
    let theirs = seen.clone();
    // It lives as long as the test's process does.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, seen) = (stream.unwrap(), theirs.clone());
            thread::spawn(move || {
                let mut octets = Vec::new();
                let head = loop {
                    if let Some(head) = header(&octets) {
                        break head;
                    }
                    let mut octet = [0];
                    stream.read_exact(&mut octet).unwrap();
                    octets.extend(octet);
                };
                seen.lock().unwrap().push(head);
                let there = TcpStream::connect(behind).unwrap();
                let back = (there.try_clone().unwrap(), stream.try_clone().unwrap());
                thread::spawn(move || pass(back.0, back.1));
                pass(stream, there);
            });
        }
    });
    (addr, seen)
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

async fn ask_as(pool: &Pool, protocol: Protocol, client: Option<Ends>) -> String {
    let mut call = call("www.example.org");
    call.client = client.map(Box::new);
    let mut answer = Reply::default();
    let asked = pool.exchange(&mut call, protocol, &mut answer).await;
    outcome(asked.map(|()| answer))
}

fn told(endpoint: Endpoint) -> Pool {
    let is_proxied = true;
    pool_of(
        Endpoint {
            is_proxied,
            ..endpoint
        },
        &patient(),
    )
}

const CLIENT: &str = "192.0.2.7:40212";
const ASKED: &str = "198.51.100.1:53";

battery!(
    a_datagram_names_its_client,
    a_connection_names_its_client_and_carries_one_query,
    a_probe_names_nobody,
    connections_over_tls_and_http_do_so_before_the_handshake,
    upstreams_that_are_not_listed_get_no_header,
);

fn a_datagram_names_its_client(backend: Backend) {
    let seen = Seen::default();
    let theirs = seen.clone();
    let fake = Fake::udp(move |_, datagram: &[u8]| {
        let head = header(datagram).unwrap();
        // UDP over IPv4 or IPv6; nothing that LOCAL says counts.
        assert!(matches!(datagram[13], 0x12 | 0x22) || head.ends.is_none());
        theirs.lock().unwrap().push(head);
        vec![reply(&datagram[head.len..], 0, 0, Some([192, 0, 2, 1]))]
    });
    let pool = told(Endpoint::plain(fake.addr));
    let four = ends(CLIENT, ASKED);
    let six = ends("[2001:db8::7]:9", "[2001:db8::1]:53");
    let clients = [Some(four), Some(six), None];
    run(backend, async move {
        for client in clients {
            assert_eq!(ask_as(&pool, Protocol::Udp, client).await, "1");
        }
        // Datagrams of several clients may come from one socket.
        assert_eq!(pool.idle(Protocol::Udp), 1);
    });
    assert_eq!(named(&seen), clients);
}

fn a_connection_names_its_client_and_carries_one_query(backend: Backend) {
    let fake = Fake::tcp(answering(1));
    let (addr, seen) = gate(fake.addr);
    let pool = told(Endpoint::plain(addr));
    let clients = [CLIENT, "192.0.2.8:1", CLIENT].map(|client| Some(ends(client, ASKED)));
    run(backend, async move {
        for client in clients {
            assert_eq!(ask_as(&pool, Protocol::Tcp, client).await, "1");
            assert_eq!(pool.idle(Protocol::Tcp), 0);
        }
    });
    assert_eq!(named(&seen), clients);
}

fn connections_over_tls_and_http_do_so_before_the_handshake(backend: Backend) {
    let authority = Authority::new();
    let config = || authority.config(&["127.0.0.1"]);
    let dot = Secure::tls(config(), answers(1));
    let doh = Secure::http(Some(config()), |_, _, body: &[u8]| {
        let head = http::Response::builder().header("content-type", "application/dns-message");
        let body = reply(body, 0, 0, Some([192, 0, 2, 1]));
        Told::Response(head.body(()).unwrap(), body, None)
    });
    let plain = client(&authority, "127.0.0.1");
    let h2 = ClientSettings {
        alpn: Some(b"h2"),
        ..plain.clone()
    };
    for (fake, transport, client) in [
        (&dot, Transport::Tls, plain),
        (&doh, Transport::Https(Method::Post), h2),
    ] {
        let (addr, seen) = gate(fake.addr);
        let pool = Rc::new(told(endpoint(addr, transport, client)));
        let clients = [CLIENT, "192.0.2.8:1"].map(|client| Some(ends(client, ASKED)));
        run(backend, async move {
            // At the same time, each over a connection of its own.
            let (tx, first) = runtime::local::oneshot();
            let theirs = pool.clone();
            runtime::spawn(async move {
                drop(tx.send(ask_as(&theirs, Protocol::Udp, clients[0]).await));
            });
            assert_eq!(ask_as(&pool, Protocol::Udp, clients[1]).await, "1");
            assert_eq!(first.await.unwrap(), "1");
        });
        let mut named = named(&seen);
        named.sort_by_key(|ends| ends.map(|ends| ends.source));
        assert_eq!(named, clients, "{transport:?}");
        assert_eq!(fake.counts.connections(), 2);
    }
}

fn a_probe_names_nobody(backend: Backend) {
    let authority = Authority::new();
    let tcp = Fake::tcp(answering(1));
    let tls = Secure::tls(authority.config(&["127.0.0.1"]), answers(1));
    let udp = Fake::udp(|_, datagram: &[u8]| {
        let head = header(datagram).unwrap();
        assert_eq!((head.len, head.ends), (16, None));
        vec![reply(&datagram[head.len..], 0, 0, None)]
    });
    let (over_tcp, tcp_seen) = gate(tcp.addr);
    let (over_tls, tls_seen) = gate(tls.addr);
    let dot = endpoint(over_tls, Transport::Tls, client(&authority, "127.0.0.1"));
    for (to, protocol) in [
        (Endpoint::plain(udp.addr), Protocol::Udp),
        (Endpoint::plain(over_tcp), Protocol::Tcp),
        (dot, Protocol::Udp),
    ] {
        let probe = Probe {
            interval: Duration::from_millis(10),
            recursion_desired: true,
            domain: NameBuf::ROOT,
            protocol,
            source: None,
        };
        let to = Endpoint {
            is_proxied: true,
            ..to
        };
        let is_alive = run(backend, async move { probe.once(&to).await });
        assert!(is_alive, "{protocol:?}");
    }
    assert_eq!(udp.seen(), 1);
    assert_eq!(
        (named(&tcp_seen), named(&tls_seen)),
        (vec![None], vec![None])
    );
}

fn upstreams_that_are_not_listed_get_no_header(backend: Backend) {
    let (udp, tcp) = (Fake::udp(answering(1)), Fake::tcp(answering(1)));
    let pools = [udp.addr, tcp.addr].map(|addr| pool_of(Endpoint::plain(addr), &patient()));
    let client = Some(ends(CLIENT, ASKED));
    run(backend, async move {
        assert_eq!(ask_as(&pools[0], Protocol::Udp, client).await, "1");
        assert_eq!(ask_as(&pools[1], Protocol::Tcp, client).await, "1");
        assert_eq!(pools[1].idle(Protocol::Tcp), 1);
    });
}
