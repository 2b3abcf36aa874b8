//! The streams of one way that the other end of HTTP/3 opens: its control stream, and those of QPACK (RFC 9114 section 6.2).

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::collections::BTreeMap;

use quinn_proto::StreamId;

use super::{code, frame_type, qpack, varint};
use crate::limits::H3_CONTROL_OCTETS;

/// What is known of the other end's streams of one way.
pub(crate) struct Peer {
    end: End,
    /// By stream: no more than `limits::H3_SIDE_STREAMS`, which the transport sees to.
    streams: BTreeMap<StreamId, Stream>,
    /// Which of the three kinds there have been.
    seen: [bool; 3],
    goaway: Option<u64>,
}

/// Which of the two the other end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Server,
}

/// Whether a stream is of a kind that we know; one that is not may be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Known,
    Unknown,
}

type Broken = (u32, &'static str);

#[derive(Default)]
struct Stream {
    kind: Option<Kind>,
    /// What has come of a frame or an instruction that is not whole.
    rest: Vec<u8>,
    /// Octets to come of a frame that is ignored.
    skip: u64,
    has_settings: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Control,
    Encoder,
    Decoder,
    Other,
}

impl Peer {
    /// Nothing is known yet.
    pub(crate) fn new(end: End) -> Peer {
        Peer {
            end,
            streams: BTreeMap::new(),
            seen: [false; 3],
            goaway: None,
        }
    }

    /// The number that its last GOAWAY had: of a server, of the first request that it does not look at (section 5.2).
    pub(crate) fn goaway(&self) -> Option<u64> {
        self.goaway
    }

    /// Takes what has come on a stream.
    ///
    /// # Errors
    /// It breaks the protocol: the connection ends with that code and reason.
    pub(crate) fn take(
        &mut self,
        id: StreamId,
        octets: &[u8],
        is_over: bool,
    ) -> Result<Side, Broken> {
        if is_over && octets.is_empty() && !self.streams.contains_key(&id) {
            // One that was stopped.
            return Ok(Side::Known);
        }
        let stream = self.streams.entry(id).or_default();
        if stream.kind != Some(Kind::Other) {
            stream.rest.extend(octets);
        }
        let kind = match stream.kind {
            Some(kind) => kind,
            None => {
                let mut rest = &stream.rest[..];
                let Some(number) = varint(&mut rest) else {
                    if is_over {
                        self.streams.remove(&id);
                    }
                    return Ok(Side::Known);
                };
                let len = stream.rest.len() - rest.len();
                stream.rest.drain(..len);
                let kind = Kind::of(number, self.end)?;
                if let Some(seen) = self.seen.get_mut(kind as usize)
                    && std::mem::replace(seen, true)
                {
                    return Err((code::STREAM_CREATION_ERROR, "a second stream of its kind"));
                }
                *stream.kind.insert(kind)
            }
        };
        match kind {
            Kind::Control => stream.control(self.end, &mut self.goaway)?,
            Kind::Encoder => stream.encoder()?,
            Kind::Decoder => stream.decoder()?,
            Kind::Other => {
                self.streams.remove(&id);
                return Ok(Side::Unknown);
            }
        }
        match is_over {
            true => Err((code::CLOSED_CRITICAL_STREAM, "a critical stream has ended")),
            false => Ok(Side::Known),
        }
    }

    /// Octets that are kept until more come.
    pub(crate) fn kept(&self) -> usize {
        self.streams.values().map(|stream| stream.rest.len()).sum()
    }
}

impl Kind {
    fn of(number: u64, end: End) -> Result<Kind, Broken> {
        match number {
            0 => Ok(Kind::Control),
            1 if end == End::Client => Err((code::STREAM_CREATION_ERROR, "clients do not push")),
            // We allow none (section 4.6).
            1 => Err((code::ID_ERROR, "a push that was not allowed")),
            2 => Ok(Kind::Encoder),
            3 => Ok(Kind::Decoder),
            _ => Ok(Kind::Other),
        }
    }
}

impl Stream {
    fn control(&mut self, end: End, goaway: &mut Option<u64>) -> Result<(), Broken> {
        let mut at = 0;
        loop {
            let skipped = usize::try_from(self.skip)
                .unwrap_or(usize::MAX)
                .min(self.rest.len() - at);
            at += skipped;
            self.skip -= skipped as u64;
            let mut rest = &self.rest[at..];
            let (Some(kind), Some(len)) = (varint(&mut rest), varint(&mut rest)) else {
                break;
            };
            let known = matches!(
                kind,
                frame_type::SETTINGS
                    | frame_type::GOAWAY
                    | frame_type::MAX_PUSH_ID
                    | frame_type::CANCEL_PUSH
            );
            if (kind == frame_type::SETTINGS) == self.has_settings {
                return Err(match self.has_settings {
                    true => (code::FRAME_UNEXPECTED, "settings come once"),
                    false => (code::MISSING_SETTINGS, "settings come first"),
                });
            }
            if !known {
                if frame_type::is_misplaced(kind) {
                    return Err((
                        code::FRAME_UNEXPECTED,
                        "a frame that has no place on the control stream",
                    ));
                }
                at = self.rest.len() - rest.len();
                self.skip = len;
                continue;
            }
            if len > H3_CONTROL_OCTETS as u64 {
                return Err((code::EXCESSIVE_LOAD, "a long frame on the control stream"));
            }
            let Some(payload) = rest.get(..len as usize) else {
                break;
            };
            if kind == frame_type::SETTINGS {
                settings(payload)?;
                self.has_settings = true;
            } else {
                let mut rest = payload;
                let number = varint(&mut rest).filter(|_| rest.is_empty());
                let number = number.ok_or((code::FRAME_ERROR, "a frame that is no number"))?;
                match (kind, end) {
                    (frame_type::GOAWAY, _) if goaway.is_some_and(|before| before < number) => {
                        return Err((code::ID_ERROR, "a GOAWAY that takes another back"));
                    }
                    (frame_type::GOAWAY, _) => *goaway = Some(number),
                    (frame_type::MAX_PUSH_ID, End::Server) => {
                        return Err((code::FRAME_UNEXPECTED, "servers are not pushed to"));
                    }
                    // No push was promised, so none is to be cancelled (section 7.2.3).
                    (frame_type::CANCEL_PUSH, End::Server) => {
                        return Err((code::ID_ERROR, "a push that was not allowed"));
                    }
                    _ => {}
                }
            }
            at = self.rest.len() - rest.len() + payload.len();
        }
        self.rest.drain(..at);
        Ok(())
    }

    /// There is no dynamic table, so all that an encoder may say is that it has a capacity of 0 (RFC 9204 section 4.3.1).
    fn encoder(&mut self) -> Result<(), Broken> {
        match self.rest.iter().all(|&octet| octet == 0x20) {
            true => self.rest.clear(),
            false => {
                return Err((
                    code::QPACK_ENCODER_STREAM_ERROR,
                    "there is no dynamic table",
                ));
            }
        }
        Ok(())
    }

    /// We refer to no dynamic table, so all that a decoder may say is that it gave a stream up (RFC 9204 section 4.4.2).
    fn decoder(&mut self) -> Result<(), Broken> {
        let mut rest = &self.rest[..];
        while let Some(&first) = rest.first() {
            if first & 0xc0 != 0x40 {
                return Err((
                    code::QPACK_DECODER_STREAM_ERROR,
                    "there is no dynamic table",
                ));
            }
            let before = rest;
            if qpack::integer(&mut rest, 6).is_none() {
                if before.len() > INTEGER_OCTETS {
                    return Err((
                        code::QPACK_DECODER_STREAM_ERROR,
                        "a number that is too large",
                    ));
                }
                break;
            }
        }
        let len = self.rest.len() - rest.len();
        self.rest.drain(..len);
        Ok(())
    }
}

fn settings(mut payload: &[u8]) -> Result<(), Broken> {
    while !payload.is_empty() {
        let (Some(name), Some(_)) = (varint(&mut payload), varint(&mut payload)) else {
            return Err((code::FRAME_ERROR, "settings that are cut"));
        };
        // Those of HTTP/2 that have no meaning here (section 7.2.4.1).
        if matches!(name, 2..=5) {
            return Err((code::SETTINGS_ERROR, "a setting of HTTP/2"));
        }
    }
    Ok(())
}

/// Octets of the longest integer that can be read.
const INTEGER_OCTETS: usize = 6;
