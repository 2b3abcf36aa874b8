//! The two encodings behind one face.

use super::object::{Entry, names};
use super::state::Event;
use super::{Failure, json, proto};
use crate::kube::record::Kind;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Json,
    Protobuf,
}

impl Encoding {
    /// The first of the wanted ones that the server has for that kind.
    pub(super) fn accept(header: &str, kind: Option<Kind>, is_json_only: bool) -> Option<Encoding> {
        let has_protobuf = !is_json_only && kind != Some(Kind::Import);
        if header.is_empty() {
            return Some(Encoding::Json);
        }
        header.split(',').find_map(|wanted| {
            let media_type = wanted.split(';').next().unwrap_or_default().trim();
            match media_type {
                "application/vnd.kubernetes.protobuf" if has_protobuf => Some(Encoding::Protobuf),
                "application/json" | "application/*" | "*/*" => Some(Encoding::Json),
                _ => None,
            }
        })
    }

    /// The value of Content-Type.
    pub(super) fn media_type(self, is_watch: bool) -> &'static str {
        match (self, is_watch) {
            (Encoding::Json, _) => "application/json",
            (Encoding::Protobuf, false) => "application/vnd.kubernetes.protobuf",
            (Encoding::Protobuf, true) => "application/vnd.kubernetes.protobuf;stream=watch",
        }
    }

    /// A whole answer of one object.
    pub(super) fn one(self, kind: Kind, entry: &Entry) -> Vec<u8> {
        let object = self.object(entry, false);
        self.wrap(names(kind).version, names(kind).kind, object)
    }

    /// A whole answer of a failure.
    pub(super) fn status(self, failure: &Failure) -> Vec<u8> {
        let status = match self {
            Encoding::Json => json::status(failure),
            Encoding::Protobuf => proto::status(failure),
        };
        self.wrap("v1", "Status", status)
    }

    fn wrap(self, api: &str, kind: &str, object: Vec<u8>) -> Vec<u8> {
        match self {
            Encoding::Json => object,
            Encoding::Protobuf => {
                let mut out = Vec::new();
                proto::envelope(&mut out, api, kind, &object);
                out
            }
        }
    }

    // === lists ===

    /// What comes before the items, all of which protobuf must have seen by then.
    pub(super) fn list_head(
        self,
        kind: Kind,
        version: u64,
        next: &str,
        remaining: Option<usize>,
        items: &[Entry],
    ) -> Vec<u8> {
        match self {
            Encoding::Json => json::list_head(kind, version, next, remaining),
            Encoding::Protobuf => {
                // Made twice rather than kept: a list of everything would be a hundred megabytes.
                let mut object = Vec::new();
                let len = items.iter().map(|entry| {
                    object.clear();
                    self.write_object(&mut object, entry, true);
                    proto::item_len(object.len())
                });
                proto::list_head(kind, version, next, remaining, len.sum())
            }
        }
    }

    /// An item.
    pub(super) fn item(self, out: &mut Vec<u8>, entry: &Entry, is_first: bool) {
        match self {
            Encoding::Json => {
                if !is_first {
                    out.push(b',');
                }
                self.write_object(out, entry, true);
            }
            Encoding::Protobuf => proto::item(out, &self.object(entry, true)),
        }
    }

    /// What comes after the items.
    pub(super) fn list_tail(self, out: &mut Vec<u8>) {
        match self {
            Encoding::Json => out.extend_from_slice(b"]}\n"),
            Encoding::Protobuf => out.extend_from_slice(&proto::list_tail()),
        }
    }

    // === watches ===

    /// A change.
    pub(super) fn event(self, out: &mut Vec<u8>, kind: Kind, event: &Event) {
        let (what, entry) = match event {
            Event::Added(entry) => ("ADDED", entry),
            Event::Modified(entry) => ("MODIFIED", entry),
            Event::Deleted(entry) => ("DELETED", entry),
        };
        let object = self.object(entry, false);
        self.frame(out, what, names(kind).version, names(kind).kind, &object);
    }

    /// A bookmark.
    pub(super) fn bookmark(self, out: &mut Vec<u8>, kind: Kind, version: u64, ends_initial: bool) {
        let object = match self {
            Encoding::Json => json::bookmark(kind, version, ends_initial),
            Encoding::Protobuf => proto::bookmark(version, ends_initial),
        };
        self.frame(
            out,
            "BOOKMARK",
            names(kind).version,
            names(kind).kind,
            &object,
        );
    }

    /// A failure after the answer has begun.
    pub(super) fn error(self, out: &mut Vec<u8>, failure: &Failure) {
        let status = match self {
            Encoding::Json => json::status(failure),
            Encoding::Protobuf => proto::status(failure),
        };
        self.frame(out, "ERROR", "v1", "Status", &status);
    }

    fn frame(self, out: &mut Vec<u8>, what: &str, api: &str, kind: &str, object: &[u8]) {
        match self {
            Encoding::Json => json::line(out, what, object),
            Encoding::Protobuf => proto::frame(out, what, api, kind, object),
        }
    }

    // === objects ===

    fn object(self, entry: &Entry, in_list: bool) -> Vec<u8> {
        let mut object = Vec::new();
        self.write_object(&mut object, entry, in_list);
        object
    }

    fn write_object(self, out: &mut Vec<u8>, entry: &Entry, in_list: bool) {
        let stored = entry.content.stored();
        match (self, &stored.octets) {
            (_, Some(octets)) => out.extend_from_slice(octets),
            (Encoding::Json, None) => json::object(out, entry, &stored, in_list),
            (Encoding::Protobuf, None) => proto::object(out, entry, &stored),
        }
    }
}
