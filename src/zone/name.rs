//! Domain names of zones: wire octets in a fixed buffer, text in and out.

use std::fmt;

use thiserror::Error;

use crate::limits::{NAME_LABELS, NAME_OCTETS};

/// An uncompressed wire-format name in a fixed buffer, the root label included.
///
/// Invariant: the octets are whole labels that end in the root label, `1 <= len <= 255`.
#[derive(Clone, Copy)]
pub struct WireName {
    len: u8,
    octets: [u8; NAME_OCTETS],
}

/// Why a text is not a domain name.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    /// A label without octets (`a..b`), or an empty text.
    #[error("empty label")]
    EmptyLabel,
    /// More than 63 octets in one label (RFC 1035 section 2.3.4).
    #[error("label longer than 63 octets")]
    LongLabel,
    /// More than 255 octets in all.
    #[error("name longer than 255 octets")]
    LongName,
    /// `\` at the end, or `\DDD` beyond 255.
    #[error("bad escape")]
    BadEscape,
}

impl WireName {
    /// The root.
    pub const ROOT: Self = Self {
        len: 1,
        octets: [0; NAME_OCTETS],
    };

    /// Takes `wire` if it is exactly one uncompressed name.
    pub fn from_wire(wire: &[u8]) -> Option<Self> {
        if name_octets(wire)? != wire.len() {
            return None;
        }
        let mut name = Self::ROOT;
        name.octets[..wire.len()].copy_from_slice(wire);
        name.len = wire.len() as u8; // name_octets() admits at most 255
        Some(name)
    }

    /// Joins labels without a root label to a whole name; `None` beyond 255 octets.
    ///
    /// `head` must be whole labels and `tail` a whole name: both come from names that were checked.
    pub fn join(head: &[u8], tail: &[u8]) -> Option<Self> {
        let len = head.len() + tail.len();
        if len > NAME_OCTETS {
            return None;
        }
        let mut name = Self::ROOT;
        name.octets[..head.len()].copy_from_slice(head);
        name.octets[head.len()..len].copy_from_slice(tail);
        name.len = len as u8; // checked above
        Some(name)
    }

    /// Reads the master-file form (RFC 1035 section 5.1): `@`, relative to `origin`, or with a final dot.
    pub fn parse(text: &[u8], origin: &[u8]) -> Result<Self, NameError> {
        match text {
            b"@" => return Self::from_wire(origin).ok_or(NameError::LongName),
            b"." => return Ok(Self::ROOT),
            b"" => return Err(NameError::EmptyLabel),
            _ => {}
        }
        let mut name = Self::ROOT;
        let (mut label, mut write, mut at) = (0, 1, 0);
        while at < text.len() {
            let mut octet = text[at];
            at += 1;
            if octet == b'.' {
                name.close_label(label, write)?;
                label = write;
                write += 1;
                continue;
            }
            if octet == b'\\' {
                octet = unescape(text, &mut at).ok_or(NameError::BadEscape)?;
            }
            *name.octets.get_mut(write).ok_or(NameError::LongName)? = octet;
            write += 1;
        }
        if write == label + 1 {
            // The text ended in an unescaped dot: the open label is the root.
            *name.octets.get_mut(label).ok_or(NameError::LongName)? = 0;
            name.len = u8::try_from(write).map_err(|_| NameError::LongName)?;
            return Ok(name);
        }
        name.close_label(label, write)?;
        let len = write + origin.len();
        name.octets
            .get_mut(write..len)
            .ok_or(NameError::LongName)?
            .copy_from_slice(origin);
        name.len = len as u8; // at most the buffer's 255
        Ok(name)
    }

    fn close_label(&mut self, label: usize, write: usize) -> Result<(), NameError> {
        match write - label - 1 {
            0 => Err(NameError::EmptyLabel),
            len @ 1..=63 => {
                *self.octets.get_mut(label).ok_or(NameError::LongName)? = len as u8;
                Ok(())
            }
            _ => Err(NameError::LongLabel),
        }
    }

    /// The octets, root label included.
    pub fn as_slice(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// Lower-cases ASCII letters (label lengths are below `A` and stay).
    pub fn lower(&mut self) {
        self.octets[..usize::from(self.len)].make_ascii_lowercase();
    }

    /// The same name lower-cased.
    pub fn lowered(mut self) -> Self {
        self.lower();
        self
    }

    /// The labels of this name before `origin`, if it is `origin` or below it; both lower-cased.
    pub fn below<'a>(name: &'a [u8], origin: &[u8]) -> Option<&'a [u8]> {
        let head = name.len().checked_sub(origin.len())?;
        if &name[head..] != origin {
            return None;
        }
        // The octets may match in the middle of a label: walk the labels up to the boundary.
        let mut at = 0;
        while at < head {
            at += 1 + usize::from(name[at]);
        }
        (at == head).then(|| &name[..head])
    }
}

impl fmt::Display for WireName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = self.as_slice();
        if octets == [0] {
            return f.write_str(".");
        }
        let mut at = 0;
        while octets[at] != 0 {
            let end = at + 1 + usize::from(octets[at]);
            for &octet in &octets[at + 1..end] {
                match octet {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' | b' ' => {
                        write!(f, "\\{}", octet as char)?;
                    }
                    b'!'..=b'~' => write!(f, "{}", octet as char)?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
            f.write_str(".")?;
            at = end;
        }
        Ok(())
    }
}

impl fmt::Debug for WireName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for WireName {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for WireName {}

/// Octets of the uncompressed name at the start of `wire`; `None` if it is cut, compressed or too long.
pub fn name_octets(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *wire.get(at)? {
            0 => return (at < NAME_OCTETS).then_some(at + 1),
            len @ 1..=63 => at += 1 + usize::from(len),
            _ => return None,
        }
        if at >= NAME_OCTETS {
            return None;
        }
    }
}

/// Labels of a checked name, the root not counted.
pub fn label_count(wire: &[u8]) -> usize {
    let (mut at, mut count) = (0, 0);
    while let Some(&len @ 1..) = wire.get(at) {
        at += 1 + usize::from(len);
        count += 1;
    }
    count
}

/// Reads the escape after a backslash at `*at` and moves past it: `\DDD` or `\X`.
pub(super) fn unescape(text: &[u8], at: &mut usize) -> Option<u8> {
    let first = *text.get(*at)?;
    if !first.is_ascii_digit() {
        *at += 1;
        return Some(first);
    }
    let digits = text.get(*at..*at + 3)?;
    let mut value = 0u16;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u16::from(digit - b'0');
    }
    *at += 3;
    u8::try_from(value).ok()
}

/// Where the labels of a relative name (labels without root) start, left to right.
pub(super) struct Labels {
    pub(super) starts: [u8; NAME_LABELS + 1],
    pub(super) count: usize,
}

impl Labels {
    /// `relative` must be whole labels of a checked name, perhaps with `*` before them: at most 256 octets, 128 labels.
    pub(super) fn of(relative: &[u8]) -> Self {
        let mut labels = Self {
            starts: [0; NAME_LABELS + 1],
            count: 0,
        };
        let mut at = 0;
        while at < relative.len() && labels.count < labels.starts.len() {
            labels.starts[labels.count] = at as u8; // at <= 254
            labels.count += 1;
            at += 1 + usize::from(relative[at]);
        }
        labels
    }

    /// Label `index` from the left with its length octet.
    pub(super) fn label<'a>(&self, relative: &'a [u8], index: usize) -> &'a [u8] {
        let start = usize::from(self.starts[index]);
        let end = start + 1 + usize::from(relative[start]);
        &relative[start..end.min(relative.len())]
    }
}
