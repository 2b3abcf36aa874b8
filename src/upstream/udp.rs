//! One exchange over UDP, and sockets with random ports.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::core::{Buffer, note_ignored};
use super::idle::Kept;
use super::message::{RequestBuffer, accept};
use super::{Error, Protocol, Why, entropy};
use crate::limits;
use crate::runtime::stream::any_local;
use crate::runtime::{self, UdpSocket};
use crate::wire::reply::{Question, Reply};

/// A socket to `peer` from a random port, from `source` if it is given.
pub(super) fn open(peer: SocketAddr, source: Option<IpAddr>) -> Result<UdpSocket, Error> {
    let mut local = any_local(peer);
    if let Some(source) = source {
        local.set_ip(source);
    }
    let mut tries = limits::UPSTREAM_BIND_TRIES;
    loop {
        // The last try leaves the choice to the kernel, whose range is smaller but free of our own sockets.
        let port = if tries == 0 { 0 } else { entropy::port() };
        if port != 0 && port == peer.port() {
            // On loopback a dead upstream's port is free, and a socket that has it talks to itself.
            continue;
        }
        local.set_port(port);
        match UdpSocket::connect(local, peer) {
            Ok(socket) => return Ok(socket),
            Err(error) if tries > 0 && port_is_refused(&error) => tries -= 1,
            Err(error) => {
                return Err(Error::Dial(
                    Protocol::Udp,
                    peer,
                    Why::Call("connect", error),
                ));
            }
        }
    }
}

fn port_is_refused(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
    )
}

/// Sends the query and waits for its answer; whatever else arrives is ignored.
pub(super) async fn exchange(
    socket: &Kept<UdpSocket>,
    peer: SocketAddr,
    request: &RequestBuffer,
    question: &Question<'_>,
    room: usize,
    wait: Duration,
    reply: &mut Reply,
) -> Result<(), Error> {
    let from = || socket.io.local_addr().ok();
    if let Err(error) = socket.io.send(request.datagram()).await {
        let why = Why::Call("write", error);
        return Err(Error::Write(Protocol::Udp, from(), peer, why));
    }
    let room = room.min(limits::UPSTREAM_UDP_OCTETS);
    // One octet more than a reply may have, to see that it is longer.
    let mut buffer = Buffer::take(room + 1);
    let answered = async {
        let mut ignored = 0;
        loop {
            let len = socket.io.recv(&mut buffer.0).await?;
            let message = buffer.0.get(..len.min(room)).unwrap_or_default();
            if accept(message, len > room, request.id(), question, reply) {
                return Ok(());
            }
            note_ignored();
            ignored += 1;
            if ignored % limits::UPSTREAM_IGNORED_IN_A_ROW == 0 {
                runtime::yield_now().await;
            }
        }
    };
    let why = match runtime::timeout(wait, answered).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => Why::Call("read", error),
        Err(_) => Why::Timeout,
    };
    Err(Error::Read(Protocol::Udp, from(), peer, why))
}
