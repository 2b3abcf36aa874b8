//! Any text gives blocks or an error, soon and without a panic.

use proptest::prelude::*;

use super::*;
use crate::corefile::address;

fn source() -> FakeSource {
    FakeSource::default()
        .env("A", "x")
        .env("B", "{$A} {%C%}")
        .env("C", "{$C}")
        .file("/conf/f", "(s) {\n log\n import t\n}\n")
        .file("/conf/g", "x {\n import f\n")
        .file("/conf/h", "log {$A}\n")
}

/// Parses, and if that succeeds does with the result all that a server would.
fn exercise(text: &str) {
    let Ok(corefile) = parse_all(text, &source()) else {
        return;
    };
    let mut overlap = address::Overlap::default();
    for block in &corefile.blocks {
        assert!(!block.keys.is_empty());
        for key in address::keys(block, 53).unwrap_or_default() {
            // Any outcome will do.
            let _ = overlap.add(&key, "", false);
            assert_eq!(ZoneName::new(key.zone.as_str()), Some(key.zone.clone()));
        }
        for directive in &block.directives {
            exercise_args(directive);
        }
    }
    assert_eq!(
        corefile.digest(),
        parse_all(text, &source()).unwrap().digest()
    );
}

fn exercise_args(directive: &Directive) {
    assert!(!directive.tokens.is_empty());
    let mut args = Args::new(directive);
    let mut steps = 0;
    while args.next() {
        args.remaining_args();
        while args.next_block() {
            args.remaining_args();
            steps += 1;
            assert!(steps <= directive.tokens.len(), "a block never ends");
        }
    }
}

/// Words out of which odd Corefiles are made.
fn word() -> impl Strategy<Value = String> {
    let words = [
        "{",
        "}",
        "{",
        "}",
        "import",
        "import",
        "(s)",
        "s",
        "(t)",
        "t",
        "f",
        "g",
        "h",
        "*",
        "a?",
        ".",
        "x,",
        "log",
        "forward",
        "{$A}",
        "{$B}",
        "{%A%}",
        "{$",
        "{%}",
        "{}",
        "\"",
        "\"\"",
        "\"a\nb\"",
        "#",
        "\\",
        "10.0.0.0/9",
        "tls://x:1",
        "\u{feff}",
        "\u{e9}",
        "::/1",
        "\r",
    ];
    let gap = prop::sample::select(vec![" ", "\n", "\n", "", "\t"]);
    (prop::sample::select(words.to_vec()), gap).prop_map(|(word, gap)| format!("{word}{gap}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_ends(text in any::<String>()) {
        exercise(&text);
    }

    #[test]
    fn any_words_end(words in prop::collection::vec(word(), 0..60)) {
        exercise(&words.concat());
    }

    #[test]
    fn cut_and_changed_files_end(cut in 0..400_usize, at in 0..400_usize, new in word()) {
        let text = "(s) {\n log a {\n  class x\n }\n}\n.:53 10.0.0.0/8 {\n import s\n forward . 1.1.1.1 {\n  max 1\n \
                    }\n}\na.org,\nb.org {\n import h\n template \"a b\" {\n  match \"x\\\"y\"\n }\n}\n";
        let (cut, at) = (cut.min(text.len()), at.min(text.len()));
        exercise(&text[..cut]);
        exercise(&format!("{}{new}{}", &text[..at], &text[at..]));
    }

    #[test]
    fn any_address_splits(text in any::<String>(), marks in "[\\]\\[:a0.%]{0,12}") {
        for text in [text, marks] {
            if let Ok((host, port)) = split_host_port(&text) {
                prop_assert!(text.len() > host.len() + port.len());
                prop_assert!(!port.contains(':'));
            }
            let _ = host_port(&text);
            let _ = zones::zones_of(&text);
        }
    }

    #[test]
    fn any_network_covers_its_addresses(bits in any::<u32>(), length in 0..=32_u32) {
        let address = std::net::Ipv4Addr::from_bits(bits);
        let zones = zones::zones_of(&format!("{address}/{length}"));
        let [a, b, c, d] = address.octets();
        let name = ZoneName::new(&format!("{d}.{c}.{b}.{a}.in-addr.arpa")).unwrap();
        prop_assert_eq!(zones.iter().filter(|zone| zone.is_suffix_of(name.wire())).count(), 1);
        prop_assert!(zones.len() <= 128);
    }
}
