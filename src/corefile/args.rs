//! The cursor with which a directive reads its tokens.

use std::sync::Arc;

use super::{Directive, SetupError, Token};

/// Reads the tokens of one directive in order, aware of lines and braces.
///
/// Starts before the first token: `next` loads the name of the directive, and again at each further occurrence.
///
/// ```text
/// while args.next() {                      // the name, once per occurrence
///     let zones = args.remaining_args();   // up to the end of the line or `{`
///     while args.next_block() {            // the first word of each line between braces, if each is read to its end
///         match args.val() { ... }
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Args<'a> {
    name: &'a str,
    tokens: &'a [Token],
    /// Tokens loaded so far; the current one is `tokens[loaded - 1]`. `0 <= loaded <= tokens.len()`
    loaded: usize,
    in_block: bool,
}

impl<'a> Args<'a> {
    /// A cursor before the first token of `directive`.
    pub fn new(directive: &'a Directive) -> Self {
        Self {
            name: &directive.name,
            tokens: &directive.tokens,
            loaded: 0,
            in_block: false,
        }
    }

    /// Name of the directive.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Loads the next token, whatever its line; false if there is none.
    #[expect(
        clippy::should_implement_trait,
        reason = "it moves a cursor; the token is read by `val`"
    )]
    pub fn next(&mut self) -> bool {
        let more = self.loaded < self.tokens.len();
        self.loaded += usize::from(more);
        more
    }

    /// Loads the next token if it is on the line of the current one.
    pub fn next_arg(&mut self) -> bool {
        let same_line = match (self.current(), self.tokens.get(self.loaded)) {
            (Some(current), Some(next)) => current.shares_line_with(next),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        same_line && self.next()
    }

    /// Loads the next token if it is on a later line than the current one.
    pub fn next_line(&mut self) -> bool {
        let later_line = match (self.current(), self.tokens.get(self.loaded)) {
            (Some(current), Some(next)) => current.starts_line(next),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        later_line && self.next()
    }

    /// Loads the next token of the braces that open on this line, entering them first. False when there are none, when
    /// they are empty and when the closing brace is reached. Braces inside braces are not understood: the first closing
    /// one ends the block.
    pub fn next_block(&mut self) -> bool {
        if self.in_block {
            // The parser hands out no unclosed block; should the tokens end, so does the block.
            if !self.next() || self.val() == "}" {
                self.in_block = false;
            }
            return self.in_block;
        }
        if !self.next_arg() {
            return false;
        }
        if self.val() != "{" {
            self.loaded -= 1;
            return false;
        }
        self.in_block = self.next() && self.val() != "}";
        self.in_block
    }

    /// Text of the current token; empty before the first.
    pub fn val(&self) -> &'a str {
        self.current().map_or("", |token| &token.text)
    }

    /// File of the current token.
    pub fn file(&self) -> &'a str {
        self.current()
            .or(self.tokens.first())
            .map_or("", |token| &token.file)
    }

    /// Line of the current token, from 1; 0 before the first.
    pub fn line(&self) -> u32 {
        self.current().map_or(0, |token| token.line)
    }

    /// Loads the rest of the line, up to and without an opening brace.
    pub fn remaining_args(&mut self) -> Vec<&'a str> {
        let mut words = Vec::new();
        while self.next_arg() {
            if self.val() == "{" {
                self.loaded -= 1;
                break;
            }
            words.push(self.val());
        }
        words
    }

    /// Loads one argument on this line, or fails with `arg_err`.
    pub fn expect_arg(&mut self) -> Result<&'a str, SetupError> {
        if self.next_arg() {
            Ok(self.val())
        } else {
            Err(self.arg_err())
        }
    }

    /// Fails with `arg_err` unless the line ends here.
    pub fn expect_line_end(&mut self) -> Result<(), SetupError> {
        if self.remaining_args().is_empty() {
            Ok(())
        } else {
            Err(self.arg_err())
        }
    }

    fn current(&self) -> Option<&'a Token> {
        self.loaded
            .checked_sub(1)
            .and_then(|at| self.tokens.get(at))
    }
}

// === errors at the current token ===

impl Args<'_> {
    /// An argument is missing or too many.
    pub fn arg_err(&self) -> SetupError {
        if self.val() == "{" {
            return self.err("Unexpected token '{', expecting argument");
        }
        self.err(format!(
            "Wrong argument count or unexpected line ending after '{}'",
            self.val()
        ))
    }

    /// Another token than the current one was expected.
    pub fn syntax_err(&self, expected: &str) -> SetupError {
        SetupError::syntax(self.file_name(), self.line(), self.val(), expected)
    }

    /// The tokens ended too early.
    pub fn eof_err(&self) -> SetupError {
        self.err("Unexpected EOF")
    }

    /// An error with the place of the current token.
    pub fn err(&self, message: impl Into<String>) -> SetupError {
        SetupError::at(self.file_name(), self.line(), message)
    }

    /// The directive stands twice in a server block and may not.
    pub fn once_err(&self) -> SetupError {
        SetupError::plain("this plugin can only be used once per Server Block")
    }

    /// An option that the directive does not have.
    pub fn unknown_property(&self, name: &str) -> SetupError {
        self.err(format!("unknown property '{name}'"))
    }

    fn file_name(&self) -> Arc<str> {
        self.current()
            .or(self.tokens.first())
            .map_or_else(|| Arc::from(""), |token| token.file.clone())
    }
}
