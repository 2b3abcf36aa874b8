//! One exchange over TCP: a length of two octets, then the message (RFC 1035 section 4.2.2).

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::core::{note_ignored, with_scratch};
use super::message::{RequestBuffer, accept};
use super::{Error, Protocol, Why};
use crate::runtime::{self, TcpStream};
use crate::wire::reply::Reply;

/// How an exchange over a connection ended badly.
pub(super) enum Failure {
    /// The connection was closed before any octet of a reply, or takes no more: one that was kept may just have been old.
    Closed(Error),
    /// Anything else.
    Other(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Closed(error) | Failure::Other(error) => error,
        }
    }
}

/// Connects within `wait`.
pub(super) async fn open(
    peer: SocketAddr,
    source: Option<IpAddr>,
    wait: Duration,
) -> Result<TcpStream, Error> {
    let why = match runtime::timeout(wait, TcpStream::connect(source, peer)).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) => Why::Call("connect", error),
        Err(_) => Why::Timeout,
    };
    Err(Error::Dial(Protocol::Tcp, peer, why))
}

/// Sends the query and waits for its answer; other messages are ignored. True when the connection can be used again.
pub(super) async fn exchange(
    stream: &mut TcpStream,
    request: &RequestBuffer,
    wait: Duration,
    reply: &mut Reply,
) -> Result<bool, Failure> {
    let (from, peer) = (stream.local_addr().ok(), stream.peer_addr());
    let mut sent = false;
    let mut input = Input::default();
    let answered = async {
        stream.write_all(request.framed()).await?;
        sent = true;
        let mut ignored = 0;
        loop {
            let end = input.read_message(stream).await?;
            let message = input.octets.get(2..end).unwrap_or_default();
            if accept(message, false, request.id(), &request.question(), reply) {
                // Octets behind the reply belong to nothing that was asked.
                return Ok(input.octets.len() == end);
            }
            note_ignored();
            input.octets.drain(..end);
            ignored += 1;
            if ignored % crate::limits::UPSTREAM_IGNORED_IN_A_ROW == 0 {
                runtime::yield_now().await;
            }
        }
    };
    let result: Result<io::Result<bool>, _> = runtime::timeout(wait, answered).await;
    let untouched = input.octets.is_empty();
    match result {
        Ok(Ok(reusable)) => Ok(reusable),
        Err(_) => Err(Failure::Other(Error::Read(
            Protocol::Tcp,
            from,
            peer,
            Why::Timeout,
        ))),
        Ok(Err(error)) => {
            let closed = untouched && is_closed(&error);
            let error = if error.kind() == io::ErrorKind::UnexpectedEof {
                Error::Eof
            } else if sent {
                Error::Read(Protocol::Tcp, from, peer, Why::Call("read", error))
            } else {
                Error::Write(Protocol::Tcp, from, peer, Why::Call("write", error))
            };
            Err(if closed {
                Failure::Closed(error)
            } else {
                Failure::Other(error)
            })
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
    )
}

/// What has been read of the stream and not been used: at most one message and what one read brought with it.
#[derive(Default)]
struct Input {
    octets: Vec<u8>,
}

impl Input {
    /// Reads until the first message is complete; returns where it ends. It starts behind its length, at octet 2.
    async fn read_message(&mut self, stream: &mut TcpStream) -> io::Result<usize> {
        loop {
            if let Some(&[high, low]) = self.octets.first_chunk::<2>() {
                let end = 2 + usize::from(u16::from_be_bytes([high, low]));
                if self.octets.len() >= end {
                    return Ok(end);
                }
            }
            if poll_fn(|cx| self.read(stream, cx)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn read(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        with_scratch(|scratch| {
            let count = ready!(stream.poll_read(cx, scratch))?;
            self.octets
                .extend_from_slice(scratch.get(..count).unwrap_or_default());
            Poll::Ready(Ok(count))
        })
    }
}
