//! Text to tokens.

use std::ops::Range;
use std::sync::Arc;

use super::Token;

/// What the tokens of all files together may still cost; see `limits` for the reasons.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) tokens_left: usize,
    pub(super) octets_left: usize,
}

impl Budget {
    /// Takes one token of `octets` from what is left; `None` when the configuration grows too large.
    pub(super) fn spend(&mut self, octets: usize) -> Option<()> {
        self.tokens_left = self.tokens_left.checked_sub(1)?;
        self.octets_left = self.octets_left.checked_sub(octets)?;
        Some(())
    }
}

/// Splits `text` into tokens on white space and double quotes; `None` when the budget runs out.
///
/// Quirks that Corefiles in the field may lean on: a carriage return outside quotes vanishes even inside a word; a `#`
/// glued to a word hides text only up to the next white space; the token of an unterminated quote runs to the end.
pub(super) fn lex(file: &Arc<str>, text: &str, budget: &mut Budget) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    each_token(file, text, budget, |token, _| tokens.push(token))?;
    Some(tokens)
}

/// The same tokens, and where in `text` each of them stands, its quotes included.
pub(super) fn lex_places(
    file: &Arc<str>,
    text: &str,
    budget: &mut Budget,
) -> Option<(Vec<Token>, Vec<Range<usize>>)> {
    let (mut tokens, mut places) = (Vec::new(), Vec::new());
    each_token(file, text, budget, |token, place| {
        tokens.push(token);
        places.push(place);
    })?;
    Some((tokens, places))
}

fn each_token(
    file: &Arc<str>,
    text: &str,
    budget: &mut Budget,
    mut take: impl FnMut(Token, Range<usize>),
) -> Option<()> {
    let mut lexer = Lexer {
        chars: text.strip_prefix('\u{feff}').unwrap_or(text).chars(),
        line: 1,
        start: 0,
        end: 0,
    };
    while let Some((line, word)) = lexer.next_token() {
        budget.spend(word.len())?;
        let token = Token {
            file: file.clone(),
            line,
            text: word,
        };
        take(token, text.len() - lexer.start..text.len() - lexer.end);
    }
    Some(())
}

struct Lexer<'t> {
    chars: std::str::Chars<'t>,
    line: u32,
    /// Octets from the first character of the token to the end of the text.
    start: usize,
    /// Octets from behind the token to the end of the text.
    end: usize,
}

impl Lexer<'_> {
    fn next_token(&mut self) -> Option<(u32, String)> {
        let mut word = String::new();
        let mut start = self.line;
        // Lost with each token: why `foo#bar baz` gives `foo` and `baz`.
        let mut in_comment = false;
        loop {
            let here = self.chars.as_str().len();
            self.end = here;
            let Some(ch) = self.chars.next() else { break };
            if ch == '\r' {
                continue;
            }
            if ch == '\n' {
                self.line = self.line.saturating_add(1);
                in_comment = false;
            }
            if ch.is_whitespace() {
                if word.is_empty() {
                    continue;
                }
                return Some((start, word));
            }
            in_comment |= ch == '#';
            if in_comment {
                continue;
            }
            if word.is_empty() {
                start = self.line;
                self.start = here;
                if ch == '"' {
                    let text = self.quoted();
                    self.end = self.chars.as_str().len();
                    return text.map(|text| (start, text));
                }
            }
            word.push(ch);
        }
        (!word.is_empty()).then_some((start, word))
    }

    /// The rest of a quoted token. Only `\"` is an escape. At the end of the text what was read counts, unless empty.
    fn quoted(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut escaped = false;
        for ch in self.chars.by_ref() {
            match ch {
                '\\' if !escaped => {
                    escaped = true;
                    continue;
                }
                '"' if !escaped => return Some(text),
                '\n' => self.line = self.line.saturating_add(1),
                _ => {}
            }
            if escaped && ch != '"' {
                text.push('\\');
            }
            text.push(ch);
            escaped = false;
        }
        (!text.is_empty()).then_some(text)
    }
}
