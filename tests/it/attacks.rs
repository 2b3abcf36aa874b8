//! Peers that mean harm over TCP and TLS: each is let go at the bound that is for it, and others notice nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use percoredns::limits::{HANDSHAKES_PER_CLIENT, HANDSHAKES_PER_CORE};
use percoredns::testing::authority::Authority;

use crate::client::{self, Tcp, decode, frame, query};
use crate::server::{Folder, PATIENCE, Server, eventually, free_port};
use crate::tls::Tls;

/// Small enough that a peer that does nothing is soon let go.
const TIMEOUTS: &str = "timeouts {\n read 1s\n write 1s\n }";

/// A server of one core for TLS, and plain DNS, on each backend; its metrics are at the port.
fn both_backends(lines: &str, test: impl Fn(&Server, &Authority, u16)) {
    for runtime in ["auto", "epoll"] {
        let authority = Authority::new();
        let (cert, key) = authority.server("dns", &["dns.test"]);
        let metrics = free_port();
        let corefile = format!(
            "tls://.:0 .:0 {{\n tls {cert} {key}\n prometheus 127.0.0.1:{metrics}\n {lines}\n whoami\n}}\n"
        );
        let server = Server::with(Folder::new(), &corefile, |command| {
            command.args(["-runtime", runtime, "-cores", "0"]);
        });
        test(&server, &authority, metrics);
    }
}

fn handshakes(metrics: u16, result: &str) -> f64 {
    let (_, body) = client::http(metrics, "/metrics").expect("metrics");
    let label = format!("result=\"{result}\"");
    client::metric(&body, "percoredns_tls_handshakes_total", &[&label])
}

/// Somebody who does no harm is served over each transport.
#[track_caller]
fn assert_serves(server: &Server, authority: &Authority) {
    let mut tls = Tls::trusting(server.addr("tls://.:"), &authority.ca_file());
    assert_eq!(tls.ask(7, "example.org A").rcode, "NOERROR");
    let addr = server.addr(".:");
    assert_eq!(client::tcp(addr, "example.org A").rcode, "NOERROR");
    assert_eq!(client::udp(addr, "example.org A").rcode, "NOERROR");
}

/// Whether the peer has ended the connection; what came before is read and forgotten.
fn is_over(tcp: &mut TcpStream) -> bool {
    tcp.set_nonblocking(true).expect("a socket");
    let mut octets = [0; 4096];
    loop {
        match tcp.read(&mut octets) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn peers_that_do_not_read_stay_within_their_bounds_and_are_let_go() {
    both_backends(TIMEOUTS, |server, authority, _| {
        let (before, descriptors) = (server.resident_kib(), server.descriptors());
        let batch: Vec<u8> = (0..200)
            .flat_map(|id| frame(&query(id, "example.org A")))
            .collect();
        let patience = Some(Duration::from_millis(200));
        let mut held = Vec::new();
        for nth in 0..8 {
            let mut written = 0;
            let mut write = |stream: &mut dyn Write| {
                while let Ok(count) = stream.write(&batch) {
                    written += count;
                    assert!(written < 64 << 20, "the server never stops reading");
                }
            };
            if nth % 2 == 0 {
                let mut tcp = Tcp::open(server.addr(".:")).0;
                tcp.set_write_timeout(patience).unwrap();
                write(&mut tcp);
                held.push(tcp);
            } else {
                let mut tls = Tls::trusting(server.addr("tls://.:"), &authority.ca_file());
                tls.ask(1, "example.org A");
                tls.0.sock.set_write_timeout(patience).unwrap();
                write(&mut tls.0);
                held.push(tls.0.sock);
            }
            assert_serves(server, authority);
        }
        let grown = server.resident_kib().saturating_sub(before);
        assert!(grown < 8 << 10, "{grown} KiB for eight of them");
        // They are still there, and have not read an octet.
        eventually("they are let go", || server.descriptors() <= descriptors);
        assert!(held.iter_mut().all(is_over));
    });
}

#[test]
fn an_octet_now_and_then_is_no_message_and_no_handshake() {
    both_backends(TIMEOUTS, |server, authority, metrics| {
        let failed = handshakes(metrics, "failed");
        let mut tls = Tls::trusting(server.addr("tls://.:"), &authority.ca_file());
        tls.ask(1, "example.org A");
        // It has asked already, so that it may idle for ten seconds; another has not.
        let mut new = Tls::trusting(server.addr("tls://.:"), &authority.ca_file());
        new.finish_handshake();
        let mut hello = Tls::trusting(server.addr("tls://.:"), &authority.ca_file());
        let mut octets = Vec::new();
        hello.0.conn.write_tls(&mut octets).unwrap();
        let mut shaking = hello.0.sock;
        let message = frame(&query(9, "a.name.that.is.never.whole.example.org A"));
        let (mut sent, mut offered) = (0, 0);
        let (mut is_cut, mut is_refused) = (false, false);
        for nth in 0..message.len() - 1 {
            if !is_cut {
                let written = new.0.conn.writer().write_all(&message[nth..=nth]);
                written.unwrap();
                is_cut = new.0.conn.write_tls(&mut new.0.sock).is_err() || is_over(&mut new.0.sock);
                sent += 1;
            }
            if !is_refused {
                is_refused =
                    shaking.write_all(&octets[nth..=nth]).is_err() || is_over(&mut shaking);
                offered += 1;
            }
            if is_cut && is_refused {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(is_cut, "{sent} octets of {}", message.len());
        assert!(is_refused, "{offered} octets of {}", octets.len());
        assert_eq!(handshakes(metrics, "failed") - failed, 1.0);
        assert_serves(server, authority);
    });
}

#[test]
fn half_closed_peers_get_what_they_asked_for_and_are_let_go() {
    both_backends(TIMEOUTS, |server, authority, _| {
        let descriptors = server.descriptors();
        let open = || Tls::trusting(server.addr("tls://.:"), &authority.ca_file());
        // Before the handshake, in it, after it, after a query, within one; none of them says goodbye.
        let before = open();
        before.0.sock.shutdown(Shutdown::Write).unwrap();
        let mut within = open();
        within.0.conn.write_tls(&mut within.0.sock).unwrap();
        within.0.sock.shutdown(Shutdown::Write).unwrap();
        let mut after = open();
        after.finish_handshake();
        after.0.sock.shutdown(Shutdown::Write).unwrap();
        let mut asked = open();
        let message = frame(&query(5, "example.org A"));
        asked.0.write_all(&message).unwrap();
        asked.0.sock.shutdown(Shutdown::Write).unwrap();
        assert_eq!(decode(&asked.receive().expect("a reply")).id, 5);
        let mut cut = open();
        cut.0.write_all(&message[..9]).unwrap();
        cut.0.sock.shutdown(Shutdown::Write).unwrap();
        let mut ends = [before, within, after, asked, cut].map(|tls| tls.0.sock);
        eventually("they are let go", || server.descriptors() <= descriptors);
        assert!(ends.iter_mut().all(is_over));
        assert_serves(server, authority);
    });
}

#[test]
fn garbage_after_the_handshake_ends_the_connection_with_an_alert() {
    both_backends(TIMEOUTS, |server, authority, _| {
        let mut unencrypted = vec![23, 3, 3, 0, 40];
        unencrypted.extend(0..40);
        for (record, alert) in [
            (&unencrypted[..], "BadRecordMac"),
            // A handshake message in the clear, a type that there is not, a record too long.
            (&[22, 3, 3, 0, 4, 1, 0, 0, 0], "BadRecordMac"),
            (&[99, 3, 3, 0, 1, 0], "DecodeError"),
            (&[23, 3, 3, 0xff, 0xff], "DecodeError"),
        ] {
            let mut tls = Tls::trusting(server.addr("tls://.:"), &authority.ca_file());
            tls.ask(1, "example.org A");
            tls.0.sock.write_all(record).unwrap();
            let mut rest = Vec::new();
            let error = tls.0.read_to_end(&mut rest).expect_err("an alert");
            let expect = format!("received fatal alert: {alert}");
            assert_eq!(error.to_string(), expect, "{record:?}");
            assert!(rest.is_empty());
            assert_serves(server, authority);
        }
        assert!(server.lines().iter().all(|line| !line.contains("panic")));
    });
}

/// A connection to a local port from that address of the loopback network.
fn from(host: u8, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    let local = SocketAddr::from(([127, 0, 0, host], 0));
    socket.bind(&local.into()).expect("an address");
    let to = SocketAddr::from(([127, 0, 0, 1], to.port()));
    socket.connect(&to.into()).expect("a connection");
    socket.into()
}

#[test]
fn handshakes_that_never_come_leave_room_to_others_up_to_their_bound() {
    let patient = "timeouts {\n read 20s\n }";
    both_backends(patient, |server, authority, metrics| {
        let to = server.addr("tls://.:");
        let assert_refused = |host: u8, count: f64| {
            let mut one_more = from(host, to);
            one_more.set_read_timeout(Some(PATIENCE)).unwrap();
            assert_eq!(one_more.read(&mut [0]).expect("its end"), 0);
            assert_eq!(handshakes(metrics, "refused"), count);
        };
        let (of_core, of_client) = (HANDSHAKES_PER_CORE, HANDSHAKES_PER_CLIENT as usize);
        let mut held: Vec<TcpStream> = (0..20).map(|_| from(2, to)).collect();
        assert_serves(server, authority);
        held.extend((20..of_client).map(|_| from(2, to)));
        assert_eq!(handshakes(metrics, "refused"), 0.0);
        assert_refused(2, 1.0);
        assert_serves(server, authority);
        held.extend((of_client..of_core).map(|nth| from(2 + (nth / of_client) as u8, to)));
        assert_eq!(handshakes(metrics, "refused"), 1.0);
        assert_refused(99, 2.0);
        // Who speaks in the clear is served all the same.
        let addr = server.addr(".:");
        assert_eq!(client::tcp(addr, "example.org A").rcode, "NOERROR");
        held.clear();
        eventually("handshakes are taken again", || {
            let mut tls = Tls::trusting(to, &authority.ca_file());
            tls.try_handshake().is_ok()
        });
        assert_serves(server, authority);
    });
}
