//! A connection as its protocol sees it: octets in, octets out, with TLS or without.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, ready};

use rustls::server::UnbufferedServerConnection;

use super::tls::{Side, TlsStream};
use crate::runtime::TcpStream;

/// A connection, of a server unless the other side of TLS is named.
pub enum Stream<S = UnbufferedServerConnection> {
    /// TCP alone.
    Plain(TcpStream),
    /// TLS over TCP, its handshake done.
    Tls(TlsStream<S>),
}

impl<S: Side> Stream<S> {
    /// Receives what there is and hands it to `sink`; returns how many octets came, 0 at the end of the stream. An idle connection holds
    /// no buffer: the thread has one for all.
    pub fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        match self {
            Stream::Plain(tcp) => with_chunk(|chunk| {
                let count = ready!(tcp.poll_read(cx, chunk))?;
                sink(&chunk[..count]);
                Poll::Ready(Ok(count))
            }),
            Stream::Tls(tls) => tls.poll_recv(cx, sink),
        }
    }

    /// Sends octets after what is left of earlier ones; what the connection has taken over is removed. `Ready` when the kernel has all.
    pub fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        octets: &mut Vec<u8>,
    ) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(tcp) => poll_write_from(tcp, cx, octets),
            Stream::Tls(tls) => tls.poll_send(cx, octets),
        }
    }

    /// As [`Stream::poll_send`], in TLS records that end where parts do (see [`TlsStream::poll_send_parts`]).
    pub fn poll_send_parts(
        &mut self,
        cx: &mut Context<'_>,
        octets: &mut Vec<u8>,
        part_len: impl Fn(&[u8]) -> usize,
    ) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(tcp) => poll_write_from(tcp, cx, octets),
            Stream::Tls(tls) => tls.poll_send_parts(cx, octets, part_len),
        }
    }

    /// Tells the peer that nothing more comes, when all is sent. `Ready` once it is told.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(tcp) => Poll::Ready(tcp.shutdown_write()),
            Stream::Tls(tls) => tls.poll_shutdown(cx),
        }
    }

    /// The protocol that was agreed on (ALPN, RFC 7301).
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => tls.common().alpn_protocol(),
        }
    }
}

/// Writes from the front of `octets` what the kernel takes.
pub(super) fn poll_write_from(
    tcp: &mut TcpStream,
    cx: &mut Context<'_>,
    octets: &mut Vec<u8>,
) -> Poll<io::Result<()>> {
    let mut sent = 0;
    let outcome = loop {
        let Some(rest) = octets.get(sent..).filter(|rest| !rest.is_empty()) else {
            break Poll::Ready(Ok(()));
        };
        match tcp.poll_write(cx, rest) {
            Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(count)) => sent += count,
            Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
            Poll::Pending => break Poll::Pending,
        }
    };
    octets.drain(..sent);
    outcome
}

/// Lends the buffer of this thread that sockets are read into.
pub(super) fn with_chunk<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    CHUNK.with_borrow_mut(|chunk| work(&mut chunk[..]))
}

/// Octets read at once: several queries of a pipelining client, or a whole TLS record.
const CHUNK_OCTETS: usize = 16 * 1024 + 512;

thread_local! {
    /// Octets just read, on their way to a connection.
    static CHUNK: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK_OCTETS].into_boxed_slice());
}
