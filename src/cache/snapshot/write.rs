//! Writing: beside the old file, to the disk, and then in its place.

use std::{
    fs::File,
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::Path,
};

use sha2::{Digest, Sha256};

use super::{
    super::{Pin, Store},
    Now,
    format::{DIRECTORY_OCTETS, Fields, HEAD, Head, VERSION},
};
use crate::{control::kept, limits};

/// What a file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Entries of all stores.
    pub entries: u64,
    /// Entries that `limits::CACHE_SNAPSHOT_OCTETS` left no room for.
    pub left_out: u64,
    /// Octets of the file.
    pub octets: u64,
}

/// Writes `stores`, each with the digest of what made it, to `path`. `goes_on` is asked now and then; once it says no the old file
/// stays, as it does when anything fails. Expired entries that nobody may be given are left out.
///
/// # Errors
/// What the system refused, or that somebody else is writing the file. An interrupted write is `io::ErrorKind::Interrupted`.
pub fn write(
    path: &Path,
    stores: &[(&str, &Store)],
    now: Now,
    goes_on: &dyn Fn() -> bool,
) -> io::Result<Written> {
    kept::replace(path, |file| fill(file, stores, now, goes_on))
}

fn fill(
    file: &File,
    stores: &[(&str, &Store)],
    now: Now,
    goes_on: &dyn Fn() -> bool,
) -> io::Result<Written> {
    let mut out = Summed {
        inner: BufWriter::with_capacity(BUFFER, file),
        sum: Sha256::new(),
        at: HEAD as u64,
    };
    out.inner.write_all(&[0; HEAD])?;
    let mut written = Written::default();
    let mut directory = Vec::new();
    for (digest, store) in stores {
        let (start, before) = (out.at, written.entries);
        section(&mut out, store, now, goes_on, &mut written)?;
        let digest = digest.as_bytes();
        let digest_len = u16::try_from(digest.len())
            .map_err(|_| io::Error::other("a digest longer than 65535 octets"))?;
        directory.extend_from_slice(&digest_len.to_le_bytes());
        directory.extend_from_slice(digest);
        for number in [start, out.at - start, written.entries - before] {
            directory.extend_from_slice(&number.to_le_bytes());
        }
    }
    let start = out.at;
    out.write(&directory)?;
    let head = Head {
        version: VERSION,
        sections: stores.len() as u32,
        written_ns: now.wall_ns,
        directory: start,
        length: out.at,
    };
    written.octets = out.at;
    let mut sum = out.sum;
    sum.update(head.octets());
    let mut file = out.inner.into_inner().map_err(|error| error.into_error())?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&head.octets())?;
    file.write_all(&sum.finalize())?;
    Ok(written)
}

/// Writes the entries of one store. Each step is pinned for itself: memory of what goes meanwhile can be freed soon.
fn section(
    out: &mut Summed<'_>,
    store: &Store,
    now: Now,
    goes_on: &dyn Fn() -> bool,
    written: &mut Written,
) -> io::Result<()> {
    let mut scratch = Vec::new();
    let mut steps = store.steps();
    loop {
        if !goes_on() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        scratch.clear();
        let mut count = 0;
        {
            let pin = Pin::new();
            let Some(step) = steps.next(&pin) else {
                return Ok(());
            };
            for entry in step {
                if entry.ttl_left_s(now.mono_ns) <= -i64::from(store.grace_s()) {
                    continue;
                }
                scratch.extend_from_slice(&Fields::of(&entry, now.mono_ns).octets());
                let offsets = entry.ttl_offsets().iter();
                scratch.extend(offsets.flat_map(|offset| offset.to_le_bytes()));
                scratch.extend_from_slice(entry.wire());
                scratch.extend_from_slice(entry.wildcard());
                count += 1;
            }
        }
        if out.at + scratch.len() as u64 > limits::CACHE_SNAPSHOT_OCTETS - DIRECTORY_OCTETS {
            written.left_out += count;
            continue;
        }
        out.write(&scratch)?;
        written.entries += count;
    }
}

/// A file with the checksum of what went there, and its length.
struct Summed<'a> {
    inner: BufWriter<&'a File>,
    sum: Sha256,
    at: u64,
}

impl Summed<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.sum.update(octets);
        self.at += octets.len() as u64;
        self.inner.write_all(octets)
    }
}

/// Octets gathered for one system call.
const BUFFER: usize = 256 << 10;
