//! One exchange over UDP, and sockets with random ports.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::core::{note_ignored, with_scratch};
use super::message::accept;
use super::{Call, Error, Protocol, Why, entropy};
use crate::limits;
use crate::runtime::clock::Nanos;
use crate::runtime::stream::any_local;
use crate::runtime::{self, UdpSocket};
use crate::wire::reply::Reply;

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

/// What an exchange over a socket failed at.
pub(super) enum Failure {
    Write(Why),
    Read(Why),
}

/// Sends the query, behind a PROXY header if the upstream is told of clients, and waits for its answer; whatever else arrives is ignored.
///
/// While it waits it holds no buffer: what a socket has is read into one that the whole thread shares.
pub(super) fn exchange<'a>(
    socket: &'a UdpSocket,
    call: &'a Call,
    is_proxied: bool,
    wait_ns: Nanos,
    reply: &'a mut Reply,
) -> impl Future<Output = Result<(), Failure>> + use<'a> {
    let mut inbox = Inbox {
        socket,
        call,
        is_proxied,
        reply,
    };
    // A block and not an `async fn`, which would keep its arguments twice: thousands may wait here.
    async move {
        if let Err(error) = poll_fn(|cx| inbox.poll_send(cx)).await {
            return Err(Failure::Write(Why::Call("write", error)));
        }
        let wait = Duration::from_nanos(wait_ns);
        match runtime::timeout(wait, poll_fn(|cx| inbox.poll(cx))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::Read(Why::Call("read", error))),
            Err(_) => Err(Failure::Read(Why::Timeout)),
        }
    }
}

struct Inbox<'a> {
    socket: &'a UdpSocket,
    call: &'a Call,
    is_proxied: bool,
    reply: &'a mut Reply,
}

impl Inbox<'_> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let request = &self.call.request;
        match self.is_proxied {
            false => self.socket.poll_send(cx, request.datagram()),
            true => {
                let datagram = request.proxied_datagram(self.call.client.as_deref());
                self.socket.poll_send(cx, &datagram)
            }
        }
    }

    /// Reads what has come until there is the answer, or nothing more.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_scratch(|scratch| {
            // One octet more than a reply may have, to see that it is longer.
            let room = self.call.room.min(limits::UPSTREAM_UDP_OCTETS);
            let buffer = scratch.get_mut(..=room).unwrap_or_default();
            for _ in 0..limits::UPSTREAM_IGNORED_IN_A_ROW {
                let len = ready!(self.socket.poll_recv(cx, buffer))?;
                let message = buffer.get(..len.min(room)).unwrap_or_default();
                let (id, question) = (self.call.request.id(), self.call.request.question());
                if accept(message, len > room, id, &question, self.reply) {
                    return Poll::Ready(Ok(()));
                }
                note_ignored();
            }
            // The others first, then what is left.
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }
}
