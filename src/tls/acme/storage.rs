//! The files of one certificate: the account with the authority, and key and certificate in one file, so that no crash leaves a pair
//! that does not fit.
//!
//! Runs on: threads that may block.

use std::fs::{self, DirBuilder};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use sha2::{Digest, Sha256};

use super::issued::Issued;
use super::settings::Settings;
use crate::control::kept;
use crate::limits;

/// Where the files are.
#[derive(Clone)]
pub(super) struct Storage {
    folder: PathBuf,
    account: PathBuf,
    certificate: PathBuf,
    domains: Vec<String>,
}

impl Storage {
    /// The files for these settings. Another authority, address or list of names has other files.
    pub(super) fn new(settings: &Settings) -> Storage {
        let folder = settings.storage.clone();
        let email = settings.email.as_deref().unwrap_or_default();
        let account = format!("account-{}.json", mark(&[&settings.ca, email]));
        Storage {
            account: folder.join(account),
            certificate: folder.join(format!("{}.pem", Storage::name(settings))),
            domains: settings.domains.clone(),
            folder,
        }
    }

    /// What the certificate is called in files and metrics: its first name and a mark of all that makes it.
    pub(super) fn name(settings: &Settings) -> String {
        let first = settings.domains.first().map_or("", String::as_str);
        let mut parts = vec![settings.ca.as_str()];
        parts.extend(settings.domains.iter().map(String::as_str));
        format!("{}-{}", first.replace('*', "_"), mark(&parts))
    }

    /// Makes the directory and sees whether it can be written: what cannot be kept should not be ordered.
    pub(super) fn prepare(&self) -> Result<(), String> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder);
        let probe = self.folder.join("probe");
        let written = made
            .and_then(|()| kept::replace(&probe, |_| Ok(())))
            .and_then(|()| fs::remove_file(&probe));
        written.map_err(|error| {
            let folder = self.folder.display();
            format!(
                "storage {folder} cannot be written ({error}); nothing is ordered until it can, since each order counts against the authority's limits"
            )
        })
    }

    /// The stored certificate, if there is one; it may have ended.
    pub(super) fn certificate(&self) -> Result<Option<Issued>, String> {
        let wrong = |error: String| format!("{}: {error}", self.certificate.display());
        match read(&self.certificate).map_err(wrong)? {
            None => Ok(None),
            Some(pem) => Issued::read(&pem, &self.domains).map(Some).map_err(wrong),
        }
    }

    /// Keeps key and certificates, in PEM.
    pub(super) fn keep_certificate(&self, pem: &str) -> Result<(), String> {
        write(&self.certificate, pem.as_bytes())
    }

    /// The stored account, if there is one.
    pub(super) fn account(&self) -> Result<Option<AccountCredentials>, String> {
        let wrong = |error: String| format!("{}: {error}", self.account.display());
        let Some(json) = read(&self.account).map_err(wrong)? else {
            return Ok(None);
        };
        serde_json::from_slice(&json)
            .map(Some)
            .map_err(|error| wrong(format!("{error}; remove the file to open another account")))
    }

    /// Keeps an account.
    pub(super) fn keep_account(&self, account: &AccountCredentials) -> Result<(), String> {
        let json = serde_json::to_vec(account).map_err(|error| error.to_string())?;
        write(&self.account, &json)
    }

    /// Forgets the account, which the authority does not know any more.
    pub(super) fn forget_account(&self) -> io::Result<()> {
        fs::remove_file(&self.account)
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let opened = kept::open(path, limits::ACME_FILE_OCTETS).map_err(|error| error.to_string())?;
    let Some((file, _)) = opened else {
        return Ok(None);
    };
    let mut octets = Vec::new();
    // It may have grown since it was looked at.
    file.take(limits::ACME_FILE_OCTETS)
        .read_to_end(&mut octets)
        .map_err(|error| error.to_string())?;
    Ok(Some(octets))
}

fn write(path: &Path, octets: &[u8]) -> Result<(), String> {
    kept::replace(path, |mut file| file.write_all(octets))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Eight hex digits.
fn mark(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let digest = digest.finalize();
    digest[..4]
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect()
}
