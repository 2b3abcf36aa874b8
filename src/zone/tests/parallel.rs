//! A file read in chunks on several threads gives what one thread makes of it.

use std::io;
use std::path::Path;

use proptest::prelude::*;

use super::super::load::{Split, load_split};
use super::*;

/// Everything that can be told about a load: records and warnings, or the error.
fn told(text: &str, split: Split) -> String {
    let mut open = |path: &Path| match path.to_string_lossy().as_ref() {
        "inner" => Ok(b"$TTL 7\n@ A 192.0.2.77\n A 192.0.2.78\nx.other. A 192.0.2.1\n".to_vec()),
        "bad" => Ok(b"a A 192.0.2.1\nb A what\n".to_vec()),
        "large" => Ok("l A 192.0.2.1\n  TXT t\n$ORIGIN q\n"
            .repeat(40)
            .into_bytes()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let origin = wire("z.");
    match load_split(
        text.as_bytes(),
        "db",
        origin.as_slice(),
        Some(99),
        split,
        &mut open,
    ) {
        Err(error) => error.to_string(),
        Ok(loaded) => {
            let mut lines: Vec<String> = loaded
                .zone
                .records()
                .map(|r| format!("{} {} {} {:?}", r.owner, r.ttl, r.rtype, r.rdata))
                .collect();
            lines.push(format!("{} names", loaded.zone.name_count()));
            lines.extend(loaded.warnings);
            lines.join("\n")
        }
    }
}

fn agree(text: &str, chunk: usize) {
    let divided = Split { threads: 3, chunk };
    assert_eq!(told(text, divided), told(text, Split::NONE), "{text}");
}

fn line() -> impl Strategy<Value = String> {
    let name = || {
        prop_oneof![
            Just("@".to_owned()),
            "[a-c]{1,2}(\\.[a-c]){0,2}",
            "[a-c]\\.z\\.",
            Just("far.example.".to_owned()),
        ]
    };
    prop_oneof![
        8 => (name(), 1..9u8).prop_map(|(name, n)| format!("{name} 60 IN A 192.0.2.{n}\n")),
        3 => (name(), 1..9u8).prop_map(|(name, n)| format!("{name} A 192.0.2.{n} ; a ( note \"\n")),
        2 => (1..9u8).prop_map(|n| format!("  A 192.0.2.{n}\n")),
        2 => name().prop_map(|name| format!("  TXT \"x ; y\n {name} A (\" z\n")),
        2 => name().prop_map(|name| format!("{name} 5 TXT ( one\ntwo ; )\n\n  three )\n")),
        1 => name().prop_map(|name| format!("{name} CNAME c\n")),
        1 => name().prop_map(|name| format!("a MX 1 {name}\n")),
        1 => Just("\n; a comment line\n\n".to_owned()),
        1 => Just("esc\\\naped A 192.0.2.9\n".to_owned()),
        1 => name().prop_map(|name| format!("$ORIGIN {name}\n")),
        1 => Just("$ORIGIN z.\n".to_owned()),
        1 => (1..99u8).prop_map(|n| format!("$TTL {n}\n")),
        1 => Just("$INCLUDE inner\n".to_owned()),
        1 => Just("$INCLUDE large i\n".to_owned()),
        1 => Just("$GENERATE 1-3 g$ A 192.0.2.$\n".to_owned()),
    ]
}

/// What ends a load, or is better not guessed.
fn odd_line() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("@ 60 SOA ns h 5 2 3 4 5\n"),
        Just("@ 60 SOA ns h 99 2 3 4 5\n"),
        Just("a A 192.0.2\n"),
        Just("a TXT \"open\n"),
        Just("a A ( 192.0.2.1\n"),
        Just(")\n"),
        Just("$FOO\n"),
        Just("$INCLUDE bad\n"),
        Just("$INCLUDE none\n"),
        Just("a NSEC3 1 0 0 - a\n"),
        Just("$ORIGIN\n"),
        Just("\u{feff}\n"),
        Just("no newline at the end: A"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_file_reads_alike(
        head in prop_oneof![
            Just("$TTL 60\n@ SOA ns h 1 2 3 4 5\n"),
            Just("@ 60 SOA ns h 1 2 3 4 5\n"),
            Just("\u{feff}@ 60 SOA ns h 1 2 3 4 5\r\n"),
            Just(""),
        ],
        lines in prop::collection::vec(line(), 0..60),
        odd in prop::collection::vec((odd_line(), any::<prop::sample::Index>()), 0..2),
        chunk in 16usize..400,
    ) {
        let mut lines = lines;
        for (line, at) in odd {
            let at = at.index(lines.len() + 1);
            lines.insert(at, line.to_owned());
        }
        agree(&format!("{head}{}", lines.concat()), chunk);
    }

    #[test]
    fn any_text_reads_alike(
        text in r#"(\$TTL 1\n|@ 1 SOA a b 1 2 3 4 5\n)?([a-z@*$.\\ "();{}0-9,/-]|\n| A | TXT | IN |\\#|\$GENERATE |\$ORIGIN |192.0.2.1\n){0,200}"#,
        chunk in 16usize..100,
    ) {
        agree(&text, chunk);
    }
}

#[test]
fn entries_and_comments_longer_than_chunks_read_alike() {
    let long = "; nothing\n".repeat(300);
    let text = format!(
        "$TTL 60\n@ SOA ns h 1 2 3 4 5\na A 192.0.2.1\nb TXT ( one\n{long} two )\n{long}c A 192.0.2.3\nd TXT \"{long}\"\ne A 192.0.2.4\n"
    );
    for chunk in [64, 500, 3000] {
        agree(&text.replace("\"; nothing", "\"x"), chunk);
    }
}

#[test]
fn a_late_mistake_is_told_with_its_line() {
    let lines: String = (0..999).map(|n| format!("h{n} A 10.0.0.1\n")).collect();
    let text = format!("$TTL 60\n@ SOA ns h 1 2 3 4 5\n{lines}bad A x\n{lines}");
    let split = Split {
        threads: 2,
        chunk: 1000,
    };
    assert!(split.is_worth(text.len()));
    assert_eq!(
        told(&text, split),
        "db: dns: bad A: bad IPv4 address: \"x\" at line: 1002:7"
    );
}

#[test]
fn records_outside_are_counted_over_chunks() {
    let lines: String = (0..2000)
        .map(|n| format!("h{:04} A 10.0.0.1\nout. A 10.0.0.1\n", n * 7 % 2000))
        .collect();
    let text = format!("$TTL 60\n@ SOA ns h 1 2 3 4 5\n{lines}");
    let told = told(
        &text,
        Split {
            threads: 3,
            chunk: 512,
        },
    );
    assert!(
        told.ends_with("db:4: out. is outside of zone z.: ignored (2000 such records)"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 2000 + 3);
}
