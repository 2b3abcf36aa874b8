//! Table cases of Go's dialect, its error sentences, and texts at random.

use proptest::prelude::*;

use super::*;

/// Matches `text` and lists its groups; `None` when it does not match.
fn groups(pattern: &str, text: &str) -> Option<Vec<String>> {
    let regexp = Regexp::compile(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
    let mut groups = regexp.groups();
    let found = regexp.find(text, &mut groups);
    assert_eq!(found, regexp.is_match(text), "{pattern} on {text}");
    found.then(|| {
        (0..groups.count())
            .map(|i| groups.text(text, i).to_string())
            .collect()
    })
}

fn check(pattern: &str, text: &str, expect: &[&str]) {
    let found = groups(pattern, text).unwrap_or_else(|| panic!("{pattern} does not match {text}"));
    assert_eq!(found, expect, "{pattern} on {text}");
}

fn check_none(pattern: &str, text: &str) {
    assert_eq!(groups(pattern, text), None, "{pattern} on {text}");
}

fn check_error(pattern: &str, expect: &str) {
    let error = Regexp::compile(pattern).expect_err(pattern);
    assert_eq!(
        error,
        format!("error parsing regexp: {expect}"),
        "{pattern}"
    );
}

#[test]
fn finds_groups() {
    check("", "x", &[""]);
    check(
        r"^ip-(?P<a>[0-9]*)-(?<b>[0-9]*)[.]example[.]$",
        "ip-10-7.example.",
        &["ip-10-7.example.", "10", "7"],
    );
    check(
        r"(.*)-(us-west-1)\.coredns\.rocks",
        "a-us-west-1.coredns.rocks",
        &["a-us-west-1.coredns.rocks", "a", "us-west-1"],
    );
    check("(a)|(b)", "b", &["b", "", "b"]);
    check("a|ab", "ab", &["a"]);
    check("(a+?)(a*)", "aaa", &["aaa", "a", "aa"]);
    check("(?U)(a+)(a+?)", "aaa", &["aaa", "a", "aa"]);
    check_none("^b", "ab");
}

#[test]
fn names_of_groups() {
    let regexp = Regexp::compile("(?P<a>x)(y)(?P<1b>z)(?P<a>w)").unwrap();
    assert_eq!(regexp.group_count(), 5);
    assert_eq!(regexp.group_name(1), Some("a"));
    assert_eq!(regexp.group_name(2), None);
    assert_eq!(regexp.group_number("1b"), Some(3));
    assert_eq!(regexp.group_number("a"), Some(1));
    assert_eq!(regexp.group_name(9), None);
    assert_eq!(regexp.as_str(), "(?P<a>x)(y)(?P<1b>z)(?P<a>w)");
}

#[test]
fn perl_classes_are_ascii() {
    check(r"^\d+$", "0129", &["0129"]);
    check_none(r"\d", "٣");
    check_none(r"\w", "é");
    check_none(r"\s", "\u{b}");
    check_none(r"\s", "\u{a0}");
    check(r"^[\s\d]+$", " 1\n", &[" 1\n"]);
    check(r"^[^\D]$", "5", &["5"]);
    check(r"^[\W]$", "é", &["é"]);
    check(r"é\b", "éa", &["é"]);
    check_none(r"a\B", "aé");
    check(r"\bfoo\b", "a foo b", &["foo"]);
    check(r"\B", "é", &[""]);
}

#[test]
fn classes_read_as_in_go() {
    check("^[]a]+$", "]a", &["]a"]);
    check_none("[^]a]", "]a");
    check("^[a-c-e]+$", "b-e", &["b-e"]);
    check_none("[a-c-e]", "d");
    check("^[a-]+$", "-a", &["-a"]);
    check("^[a&&b]+$", "a&b", &["a&b"]);
    check("^[+--b]+$", "+,-b", &["+,-b"]);
    check("^[a~~b]+$", "~", &["~"]);
    check("^[[a]+$", "[a", &["[a"]);
    check("^[[:word:]-]+$", "a_-", &["a_-"]);
    check("^[[:^alpha:]]$", "1", &["1"]);
    check("^[^[:digit:]a]$", "b", &["b"]);
    check(r"^[\x41-\x{43}]+$", "ABC", &["ABC"]);
    check(r"^\p{Greek}\pL$", "αa", &["αa"]);
    check(r"^\p{^Greek}\P{^Greek}$", "aα", &["aα"]);
    check_none(r"[^\x00-\x{10FFFF}]", "a");
    check("[:alpha:]", "h", &["h"]);
    check(r"^[\]\[\-\\]+$", r"[]-\", &[r"[]-\"]);
    check_none(r"[\x{D800}-\x{DFFF}]", "a");
    check(r"[\x{D800}-\x{E000}]", "\u{e000}", &["\u{e000}"]);
}

#[test]
fn escapes_read_as_in_go() {
    check(r"^\Qa.b*\E+$", "a.b**", &["a.b**"]);
    check(r"\Q[", "[", &["["]);
    check(r"^\101\0\07$", "A\0\u{7}", &["A\0\u{7}"]);
    check(r"\<a\>", "<a>", &["<a>"]);
    check(r"^\_\-\.\/$", "_-./", &["_-./"]);
    check(r"\Aa\z", "a", &["a"]);
    check_none(r"a$", "a\n");
    check(r"(?m)a$", "a\nb", &["a"]);
    check(
        r"\a\f\t\n\r\v",
        "\u{7}\u{c}\t\n\r\u{b}",
        &["\u{7}\u{c}\t\n\r\u{b}"],
    );
}

#[test]
fn braces_that_do_not_repeat_are_literals() {
    check(r"^a{,2}$", "a{,2}", &["a{,2}"]);
    check(r"^a{}$", "a{}", &["a{}"]);
    check(r"^a{01}$", "a{01}", &["a{01}"]);
    check(r"^{a}$", "{a}", &["{a}"]);
    check(r"\b{start}", "{start}x{start}", &["{start}"]);
    check(r"^a{2}b{1,}c{1,2}$", "aabbc", &["aabbc"]);
}

#[test]
fn flags_read_as_in_go() {
    check("(?i)ABC", "abC", &["abC"]);
    check("(?i:A)b", "ab", &["ab"]);
    check_none("(?i:A)b", "aB");
    check("a(?i)b", "aB", &["aB"]);
    check("(?ii)a", "A", &["A"]);
    check("(?)a", "a", &["a"]);
    check("(?s).", "\n", &["\n"]);
    check_none(".", "\n");
    check("(?s-i:.)", "\n", &["\n"]);
    check("(?i)[^x]", "y", &["y"]);
    check_none("(?i)[^x]", "X");
    check("(?i)k", "\u{212a}", &["\u{212a}"]);
}

#[test]
fn refuses_with_the_words_of_go() {
    check_error("a**", "invalid nested repetition operator: `**`");
    check_error("a*?*", "invalid nested repetition operator: `*?*`");
    check_error("a{2}{3}", "invalid nested repetition operator: `{2}{3}`");
    check_error("*", "missing argument to repetition operator: `*`");
    check_error("(*)", "missing argument to repetition operator: `*`");
    check_error("a|+", "missing argument to repetition operator: `+`");
    check_error("a{1001}", "invalid repeat count: `{1001}`");
    check_error("a{99999999999}", "invalid repeat count: `{99999999999}`");
    check_error("a{2,1}", "invalid repeat count: `{2,1}`");
    check_error("(a{100}){11}", "invalid repeat count: `{11}`");
    check_error("(a", "missing closing ): `(a`");
    check_error("a)", "unexpected ): `a)`");
    check_error("[a", "missing closing ]: `[a`");
    check_error("[", "missing closing ]: `[`");
    check_error("[z-a]", "invalid character class range: `z-a`");
    check_error("[[:foo:]]", "invalid character class range: `[:foo:]`");
    check_error(r"\p{Nope}", r"invalid character class range: `\p{Nope}`");
    check_error(r"\pé", r"invalid character class range: `\pé`");
    check_error(r"\", "trailing backslash at end of expression: ``");
    check_error(r"\q", r"invalid escape sequence: `\q`");
    check_error(r"\C", r"invalid escape sequence: `\C`");
    check_error(r"\Z", r"invalid escape sequence: `\Z`");
    check_error(r"\1", r"invalid escape sequence: `\1`");
    check_error(r"\8", r"invalid escape sequence: `\8`");
    check_error(r"\x{110000}", r"invalid escape sequence: `\x{110000`");
    check_error(r"\xg0", r"invalid escape sequence: `\xg`");
    check_error(r"[\b]", r"invalid escape sequence: `\b`");
    check_error("a(?=b)", "invalid or unsupported Perl syntax: `(?=`");
    check_error("a(?!b)", "invalid or unsupported Perl syntax: `(?!`");
    check_error("(?x)a", "invalid or unsupported Perl syntax: `(?x`");
    check_error("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`");
    check_error("(?P<n-m>a)", "invalid named capture: `(?P<n-m>`");
    check_error("(?P<>a)", "invalid named capture: `(?P<>`");
    check_error("(?<n", "invalid named capture: `(?<n`");
}

#[test]
fn bounds_hold() {
    assert!(Regexp::compile(&"a".repeat(limits::REGEXP_CHARS)).is_ok());
    assert!(Regexp::compile(&"a".repeat(limits::REGEXP_CHARS + 1)).is_err());
    let deep = format!("{}a{}", "(".repeat(4000), ")".repeat(4000));
    check_error(&deep, &format!("expression nests too deeply: `{deep}`"));
    check_error(r"\pL{1000}", r"expression too large: `\pL{1000}`");
}

proptest! {
    #[test]
    fn any_text_gives_an_expression_or_an_error(pattern in ".{0,60}", text in ".{0,60}") {
        if let Ok(regexp) = Regexp::compile(&pattern) {
            let _ = regexp.is_match(&text);
        }
    }

    #[test]
    fn any_shape_translates_to_valid_syntax(pattern in r"([a\[\]()*+?{}|^$.\\:\-&~0-9,<>PQEpdwsbixU]|\\[a-zA-Z0-9]|\(\?|\[:){0,24}") {
        match Regexp::compile(&pattern) {
            Ok(regexp) => { let _ = regexp.is_match("a-b.c"); }
            // Such short texts neither nest nor grow too far, so this reason would be a fault of the translation.
            Err(error) => prop_assert!(!error.contains("nests too deeply"), "{}", error),
        }
    }
}
