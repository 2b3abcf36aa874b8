//! Secrets of connections in a file (*tls* `keylog`), for whoever takes a capture apart.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A file in the format of NSS, one line for each secret; appended to and readable by its owner alone.
#[derive(Debug)]
pub(super) struct KeyLogFile(File);

impl KeyLogFile {
    /// # Errors
    /// The file cannot be opened.
    pub(super) fn open(file: &Path) -> Result<KeyLogFile, String> {
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o600);
        let opened = options.open(file);
        opened
            .map(KeyLogFile)
            .map_err(|error| format!("open {}: {error}", file.display()))
    }
}

impl rustls::KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = format!("{label} ");
        hex(&mut line, client_random);
        line.push(' ');
        hex(&mut line, secret);
        line.push('\n');
        // A full disk costs a line for an analyst, not a client its answer.
        let _ = (&self.0).write_all(line.as_bytes());
    }
}

fn hex(out: &mut String, octets: &[u8]) {
    for octet in octets {
        // Writing to a string cannot fail.
        let _ = write!(out, "{octet:02x}");
    }
}
