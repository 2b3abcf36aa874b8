//! Errors with the place in the Corefile that caused them, in CoreDNS's wording.

use std::fmt;
use std::sync::Arc;

/// Why a Corefile or a directive in it was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupError {
    place: Option<(Arc<str>, u32)>,
    kind: Kind,
    message: String,
}

/// The error of `parse`; the same type, because imports and directives fail in the same way.
pub type ParseError = SetupError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Parsing,
    Syntax,
    Plain,
}

impl SetupError {
    /// An error without a place: printed as the bare message.
    pub fn plain(message: impl Into<String>) -> Self {
        Self {
            place: None,
            kind: Kind::Plain,
            message: message.into(),
        }
    }

    /// `FILE:LINE - Error during parsing: MESSAGE`.
    pub fn at(file: Arc<str>, line: u32, message: impl Into<String>) -> Self {
        Self {
            place: Some((file, line)),
            kind: Kind::Parsing,
            message: message.into(),
        }
    }

    /// `FILE:LINE - Syntax error: Unexpected token 'FOUND', expecting 'EXPECTED'`.
    pub fn syntax(file: Arc<str>, line: u32, found: &str, expected: &str) -> Self {
        let message = format!("Unexpected token '{found}', expecting '{expected}'");
        Self {
            place: Some((file, line)),
            kind: Kind::Syntax,
            message,
        }
    }

    /// File of the token at fault, if the error has a place.
    pub fn file(&self) -> Option<&str> {
        self.place.as_ref().map(|(file, _)| &**file)
    }

    /// Line of the token at fault, if the error has a place; 0 before the first and after the last token.
    pub fn line(&self) -> Option<u32> {
        self.place.as_ref().map(|(_, line)| *line)
    }

    /// The message without its place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Parsing => "Error during parsing: ",
            Kind::Syntax => "Syntax error: ",
            Kind::Plain => "",
        };
        if let Some((file, line)) = &self.place {
            write!(f, "{file}:{line} - ")?;
        }
        write!(f, "{what}{}", self.message)
    }
}

impl std::error::Error for SetupError {}

impl From<String> for SetupError {
    fn from(message: String) -> Self {
        Self::plain(message)
    }
}
