//! Host names of upstreams to addresses, once, during set-up: it blocks.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use super::message::{Request, RequestBuffer, accept};
use crate::limits;
use crate::runtime::stream::any_local;
use crate::wire::edns::Edns;
use crate::wire::flag;
use crate::wire::name::NameBuf;
use crate::wire::reply::{Question, Reply, Section};
use crate::wire::types;

/// The addresses of a host: from the system's resolver, or from the first of `resolvers` that has any.
///
/// # Errors
/// None was found; CoreDNS's sentence.
pub fn addresses(
    host: &str,
    port: u16,
    resolvers: &[SocketAddr],
) -> Result<Vec<SocketAddr>, String> {
    let failed = |why: &str| Err(format!("failed to resolve {host:?}: {why}"));
    let found = if resolvers.is_empty() {
        (host, port)
            .to_socket_addrs()
            .map(|found| found.collect::<Vec<_>>())
            .map_err(|error| error.to_string())
    } else {
        Ok(ask_all(host, port, resolvers))
    };
    match found {
        Ok(mut found) if !found.is_empty() => {
            let mut seen = Vec::new();
            found.retain(|addr| {
                let is_new = !seen.contains(addr);
                seen.push(*addr);
                is_new
            });
            Ok(found)
        }
        Ok(_) => failed(&format!("no addresses found for {host:?}")),
        Err(error) => failed(&error),
    }
}

/// Whether `resolver` answers that question within two seconds, in whatever way.
pub fn answers(resolver: SocketAddr, name: &NameBuf, qtype: u16) -> bool {
    ask(resolver, name, qtype).is_some()
}

fn ask_all(host: &str, port: u16, resolvers: &[SocketAddr]) -> Vec<SocketAddr> {
    let Ok(name) = NameBuf::from_text(host) else {
        return Vec::new();
    };
    for &resolver in resolvers {
        let mut found = addresses_of(resolver, &name, types::A);
        found.extend(addresses_of(resolver, &name, types::AAAA));
        if !found.is_empty() {
            return found
                .into_iter()
                .map(|ip| SocketAddr::new(ip, port))
                .collect();
        }
    }
    Vec::new()
}

/// The addresses of one type that one resolver knows; none after any failure.
fn addresses_of(resolver: SocketAddr, name: &NameBuf, qtype: u16) -> Vec<IpAddr> {
    let Some(reply) = ask(resolver, name, qtype) else {
        return Vec::new();
    };
    let answers = reply.section(Section::Answer);
    let addresses = answers
        .filter(|record| record.rtype == qtype)
        .filter_map(|record| {
            let octets = reply.rdata(record);
            match qtype {
                types::A => Some(<[u8; 4]>::try_from(octets).ok()?.into()),
                _ => Some(<[u8; 16]>::try_from(octets).ok()?.into()),
            }
        });
    addresses.collect()
}

fn ask(resolver: SocketAddr, name: &NameBuf, qtype: u16) -> Option<Reply> {
    let question = Question {
        name: name.as_wire(),
        qtype,
        qclass: 1,
    };
    let mut request = RequestBuffer::new(&Request {
        flags: flag::RD,
        question,
        edns: &Edns::default(),
    });
    request.draw_id();
    let socket = UdpSocket::bind(any_local(resolver)).ok()?;
    socket.connect(resolver).ok()?;
    socket.send(request.datagram()).ok()?;
    let deadline = Instant::now() + WAIT;
    let (mut buffer, mut reply) = (vec![0; limits::UPSTREAM_UDP_OCTETS], Reply::default());
    loop {
        let left = deadline.checked_duration_since(Instant::now())?;
        let left = left.max(Duration::from_millis(1));
        socket.set_read_timeout(Some(left)).ok()?;
        let len = socket.recv(&mut buffer).ok()?;
        if accept(
            buffer.get(..len)?,
            false,
            request.id(),
            &question,
            &mut reply,
        ) {
            return Some(reply);
        }
    }
}

const WAIT: Duration = Duration::from_secs(2);
