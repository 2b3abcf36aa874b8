//! One record in master-file form, outside of any zone.

use super::lex::Lexer;
use super::name::WireName;
use super::rdata::{self, Word};

/// A record as wire data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextRecord {
    /// Its owner, spelled as written.
    pub owner: WireName,
    /// TYPE.
    pub rtype: u16,
    /// CLASS.
    pub class: u16,
    /// TTL in seconds.
    pub ttl: u32,
    /// Its data, uncompressed.
    pub data: Vec<u8>,
}

/// Reads `OWNER [TTL] [CLASS] TYPE DATA` (RFC 1035 section 5.1); relative names are below the root. Without a TTL the
/// record has `ttl`, without a class IN. What follows the first record is not looked at.
pub fn parse_record(text: &str, ttl: u32) -> Result<TextRecord, String> {
    let text = text.trim_start();
    let mut lexer = Lexer::new(text.as_bytes());
    let mut tokens = Vec::new();
    let found = lexer
        .next_entry(&mut tokens, text.len())
        .map_err(|error| fault(error.what, b"", error.at + 1))?;
    if found.is_none() {
        return Err("dns: no record in an empty text".into());
    }
    let words: Vec<Word<'_>> = tokens
        .iter()
        .map(|&token| Word {
            octets: lexer.octets(token),
            quoted: token.quoted,
            glued: token.glued,
        })
        .collect();
    let bad = |what: &str, at: usize| {
        let at = at.min(tokens.len().saturating_sub(1));
        let column = tokens
            .get(at)
            .map_or(1, |token| lexer.column(token.start as usize));
        fault(what, words.get(at).map_or(b"", |word| word.octets), column)
    };
    // An entry has at least one token.
    let mut record = TextRecord {
        owner: WireName::parse(words[0].octets, WireName::ROOT.as_slice())
            .map_err(|error| bad(&format!("bad owner name ({error})"), 0))?,
        rtype: 0,
        class: super::CLASS_IN,
        ttl,
        data: Vec::new(),
    };
    let (mut has_ttl, mut has_class) = (false, false);
    let mut at = 1;
    loop {
        let word = words
            .get(at)
            .ok_or_else(|| bad("missing record type", at))?
            .octets;
        at += 1;
        if let (false, Some(span)) = (has_ttl, rdata::span(word)) {
            (record.ttl, has_ttl) = (span, true);
        } else if let (false, Some(class)) = (has_class, class_number(word)) {
            (record.class, has_class) = (class, true);
        } else {
            record.rtype = rdata::type_number(&word.to_ascii_uppercase())
                .filter(|rtype| !matches!(rtype, 0 | 41 | 249..=255))
                .ok_or_else(|| bad("unknown RR type", at - 1))?;
            break;
        }
    }
    rdata::encode(
        record.rtype,
        &words[at..],
        WireName::ROOT.as_slice(),
        &mut record.data,
    )
    .map_err(|error| bad(error.what, at + error.word))?;
    Ok(record)
}

fn class_number(word: &[u8]) -> Option<u16> {
    let word = str::from_utf8(word).ok()?.to_ascii_uppercase();
    crate::wire::types::parse_class(&word).filter(|_| word != "ANY")
}

fn fault(what: &str, token: &[u8], column: usize) -> String {
    let token = token[..token.len().min(80)].escape_ascii();
    format!("dns: {what}: \"{token}\" at line: 1:{column}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expect: &str) {
        let shown = match parse_record(text, 3600) {
            Ok(r) => format!("{} {} {} {} {:?}", r.owner, r.ttl, r.class, r.rtype, r.data),
            Err(error) => error,
        };
        assert_eq!(shown, expect, "{text}");
    }

    #[test]
    fn records_are_read() {
        check(
            "a.Example. 60 IN A 192.0.2.1",
            "a.Example. 60 1 1 [192, 0, 2, 1]",
        );
        check("a IN 5m A 192.0.2.1", "a. 300 1 1 [192, 0, 2, 1]");
        check(
            "  a A 192.0.2.1 ; note\nb A 192.0.2.2",
            "a. 3600 1 1 [192, 0, 2, 1]",
        );
        check(
            "a CH TXT \"x y\" z",
            "a. 3600 3 16 [3, 120, 32, 121, 1, 122]",
        );
        check("a mx 10 b.", "a. 3600 1 15 [0, 10, 1, 98, 0]");
        check("a TYPE65280 \\# 2 0102", "a. 3600 1 65280 [1, 2]");
    }

    #[test]
    fn mistakes_name_the_place() {
        check("", "dns: no record in an empty text");
        check("; only a note", "dns: no record in an empty text");
        check("a 60 IN", "dns: missing record type: \"IN\" at line: 1:6");
        check("a IN FOO x", "dns: unknown RR type: \"FOO\" at line: 1:6");
        check("a IN ANY x", "dns: unknown RR type: \"ANY\" at line: 1:6");
        assert!(
            parse_record("a IN A x", 0)
                .unwrap_err()
                .contains("\"x\" at line: 1:8")
        );
        assert!(
            parse_record("a..b IN A 192.0.2.1", 0)
                .unwrap_err()
                .contains("bad owner name")
        );
        assert!(parse_record("a IN A ( 192.0.2.1", 0).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_record_or_an_error(text in "[a-z.\\\\ \"();0-9@\n]{0,12} ?(60)? ?(IN)? ?(A|TXT|SOA|MX|NAPTR)? ?.{0,24}") {
            let _ = parse_record(&text, 0);
        }
    }
}
