//! The Huffman code of HPACK and QPACK (RFC 7541 appendix B), decoding only.
//!
//! The code is canonical: codes of one length follow each other in the order of their symbols. So the lengths say all, and the tables
//! are made of them when this is compiled.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

/// Appends the text that `code` stands for; `None` where it is no code, or `out` would be longer than `most`.
pub(super) fn decode(code: &[u8], most: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut decoder = Decoder::default();
    for &octet in code {
        decoder.take(octet, |text, _| {
            out.push(text);
            (out.len() <= most).then_some(())
        })?;
    }
    decoder.may_end().then_some(())
}

/// Reads code octet by octet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Decoder {
    /// The code of a symbol as far as it has come: `len` bits, `0..LONGEST`.
    bits: u32,
    len: u8,
}

impl Decoder {
    /// Hands over each octet of text whose code ends in this octet, and which bit of it is the last of that code, counted from the lowest.
    /// `None`: it is no code, or `put` wants no more.
    #[inline]
    pub(super) fn take(
        &mut self,
        octet: u8,
        mut put: impl FnMut(u8, u32) -> Option<()>,
    ) -> Option<()> {
        for at in (0..8).rev() {
            self.bits = self.bits << 1 | u32::from(octet >> at & 1);
            self.len += 1;
            let len = usize::from(self.len);
            if len > LONGEST {
                return None;
            }
            let nth = self.bits.wrapping_sub(TABLES.first[len]);
            if nth < TABLES.count[len] {
                let symbol = TABLES.symbols[(TABLES.before[len] + nth) as usize];
                // The end mark must not be written out (section 5.2).
                put(u8::try_from(symbol).ok()?, at)?;
                *self = Decoder::default();
            }
        }
        Some(())
    }

    /// Whether what is left is the beginning of the end mark: ones, fewer than an octet of them.
    fn may_end(self) -> bool {
        self.len < 8 && self.bits == (1 << self.len) - 1
    }
}

/// The code of a text.
#[cfg(test)]
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    let code_of = |octet: u8| {
        let len = usize::from(LENGTHS[usize::from(octet)]);
        let of_len = &TABLES.symbols[TABLES.before[len] as usize..];
        let nth = of_len
            .iter()
            .position(|&symbol| symbol == u16::from(octet))
            .unwrap();
        (TABLES.first[len] + nth as u32, len)
    };
    let mut bits: Vec<u8> = Vec::new();
    for &octet in text {
        let (code, len) = code_of(octet);
        bits.extend((0..len).rev().map(|at| (code >> at & 1) as u8));
    }
    while !bits.len().is_multiple_of(8) {
        bits.push(1);
    }
    let octet = |bits: &[u8]| bits.iter().fold(0, |octet, bit| octet << 1 | bit);
    bits.chunks(8).map(octet).collect()
}

struct Tables {
    /// By length: the first code, how many there are, and how many are shorter.
    first: [u32; LONGEST + 1],
    count: [u32; LONGEST + 1],
    before: [u32; LONGEST + 1],
    /// In the order of their codes.
    symbols: [u16; LENGTHS.len()],
}

const TABLES: Tables = tables();

const fn tables() -> Tables {
    let mut tables = Tables {
        first: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
        before: [0; LONGEST + 1],
        symbols: [0; LENGTHS.len()],
    };
    let (mut len, mut code, mut at) = (1, 0, 0);
    while len <= LONGEST {
        code <<= 1;
        tables.first[len] = code;
        tables.before[len] = at as u32;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == len {
                tables.symbols[at] = symbol as u16;
                tables.count[len] += 1;
                code += 1;
                at += 1;
            }
            symbol += 1;
        }
        len += 1;
    }
    tables
}

const LONGEST: usize = 30;

/// Bits of the code of each octet, and of the end mark.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11,
    10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8,
    15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5,
    6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23,
    23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21,
    23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25,
    26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26,
    28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: &[u8], expect: Option<&str>) {
        let mut out = Vec::new();
        let outcome = decode(code, 100, &mut out);
        assert_eq!(outcome.is_some(), expect.is_some(), "{code:02x?}");
        if let Some(expect) = expect {
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        }
    }

    #[test]
    fn examples_of_the_standard() {
        // RFC 7541 appendix C.4 and C.6.
        check(
            &[
                0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
            ],
            Some("www.example.com"),
        );
        check(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], Some("no-cache"));
        check(
            &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f],
            Some("custom-key"),
        );
        check(&[0x64, 0x02], Some("302"));
        check(&[], Some(""));
    }

    #[test]
    fn every_octet_has_a_code() {
        let all: Vec<u8> = (0..=255).collect();
        let mut out = Vec::new();
        decode(&encode(&all), 256, &mut out).unwrap();
        assert_eq!(out, all);
    }

    #[test]
    fn the_code_is_complete() {
        // Kraft's sum: every string of bits is the beginning of some code.
        let sum: u64 = LENGTHS
            .iter()
            .map(|&len| 1 << (LONGEST - len as usize))
            .sum();
        assert_eq!(sum, 1 << LONGEST);
    }

    #[test]
    fn what_is_no_code_is_refused() {
        // Padding that is not ones, an octet of padding too many, the end mark, and a text that is too long.
        check(&[0x00], None);
        check(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf, 0xff], None);
        check(&[0xff, 0xff, 0xff, 0xff], None);
        check(&[0; 200], None);
    }
}
