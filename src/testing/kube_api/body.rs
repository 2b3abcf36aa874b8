//! Bodies that are sent while they are made, and what goes wrong with them.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::mpsc;

use super::script::{Fault, Trouble};

/// The body of an answer.
pub(super) enum Payload {
    /// All at once.
    Whole(Option<Bytes>),
    /// As it comes.
    Stream(mpsc::Receiver<Result<Bytes, Broken>>),
}

/// The script breaks the connection.
#[derive(Debug)]
pub(super) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken as the test wants it")
    }
}

impl std::error::Error for Broken {}

impl Body for Payload {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Payload::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Payload::Stream(receiver) => {
                let next = ready!(receiver.poll_recv(cx));
                Poll::Ready(next.map(|bytes| bytes.map(Frame::data)))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Payload::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Payload::Stream(_) => SizeHint::default(),
        }
    }
}

/// Where a body is written.
pub(super) struct Out {
    sender: mpsc::Sender<Result<Bytes, Broken>>,
    trouble: Option<Trouble>,
    sent: usize,
}

/// There is nobody to write to any more, or the script ends the body here.
#[derive(Debug)]
pub(super) struct Gone;

impl Out {
    /// Both ends of a body.
    pub(super) fn new(trouble: Option<Trouble>) -> (Out, Payload) {
        // One chunk is on its way while the next one is made.
        let (sender, receiver) = mpsc::channel(1);
        let out = Out {
            sender,
            trouble,
            sent: 0,
        };
        (out, Payload::Stream(receiver))
    }

    /// Writes some octets, or what the script makes of them.
    pub(super) async fn write(&mut self, octets: Vec<u8>) -> Result<(), Gone> {
        if octets.is_empty() {
            return Ok(());
        }
        let Some(trouble) = self.trouble.as_ref() else {
            return self.send(Ok(Bytes::from(octets))).await;
        };
        let (fault, left) = (trouble.fault, trouble.after.saturating_sub(self.sent));
        if octets.len() <= left {
            return self.send(Ok(Bytes::from(octets))).await;
        }
        let bytes = Bytes::from(octets);
        if left > 0 {
            self.send(Ok(bytes.slice(..left))).await?;
        }
        let rest = bytes.slice(left..);
        match fault {
            Fault::Break => {
                self.send(Err(Broken)).await?;
                Err(Gone)
            }
            Fault::End => Err(Gone),
            Fault::Garbage => {
                self.send(Ok(garbage())).await?;
                Err(Gone)
            }
            Fault::Stall => {
                self.sender.closed().await;
                Err(Gone)
            }
            Fault::Slow(octets_per_s) => self.drip(rest, octets_per_s).await,
        }
    }

    /// Ends when nobody reads any more.
    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }

    async fn drip(&mut self, mut rest: Bytes, octets_per_s: usize) -> Result<(), Gone> {
        // Twenty times a second, so that the stream flows.
        let step = (octets_per_s / 20).max(1);
        while !rest.is_empty() {
            let piece = rest.split_to(step.min(rest.len()));
            self.send(Ok(piece)).await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn send(&mut self, bytes: Result<Bytes, Broken>) -> Result<(), Gone> {
        self.sent += bytes.as_ref().map_or(0, Bytes::len);
        self.sender.send(bytes).await.map_err(|_| Gone)
    }
}

/// Octets without meaning in any encoding, always the same ones.
fn garbage() -> Bytes {
    let mut state = 0x9e37_79b9_u32;
    let octets = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8 | 0x80
    });
    octets.take(256).collect::<Vec<u8>>().into()
}
