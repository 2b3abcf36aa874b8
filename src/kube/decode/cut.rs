//! Cutting the body of a response into messages while it arrives. Of what has not been cut yet no more than one message is held.

use super::proto::{self, FIXED32, FIXED64, Malformed, OCTETS, VARINT};
use super::protobuf::MAGIC;
use crate::limits;

/// A piece of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// The metadata of a list.
    Meta(&'a [u8]),
    /// An item of a list, or an event of a watch.
    Message(&'a [u8]),
    /// One that was too large to hold, and is gone.
    Large,
}

/// Takes octets as they come and gives pieces.
pub(super) trait Cut: Send {
    /// The next octets.
    ///
    /// # Errors
    /// The body is not what it should be; nothing that follows could be cut.
    fn feed(&mut self, octets: &[u8], each: &mut dyn FnMut(Piece<'_>)) -> Result<(), Malformed>;

    /// True where the body may end.
    fn is_whole(&self) -> bool;
}

/// Octets that are waiting for the rest of their message.
#[derive(Default)]
struct Held {
    octets: Vec<u8>,
    /// How much of what comes is to be passed over.
    skip: u64,
}

/// What one look at held octets came to.
enum Step {
    /// That many octets are done with.
    Done(usize),
    /// That many octets are done with, and that many more are to be passed over, whether they are there or not.
    Skip(usize, u64),
    /// More is needed.
    Wait,
}

impl Held {
    fn feed(
        &mut self,
        octets: &[u8],
        mut look: impl FnMut(&[u8]) -> Result<Step, Malformed>,
    ) -> Result<(), Malformed> {
        self.octets.extend_from_slice(octets);
        let mut at = 0;
        loop {
            let there = self.octets.len() - at;
            if self.skip > 0 {
                let passed = usize::try_from(self.skip).unwrap_or(there).min(there);
                self.skip -= passed as u64;
                at += passed;
                if self.skip > 0 {
                    break;
                }
            }
            match look(&self.octets[at..])? {
                Step::Done(len) => at += len,
                Step::Skip(len, more) => {
                    at += len;
                    self.skip = more;
                }
                Step::Wait => break,
            }
        }
        self.octets.drain(..at);
        // One large message must not be paid for until the body ends.
        if self.octets.capacity() > KEPT_OCTETS && self.octets.len() < KEPT_OCTETS / 2 {
            self.octets.shrink_to(KEPT_OCTETS);
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.octets.is_empty() && self.skip == 0
    }
}

// === protobuf ===

/// A list: `k8s\0`, then `runtime.Unknown`, whose field 2 is the list message, whose fields are metadata (1) and items (2).
#[derive(Default)]
pub(super) struct ProtobufList {
    held: Held,
    place: Place,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Place {
    #[default]
    Start,
    /// Between fields of `Unknown`.
    Wrapper,
    /// Between fields of the list, of which so many octets are left.
    List(u64),
}

impl Cut for ProtobufList {
    fn feed(&mut self, octets: &[u8], each: &mut dyn FnMut(Piece<'_>)) -> Result<(), Malformed> {
        let place = &mut self.place;
        self.held.feed(octets, |octets| match *place {
            Place::Start => start(octets, place),
            Place::Wrapper => wrapper_field(octets, place),
            Place::List(0) => {
                *place = Place::Wrapper;
                Ok(Step::Done(0))
            }
            Place::List(left) => list_field(octets, left, place, each),
        })
    }

    fn is_whole(&self) -> bool {
        self.held.is_empty() && self.place == Place::Wrapper
    }
}

fn start(octets: &[u8], place: &mut Place) -> Result<Step, Malformed> {
    let Some(found) = octets.get(..MAGIC.len()) else {
        return Ok(Step::Wait);
    };
    if found != MAGIC {
        return Err(Malformed);
    }
    *place = Place::Wrapper;
    Ok(Step::Done(MAGIC.len()))
}

fn wrapper_field(octets: &[u8], place: &mut Place) -> Result<Step, Malformed> {
    let Some((head, number, kind, len)) = field_head(octets)? else {
        return Ok(Step::Wait);
    };
    if (number, kind) == (2, OCTETS) {
        *place = Place::List(len);
        return Ok(Step::Done(head));
    }
    Ok(Step::Skip(head, len))
}

fn list_field(
    octets: &[u8],
    left: u64,
    place: &mut Place,
    each: &mut dyn FnMut(Piece<'_>),
) -> Result<Step, Malformed> {
    let Some((head, number, kind, len)) = field_head(octets)? else {
        return Ok(Step::Wait);
    };
    let whole = len.checked_add(head as u64).ok_or(Malformed)?;
    let rest = left.checked_sub(whole).ok_or(Malformed)?;
    if kind != OCTETS || !matches!(number, 1 | 2) {
        *place = Place::List(rest);
        return Ok(Step::Skip(head, len));
    }
    if len > limits::KUBE_OBJECT_OCTETS as u64 {
        each(Piece::Large);
        *place = Place::List(rest);
        return Ok(Step::Skip(head, len));
    }
    // The bound above fits an usize.
    let Some(message) = octets.get(head..head + len as usize) else {
        return Ok(Step::Wait);
    };
    each(match number {
        1 => Piece::Meta(message),
        _ => Piece::Message(message),
    });
    *place = Place::List(rest);
    Ok(Step::Done(head + len as usize))
}

/// Octets of a field before what it holds, its number and kind, and how many octets it holds.
fn field_head(octets: &[u8]) -> Result<Option<(usize, u64, u8, u64)>, Malformed> {
    let Some((varint, key_len)) = proto::varint(octets)? else {
        return Ok(None);
    };
    let (number, kind) = proto::key(varint)?;
    let len = match kind {
        FIXED32 => 4,
        FIXED64 => 8,
        VARINT | OCTETS => {
            let Some((value, value_len)) = proto::varint(&octets[key_len..])? else {
                return Ok(None);
            };
            let len = if kind == OCTETS { value } else { 0 };
            return Ok(Some((key_len + value_len, number, kind, len)));
        }
        _ => return Err(Malformed),
    };
    Ok(Some((key_len, number, kind, len)))
}

/// A watch: four octets of length before each event.
#[derive(Default)]
pub(super) struct ProtobufFrames(Held);

impl Cut for ProtobufFrames {
    fn feed(&mut self, octets: &[u8], each: &mut dyn FnMut(Piece<'_>)) -> Result<(), Malformed> {
        self.0.feed(octets, |octets| {
            let Some((len, rest)) = octets.split_first_chunk() else {
                return Ok(Step::Wait);
            };
            let len = u32::from_be_bytes(*len) as usize;
            if len > limits::KUBE_OBJECT_OCTETS {
                each(Piece::Large);
                return Ok(Step::Skip(4, len as u64));
            }
            let Some(frame) = rest.get(..len) else {
                return Ok(Step::Wait);
            };
            each(Piece::Message(frame));
            Ok(Step::Done(4 + len))
        })
    }

    fn is_whole(&self) -> bool {
        self.0.is_empty()
    }
}

/// Octets that a cutter may hold for longer than one message.
const KEPT_OCTETS: usize = 256 << 10;
