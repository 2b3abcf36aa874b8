//! Tests of *bufsize*.

use super::*;
use crate::testing::Host;
use crate::testing::directive::{set_up, set_up_error};

#[test]
fn the_advertised_size_is_bounded() {
    let host = |lines: &str| {
        Host::new(&format!(
            ".:53 {{\n {lines}\n erratic {{\n large\n drop 0\n }}\n}}\n"
        ))
        .unwrap_or_else(|error| panic!("{error}"))
    };
    // 30 addresses take 12 + 17 + 30 * 16 octets.
    for (lines, query, size, opt, cut) in [
        (
            "bufsize",
            "example.org A bufsize=4096",
            520,
            Some(1232),
            false,
        ),
        (
            "bufsize 512",
            "example.org A bufsize=4096",
            512,
            Some(512),
            true,
        ),
        (
            "bufsize 512",
            "example.org A bufsize=512 +do",
            512,
            Some(512),
            true,
        ),
        (
            "bufsize 4096",
            "example.org A bufsize=1400",
            520,
            Some(1400),
            false,
        ),
        ("bufsize 512", "example.org A", 512, None, false),
        (
            "bufsize 512",
            "example.org A bufsize=4096 +tcp",
            520,
            Some(512),
            false,
        ),
    ] {
        let seen = host(lines).ask(query);
        assert!(seen.size <= size, "{lines} {query}: {}", seen.size);
        assert_eq!(seen.opt.as_ref().map(|opt| opt.0), opt, "{lines} {query}");
        assert_eq!(seen.flags.contains("tc"), cut, "{lines} {query}");
    }
}

#[test]
fn sizes_are_512_to_4096() {
    for (lines, expect) in [
        ("bufsize", 1232),
        ("bufsize 512", 512),
        ("bufsize 4096\nbufsize 512", 4096),
    ] {
        assert_eq!(*set_up::<Bufsize>("bufsize", lines).unwrap().config, expect);
    }
    for (lines, word) in [
        ("bufsize x", "x"),
        ("bufsize 511", "511"),
        ("bufsize 4097", "4097"),
        ("bufsize -1", "-1"),
        ("bufsize 512 x", "x"),
    ] {
        let expect = format!(
            "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after '{word}'"
        );
        assert_eq!(set_up_error::<Bufsize>("bufsize", lines), expect);
    }
}
