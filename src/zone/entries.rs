//! The entries of a zone file: directives, owners, TTLs, records (RFC 1035 section 5, RFC 2308 section 4).

use std::io;
use std::path::{Path, PathBuf};

use super::build::{Builder, Reject};
use super::generate::{Range, expand};
use super::lex::{LexError, Lexer, Token};
use super::load::{LoadError, Loaded, Split, os_error, soa_serial};
use super::name::WireName;
use super::parallel;
use super::rdata::{self, Word};
use super::rtype;
use crate::limits;

pub(super) struct Loader<'o> {
    pub(super) builder: Builder,
    pub(super) origin: WireName,
    serial: Option<u32>,
    seen_soa: bool,
    includes: usize,
    open: &'o mut Opener<'o>,
    pub(super) split: Split,
    /// Reads a chunk, and leaves what only the whole file can tell: directives that make or bring text.
    is_part: bool,
    /// Reused for the data of each record.
    data: Vec<u8>,
    pub(super) outside: Option<Outside>,
}

/// How the text of an included file is had.
pub(super) type Opener<'o> = dyn FnMut(&Path) -> io::Result<Vec<u8>> + 'o;

/// The first record outside of the zone, and how many there are.
pub(super) struct Outside {
    pub(super) file: String,
    pub(super) line: u32,
    pub(super) owner: WireName,
    pub(super) count: u64,
}

/// What one entry passes on to the next.
#[derive(Clone)]
pub(super) struct State {
    pub(super) origin: WireName,
    pub(super) owner: Option<WireName>,
    pub(super) ttl: Option<u32>,
    /// `$TTL` holds until the next `$TTL`; a record's own TTL only until the next record's.
    pub(super) ttl_by_directive: bool,
    pub(super) trace: Trace,
}

/// What has become of a state since a chunk began: which of its values were changed, and which were used before that.
#[derive(Clone, Copy, Default)]
pub(super) struct Trace {
    pub(super) origin: Fate,
    pub(super) owner: Fate,
    pub(super) ttl: Fate,
}

/// See `Trace`.
#[derive(Clone, Copy, Default)]
pub(super) struct Fate {
    pub(super) is_set: bool,
    pub(super) was_used: bool,
}

/// Where the text stands that is being read.
pub(super) struct Place<'a> {
    pub(super) file: &'a str,
    /// The line of the `$GENERATE` that made the text.
    pub(super) line: Option<u32>,
    pub(super) depth: usize,
}

/// The words of one entry and what a message needs.
struct Entry<'a, 't> {
    lexer: &'a Lexer<'t>,
    tokens: &'a [Token],
    place: &'a Place<'a>,
}

impl<'o> Loader<'o> {
    /// Reads a file.
    pub(super) fn new(
        builder: Builder,
        origin: WireName,
        serial: Option<u32>,
        split: Split,
        open: &'o mut Opener<'o>,
    ) -> Self {
        Self {
            builder,
            origin,
            serial,
            seen_soa: false,
            includes: 0,
            open,
            split,
            is_part: false,
            data: Vec::new(),
            outside: None,
        }
    }

    /// Reads a chunk of a file.
    pub(super) fn part(builder: Builder, origin: WireName, open: &'o mut Opener<'o>) -> Self {
        Self {
            is_part: true,
            ..Self::new(builder, origin, None, Split::NONE, open)
        }
    }

    /// Reads a whole text.
    pub(super) fn text(
        &mut self,
        text: &[u8],
        place: &Place<'_>,
        state: &mut State,
    ) -> Result<(), LoadError> {
        let mut lexer = Lexer::new(text);
        if place.line.is_none() && self.split.is_worth(text.len()) {
            return parallel::text(self, lexer, place, state);
        }
        self.entries(&mut lexer, text.len(), place, state)
    }

    /// Reads the entries that begin before `stop`, which is the end of the text or of a line.
    pub(super) fn entries(
        &mut self,
        lexer: &mut Lexer<'_>,
        stop: usize,
        place: &Place<'_>,
        state: &mut State,
    ) -> Result<(), LoadError> {
        let mut tokens = Vec::new();
        let mut words = Vec::new();
        loop {
            let blank_first = match lexer.next_entry(&mut tokens, stop) {
                Ok(Some(blank_first)) => blank_first,
                Ok(None) => return Ok(()),
                Err(error) => return Err(lex_error(lexer, place, error)),
            };
            let entry = Entry {
                lexer,
                tokens: &tokens,
                place,
            };
            let first = entry.octets(0);
            if !blank_first && first.first() == Some(&b'$') && !tokens[0].quoted {
                self.directive(&entry, state)?;
            } else {
                self.record(&entry, blank_first, state, &mut words)?;
            }
        }
    }

    fn directive(&mut self, entry: &Entry<'_, '_>, state: &mut State) -> Result<(), LoadError> {
        let count = entry.tokens.len();
        if entry.place.line.is_some() {
            return Err(entry.error("directive inside $GENERATE", 0));
        }
        let name = entry.octets(0).to_ascii_uppercase();
        let args = match name.as_slice() {
            b"$TTL" | b"$ORIGIN" => 2..=2,
            b"$INCLUDE" => 2..=3,
            b"$GENERATE" => 4..=usize::MAX,
            _ => return Err(entry.error("unknown directive", 0)),
        };
        if !args.contains(&count) {
            return Err(entry.error("wrong number of arguments", count - 1));
        }
        match name.as_slice() {
            b"$TTL" => {
                state.ttl = Some(
                    rdata::span(entry.octets(1))
                        .ok_or_else(|| entry.error("expecting $TTL value", 1))?,
                );
                state.ttl_by_directive = true;
                state.trace.ttl.is_set = true;
            }
            b"$ORIGIN" => {
                let name = entry.octets(1);
                if !name.ends_with(b".") || name.ends_with(b"\\.") {
                    state.trace.origin.note_use();
                }
                state.origin = entry.name(1, "bad origin name", &state.origin)?;
                state.trace.origin.is_set = true;
            }
            _ if self.is_part => return Err(entry.error("left to the whole file", 0)),
            b"$INCLUDE" => self.include(entry, state)?,
            _ => self.generate(entry, state)?,
        }
        Ok(())
    }

    fn include(&mut self, entry: &Entry<'_, '_>, state: &State) -> Result<(), LoadError> {
        let mut inner = state.clone();
        if entry.tokens.len() == 3 {
            inner.origin = entry.name(2, "bad origin name", &state.origin)?;
        }
        let depth = entry.place.depth + 1;
        self.includes += 1;
        if depth > limits::ZONE_INCLUDE_DEPTH || self.includes > limits::ZONE_INCLUDES {
            return Err(entry.error("too deeply nested $INCLUDE", 1));
        }
        let mut given = Vec::new();
        rdata::unescaped(entry.octets(1), &mut given).map_err(|what| entry.error(what, 1))?;
        let given = String::from_utf8_lossy(&given).into_owned();
        let path = Path::new(entry.place.file)
            .parent()
            .map_or_else(|| PathBuf::from(&given), |dir| dir.join(&given));
        let text = (self.open)(&path).map_err(|error| {
            let what = format!(
                "failed to open `{given}` as `{}`: {}",
                path.display(),
                os_error(&error)
            );
            entry.error(what, 1)
        })?;
        self.text(
            &text,
            &Place {
                file: &path.to_string_lossy(),
                line: None,
                depth,
            },
            &mut inner,
        )
    }

    fn generate(&mut self, entry: &Entry<'_, '_>, state: &mut State) -> Result<(), LoadError> {
        let range = Range::parse(entry.octets(1))
            .ok_or_else(|| entry.error("bad range in $GENERATE range", 1))?;
        let mut template = Vec::new();
        for (index, token) in entry.tokens[2..].iter().enumerate() {
            if index > 0 && !token.glued {
                template.push(b' ');
            }
            let quote: &[u8] = if token.quoted { b"\"" } else { b"" };
            template.extend([quote, entry.octets(index + 2), quote].concat());
        }
        template.push(b'\n');
        let mut line = Vec::new();
        let place = Place {
            line: Some(entry.tokens[0].line),
            ..*entry.place
        };
        for value in range.values() {
            expand(&template, value, &mut line).map_err(|what| entry.error(what, 2))?;
            self.text(&line, &place, state)?;
        }
        Ok(())
    }

    fn record<'t>(
        &mut self,
        entry: &Entry<'_, 't>,
        blank_first: bool,
        state: &mut State,
        words: &mut Vec<Word<'t>>,
    ) -> Result<(), LoadError> {
        let mut at = 0;
        state.trace.origin.note_use();
        if blank_first {
            state.trace.owner.note_use();
        } else {
            state.owner = Some(entry.name(0, "bad owner name", &state.origin)?);
            state.trace.owner.is_set = true;
            at = 1;
        }
        let (ttl, rtype) = header(entry, &mut at, state)?;
        words.clear();
        words.extend(entry.tokens[at..].iter().map(|&token| Word {
            octets: entry.lexer.octets(token),
            quoted: token.quoted,
            glued: token.glued,
        }));
        let owner = state.owner.as_ref().unwrap_or(&state.origin);
        rdata::encode(rtype, words, state.origin.as_slice(), &mut self.data).map_err(|bad| {
            let rtype = String::from_utf8_lossy(entry.octets(at - 1)).to_ascii_uppercase();
            entry.error(format!("bad {rtype}: {}", bad.what), at + bad.word)
        })?;
        if rtype == rtype::SOA && !self.seen_soa {
            self.seen_soa = true;
            self.check_serial(entry)?;
        }
        let lowered = owner.lowered();
        let taken = self
            .builder
            .push_lowered(lowered.as_slice(), rtype, ttl, &self.data);
        match taken {
            Ok(()) => Ok(()),
            Err(Reject::Outside) => {
                self.note_outside(entry, owner);
                Ok(())
            }
            Err(Reject::Nsec3) => Err(LoadError::Nsec3 {
                owner: lowered.to_string(),
                origin: self.origin.to_string(),
            }),
            Err(reject) => Err(entry.error(reject.to_string(), 0)),
        }
    }

    fn check_serial(&self, entry: &Entry<'_, '_>) -> Result<(), LoadError> {
        let serial = soa_serial(&self.data);
        match (self.serial, serial) {
            (Some(held), Some(read)) if held == read => Err(LoadError::Unchanged {
                file: entry.place.file.to_owned(),
                origin: self.origin.to_string(),
                serial: held,
            }),
            _ => Ok(()),
        }
    }

    fn note_outside(&mut self, entry: &Entry<'_, '_>, owner: &WireName) {
        let first = || Outside {
            file: entry.place.file.to_owned(),
            line: entry.line(0),
            owner: *owner,
            count: 0,
        };
        self.outside.get_or_insert_with(first).count += 1;
    }

    /// Makes the zone of what was read; `file` is the outer file.
    pub(super) fn finish(self, file: &str) -> Result<Loaded, LoadError> {
        let mut warnings: Vec<String> = self
            .outside
            .map(|outside| outside.warning(&self.origin))
            .into_iter()
            .collect();
        let zone = self.builder.finish(&mut |warning| {
            if warnings.len() < limits::ZONE_WARNINGS {
                warnings.push(format!("{file}: {warning}"));
            }
        });
        let (file, origin) = (file.to_owned(), self.origin.to_string());
        match zone {
            Ok(zone) => Ok(Loaded { zone, warnings }),
            Err(Reject::NoSoa) => Err(LoadError::NoSoa { file, origin }),
            Err(reject) => Err(LoadError::TooLarge {
                file,
                origin,
                reject,
            }),
        }
    }
}

impl Outside {
    fn warning(&self, origin: &WireName) -> String {
        let Self {
            file,
            line,
            owner,
            count,
        } = self;
        format!(
            "{file}:{line}: {owner} is outside of zone {origin}: ignored ({count} such records)"
        )
    }
}

impl Fate {
    fn note_use(&mut self) {
        self.was_used |= !self.is_set;
    }
}

// === impl Entry ===

impl<'t> Entry<'_, 't> {
    fn octets(&self, index: usize) -> &'t [u8] {
        self.tokens
            .get(index)
            .map_or(b"", |&token| self.lexer.octets(token))
    }

    fn line(&self, index: usize) -> u32 {
        self.place
            .line
            .unwrap_or_else(|| self.tokens.get(index).map_or(0, |token| token.line))
    }

    fn name(&self, index: usize, what: &str, origin: &WireName) -> Result<WireName, LoadError> {
        WireName::parse(self.octets(index), origin.as_slice())
            .map_err(|error| self.error(format!("{what} ({error})"), index))
    }

    fn error(&self, what: impl Into<String>, index: usize) -> LoadError {
        // A field that is missing is told by the last one that is there.
        let index = index.min(self.tokens.len().saturating_sub(1));
        LoadError::Syntax {
            file: self.place.file.to_owned(),
            what: what.into(),
            token: excerpt(self.octets(index)),
            line: self.line(index),
            column: self
                .tokens
                .get(index)
                .map_or(1, |token| self.lexer.column(token.start as usize)),
        }
    }
}

/// Reads `[TTL] [CLASS] TYPE` or `[CLASS] [TTL] TYPE` and leaves `*at` behind it.
fn header(
    entry: &Entry<'_, '_>,
    at: &mut usize,
    state: &mut State,
) -> Result<(u32, u16), LoadError> {
    let (mut ttl, mut class) = (None, false);
    let rtype = loop {
        let Some(token) = entry.tokens.get(*at) else {
            return Err(entry.error("missing record type", *at - usize::from(*at > 0)));
        };
        let text = entry.lexer.octets(*token);
        *at += 1;
        if ttl.is_none()
            && let Some(span) = rdata::span(text)
        {
            ttl = Some(span);
        } else if !class && let Some(is_in) = class_is_in(text) {
            if !is_in {
                return Err(entry.error(
                    "class is not IN, the only one served from zone files",
                    *at - 1,
                ));
            }
            class = true;
        } else {
            break rdata::type_number(text)
                .ok_or_else(|| entry.error("unknown RR type", *at - 1))?;
        }
    };
    if matches!(rtype, 0 | 41 | 249..=255) {
        return Err(entry.error("no type for a zone file", *at - 1));
    }
    if let Some(ttl) = ttl {
        if !state.ttl_by_directive {
            state.ttl = Some(ttl);
            state.trace.ttl.is_set = true;
        }
        return Ok((ttl, rtype));
    }
    state.trace.ttl.note_use();
    let ttl = state
        .ttl
        .ok_or_else(|| entry.error("missing TTL with no previous value", *at - 1))?;
    Ok((ttl, rtype))
}

/// Whether a class is IN; `None` if the text names no class.
fn class_is_in(text: &[u8]) -> Option<bool> {
    let is = |name: &str| text.eq_ignore_ascii_case(name.as_bytes());
    if is("IN") || is("CLASS1") {
        return Some(true);
    }
    let number = text
        .split_at_checked(5)
        .filter(|(class, _)| class.eq_ignore_ascii_case(b"CLASS"))
        .is_some_and(|(_, number)| number.iter().all(u8::is_ascii_digit));
    (number || ["CH", "HS", "CS", "NONE"].into_iter().any(is)).then_some(false)
}

fn lex_error(lexer: &Lexer<'_>, place: &Place<'_>, error: LexError) -> LoadError {
    let rest = lexer.text().get(error.at..).unwrap_or_default();
    let token = rest
        .split(u8::is_ascii_whitespace)
        .next()
        .unwrap_or_default();
    LoadError::Syntax {
        file: place.file.to_owned(),
        what: error.what.to_owned(),
        token: excerpt(token),
        line: place.line.unwrap_or(error.line),
        column: lexer.column(error.at),
    }
}

/// At most 80 characters, fit for a log line.
fn excerpt(octets: &[u8]) -> String {
    octets[..octets.len().min(80)].escape_ascii().to_string()
}
