//! Objects out of JSON.

use serde::Deserialize;
use serde_json::from_slice;

use super::accept::{self, Accepted, Refused, Seen};
use super::raw;
use crate::kube::record::Kind;

/// The object in an item of a list.
///
/// # Errors
/// It is refused.
pub(super) fn object(kind: Kind, text: &[u8], seen: &mut Seen) -> Accepted {
    match kind {
        Kind::Namespace => accept::namespace(&parse(text)?, seen),
        Kind::Service => accept::service(&parse(text)?, seen),
        Kind::Slice => accept::slice(&parse(text)?, seen),
        Kind::Pod => accept::pod(&parse(text)?, seen),
        Kind::Import => accept::import(&parse(text)?, seen),
    }
}

/// The object in an event of a watch.
///
/// # Errors
/// It is refused.
pub(super) fn object_of_event(kind: Kind, text: &[u8], seen: &mut Seen) -> Accepted {
    match kind {
        Kind::Namespace => accept::namespace(&parse::<Of<_>>(text)?.object, seen),
        Kind::Service => accept::service(&parse::<Of<_>>(text)?.object, seen),
        Kind::Slice => accept::slice(&parse::<Of<_>>(text)?.object, seen),
        Kind::Pod => accept::pod(&parse::<Of<_>>(text)?.object, seen),
        Kind::Import => accept::import(&parse::<Of<_>>(text)?.object, seen),
    }
}

/// Whatever else there is to read.
///
/// # Errors
/// It is malformed.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Refused> {
    from_slice(text).map_err(|_| Refused::Malformed)
}

/// An event of which the object is wanted.
#[derive(Deserialize)]
pub(super) struct Of<T> {
    pub(super) object: T,
}

/// An event of which the type is wanted: what the object is to be read as depends on it.
#[derive(Deserialize)]
pub(super) struct Typed<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: raw::Text<'a>,
}
