//! The stores in a file, so that a server which starts knows what it knew when it ended.
//!
//! Runs on: control thread, and the main thread at start and end.
//!
//! **Invariant**: a file is either whole, as its checksum says, or not used at all; a file that is there is only ever replaced by a
//! whole one.
//!
//! ```text
//!   head, 72 octets:  magic 8 | version 4 | sections 4 | written at 8 | directory at 8 | length 8 | SHA-256 32
//!   section:          entries, one after the other: fields 26 | TTL offsets 2 each | reply | wildcard
//!   directory:        for each section: digest length 2 | digest | starts at 8 | octets 8 | entries 8
//! ```
//! Numbers are little-endian; times are nanoseconds since 1970. The checksum is over all that follows the head and then over the
//! head's other fields. A section is one store, under the digest of what made it: a store that is made otherwise does not get the
//! old answers. Entries say how old they were when the file was written, and the wall clock says for how long it lay there. Hashes are
//! not kept: they are keyed anew at each start.

mod format;
mod load;
mod write;

#[cfg(test)]
mod tests;

use std::io;

use crate::control::kept::Unreadable;

pub use load::{Loaded, Snapshot, open};
pub use write::{Written, write};

/// The time, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic nanoseconds, which entries are stored under.
    pub mono_ns: u64,
    /// Nanoseconds since 1970, which files are written under.
    pub wall_ns: u64,
}

impl From<io::Error> for Rejected {
    fn from(error: io::Error) -> Rejected {
        Rejected::File(error.into())
    }
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// It is not there to be read.
    #[error(transparent)]
    File(#[from] Unreadable),
    /// It does not begin as one.
    #[error("it is no snapshot of a cache")]
    Foreign,
    /// Of a version that this one does not read.
    #[error("it is of version {0}, this program reads version {version}", version = format::VERSION)]
    Version(u32),
    /// Not as long as it says.
    #[error("it is cut short or has something behind it")]
    Length,
    /// The checksum is another.
    #[error("it is damaged: its checksum is wrong")]
    Damaged,
    /// Older than `limits::CACHE_SNAPSHOT_AGE`.
    #[error("it is too old: {0} s")]
    Old(u64),
    /// Written later than now.
    #[error("it was written {0} s from now; is the clock wrong?")]
    Future(u64),
}
