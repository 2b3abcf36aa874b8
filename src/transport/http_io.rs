//! Our connections as crates that speak HTTP want them: the traits of tokio, of which nothing else is used.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::{poll_write_from, with_chunk};
use super::tls::{Side, TlsStream};
use crate::limits;
use crate::runtime::TcpStream;

/// A connection that hands out octets when they come, so that it holds no buffer while it is idle.
pub trait Octets {
    /// Receives what there is and hands it to `sink`; returns how many octets came, 0 at the end of the stream.
    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<usize>>;

    /// Sends octets after what is left of earlier ones; what the connection has taken over is removed. `Ready` when the kernel has all.
    fn poll_send(&mut self, cx: &mut Context<'_>, octets: &mut Vec<u8>) -> Poll<io::Result<()>>;

    /// Tells the peer that nothing more comes, when all is sent. `Ready` once it is told.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Octets for TcpStream {
    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        with_chunk(|chunk| {
            let count = ready!(self.poll_read(cx, chunk))?;
            sink(&chunk[..count]);
            Poll::Ready(Ok(count))
        })
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, octets: &mut Vec<u8>) -> Poll<io::Result<()>> {
        poll_write_from(self, cx, octets)
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown_write())
    }
}

impl<S: Side> Octets for TlsStream<S> {
    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        TlsStream::poll_recv(self, cx, sink)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, octets: &mut Vec<u8>) -> Poll<io::Result<()>> {
        TlsStream::poll_send(self, cx, octets)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        TlsStream::poll_shutdown(self, cx)
    }
}

/// A connection behind tokio's traits.
pub struct HttpIo<S> {
    stream: S,
    /// Octets that came and did not fit what was to be read into: at most what one read of the socket brings.
    received: Vec<u8>,
    /// Octets that the connection has not taken over: at most `limits::TLS_RECORD_OCTETS`.
    unsent: Vec<u8>,
}

impl<S: Octets> HttpIo<S> {
    /// Takes a connection over.
    pub fn new(stream: S) -> HttpIo<S> {
        HttpIo {
            stream,
            received: Vec::new(),
            unsent: Vec::new(),
        }
    }
}

impl<S: Octets + Unpin> AsyncRead for HttpIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let HttpIo {
            stream, received, ..
        } = self.get_mut();
        if received.is_empty() {
            let before = into.filled().len();
            loop {
                let count = ready!(stream.poll_recv(cx, &mut |octets| {
                    let fits = match received.is_empty() {
                        true => octets.len().min(into.remaining()),
                        false => 0,
                    };
                    into.put_slice(&octets[..fits]);
                    received.extend_from_slice(&octets[fits..]);
                }))?;
                // Records that hold nothing for us are not the end of the stream.
                if count == 0 || into.filled().len() > before || !received.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let fits = received.len().min(into.remaining());
        into.put_slice(&received[..fits]);
        if fits == received.len() {
            // An idle connection holds no buffer.
            *received = Vec::new();
        } else {
            received.drain(..fits);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Octets + Unpin> AsyncWrite for HttpIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let HttpIo { stream, unsent, .. } = self.get_mut();
        // What was taken before goes out first, so that a peer that does not read stops us.
        ready!(stream.poll_send(cx, unsent))?;
        let taken = octets.len().min(limits::TLS_RECORD_OCTETS);
        unsent.extend_from_slice(&octets[..taken]);
        match stream.poll_send(cx, unsent) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let HttpIo { stream, unsent, .. } = self.get_mut();
        ready!(stream.poll_send(cx, unsent))?;
        *unsent = Vec::new();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let HttpIo { stream, unsent, .. } = self.get_mut();
        ready!(stream.poll_send(cx, unsent))?;
        stream.poll_shutdown(cx)
    }
}
