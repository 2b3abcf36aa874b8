//! The file: written step by step while the store changes, read whole before anything of it counts.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::Rejected;
use crate::control::kept;
use crate::kube::store::{Keep, Kinds, Outline, Writer};
use crate::limits;
use crate::runtime::clock;

/// A file that was found whole.
#[derive(Debug)]
pub struct Whole {
    /// What it says beside its blocks.
    pub outline: Outline,
    /// The blocks.
    pub body: Vec<u8>,
}

/// Writes what `writer`'s store holds to `path`; the store goes on changing meanwhile. `goes_on` is asked now and then: once it says no
/// the old file stays, as it does when anything fails. Returns as of when
/// the file is, in seconds since 1970.
///
/// # Errors
/// What the system refused, that somebody else is writing the file, or that it would be larger than `limits::KUBE_SNAPSHOT_OCTETS`. An
/// interrupted write is `io::ErrorKind::Interrupted`.
pub fn write(
    path: &Path,
    cluster: &[u8; 32],
    writer: &Mutex<Writer>,
    goes_on: &dyn Fn() -> bool,
) -> io::Result<u64> {
    kept::replace(path, |file| fill(file, cluster, writer, goes_on))
}

fn fill(
    file: &File,
    cluster: &[u8; 32],
    writer: &Mutex<Writer>,
    goes_on: &dyn Fn() -> bool,
) -> io::Result<u64> {
    let mut out = BufWriter::new(file);
    let mut sum = Sha256::new();
    let mut length = HEAD as u64;
    out.write_all(&[0; HEAD])?;
    let (store, (outline, mut dump)) = {
        let writer = lock(writer);
        (writer.store().clone(), writer.dump(clock::wall_s()))
    };
    let mut step = Vec::new();
    let mut is_more = true;
    while is_more {
        if !goes_on() {
            return Err(ErrorKind::Interrupted.into());
        }
        step.clear();
        is_more = dump.step(&store, &mut step);
        length += step.len() as u64;
        if length > limits::KUBE_SNAPSHOT_OCTETS {
            let bound = limits::KUBE_SNAPSHOT_OCTETS;
            return Err(io::Error::other(format!("larger than {bound} octets")));
        }
        sum.update(&step);
        out.write_all(&step)?;
    }
    if !lock(writer).vouches_for(&dump) {
        return Err(io::Error::other("the cluster changed too fast meanwhile"));
    }
    let head = head(&outline, length, cluster);
    sum.update(head);
    let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&head)?;
    file.write_all(&sum.finalize())?;
    Ok(outline.written_s)
}

/// Reads and checks a file; `None` if there is none.
///
/// # Errors
/// Why it must not be used.
pub fn read(path: &Path, cluster: &[u8; 32]) -> Result<Option<Whole>, Rejected> {
    let Some((mut file, length)) = kept::open(path, limits::KUBE_SNAPSHOT_OCTETS)? else {
        return Ok(None);
    };
    let mut fields = [0; HEAD_FIELDS];
    let mut expect = [0; SUM];
    let body_len = usize::try_from(length).unwrap_or_default();
    let body_len = body_len.checked_sub(HEAD).ok_or(Rejected::Length)?;
    file.read_exact(&mut fields)?;
    file.read_exact(&mut expect)?;
    let (outline, said, of) = read_head(&fields)?;
    if said != length {
        return Err(Rejected::Length);
    }
    let mut body = vec![0; body_len];
    file.read_exact(&mut body)?;
    let sum = Sha256::new().chain_update(&body).chain_update(fields);
    if sum.finalize()[..] != expect {
        return Err(Rejected::Damaged);
    }
    if of != *cluster {
        return Err(Rejected::Cluster);
    }
    Ok(Some(Whole { outline, body }))
}

// === the head ===

fn head(outline: &Outline, length: u64, cluster: &[u8; 32]) -> [u8; HEAD_FIELDS] {
    let mut out = [0; HEAD_FIELDS];
    let mut rest = &mut out[..];
    let Keep {
        targets,
        zones,
        pods,
    } = outline.keep;
    let kept = u32::from(targets) | u32::from(zones) << 1 | u32::from(pods) << 2;
    for part in [
        &MAGIC[..],
        &VERSION.to_le_bytes(),
        &kept.to_le_bytes(),
        &outline.kinds.bits().to_le_bytes(),
        &outline.salt,
        &outline.modified_s.to_le_bytes(),
        &outline.externally_modified_s.to_le_bytes(),
        &outline.written_s.to_le_bytes(),
        &length.to_le_bytes(),
        cluster,
    ] {
        // The parts fill the head, as the constant says.
        let _ = rest.write_all(part);
    }
    out
}

/// The outline, the length of the file, and the cluster.
fn read_head(fields: &[u8; HEAD_FIELDS]) -> Result<(Outline, u64, [u8; 32]), Rejected> {
    let mut rest = &fields[..];
    if take(&mut rest)? != *MAGIC {
        return Err(Rejected::Foreign);
    }
    let version = u32::from_le_bytes(take(&mut rest)?);
    if version != VERSION {
        return Err(Rejected::Version(version));
    }
    let kept = u32::from_le_bytes(take(&mut rest)?);
    let outline = Outline {
        keep: Keep {
            targets: kept & 1 != 0,
            zones: kept & 2 != 0,
            pods: kept & 4 != 0,
        },
        kinds: Kinds::of_bits(u32::from_le_bytes(take(&mut rest)?)),
        salt: take(&mut rest)?,
        modified_s: u64::from_le_bytes(take(&mut rest)?),
        externally_modified_s: u64::from_le_bytes(take(&mut rest)?),
        written_s: u64::from_le_bytes(take(&mut rest)?),
    };
    let length = u64::from_le_bytes(take(&mut rest)?);
    Ok((outline, length, take(&mut rest)?))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Rejected> {
    let (first, behind) = rest.split_first_chunk().ok_or(Rejected::Length)?;
    *rest = behind;
    Ok(*first)
}

fn lock(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

const MAGIC: &[u8; 8] = b"perkube\0";
pub(super) const VERSION: u32 = 1;
const SUM: usize = 32;
/// Octets of the head without its checksum.
pub(super) const HEAD_FIELDS: usize = 8 + 4 + 4 + 4 + 16 + 8 + 8 + 8 + 8 + 32;
/// Octets of the whole head.
pub(super) const HEAD: usize = HEAD_FIELDS + SUM;
