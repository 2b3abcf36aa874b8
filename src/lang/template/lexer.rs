//! Template text to tokens: text between actions, and what actions consist of.

use super::Place;

/// A token of an action, or the text before one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub kind: TokenKind,
    /// Octets of the template that the token covers.
    pub place: Place,
    /// Whether white space stands before it: it separates operands.
    pub spaced: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    Text(String),
    Open,
    Close,
    /// `.Name`, without the dot.
    Field(String),
    /// `$name`, with the dollar sign.
    Variable(String),
    Word(String),
    Str(String),
    Int(i64),
    Float(f64),
    Dot,
    Pipe,
    LeftParen,
    RightParen,
    Declare,
    Assign,
    Comma,
    End,
}

/// An error and where it was found.
pub(super) type Failure = (Place, String);

/// Splits a template into tokens; the last one is `End`.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Failure> {
    let mut lexer = Lexer {
        text,
        at: 0,
        tokens: Vec::new(),
    };
    let mut trim = false;
    loop {
        trim = match lexer.text_part(trim)? {
            Some(trim) => trim,
            None => break,
        };
    }
    lexer.push(TokenKind::End, lexer.at, false);
    Ok(lexer.tokens)
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<Token>,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn push(&mut self, kind: TokenKind, start: usize, spaced: bool) {
        self.tokens.push(Token {
            kind,
            place: Place {
                start,
                end: self.at,
            },
            spaced,
        });
    }

    fn fail<T>(&self, start: usize, message: impl Into<String>) -> Result<T, Failure> {
        Err((
            Place {
                start,
                end: self.at,
            },
            message.into(),
        ))
    }

    /// Reads text and the action after it; gives whether the text after that is trimmed on its left, none at the end.
    fn text_part(&mut self, trim_left: bool) -> Result<Option<bool>, Failure> {
        let start = self.at;
        let rest = self.rest();
        let end = rest.find("{{");
        let mut text = &rest[..end.unwrap_or(rest.len())];
        if trim_left {
            text = text.trim_start_matches(BLANK);
        }
        let Some(end) = end else {
            self.at = self.text.len();
            self.text_token(text, start);
            return Ok(None);
        };
        self.at += end + 2;
        let opened = self.at - 2;
        if self
            .rest()
            .strip_prefix('-')
            .is_some_and(|after| after.starts_with(BLANK))
        {
            text = text.trim_end_matches(BLANK);
            self.at += 2;
        }
        self.text_token(text, start);
        if self.rest().starts_with("/*") {
            return self.comment(opened).map(Some);
        }
        self.push(TokenKind::Open, opened, false);
        self.action(opened).map(Some)
    }

    fn text_token(&mut self, text: &str, start: usize) {
        if !text.is_empty() {
            self.push(TokenKind::Text(text.to_string()), start, false);
        }
    }

    fn comment(&mut self, opened: usize) -> Result<bool, Failure> {
        let Some(end) = self.rest().find("*/") else {
            return self.fail(opened, "unclosed comment");
        };
        self.at += end + 2;
        match self.closing() {
            Some((octets, trim)) => {
                self.at += octets;
                Ok(trim)
            }
            None => self.fail(opened, "comment ends before closing delimiter"),
        }
    }

    /// Octets of the closing delimiter here, and whether it trims what follows.
    fn closing(&self) -> Option<(usize, bool)> {
        let rest = self.rest();
        if rest.starts_with("}}") {
            return Some((2, false));
        }
        let trims = rest.starts_with(BLANK) && rest[1..].starts_with("-}}");
        trims.then_some((4, true))
    }

    fn action(&mut self, opened: usize) -> Result<bool, Failure> {
        let mut spaced = true;
        loop {
            if let Some((octets, trim)) = self.closing() {
                let start = self.at;
                self.at += octets;
                self.push(TokenKind::Close, start, spaced);
                return Ok(trim);
            }
            let Some(c) = self.rest().chars().next() else {
                return self.fail(opened, "unclosed action");
            };
            if BLANK.contains(&c) {
                self.at += 1;
                spaced = true;
                continue;
            }
            let start = self.at;
            let kind = self.token(c)?;
            self.push(kind, start, spaced);
            spaced = false;
        }
    }

    fn token(&mut self, c: char) -> Result<TokenKind, Failure> {
        let start = self.at;
        let after = &self.rest()[c.len_utf8()..];
        let digit_next = after.starts_with(|c: char| c.is_ascii_digit());
        let simple = match c {
            '|' => Some((TokenKind::Pipe, 1)),
            '(' => Some((TokenKind::LeftParen, 1)),
            ')' => Some((TokenKind::RightParen, 1)),
            ',' => Some((TokenKind::Comma, 1)),
            '=' => Some((TokenKind::Assign, 1)),
            ':' if after.starts_with('=') => Some((TokenKind::Declare, 2)),
            ':' => {
                self.at += 1;
                return self.fail(start, "expected :=");
            }
            _ => None,
        };
        if let Some((kind, octets)) = simple {
            self.at += octets;
            return Ok(kind);
        }
        match c {
            '"' => self.quoted(),
            '`' => match after.find('`') {
                Some(length) => {
                    self.at += length + 2;
                    Ok(TokenKind::Str(after[..length].to_string()))
                }
                None => self.fail(start, "unterminated raw quoted string"),
            },
            '\'' => self.character(),
            '0'..='9' | '+' | '-' => self.number(),
            '.' if digit_next => self.number(),
            '.' => {
                self.at += 1;
                let name = self.alphanumeric();
                self.terminated()?;
                Ok(if name.is_empty() {
                    TokenKind::Dot
                } else {
                    TokenKind::Field(name)
                })
            }
            '$' => {
                self.at += 1;
                let name = self.alphanumeric();
                self.terminated()?;
                Ok(TokenKind::Variable(format!("${name}")))
            }
            _ if c == '_' || c.is_alphabetic() => {
                let name = self.alphanumeric();
                self.terminated()?;
                Ok(TokenKind::Word(name))
            }
            _ => self.fail(
                start,
                format!(
                    "unexpected bad character U+{:04X} '{c}' in command",
                    u32::from(c)
                ),
            ),
        }
    }

    fn alphanumeric(&mut self) -> String {
        let rest = self.rest();
        let end = rest
            .find(|c: char| c != '_' && !c.is_alphanumeric())
            .unwrap_or(rest.len());
        self.at += end;
        rest[..end].to_string()
    }

    /// A name must not run into something else.
    fn terminated(&self) -> Result<(), Failure> {
        match self.rest().chars().next() {
            None => Ok(()),
            Some(c) if " \t\r\n.,|:()=".contains(c) || self.closing().is_some() => Ok(()),
            Some(c) => self.fail(
                self.at,
                format!("bad character U+{:04X} '{c}'", u32::from(c)),
            ),
        }
    }

    fn number(&mut self) -> Result<TokenKind, Failure> {
        let start = self.at;
        let rest = self.rest();
        let mut end = usize::from(rest.starts_with(['+', '-']));
        for c in rest[end..].chars() {
            let exponent_sign = matches!(c, '+' | '-')
                && rest[..end].ends_with(['e', 'E'])
                && !rest.trim_start_matches(['+', '-']).starts_with("0x");
            if !(c == '.' || c == '_' || c.is_alphanumeric() || exponent_sign) {
                break;
            }
            end += c.len_utf8();
        }
        self.at += end;
        let text = &rest[..end];
        let digits: String = text.chars().filter(|c| *c != '_').collect();
        let (sign, body) = match digits.strip_prefix('-') {
            Some(body) => ("-", body),
            None => ("", digits.strip_prefix('+').unwrap_or(&digits)),
        };
        let radix = [
            ("0x", 16),
            ("0X", 16),
            ("0o", 8),
            ("0O", 8),
            ("0b", 2),
            ("0B", 2),
        ];
        let found = radix
            .into_iter()
            .find_map(|(prefix, radix)| Some((body.strip_prefix(prefix)?, radix)));
        let (body, radix) = match found {
            Some(found) => found,
            None if body.len() > 1
                && body.starts_with('0')
                && body.bytes().all(|b| b.is_ascii_digit()) =>
            {
                (&body[1..], 8)
            }
            None => (body, 10),
        };
        if !body.starts_with(['+', '-'])
            && let Ok(value) = i64::from_str_radix(&format!("{sign}{body}"), radix)
        {
            return Ok(TokenKind::Int(value));
        }
        match digits.parse::<f64>() {
            Ok(value)
                if value.is_finite()
                    && body.starts_with(|c: char| c == '.' || c.is_ascii_digit()) =>
            {
                Ok(TokenKind::Float(value))
            }
            _ => self.fail(start, format!("bad number syntax: {text:?}")),
        }
    }

    fn character(&mut self) -> Result<TokenKind, Failure> {
        let start = self.at;
        self.at += 1;
        let value = match self.rest().chars().next() {
            Some('\\') => self.escape('\'')?,
            Some(c) if c != '\'' && c != '\n' => {
                self.at += c.len_utf8();
                c
            }
            _ => return self.fail(start, "unterminated character constant"),
        };
        if !self.rest().starts_with('\'') {
            return self.fail(start, "unterminated character constant");
        }
        self.at += 1;
        Ok(TokenKind::Int(i64::from(u32::from(value))))
    }

    fn quoted(&mut self) -> Result<TokenKind, Failure> {
        let start = self.at;
        let mut text = String::new();
        self.at += 1;
        loop {
            match self.rest().chars().next() {
                None | Some('\n') => return self.fail(start, "unterminated quoted string"),
                Some('"') => {
                    self.at += 1;
                    return Ok(TokenKind::Str(text));
                }
                Some('\\') => text.push(self.escape('"')?),
                Some(c) => {
                    self.at += c.len_utf8();
                    text.push(c);
                }
            }
        }
    }

    /// Go's escapes; octets above ASCII written as `\x..` are taken as code points.
    fn escape(&mut self, quote: char) -> Result<char, Failure> {
        let start = self.at;
        let letter = self.rest().chars().nth(1);
        let (skip, digits, radix) = match letter {
            Some('x') => (2, 2, 16),
            Some('u') => (2, 4, 16),
            Some('U') => (2, 8, 16),
            Some('0'..='7') => (1, 3, 8),
            _ => {
                let plain = ESCAPES
                    .iter()
                    .find(|(name, _)| Some(*name) == letter)
                    .map(|(_, c)| *c);
                let Some(c) = plain.or(letter.filter(|c| *c == quote)) else {
                    return self.fail(start, "invalid syntax");
                };
                self.at += 2;
                return Ok(c);
            }
        };
        let code = self
            .rest()
            .get(skip..skip + digits)
            .and_then(|digits| u32::from_str_radix(digits, radix).ok());
        match code.and_then(char::from_u32) {
            Some(c) => {
                self.at += skip + digits;
                Ok(c)
            }
            None => self.fail(start, "invalid syntax"),
        }
    }
}

const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];
const ESCAPES: [(char, char); 8] = [
    ('a', '\u{7}'),
    ('b', '\u{8}'),
    ('f', '\u{c}'),
    ('n', '\n'),
    ('r', '\r'),
    ('t', '\t'),
    ('v', '\u{b}'),
    ('\\', '\\'),
];
