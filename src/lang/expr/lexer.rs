//! Expression text to tokens.

use super::Failure;

/// A token and the character (not octet) at which it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub kind: TokenKind,
    pub at: u32,
}

/// Words such as `in` and `matches` are operators; brackets are told apart for the error messages.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    Name(String),
    Int(i64),
    Float(f64),
    Str(String),
    Operator(&'static str),
    Bracket(char),
    End,
}

impl TokenKind {
    /// As expr-lang's messages show a token.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Name(name) => format!("Identifier({name:?})"),
            Self::Int(value) => format!("Number(\"{value}\")"),
            Self::Float(value) => format!("Number(\"{value}\")"),
            Self::Str(text) => format!("String({text:?})"),
            Self::Operator(text) => format!("Operator({text:?})"),
            Self::Bracket(c) => format!("Bracket(\"{c}\")"),
            Self::End => "EOF".into(),
        }
    }
}

/// Splits a text into tokens; the last one is `End`.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Failure> {
    let chars: Vec<char> = text.chars().collect();
    let mut lexer = Lexer {
        chars: &chars,
        at: 0,
    };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank()?;
        let at = lexer.at as u32;
        let kind = lexer.token()?;
        let end = kind == TokenKind::End;
        tokens.push(Token { kind, at });
        if end {
            return Ok(tokens);
        }
    }
}

/// Whether a word is an operator.
pub(super) fn is_operator(word: &str) -> bool {
    WORDS.contains(&word)
}

struct Lexer<'t> {
    chars: &'t [char],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn fail<T>(&self, at: usize, message: impl Into<String>) -> Result<T, Failure> {
        Err(Failure {
            at: at as u32,
            message: message.into(),
        })
    }

    /// Skips white space and comments.
    fn skip_blank(&mut self) -> Result<(), Failure> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(c), _) if c.is_whitespace() => self.at += 1,
                (Some('/'), Some('/')) => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                (Some('/'), Some('*')) => {
                    let start = self.at;
                    self.at += 2;
                    while (self.peek(0), self.peek(1)) != (Some('*'), Some('/')) {
                        if self.peek(0).is_none() {
                            return self.fail(start, "unclosed comment");
                        }
                        self.at += 1;
                    }
                    self.at += 2;
                }
                _ => return Ok(()),
            }
        }
    }

    fn token(&mut self) -> Result<TokenKind, Failure> {
        let Some(c) = self.peek(0) else {
            return Ok(TokenKind::End);
        };
        let next_is_digit = self.peek(1).is_some_and(|c| c.is_ascii_digit());
        match c {
            '0'..='9' => self.number(),
            '.' if next_is_digit => self.number(),
            '\'' | '"' => self.quoted(c),
            '`' => self.raw(),
            '(' | ')' | '[' | ']' | '{' | '}' => {
                self.at += 1;
                Ok(TokenKind::Bracket(c))
            }
            _ if c == '_' || c == '$' || c.is_alphabetic() => Ok(self.word()),
            _ => self.operator(c),
        }
    }

    fn operator(&mut self, c: char) -> Result<TokenKind, Failure> {
        let found = SYMBOLS.iter().find(|symbol| {
            symbol
                .chars()
                .enumerate()
                .all(|(i, c)| self.peek(i) == Some(c))
        });
        match found {
            Some(symbol) => {
                self.at += symbol.len();
                Ok(TokenKind::Operator(symbol))
            }
            None => self.fail(
                self.at,
                format!("unrecognized character: U+{:04X} '{c}'", u32::from(c)),
            ),
        }
    }

    fn word(&mut self) -> TokenKind {
        let start = self.at;
        self.at += 1;
        while self
            .peek(0)
            .is_some_and(|c| c == '_' || c == '$' || c.is_alphanumeric())
        {
            self.at += 1;
        }
        let word: String = self.chars[start..self.at].iter().collect();
        match WORDS.iter().find(|operator| **operator == word) {
            Some(operator) => TokenKind::Operator(operator),
            None => TokenKind::Name(word),
        }
    }

    fn number(&mut self) -> Result<TokenKind, Failure> {
        let start = self.at;
        let radix = match (self.peek(0), self.peek(1)) {
            (Some('0'), Some('x' | 'X')) => 16,
            (Some('0'), Some('o' | 'O')) => 8,
            (Some('0'), Some('b' | 'B')) => 2,
            _ => 10,
        };
        if radix != 10 {
            self.at += 2;
        }
        self.digits(radix);
        let mut fraction = false;
        if radix == 10 {
            // In `1..3` the dots are the range operator.
            if self.peek(0) == Some('.') && self.peek(1) != Some('.') {
                fraction = true;
                self.at += 1;
                self.digits(10);
            }
            if matches!(self.peek(0), Some('e' | 'E')) {
                fraction = true;
                self.at += 1;
                if matches!(self.peek(0), Some('+' | '-')) {
                    self.at += 1;
                }
                self.digits(10);
            }
        }
        let run_on = self
            .peek(0)
            .is_some_and(|c| c == '_' || c.is_alphanumeric());
        let digits: String = self.chars[start..self.at]
            .iter()
            .filter(|c| **c != '_')
            .collect();
        let value = if fraction {
            digits
                .parse()
                .ok()
                .filter(|v: &f64| v.is_finite())
                .map(TokenKind::Float)
        } else {
            let digits = if radix == 10 {
                digits.as_str()
            } else {
                &digits[2..]
            };
            i64::from_str_radix(digits, radix).ok().map(TokenKind::Int)
        };
        match value {
            Some(value) if !run_on => Ok(value),
            _ => self.fail(start, format!("bad number syntax: {digits:?}")),
        }
    }

    fn digits(&mut self, radix: u32) {
        while self.peek(0).is_some_and(|c| c == '_' || c.is_digit(radix)) {
            self.at += 1;
        }
    }

    fn raw(&mut self) -> Result<TokenKind, Failure> {
        let start = self.at + 1;
        match self.chars[start..].iter().position(|c| *c == '`') {
            Some(length) => {
                self.at = start + length + 1;
                Ok(TokenKind::Str(
                    self.chars[start..start + length].iter().collect(),
                ))
            }
            None => self.fail(self.at, "literal not terminated"),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<TokenKind, Failure> {
        let start = self.at;
        let mut text = String::new();
        self.at += 1;
        loop {
            match self.peek(0) {
                None | Some('\n') => return self.fail(start, "literal not terminated"),
                Some('\\') => text.push(self.escape()?),
                Some(c) => {
                    self.at += 1;
                    if c == quote {
                        return Ok(TokenKind::Str(text));
                    }
                    text.push(c);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, Failure> {
        let start = self.at;
        let letter = self.peek(1);
        self.at += 2;
        let digits = match letter {
            Some('a') => return Ok('\u{7}'),
            Some('b') => return Ok('\u{8}'),
            Some('f') => return Ok('\u{c}'),
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some('v') => return Ok('\u{b}'),
            Some(c @ ('\\' | '\'' | '"' | '`' | '?')) => return Ok(c),
            Some('x' | 'X') => 2,
            Some('u') => 4,
            Some('U') => 8,
            Some('0'..='3') => 3,
            _ => return self.fail(start, "unable to unescape string"),
        };
        let (from, radix) = if digits == 3 {
            (self.at - 1, 8)
        } else {
            (self.at, 16)
        };
        let code = self.chars.get(from..from + digits).and_then(|digits| {
            digits.iter().try_fold(0_u32, |value, c| {
                Some(value.checked_mul(radix)? + c.to_digit(radix)?)
            })
        });
        self.at = from + digits;
        match code.and_then(char::from_u32) {
            Some(c) => Ok(c),
            None => self.fail(start, "unable to unescape string"),
        }
    }
}

/// Longer symbols stand before their beginnings.
const SYMBOLS: [&str; 28] = [
    "**", "..", "?.", "??", "==", "!=", "<=", ">=", "&&", "||", "::", ".", "?", "!", "<", ">", "+",
    "-", "*", "/", "%", "^", "|", "#", ",", ":", ";", "=",
];
const WORDS: [&str; 11] = [
    "in",
    "or",
    "and",
    "not",
    "matches",
    "contains",
    "startsWith",
    "endsWith",
    "let",
    "if",
    "else",
];
