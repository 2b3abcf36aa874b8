//! The terms of one *tls* directive as they are now.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::ring::Ticketer;
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;

use super::files::{Digest, Stamps};
use super::keylog::KeyLogFile;
use super::{CHALLENGE_PROTOCOL, ClientAuth, Identity, clients, files, provider};
use crate::control::Published;
use crate::corefile::address::Scheme;
use crate::telemetry::log;
use crate::telemetry::metrics::{SharedCounter, registry};

/// What a *tls* line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the certificate is from.
    pub source: Source,
    /// Authorities of clients; none: those of the system.
    pub ca: Option<PathBuf>,
    /// Which certificates clients show.
    pub client_auth: ClientAuth,
    /// Where secrets of connections are written.
    pub keylog: Option<PathBuf>,
}

impl Settings {
    /// Reads its certificate, if that is in files.
    fn identity(&self) -> Result<Option<Identity>, String> {
        let Source::Files { cert, key } = &self.source else {
            return Ok(None);
        };
        let identity = files::identity(cert, key)?;
        note_not_after(cert, identity.not_after_s);
        Ok(Some(identity))
    }

    /// Its certificate, for logs and labels.
    fn shown(&self) -> String {
        match &self.source {
            Source::Files { cert, .. } => cert.display().to_string(),
            Source::Installed { .. } => "acme".to_owned(),
        }
    }

    /// Tells those lines apart whose clients may not resume each other's sessions.
    pub fn tickets_key(&self) -> String {
        format!("{self:?} {:?}", Stamps::of(self.files()).authorities())
    }

    fn files(&self) -> [Option<&Path>; 3] {
        let (cert, key) = match &self.source {
            Source::Files { cert, key } => (Some(&**cert), Some(&**key)),
            Source::Installed { .. } => (None, None),
        };
        [cert, key, self.ca.as_deref()]
    }
}

/// Where a certificate is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Files.
    Files {
        /// The certificate, with those that lead to its authority.
        cert: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// Whoever calls [`Live::install`]. Until then handshakes fail.
    Installed {
        /// Whether handshakes of an authority that checks a name are answered (RFC 8737).
        answers_challenges: bool,
    },
}

/// The key of tickets, which outlives a configuration: a client of before may resume as long as the same clients are let in.
pub struct Tickets(Arc<dyn ProducesTickets>);

impl Tickets {
    /// A new key, which is replaced by itself every six hours; one that was replaced is good for six more.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn new() -> Result<Tickets, String> {
        let key = Ticketer::new().map_err(|error| error.to_string())?;
        Ok(Tickets(key))
    }
}

/// What is current of a *tls* line. Shared by the listeners of its block, on all cores.
pub struct Live {
    settings: Settings,
    published: Published<Terms>,
    seen: Mutex<Seen>,
    keylog: Option<Arc<KeyLogFile>>,
    reloads: SharedCounter,
    failures: SharedCounter,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// What the last look found.
struct Seen {
    /// Of the files that made what is current, or that failed.
    stamps: Stamps,
    /// The authorities of clients, and the key of tickets, of what is current.
    authorities: Option<Digest>,
    tickets: Arc<Tickets>,
}

/// Configurations that differ in the protocols they offer, and what they share.
struct Terms {
    /// By [`slot`].
    configs: [Arc<ServerConfig>; SLOTS],
}

impl Live {
    /// Loads everything for the first time.
    ///
    /// # Errors
    /// A file cannot be read or used; it is named.
    pub fn load(settings: Settings, tickets: Arc<Tickets>) -> Result<Live, String> {
        let keylog = settings.keylog.as_deref().map(KeyLogFile::open);
        let keylog = keylog.transpose()?.map(Arc::new);
        let stamps = Stamps::of(settings.files());
        let identity = settings.identity()?;
        let terms = Terms::new(&settings, identity.as_ref(), &tickets, keylog.as_ref())?;
        let cert = settings.shown();
        let counter = |name, help| registry().shared_counter(name, help, &[("cert", &cert)]);
        Ok(Live {
            published: Published::new(Arc::new(terms)),
            seen: Mutex::new(Seen {
                authorities: stamps.authorities(),
                stamps,
                tickets,
            }),
            keylog,
            reloads: counter(
                "percoredns_tls_reloads_total",
                "Times that a certificate, its key or the authorities of clients were loaded anew because their files changed.",
            ),
            failures: counter(
                "percoredns_tls_reload_failures_total",
                "Changed certificates, keys or authorities that could not be loaded; the old ones stay.",
            ),
            settings,
        })
    }

    /// What a handshake on a listener of that transport goes by.
    pub fn current(&self, scheme: Scheme) -> Arc<ServerConfig> {
        let terms = self.published.load();
        terms.configs[slot(scheme)].clone()
    }

    /// Loads everything anew if a file has changed since the last look. Blocks.
    pub fn refresh(&self) {
        let now = Stamps::of(self.settings.files());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.stamps == now {
            return;
        }
        match seen.load(&self.settings, &now, self.keylog.as_ref()) {
            Ok(terms) => {
                self.published.publish(Arc::new(terms));
                self.reloads.inc();
                let cert = self.settings.shown();
                log::info(PLUGIN, format_args!("Reloaded certificate {cert}"));
            }
            Err(error) => {
                self.failures.inc();
                log::error(
                    PLUGIN,
                    format_args!(
                        "changed files cannot be used, the old certificate stays: {error}"
                    ),
                );
            }
        }
        seen.stamps = now;
    }

    /// Shows this certificate from the next handshake on.
    ///
    /// # Errors
    /// The authorities of clients cannot be used.
    pub fn install(&self, identity: &Identity) -> Result<(), String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let keylog = self.keylog.as_ref();
        let terms = Terms::new(&self.settings, Some(identity), &seen.tickets, keylog)?;
        self.published.publish(Arc::new(terms));
        Ok(())
    }
}

impl Seen {
    /// Other authorities come with another key: a client whose authority is gone must not resume.
    fn load(
        &mut self,
        settings: &Settings,
        now: &Stamps,
        keylog: Option<&Arc<KeyLogFile>>,
    ) -> Result<Terms, String> {
        let is_same = now.authorities() == self.authorities;
        let tickets = match is_same {
            true => self.tickets.clone(),
            false => Arc::new(Tickets::new()?),
        };
        let identity = settings.identity()?;
        let terms = Terms::new(settings, identity.as_ref(), &tickets, keylog)?;
        (self.authorities, self.tickets) = (now.authorities(), tickets);
        Ok(terms)
    }
}

impl Terms {
    fn new(
        settings: &Settings,
        identity: Option<&Identity>,
        tickets: &Tickets,
        keylog: Option<&Arc<KeyLogFile>>,
    ) -> Result<Terms, String> {
        let roots = || match &settings.ca {
            Some(file) => files::roots(file),
            None => files::system_roots(),
        };
        let clients = clients::verifier(settings.client_auth, roots)?;
        let answers_challenges = matches!(
            settings.source,
            Source::Installed {
                answers_challenges: true
            }
        );
        let shown = Arc::new(Shown {
            key: identity.map(|identity| identity.key.clone()),
            answers_challenges,
        });
        let base = |scheme: Scheme| -> Result<Arc<ServerConfig>, String> {
            let builder = ServerConfig::builder_with_provider(provider());
            let builder = builder
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?;
            let mut config = builder
                .with_client_cert_verifier(clients.clone())
                .with_cert_resolver(shown.clone());
            offer(&mut config, scheme, &tickets.0);
            if answers_challenges {
                config.alpn_protocols.extend(challenge_protocols(scheme));
            }
            if let Some(keylog) = keylog {
                config.key_log = keylog.clone();
            }
            Ok(Arc::new(config))
        };
        Ok(Terms {
            configs: [
                base(Scheme::Tls)?,
                base(Scheme::Https)?,
                base(Scheme::Grpc)?,
                base(Scheme::Quic)?,
                base(Scheme::Https3)?,
            ],
        })
    }
}

/// The application protocols of a transport (RFC 7301), and how sessions are resumed.
fn offer(config: &mut ServerConfig, scheme: Scheme, tickets: &Arc<dyn ProducesTickets>) {
    let names: &[&[u8]] = match scheme {
        // RFC 7858 has no name; a client may offer any.
        Scheme::Dns | Scheme::Tls => &[],
        Scheme::Https => &[b"h2", b"http/1.1"],
        Scheme::Grpc => &[b"h2"],
        Scheme::Quic => &[b"doq"],
        Scheme::Https3 => &[b"h3"],
    };
    config.ignore_client_order = true;
    config.alpn_protocols = names.iter().map(|name| name.to_vec()).collect();
    match scheme {
        // Early data may be replayed, against which rustls keeps each session for one use; so there are no tickets.
        Scheme::Quic | Scheme::Https3 => config.max_early_data_size = u32::MAX,
        _ => config.ticketer = tickets.clone(),
    }
}

/// Shows when a certificate ends. There is one number for each file and process, whatever configurations name it.
fn note_not_after(cert: &Path, not_after_s: i64) {
    static NOT_AFTER: Mutex<BTreeMap<PathBuf, Arc<AtomicI64>>> = Mutex::new(BTreeMap::new());
    let mut all = NOT_AFTER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(shown) = all.get(cert) {
        return shown.store(not_after_s, Ordering::Relaxed);
    }
    let shown = Arc::new(AtomicI64::new(not_after_s));
    all.insert(cert.to_owned(), shown.clone());
    let gauge = registry().gauge_fn(
        "percoredns_tls_certificate_not_after_seconds",
        "When the certificate that is served is no longer valid, in seconds since 1970.",
        &[("cert", &cert.display().to_string())],
        move || shown.load(Ordering::Relaxed) as f64,
    );
    gauge.keep();
}

/// The certificate that is shown.
#[derive(Debug)]
struct Shown {
    /// `None`: there is none yet.
    key: Option<Arc<CertifiedKey>>,
    answers_challenges: bool,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        #[cfg(feature = "acme")]
        if self.answers_challenges && super::acme::answers::is_challenge(&hello) {
            return super::acme::answers::alpn_certificate(hello.server_name()?);
        }
        let _ = (hello, self.answers_challenges);
        self.key.clone()
    }
}

/// What is offered besides the protocol of a transport. An authority asks on port 443 of any; where a client could offer whatever it
/// likes before, it may offer what it likes best.
fn challenge_protocols(scheme: Scheme) -> Vec<Vec<u8>> {
    let own: &[&[u8]] = match scheme {
        Scheme::Dns | Scheme::Tls => &[b"dot", CHALLENGE_PROTOCOL],
        Scheme::Https | Scheme::Grpc => &[CHALLENGE_PROTOCOL],
        Scheme::Quic | Scheme::Https3 => &[],
    };
    own.iter().map(|name| name.to_vec()).collect()
}

/// Where the configuration of a transport stands.
fn slot(scheme: Scheme) -> usize {
    match scheme {
        Scheme::Dns | Scheme::Tls => 0,
        Scheme::Https => 1,
        Scheme::Grpc => 2,
        Scheme::Quic => 3,
        Scheme::Https3 => 4,
    }
}

const SLOTS: usize = 5;
const PLUGIN: Option<&str> = Some("tls");
