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
    let (mut bits, mut len) = (0u32, 0usize);
    for octet in code {
        for at in (0..8).rev() {
            bits = bits << 1 | u32::from(octet >> at & 1);
            len += 1;
            if len > LONGEST {
                return None;
            }
            let nth = bits.wrapping_sub(TABLES.first[len]);
            if nth < TABLES.count[len] {
                let symbol = TABLES.symbols[(TABLES.before[len] + nth) as usize];
                // The end mark must not be written out (section 5.2).
                out.push(u8::try_from(symbol).ok()?);
                if out.len() > most {
                    return None;
                }
                (bits, len) = (0, 0);
            }
        }
    }
    // What is left is the beginning of the end mark: ones, fewer than an octet of them.
    (len < 8 && bits == (1 << len) - 1).then_some(())
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
