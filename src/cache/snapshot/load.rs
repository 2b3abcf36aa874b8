//! Reading: all of a file is checked before anything of it is believed.

use std::{
    fs::File,
    io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom},
    path::Path,
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::{
    super::{Key, Pin, ShardWriter, Store, Table, entry},
    Now, Rejected,
    format::{DIRECTORY_OCTETS, FIELDS, Fields, HEAD, HEAD_FIELDS, Head, VERSION, VISITED, take},
};
use crate::{control::kept, limits, wire::name};

/// A file that was found whole.
pub struct Snapshot {
    file: File,
    written_ns: u64,
    sections: Vec<Section>,
}

/// One store's entries in the file.
struct Section {
    digest: Vec<u8>,
    start: u64,
    octets: u64,
    entries: u64,
}

/// What became of a store's entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// They are in the store now, unless its capacity is smaller than it was.
    pub entries: u64,
    /// Their time was over.
    pub expired: u64,
    /// They contradict themselves; a file with a right checksum has none.
    pub refused: u64,
}

/// Opens and checks the file; None if there is none.
///
/// # Errors
/// Why it must not be used.
pub fn open(path: &Path, now: Now) -> Result<Option<Snapshot>, Rejected> {
    let Some((file, length)) = kept::open(path, limits::CACHE_SNAPSHOT_OCTETS)? else {
        return Ok(None);
    };
    let mut reader = BufReader::with_capacity(BUFFER, file);
    let (head, sum) = read_head(&mut reader, length)?;
    check_age(&head, now)?;
    check_sum(&mut reader, &head, sum)?;
    let sections = read_directory(&mut reader, &head)?;
    Ok(Some(Snapshot {
        file: reader.into_inner(),
        written_ns: head.written_ns,
        sections,
    }))
}

impl Snapshot {
    /// When it was written, in nanoseconds since 1970.
    pub fn written_ns(&self) -> u64 {
        self.written_ns
    }

    /// Puts the entries that were kept under `digest` into `store`, which nobody may be using yet. A section is given once.
    ///
    /// # Errors
    /// The file could not be read after all; what was read until then is stored.
    pub fn load(&mut self, digest: &str, store: &Arc<Store>, now: Now) -> io::Result<Loaded> {
        let mut loaded = Loaded::default();
        let wanted = |section: &Section| section.digest == digest.as_bytes();
        let Some(index) = self.sections.iter().position(wanted) else {
            return Ok(loaded);
        };
        let section = self.sections.swap_remove(index);
        self.file.seek(SeekFrom::Start(section.start))?;
        let mut reader = BufReader::with_capacity(BUFFER, &self.file).take(section.octets);
        let mut target = Target {
            writers: (0..).map_while(|core| store.writer(core)).collect(),
            store,
            now_ns: now.mono_ns,
            lay_ns: now.wall_ns.saturating_sub(self.written_ns),
        };
        let (mut body, mut offsets) = (Vec::new(), Vec::new());
        for _ in 0..section.entries {
            let mut octets = [0; FIELDS];
            reader.read_exact(&mut octets)?;
            let Some(fields) = Fields::read(&octets) else {
                return Err(ErrorKind::InvalidData.into());
            };
            body.resize(fields.body_len(), 0);
            reader.read_exact(&mut body)?;
            match target.insert(&fields, &body, &mut offsets) {
                Some(true) => loaded.entries += 1,
                Some(false) => loaded.expired += 1,
                None => loaded.refused += 1,
            }
        }
        Ok(loaded)
    }
}

/// Where entries go.
struct Target<'a> {
    store: &'a Arc<Store>,
    writers: Vec<ShardWriter>,
    now_ns: u64,
    /// Nanoseconds since the file was written.
    lay_ns: u64,
}

impl Target<'_> {
    /// Whether the entry is stored; false if it is past its time, None if it is none.
    fn insert(&mut self, fields: &Fields, body: &[u8], offsets: &mut Vec<u16>) -> Option<bool> {
        let new = fields.entry(body, offsets)?;
        let name_len = usize::from(fields.name_len);
        let question = new.wire.get(entry::QUESTION..)?;
        let name = question.get(..name_len)?;
        let is_name = name::skip_uncompressed(name).ok()? == name_len
            && !name.iter().any(u8::is_ascii_uppercase);
        let &[t0, t1, c0, c1] = question.get(name_len..name_len + 4)?.first_chunk()?;
        is_name.then_some(())?;
        let age_ns = fields.age_ns.checked_add(self.lay_ns)?;
        let left_s = i64::from(new.ttl_s) - (age_ns / NS_PER_S) as i64;
        if left_s <= -i64::from(self.store.grace_s()) {
            return Some(false);
        }
        let key = Key::new(
            name::hash(name),
            name,
            u16::from_be_bytes([t0, t1]),
            u16::from_be_bytes([c0, c1]),
            fields.bits & entry::DNSSEC_OK != 0,
            fields.bits & entry::CHECKING_DISABLED != 0,
        );
        let writer = self.writers.get(self.store.home(key.hash))?;
        // Modulo 2^64: it may have been stored before this machine's boot.
        let stored_ns = self.now_ns.wrapping_sub(age_ns);
        writer.insert(fields.table(), &key, &new, stored_ns).ok()?;
        if fields.bits & VISITED != 0 {
            let pin = Pin::new();
            let found = self.store.lookup(&pin, &key);
            let entry = match fields.table() {
                Table::Success => found.success,
                Table::Denial => found.denial,
            };
            if let Some(entry) = entry {
                entry.mark_visited();
            }
        }
        Some(true)
    }
}

// === checks ===

fn read_head(reader: &mut impl Read, length: u64) -> Result<(Head, [u8; 32]), Rejected> {
    if length < HEAD as u64 {
        return Err(Rejected::Length);
    }
    let (mut fields, mut sum) = ([0; HEAD_FIELDS], [0; 32]);
    reader.read_exact(&mut fields)?;
    reader.read_exact(&mut sum)?;
    let head = Head::read(&fields).ok_or(Rejected::Foreign)?;
    if head.version != VERSION {
        return Err(Rejected::Version(head.version));
    }
    if head.length != length || head.directory < HEAD as u64 || head.directory > length {
        return Err(Rejected::Length);
    }
    Ok((head, sum))
}

fn check_age(head: &Head, now: Now) -> Result<(), Rejected> {
    let old_s = now.wall_ns.saturating_sub(head.written_ns) / NS_PER_S;
    if old_s > limits::CACHE_SNAPSHOT_AGE.as_secs() {
        return Err(Rejected::Old(old_s));
    }
    match head.written_ns.saturating_sub(now.wall_ns) / NS_PER_S {
        // A clock that was set back a little.
        0..=CLOCK_STEP_S => Ok(()),
        ahead_s => Err(Rejected::Future(ahead_s)),
    }
}

/// Reads all that follows the head.
fn check_sum(reader: &mut impl Read, head: &Head, expect: [u8; 32]) -> Result<(), Rejected> {
    let mut sum = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    let mut left = head.length - HEAD as u64;
    while left > 0 {
        let step = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
        let part = &mut buffer[..step];
        reader.read_exact(part)?;
        sum.update(&*part);
        left -= step as u64;
    }
    sum.update(head.octets());
    if sum.finalize()[..] == expect {
        Ok(())
    } else {
        Err(Rejected::Damaged)
    }
}

fn read_directory(reader: &mut BufReader<File>, head: &Head) -> Result<Vec<Section>, Rejected> {
    if head.length - head.directory > DIRECTORY_OCTETS {
        return Err(Rejected::Damaged);
    }
    reader.seek(SeekFrom::Start(head.directory))?;
    let mut octets = Vec::new();
    reader.read_to_end(&mut octets)?;
    let mut rest = &octets[..];
    let mut sections = Vec::new();
    for _ in 0..head.sections {
        // The checksum was right, so that this was written by somebody who writes otherwise.
        let section = read_section(&mut rest).ok_or(Rejected::Damaged)?;
        let end = section.start.checked_add(section.octets);
        if section.start < HEAD as u64 || end.is_none_or(|end| end > head.directory) {
            return Err(Rejected::Damaged);
        }
        sections.push(section);
    }
    Ok(sections)
}

fn read_section(rest: &mut &[u8]) -> Option<Section> {
    let len = usize::from(u16::from_le_bytes(take(rest)?));
    let (digest, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    Some(Section {
        digest: digest.to_vec(),
        start: u64::from_le_bytes(take(rest)?),
        octets: u64::from_le_bytes(take(rest)?),
        entries: u64::from_le_bytes(take(rest)?),
    })
}

/// Octets read in one system call.
const BUFFER: usize = 256 << 10;
/// How much later than now a file may have been written.
const CLOCK_STEP_S: u64 = 60;
const NS_PER_S: u64 = 1_000_000_000;
