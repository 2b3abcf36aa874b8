//! Tokens to server blocks: keys, snippets, imports, directives and their braces.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::import::{absolute, join};
use super::lexer::{Budget, lex};
use super::{
    Corefile, Directive, Known, ParseError, ServerBlock, SetupError, Source, Token, env, hints, old,
};
use crate::limits;

/// A cursor over the tokens of the main file, in which each import is replaced by what it imports.
///
/// Imports make the list of tokens grow under the cursor, and some rules look one token back or step back by one. Both
/// are cheap here: what follows is a stack, and of what went by only the last few tokens are kept.
pub(super) struct Parser<'s> {
    file: Arc<str>,
    known: &'s dyn Fn(&str) -> Known,
    source: &'s dyn Source,
    /// The tokens read last, the current one at the end.
    seen: Vec<Token>,
    /// The tokens to come, the next one at the end.
    pending: Vec<Token>,
    /// An import at the end of the file brought nothing: there is no current token.
    past_end: bool,
    snippets: HashMap<String, Rc<[Token]>>,
    snippet_imports: usize,
    file_imports: usize,
    budget: Budget,
    env_octets_left: usize,
    warnings: Vec<String>,
}

/// Steps back are at most two tokens (an import and its argument); more is kept so that trimming is rare.
const SEEN_LEN_MAX: usize = 64;

impl<'s> Parser<'s> {
    pub(super) fn new(
        file_name: &str,
        text: &str,
        known: &'s dyn Fn(&str) -> Known,
        source: &'s dyn Source,
    ) -> Result<Self, ParseError> {
        let file: Arc<str> = file_name.into();
        let mut budget = Budget {
            tokens_left: limits::COREFILE_TOKENS,
            octets_left: limits::COREFILE_TOTAL_OCTETS,
        };
        if text.len() > limits::COREFILE_OCTETS {
            let message = format!("file is larger than {} octets", limits::COREFILE_OCTETS);
            return Err(SetupError::at(file, 0, message));
        }
        let mut pending = lex(&file, text, &mut budget)
            .ok_or_else(|| SetupError::at(file.clone(), 0, TOO_LARGE))?;
        pending.reverse();
        Ok(Self {
            file,
            known,
            source,
            seen: Vec::new(),
            pending,
            past_end: false,
            snippets: HashMap::new(),
            snippet_imports: 0,
            file_imports: 0,
            budget,
            env_octets_left: limits::ENV_OCTETS,
            warnings: Vec::new(),
        })
    }

    pub(super) fn parse(mut self) -> Result<Corefile, ParseError> {
        let mut blocks = Vec::new();
        while self.next() {
            if let Some(block) = self.server_block()? {
                blocks.push(block);
            }
        }
        Ok(Corefile {
            blocks,
            warnings: self.warnings,
        })
    }

    /// One server block or snippet, from its first key to its closing brace. `None` for a snippet or without keys.
    fn server_block(&mut self) -> Result<Option<ServerBlock>, ParseError> {
        let (keys, at_end) = self.keys()?;
        let mut block = BlockBuilder::default();
        if !at_end {
            if let Some(name) = snippet_name(&keys) {
                self.define_snippet(name)?;
                return Ok(None);
            }
            let braced = self.val() == "{";
            if !braced {
                // A file of a single block needs no braces: this token is its first directive.
                self.step_back();
            }
            self.directives(&mut block, &keys)?;
            if braced && self.val() != "}" {
                return Err(self.syntax_err("}"));
            }
        }
        let keep = !keys.is_empty();
        Ok(keep.then_some(ServerBlock {
            keys,
            directives: block.finish(),
        }))
    }

    /// The keys up to an opening brace, the end of the line or the end of the file, which the flag tells.
    fn keys(&mut self) -> Result<(Vec<Token>, bool), ParseError> {
        let mut keys = Vec::new();
        let mut expecting_another = false;
        loop {
            let mut text = self.expand(self.val().to_owned())?;
            if text == "import" && self.is_new_line() {
                self.import()?;
                self.past_end = !self.next();
                continue;
            }
            if text == "{" {
                if expecting_another {
                    return Err(
                        self.err("Expected another address but had '{' - check for extra comma")
                    );
                }
                return Ok((keys, false));
            }
            if !text.is_empty() {
                expecting_another = text.ends_with(',');
                if expecting_another {
                    text.pop();
                }
                // Not empty, so there is a current token.
                keys.extend(self.current().map(|token| Token {
                    text,
                    ..token.clone()
                }));
            }
            if !self.next() {
                return if expecting_another {
                    Err(self.err("Unexpected EOF"))
                } else {
                    Ok((keys, true))
                };
            }
            if !expecting_another && self.is_new_line() {
                return Ok((keys, false));
            }
        }
    }

    /// The directives of a block up to its closing brace, which becomes the current token, or the end of the file.
    fn directives(&mut self, block: &mut BlockBuilder, keys: &[Token]) -> Result<(), ParseError> {
        while self.next() {
            match self.val() {
                "}" => break,
                "import" => self.import()?,
                _ => {
                    let tokens = self.directive()?;
                    self.add_directive(block, keys, tokens)?;
                }
            }
        }
        Ok(())
    }

    /// The tokens of one directive: to the end of its line, or to the end of the braces that it opens.
    fn directive(&mut self) -> Result<Vec<Token>, ParseError> {
        let text = self.expand(self.val().to_owned())?;
        let name = self.current().map(|token| Token {
            text,
            ..token.clone()
        });
        let mut tokens: Vec<Token> = name.into_iter().collect();
        if let Some(name) = tokens.first().filter(|name| !old::is_removed(&name.text)) {
            self.check_known(name)?;
        }
        let mut nesting = 0_usize;
        while self.next() {
            // An opening brace belongs to the directive even on a line of its own, so it is looked at first.
            if self.val() == "{" {
                nesting += 1;
            } else if nesting == 0 && self.is_new_line() {
                self.step_back();
                break;
            } else if self.val() == "}" {
                if nesting == 0 {
                    return Err(self.err("Unexpected '}' because no matching opening brace"));
                }
                nesting -= 1;
            } else if self.val() == "import" && self.is_new_line() {
                self.import()?;
                continue;
            }
            let text = self.expand(self.val().to_owned())?;
            if let Some(token) = self.seen.last_mut() {
                // In place: whether the next token starts a line depends on the line breaks of the value.
                token.text = text;
                tokens.push(token.clone());
            }
        }
        if nesting > 0 {
            return Err(self.err("Unexpected EOF"));
        }
        Ok(tokens)
    }

    /// Adds one directive to its block, after translating what is old in it.
    fn add_directive(
        &mut self,
        block: &mut BlockBuilder,
        keys: &[Token],
        tokens: Vec<Token>,
    ) -> Result<(), ParseError> {
        let Some(translation) = old::translate(&tokens, keys)? else {
            block.add(tokens);
            return Ok(());
        };
        self.warn(translation.warning(&tokens));
        let new = translation.apply(&tokens);
        for token in &new {
            self.budget
                .spend(token.text.len())
                .ok_or_else(|| self.err(TOO_LARGE))?;
        }
        if let Some(name) = new.first() {
            self.check_known(name)?;
        }
        match translation.zone_labels {
            Some(labels) => block.longest_first.push((labels, new)),
            None => block.add(new),
        }
        Ok(())
    }

    fn check_known(&self, name: &Token) -> Result<(), ParseError> {
        let Token { file, line, text } = name;
        let hint = match (self.known)(text) {
            Known::Yes => return Ok(()),
            Known::NotBuilt => {
                let message = format!(
                    "directive '{text}' is part of CoreDNS but not built into percoredns yet; \
                     remove it or serve this block with CoreDNS"
                );
                return Err(SetupError::at(file.clone(), *line, message));
            }
            Known::Outside(hint) => Some(hint),
            Known::No => hints::of(text),
        };
        let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        let message = format!("Unknown directive '{text}'{hint}");
        Err(SetupError::at(file.clone(), *line, message))
    }

    fn warn(&mut self, message: String) {
        if self.warnings.len() < limits::COREFILE_WARNINGS {
            self.warnings.push(message);
        }
    }

    fn define_snippet(&mut self, name: String) -> Result<(), ParseError> {
        if self.snippets.contains_key(&name) {
            return Err(self.err(format!(
                "redeclaration of previously declared snippet {name}"
            )));
        }
        let tokens = self.snippet_tokens()?;
        for (i, pair) in tokens.windows(2).enumerate() {
            let starts_line =
                i == 0 || tokens[i - 1].file != pair[0].file || tokens[i - 1].line != pair[0].line;
            if starts_line && pair[0].text == "import" && self.expand(pair[1].text.clone())? == name
            {
                return Err(self.err(too_deep("snippet", limits::SNIPPET_IMPORTS)));
            }
        }
        self.snippets.insert(name, tokens.into());
        Ok(())
    }

    /// The raw tokens between the braces of a snippet; its closing brace becomes the current token.
    fn snippet_tokens(&mut self) -> Result<Vec<Token>, ParseError> {
        if self.val() != "{" {
            return Err(self.syntax_err("{"));
        }
        let mut nesting = 1_usize;
        let mut tokens = Vec::new();
        while self.next() {
            match self.val() {
                "}" => nesting -= 1,
                "{" => nesting += 1,
                _ => {}
            }
            if nesting == 0 {
                return Ok(tokens);
            }
            tokens.extend(self.current().cloned());
        }
        Err(self.syntax_err("}"))
    }

    fn expand(&mut self, text: String) -> Result<String, ParseError> {
        if !text.contains('{') {
            return Ok(text);
        }
        let source = self.source;
        match env::expand(&text, &|name| source.env(name), &mut self.env_octets_left) {
            Some(text) => Ok(text),
            None => Err(self.err(format!(
                "environment references in '{}' expand without end",
                excerpt(&text)
            ))),
        }
    }
}

// === imports ===

impl Parser<'_> {
    /// Replaces the current `import` and its argument by what they import; the token before them becomes current.
    fn import(&mut self) -> Result<(), ParseError> {
        if !self.next_arg() {
            let message = format!(
                "Wrong argument count or unexpected line ending after '{}'",
                self.val()
            );
            return Err(self.err(message));
        }
        let pattern = self.expand(self.val().to_owned())?;
        if pattern.is_empty() {
            return Err(self.err("Import requires a non-empty filepath"));
        }
        if self.next_arg() {
            return Err(self.err("Import takes only one argument (glob pattern or file)"));
        }
        if let Some(tokens) = self.snippets.get(&pattern).cloned() {
            count_up(&mut self.snippet_imports, limits::SNIPPET_IMPORTS)
                .ok_or_else(|| self.err(too_deep("snippet", limits::SNIPPET_IMPORTS)))?;
            for token in tokens.iter() {
                self.budget
                    .spend(token.text.len())
                    .ok_or_else(|| self.err(TOO_LARGE))?;
            }
            self.drop_import();
            self.pending.extend(tokens.iter().rev().cloned());
        } else {
            count_up(&mut self.file_imports, limits::IMPORT_FILES)
                .ok_or_else(|| self.err(too_deep("file", limits::IMPORT_FILES)))?;
            let tokens = self.read_matches(&pattern)?;
            self.drop_import();
            self.pending.extend(tokens.into_iter().rev());
        }
        Ok(())
    }

    fn drop_import(&mut self) {
        self.seen.truncate(self.seen.len().saturating_sub(2));
    }

    /// The tokens of all files that match, in lexical order of their names.
    fn read_matches(&mut self, pattern: &str) -> Result<Vec<Token>, ParseError> {
        let dir = self.source.working_dir().map_err(|error| {
            self.err(format!(
                "Failed to get absolute path of file: {}: {error}",
                self.file
            ))
        })?;
        let importer = absolute(&dir, self.current().map_or(&self.file, |token| &token.file));
        let path = if pattern.starts_with('/') {
            pattern.to_owned()
        } else {
            join(&join(&importer, ".."), pattern)
        };
        // More than one wildcard can make a search of the file system very long.
        if path.matches('*').count() > 1
            || path.matches('?').count() > 1
            || (path.contains('[') && path.contains(']'))
        {
            let message =
                format!("Glob pattern may only contain one wildcard (*), but has others: {path}");
            return Err(self.err(message));
        }
        let matches = self.source.glob(&path);
        let matches = matches.map_err(|error| {
            self.err(format!("Failed to use import pattern {pattern}: {error}"))
        })?;
        if matches.is_empty() {
            if !path.contains(['*', '?', '[', ']']) {
                return Err(self.err(format!("File to import not found: {pattern}")));
            }
            self.warn(format!("No files matching import glob pattern: {pattern}"));
        }
        let mut tokens = Vec::new();
        for path in matches {
            let text = self.source.read(&path);
            let text =
                text.map_err(|error| self.err(format!("Could not import {path}: {error}")))?;
            let file: Arc<str> = absolute(&dir, &path).into();
            let lexed = lex(&file, &text, &mut self.budget);
            tokens.extend(lexed.ok_or_else(|| self.err(TOO_LARGE))?);
        }
        Ok(tokens)
    }
}

// === cursor ===

impl Parser<'_> {
    fn next(&mut self) -> bool {
        let Some(token) = self.pending.pop() else {
            return false;
        };
        if self.seen.len() >= SEEN_LEN_MAX {
            self.seen.drain(..SEEN_LEN_MAX / 2);
        }
        self.seen.push(token);
        true
    }

    /// Loads the next token if it is on the line of the current one.
    fn next_arg(&mut self) -> bool {
        let same_line = match (self.seen.last(), self.pending.last()) {
            (Some(current), Some(next)) => current.shares_line_with(next),
            _ => false,
        };
        same_line && self.next()
    }

    fn step_back(&mut self) {
        self.pending.extend(self.seen.pop());
    }

    fn current(&self) -> Option<&Token> {
        self.seen.last().filter(|_| !self.past_end)
    }

    fn val(&self) -> &str {
        self.current().map_or("", |token| &token.text)
    }

    /// Whether the current token is on another line than the one before it; true for the first one.
    fn is_new_line(&self) -> bool {
        match self.seen.as_slice() {
            _ if self.past_end => false,
            [.., previous, current] => previous.starts_line(current),
            _ => true,
        }
    }

    fn place(&self) -> (Arc<str>, u32) {
        self.current().map_or_else(
            || (self.file.clone(), 0),
            |token| (token.file.clone(), token.line),
        )
    }

    fn err(&self, message: impl Into<String>) -> ParseError {
        let (file, line) = self.place();
        SetupError::at(file, line, message)
    }

    fn syntax_err(&self, expected: &str) -> ParseError {
        let (file, line) = self.place();
        SetupError::syntax(file, line, self.val(), expected)
    }
}

/// The directives of a block while it is read.
#[derive(Default)]
struct BlockBuilder {
    directives: Vec<Directive>,
    index: HashMap<String, usize>,
    /// Occurrences to be added at the end, that of the zone with most labels first; see `old::Translation`.
    longest_first: Vec<(usize, Vec<Token>)>,
}

impl BlockBuilder {
    /// Adds one occurrence of the directive whose name is the first token; nothing if there is none.
    fn add(&mut self, tokens: Vec<Token>) {
        let Some(name) = tokens.first().map(|token| token.text.clone()) else {
            return;
        };
        match self.index.get(&name) {
            Some(at) => self.directives[*at].tokens.extend(tokens),
            None => {
                self.index.insert(name.clone(), self.directives.len());
                self.directives.push(Directive { name, tokens });
            }
        }
    }

    fn finish(mut self) -> Vec<Directive> {
        let mut waiting = std::mem::take(&mut self.longest_first);
        waiting.sort_by_key(|(labels, _)| Reverse(*labels));
        for (_, tokens) in waiting {
            self.add(tokens);
        }
        self.directives
    }
}

/// A snippet has a single key in parentheses.
fn snippet_name(keys: &[Token]) -> Option<String> {
    let [key] = keys else { return None };
    // `(` alone is both ends of itself: a snippet without a name.
    let name = key.text.strip_prefix('(')?;
    key.text
        .ends_with(')')
        .then(|| name.strip_suffix(')').unwrap_or(name).to_owned())
}

fn count_up(count: &mut usize, max: usize) -> Option<()> {
    *count = count.checked_add(1).filter(|count| *count <= max)?;
    Some(())
}

fn too_deep(what: &str, max: usize) -> String {
    format!("maximum {what} import depth ({max}) exceeded")
}

/// The start of a text, short enough for an error message.
fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}

const TOO_LARGE: &str = "configuration is too large with its imports";
