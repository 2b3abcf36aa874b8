//! The PROXY header in front of a connection: read before anything else, so that all that follows knows the client.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::time::Duration;

use crate::limits::PROXY_HEADER_OCTETS;
use crate::runtime::{self, TcpStream};
use crate::server::session::Session;
use crate::transport::proxy::{Proxies, Treatment, Verdict};

/// Makes the session that of the client whom a header names, where its sender is believed. False: the connection is to be closed, because its
/// header is none or not welcome, or did not come in time.
pub(super) async fn name(
    proxies: &Proxies,
    session: &mut Session,
    tcp: &mut TcpStream,
    patience: Duration,
) -> bool {
    let treatment = proxies.policy().treatment(session.peer);
    if treatment == Treatment::Skip {
        return true;
    }
    let (mut octets, mut len) = ([0; PROXY_HEADER_OCTETS], 0);
    let read = async {
        loop {
            match proxies.judge(treatment, &octets[..len]) {
                Verdict::Wait => {}
                Verdict::Open(header, ends) => break Some((header, ends)),
                Verdict::Close => break None,
            }
            // A header that is not whole yet never fills the room: it would be malformed.
            match tcp.read(&mut octets[len..]).await {
                Ok(count) if count > 0 => len += count,
                _ => {
                    note_end(proxies, len);
                    break None;
                }
            }
        }
    };
    let outcome = runtime::timeout(patience, read).await;
    let Ok(outcome) = outcome else {
        note_end(proxies, len);
        return false;
    };
    let Some((header, ends)) = outcome else {
        return false;
    };
    tcp.unread(&octets[header..len]);
    if let Some(ends) = ends {
        (session.peer, session.local) = (ends.source, ends.destination);
    }
    true
}

/// Counts a connection that ended within its header; one that ended before has done nothing wrong.
fn note_end(proxies: &Proxies, received: usize) {
    if received > 0 {
        proxies.note_incomplete();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::runtime::{self, Backend, TcpStream, block_on};
    use crate::server::stream::Acceptors;
    use crate::server::tasks::Env;
    use crate::testing::host::{self, Host};
    use crate::transport::tcp;

    /// What a client gets that sends these pieces one by one: the address and port that *whoami* saw, or nothing.
    fn check(options: &str, pieces: &[&[u8]], expect: Option<&str>) {
        let corefile = format!(".:0 {{\n proxyproto {{\n{options}\n }}\n whoami\n}}\n");
        let config = Host::new(&corefile).unwrap().config;
        let mut message = Vec::new();
        tcp::push_frame(&mut message, &host::encode("example.org A +tcp").0);
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let reply = block_on(Backend::Epoll, async move {
            let env = Env::new(0, 1, Vec::new());
            env.open(config);
            let socket = Arc::new(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
            let server = socket.local_addr().unwrap();
            Acceptors::default().replace(&env, vec![(0, socket)]);
            let mut client = TcpStream::connect(None, server).await.unwrap();
            for piece in pieces.iter().chain([&message]) {
                // One that was sent away may find the connection closed.
                let _ = client.write_all(piece).await;
                runtime::yield_now().await;
            }
            let mut reply = vec![0; 512];
            let len = client.read(&mut reply).await.unwrap_or(0);
            reply.truncate(len);
            reply
        });
        let reply = reply.unwrap();
        let seen = reply.get(2..).map(host::decode);
        let record = seen.as_ref().map(|seen| &seen.additional[0]);
        let ip = record.and_then(|record| record.rsplit(' ').next());
        assert_eq!(ip, expect, "{options}");
    }

    const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 40212 53\r\n";

    #[test]
    fn a_header_is_read_before_all_else() {
        check("", &[LINE], Some("192.0.2.7"));
        check(
            "",
            &[&LINE[..3], &LINE[3..20], &LINE[20..]],
            Some("192.0.2.7"),
        );
        check("", &[], Some("127.0.0.1"));
        check("", &[b"PROXY UNKNOWN\r\n"], Some("127.0.0.1"));
    }

    #[test]
    fn the_policy_decides_what_it_is_worth() {
        check("allow 127.0.0.0/8", &[LINE], Some("192.0.2.7"));
        check("allow 10.0.0.0/8", &[LINE], Some("127.0.0.1"));
        check("default reject", &[LINE], None);
        check("default reject", &[], Some("127.0.0.1"));
        check("", &[b"PROXY TCP4 x\r\n"], None);
    }
}
