//! *proxyproto*: a client behind a proxy is seen, over each transport, and lies are not believed.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use percoredns::testing::authority::Authority;

use crate::client::{self, PATIENCE, Reply, Tcp, decode, frame, query};
use crate::interop::{Foreign, certify, output, program};
use crate::server::{self, Folder, Server, eventually, free_port};
use crate::transports::clients::{Got, Transport, ask};
use crate::upstream::Upstream;

/// A client behind the proxy that *acl* lets through, and one that it refuses.
const CLIENT: &str = "192.0.2.7:40212";
const BLOCKED: &str = "192.0.2.66:40212";

fn corefile(scheme: &str, options: &str, metrics: u16) -> String {
    format!(
        "{scheme}.:0 {{\n  proxyproto {{\n{options}\n  }}\n  prometheus 127.0.0.1:{metrics}\n  log\n  acl {{\n    block net 192.0.2.66\n  }}\n  \
         whoami\n}}\n"
    )
}

/// A header of version 2 that names this client; `kind` is 1 for streams, 2 for datagrams.
fn binary(client: &str, kind: u8) -> Vec<u8> {
    let client: SocketAddr = client.parse().expect("an address");
    let (family, mut body) = match client.ip() {
        IpAddr::V4(ip) => (0x10, [ip.octets(), [198, 51, 100, 1]].concat()),
        IpAddr::V6(ip) => (0x20, [ip.octets(), [0x20; 16]].concat()),
    };
    body.extend(client.port().to_be_bytes());
    body.extend(53u16.to_be_bytes());
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    header.push(family | kind);
    header.extend((body.len() as u16).to_be_bytes());
    [header, body].concat()
}

fn line(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().expect("an address");
    let (ip, port) = (client.ip(), client.port());
    format!("PROXY TCP4 {ip} 198.51.100.1 {port} 53\r\n").into_bytes()
}

/// The address and port that *whoami* saw.
fn seen(reply: &Reply) -> (String, String) {
    let last = |record: &String, nth: usize| record.split(' ').rev().nth(nth).unwrap().to_owned();
    (last(&reply.additional[0], 0), last(&reply.additional[1], 1))
}

fn assert_seen(reply: &Reply, client: &str) {
    let client: SocketAddr = client.parse().expect("an address");
    let expect = (client.ip().to_string(), client.port().to_string());
    assert_eq!(seen(reply), expect, "{reply:?}");
}

fn behind(to: SocketAddr, header: &[u8]) -> Tcp {
    let mut tcp = Tcp::open(to);
    tcp.0.write_all(header).expect("a peer that reads");
    tcp
}

fn is_closed(tcp: &mut Tcp) -> bool {
    !matches!(tcp.0.read(&mut [0; 1]), Ok(1..))
}

/// How many headers were not used for that reason.
fn errors(metrics: u16, reason: &str) -> f64 {
    let label = format!("reason=\"{reason}\"");
    let (_, body) = client::http(metrics, "/metrics").expect("metrics");
    let name = "percoredns_proxy_protocol_errors_total";
    client::metric(&body, name, &[&label])
}

/// Waits until so many headers were not used for that reason.
#[track_caller]
fn wait_for_errors(metrics: u16, reason: &str, count: f64) {
    eventually(reason, || errors(metrics, reason) == count);
}

#[test]
fn a_header_names_the_client_of_a_connection() {
    for runtime in ["auto", "epoll"] {
        let text = corefile("", "allow 127.0.0.0/8", free_port());
        let server = Server::with(Folder::new(), &text, |command| {
            command.args(["-runtime", runtime]);
        });
        let addr = server.addr(".:");
        let six = "[2001:db8::7]:9";
        for (header, client) in [
            (line(CLIENT), CLIENT),
            (binary(CLIENT, 1), CLIENT),
            (binary(six, 1), six),
        ] {
            let mut tcp = behind(addr, &header);
            // Every query of the connection.
            assert_seen(&tcp.ask(1, "example.org A"), client);
            assert_seen(&tcp.ask(2, "example.org A"), client);
        }
        server.wait_for(|line| line.contains(&format!(" {CLIENT} - 1 ")));
        // Octet by octet, and with queries right behind it.
        let mut tcp = Tcp::open(addr);
        for octet in binary(CLIENT, 1) {
            tcp.0.write_all(&[octet]).unwrap();
        }
        assert_seen(&tcp.ask(3, "example.org A"), CLIENT);
        let queries = [1, 2].map(|id| frame(&query(id, "example.org A"))).concat();
        let mut tcp = behind(addr, &[line(CLIENT), queries].concat());
        for id in [1, 2] {
            let reply = decode(&tcp.receive().expect("a reply"));
            assert_eq!(reply.id, id);
            assert_seen(&reply, CLIENT);
        }
        let refused = behind(addr, &binary(BLOCKED, 1)).ask(4, "example.org A");
        assert_eq!(refused.rcode, "REFUSED");
        // Without a header, and with one that names nobody.
        for header in [&b""[..], b"PROXY UNKNOWN\r\n"] {
            let mut tcp = behind(addr, header);
            let own = tcp.0.local_addr().unwrap().to_string();
            assert_seen(&tcp.ask(5, "example.org A"), &own);
        }
    }
}

#[test]
fn a_header_names_the_client_of_a_datagram() {
    let metrics = free_port();
    let server = Server::start(&corefile("", "allow 127.0.0.0/8", metrics));
    let addr = server.addr(".:");
    let ask = |header: &[u8], text: &str| {
        let datagram = [header, &query(7, text)].concat();
        decode(&client::exchange(addr, &datagram, PATIENCE).expect("a reply"))
    };
    assert_seen(&ask(&binary(CLIENT, 2), "example.org A"), CLIENT);
    // One that was asked over a stream and asks over datagrams may say so.
    assert_seen(&ask(&binary(CLIENT, 1), "example.org A"), CLIENT);
    let six = "[2001:db8::7]:9";
    let long = format!("{0}.{0}.{0}.example.org A +do", "x".repeat(60));
    assert_seen(&ask(&binary(six, 2), &long), six);
    let refused = ask(&binary(BLOCKED, 2), "example.org A");
    assert_eq!(refused.rcode, "REFUSED");
    server.wait_for(|line| line.contains(&format!(" {CLIENT} - 7 ")));
    let plain = client::connected(addr);
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain.send(&query(8, "example.org A")).unwrap();
    let mut buffer = [0; 512];
    let len = plain.recv(&mut buffer).unwrap();
    let own = plain.local_addr().unwrap().to_string();
    assert_seen(&decode(&buffer[..len]), &own);
    // What is broken is dropped, and what comes after it in the batch is answered.
    let broken = &binary(CLIENT, 2)[..20];
    for _ in 0..10 {
        plain.send(broken).unwrap();
        plain.send(&line(CLIENT)).unwrap();
    }
    plain.send(&query(9, "example.org A")).unwrap();
    let len = plain.recv(&mut buffer).unwrap();
    assert_eq!(decode(&buffer[..len]).id, 9);
    wait_for_errors(metrics, "malformed", 20.0);
}

/// A reply that has to be waited for goes to the proxy as well, and the client is remembered meanwhile.
#[test]
fn a_datagram_that_waits_for_an_upstream() {
    let upstream = Upstream::start();
    let forward = format!("forward . {}", upstream.addr);
    let text = corefile("", "", free_port()).replace("whoami", &forward);
    let server = Server::start(&text);
    let datagram = [binary(CLIENT, 2), query(7, "slow.example A")].concat();
    let reply = client::exchange(server.addr(".:"), &datagram, PATIENCE).expect("a reply");
    assert_eq!(decode(&reply).answer.len(), 1);
    server.wait_for(|line| line.contains(&format!(" {CLIENT} - 7 ")));
}

#[test]
fn all_keys_of_a_block_have_its_policy() {
    // Without *tls* both speak plain TCP.
    let server = Server::start(&corefile("tls://.:0 ", "", free_port()));
    for key in [".:", "tls://.:"] {
        let mut tcp = behind(server.addr(key), &binary(CLIENT, 1));
        assert_seen(&tcp.ask(1, "example.org A"), CLIENT);
    }
}

/// A query of 512 octets, as long as UDP takes them, has room behind a header with TLVs.
#[test]
fn a_header_takes_no_room_of_the_query() {
    let server = Server::start(&corefile("", "", free_port()));
    let mut message = query(3, "example.org A bufsize=4096");
    // An option of EDNS for private use fills it up.
    let fill = 512 - message.len();
    let at = message.len() - 2;
    message[at..].copy_from_slice(&(fill as u16).to_be_bytes());
    message.extend(65_001u16.to_be_bytes());
    message.extend(((fill - 4) as u16).to_be_bytes());
    message.resize(512, 0xaa);
    let mut header = binary(CLIENT, 2);
    header[14..16].copy_from_slice(&520u16.to_be_bytes());
    header.resize(536, 0);
    let datagram = [header, message].concat();
    let reply = client::exchange(server.addr(".:"), &datagram, PATIENCE).expect("a reply");
    let reply = decode(&reply);
    assert_eq!(reply.rcode, "NOERROR");
    assert_seen(&reply, CLIENT);
}

#[test]
fn who_is_not_allowed_is_treated_as_the_corefile_says() {
    for (default, reason) in [("ignore", "ignored"), ("reject", "rejected"), ("skip", "")] {
        let metrics = free_port();
        let options = format!("    allow 10.0.0.0/8\n    default {default}");
        let server = Server::start(&corefile("", &options, metrics));
        let addr = server.addr(".:");
        let datagram = [binary(CLIENT, 2), query(7, "example.org A")].concat();
        let within = match default {
            "reject" => Duration::from_millis(300),
            _ => PATIENCE,
        };
        let reply = client::exchange(addr, &datagram, within).map(|reply| decode(&reply));
        let mut tcp = behind(addr, &line(CLIENT));
        let own = tcp.0.local_addr().unwrap().to_string();
        match default {
            "ignore" => {
                assert_eq!(seen(&reply.expect("a reply")).0, "127.0.0.1");
                assert_seen(&tcp.ask(1, "example.org A"), &own);
            }
            "reject" => {
                assert_eq!(reply, None);
                assert!(is_closed(&mut tcp));
            }
            // It is read as a query, and is none.
            _ => assert_eq!(reply.expect("a reply").rcode, "NOTIMP"),
        }
        if !reason.is_empty() {
            wait_for_errors(metrics, reason, 2.0);
        }
        // Without a header all are alike.
        assert_eq!(server.ask("example.org A").rcode, "NOERROR");
        assert_eq!(client::tcp(addr, "example.org A").rcode, "NOERROR");
    }
}

#[test]
fn headers_that_are_none_end_the_connection() {
    let metrics = free_port();
    let corefile =
        corefile("", "", metrics).replacen("  log\n", "  timeouts {\n    read 1s\n  }\n", 1);
    let server = Server::start(&corefile);
    let addr = server.addr(".:");
    for header in [
        &b"PROXY TCP4 \r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
    ] {
        assert!(is_closed(&mut behind(addr, header)), "{header:?}");
    }
    wait_for_errors(metrics, "malformed", 2.0);
    // One that stalls and one that goes in the midst of it; to come and go without a word is no error.
    let mut stalled = behind(addr, &binary(CLIENT, 1)[..17]);
    drop(behind(addr, b""));
    let gone = behind(addr, b"PROX");
    gone.0.shutdown(Shutdown::Write).unwrap();
    assert!(is_closed(&mut stalled));
    wait_for_errors(metrics, "incomplete", 2.0);
    assert_eq!(client::tcp(addr, "example.org A").rcode, "NOERROR");
}

#[test]
fn a_session_names_its_client_once() {
    let options = "    udp_session_tracking 1h";
    let text = corefile("", options, free_port());
    let server = Server::start(&text);
    let addr = server.addr(".:");
    let (proxy, other) = (client::connected(addr), client::connected(addr));
    let ask = |socket: &UdpSocket, id: u16| {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send(&query(id, "example.org A")).unwrap();
        let mut buffer = [0; 512];
        let len = socket.recv(&mut buffer).unwrap();
        let reply = decode(&buffer[..len]);
        assert_eq!(reply.id, id);
        reply
    };
    // The header alone: nothing answers it.
    proxy.send(&binary(CLIENT, 2)).unwrap();
    for id in 1..100 {
        assert_seen(&ask(&proxy, id), CLIENT);
    }
    assert_seen(&ask(&other, 1), &other.local_addr().unwrap().to_string());
    // A reload forgets nobody.
    assert_eq!(
        server.reload(&text.replace("log", "errors")),
        "[INFO] Reloading complete"
    );
    assert_seen(&ask(&proxy, 200), CLIENT);
}

#[test]
fn clients_behind_a_proxy_are_bounded_one_by_one() {
    let text = corefile("", "allow 127.0.0.1/32", free_port()).replace("  log\n", "");
    let server = Server::with(Folder::new(), &text, |command| {
        command.args(["-cores", "0"]);
    });
    let addr = server.addr(".:");
    let served = |client: &dyn Fn(usize) -> String| {
        let mut open: Vec<Tcp> = (0..1_100)
            .map(|nth| behind(addr, &line(&client(nth))))
            .collect();
        let ask =
            |tcp: &mut Tcp| tcp.send(&query(1, "example.org A")).is_ok() && tcp.receive().is_ok();
        open.iter_mut()
            .map(ask)
            .filter(|is_served| *is_served)
            .count()
    };
    assert_eq!(served(&|nth| format!("192.0.2.{}:1", nth % 2)), 1_100);
    assert_eq!(served(&|_| CLIENT.into()), 1_024);
}

// === foreign clients and proxies ===

/// Passes connections on with a header in front; the port that it listens on.
fn relay(to: SocketAddr, header: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(to).expect("a connection");
            (&server).write_all(&header).expect("a peer that reads");
            let ends = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || copy(&client, &server));
            thread::spawn(move || copy(&ends.1, &ends.0));
        }
    });
    port
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// A proxy of datagrams that serves the first client which it hears.
struct Proxy {
    addr: SocketAddr,
    /// Where the server hears it.
    own: SocketAddr,
    /// What stands in front of each datagram.
    header: Arc<Mutex<Vec<u8>>>,
}

impl Proxy {
    fn start(to: SocketAddr, header: Vec<u8>) -> Proxy {
        let to_client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let to_server = client::connected(to);
        let proxy = Proxy {
            addr: to_client.local_addr().expect("an address"),
            own: to_server.local_addr().expect("an address"),
            header: Arc::new(Mutex::new(header)),
        };
        let header = Arc::clone(&proxy.header);
        thread::spawn(move || {
            let mut buffer = [0; 65_535];
            let (_, client) = to_client.peek_from(&mut buffer).expect("a client");
            to_client.connect(client).expect("a route");
            let ends = (
                to_server.try_clone().unwrap(),
                to_client.try_clone().unwrap(),
            );
            thread::spawn(move || pass(&ends.0, |datagram| ends.1.send(datagram)));
            pass(&to_client, |datagram| {
                let header = header.lock().unwrap().clone();
                to_server.send(&[&header, datagram].concat())
            });
        });
        proxy
    }
}

/// Sends on what comes, until an end is gone; a datagram that is lost comes again.
fn pass(from: &UdpSocket, send: impl Fn(&[u8]) -> std::io::Result<usize>) {
    let mut buffer = [0; 65_535];
    while let Ok(len) = from.recv(&mut buffer) {
        let _ = send(&buffer[..len]);
    }
}

/// A server of HTTP/3, and who signed its certificate.
fn over_http3(runtime: &str, options: &str, metrics: u16) -> (Server, Authority) {
    let authority = Authority::new();
    let (cert, key) = authority.server("dns", &["dns.test"]);
    let text = corefile("https3://", options, metrics);
    let text = text.replacen("  log\n", &format!("  log\n  tls {cert} {key}\n"), 1);
    let server = Server::with(Folder::new(), &text, |command| {
        command.args(["-runtime", runtime]);
    });
    (server, authority)
}

/// Asks through the proxy, with quinn and h3.
fn ask_http3(proxy: &Proxy, authority: &Authority) -> Reply {
    let message = query(7, "example.org A");
    match ask(Transport::Https3, proxy.addr, authority, &message) {
        Got::Reply(reply) => decode(&reply),
        other => panic!("{other:?}"),
    }
}

#[test]
fn h3_behind_headers() {
    for runtime in ["auto", "epoll"] {
        let (server, authority) = over_http3(runtime, "    allow 127.0.0.0/8", free_port());
        let addr = server.addr("https3://.:");
        for client in [CLIENT, "[2001:db8::7]:9"] {
            let proxy = Proxy::start(addr, binary(client, 2));
            assert_seen(&ask_http3(&proxy, &authority), client);
        }
        let blocked = Proxy::start(addr, binary(BLOCKED, 2));
        assert_eq!(ask_http3(&blocked, &authority).rcode, "REFUSED");
        for client in [CLIENT, BLOCKED] {
            server.wait_for(|line| line.contains(&format!(" {client} - 7 ")));
        }
        let bare = Proxy::start(addr, Vec::new());
        assert_seen(&ask_http3(&bare, &authority), &bare.own.to_string());
    }
}

/// While the proxy says who its client is nothing gets through; then it stops, and is the client.
#[test]
fn h3_behind_a_proxy_that_is_not_allowed() {
    for runtime in ["auto", "epoll"] {
        let metrics = free_port();
        let options = "    allow 10.0.0.0/8\n    default reject";
        let (server, authority) = over_http3(runtime, options, metrics);
        let proxy = Proxy::start(server.addr("https3://.:"), binary(CLIENT, 2));
        let reply = thread::scope(|scope| {
            let reply = scope.spawn(|| ask_http3(&proxy, &authority));
            eventually("a datagram is rejected", || {
                errors(metrics, "rejected") >= 1.0
            });
            assert!(!reply.is_finished());
            proxy.header.lock().unwrap().clear();
            reply.join().unwrap()
        });
        assert_seen(&reply, &proxy.own.to_string());
    }
}

#[test]
fn kdig_over_tls_behind_a_header() {
    let (Some(kdig), Some(openssl)) = (
        program("kdig", "knot-dnsutils"),
        program("openssl", "openssl"),
    ) else {
        return;
    };
    let folder = Folder::new();
    certify(&openssl, &folder);
    let text = corefile("tls://", "    allow 127.0.0.1/32", free_port());
    let text = text.replacen("  log\n", "  log\n  tls cert.pem key.pem\n", 1);
    let server = Server::with(folder, &text, |_| {});
    let addr = server.addr("tls://.:");
    for (header, client, rcode) in [
        (binary(CLIENT, 1), CLIENT, "NOERROR"),
        (line(BLOCKED), BLOCKED, "REFUSED"),
    ] {
        let port = relay(addr, header).to_string();
        let mut command = Command::new(&kdig);
        command.args([
            "@127.0.0.1",
            "-p",
            &port,
            "+tls",
            "+time=5",
            "example.org",
            "A",
        ]);
        let text = output(&mut command, server::PATIENCE);
        assert!(text.contains(&format!("status: {rcode}")), "{text}");
        let from = format!(" {client} - ");
        server.wait_for(|line| line.contains(&from) && line.contains(rcode));
    }
}

#[test]
fn dnsdist_in_front() {
    let Some(dnsdist) = program("dnsdist", "dnsdist") else {
        return;
    };
    let metrics = free_port();
    let options = "    allow 127.0.0.1/32\n    default reject";
    let text = corefile("", options, metrics).replace("192.0.2.66", "127.0.0.66");
    let server = Server::start(&text);
    let (folder, port) = (Folder::new(), free_port());
    let conf = format!(
        "setLocal('127.0.0.1:{port}')\nnewServer({{address='{}', useProxyProtocol=true, checkInterval=1}})\n",
        server.addr(".:")
    );
    folder.write("dnsdist.conf", &conf);
    let mut command = Command::new(dnsdist);
    command.args(["--supervised", "--disable-syslog", "-C", "dnsdist.conf"]);
    let proxy = Foreign::start(&mut command, folder, port, "example.org");
    for (from, rcode) in [("127.0.0.5", "NOERROR"), ("127.0.0.66", "REFUSED")] {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect(proxy.addr).unwrap();
        socket.send(&query(7, "www.example.org A")).unwrap();
        let mut buffer = [0; 512];
        let len = socket.recv(&mut buffer).unwrap();
        let reply = decode(&buffer[..len]);
        assert_eq!(reply.rcode, rcode);
        if rcode == "NOERROR" {
            assert_seen(&reply, &socket.local_addr().unwrap().to_string());
        }
        let client = format!(" {} - ", socket.local_addr().unwrap());
        server.wait_for(|line| line.contains(&client));
        let Some(dig) = program("dig", "bind9-dnsutils") else {
            continue;
        };
        let port = port.to_string();
        for transport in ["+notcp", "+tcp"] {
            let mut command = Command::new(&dig);
            command.args([
                "-b",
                from,
                "@127.0.0.1",
                "-p",
                &port,
                "+tries=1",
                "+timeout=5",
            ]);
            let text = output(
                command.args([transport, "example.org", "A"]),
                server::PATIENCE,
            );
            assert!(text.contains(&format!("status: {rcode}")), "{text}");
        }
    }
    // Its health checks are LOCAL commands: nothing of what it sends is refused.
    let (_, body) = client::http(metrics, "/metrics").expect("metrics");
    let errors = client::metric(&body, "percoredns_proxy_protocol_errors_total", &[]);
    assert_eq!(errors, 0.0);
}
