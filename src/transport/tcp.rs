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
    /// The start of a message that is not whole yet, or messages that were not taken.
    partial: Vec<u8>,
    /// There is a whole message that was not taken.
    is_stopped: bool,
}

impl Frames {
    /// Whether a message was not taken.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Adds received octets and hands every whole message to `each`, in order, until it takes one no more (`false`).
    pub fn take(&mut self, octets: &[u8], mut each: impl FnMut(&[u8]) -> bool) {
        let mut is_stopped = false;
        let mut each = |message: &[u8]| {
            is_stopped = !each(message);
            !is_stopped
        };
        self.split(octets, &mut each);
        self.is_stopped = is_stopped;
    }

    fn split(&mut self, octets: &[u8], each: &mut impl FnMut(&[u8]) -> bool) {
        if self.partial.is_empty() {
            let rest = split_off(octets, each);
            self.partial.extend_from_slice(rest);
            return;
        }
        // A connection may be idle for long after this, and thousands may be: no buffer stays behind.
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(octets);
        let left = split_off(&joined, each).len();
        if left > 0 {
            joined.drain(..joined.len() - left);
            self.partial = joined;
        }
    }
}

/// Hands out the whole messages at the front; what is left is the start of one, or was not taken.
fn split_off<'a>(mut octets: &'a [u8], each: &mut impl FnMut(&[u8]) -> bool) -> &'a [u8] {
    while let Some((len, rest)) = octets.split_first_chunk::<2>() {
        let Some((message, rest)) = rest.split_at_checked(u16::from_be_bytes(*len).into()) else {
            break;
        };
        if !each(message) {
            break;
        }
        octets = rest;
    }
    octets
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
                frames.take(chunk, |message| {
                    got.push(message.to_vec());
                    true
                });
            }
            assert_eq!(got, [&b"one"[..], b"", b"three"], "{step}");
        }
    }

    #[test]
    fn what_is_not_taken_comes_again() {
        let mut stream = Vec::new();
        for message in [&b"one"[..], b"two", b"three"] {
            push_frame(&mut stream, message);
        }
        let (mut frames, mut got) = (Frames::default(), Vec::new());
        for octets in [&stream[..12], &[], &stream[12..]] {
            let before = got.len();
            frames.take(octets, |message| {
                let has_room = got.len() == before;
                if has_room {
                    got.push(message.to_vec());
                }
                has_room
            });
            assert_eq!(frames.is_stopped(), before == 0);
        }
        assert_eq!(got, [&b"one"[..], b"two", b"three"]);
    }
}
