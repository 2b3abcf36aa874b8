//! Label selectors, read to see whether the API server could: it would refuse a wrong one again and again, and nothing would ever be known.
//!
//! ```text
//!   selector    = [ requirement *( "," requirement ) ]
//!   requirement = key | "!" key | key ( "=" | "==" | "!=" ) [ value ] | key ( "in" | "notin" ) "(" value *( "," value ) ")"
//! ```
//! The server gets the text as it is written.

use super::decode::{is_host, is_label_value};

/// Why the text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Something else must stand here.
    #[error("found '{found}', expected: {expected}")]
    Found {
        /// What stands there; empty at the end.
        found: String,
        /// What could.
        expected: &'static str,
    },
    /// No key of a label.
    #[error("key: Invalid value: {0:?}: it is no qualified name")]
    Key(String),
    /// No value of a label.
    #[error("values: Invalid value: {0:?}: it is no label value")]
    Value(String),
    /// `<` and `>`, which selectors of nodes have.
    #[error("{0:?} is not a valid label selector operator")]
    Operator(String),
}

/// Checks a whole selector. An empty one takes everything.
///
/// # Errors
/// What is wrong with it.
pub fn check(text: &str) -> Result<(), Wrong> {
    let mut words = Words { rest: text };
    if words.peek().is_empty() {
        return Ok(());
    }
    loop {
        requirement(&mut words)?;
        match words.take() {
            "" => return Ok(()),
            "," => {}
            other => return Err(wrong(other, "',' or 'end of string'")),
        }
    }
}

fn requirement(words: &mut Words<'_>) -> Result<(), Wrong> {
    if words.peek() == "!" {
        words.take();
        return key(words.take());
    }
    key(words.take())?;
    match words.peek() {
        "" | "," => Ok(()),
        "=" | "==" | "!=" => {
            words.take();
            // Without a value, the label is there and empty.
            match words.peek() {
                "" | "," => Ok(()),
                _ => value(words.take()),
            }
        }
        "in" | "notin" => {
            words.take();
            set(words)
        }
        operator @ ("<" | ">") => Err(Wrong::Operator(operator.to_owned())),
        other => Err(wrong(other, "in, notin, =, ==, !=")),
    }
}

fn set(words: &mut Words<'_>) -> Result<(), Wrong> {
    match words.take() {
        "(" => {}
        other => return Err(wrong(other, "'('")),
    }
    loop {
        // A value that is left out is the empty one.
        if !matches!(words.peek(), "," | ")") {
            value(words.take())?;
        }
        match words.take() {
            "," => {}
            ")" => return Ok(()),
            other => return Err(wrong(other, "',' or ')'")),
        }
    }
}

/// `[PREFIX/]NAME`: a DNS name, and up to 63 letters, digits and inner `-_.`.
fn key(word: &str) -> Result<(), Wrong> {
    if word.is_empty() || is_mark(word) {
        return Err(wrong(word, "!, identifier, or 'end of string'"));
    }
    let (prefix, name) = match word.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, word),
    };
    let is_prefix = |prefix: &str| is_host(prefix) && prefix == prefix.to_ascii_lowercase();
    if name.is_empty() || !is_value(name) || !prefix.is_none_or(is_prefix) {
        return Err(Wrong::Key(word.to_owned()));
    }
    Ok(())
}

fn value(word: &str) -> Result<(), Wrong> {
    if is_mark(word) || word.is_empty() {
        return Err(wrong(word, "identifier"));
    }
    if !is_value(word) {
        return Err(Wrong::Value(word.to_owned()));
    }
    Ok(())
}

fn is_value(text: &str) -> bool {
    let has_ends = |text: &str| {
        let is_end = |octet: Option<&u8>| octet.is_some_and(u8::is_ascii_alphanumeric);
        is_end(text.as_bytes().first()) && is_end(text.as_bytes().last())
    };
    is_label_value(text) && has_ends(text)
}

fn is_mark(word: &str) -> bool {
    word.starts_with(MARKS)
}

fn wrong(found: &str, expected: &'static str) -> Wrong {
    let found = found.to_owned();
    Wrong::Found { found, expected }
}

/// Marks and what stands between them.
struct Words<'t> {
    rest: &'t str,
}

impl<'t> Words<'t> {
    /// The next word; empty at the end.
    fn peek(&self) -> &'t str {
        let rest = self.rest.trim_start_matches(SPACES);
        let two = ["==", "!="].into_iter().find(|mark| rest.starts_with(mark));
        let len = match two {
            Some(mark) => mark.len(),
            // All marks have one octet.
            None if rest.starts_with(MARKS) => 1,
            None => rest
                .find(|c| MARKS.contains(&c) || SPACES.contains(&c))
                .unwrap_or(rest.len()),
        };
        &rest[..len]
    }

    fn take(&mut self) -> &'t str {
        let word = self.peek();
        let rest = self.rest.trim_start_matches(SPACES);
        self.rest = &rest[word.len()..];
        word
    }
}

const MARKS: [char; 7] = ['(', ')', ',', '!', '=', '<', '>'];
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn selectors() {
        for text in [
            "",
            " ",
            "app",
            "!app",
            "! app",
            "app=web",
            "app==web , tier != front",
            "app=",
            "app=,tier",
            "example.org/app in (a,b),!x.y/z",
            "app notin ( a )",
            "app in (,a)",
            "app in (in, notin)",
            "in in (in)",
            "A_b.c-9=D_e.f-8",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        let long = format!("app={}", "x".repeat(64));
        for (text, expect) in [
            ("app in (", "found '', expected: identifier"),
            ("app in", "found '', expected: '('"),
            ("app in a", "found 'a', expected: '('"),
            ("app in (a", "found '', expected: ',' or ')'"),
            ("app in (a b)", "found 'b', expected: ',' or ')'"),
            ("app of (a)", "found 'of', expected: in, notin, =, ==, !="),
            ("a b", "found 'b', expected: in, notin, =, ==, !="),
            (
                "=x",
                "found '=', expected: !, identifier, or 'end of string'",
            ),
            (
                "app,",
                "found '', expected: !, identifier, or 'end of string'",
            ),
            (
                ",",
                "found ',', expected: !, identifier, or 'end of string'",
            ),
            ("app=a=b", "found '=', expected: ',' or 'end of string'"),
            ("app=(", "found '(', expected: identifier"),
            ("!app=a", "found '=', expected: ',' or 'end of string'"),
            ("app>5", "\">\" is not a valid label selector operator"),
            (
                "-app",
                "key: Invalid value: \"-app\": it is no qualified name",
            ),
            (
                "a/b/c",
                "key: Invalid value: \"a/b/c\": it is no qualified name",
            ),
            ("/a", "key: Invalid value: \"/a\": it is no qualified name"),
            ("a/", "key: Invalid value: \"a/\": it is no qualified name"),
            (
                "app=-",
                "values: Invalid value: \"-\": it is no label value",
            ),
            (
                "app=ä",
                "values: Invalid value: \"ä\": it is no label value",
            ),
        ] {
            assert_eq!(check(text).unwrap_err().to_string(), expect, "{text}");
        }
        assert!(check(&long).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "\\PC{0,40}|[a-b!=(), <>in]{0,40}") {
            let _ = check(&text);
        }
    }
}
