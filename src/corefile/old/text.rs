//! The translation of a whole text: what does not change keeps its layout and its comments.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::{Translation, translate};
use crate::corefile::lexer::{Budget, lex_places};
use crate::corefile::{self, Known, ParseError, SetupError, Source, Token};
use crate::limits;

/// A Corefile in today's spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// Its text. Above each line that changed a comment says what changed and why.
    pub text: String,
    /// Directives that changed.
    pub changes: usize,
    /// Arguments of `import` that are no snippets of this text: files, which were not read.
    pub imports: Vec<String>,
}

/// Puts a Corefile into today's spelling. Directives that nobody knows stay as they are, references to the environment too.
///
/// # Errors
/// The text does not parse, or it says what nothing today can do: file, line, reason and remedy.
pub fn migrate(file_name: &str, text: &str) -> Result<Migrated, ParseError> {
    let parse = |text: &str| corefile::parse(file_name, text, &|_: &str| Known::Yes, &Nowhere);
    // Also for the grammar, which `directives` takes for granted.
    let meaning = parse(text)?.digest();
    let file: Arc<str> = file_name.into();
    let mut budget = Budget {
        tokens_left: limits::COREFILE_TOKENS,
        octets_left: limits::COREFILE_TOTAL_OCTETS,
    };
    let (tokens, places) = lex_places(&file, text, &mut budget)
        .ok_or_else(|| SetupError::at(file, 0, "file is too large"))?;
    let found = directives(&tokens);
    let mut lines = Lines::new(text, &places);
    let mut waiting: BTreeMap<usize, Vec<(usize, Range<usize>)>> = BTreeMap::new();
    let mut changes = 0;
    for directive in &found.directives {
        let own = &tokens[directive.tokens.clone()];
        let Some(translation) = translate(own, &tokens[directive.keys.clone()])? else {
            continue;
        };
        changes += 1;
        if let Some(labels) = translation.zone_labels {
            let block = waiting.entry(directive.block).or_default();
            block.push((labels, directive.tokens.clone()));
        }
        lines.edit(&translation, directive.tokens.start);
    }
    for block in waiting.values() {
        lines.sort(block).map_err(|token| {
            let Token { file, line, .. } = &tokens[token];
            let message = "the directives 'proxy' of this block must change places; put each on lines of its own";
            SetupError::at(file.clone(), *line, message)
        })?;
    }
    let text = lines.finish();
    // A file may owe its last brace to a directive that goes, or have a 'forward' below a 'proxy', which came later whatever the order.
    if !parse(&text).is_ok_and(|corefile| corefile.digest() == meaning) {
        return Err(SetupError::plain(format!(
            "{file_name}: what is old in it cannot be changed in its place; close all braces, put each directive on lines of its own \
             and 'proxy' below 'forward'"
        )));
    }
    Ok(Migrated {
        text,
        changes,
        imports: found.imports,
    })
}

/// A surrounding in which every import brings an empty file, and every reference to the environment the same word.
struct Nowhere;

impl Source for Nowhere {
    fn env(&self, _: &str) -> Option<String> {
        Some("env".to_owned())
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        Ok(vec![pattern.to_owned()])
    }

    fn read(&self, _: &str) -> Result<String, String> {
        Ok(String::new())
    }

    fn working_dir(&self) -> Result<String, String> {
        Ok("/".to_owned())
    }
}

// === directives ===

#[derive(Default)]
struct Found {
    directives: Vec<Place>,
    imports: Vec<String>,
}

/// Where a directive stands, in numbers of tokens.
struct Place {
    tokens: Range<usize>,
    keys: Range<usize>,
    /// Number of its server block or snippet.
    block: usize,
}

/// The directives of all server blocks and snippets of a text that parses, by the rules of the parser.
fn directives(tokens: &[Token]) -> Found {
    let mut found = Found::default();
    let mut snippets: BTreeSet<&str> = BTreeSet::new();
    let starts_line = |at: usize| at == 0 || tokens[at - 1].starts_line(&tokens[at]);
    let (mut at, mut block) = (0, 0);
    while at < tokens.len() {
        // What follows an import is looked at as if it stood on its line.
        let (mut first, mut same_line, mut after_comma) = (at, true, false);
        while at < tokens.len() && tokens[at].text != "{" {
            let text = &tokens[at].text;
            if text == "import" && starts_line(at) {
                found.import(tokens.get(at + 1));
                first += if at == first { 2 } else { 0 };
                (at, same_line) = (at + 2, true);
                continue;
            }
            if !same_line && !after_comma && starts_line(at) {
                break;
            }
            if !text.is_empty() {
                after_comma = text.ends_with(',');
            }
            (at, same_line) = (at + 1, false);
        }
        let keys = first.min(tokens.len())..at.min(tokens.len());
        if let [key] = &tokens[keys.clone()]
            && let Some(name) = key.text.strip_prefix('(')
        {
            snippets.insert(name.strip_suffix(')').unwrap_or(name));
        }
        at += usize::from(tokens.get(at).is_some_and(|token| token.text == "{"));
        while at < tokens.len() && tokens[at].text != "}" {
            let start = at;
            at = end_of_directive(tokens, at, &mut found);
            if tokens[start].text != "import" {
                found.directives.push(Place {
                    tokens: start..at,
                    keys: keys.clone(),
                    block,
                });
            }
        }
        at += 1;
        block += 1;
    }
    found
        .imports
        .retain(|name| !snippets.contains(name.as_str()));
    found
}

/// The number of the token after the directive, or after the import, that begins at `start`.
fn end_of_directive(tokens: &[Token], start: usize, found: &mut Found) -> usize {
    let mut nesting = 0_usize;
    let mut at = start;
    loop {
        if tokens[at].text == "import" && (at == start || tokens[at - 1].starts_line(&tokens[at])) {
            found.import(tokens.get(at + 1));
        }
        at += 1;
        let Some(token) = tokens.get(at) else {
            return at;
        };
        match token.text.as_str() {
            "{" => nesting += 1,
            _ if nesting == 0 && tokens[at - 1].starts_line(token) => return at,
            // The end of a snippet, which alone may stand on the line of a directive.
            "}" if nesting == 0 => return at,
            "}" => nesting -= 1,
            _ => {}
        }
    }
}

impl Found {
    fn import(&mut self, argument: Option<&Token>) {
        if let Some(token) = argument
            && !self.imports.contains(&token.text)
            && self.imports.len() < limits::COREFILE_WARNINGS
        {
            self.imports.push(token.text.clone());
        }
    }
}

// === Lines ===

/// The lines of a text while it is edited. A line break inside a quoted token ends no line.
struct Lines<'t> {
    text: &'t str,
    places: &'t [Range<usize>],
    /// Octets of each line, its line break included.
    ranges: Vec<Range<usize>>,
    /// By the number of a line: octets of the text and what takes their place, in order.
    edits: BTreeMap<usize, Vec<(Range<usize>, String)>>,
    /// By the number of a line: the comments above it.
    comments: BTreeMap<usize, Vec<String>>,
    /// By the number of a line: those that stand in its place, when directives were put into another order.
    moved: BTreeMap<usize, Range<usize>>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str, places: &'t [Range<usize>]) -> Self {
        let mut ranges = Vec::new();
        let (mut start, mut tokens) = (0, places.iter().peekable());
        for (at, _) in text.match_indices('\n') {
            while tokens.next_if(|place| place.end <= at).is_some() {}
            let is_inside = tokens.peek().is_some_and(|place| place.start < at);
            if !is_inside {
                ranges.push(start..at + 1);
                start = at + 1;
            }
        }
        if start < text.len() {
            ranges.push(start..text.len());
        }
        Lines {
            text,
            places,
            ranges,
            edits: BTreeMap::new(),
            comments: BTreeMap::new(),
            moved: BTreeMap::new(),
        }
    }

    fn line_of(&self, token: usize) -> usize {
        let start = self.places[token].start;
        self.ranges.partition_point(|range| range.end <= start)
    }

    /// Takes the edits and notes of a directive whose first token has this number.
    fn edit(&mut self, translation: &Translation, first: usize) {
        for (at, words) in &translation.edits {
            let place = self.places[first + at].clone();
            let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
            let line = self.line_of(first + at);
            let edits = self.edits.entry(line).or_default();
            edits.push((place, words.join(" ")));
        }
        for (at, note) in &translation.notes {
            let line = self.line_of(first + at);
            let comments = self.comments.entry(line).or_default();
            comments.push(format!("# migrated: {}", one_line(note)));
        }
    }

    /// Orders directives, given by their labels and tokens, by falling number of labels; each takes the lines of another. Fails with the
    /// first token of one that shares its lines with others.
    fn sort(&mut self, directives: &[(usize, Range<usize>)]) -> Result<(), usize> {
        let mut sorted: Vec<&(usize, Range<usize>)> = directives.iter().collect();
        sorted.sort_by_key(|(labels, _)| Reverse(*labels));
        for ((_, old), (_, new)) in directives.iter().zip(sorted) {
            if old == new {
                continue;
            }
            let (old, new) = (self.lines_of(old)?, self.lines_of(new)?);
            for line in old.clone() {
                self.moved.insert(line, 0..0);
            }
            let comments = self.comments.entry(new.start).or_default();
            comments.push(MOVED.to_owned());
            self.moved.insert(old.start, new);
        }
        Ok(())
    }

    /// The lines of these tokens, which stand there alone; else the first token.
    fn lines_of(&self, tokens: &Range<usize>) -> Result<Range<usize>, usize> {
        let lines = self.line_of(tokens.start)..self.line_of(tokens.end - 1) + 1;
        let is_before = tokens.start == 0 || self.line_of(tokens.start - 1) < lines.start;
        let is_after = tokens.end == self.places.len() || self.line_of(tokens.end) >= lines.end;
        let is_alone = is_before && is_after;
        is_alone.then_some(lines).ok_or(tokens.start)
    }

    fn finish(self) -> String {
        let mut out = String::with_capacity(self.text.len() + 4096);
        for line in 0..self.ranges.len() {
            let stands_here = self.moved.get(&line).cloned();
            for line in stands_here.unwrap_or(line..line + 1) {
                self.write(line, &mut out);
            }
        }
        out
    }

    fn write(&self, line: usize, out: &mut String) {
        let range = self.ranges[line].clone();
        let old = &self.text[range.clone()];
        let indent = &old[..old.len() - old.trim_start_matches([' ', '\t']).len()];
        for comment in self.comments.get(&line).into_iter().flatten() {
            out.push_str(indent);
            out.push_str(comment);
            out.push('\n');
        }
        let Some(edits) = self.edits.get(&line) else {
            out.push_str(old);
            return;
        };
        let mut new = String::new();
        let mut from = range.start;
        for (place, words) in edits {
            let between = &self.text[from..place.start];
            // What is removed takes the white space before it along, unless that is the indentation.
            let is_indent = new.trim().is_empty();
            new.push_str(match words.is_empty() && !is_indent {
                true => between.trim_end_matches([' ', '\t']),
                false => between,
            });
            from = place.end;
            if words.is_empty() && is_indent {
                let rest = &self.text[from..range.end];
                from += rest.len() - rest.trim_start_matches([' ', '\t']).len();
            }
            new.push_str(words);
        }
        new.push_str(&self.text[from..range.end]);
        if !new.trim().is_empty() {
            out.push_str(&new);
        }
    }
}

/// A word as the lexer reads it back.
fn quote(word: &str) -> String {
    let is_plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '#');
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("\"{}\"", word.replace('"', "\\\""))
}

/// A note with nothing that would end its comment.
fn one_line(note: &str) -> String {
    note.replace(|c: char| c.is_control(), " ")
}

const MOVED: &str = "# migrated: moved, for the first 'forward' that matches is taken, and of 'proxy' the one with the longest zone";
