//! Zone files to zones: directives, owners, TTLs, `$INCLUDE` and `$GENERATE` (RFC 1035 section 5, RFC 2308 section 4).

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::build::{Builder, Reject};
use super::generate::{Range, expand};
use super::lex::{LexError, Lexer, Token};
use super::name::WireName;
use super::rdata::{self, Word};
use super::{Zone, rtype};
use crate::limits;

/// A zone that was read, and what was odd about the file.
pub struct Loaded {
    /// The zone.
    pub zone: Zone,
    /// At most `limits::ZONE_WARNINGS` lines for the log, each with file and line.
    pub warnings: Vec<String>,
}

/// Why a zone file gave no zone. Every text names the file.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file itself could not be read.
    #[error("open {}: {}", path.display(), os_error(error))]
    Open {
        /// As given.
        path: PathBuf,
        /// Of the system.
        error: io::Error,
    },
    /// An entry could not be understood.
    #[error("{file}: dns: {what}: \"{token}\" at line: {line}:{column}")]
    Syntax {
        /// The file of the entry, which may be an included one.
        file: String,
        /// What is wrong.
        what: String,
        /// The text in question, cut to 80 characters.
        token: String,
        /// Counted from 1.
        line: u32,
        /// Counted from 1.
        column: usize,
    },
    /// No SOA record in the whole file.
    #[error("file {file:?} has no SOA record for origin {origin}")]
    NoSoa {
        /// The file.
        file: String,
        /// The zone.
        origin: String,
    },
    /// The records are fine each by itself, but not together.
    #[error(
        "{reject} in file {file:?} for origin {origin}: the names and data of one zone may take 3 GiB"
    )]
    TooLarge {
        /// The file.
        file: String,
        /// The zone.
        origin: String,
        /// Why.
        reject: Reject,
    },
    /// NSEC3 zones are not supported, as in CoreDNS.
    #[error("NSEC3 zone is not supported, dropping RR: {owner} for zone: {origin}")]
    Nsec3 {
        /// Owner of the first such record.
        owner: String,
        /// The zone.
        origin: String,
    },
    /// The first SOA record has the serial that the caller holds already.
    #[error("no change in SOA serial for origin {origin} in file {file}, with {serial} SOA serial")]
    Unchanged {
        /// The file.
        file: String,
        /// The zone.
        origin: String,
        /// The serial of both.
        serial: u32,
    },
}

/// Loads the zone `origin` (wire form) from a file and the files it includes.
///
/// With `serial`, loading ends early with `LoadError::Unchanged` when the first SOA record has that serial.
pub fn load_file(path: &Path, origin: &[u8], serial: Option<u32>) -> Result<Loaded, LoadError> {
    let open = |error| LoadError::Open {
        path: path.to_owned(),
        error,
    };
    let text = read_file(path).map_err(open)?;
    load_with(
        &text,
        &path.to_string_lossy(),
        origin,
        serial,
        &mut read_file,
    )
}

/// Loads the zone `origin` (wire form) from a text that includes no files; `file` is for messages.
pub fn load_text(text: &[u8], file: &str, origin: &[u8]) -> Result<Loaded, LoadError> {
    load_with(text, file, origin, None, &mut |_| {
        Err(io::ErrorKind::Unsupported.into())
    })
}

/// As `load_file`, with the text of the outer file given and included files read by `open`.
pub fn load_with(
    text: &[u8],
    file: &str,
    origin: &[u8],
    serial: Option<u32>,
    open: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
) -> Result<Loaded, LoadError> {
    let origin = WireName::from_wire(origin)
        .unwrap_or(WireName::ROOT)
        .lowered();
    let mut loader = Loader {
        builder: Builder::new(origin),
        origin,
        serial,
        seen_soa: false,
        includes: 0,
        open,
        data: Vec::new(),
        warnings: Vec::new(),
        outside: None,
    };
    let mut state = State {
        origin,
        owner: None,
        ttl: None,
        ttl_by_directive: false,
    };
    loader.text(
        text,
        &Place {
            file,
            line: None,
            depth: 0,
        },
        &mut state,
    )?;
    loader.finish(file)
}

struct Loader<'o> {
    builder: Builder,
    origin: WireName,
    serial: Option<u32>,
    seen_soa: bool,
    includes: usize,
    open: &'o mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
    /// Reused for the data of each record.
    data: Vec<u8>,
    warnings: Vec<String>,
    /// The first record outside of the zone and how many there are.
    outside: Option<(String, u64)>,
}

/// What one entry passes on to the next.
#[derive(Clone)]
struct State {
    origin: WireName,
    owner: Option<WireName>,
    ttl: Option<u32>,
    /// `$TTL` holds until the next `$TTL`; a record's own TTL only until the next record's.
    ttl_by_directive: bool,
}

/// Where the text stands that is being read.
struct Place<'a> {
    file: &'a str,
    /// The line of the `$GENERATE` that made the text.
    line: Option<u32>,
    depth: usize,
}

/// The words of one entry and what a message needs.
struct Entry<'a, 't> {
    lexer: &'a Lexer<'t>,
    tokens: &'a [Token],
    place: &'a Place<'a>,
}

impl Loader<'_> {
    fn text(&mut self, text: &[u8], place: &Place<'_>, state: &mut State) -> Result<(), LoadError> {
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        let mut words = Vec::new();
        loop {
            let blank_first = match lexer.next_entry(&mut tokens) {
                Ok(Some(blank_first)) => blank_first,
                Ok(None) => return Ok(()),
                Err(error) => return Err(lex_error(&lexer, place, error)),
            };
            let entry = Entry {
                lexer: &lexer,
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
            }
            b"$ORIGIN" => state.origin = entry.name(1, "bad origin name", &state.origin)?,
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
        if !blank_first {
            state.owner = Some(entry.name(0, "bad owner name", &state.origin)?);
            at = 1;
        }
        let owner = state.owner.unwrap_or(state.origin);
        let (ttl, rtype) = header(entry, &mut at, state)?;
        words.clear();
        words.extend(entry.tokens[at..].iter().map(|&token| Word {
            octets: entry.lexer.octets(token),
            quoted: token.quoted,
            glued: token.glued,
        }));
        rdata::encode(rtype, words, state.origin.as_slice(), &mut self.data).map_err(|bad| {
            let rtype = String::from_utf8_lossy(entry.octets(at - 1)).to_ascii_uppercase();
            entry.error(format!("bad {rtype}: {}", bad.what), at + bad.word)
        })?;
        if rtype == rtype::SOA && !self.seen_soa {
            self.seen_soa = true;
            self.check_serial(entry)?;
        }
        match self.builder.push(owner.as_slice(), rtype, ttl, &self.data) {
            Ok(()) => Ok(()),
            Err(Reject::Outside) => {
                self.note_outside(entry, owner);
                Ok(())
            }
            Err(Reject::Nsec3) => Err(LoadError::Nsec3 {
                owner: owner.lowered().to_string(),
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

    fn note_outside(&mut self, entry: &Entry<'_, '_>, owner: WireName) {
        let line = entry.line(0);
        let first = || {
            (
                format!(
                    "{}:{line}: {owner} is outside of zone {}",
                    entry.place.file, self.origin
                ),
                0,
            )
        };
        self.outside.get_or_insert_with(first).1 += 1;
    }

    fn finish(mut self, file: &str) -> Result<Loaded, LoadError> {
        if let Some((first, count)) = self.outside.take() {
            self.warnings
                .push(format!("{first}: ignored ({count} such records)"));
        }
        let mut warnings = self.warnings;
        let (file, origin) = (file.to_owned(), self.origin.to_string());
        let zone = self.builder.finish(&mut |warning| {
            if warnings.len() < limits::ZONE_WARNINGS {
                warnings.push(format!("{file}: {warning}"));
            }
        });
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
        }
        return Ok((ttl, rtype));
    }
    let ttl = state
        .ttl
        .ok_or_else(|| entry.error("missing TTL with no previous value", *at - 1))?;
    Ok((ttl, rtype))
}

/// Whether a class is IN; `None` if the text names no class.
fn class_is_in(text: &[u8]) -> Option<bool> {
    let upper = text.to_ascii_uppercase();
    match upper.as_slice() {
        b"IN" | b"CLASS1" => Some(true),
        b"CH" | b"HS" | b"CS" | b"NONE" => Some(false),
        _ => upper
            .strip_prefix(b"CLASS")
            .filter(|rest| rest.iter().all(u8::is_ascii_digit))
            .map(|_| false),
    }
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

/// The serial in SOA data: the first of the five numbers that end it.
pub(super) fn soa_serial(data: &[u8]) -> Option<u32> {
    let numbers = data.len().checked_sub(20)?;
    Some(u32::from_be_bytes(
        data[numbers..numbers + 4].try_into().ok()?,
    ))
}

/// At most 80 characters, fit for a log line.
fn excerpt(octets: &[u8]) -> String {
    octets[..octets.len().min(80)].escape_ascii().to_string()
}

/// The system's text without Rust's suffix, in lower case as Go prints it.
fn os_error(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(chars).collect()
    })
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    let len = file.metadata()?.len().min(limits::ZONE_FILE_OCTETS as u64);
    let mut text = Vec::with_capacity(len as usize);
    file.take(limits::ZONE_FILE_OCTETS as u64 + 1)
        .read_to_end(&mut text)?;
    if text.len() > limits::ZONE_FILE_OCTETS {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "zone file larger than 2 GiB",
        ));
    }
    Ok(text)
}
