//! Go's text templates as far as *template* blocks use them.
//!
//! Runs on: data core (parsed on the control thread; shared by all cores).
//!
//! **Invariant**: `limits::TEMPLATE_STEPS`, `TEMPLATE_OCTETS` and `TEMPLATE_RUN_DEPTH` bound every execution.
//!
//! ```text
//! text -> lexer -> parser -> Template -> execute(root) -> text
//! ```

mod ast;
mod exec;
mod functions;
mod lexer;
mod parser;
mod printf;
mod value;

pub use value::{Object, Value};

use crate::limits;

/// A parsed template.
#[derive(Clone, Debug)]
pub struct Template {
    name: Box<str>,
    text: Box<str>,
    body: ast::Body,
    defined: parser::Defined,
}

/// Octets of the template's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    start: usize,
    end: usize,
}

impl Template {
    /// Parses a template. The name appears in errors, which read `template: NAME:LINE: REASON`.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        if text.len() > limits::TEMPLATE_TEXT_OCTETS {
            return Err(format!(
                "template: {name}: longer than {} bytes",
                limits::TEMPLATE_TEXT_OCTETS
            ));
        }
        let parsed = lexer::tokens(text).and_then(parser::parse);
        let (body, defined) = parsed.map_err(|(place, reason)| {
            let line = 1 + text[..place.start.min(text.len())].matches('\n').count();
            format!("template: {name}:{line}: {reason}")
        })?;
        Ok(Self {
            name: name.into(),
            text: text.into(),
            body,
            defined,
        })
    }

    /// Appends what the template makes of `root`. After an error `out` holds what was made so far.
    pub fn execute<'a>(&'a self, root: &'a Value<'a>, out: &mut String) -> Result<(), String> {
        exec::execute(self, root, out).map_err(|(running, (place, reason))| {
            let before = &self.text[..place.start.min(self.text.len())];
            let line = 1 + before.matches('\n').count();
            let column = before.rsplit('\n').next().map_or(0, str::len);
            let name = &self.name;
            let shown = self.shown(place);
            format!(
                "template: {name}:{line}:{column}: executing {running:?} at <{shown}>: {reason}"
            )
        })
    }

    /// The text that was parsed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn shown(&self, place: Place) -> &str {
        self.text.get(place.start..place.end).unwrap_or("")
    }
}

#[cfg(test)]
mod tests;
