//! Master-file text to entries of tokens: blanks, quotes, parentheses, comments (RFC 1035 section 5.1).

use crate::limits;

/// One token of an entry: octets `start..end` of the text, escapes kept, quotes left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) start: u32,
    pub(super) end: u32,
    /// Counted from 1.
    pub(super) line: u32,
    /// Stood in double quotes.
    pub(super) quoted: bool,
    /// No blank between it and the token before (`key="value"`).
    pub(super) glued: bool,
}

/// Why the text has no further entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LexError {
    pub(super) what: &'static str,
    pub(super) line: u32,
    pub(super) at: usize,
}

/// Splits a text of at most `limits::ZONE_FILE_OCTETS` octets into entries.
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
    line_start: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        // A byte order mark is what editors leave behind; it is no part of the first name.
        let at = if text.starts_with(b"\xef\xbb\xbf") {
            3
        } else {
            0
        };
        Self {
            text,
            at,
            line: 1,
            line_start: at,
        }
    }

    /// Reads on from `at`, where a line begins; lines are counted from there.
    pub(super) fn from_line(text: &'a [u8], at: usize) -> Self {
        Self {
            text,
            at,
            line: 1,
            line_start: at,
        }
    }

    /// Goes on at `at`, so many lines further, where another lexer ended.
    pub(super) fn skip_to(&mut self, at: usize, lines: u32) {
        (self.at, self.line_start) = (at, at);
        self.line += lines;
    }

    /// Where it stands.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The line where it stands.
    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// The octets of `token`.
    pub(super) fn octets(&self, token: Token) -> &'a [u8] {
        &self.text[token.start as usize..token.end as usize]
    }

    /// The whole text.
    pub(super) fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Column, counted from 1, of an octet on the line read last.
    pub(super) fn column(&self, at: usize) -> usize {
        let line_start = self.text[..at.min(self.text.len())]
            .iter()
            .rposition(|&c| c == b'\n');
        at - line_start.map_or(0, |newline| newline + 1) + 1
    }

    /// Reads the next entry that has tokens and begins before `stop`, the end of the text or of a line. `Ok(None)` is the end,
    /// `Some(true)` an entry that began with a blank.
    pub(super) fn next_entry(
        &mut self,
        tokens: &mut Vec<Token>,
        stop: usize,
    ) -> Result<Option<bool>, LexError> {
        tokens.clear();
        if self.at >= stop {
            return Ok(None);
        }
        let mut depth = 0u32;
        let mut opened_on = 0;
        let mut blank_first = false;
        let mut glued = false;
        loop {
            let Some(&octet) = self.text.get(self.at) else {
                if depth > 0 {
                    return Err(LexError {
                        what: "unbalanced brace",
                        line: opened_on,
                        at: self.at,
                    });
                }
                return Ok((!tokens.is_empty()).then_some(blank_first));
            };
            match octet {
                b'\n' => {
                    self.new_line();
                    glued = false;
                    if depth == 0 {
                        if !tokens.is_empty() {
                            return Ok(Some(blank_first));
                        }
                        blank_first = false;
                        if self.at >= stop {
                            return Ok(None);
                        }
                    }
                }
                b' ' | b'\t' | b'\r' => {
                    if tokens.is_empty()
                        && depth == 0
                        && self.at == self.line_start
                        && octet != b'\r'
                    {
                        blank_first = true;
                    }
                    glued = false;
                    self.at += 1;
                }
                b';' => self.skip_comment(),
                b'(' => {
                    // An entry that opens with a parenthesis names no owner.
                    blank_first |= tokens.is_empty();
                    depth += 1;
                    opened_on = self.line;
                    glued = false;
                    self.at += 1;
                }
                b')' => {
                    depth = depth
                        .checked_sub(1)
                        .ok_or(self.error("extra closing brace"))?;
                    glued = false;
                    self.at += 1;
                }
                _ => {
                    if tokens.len() >= limits::ZONE_ENTRY_TOKENS {
                        return Err(self.error("too many tokens in one entry"));
                    }
                    let token = self.token(octet == b'"', glued)?;
                    tokens.push(token);
                    glued = true;
                }
            }
        }
    }

    fn token(&mut self, quoted: bool, glued: bool) -> Result<Token, LexError> {
        let line = self.line;
        if quoted {
            self.at += 1;
        }
        let start = self.at;
        while let Some(&octet) = self.text.get(self.at) {
            match octet {
                b'\\' => {
                    self.at += 1;
                    if self.text.get(self.at) == Some(&b'\n') {
                        self.new_line();
                    } else if self.at < self.text.len() {
                        self.at += 1;
                    }
                }
                b'"' if quoted => {
                    let end = self.at;
                    self.at += 1;
                    return Ok(make(start, end, line, true, glued));
                }
                b'\n' if quoted => self.new_line(),
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' | b'"' if !quoted => break,
                _ => self.at += 1,
            }
        }
        if quoted {
            return Err(LexError {
                what: "unbalanced quotes",
                line,
                at: start,
            });
        }
        Ok(make(start, self.at, line, false, glued))
    }

    fn skip_comment(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.iter().position(|&c| c == b'\n').unwrap_or(rest.len());
    }

    fn new_line(&mut self) {
        self.at += 1;
        self.line += 1;
        self.line_start = self.at;
    }

    fn error(&self, what: &'static str) -> LexError {
        LexError {
            what,
            line: self.line,
            at: self.at,
        }
    }
}

/// Offsets fit: a zone file has at most `limits::ZONE_FILE_OCTETS` octets, below 2^32.
fn make(start: usize, end: usize, line: u32, quoted: bool, glued: bool) -> Token {
    Token {
        start: start as u32,
        end: end as u32,
        line,
        quoted,
        glued,
    }
}
