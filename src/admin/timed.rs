//! A stream whose reads and writes fail when they take too long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// A read fails after `timeout` without any octet moving; a write fails `timeout` after the last read, so a
/// client that takes its answer in drops is not served for ever.
pub(super) struct Timed {
    stream: TcpStream,
    timeout: Duration,
    last_move: Instant,
    last_read: Instant,
    read_timer: Pin<Box<Sleep>>,
    write_timer: Pin<Box<Sleep>>,
}

impl Timed {
    pub(super) fn new(stream: TcpStream, timeout: Duration) -> Timed {
        let now = Instant::now();
        Timed {
            stream,
            timeout,
            last_move: now,
            last_read: now,
            read_timer: Box::pin(sleep_until(now + timeout)),
            write_timer: Box::pin(sleep_until(now + timeout)),
        }
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Poll::Ready(result) = Pin::new(&mut this.stream).poll_read(cx, buf) {
            this.last_read = Instant::now();
            this.last_move = this.last_read;
            return Poll::Ready(result);
        }
        ready!(expire(
            &mut this.read_timer,
            this.last_move + this.timeout,
            cx
        ));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Poll::Ready(result) = Pin::new(&mut this.stream).poll_write(cx, buf) {
            this.last_move = Instant::now();
            return Poll::Ready(result);
        }
        ready!(expire(
            &mut this.write_timer,
            this.last_read + this.timeout,
            cx
        ));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn expire(timer: &mut Pin<Box<Sleep>>, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
    if timer.deadline() != deadline {
        timer.as_mut().reset(deadline);
    }
    timer.as_mut().poll(cx)
}
