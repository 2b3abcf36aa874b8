//! Cutting JSON: braces are counted and text is passed over; whether a piece is well-formed is found out when it is parsed.

use super::cut::{Cut, Piece};
use super::proto::Malformed;
use crate::limits;

/// A list, of which the values of `metadata` and of each element of `items` are cut; or a watch, which is one value after the other.
pub(super) struct JsonCut {
    is_list: bool,
    /// Open braces and brackets.
    depth: u32,
    /// Within text, and whether the octet before was a backslash.
    text: Option<bool>,
    /// The key at depth 1 that was read last, cut where no key that matters could be as long.
    key: Vec<u8>,
    /// Text at depth 1 is a key until a colon follows, and one again after a comma.
    is_at_key: bool,
    /// What is being gathered, and the depth at which it ends.
    piece: Option<(What, u32)>,
    octets: Vec<u8>,
    is_large: bool,
    is_begun: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Meta,
    Message,
}

impl JsonCut {
    /// For the body of a list.
    pub(super) fn list() -> JsonCut {
        JsonCut::new(true)
    }

    /// For the body of a watch.
    pub(super) fn watch() -> JsonCut {
        JsonCut::new(false)
    }

    fn new(is_list: bool) -> JsonCut {
        JsonCut {
            is_list,
            depth: 0,
            text: None,
            key: Vec::new(),
            is_at_key: false,
            piece: None,
            octets: Vec::new(),
            is_large: false,
            is_begun: false,
        }
    }

    /// What begins with a brace here, if anything.
    fn begins(&self, octet: u8) -> Option<What> {
        if octet != b'{' || self.piece.is_some() {
            return None;
        }
        match (self.is_list, self.depth) {
            (false, 0) => Some(What::Message),
            (true, 1) if !self.is_at_key && self.key == b"metadata" => Some(What::Meta),
            (true, 2) if self.key == b"items" => Some(What::Message),
            _ => None,
        }
    }

    fn open(&mut self, octet: u8) -> Result<(), Malformed> {
        if let Some(what) = self.begins(octet) {
            self.piece = Some((what, self.depth));
        }
        self.depth = self.depth.checked_add(1).ok_or(Malformed)?;
        if self.depth == 1 {
            self.is_begun = true;
            self.is_at_key = true;
            self.key.clear();
        }
        Ok(())
    }

    /// Returns true where the closing brace ends the piece.
    fn close(&mut self) -> Result<bool, Malformed> {
        self.depth = self.depth.checked_sub(1).ok_or(Malformed)?;
        Ok(self.piece.is_some_and(|(_, depth)| depth == self.depth))
    }

    fn in_text(&mut self, octet: u8) {
        self.text = match (self.text, octet) {
            (Some(true), _) => Some(false),
            (_, b'\\') => Some(true),
            (_, b'"') => None,
            _ => Some(false),
        };
        let is_key = self.depth == 1 && self.is_at_key && self.text.is_some();
        if is_key && self.key.len() < KEY_OCTETS {
            self.key.push(octet);
        }
    }

    fn keep(&mut self, octet: u8) {
        if self.octets.len() < limits::KUBE_OBJECT_OCTETS {
            self.octets.push(octet);
        } else {
            self.is_large = true;
        }
    }

    fn give(&mut self, each: &mut dyn FnMut(Piece<'_>)) {
        let what = self.piece.take().map(|(what, _)| what);
        each(match what {
            _ if self.is_large => Piece::Large,
            Some(What::Meta) => Piece::Meta(&self.octets),
            _ => Piece::Message(&self.octets),
        });
        self.is_large = false;
        self.octets.clear();
        self.octets.shrink_to(KEPT_OCTETS);
    }
}

impl Cut for JsonCut {
    fn feed(&mut self, octets: &[u8], each: &mut dyn FnMut(Piece<'_>)) -> Result<(), Malformed> {
        for &octet in octets {
            let mut is_end = false;
            if self.text.is_some() {
                self.in_text(octet);
            } else {
                match octet {
                    b'"' => {
                        self.text = Some(false);
                        if self.depth == 1 && self.is_at_key {
                            self.key.clear();
                        }
                    }
                    b'{' | b'[' => self.open(octet)?,
                    b'}' | b']' => is_end = self.close()?,
                    b':' if self.depth == 1 => self.is_at_key = false,
                    b',' if self.depth == 1 => self.is_at_key = true,
                    // Between the events of a watch, and around a list, there is white space only.
                    _ if self.depth == 0 && !octet.is_ascii_whitespace() => return Err(Malformed),
                    _ => {}
                }
            }
            if self.piece.is_some() {
                self.keep(octet);
            }
            if is_end {
                self.give(each);
            }
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.depth == 0 && self.text.is_none() && (self.is_begun || !self.is_list)
    }
}

/// Longer than the keys that matter.
const KEY_OCTETS: usize = 16;
/// Octets that are held for longer than one piece.
const KEPT_OCTETS: usize = 256 << 10;
