//! Header fields of HTTP/3 (QPACK, RFC 9204) without a dynamic table: we grant clients none, and make none.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use super::table::STATIC;
use crate::limits::HTTP_HEADER_OCTETS;
use crate::transport::huffman;

/// What is wrong with a block of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It cannot be read, or refers to a table that there is not.
    Block,
    /// More than `limits::HTTP_HEADER_OCTETS`.
    Long,
}

/// Hands over the fields of a block in order, as name and value.
pub(super) fn decode(mut block: &[u8], mut take: impl FnMut(&[u8], &[u8])) -> Result<(), Wrong> {
    // The prefix (section 4.5.1): inserts that are needed, none, and a base that then means nothing.
    if integer(&mut block, 8).ok_or(Wrong::Block)? != 0 {
        return Err(Wrong::Block);
    }
    integer(&mut block, 7).ok_or(Wrong::Block)?;
    let (mut name, mut value) = (Vec::new(), Vec::new());
    let mut size = 0;
    while let Some(&first) = block.first() {
        name.clear();
        value.clear();
        if first & 0x80 != 0 {
            // An indexed field; bit 6 tells the static table.
            let (known, text) = entry(&mut block, 6, first & 0x40 != 0)?;
            name.extend(known.as_bytes());
            value.extend(text.as_bytes());
        } else if first & 0x40 != 0 {
            // A name of a table, and a value; bit 4 tells the static one.
            let (known, _) = entry(&mut block, 4, first & 0x10 != 0)?;
            name.extend(known.as_bytes());
            string(&mut block, 7, &mut value)?;
        } else if first & 0x20 != 0 {
            string(&mut block, 3, &mut name)?;
            string(&mut block, 7, &mut value)?;
        } else {
            // What is left refers to a dynamic table.
            return Err(Wrong::Block);
        }
        // RFC 9114 section 4.2.2.
        size += name.len() + value.len() + FIELD_OVERHEAD;
        if size > HTTP_HEADER_OCTETS {
            return Err(Wrong::Long);
        }
        take(&name, &value);
    }
    Ok(())
}

/// Writes the prefix of a block that needs no dynamic table.
pub(super) fn write_prefix(out: &mut Vec<u8>) {
    out.extend([0, 0]);
}

/// Writes a field, by reference to the static table where it has the name.
pub(super) fn write_field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    let mut named = None;
    for (index, (known, text)) in STATIC.iter().enumerate() {
        if *known == name {
            if text.as_bytes() == value {
                return write_integer(0xc0, 6, index, out);
            }
            named.get_or_insert(index);
        }
    }
    match named {
        Some(index) => write_integer(0x50, 4, index, out),
        None => {
            write_integer(0x20, 3, name.len(), out);
            out.extend(name.as_bytes());
        }
    }
    write_integer(0, 7, value.len(), out);
    out.extend(value);
}

fn entry(
    block: &mut &[u8],
    bits: u32,
    is_static: bool,
) -> Result<(&'static str, &'static str), Wrong> {
    let index = integer(block, bits).ok_or(Wrong::Block)?;
    match STATIC.get(index) {
        Some(field) if is_static => Ok(*field),
        _ => Err(Wrong::Block),
    }
}

/// A text whose length has so many bits in its first octet; the bit above tells whether it is Huffman code.
fn string(block: &mut &[u8], bits: u32, out: &mut Vec<u8>) -> Result<(), Wrong> {
    let first = *block.first().ok_or(Wrong::Block)?;
    let len = integer(block, bits).ok_or(Wrong::Block)?;
    let (text, rest) = block.split_at_checked(len).ok_or(Wrong::Block)?;
    *block = rest;
    if first >> bits & 1 == 0 {
        out.extend(text);
        return Ok(());
    }
    // No code is longer than what a field may have, in four bits and more for each octet.
    if text.len() > HTTP_HEADER_OCTETS * 4 {
        return Err(Wrong::Long);
    }
    huffman::decode(text, HTTP_HEADER_OCTETS, out).ok_or(match out.len() > HTTP_HEADER_OCTETS {
        true => Wrong::Long,
        false => Wrong::Block,
    })
}

/// An integer whose first part has so many bits (RFC 7541 section 5.1); `None`: it is cut, or larger than anything that makes sense.
pub(super) fn integer(octets: &mut &[u8], bits: u32) -> Option<usize> {
    let (&first, mut rest) = octets.split_first()?;
    let most = (1usize << bits) - 1;
    let mut value = usize::from(first) & most;
    if value == most {
        let mut shift = 0;
        loop {
            let (&octet, next) = rest.split_first()?;
            rest = next;
            value += usize::from(octet & 0x7f) << shift;
            shift += 7;
            if octet & 0x80 == 0 {
                break;
            }
            if shift > 28 {
                return None;
            }
        }
    }
    *octets = rest;
    Some(value)
}

fn write_integer(flags: u8, bits: u32, value: usize, out: &mut Vec<u8>) {
    let most = (1usize << bits) - 1;
    if value < most {
        // Less than the bits hold.
        return out.push(flags | value as u8);
    }
    out.push(flags | most as u8);
    let mut rest = value - most;
    while rest >= 0x80 {
        out.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// What a field counts besides its octets (RFC 9114 section 4.2.2).
const FIELD_OVERHEAD: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(block: &[u8]) -> Result<Vec<(String, String)>, Wrong> {
        let mut all = Vec::new();
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        decode(block, |name, value| all.push((text(name), text(value))))?;
        Ok(all)
    }

    fn check(block: &[u8], expect: &[(&str, &str)]) {
        let got = fields(block).unwrap();
        let got: Vec<_> = got
            .iter()
            .map(|(name, value)| (&name[..], &value[..]))
            .collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn fields_of_all_kinds_are_read() {
        // RFC 9204 appendix B.1: a literal value with a name of the static table.
        let block = [&[0, 0, 0x51, 11][..], b"/index.html"].concat();
        check(&block, &[(":path", "/index.html")]);
        check(
            &[0, 0, 0xd1, 0xd7, 0xc1],
            &[(":method", "GET"), (":scheme", "https"), (":path", "/")],
        );
        // An index that takes a second octet, a literal name, a value in Huffman code.
        check(&[0, 0, 0xff, 35], &[("x-frame-options", "sameorigin")]);
        let block = [
            &[0, 0, 0x23][..],
            b"abc",
            &[0x86, 0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf],
        ]
        .concat();
        check(&block, &[("abc", "no-cache")]);
        check(&[0, 0], &[]);
    }

    #[test]
    fn fields_that_are_written_can_be_read() {
        let mut out = Vec::new();
        write_prefix(&mut out);
        let long = "v".repeat(300);
        let all = [
            (":status", "200"),
            (":status", "418"),
            ("content-type", "application/dns-message"),
            ("content-length", "1234"),
            ("x-something-else", &long),
        ];
        for (name, value) in all {
            write_field(name, value.as_bytes(), &mut out);
        }
        check(&out, &all);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for block in [
            &[][..],
            &[0],
            &[1, 0, 0xd1],           // needs an insert
            &[0, 0, 0x80],           // dynamic index
            &[0, 0, 0x40, 1, b'a'],  // dynamic name
            &[0, 0, 0x10],           // post-base index
            &[0, 0, 0x00, 1, b'a'],  // post-base name
            &[0, 0, 0xff, 36],       // static index 99
            &[0, 0, 0x51, 11, b'/'], // value cut
            &[0, 0, 0x51],           // value missing
            &[
                0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
            ],
            &[0, 0, 0x51, 0x82, 0xff, 0xff], // Huffman code that ends in the middle
        ] {
            assert_eq!(fields(block), Err(Wrong::Block), "{block:02x?}");
        }
    }

    #[test]
    fn fields_are_bounded() {
        let many = [&[0, 0][..], &[0xd1].repeat(1_000)].concat();
        assert_eq!(fields(&many), Err(Wrong::Long));
        let mut long = vec![0, 0];
        write_field("x", &vec![b'v'; HTTP_HEADER_OCTETS], &mut long);
        assert_eq!(fields(&long), Err(Wrong::Long));
    }
}
