//! Domain names: wire form, lower case, hash, text (RFC 1035 sections 3.1, 4.1.4 and 5.1, RFC 4343).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Malformed;
use crate::limits::{NAME_LABELS, NAME_OCTETS};

/// An owned name in uncompressed wire form, without heap: `1 <= len <= 255`, the root label included.
#[derive(Clone, Copy)]
pub struct NameBuf {
    len: u8,
    octets: [u8; NAME_OCTETS],
}

impl NameBuf {
    /// The root name.
    pub const ROOT: NameBuf = NameBuf {
        len: 1,
        octets: [0; NAME_OCTETS],
    };

    /// Takes a name in uncompressed wire form.
    pub fn from_wire(wire: &[u8]) -> Result<NameBuf, Malformed> {
        let end = skip_uncompressed(wire)?;
        let mut name = NameBuf::ROOT;
        name.octets[..end].copy_from_slice(&wire[..end]);
        name.len = end as u8;
        Ok(name)
    }

    /// Reads the possibly compressed name at `at` of `message`; also returns where the field ends.
    pub fn read(message: &[u8], at: usize) -> Result<(NameBuf, usize), Malformed> {
        let mut name = NameBuf::ROOT;
        let end = name.read_in(message, at)?;
        Ok((name, end))
    }

    /// As [`NameBuf::read`], into this value; after an error its content is any valid name or the root.
    #[inline]
    pub fn read_in(&mut self, message: &[u8], at: usize) -> Result<usize, Malformed> {
        // Most names are not compressed: one look for the end, one copy.
        let rest = message.get(at..).ok_or(Malformed::Short)?;
        if let Ok(len) = skip_uncompressed(rest) {
            self.octets[..len].copy_from_slice(&rest[..len]);
            self.len = len as u8;
            return Ok(at + len);
        }
        *self = NameBuf::ROOT;
        let mut octets = [0; NAME_OCTETS];
        let (len, end) = expand_into(message, at, &mut octets)?;
        (self.octets, self.len) = (octets, len as u8);
        Ok(end)
    }

    /// Parses presentation form: `\.` and `\DDD` escapes, the final dot optional, the empty text refused.
    pub fn from_text(text: &str) -> Result<NameBuf, Malformed> {
        NameBuf::from_text_bytes(text.as_bytes())
    }

    fn from_text_bytes(text: &[u8]) -> Result<NameBuf, Malformed> {
        let mut name = NameBuf::ROOT;
        if text == b"." {
            return Ok(name);
        }
        let (mut out, mut label, mut at) = (1usize, 0usize, 0usize);
        if text.is_empty() {
            return Err(Malformed::Name);
        }
        while at < text.len() {
            let octet = match text[at] {
                b'.' => {
                    let len = out - label - 1;
                    if len == 0 {
                        return Err(Malformed::Name);
                    }
                    name.octets[label] = len as u8;
                    label = out;
                    out += 1;
                    at += 1;
                    continue;
                }
                b'\\' => {
                    let (octet, used) = escape(&text[at + 1..])?;
                    at += used;
                    octet
                }
                other => other,
            };
            at += 1;
            if out - label > 63 || out >= NAME_OCTETS - 1 {
                return Err(Malformed::Name);
            }
            name.octets[out] = octet;
            out += 1;
        }
        let len = out - label - 1;
        if len > 0 {
            name.octets[label] = len as u8;
            name.octets[out] = 0;
            out += 1;
        } else {
            name.octets[label] = 0;
        }
        if out > NAME_OCTETS {
            return Err(Malformed::Name);
        }
        name.len = out as u8;
        Ok(name)
    }

    /// The octets, the root label included.
    pub fn as_wire(&self) -> &[u8] {
        &self.octets[..self.len as usize]
    }

    /// The same name in lower case (RFC 4343 section 3: ASCII letters only).
    pub fn to_lower(mut self) -> NameBuf {
        self.octets[..self.len as usize].make_ascii_lowercase();
        self
    }

    /// Labels, the root label not counted.
    pub fn label_count(&self) -> usize {
        label_count(self.as_wire())
    }
}

impl PartialEq for NameBuf {
    fn eq(&self, other: &NameBuf) -> bool {
        self.as_wire() == other.as_wire()
    }
}

impl Eq for NameBuf {}

impl fmt::Debug for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Text(self.as_wire()).fmt(f)
    }
}

/// Displays an uncompressed wire name in presentation form, with the final dot and with `\DDD` where miekg/dns (so CoreDNS) escapes.
#[derive(Clone, Copy)]
pub struct Text<'a>(pub &'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        let mut buffer = [0; NAME_OCTETS];
        if let Some(text) = simple_text(self.0, &mut buffer) {
            return f.write_str(text);
        }
        let mut at = 0;
        if self.0.first().is_none_or(|len| *len == 0) {
            return f.write_char('.');
        }
        while let Some(&len) = self.0.get(at) {
            if len == 0 {
                break;
            }
            for &octet in self.0.iter().skip(at + 1).take(len as usize) {
                match octet {
                    b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
                        f.write_char('\\')?;
                        f.write_char(octet as char)?;
                    }
                    0x21..=0x7e => f.write_char(octet as char)?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
            f.write_char('.')?;
            at += 1 + len as usize;
        }
        Ok(())
    }
}

/// The text of a name in one piece, made in `buffer`, if it has labels and none holds anything but letters, digits, `-` and `_`, as nearly
/// all do. `None`: it is the root, or some octet may need an escape.
pub fn simple_text<'b>(wire: &[u8], buffer: &'b mut [u8; NAME_OCTETS]) -> Option<&'b str> {
    let text = buffer.get_mut(..wire.len().checked_sub(1)?)?;
    text.copy_from_slice(&wire[1..]);
    // Length octets pass for letters, until the dots that they become are put in.
    let mut is_simple = true;
    let mut each_length = |text: &mut [u8], put: u8| {
        let mut at = 0;
        while let Some(&len) = wire.get(at) {
            if let Some(octet) = at.checked_sub(1).and_then(|at| text.get_mut(at)) {
                *octet = put;
            }
            if len == 0 {
                break;
            }
            at += 1 + len as usize;
        }
        is_simple &= at + 1 == wire.len();
    };
    each_length(text, b'a');
    let shown = |octet: &u8| {
        let lower = octet | 0x20;
        lower.is_ascii_lowercase() | octet.is_ascii_digit() | (*octet == b'-') | (*octet == b'_')
    };
    // All are looked at, without an early end: that goes 16 at a time.
    let all_shown = text.iter().fold(true, |all, octet| all & shown(octet));
    each_length(text, b'.');
    if !is_simple || !all_shown {
        return None;
    }
    std::str::from_utf8(text)
        .ok()
        .filter(|text| !text.is_empty())
}

/// Where the uncompressed name at the start of `wire` ends.
#[inline]
pub fn skip_uncompressed(wire: &[u8]) -> Result<usize, Malformed> {
    let octets = &wire[..wire.len().min(NAME_OCTETS)];
    let mut at = 0;
    while let Some(&len) = octets.get(at) {
        if len > 63 {
            return Err(Malformed::Name);
        }
        at += 1 + len as usize;
        if len == 0 {
            return Ok(at);
        }
    }
    // A name that goes on behind its 255th octet is none, however long the rest is.
    Err(if at < NAME_OCTETS {
        Malformed::Short
    } else {
        Malformed::Name
    })
}

/// Where the name field at `at` ends; a pointer is not followed.
pub fn skip(message: &[u8], mut at: usize) -> Result<usize, Malformed> {
    let start = at;
    loop {
        let len = *message.get(at).ok_or(Malformed::Short)?;
        match len & 0xc0 {
            0x00 if len == 0 => return Ok(at + 1),
            0x00 => at += 1 + len as usize,
            0xc0 if at + 1 < message.len() => return Ok(at + 2),
            0xc0 => return Err(Malformed::Short),
            _ => return Err(Malformed::Name),
        }
        if at - start >= NAME_OCTETS {
            return Err(Malformed::Name);
        }
    }
}

/// Expands the name at `at` into `out`; returns its length there and where the field ends. Pointers must point strictly
/// backwards, so the work is bounded by the length of the message (RFC 9267 section 2).
pub fn expand_into(
    message: &[u8],
    mut at: usize,
    out: &mut [u8; NAME_OCTETS],
) -> Result<(usize, usize), Malformed> {
    let (mut used, mut end, mut floor) = (0usize, None, at);
    loop {
        let len = *message.get(at).ok_or(Malformed::Short)?;
        match len & 0xc0 {
            0x00 => {
                let label = message
                    .get(at..at + 1 + len as usize)
                    .ok_or(Malformed::Short)?;
                let room = out
                    .get_mut(used..used + label.len())
                    .ok_or(Malformed::Name)?;
                room.copy_from_slice(label);
                used += label.len();
                at += label.len();
                if len == 0 {
                    return Ok((used, end.unwrap_or(at)));
                }
            }
            0xc0 => {
                let low = *message.get(at + 1).ok_or(Malformed::Short)?;
                end.get_or_insert(at + 2);
                at = ((len as usize & 0x3f) << 8) | low as usize;
                if at >= floor {
                    return Err(Malformed::Name);
                }
                floor = at;
            }
            _ => return Err(Malformed::Name),
        }
    }
}

/// Labels of an uncompressed wire name, the root label not counted.
pub fn label_count(wire: &[u8]) -> usize {
    Suffixes::new(wire).count() - 1
}

/// The name and each of its ancestors down to the root, as slices of one uncompressed wire name.
#[derive(Clone)]
pub struct Suffixes<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Suffixes<'a> {
    /// `wire` is a valid uncompressed name.
    pub fn new(wire: &'a [u8]) -> Suffixes<'a> {
        Suffixes { rest: Some(wire) }
    }
}

impl<'a> Iterator for Suffixes<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let this = self.rest?;
        let len = this.first().copied().unwrap_or(0) as usize;
        self.rest = if len == 0 { None } else { this.get(1 + len..) };
        Some(this)
    }
}

/// Whether `name` equals `zone` or lies below it; both in wire form and of one case.
#[inline]
pub fn is_within(name: &[u8], zone: &[u8]) -> bool {
    // All names are below the root, which is the commonest zone asked about.
    zone.len() == 1 || name.ends_with(zone) && has_suffix_of(name, zone.len())
}

/// Whether one of the name's suffixes takes that many octets, of as many at most as the name has.
#[inline]
fn has_suffix_of(name: &[u8], len: usize) -> bool {
    let start = name.len() - len;
    let mut at = 0;
    while at < start {
        at += 1 + usize::from(name[at]);
    }
    at == start
}

// === hash ===

/// Copies the name to lower case and hashes it in one pass, eight octets a step. The key is drawn at each start, so that nobody
/// outside can choose names that collide.
#[inline(always)] // half of what a plain query costs to read: the call and its saved registers would be a fifth
pub fn lower_and_hash(wire: &[u8], out: &mut NameBuf) -> u64 {
    let wire = &wire[..wire.len().min(NAME_OCTETS)];
    let (keys, mut state) = hash_keys();
    let (words, rest) = wire.as_chunks::<8>();
    let (lowered, _) = out.octets.as_chunks_mut::<8>();
    for (word, lowered) in words.iter().zip(lowered) {
        let word = lower_word(u64::from_le_bytes(*word));
        *lowered = word.to_le_bytes();
        state = fold(state ^ word, keys);
    }
    if !rest.is_empty() {
        let word = lower_word(last_word(wire));
        // A name shorter than a word fills up the first one: octets behind the name are never looked at.
        let end = wire.len().max(8);
        out.octets[end - 8..end].copy_from_slice(&word.to_le_bytes());
        state = fold(state ^ word, keys);
    }
    out.len = wire.len() as u8;
    fold(state ^ wire.len() as u64, keys)
}

/// The hash that [`lower_and_hash`] gives.
pub fn hash(wire: &[u8]) -> u64 {
    let (keys, mut state) = hash_keys();
    let (words, rest) = wire.as_chunks::<8>();
    for word in words {
        state = fold(state ^ lower_word(u64::from_le_bytes(*word)), keys);
    }
    if !rest.is_empty() {
        state = fold(state ^ lower_word(last_word(wire)), keys);
    }
    fold(state ^ wire.len() as u64, keys)
}

/// The last eight octets, or all of fewer with zeroes behind them. For a hash: some octets may have been in the word before, which
/// costs nothing, where a copy of an odd length costs a call.
pub(crate) fn last_word(octets: &[u8]) -> u64 {
    match octets.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => octets
            .iter()
            .rev()
            .fold(0, |word, &octet| word << 8 | u64::from(octet)),
    }
}

/// The keyed hash of a question: that of its name, with type, class and the flags DO and CD mixed in.
#[inline]
pub fn question_hash(name_hash: u64, qtype: u16, qclass: u16, dnssec_ok: bool, cd: bool) -> u64 {
    let bits = u64::from(qtype)
        | u64::from(qclass) << 16
        | u64::from(dnssec_ok) << 32
        | u64::from(cd) << 33;
    let (keys, _) = hash_keys();
    fold(name_hash ^ bits.wrapping_mul(0x9e37_79b9_7f4a_7c15), keys)
}

/// Lower-cases eight octets at once. Length octets (0 to 63) are never in the range of letters.
fn lower_word(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = word & (0x7f * ONES);
    let above_at = low + (0x7f - b'A' as u64 + 1) * ONES;
    let above_z = low + (0x7f - b'Z' as u64) * ONES;
    let upper = (above_at ^ above_z) & !word & (0x80 * ONES);
    word | (upper >> 2)
}

/// A 64 by 64 bit multiplication folded to 64 bits.
fn fold(value: u64, key: u64) -> u64 {
    let wide = (value as u128).wrapping_mul(key as u128);
    (wide as u64) ^ ((wide >> 64) as u64)
}

/// The multiplier (odd, so never 0) and the start, drawn at the first use in this process.
#[inline]
fn hash_keys() -> (u64, u64) {
    // The start is stored first, so whoever sees the multiplier has both.
    match MULTIPLIER.load(Ordering::Acquire) {
        0 => draw_keys(),
        multiplier => (multiplier, START.load(Ordering::Relaxed)),
    }
}

static MULTIPLIER: AtomicU64 = AtomicU64::new(0);
static START: AtomicU64 = AtomicU64::new(0);

#[cold]
#[allow(clippy::disallowed_types)] // not for hashing: a source of random keys, read once
fn draw_keys() -> (u64, u64) {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::OnceLock;
    static KEYS: OnceLock<(u64, u64)> = OnceLock::new();
    let keys = *KEYS.get_or_init(|| {
        let random = RandomState::new();
        (random.hash_one(1u8) | 1, random.hash_one(2u8))
    });
    START.store(keys.1, Ordering::Relaxed);
    MULTIPLIER.store(keys.0, Ordering::Release);
    keys
}

/// One escape after the backslash: `DDD` or any single octet. Returns the octet and how many octets it took.
fn escape(rest: &[u8]) -> Result<(u8, usize), Malformed> {
    match rest {
        [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => {
            let value = (a - b'0') as u32 * 100 + (b - b'0') as u32 * 10 + (c - b'0') as u32;
            u8::try_from(value)
                .map(|octet| (octet, 3))
                .map_err(|_| Malformed::Name)
        }
        [octet, ..] => Ok((*octet, 1)),
        [] => Err(Malformed::Name),
    }
}

const _: () = assert!(NAME_LABELS * 2 + 1 == NAME_OCTETS);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_round_trips() {
        for (text, shown) in [
            (".", "."),
            ("example.org", "example.org."),
            ("Example.ORG.", "Example.ORG."),
            (r"a\.b.c", r"a\.b.c."),
            (r"\065\000.x.", r"A\000.x."),
            ("*.x", "*.x."),
        ] {
            let name = NameBuf::from_text(text).unwrap();
            assert_eq!(name.to_string(), shown);
            assert_eq!(NameBuf::from_text(shown).unwrap(), name);
        }
    }

    #[test]
    fn bad_text_is_refused() {
        let long_label = "a".repeat(64);
        let long_name = "abcdefg.".repeat(32);
        for text in [
            "",
            "..",
            ".a",
            "a..b",
            r"a\",
            r"\300",
            &long_label,
            &long_name,
        ] {
            assert!(NameBuf::from_text(text).is_err(), "{text:?}");
        }
        assert_eq!(
            NameBuf::from_text(&"abcdefg.".repeat(31))
                .unwrap()
                .as_wire()
                .len(),
            249
        );
    }

    #[test]
    fn lower_case_touches_letters_only() {
        let all: Vec<u8> = (0u8..=255).collect();
        for chunk in all.chunks(8) {
            let mut word = [0u8; 8];
            word.copy_from_slice(chunk);
            let lowered = lower_word(u64::from_le_bytes(word)).to_le_bytes();
            assert_eq!(lowered.to_vec(), chunk.to_ascii_lowercase());
        }
    }

    #[test]
    fn hashes_agree_at_every_length() {
        let wire: Vec<u8> = (0..NAME_OCTETS).map(|n| b'A' + (n % 50) as u8).collect();
        for len in 1..=NAME_OCTETS {
            let mut lowered = NameBuf::ROOT;
            let hashed = lower_and_hash(&wire[..len], &mut lowered);
            assert_eq!(lowered.as_wire(), wire[..len].to_ascii_lowercase());
            assert_eq!(hashed, hash(&wire[..len]));
            assert_eq!(hashed, hash(lowered.as_wire()));
            assert_ne!(hashed, hash(&wire[..len - 1]));
        }
    }

    #[test]
    fn pointers_go_backwards_only() {
        let message = [0u8, 1, b'a', 0, 0xc0, 1, 0xc0, 6, 0xc0, 8, 0x40];
        assert_eq!(NameBuf::read(&message, 4).unwrap().0.to_string(), "a.");
        assert_eq!(NameBuf::read(&message, 4).unwrap().1, 6);
        for at in [6, 8, 10, 11, 40] {
            assert!(NameBuf::read(&message, at).is_err(), "{at}");
        }
    }

    #[test]
    fn is_within_cuts_at_labels() {
        let name = |text| NameBuf::from_text(text).unwrap();
        assert!(is_within(
            name("a.example.org").as_wire(),
            name("example.org").as_wire()
        ));
        assert!(is_within(name("a").as_wire(), name(".").as_wire()));
        assert!(!is_within(
            name("aexample.org").as_wire(),
            name("example.org").as_wire()
        ));
        assert!(!is_within(
            name("org").as_wire(),
            name("example.org").as_wire()
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_expand_or_fail(message in proptest::collection::vec(any::<u8>(), 0..600), at in 0usize..700) {
            if let Ok((name, end)) = NameBuf::read(&message, at) {
                prop_assert!(end <= message.len());
                prop_assert!(skip(&message, at) == Ok(end));
                prop_assert!(NameBuf::from_wire(name.as_wire()).unwrap() == name);
                let text = name.to_string();
                prop_assert!(NameBuf::from_text(&text).unwrap() == name, "{}", text);
            }
        }

        #[test]
        fn case_does_not_change_the_hash(text in "[a-zA-Z0-9-]{1,20}(\\.[a-zA-Z]{1,9}){0,5}") {
            let name = NameBuf::from_text(&text).unwrap();
            let mut lowered = NameBuf::ROOT;
            let hashed = lower_and_hash(name.as_wire(), &mut lowered);
            prop_assert!(lowered == name.to_lower());
            prop_assert_eq!(hashed, hash(lowered.as_wire()));
        }
    }
}
