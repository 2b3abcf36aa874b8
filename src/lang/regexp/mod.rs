//! Go (RE2) regular expressions, run by the `regex` crate.
//!
//! Runs on: pure (a compiled expression is matched on data cores; give each core its own clone).
//!
//! **Invariant**: what Go accepts means here what it means in Go; what Go refuses is refused with Go's words.
//!
//! The text is parsed once by `translate`, which writes an equivalent text for the `regex` crate: the two
//! dialects look alike but differ in classes (`\s`, `\b`, `&&` inside brackets), escapes and repetition.

use std::fmt;

use regex::{CaptureLocations, Regex, RegexBuilder};

use crate::limits;

mod class;
mod translate;

/// A compiled expression with its original text.
///
/// A clone has its own scratch memory: give each core one, so that matching never contends.
#[derive(Clone)]
pub struct Regexp {
    regex: Regex,
    text: Box<str>,
    /// Name of group `i`; 0 is the whole match and has none.
    names: Box<[Option<Box<str>>]>,
}

/// Where the groups of one match lie: room that is made once and filled again by each match.
#[derive(Clone)]
pub struct Groups {
    locations: CaptureLocations,
}

// === impl Regexp ===

impl Regexp {
    /// Compiles Go syntax. The error reads `error parsing regexp: REASON: `PART``, as Go's does.
    pub fn compile(text: &str) -> Result<Self, String> {
        Self::compile_within(text, limits::REGEXP_OCTETS)
    }

    /// Compiles to at most so many octets: for a text that is only known when a query comes in.
    pub fn compile_within(text: &str, octets: usize) -> Result<Self, String> {
        let chars = text.chars().take(limits::REGEXP_CHARS + 1).count();
        if chars > limits::REGEXP_CHARS {
            return Err(format!(
                "regexp is longer than {} characters",
                limits::REGEXP_CHARS
            ));
        }
        let translated = translate::translate(text)?;
        let regex = RegexBuilder::new(&translated.pattern)
            .size_limit(octets)
            .dfa_size_limit(limits::REGEXP_SCRATCH_OCTETS)
            .build()
            .map_err(|error| {
                let reason = match error {
                    regex::Error::CompiledTooBig(_) => "expression too large",
                    // The translation is valid syntax by construction; what is left is its depth.
                    _ => "expression nests too deeply",
                };
                parse_error(reason, text)
            })?;
        Ok(Self {
            regex,
            text: text.into(),
            names: translated.names.into(),
        })
    }

    /// The text that was compiled.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether any part of `text` matches. Allocates nothing once warm.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Room for the groups of a match of this expression.
    pub fn groups(&self) -> Groups {
        Groups {
            locations: self.regex.capture_locations(),
        }
    }

    /// Finds the leftmost match and notes its groups; false leaves `groups` unspecified.
    /// Allocates nothing once warm. `groups` must come from this expression or a clone of it.
    pub fn find(&self, text: &str, groups: &mut Groups) -> bool {
        self.regex
            .captures_read(&mut groups.locations, text)
            .is_some()
    }

    /// Groups, the whole match (number 0) included.
    pub fn group_count(&self) -> usize {
        self.names.len()
    }

    /// The name of a group; none when it has no name or does not exist.
    pub fn group_name(&self, number: usize) -> Option<&str> {
        self.names.get(number)?.as_deref()
    }

    /// The number of the first group of this name.
    pub fn group_number(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n.as_deref() == Some(name))
    }
}

impl fmt::Debug for Regexp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regexp({:?})", self.text)
    }
}

impl PartialEq for Regexp {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

// === impl Groups ===

impl Groups {
    /// Octets `(start, end)` of a group in the text that matched; none when it took no part.
    pub fn span(&self, number: usize) -> Option<(usize, usize)> {
        self.locations.get(number)
    }

    /// The text of a group, as Go gives it: empty when the group took no part or does not exist.
    pub fn text<'t>(&self, matched: &'t str, number: usize) -> &'t str {
        self.span(number)
            .and_then(|(start, end)| matched.get(start..end))
            .unwrap_or("")
    }

    /// Groups, the whole match included.
    pub fn count(&self) -> usize {
        self.locations.len()
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries((0..self.count()).map(|i| self.span(i)))
            .finish()
    }
}

// === helpers ===

/// Go's sentence for a refused expression.
fn parse_error(reason: &str, part: &str) -> String {
    format!("error parsing regexp: {reason}: `{part}`")
}

#[cfg(test)]
mod tests;
