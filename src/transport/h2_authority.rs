//! `:authority` of HTTP/2 requests where it is an IPv6 address without brackets, as dig 9.18 writes it (`::1:8443`).
//!
//! h2 refuses such a request, since that is no authority (RFC 3986 section 3.2.2), before we see it; CoreDNS answers. We answer whatever
//! the authority is, so it is made one that h2 takes: each colon behind the first becomes a letter ([`LETTER`]). Nothing gets longer
//! or shorter by that, in either encoding. So octets are changed where they stand, in whatever pieces they come and without one held back,
//! lengths stay true, and HPACK's dynamic table has the size that the client computes.
//!
//! To find the field takes the lengths of frames, fields and texts, and no table (RFC 9113 section 4, RFC 7541 section 6). What cannot be read
//! is left as it is, for h2 to judge.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

#[cfg(test)]
mod tests;

use super::huffman::Decoder;

/// Follows the octets of one client from its preface on.
#[derive(Debug)]
pub(crate) struct Authorities {
    /// What comes next, each until it is used up: octets that mean nothing here, octets of a block of fields, and its padding.
    before: usize,
    block: usize,
    after: usize,
    /// Then the header of a frame, as far as it has come, and the length of its padding where it has one.
    head: [u8; HEAD_OCTETS],
    head_len: usize,
    fields: Fields,
}

impl Default for Authorities {
    fn default() -> Authorities {
        Authorities {
            before: PREFACE_OCTETS,
            block: 0,
            after: 0,
            head: [0; HEAD_OCTETS],
            head_len: 0,
            fields: Fields::default(),
        }
    }
}

impl Authorities {
    /// Changes what is to be changed in the octets that come next.
    pub(crate) fn mend(&mut self, octets: &mut [u8]) {
        let mut at = 0;
        while at < octets.len() {
            let is_block = self.before == 0 && self.block > 0;
            let left = match (self.before, self.block) {
                (0, 0) => &mut self.after,
                (0, _) => &mut self.block,
                _ => &mut self.before,
            };
            if *left == 0 {
                self.take_head(octets[at]);
                at += 1;
                continue;
            }
            let now = (octets.len() - at).min(*left);
            *left -= now;
            if is_block {
                self.fields.mend(&mut octets[at..at + now]);
            }
            at += now;
        }
    }

    fn take_head(&mut self, octet: u8) {
        self.head[self.head_len] = octet;
        self.head_len += 1;
        if self.head_len >= FRAME_HEADER {
            self.open();
        }
    }

    /// Begins the payload of a frame, unless the length of its padding is still to come.
    fn open(&mut self) {
        let [a, b, c, kind, flags, .., padding] = self.head;
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        let is_padded = kind == HEADERS && flags & PADDED != 0 && len > 0;
        if is_padded && self.head_len == FRAME_HEADER {
            return;
        }
        let (len, padding) = match is_padded {
            true => (len - 1, usize::from(padding)),
            false => (len, 0),
        };
        let priority = match kind == HEADERS && flags & PRIORITY != 0 {
            true => PRIORITY_OCTETS,
            false => 0,
        };
        self.head_len = 0;
        (self.before, self.block, self.after) = match len.checked_sub(priority + padding) {
            Some(block) if matches!(kind, HEADERS | CONTINUATION) => (priority, block, padding),
            _ => (len, 0, 0),
        };
        if kind == HEADERS {
            self.fields = Fields::default();
        }
    }
}

/// Follows a block of fields, whichever frames it comes in.
#[derive(Debug, Default)]
struct Fields {
    next: Next,
    address: Address,
}

/// What comes next in a block.
#[derive(Debug, Clone, Copy, Default)]
enum Next {
    /// A field, or a new size of the table.
    #[default]
    Field,
    /// More of a number without meaning here: the index of a field or of its name, or that size.
    Number { is_name: bool },
    /// The length of a text.
    Length(Text),
    /// More of that: what it is so far, and by how many bits the next seven are shifted.
    Longer(Text, usize, u32),
    /// The text itself.
    Octets { text: Text, left: usize },
    /// Nothing that can be read.
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Name,
    Value,
    Authority,
}

impl Fields {
    fn mend(&mut self, octets: &mut [u8]) {
        let mut at = 0;
        while at < octets.len() {
            let Next::Octets { text, left } = self.next else {
                self.step(octets[at]);
                at += 1;
                continue;
            };
            let now = (octets.len() - at).min(left);
            if text == Text::Authority {
                self.address.mend(&mut octets[at..at + now]);
            }
            self.next = Next::octets(text, left - now);
            at += now;
        }
    }

    /// Takes an octet that is not a text's.
    fn step(&mut self, octet: u8) {
        let (number, is_more) = (usize::from(octet & 0x7f), octet & 0x80 != 0);
        self.next = match self.next {
            Next::Field => Next::of_field(octet),
            Next::Number { .. } if is_more => return,
            Next::Number { is_name: false } => Next::Field,
            Next::Number { is_name: true } => Next::Length(Text::Value),
            Next::Length(text) => {
                if text == Text::Authority {
                    // The highest bit tells Huffman code.
                    self.address = Address::new(is_more);
                }
                match number {
                    0x7f => Next::Longer(text, number, 0),
                    _ => Next::octets(text, number),
                }
            }
            Next::Longer(text, len, shift) => match len + (number << shift) {
                len if !is_more => Next::octets(text, len),
                len if shift < LAST_SHIFT => Next::Longer(text, len, shift + 7),
                _ => Next::Lost,
            },
            Next::Octets { .. } | Next::Lost => return,
        };
    }
}

impl Next {
    /// What follows the first octet of a field (RFC 7541 section 6).
    fn of_field(first: u8) -> Next {
        // The bits of the number that begins in it, and whether a value follows.
        let (bits, is_name) = match first {
            0x80.. => (7, false),
            0x40.. => (6, true),
            0x20.. => (5, false),
            _ => (4, true),
        };
        let most = (1 << bits) - 1;
        match first & most {
            number if number == most => Next::Number { is_name },
            _ if !is_name => Next::Field,
            0 => Next::Length(Text::Name),
            // A name of the dynamic table is no matter: libraries name this one by the static, where it is.
            AUTHORITY => Next::Length(Text::Authority),
            _ => Next::Length(Text::Value),
        }
    }

    fn octets(text: Text, left: usize) -> Next {
        match (left, text) {
            (0, Text::Name) => Next::Length(Text::Value),
            (0, _) => Next::Field,
            _ => Next::Octets { text, left },
        }
    }
}

/// An authority as far as it has come.
#[derive(Debug, Default)]
struct Address {
    /// Nothing but what IPv6 addresses and ports are made of.
    is_bare: bool,
    has_colon: bool,
    /// It is in Huffman code.
    is_coded: bool,
    code: Decoder,
}

impl Address {
    fn new(is_coded: bool) -> Address {
        Address {
            is_bare: true,
            is_coded,
            ..Address::default()
        }
    }

    fn mend(&mut self, octets: &mut [u8]) {
        for octet in octets {
            if !self.is_bare {
                return;
            }
            if self.is_coded {
                let (mut code, mut ends) = (self.code, 0);
                let read = code.take(*octet, |text, end| {
                    ends |= u8::from(self.is_excess(text)) << end;
                    self.is_bare.then_some(())
                });
                self.is_bare &= read.is_some();
                self.code = code;
                // The code of the letter is that of the colon with its last bit set.
                *octet |= ends;
            } else if self.is_excess(*octet) {
                *octet = LETTER;
            }
        }
    }

    /// Whether this is a colon behind the first.
    fn is_excess(&mut self, octet: u8) -> bool {
        let is_colon = octet == b':';
        self.is_bare = is_colon || octet == b'.' || octet.is_ascii_hexdigit();
        is_colon && std::mem::replace(&mut self.has_colon, true)
    }
}

/// What a colon becomes: of the letters the one whose Huffman code is as long, and differs in the last bit alone. So it can be written where all
/// other bits of the colon have been handed on.
const LETTER: u8 = b'B';

/// The client connection preface (RFC 9113 section 3.4).
const PREFACE_OCTETS: usize = 24;
const FRAME_HEADER: usize = 9;
/// A frame's header and the length of its padding.
const HEAD_OCTETS: usize = FRAME_HEADER + 1;

// Frame types and flags (section 6).
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
const PRIORITY_OCTETS: usize = 5;

/// `:authority` in the static table (RFC 7541 appendix A).
const AUTHORITY: u8 = 1;
/// Where the last seven bits of a length may stand: 28 in all, more than a frame has octets.
const LAST_SHIFT: u32 = 21;
