//! A [`Stream`] as HTTP libraries want it, of a client or of a server: tokio's traits for h2, hyper's for HTTP/1.1, without a runtime of
//! either.
//!
//! The connection's task drives the library and this in turns. In one turn at most so many octets are read, and what the library writes
//! is gathered, so that the socket is written once at its end.

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
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustls::server::UnbufferedServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::h2_authority::Authorities;
use super::stream::Stream;
use super::tls::Side;
use crate::limits;

/// One connection, held by the library and by the task that drives it.
pub struct HttpIo<S = UnbufferedServerConnection>(Rc<RefCell<Inner<S>>>);

struct Inner<S> {
    stream: Stream<S>,
    part_len: fn(&[u8]) -> usize,
    /// Octets from `at` on came with others that were read: at most what one read gives.
    received: Vec<u8>,
    at: usize,
    /// What is to be written: below `limits::HTTP_GATHERED_OCTETS` before the last piece is added.
    unsent: Vec<u8>,
    /// Reads that are left in this turn.
    reads_left: usize,
    /// There is nothing to read, and its task will be woken when there is: the socket need not be asked again in this turn.
    is_dry: bool,
    /// The peer sends no more.
    is_ended: bool,
    /// We have said that nothing more comes.
    is_shut: bool,
    /// Octets received since [`HttpIo::heard`].
    quiet: usize,
    /// See [`HttpIo::mend_authorities`].
    authorities: Option<Authorities>,
}

impl<S> Clone for HttpIo<S> {
    fn clone(&self) -> HttpIo<S> {
        HttpIo(Rc::clone(&self.0))
    }
}

impl<S: Side> HttpIo<S> {
    /// Takes a connection over. `part_len` says how long the first part of some octets is that gets a TLS record of its own: [`reply_len`]
    /// for servers, all of them for clients.
    pub fn new(stream: Stream<S>, part_len: fn(&[u8]) -> usize) -> HttpIo<S> {
        HttpIo(Rc::new(RefCell::new(Inner {
            stream,
            part_len,
            received: Vec::new(),
            at: 0,
            unsent: Vec::new(),
            reads_left: 0,
            is_dry: false,
            is_ended: false,
            is_shut: false,
            quiet: 0,
            authorities: None,
        })))
    }

    /// Lets h2 take requests to an IPv6 address that stands without brackets. Called before h2 reads anything.
    pub fn mend_authorities(&self) {
        self.0.borrow_mut().authorities = Some(Authorities::default());
    }

    /// Begins a turn of the connection's task.
    pub fn begin_turn(&self) {
        let mut inner = self.0.borrow_mut();
        (inner.reads_left, inner.is_dry) = (limits::HTTP_READS_IN_A_ROW, false);
    }

    /// Writes what was gathered; `Ready` when the kernel has all.
    pub fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_send(cx)
    }

    /// Whether the peer sends no more, and all that it sent was taken.
    pub fn is_ended(&self) -> bool {
        let inner = self.0.borrow();
        inner.is_ended && inner.received.is_empty()
    }

    /// The peer has sent something of use.
    pub fn heard(&self) {
        self.0.borrow_mut().quiet = 0;
    }

    /// Whether so much came without anything of use that the peer wants nothing but work done.
    pub fn is_flooded(&self) -> bool {
        self.0.borrow().quiet > limits::HTTP_IDLE_OCTETS
    }

    /// Tells the peer that nothing more comes, then takes and forgets what it still sends, until it ends or has sent more than anybody
    /// would. Were the connection closed with octets in it, the kernel would reset it, and the peer might lose what we said last.
    pub fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.0.borrow_mut();
        if !inner.is_shut {
            // The peer may be gone already; then there is nothing to end.
            let _ = ready!(inner.stream.poll_shutdown(cx));
            inner.is_shut = true;
        }
        let mut rest = limits::HTTP_DRAINED_OCTETS;
        while !inner.is_ended && rest > 0 {
            match ready!(inner.stream.poll_recv(cx, &mut |_| {})) {
                Ok(count @ 1..) => rest = rest.saturating_sub(count),
                _ => break,
            }
        }
        Poll::Ready(())
    }

    /// Whether what comes first begins as `start` does, once that is known; nothing is taken. `None`: the peer sends no more.
    pub fn poll_begins_with(
        &self,
        cx: &mut Context<'_>,
        start: &[u8],
    ) -> Poll<io::Result<Option<bool>>> {
        let mut inner = self.0.borrow_mut();
        loop {
            let seen = inner.received.len().min(start.len());
            if inner.received[..seen] != start[..seen] {
                return Poll::Ready(Ok(Some(false)));
            }
            if seen == start.len() {
                return Poll::Ready(Ok(Some(true)));
            }
            let Inner {
                stream, received, ..
            } = &mut *inner;
            let mut keep = |octets: &[u8]| received.extend_from_slice(octets);
            if ready!(stream.poll_recv(cx, &mut keep))? == 0 {
                return Poll::Ready(Ok(None));
            }
        }
    }
}

impl<S: Side> Inner<S> {
    /// Hands at most `room` octets to `put`. At the end of the stream it is pending, since replies may still be on their way: the
    /// connection's task sees the end by [`Io::is_ended`].
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
        mut put: impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        if !self.received.is_empty() {
            let end = self.received.len().min(self.at + room);
            put(&self.received[self.at..end]);
            self.at = end;
            if end == self.received.len() {
                // An idle connection holds no buffer.
                (self.received, self.at) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        let mut left = room;
        while !self.is_dry && !self.is_ended && left == room {
            if self.reads_left == 0 {
                self.is_dry = true;
                cx.waker().wake_by_ref();
                break;
            }
            self.reads_left -= 1;
            let received = &mut self.received;
            let mut sink = |octets: &[u8]| {
                let (now, later) = octets.split_at(octets.len().min(left));
                put(now);
                left -= now.len();
                received.extend_from_slice(later);
            };
            match self.stream.poll_recv(cx, &mut sink) {
                Poll::Ready(Ok(0)) => self.is_ended = true,
                Poll::Ready(Ok(count)) => self.quiet += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => self.is_dry = true,
            }
        }
        if left < room {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    fn poll_put(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        if self.unsent.len() >= limits::HTTP_GATHERED_OCTETS {
            ready!(self.poll_send(cx))?;
        }
        if self.unsent.capacity() == 0 {
            self.unsent = SPARE.take();
        }
        self.unsent.extend_from_slice(octets);
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = self
            .stream
            .poll_send_parts(cx, &mut self.unsent, self.part_len);
        if self.unsent.is_empty() && self.unsent.capacity() > 0 {
            let room = std::mem::take(&mut self.unsent);
            if room.capacity() <= 2 * limits::HTTP_GATHERED_OCTETS {
                SPARE.set(room);
            }
        }
        outcome
    }
}

/// Octets up to the end of the first HTTP/2 reply: its last frame says that its stream ends (RFC 9113 section 6.1). Each reply gets a TLS
/// record of its own, since clients such as dnsperf 2.10 take one reply from all that they read at once. What is no frame, as in HTTP/1.1,
/// is cut anywhere or not at all, which nobody notices.
pub fn reply_len(octets: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&[a, b, c, kind, flags, ..]) = octets
        .get(at..)
        .and_then(|rest| rest.first_chunk::<FRAME_HEADER>())
    {
        at += FRAME_HEADER + u32::from_be_bytes([0, a, b, c]) as usize;
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            return at;
        }
    }
    octets.len()
}

const FRAME_HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;

// === impl tokio's traits for HttpIo ===

impl<S: Side> AsyncRead for HttpIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (room, before) = (buffer.remaining(), buffer.filled().len());
        let mut inner = self.0.borrow_mut();
        let taken = inner.poll_take(cx, room, |octets| buffer.put_slice(octets));
        if let Some(authorities) = &mut inner.authorities {
            authorities.mend(&mut buffer.filled_mut()[before..]);
        }
        taken
    }
}

impl<S: Side> AsyncWrite for HttpIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_put(cx, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // At the end of the turn.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // By the connection's task, after all is sent.
        Poll::Ready(Ok(()))
    }
}

// === impl hyper's traits for HttpIo ===

impl<S: Side> hyper::rt::Read for HttpIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.remaining();
        self.0
            .borrow_mut()
            .poll_take(cx, room, |octets| buffer.put_slice(octets))
    }
}

impl<S: Side> hyper::rt::Write for HttpIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(self, cx, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(self, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(self, cx)
    }
}

thread_local! {
    /// A buffer for what is to be written that nobody uses now.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
