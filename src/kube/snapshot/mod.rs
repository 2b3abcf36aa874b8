//! What is known of a cluster in a file, so that a server which starts while the API server is away knows what it knew when it ended.
//!
//! Runs on: control thread, and the main thread at start and end.
//!
//! **Invariant**: a file is either whole, as its checksum says, and of this cluster, or nothing of it is used.
//!
//! ```text
//!   head, 132 octets:  magic 8 | version 4 | kept 4 | kinds 4 | salt 16 | modified 8 | externally modified 8 | written 8 | length 8
//!                      | cluster 32 | SHA-256 32
//!   body:              the blocks of the store, see store::writer::dump
//! ```
//! Numbers are little-endian; times are seconds since 1970. The checksum is over the body and then over the head's other fields. The
//! cluster is a digest of how it is reached and what of it is watched.

mod file;

#[cfg(test)]
mod tests;

use std::io;

use super::store::Refused;
use crate::control::kept::Unreadable;

pub use file::{Whole, read, write};

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// It is not there to be read.
    #[error(transparent)]
    File(#[from] Unreadable),
    /// It does not begin as one.
    #[error("it is no snapshot of a cluster")]
    Foreign,
    /// Of a version that this one does not read.
    #[error("it is of version {0}, this program reads version {version}", version = file::VERSION)]
    Version(u32),
    /// Not as long as it says.
    #[error("it is cut short or has something behind it")]
    Length,
    /// The checksum is another.
    #[error("it is damaged: its checksum is wrong")]
    Damaged,
    /// Of a cluster that is reached otherwise, or of which other objects were watched.
    #[error("it is of another cluster")]
    Cluster,
    /// The store does not take it.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl From<io::Error> for Rejected {
    fn from(error: io::Error) -> Rejected {
        Rejected::File(error.into())
    }
}
