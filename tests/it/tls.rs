//! DNS over TLS: foreign clients, certificates that change, clients that break the protocol.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;

use percoredns::testing::authority::Authority;
use percoredns::tls;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::client::{self, Reply, decode, frame, query};
use crate::interop::{output, program};
use crate::server::{Folder, PATIENCE, Server, eventually};
use crate::tcp::closed_after;
use crate::upstream::Upstream;

/// A server on a free port for TLS and one for UDP and TCP, on each backend; `lines` are its directives besides *tls*.
fn both_backends(lines: &str, test: impl Fn(&Server, &Authority)) {
    for runtime in ["auto", "epoll"] {
        let authority = Authority::new();
        let (cert, key) = authority.server("dns", &["dns.test"]);
        let corefile = format!("tls://.:0 .:0 {{\n tls {cert} {key}\n {lines}\n}}\n");
        let server = Server::with(Folder::new(), &corefile, |command| {
            command.args(["-runtime", runtime]);
        });
        test(&server, &authority);
    }
}

/// A client that trusts the authority.
pub struct Tls(pub StreamOwned<ClientConnection, TcpStream>);

impl Tls {
    fn config(ca_file: &str) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(tls::provider());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let roots = tls::roots(ca_file.as_ref()).unwrap();
        let config = builder.with_root_certificates(roots);
        Arc::new(config.with_no_client_auth())
    }

    fn open(to: SocketAddr, authority: &Authority) -> Tls {
        Tls::trusting(to, &authority.ca_file())
    }

    /// Trusts the authority of that file.
    pub fn trusting(to: SocketAddr, ca_file: &str) -> Tls {
        let tcp = TcpStream::connect(to).expect("a connection");
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::try_from("dns.test").unwrap();
        let tls = ClientConnection::new(Tls::config(ca_file), name).unwrap();
        Tls(StreamOwned::new(tls, tcp))
    }

    pub fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        let mut len = [0; 2];
        self.0.read_exact(&mut len)?;
        let mut message = vec![0; u16::from_be_bytes(len).into()];
        self.0.read_exact(&mut message)?;
        Ok(message)
    }

    /// Shakes hands; the certificate that is shown.
    pub fn shake_hands(mut self) -> Vec<u8> {
        self.finish_handshake();
        self.certificate()
    }

    pub fn finish_handshake(&mut self) {
        self.try_handshake().expect("a handshake");
    }

    pub fn try_handshake(&mut self) -> std::io::Result<()> {
        while self.0.conn.is_handshaking() {
            self.0.conn.complete_io(&mut self.0.sock)?;
        }
        Ok(())
    }

    pub fn ask(&mut self, id: u16, text: &str) -> Reply {
        self.0.write_all(&frame(&query(id, text))).unwrap();
        let reply = decode(&self.receive().expect("a reply"));
        assert_eq!(reply.id, id);
        reply
    }

    fn certificate(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().expect("one")[0].to_vec()
    }
}

#[test]
fn kdig_gets_what_it_gets_over_udp() {
    let Some(kdig) = program("kdig", "knot-dnsutils") else {
        return;
    };
    let zone = include_str!("../data/example/db.example.org");
    let folder = Folder::new();
    let zone = folder.write("db", zone);
    let lines = format!("file {} example.org", zone.display());
    both_backends(&lines, |server, authority| {
        for host in ["127.0.0.1", "::1"] {
            let ask = |prefix: &str, more: &[&str]| {
                let port = server.addr(prefix).port().to_string();
                let mut command = Command::new(&kdig);
                command.args([&format!("@{host}"), "-p", &port, "+nopadding"]);
                command
                    .args(["+noedns", "+noheader", "+nostats"])
                    .args(more);
                command.args([
                    "example.org",
                    "SOA",
                    "www.example.org",
                    "A",
                    "no.example.org",
                    "TXT",
                ]);
                let text = output(&mut command, PATIENCE);
                let lines = text
                    .lines()
                    .filter(|line| !line.starts_with(";; TLS session"));
                let lines: Vec<_> = lines.filter(|line| !line.contains("id:")).collect();
                lines.join("\n")
            };
            let ca = format!("+tls-ca={}", authority.ca_file());
            let plain = ask(".:", &[]);
            assert!(plain.contains("SOA"), "{plain}");
            assert_eq!(
                ask("tls://.:", &["+tls", &ca, "+tls-hostname=dns.test"]),
                plain
            );
        }
    });
}

#[test]
fn openssl_agrees_on_versions_and_resumes() {
    let Some(openssl) = program("openssl", "openssl") else {
        return;
    };
    both_backends("whoami", |server, _| {
        let to = server.addr("tls://.:").to_string();
        let session = server.folder.path().join("session");
        let ask = |args: &[&str]| {
            let mut command = Command::new(&openssl);
            command.args(["s_client", "-connect", &to]).args(args);
            output(&mut command, PATIENCE)
        };
        assert!(ask(&["-tls1_3"]).contains("New, TLSv1.3"));
        assert!(ask(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]).contains("New, (NONE)"));
        let session = session.to_str().unwrap();
        assert!(ask(&["-tls1_2", "-sess_out", session]).contains("New, TLSv1.2"));
        assert!(ask(&["-tls1_2", "-sess_in", session]).contains("Reused, TLSv1.2"));
    });
}

#[test]
fn pipelined_queries_are_answered_and_fast_answers_overtake() {
    let upstream = Upstream::start();
    let lines = format!("forward . {}", upstream.addr);
    both_backends(&lines, |server, authority| {
        let mut tls = Tls::open(server.addr("tls://.:"), authority);
        let slow = frame(&query(1, "slow.example A"));
        let rest = (2..300u16).flat_map(|id| frame(&query(id, "quick.example A")));
        let all: Vec<u8> = slow.into_iter().chain(rest).collect();
        tls.0.write_all(&all).unwrap();
        let ids: Vec<u16> = (1..300)
            .map(|_| decode(&tls.receive().unwrap()).id)
            .collect();
        // 128 are answered at a time, and the slow one is among the first of them.
        let place = ids.iter().position(|id| *id == 1);
        assert!(place.is_some_and(|place| place >= 127), "{ids:?}");
        let mut sorted = ids;
        sorted.sort_unstable();
        assert_eq!(sorted, (1..300).collect::<Vec<u16>>());
    });
}

#[test]
fn records_may_be_cut_anywhere_and_half_a_stream_is_answered() {
    both_backends("whoami", |server, authority| {
        let mut tls = Tls::open(server.addr("tls://.:"), authority);
        tls.finish_handshake();
        let message = frame(&query(9, "example.org A"));
        let (one, other) = message.split_at(5);
        for part in [one, other] {
            tls.0.conn.writer().write_all(part).unwrap();
        }
        tls.0.conn.send_close_notify();
        let mut records = Vec::new();
        while tls.0.conn.wants_write() {
            tls.0.conn.write_tls(&mut records).unwrap();
        }
        for octet in records {
            tls.0.sock.write_all(&[octet]).unwrap();
        }
        tls.0.sock.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = Vec::new();
        tls.0
            .read_to_end(&mut reply)
            .expect("close_notify at the end");
        assert_eq!(decode(&reply[2..]).id, 9);
    });
}

#[test]
fn a_changed_certificate_is_served_and_nothing_is_lost() {
    both_backends("whoami", |server, authority| {
        let to = server.addr("tls://.:");
        let mut old = Tls::open(to, authority);
        let ask = |tls: &mut Tls| drop(tls.ask(3, "example.org A"));
        ask(&mut old);
        authority.server("dns", &["dns.test"]);
        eventually("the new certificate is served", || {
            let mut new = Tls::open(to, authority);
            ask(&mut new);
            ask(&mut old);
            new.certificate() != old.certificate()
        });
        std::fs::write(authority.path().join("dns.crt"), "no certificate").unwrap();
        server.wait_for(|line| {
            line.contains("changed files cannot be used, the old certificate stays")
        });
        ask(&mut Tls::open(to, authority));
    });
}

#[test]
fn who_does_not_shake_hands_is_cut_off_and_hurts_nobody() {
    both_backends(
        "timeouts {\n read 1s\n }\n whoami\n prometheus 127.0.0.1:0",
        |server, authority| {
            let to = server.addr("tls://.:");
            // Plain DNS where TLS is spoken: an alert, and the end.
            let mut plain = TcpStream::connect(to).unwrap();
            plain.set_read_timeout(Some(PATIENCE)).unwrap();
            plain.write_all(&frame(&query(1, "example.org A"))).unwrap();
            let mut alert = Vec::new();
            plain.read_to_end(&mut alert).expect("an alert and the end");
            assert_eq!((alert.first(), alert.len()), (Some(&21), 7), "{alert:?}");
            // Half a record, then nothing.
            let mut slow = client::Tcp::open(to);
            slow.0.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
            assert!(closed_after(slow) < PATIENCE);
            // A record that promises more than there may be.
            let mut long = client::Tcp::open(to);
            long.0.write_all(&[23, 3, 3, 0xff, 0xff]).unwrap();
            let mut alert = Vec::new();
            long.0
                .read_to_end(&mut alert)
                .expect("an alert and the end");
            assert_eq!((alert.first(), alert.len()), (Some(&21), 7), "{alert:?}");
            let mut tls = Tls::open(to, authority);
            tls.ask(2, "example.org A");
        },
    );
}

#[test]
fn without_a_certificate_tls_is_plain_tcp_and_ipv6_is_served() {
    let server = Server::start("tls://.:0 {\n whoami\n}\n");
    let to = server.addr("tls://.:");
    assert_eq!(client::tcp(to, "example.org A").rcode, "NOERROR");
    let to = SocketAddr::from((Ipv6Addr::LOCALHOST, to.port()));
    assert_eq!(client::tcp(to, "example.org A").rcode, "NOERROR");
    assert!(
        std::net::UdpSocket::bind(("127.0.0.1", to.port())).is_ok(),
        "UDP is not listened on"
    );
}

#[test]
fn queries_that_wait_are_answered_though_the_client_has_ended() {
    let upstream = Upstream::start();
    let lines = format!("forward . {}", upstream.addr);
    both_backends(&lines, |server, authority| {
        let mut tls = Tls::open(server.addr("tls://.:"), authority);
        tls.0.conn.complete_io(&mut tls.0.sock).unwrap();
        // More than may wait at a time, and the end, in one burst.
        let all: Vec<u8> = (1..=300u16)
            .flat_map(|id| frame(&query(id, "quick.example A")))
            .collect();
        tls.0.conn.writer().write_all(&all).unwrap();
        tls.0.conn.send_close_notify();
        let mut records = Vec::new();
        while tls.0.conn.wants_write() {
            tls.0.conn.write_tls(&mut records).unwrap();
        }
        tls.0.sock.write_all(&records).unwrap();
        let mut ids: Vec<u16> = (1..=300)
            .map(|_| decode(&tls.receive().expect("a reply")).id)
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, (1..=300).collect::<Vec<u16>>());
    });
}

#[test]
fn an_idle_connection_is_told_that_it_ends() {
    both_backends(
        "timeouts {\n read 1s\n idle 1s\n }\n whoami",
        |server, authority| {
            let mut tls = Tls::open(server.addr("tls://.:"), authority);
            tls.0.conn.complete_io(&mut tls.0.sock).unwrap();
            let mut rest = Vec::new();
            tls.0.read_to_end(&mut rest).expect("close_notify");
            assert!(rest.is_empty());
        },
    );
}
