//! Whether a resolver shows the answer to a DNS challenge: an authority that looks too soon fails the order, and may remember that there
//! is no such name.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;

use super::time::Time;
use crate::limits;
use crate::upstream::{Request, RequestBuffer, accept};
use crate::wire::edns::Edns;
use crate::wire::name::NameBuf;
use crate::wire::reply::{Question, Reply, Section};
use crate::wire::{flag, types};

/// Waits until the resolver at `HOST:PORT` shows all values at their names.
///
/// # Errors
/// It does not in time, and what it said last.
pub(super) async fn wait(
    resolver: &str,
    values: &[(NameBuf, String)],
    time: &Time,
) -> Result<(), String> {
    let until_s = time.now_s() + limits::ACME_PROPAGATION_S;
    for (name, value) in values {
        loop {
            let seen = look(resolver, name, value).await;
            let why = match seen {
                Ok(true) => break,
                Ok(false) => "it does not show the TXT record".to_owned(),
                Err(error) => error,
            };
            if time.now_s() >= until_s {
                return Err(format!(
                    "the resolver {resolver} was waited for in vain: {why}; is the zone delegated to this server?"
                ));
            }
            let pause = Duration::from_millis(limits::ACME_PROPAGATION_PAUSE_MS);
            time.sleep(pause).await;
        }
    }
    Ok(())
}

/// Asks once over UDP; what is cut counts as far as it goes.
async fn look(resolver: &str, name: &NameBuf, value: &str) -> Result<bool, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut found = tokio::net::lookup_host(resolver).await.map_err(text)?;
    let Some(addr) = found.next() else {
        return Err("it has no address".to_owned());
    };
    let any: SocketAddr = match addr {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await.map_err(text)?;
    // Replies from elsewhere do not reach it.
    socket.connect(addr).await.map_err(text)?;
    let mut query = RequestBuffer::new(&Request {
        flags: flag::RD,
        question: Question {
            name: name.as_wire(),
            qtype: types::TXT,
            qclass: types::CLASS_IN,
        },
        edns: &Edns::default(),
    });
    query.draw_id();
    socket.send(query.datagram()).await.map_err(text)?;
    let patience = Duration::from_millis(limits::ACME_PROPAGATION_REPLY_MS);
    let reply = tokio::time::timeout(patience, receive(&socket, &query));
    let reply = reply.await.map_err(|_| "it does not answer".to_owned())?;
    let reply = reply.map_err(text)?;
    Ok(shows(&reply, value))
}

async fn receive(socket: &UdpSocket, query: &RequestBuffer) -> std::io::Result<Reply> {
    let mut octets = [0; limits::ACME_PROPAGATION_OCTETS];
    let mut reply = Reply::default();
    loop {
        let len = socket.recv(&mut octets).await?;
        let is_cut = len == octets.len();
        if accept(
            &octets[..len],
            is_cut,
            query.id(),
            &query.question(),
            &mut reply,
        ) {
            return Ok(reply);
        }
    }
}

/// Whoever the owner is: the name may be an alias.
fn shows(reply: &Reply, value: &str) -> bool {
    let is_it = |rdata: &[u8]| {
        rdata
            .split_first()
            .is_some_and(|(len, text)| usize::from(*len) == text.len() && text == value.as_bytes())
    };
    reply
        .section(Section::Answer)
        .any(|record| record.rtype == types::TXT && is_it(reply.rdata(record)))
}
