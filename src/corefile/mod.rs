//! Corefile text to server blocks, and a cursor with which a directive reads its tokens.
//!
//! Runs on: pure.
//!
//! **Invariant**: knows no plugin: it hands out tokens with their file and line, never a meaning. Only `old` knows words of directives,
//! those that are gone, and what is written today. Any input text gives blocks or an error, in time and memory bounded by `limits`.

use std::sync::Arc;

pub mod address;
mod args;
mod digest;
mod env;
mod error;
mod fall;
pub mod hints;
mod host_port;
pub(crate) mod import;
mod lexer;
pub mod old;
mod parser;
mod zone_name;
pub mod zones;

pub use args::Args;
pub use error::{ParseError, SetupError};
pub use fall::Fall;
pub use host_port::{host_port, split_host_port};
pub use import::{RealSource, Source};
pub use zone_name::{ZoneName, longest_match};
pub use zones::origins_from_args_or_block;

/// A word of the Corefile: what stands between white space, or inside one pair of double quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Name of the file it was read from, as given for the main file and absolute for an imported one.
    pub file: Arc<str>,
    /// Line on which it starts, from 1.
    pub line: u32,
    /// Its text: quotes removed, environment references replaced.
    pub text: String,
}

impl Token {
    /// Line breaks inside the token, which only a quoted one can have.
    fn line_breaks(&self) -> u32 {
        // At most limits::COREFILE_OCTETS, which fits.
        self.text.bytes().filter(|octet| *octet == b'\n').count() as u32
    }

    /// Whether `next`, which follows this token, stands on the line on which this one ends.
    fn shares_line_with(&self, next: &Self) -> bool {
        self.file == next.file && self.line.saturating_add(self.line_breaks()) == next.line
    }

    /// Whether `next`, which follows this token, starts a line. Not the opposite of `shares_line_with`: an imported
    /// snippet stands further up in its file than the line that imports it.
    fn starts_line(&self, next: &Self) -> bool {
        self.file != next.file || self.line.saturating_add(self.line_breaks()) < next.line
    }
}

/// All occurrences of one directive in a server block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Its name.
    pub name: String,
    /// The tokens of every occurrence in file order; each occurrence starts with the name itself. Never empty.
    pub tokens: Vec<Token>,
}

/// The keys of one server block and what stands between its braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerBlock {
    /// Zones as written, without the comma that may have followed. Never empty.
    pub keys: Vec<Token>,
    /// Its directives in order of first appearance.
    pub directives: Vec<Directive>,
}

impl ServerBlock {
    /// The directive called `name`, if the block has it.
    pub fn directive(&self, name: &str) -> Option<&Directive> {
        self.directives
            .iter()
            .find(|directive| directive.name == name)
    }
}

/// A parsed Corefile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Corefile {
    /// Its server blocks in file order; none for a file that is empty or holds only snippets and comments.
    pub blocks: Vec<ServerBlock>,
    /// What the operator should hear of though it is no error, without a level prefix.
    pub warnings: Vec<String>,
}

/// What the table of directives says of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It can be set up.
    Yes,
    /// CoreDNS has it, this build does not.
    NotBuilt,
    /// A plugin that is built into CoreDNS by its users; the hint names it.
    Outside(&'static str),
    /// Nobody knows it.
    No,
}

/// Groups the words of a Corefile by server block and directive.
///
/// `file_name` is what errors name and what relative imports start from; `known` is asked about each directive; `source`
/// gives environment variables and imported files. The first error ends the parse.
pub fn parse(
    file_name: &str,
    text: &str,
    known: &dyn Fn(&str) -> Known,
    source: &dyn Source,
) -> Result<Corefile, ParseError> {
    parser::Parser::new(file_name, text, known, source)?.parse()
}

#[cfg(test)]
mod tests;
