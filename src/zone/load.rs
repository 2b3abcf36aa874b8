//! Zone files to zones: what can be asked for, and how it may fail.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Zone;
use super::build::{Builder, Reject};
use super::entries::{Loader, Opener, Place, State, Trace};
use super::name::WireName;
use crate::limits;
use crate::runtime::PageVec;

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

/// How a text is divided among threads.
#[derive(Clone, Copy)]
pub(super) struct Split {
    pub(super) threads: usize,
    /// Octets of a chunk.
    pub(super) chunk: usize,
}

/// Loads the zone `origin` (wire form) from a file and the files it includes, on as many threads as that is worth and `threads`
/// allows.
///
/// With `serial`, loading ends early with `LoadError::Unchanged` when the first SOA record has that serial.
pub fn load_file(
    path: &Path,
    origin: &[u8],
    serial: Option<u32>,
    threads: usize,
) -> Result<Loaded, LoadError> {
    let not_open = |error| LoadError::Open {
        path: path.to_owned(),
        error,
    };
    let mut open = |path: &Path| read_file(path).map(|text| text.to_vec());
    let file = path.to_string_lossy();
    if serial.is_some() {
        // The SOA record comes first, so that a large file that did not change need not be read.
        let head = read_head(path).map_err(not_open)?;
        let outcome = read(&head, &file, origin, serial, Split::NONE, &mut open).err();
        if let Some(unchanged @ LoadError::Unchanged { .. }) = outcome {
            return Err(unchanged);
        }
    }
    let text = read_file(path).map_err(not_open)?;
    let split = Split {
        threads: threads.min(limits::ZONE_LOAD_THREADS),
        chunk: limits::ZONE_CHUNK_OCTETS,
    };
    let loader = read(&text, &file, origin, serial, split, &mut open)?;
    // The zone takes its place.
    drop(text);
    loader.finish(&file)
}

/// Loads the zone `origin` (wire form) from a text that includes no files; `file` is for messages.
pub fn load_text(text: &[u8], file: &str, origin: &[u8]) -> Result<Loaded, LoadError> {
    load_with(text, file, origin, None, &mut |_| {
        Err(io::ErrorKind::Unsupported.into())
    })
}

/// As `load_file` on one thread, with the text of the outer file given and included files read by `open`.
pub fn load_with(
    text: &[u8],
    file: &str,
    origin: &[u8],
    serial: Option<u32>,
    open: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
) -> Result<Loaded, LoadError> {
    load_split(text, file, origin, serial, Split::NONE, open)
}

/// As `load_with`, divided.
pub(super) fn load_split(
    text: &[u8],
    file: &str,
    origin: &[u8],
    serial: Option<u32>,
    split: Split,
    open: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
) -> Result<Loaded, LoadError> {
    let mut open = |path: &Path| open(path);
    read(text, file, origin, serial, split, &mut open)?.finish(file)
}

/// Reads all records.
fn read<'o>(
    text: &[u8],
    file: &str,
    origin: &[u8],
    serial: Option<u32>,
    split: Split,
    open: &'o mut Opener<'o>,
) -> Result<Loader<'o>, LoadError> {
    let origin = WireName::from_wire(origin)
        .unwrap_or(WireName::ROOT)
        .lowered();
    let room = if split.is_worth(text.len()) {
        0
    } else {
        text.len()
    };
    let builder = Builder::with_room_for(origin, room);
    let mut loader = Loader::new(builder, origin, serial, split, open);
    let place = Place {
        file,
        line: None,
        depth: 0,
    };
    let mut state = State {
        origin,
        owner: None,
        ttl: None,
        ttl_by_directive: false,
        trace: Trace::default(),
    };
    loader.text(text, &place, &mut state)?;
    Ok(loader)
}

impl Split {
    /// All by one thread.
    pub(super) const NONE: Self = Self {
        threads: 1,
        chunk: usize::MAX,
    };

    /// Whether a text of so many octets is divided.
    pub(super) fn is_worth(&self, octets: usize) -> bool {
        self.threads > 1 && octets / 2 > self.chunk
    }
}

/// The serial in SOA data: the first of the five numbers that end it.
pub(super) fn soa_serial(data: &[u8]) -> Option<u32> {
    let numbers = data.len().checked_sub(20)?;
    Some(u32::from_be_bytes(
        data[numbers..numbers + 4].try_into().ok()?,
    ))
}

/// The system's text without Rust's suffix, in lower case as Go prints it.
pub(super) fn os_error(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(chars).collect()
    })
}

/// The first whole lines of a large file, nothing of a small one.
fn read_head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        // What a pipe gave cannot be read again.
        return Ok(head);
    }
    file.take(READ_OCTETS as u64).read_to_end(&mut head)?;
    let is_large = head.len() == READ_OCTETS;
    let line = head.iter().rposition(|&octet| octet == b'\n').unwrap_or(0);
    head.truncate(if is_large { line } else { 0 });
    Ok(head)
}

fn read_file(path: &Path) -> io::Result<PageVec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let len = file.metadata()?.len().min(limits::ZONE_FILE_OCTETS as u64) as usize;
    // One octet more, so that the end is seen without growing.
    let mut text = PageVec::with_room(len + 1);
    let mut at = 0;
    loop {
        // Past the announced length: a pipe, or a file that grows.
        let room = if at < len { len - at } else { 64 * 1024 };
        let room = room.min(READ_OCTETS);
        text.resize(at + room, 0);
        match file.read(&mut text[at..]) {
            Ok(0) => break,
            Ok(read) => at += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if at > limits::ZONE_FILE_OCTETS {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "zone file larger than 2 GiB",
            ));
        }
    }
    text.resize(at, 0);
    Ok(text)
}

/// Octets asked for at once: they are written twice, by us and by the kernel, and so should be in the cache still.
const READ_OCTETS: usize = 256 * 1024;
