use super::*;

/// Lines and texts of the tokens, from 1.
fn lexed(text: &str) -> Vec<(u32, String)> {
    let file: Arc<str> = "Corefile".into();
    let mut budget = lexer::Budget {
        tokens_left: 1000,
        octets_left: 100_000,
    };
    let tokens = lexer::lex(&file, text, &mut budget).unwrap();
    tokens
        .into_iter()
        .map(|token| (token.line, token.text))
        .collect()
}

#[test]
fn words_are_split() {
    #[track_caller]
    fn check(text: &str, want: &[(u32, &str)]) {
        let want: Vec<_> = want
            .iter()
            .map(|(line, text)| (*line, (*text).to_owned()))
            .collect();
        assert_eq!(lexed(text), want, "{text:?}");
    }
    check("", &[]);
    check(" \t\n\r\n ", &[]);
    check("a b\nc", &[(1, "a"), (1, "b"), (2, "c")]);
    check("\u{feff}a", &[(1, "a")]);
    check("a\u{feff}", &[(1, "a\u{feff}")]);
    check(
        "a\u{a0}b\u{2003}c\u{85}d",
        &[(1, "a"), (1, "b"), (1, "c"), (1, "d")],
    );
    // A carriage return outside quotes vanishes, even inside a word.
    check("a\r\nb\rc", &[(1, "a"), (2, "bc")]);
    // Comments.
    check("# a\nb", &[(2, "b")]);
    check("a # b\nc", &[(1, "a"), (2, "c")]);
    check("a#b c\nd", &[(1, "a"), (1, "c"), (2, "d")]);
    check("a#b\nc", &[(1, "a"), (2, "c")]);
    check("# \"a\nb\"", &[(2, "b\"")]);
    // Quotes.
    check("\"a b\" c", &[(1, "a b"), (1, "c")]);
    check("\"\"", &[(1, "")]);
    check("\"a\"b", &[(1, "a"), (1, "b")]);
    check("a\"b c\"", &[(1, "a\"b"), (1, "c\"")]);
    check(r#""a\"b""#, &[(1, "a\"b")]);
    check(r#""a\b\\" c"#, &[(1, r"a\b\\"), (1, "c")]);
    check("\"a\nb\" c\nd", &[(1, "a\nb"), (2, "c"), (3, "d")]);
    check("\"a\r\nb\"", &[(1, "a\r\nb")]);
    check("\"a # b\"", &[(1, "a # b")]);
    check("\"a b", &[(1, "a b")]);
    check("\"", &[]);
    check("\"a\\", &[(1, "a")]);
    check("'a b' `c d`", &[(1, "'a"), (1, "b'"), (1, "`c"), (1, "d`")]);
    // Braces are words like others, and there is no continuation of lines.
    check("a{ {b } {}", &[(1, "a{"), (1, "{b"), (1, "}"), (1, "{}")]);
    check("a \\\nb", &[(1, "a"), (1, "\\"), (2, "b")]);
}

#[test]
fn the_budget_ends_the_text() {
    let file: Arc<str> = "Corefile".into();
    let lex = |tokens_left, octets_left| {
        let mut budget = lexer::Budget {
            tokens_left,
            octets_left,
        };
        lexer::lex(&file, "ab cd", &mut budget).map(|tokens| tokens.len())
    };
    assert_eq!(lex(2, 4), Some(2));
    assert_eq!(lex(1, 4), None);
    assert_eq!(lex(2, 3), None);
}
