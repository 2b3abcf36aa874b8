//! From the body of a response to objects, while it arrives: one object is in memory at a time, however long the list is.
//!
//! ```text
//! octets -> Cut (message by message) -> raw (what a message says) -> accept (what may be believed) -> record::Object
//! ```
//! There are two encodings and two shapes, lists and watches. An object that cannot be believed is skipped and counted ([`Refusals`]), and
//! what was known of it before is not true any more: a list does not name it, and from a watch it comes as removed, if it has a name.
//! A body that cannot be cut is an error, since nothing after it could be found.

mod accept;
mod cut;
mod cut_json;
mod json;
mod proto;
mod protobuf;
mod raw;
mod refusals;
#[cfg(test)]
mod tests;
mod time;

use std::fmt;

use super::record::{Kind, Object};
use accept::{Accepted, Refused, Seen};
use cut::{Cut, Piece, ProtobufFrames, ProtobufList};
use cut_json::JsonCut;

pub(super) use accept::{is_host, is_label_value};
pub(super) use refusals::Refusals;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// All objects, or a page of them.
    List,
    /// Events, one after the other.
    Watch,
}

/// What was decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// An object is there.
    Put(&'a Object),
    /// An object is gone, or cannot be believed any more; only what identifies it is filled in.
    Remove(&'a Object),
    /// Nothing but a newer version.
    Bookmark {
        /// All objects that were there when the watch began have been sent.
        ends_list: bool,
    },
    /// The server gives up this watch.
    Failed(Failure),
}

/// What a server says went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Failure {
    /// An HTTP status.
    pub(super) code: u16,
    /// For people.
    pub(super) message: String,
    /// `details.retryAfterSeconds`, 0 where there is none.
    pub(super) retry_after_s: u64,
}

/// A body that cannot be decoded any further.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the response is malformed or cut off")
    }
}

/// Decodes one body.
pub(super) struct Decoder {
    kind: Kind,
    encoding: Encoding,
    shape: Shape,
    cut: Box<dyn Cut>,
    seen: Seen,
    /// Of the list as a whole, or of the last event.
    version: String,
    /// Where the next page of the list begins.
    next: String,
}

impl Decoder {
    /// For a body of that kind of objects.
    pub(super) fn new(kind: Kind, encoding: Encoding, shape: Shape) -> Decoder {
        let cut: Box<dyn Cut> = match (encoding, shape) {
            (Encoding::Protobuf, Shape::List) => Box::new(ProtobufList::default()),
            (Encoding::Protobuf, Shape::Watch) => Box::new(ProtobufFrames::default()),
            (Encoding::Json, Shape::List) => Box::new(JsonCut::list()),
            (Encoding::Json, Shape::Watch) => Box::new(JsonCut::watch()),
        };
        Decoder {
            kind,
            encoding,
            shape,
            cut,
            seen: Seen::default(),
            version: String::new(),
            next: String::new(),
        }
    }

    /// The next octets of the body. What is refused is told to `refusals`.
    ///
    /// # Errors
    /// The body is broken; what was given to `each` so far is good.
    pub(super) fn feed(
        &mut self,
        octets: &[u8],
        refusals: &mut Refusals,
        each: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Broken> {
        let mut result = Ok(());
        let mut message = Message {
            kind: self.kind,
            encoding: self.encoding,
            shape: self.shape,
            seen: &mut self.seen,
            version: &mut self.version,
            next: &mut self.next,
        };
        let cut = self.cut.feed(octets, &mut |piece| {
            if result.is_ok() {
                result = message.read(piece, refusals, each);
            }
        });
        cut.map_err(|_| Broken).and(result)
    }

    /// The body has ended: the version of the list, and where its next page begins if there is one.
    ///
    /// # Errors
    /// It ended too early. A list without a version is no list: to believe that it is empty would remove everything.
    pub(super) fn end(self) -> Result<(String, String), Broken> {
        if self.cut.is_whole() && !self.version.is_empty() {
            Ok((self.version, self.next))
        } else {
            Err(Broken)
        }
    }

    /// The version of the last event; empty before the first.
    pub(super) fn version(&self) -> &str {
        &self.version
    }
}

/// What an error response says in its body, as far as it says it.
pub(super) fn failure(code: u16, encoding: Encoding, body: &[u8]) -> Failure {
    let status = match encoding {
        Encoding::Json => json::parse(body).ok(),
        Encoding::Protobuf => protobuf::unwrap(body).and_then(protobuf::status).ok(),
    };
    let mut failure = to_failure(&status.unwrap_or_default());
    failure.code = code;
    failure
}

/// The parts of a decoder that a message is read with, while its cutter is busy.
struct Message<'d> {
    kind: Kind,
    encoding: Encoding,
    shape: Shape,
    seen: &'d mut Seen,
    version: &'d mut String,
    next: &'d mut String,
}

impl Message<'_> {
    fn read(
        &mut self,
        piece: Piece<'_>,
        refusals: &mut Refusals,
        each: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Broken> {
        match (piece, self.shape) {
            (Piece::Large, _) => {
                refusals.note("", Refused::Large.reason());
                Ok(())
            }
            (Piece::Meta(meta), _) => self.list_meta(meta),
            (Piece::Message(item), Shape::List) => {
                let accepted = match self.encoding {
                    Encoding::Protobuf => protobuf::object(self.kind, item, self.seen),
                    Encoding::Json => json::object(self.kind, item, self.seen),
                };
                self.give(accepted, refusals, &mut |object| each(Event::Put(object)));
                Ok(())
            }
            (Piece::Message(event), Shape::Watch) => self.event(event, refusals, each),
        }
    }

    fn list_meta(&mut self, meta: &[u8]) -> Result<(), Broken> {
        let meta = match self.encoding {
            Encoding::Protobuf => protobuf::list_meta(meta).map_err(|_| Broken)?,
            Encoding::Json => json::parse(meta).map_err(|_| Broken)?,
        };
        *self.version = meta.resource_version.to_string();
        *self.next = meta.next.to_string();
        Ok(())
    }

    fn event(
        &mut self,
        event: &[u8],
        refusals: &mut Refusals,
        each: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Broken> {
        let opened = match self.encoding {
            Encoding::Protobuf => Opened::protobuf(event),
            Encoding::Json => Opened::json(event),
        }
        .map_err(|_| Broken)?;
        self.seen.version.clear();
        match opened.kind() {
            "ADDED" | "MODIFIED" => {
                let accepted = opened.object(self.kind, self.seen);
                let is_refused = accepted.is_err();
                self.give(accepted, refusals, &mut |object| each(Event::Put(object)));
                if is_refused && let Ok((object, _)) = opened.gone(self.kind, self.seen) {
                    each(Event::Remove(&object));
                }
            }
            "DELETED" => {
                let gone = opened.gone(self.kind, self.seen);
                self.give(gone, refusals, &mut |object| each(Event::Remove(object)));
            }
            "BOOKMARK" => match opened.bookmark(self.seen) {
                Ok(ends_list) => {
                    self.keep_version();
                    each(Event::Bookmark { ends_list });
                }
                Err(refused) => refusals.note("", refused.reason()),
            },
            "ERROR" => each(Event::Failed(opened.status())),
            // A type that a later server may know; what it means cannot be guessed.
            _ => {}
        }
        self.keep_version();
        Ok(())
    }

    /// Also of objects that were refused: the watch is to go on behind them.
    fn keep_version(&mut self) {
        if !self.seen.version.is_empty() {
            self.version.clone_from(&self.seen.version);
        }
    }

    fn give(&mut self, accepted: Accepted, refusals: &mut Refusals, each: &mut dyn FnMut(&Object)) {
        match accepted {
            Ok((object, left_out)) => {
                if left_out > 0 {
                    refusals.note(
                        &self.seen.name,
                        "some of its addresses, ports or labels make no sense",
                    );
                }
                each(&object);
            }
            Err(Refused::Malformed) => refusals.note("", Refused::Malformed.reason()),
            Err(refused) => refusals.note(&self.seen.name, refused.reason()),
        }
    }
}

/// An event of a watch of which the type is known.
enum Opened<'a> {
    Protobuf {
        kind: &'a str,
        object: &'a [u8],
    },
    Json {
        kind: raw::Text<'a>,
        event: &'a [u8],
    },
}

impl<'a> Opened<'a> {
    fn protobuf(event: &'a [u8]) -> Result<Opened<'a>, Refused> {
        let opened = protobuf::event(event)
            .and_then(|(kind, object)| protobuf::unwrap(object).map(|object| (kind, object)));
        let (kind, object) = opened.map_err(|_| Refused::Malformed)?;
        Ok(Opened::Protobuf { kind, object })
    }

    fn json(event: &'a [u8]) -> Result<Opened<'a>, Refused> {
        let json::Typed { kind } = json::parse(event)?;
        Ok(Opened::Json { kind, event })
    }

    fn kind(&self) -> &str {
        match self {
            Opened::Protobuf { kind, .. } => kind,
            Opened::Json { kind, .. } => kind,
        }
    }

    fn object(&self, kind: Kind, seen: &mut Seen) -> Accepted {
        match self {
            Opened::Protobuf { object, .. } => protobuf::object(kind, object, seen),
            Opened::Json { event, .. } => json::object_of_event(kind, event, seen),
        }
    }

    fn gone(&self, kind: Kind, seen: &mut Seen) -> Accepted {
        accept::gone(kind, &self.bare()?, seen)
    }

    fn bookmark(&self, seen: &mut Seen) -> Result<bool, Refused> {
        let bare = self.bare()?;
        seen.version.clear();
        seen.version.push_str(&bare.metadata.resource_version);
        Ok(bare.metadata.annotations.value(LIST_ENDS) == Some("true"))
    }

    fn bare(&self) -> Result<raw::Bare<'_>, Refused> {
        match self {
            Opened::Protobuf { object, .. } => {
                protobuf::bare(object).map_err(|_| Refused::Malformed)
            }
            Opened::Json { event, .. } => json::parse(event).map(|json::Of { object }| object),
        }
    }

    fn status(&self) -> Failure {
        let status = match self {
            Opened::Protobuf { object, .. } => protobuf::status(object).ok(),
            Opened::Json { event, .. } => json::parse(event).ok().map(|json::Of { object }| object),
        };
        to_failure(&status.unwrap_or_default())
    }
}

fn to_failure(status: &raw::Status) -> Failure {
    Failure {
        // What says nothing is a failure of the server.
        code: u16::try_from(status.code)
            .ok()
            .filter(|code| *code > 0)
            .unwrap_or(500),
        message: status.message.chars().take(MESSAGE_CHARS).collect(),
        retry_after_s: u64::try_from(status.details.retry_after_seconds).unwrap_or(0),
    }
}

/// The annotation of the bookmark after the last object that was there when a watch with initial events began.
const LIST_ENDS: &str = "k8s.io/initial-events-end";
/// Characters of a server's message that are kept for the log.
const MESSAGE_CHARS: usize = 256;
