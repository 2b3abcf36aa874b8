//! Messages over a stream: a length of two octets, then so many octets (RFC 1035 section 4.2.2).

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::net::TcpListener;
use std::sync::Arc;

use crate::limits::MESSAGE_OCTETS;

/// A listening socket that outlives the configurations that use it.
pub type Shared = Arc<TcpListener>;

/// Collects octets and hands out whole messages.
#[derive(Default)]
pub struct Frames {
    buffer: Vec<u8>,
    /// Octets before this were handed out.
    taken: usize,
}

impl Frames {
    /// Adds received octets. The caller takes every whole message before it adds more, so at most one incomplete one is kept.
    pub fn extend(&mut self, octets: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(octets);
    }

    /// The next whole message.
    pub fn next_message(&mut self) -> Option<&[u8]> {
        if self.taken == self.buffer.len() {
            // A connection may now be idle for long, and thousands may be.
            (self.buffer, self.taken) = (Vec::new(), 0);
            return None;
        }
        let rest = &self.buffer[self.taken..];
        let len = u16::from_be_bytes(*rest.first_chunk::<2>()?) as usize;
        let message = rest.get(2..2 + len)?;
        self.taken += 2 + len;
        Some(message)
    }
}

/// Appends a framed reply. A reply is at most `limits::MESSAGE_OCTETS` long.
pub fn push_frame(out: &mut Vec<u8>, reply: &[u8]) {
    let reply = &reply[..reply.len().min(MESSAGE_OCTETS)];
    out.extend_from_slice(&(reply.len() as u16).to_be_bytes());
    out.extend_from_slice(reply);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_however_the_octets_arrive() {
        let mut stream = Vec::new();
        for message in [&b"one"[..], b"", b"three"] {
            push_frame(&mut stream, message);
        }
        for step in 1..stream.len() {
            let (mut frames, mut got) = (Frames::default(), Vec::new());
            for chunk in stream.chunks(step) {
                frames.extend(chunk);
                while let Some(message) = frames.next_message() {
                    got.push(message.to_vec());
                }
            }
            assert_eq!(got, [&b"one"[..], b"", b"three"], "{step}");
        }
    }
}
