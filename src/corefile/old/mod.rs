//! Spellings of earlier releases of CoreDNS, and what stands for them today.
//!
//! A translation is a list of edits of one directive's tokens, and notes that say what changed and why. The parser applies the edits
//! to the tokens and hands the notes on as warnings; `percoredns migrate` applies the same edits to the text and writes the notes as
//! comments. So no plugin knows an old option, and what the one says the other does.
//!
//! ```text
//! proxy . 192.0.2.1 {                 forward . 192.0.2.1 {
//!     policy first              -->       policy sequential
//!     protocol dns force_tcp              force_tcp
//! }                                   }
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

use super::zones::zones_of;
use super::{SetupError, Token};

pub(crate) mod federation;
mod options;
mod proxy;
mod text;

pub use text::{Migrated, migrate};

/// What becomes of one occurrence of a directive.
#[derive(Debug, Default)]
pub(super) struct Translation {
    /// By the number of a token: the words that take its place on its line, none to remove it. The other tokens stay.
    edits: BTreeMap<usize, Vec<String>>,
    /// What changed and why, each with the number of the token that it is about, in the order of the tokens.
    notes: Vec<(usize, String)>,
    /// Labels of its zone, where the old directive chose the longest zone and the new one takes the first that matches.
    pub(super) zone_labels: Option<usize>,
}

/// Whether the directive is no longer known by this name.
pub(super) fn is_removed(name: &str) -> bool {
    matches!(name, proxy::NAME | federation::NAME)
}

/// Translates one occurrence of a directive, its name first; `None` if nothing in it is old.
///
/// `keys` are those of its server block.
pub(super) fn translate(
    tokens: &[Token],
    keys: &[Token],
) -> Result<Option<Translation>, SetupError> {
    let Some(name) = tokens.first() else {
        return Ok(None);
    };
    let name = name.text.as_str();
    if !is_removed(name) && !options::has(name) {
        return Ok(None);
    }
    let shape = Shape::of(tokens);
    if let Some(at) = shape.inner_brace() {
        // No directive has braces inside its braces. Of one that is still there its plugin says so.
        return match is_removed(name) {
            true => Err(shape.err(at, format!("braces inside the braces of '{name}'"))),
            false => Ok(None),
        };
    }
    let mut translation = Translation::default();
    match name {
        proxy::NAME => proxy::translate(&shape, &mut translation)?,
        federation::NAME => federation::translate(&shape, keys, &mut translation)?,
        _ => options::translate(&shape, &mut translation),
    }
    Ok((!translation.edits.is_empty()).then_some(translation))
}

// === impl Translation ===

impl Translation {
    fn replace(&mut self, at: usize, words: &[&str]) {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.edits.insert(at, words);
    }

    fn remove(&mut self, range: Range<usize>) {
        for at in range {
            self.replace(at, &[]);
        }
    }

    fn note(&mut self, at: usize, text: impl Into<String>) {
        self.notes.push((at, text.into()));
    }

    /// Removes the braces if nothing is left between them.
    fn remove_empty_braces(&mut self, shape: &Shape<'_>) {
        let is_removed = |at: usize| self.edits.get(&at).is_some_and(Vec::is_empty);
        let Some(braces) = shape.braces.clone() else {
            return;
        };
        if !shape.lines.is_empty() && (braces.start + 1..braces.end).all(is_removed) {
            self.remove(braces.start..braces.start + 1);
            self.remove(braces.end..braces.end + 1);
        }
    }

    /// The tokens that take the place of `tokens`.
    pub(super) fn apply(&self, tokens: &[Token]) -> Vec<Token> {
        let mut new = Vec::with_capacity(tokens.len());
        for (at, token) in tokens.iter().enumerate() {
            match self.edits.get(&at) {
                None => new.push(token.clone()),
                Some(words) => new.extend(words.iter().map(|word| Token {
                    text: word.clone(),
                    ..token.clone()
                })),
            }
        }
        new
    }

    /// One line for the log: `plugin/NAME: FILE:LINE - deprecated: what changed and why`.
    pub(super) fn warning(&self, tokens: &[Token]) -> String {
        let notes: Vec<&str> = self.notes.iter().map(|(_, text)| text.as_str()).collect();
        let first = self.notes.first().and_then(|(at, _)| tokens.get(*at));
        let place = first.map(|token| format!("{}:{} - ", token.file, token.line));
        format!(
            "plugin/{}: {}deprecated: {}",
            tokens.first().map_or("", |token| &token.text),
            place.unwrap_or_default(),
            notes.join("; ")
        )
    }
}

// === Shape ===

/// Where the parts of an occurrence are.
struct Shape<'t> {
    tokens: &'t [Token],
    /// Numbers of the name and its arguments.
    head: Range<usize>,
    /// Numbers of the opening and of the closing brace.
    braces: Option<Range<usize>>,
    /// Numbers of the tokens of each line between them. None is empty.
    lines: Vec<Range<usize>>,
}

impl<'t> Shape<'t> {
    fn of(tokens: &'t [Token]) -> Self {
        let open = tokens.iter().position(|token| token.text == "{");
        let head = 0..open.unwrap_or(tokens.len());
        let mut lines: Vec<Range<usize>> = Vec::new();
        // The parser hands out no brace that is not closed by the last token.
        let braces = open.map(|open| open..tokens.len() - 1);
        for at in braces.clone().map_or(0..0, |b| b.start + 1..b.end) {
            match lines.last_mut() {
                Some(line) if !tokens[at - 1].starts_line(&tokens[at]) => line.end = at + 1,
                _ => lines.push(at..at + 1),
            }
        }
        Shape {
            tokens,
            head,
            braces,
            lines,
        }
    }

    /// The number of a brace inside the braces.
    fn inner_brace(&self) -> Option<usize> {
        let mut inner = self.lines.iter().flat_map(|line| line.clone());
        inner.find(|at| matches!(self.text(*at), "{" | "}"))
    }

    fn text(&self, at: usize) -> &'t str {
        &self.tokens[at].text
    }

    fn words(&self, line: &Range<usize>) -> Vec<&'t str> {
        line.clone().map(|at| self.text(at)).collect()
    }

    fn err(&self, at: usize, message: impl Into<String>) -> SetupError {
        let token = &self.tokens[at];
        SetupError::at(token.file.clone(), token.line, message)
    }
}

/// Labels of a zone as it stands in a Corefile; 0 for the root, and for what is no zone.
fn zone_labels(text: &str) -> usize {
    let zones = zones_of(text);
    zones.first().map_or(0, |zone| {
        let labels = zone.as_str().split('.');
        labels.filter(|label| !label.is_empty()).count()
    })
}

#[cfg(test)]
mod tests;
