//! A file that a process leaves for the next one: read only where nobody else can have written it, and only ever replaced by a whole one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The system refuses to read it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A directory, a pipe or a device.
    #[error("it is no regular file")]
    NotAFile,
    /// Everybody may write it, so anybody may put words into this server's mouth.
    #[error("everybody may write to it (chmod 600)")]
    Writable,
    /// Longer than it may be.
    #[error("it is larger than {0} octets")]
    TooLarge(u64),
}

/// Opens a file of at most `octets_max` to be read, and says how long it is; `None` if there is none.
///
/// # Errors
/// Why it must not be read.
pub fn open(path: &Path, octets_max: u64) -> Result<Option<(File, u64)>, Unreadable> {
    let mut options = OpenOptions::new();
    // A pipe must not keep the server from starting.
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(Unreadable::NotAFile);
    }
    if meta.mode() & 0o002 != 0 {
        return Err(Unreadable::Writable);
    }
    if meta.len() > octets_max {
        return Err(Unreadable::TooLarge(octets_max));
    }
    Ok(Some((file, meta.len())))
}

/// Has `fill` write a file beside `path`, which takes its place once it is on the disk. When anything fails the old file stays.
///
/// # Errors
/// What the system refused, or `fill`, or that somebody else is writing the file.
pub fn replace<T>(path: &Path, fill: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
    let beside = beside(path);
    let file = create(&beside)?;
    let filled = fill(&file)
        .and_then(|filled| file.sync_all().map(|()| filled))
        .and_then(|filled| fs::rename(&beside, path).map(|()| filled));
    match filled {
        Ok(filled) => {
            sync_directory(path)?;
            Ok(filled)
        }
        Err(error) => {
            // What is left of it would be written over next time, but may be what fills the disk.
            let _ = fs::remove_file(&beside);
            Err(error)
        }
    }
}

/// The name under which a file is written before it takes the place of `path`.
pub fn beside(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// An empty file that only we may read and that nobody else writes at the same time.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    // A link planted here would have us write to what it points at.
    options.custom_flags(libc::O_NOFOLLOW);
    let file = options.open(path)?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::other("another process is writing it"),
        TryLockError::Error(error) => error,
    })?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.set_len(0)?;
    Ok(file)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}
