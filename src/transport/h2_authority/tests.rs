//! Connections by hand, in all pieces that they may come in.

use http::uri::Authority;
use proptest::prelude::*;

use super::*;
use crate::transport::huffman;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut octets = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    octets.extend([kind, flags, 0, 0, 0, 1]);
    octets.extend(payload);
    octets
}

/// The frames behind a preface, as h2 gets them when they come in pieces that end at `cuts`.
fn in_pieces(frames: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut octets = [PREFACE, frames].concat();
    let mut authorities = Authorities::default();
    let mut rest = &mut octets[..];
    let mut at = 0;
    for cut in cuts {
        let (piece, later) = rest.split_at_mut(cut - at);
        authorities.mend(piece);
        (rest, at) = (later, *cut);
    }
    authorities.mend(rest);
    assert_eq!(&octets[..PREFACE.len()], PREFACE);
    octets.split_off(PREFACE.len())
}

/// The frames become those, whole, cut in two anywhere, and octet by octet.
#[track_caller]
fn check(frames: &[u8], expect: &[u8]) {
    let len = PREFACE.len() + frames.len();
    let all: Vec<usize> = (1..len).collect();
    assert_eq!(in_pieces(frames, &[]), expect);
    assert_eq!(in_pieces(frames, &all), expect);
    for cut in all {
        assert_eq!(in_pieces(frames, &[cut]), expect, "cut at {cut}");
    }
}

#[track_caller]
fn check_untouched(frames: &[u8]) {
    check(frames, frames);
}

/// A text as it stands in a block, in Huffman code or not.
fn string(text: &str, is_coded: bool) -> Vec<u8> {
    let (octets, flag) = match is_coded {
        true => (huffman::encode(text.as_bytes()), 0x80),
        false => (text.as_bytes().to_vec(), 0),
    };
    let mut out = match octets.len() {
        len @ 0..0x7f => vec![flag | len as u8],
        len => vec![
            flag | 0x7f,
            0x80 | ((len - 0x7f) & 0x7f) as u8,
            ((len - 0x7f) >> 7) as u8,
        ],
    };
    out.extend(octets);
    out
}

/// The authority in a literal that begins so, between fields of all kinds.
fn block(first: u8, authority: &str, is_coded: bool) -> Vec<u8> {
    let long = "x".repeat(300);
    [
        &[0x3f, 0xe1, 0x1f][..], // the table's size is 4,096
        &[0x82, 0x87, 0x04],     // GET, https, a path that is not indexed
        &string("/dns-query?dns=1::1:1", is_coded),
        &[first],
        &string(authority, is_coded),
        &[0x40], // a name and its value
        &string("x-of-no:table", is_coded),
        &string("::1", is_coded),
        &[0x0f, 0x2b], // user-agent
        &string(&long, is_coded),
        &[0xbe], // what the table has last
        &[0x10],
        &string("", is_coded),
        &string("", is_coded),
        &[0x7f, 0x00], // index 63
        &string("1:2:3", is_coded),
    ]
    .concat()
}

/// What a literal `:authority` becomes, in both encodings; nothing else changes.
#[track_caller]
fn check_authority(authority: &str, expect: &str) {
    for is_coded in [false, true] {
        for first in [0x41, 0x01, 0x11] {
            let before = block(first, authority, is_coded);
            let after = block(first, expect, is_coded);
            assert_eq!(before.len(), after.len());
            check(
                &frame(HEADERS, END_HEADERS, &before),
                &frame(HEADERS, END_HEADERS, &after),
            );
        }
    }
}

#[test]
fn addresses_without_brackets_become_authorities() {
    for (authority, expect) in [
        ("::1:8443", ":B1B8443"),
        ("::1", ":B1"),
        ("::", ":B"),
        ("2001:db8::53:443", "2001:db8BB53B443"),
        ("FE80::1:2:3:4:8443", "FE80:B1B2B3B4B8443"),
        ("1:2:3:4:5:6:7:8:8443", "1:2B3B4B5B6B7B8B8443"),
        ("::ffff:192.0.2.1:443", ":BffffB192.0.2.1B443"),
    ] {
        assert!(authority.parse::<Authority>().is_err(), "{authority}");
        assert!(expect.parse::<Authority>().is_ok(), "{expect}");
        check_authority(authority, expect);
    }
}

#[test]
fn other_authorities_stay() {
    for authority in [
        "",
        ":",
        "localhost",
        "dns.example:8443",
        "192.0.2.1:8443",
        "[::1]:8443",
        "[::1]",
        "cafe:443",
        "user:password@dns.example:443",
        "dns:one:two",
    ] {
        check_authority(authority, authority);
    }
}

#[test]
fn the_last_bit_of_the_code_makes_a_colon_a_letter() {
    let colon = huffman::encode(b":")[0];
    let letter = huffman::encode(&[LETTER])[0];
    // Seven bits, and one of padding.
    assert_eq!(colon | 2, letter);
}

#[test]
fn padding_and_priority_are_passed_over() {
    let (before, after) = (block(0x41, "::1:8443", true), block(0x41, ":B1B8443", true));
    // An address in what is no block.
    let priority = &[0x80, 0x41, 3, b':', b':'][..];
    let padding = b"\x41\x03::1";
    let both = |flags, around: fn(&[u8], &[&[u8]; 2]) -> Vec<u8>| {
        let parts = [priority, &padding[..]];
        check(
            &frame(HEADERS, END_HEADERS | flags, &around(&before, &parts)),
            &frame(HEADERS, END_HEADERS | flags, &around(&after, &parts)),
        );
    };
    both(PRIORITY, |block, [priority, _]| [*priority, block].concat());
    both(PADDED, |block, [_, padding]| {
        [&[padding.len() as u8], block, *padding].concat()
    });
    both(PADDED | PRIORITY, |block, [priority, padding]| {
        [&[padding.len() as u8], *priority, block, *padding].concat()
    });
    both(PADDED, |block, _| [&[0], block].concat());
}

#[test]
fn every_frame_is_found() {
    let good = |authority| frame(HEADERS, END_HEADERS, &block(0x41, authority, false));
    let others = [
        frame(4, 0, &[]),
        frame(0, 0, &block(0x41, "::1:8443", false)),
        frame(0, PADDED | PRIORITY, b"\x41\x03::1"),
        frame(2, 0, &[0x41, 3, b':', b':', b':']),
        frame(0xfa, 0xff, b"\x41\x03::1"),
    ]
    .concat();
    let with = |authority| [good(authority), others.clone(), good(authority)].concat();
    check(&with("::1:8443"), &with(":B1B8443"));
    // What the first has put into the table.
    let indexed = frame(HEADERS, END_HEADERS, &[0x82, 0x87, 0xbe]);
    check(
        &[good("::1:8443"), indexed.clone()].concat(),
        &[good(":B1B8443"), indexed].concat(),
    );
}

#[test]
fn a_block_may_come_in_several_frames() {
    for is_coded in [false, true] {
        let (before, after) = (
            block(0x41, "::1:8443", is_coded),
            block(0x41, ":B1B8443", is_coded),
        );
        let in_two = |block: &[u8], at| {
            let (head, tail) = block.split_at(at);
            let head = frame(HEADERS, 0, head);
            [head, frame(CONTINUATION, END_HEADERS, tail)].concat()
        };
        for at in 0..before.len() {
            assert_eq!(
                in_pieces(&in_two(&before, at), &[]),
                in_two(&after, at),
                "{at}"
            );
        }
    }
}

#[test]
fn what_cannot_be_read_stays_and_the_next_frame_is_found() {
    let good = |authority| frame(HEADERS, END_HEADERS, &block(0x41, authority, false));
    for broken in [
        &b"\x41\xff\xff\xff\xff\xff\x01::1"[..], // a length without end
        b"\x41\x7f\xff\xff\xff\x7f1:g",          // longer than anything
        b"\x41\x09",                             // a text that does not come
        b"\x41",
        b"\x00\x7f",
        b"\xff\xff\xff\xff\xff\xff\xff",
        b"\x41\x84\xff\xff\xff\xff", // the end mark
    ] {
        let broken = frame(HEADERS, END_HEADERS, broken);
        let with = |authority| [broken.clone(), good(authority)].concat();
        check(&with("::1:8443"), &with(":B1B8443"));
    }
    // More padding than there is room, and no room for what the flags promise.
    for (flags, payload) in [
        (PADDED, &b"\xff\x41\x03::1"[..]),
        (PADDED, b"\x01"),
        (PADDED, b""),
        (PRIORITY, b"\x41\x03:"),
        (PADDED | PRIORITY, b"\x01\x41\x03::1"),
    ] {
        check_untouched(&frame(HEADERS, END_HEADERS | flags, payload));
    }
}

proptest! {
    #[test]
    fn any_address_becomes_an_authority(text in "[0-9a-fA-F:.]{1,40}", is_coded: bool) {
        let after = mended(&text, is_coded);
        prop_assert!(Authority::try_from(&after[..]).is_ok(), "{after:?}");
    }

    #[test]
    fn an_authority_stays_one(text in "[0-9a-h:.@%\\[\\]/?]{0,12}", is_coded: bool) {
        if text.parse::<Authority>().is_ok() {
            let after = mended(&text, is_coded);
            prop_assert!(Authority::try_from(&after[..]).is_ok(), "{after:?}");
        }
    }

    #[test]
    fn any_pieces_of_anything_give_the_same(
        frames in proptest::collection::vec(any::<u8>(), 0..200),
        kind in prop_oneof![Just(HEADERS), Just(CONTINUATION)],
        flags: u8,
    ) {
        let all = [frame(kind, flags, &frames), frames].concat();
        let cuts: Vec<usize> = (1..PREFACE.len() + all.len()).collect();
        prop_assert_eq!(in_pieces(&all, &[]), in_pieces(&all, &cuts));
    }
}

/// What h2 reads for an authority.
fn mended(text: &str, is_coded: bool) -> Vec<u8> {
    let field = [&[0x41][..], &string(text, is_coded)].concat();
    let got = in_pieces(&frame(HEADERS, END_HEADERS, &field), &[]);
    let value = &got[FRAME_HEADER + 2..];
    let mut out = Vec::new();
    match is_coded {
        true => huffman::decode(value, 100, &mut out).unwrap(),
        false => out.extend(value),
    }
    out
}

const PREFACE: &[u8; PREFACE_OCTETS] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const END_HEADERS: u8 = 4;
