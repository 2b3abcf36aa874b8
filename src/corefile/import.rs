//! Where environment variables and imported files come from.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use crate::limits;

mod glob;
mod path;

pub(super) use path::{absolute, join};

/// The outside world as the parser sees it; tests give their own.
pub trait Source {
    /// Value of an environment variable, `None` if unset.
    fn env(&self, name: &str) -> Option<String>;
    /// Absolute paths that match `pattern` in lexical order: `*`, `?` and `\` as in Go's `filepath.Match`. A pattern
    /// without wildcards matches the path itself if it exists. What cannot be read does not match.
    fn glob(&self, pattern: &str) -> Result<Vec<String>, String>;
    /// Text of a file. The error says why not, in words that follow `Could not import FILE: `.
    fn read(&self, path: &str) -> Result<String, String>;
    /// Absolute path of the directory that relative paths start from.
    fn working_dir(&self) -> Result<String, String>;
}

/// The process's environment and file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealSource;

impl Source for RealSource {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        glob::glob(pattern, &list_dir, &|path| {
            fs::symlink_metadata(path).is_ok()
        })
    }

    fn read(&self, path: &str) -> Result<String, String> {
        if Path::new(path).is_dir() {
            return Err("is a directory".to_owned());
        }
        read_file(path).map_err(|error| error.message)
    }

    fn working_dir(&self) -> Result<String, String> {
        let dir = std::env::current_dir().map_err(|error| go_io_error(&error))?;
        Ok(dir.to_string_lossy().into_owned())
    }
}

/// A failed read: why, in Go's words, and whether the file is just not there.
#[derive(Debug)]
pub(crate) struct ReadError {
    pub(crate) message: String,
    pub(crate) is_missing: bool,
}

/// Reads a configuration file of at most `limits::COREFILE_OCTETS`; bytes that are no UTF-8 become U+FFFD.
pub(crate) fn read_file(path: &str) -> Result<String, ReadError> {
    let fail = |verb: &str, error: &io::Error| ReadError {
        message: format!("{verb} {path}: {}", go_io_error(error)),
        is_missing: error.kind() == io::ErrorKind::NotFound,
    };
    let file = fs::File::open(path).map_err(|error| fail("open", &error))?;
    read_text(file).map_err(|error| fail("read", &error))
}

/// Reads at most `limits::COREFILE_OCTETS` of text; more is an error.
pub(crate) fn read_text(reader: impl Read) -> io::Result<String> {
    let mut octets = Vec::new();
    reader
        .take(limits::COREFILE_OCTETS as u64 + 1)
        .read_to_end(&mut octets)?;
    if octets.len() > limits::COREFILE_OCTETS {
        return Err(io::Error::other(format!(
            "file is larger than {} octets",
            limits::COREFILE_OCTETS
        )));
    }
    // Only invalid text is copied.
    Ok(String::from_utf8(octets)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// An I/O error in Go's words: `no such file or directory`.
pub(crate) fn go_io_error(error: &io::Error) -> String {
    let text = error.to_string();
    let Some((text, _)) = text.split_once(" (os error ") else {
        return text;
    };
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(chars).collect()
    })
}

/// Names in a directory in lexical order; empty if it cannot be read.
fn list_dir(dir: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let names = entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.take(limits::IMPORT_FILES).collect();
    names.sort_unstable();
    names
}
