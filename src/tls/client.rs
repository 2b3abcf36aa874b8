//! The terms on which one upstream is spoken to over TLS.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::{ClientConfig, Resumption};
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;

use super::files::Stamps;
use super::pins::{Pin, Pinned};
use super::{files, provider};
use crate::control::Published;
use crate::limits;
use crate::telemetry::log;

/// What `tls [CERT KEY] [CA]`, `tls_servername` and the settings of the process say about an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// The certificate and key that are shown when the upstream asks for one.
    pub cert: Option<(PathBuf, PathBuf)>,
    /// Authorities of upstreams; none: those of the system.
    pub ca: Option<PathBuf>,
    /// What the upstream's certificate must be for: a name, which is sent as SNI, or an address, which is not.
    pub name: ServerName<'static>,
    /// Keys that the upstream must have (RFC 7858 section 4.2); none: any that an authority vouches for.
    pub pins: Vec<Pin>,
    /// The application protocol (RFC 7301); none is offered for DNS over TLS, which servers know by its port.
    /// Those of QUIC may send early data.
    pub alpn: Option<&'static [u8]>,
}

impl ClientSettings {
    fn files(&self) -> [Option<&Path>; 3] {
        let (cert, key) = self
            .cert
            .as_ref()
            .map(|(cert, key)| (&**cert, &**key))
            .unzip();
        [cert, key, self.ca.as_deref()]
    }

    fn load(&self) -> Result<ClientConfig, String> {
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if self.pins.is_empty() {
            let roots = match &self.ca {
                Some(file) => files::roots(file)?,
                None => files::system_roots()?,
            };
            builder.with_root_certificates(roots)
        } else {
            let verifier = Arc::new(Pinned::new(self.pins.clone()));
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
        };
        let mut config = match &self.cert {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let identity = files::identity(cert, key)?;
                let shown = SingleCertAndKey::from(identity.key);
                builder.with_client_cert_resolver(Arc::new(shown))
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.to_vec()).collect();
        // Over QUIC alone, where a query may be told from what must not be sent twice (RFC 9250 section 4.5).
        config.enable_early_data = matches!(self.alpn, Some(b"doq" | b"h3"));
        config.resumption = Resumption::in_memory_sessions(limits::UPSTREAM_TLS_SESSIONS);
        Ok(config)
    }
}

/// What is current of them. Shared by all cores, and with it the sessions that can be resumed.
pub struct Client {
    settings: ClientSettings,
    published: Published<ClientConfig>,
    /// Of the files that made what is current, or that failed last.
    seen: Mutex<Stamps>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl Client {
    /// Loads everything for the first time.
    ///
    /// # Errors
    /// A file cannot be read or used; it is named.
    pub fn load(settings: ClientSettings) -> Result<Client, String> {
        let seen = Stamps::of(settings.files());
        let config = settings.load()?;
        Ok(Client {
            published: Published::new(Arc::new(config)),
            seen: Mutex::new(seen),
            settings,
        })
    }

    /// What a handshake goes by.
    pub fn current(&self) -> Arc<ClientConfig> {
        self.published.load()
    }

    /// What the upstream's certificate must be for.
    pub fn name(&self) -> &ServerName<'static> {
        &self.settings.name
    }

    /// Loads everything anew if a file has changed since the last look; sessions are then forgotten, since they were made on other terms.
    /// Blocks.
    pub fn refresh(&self) {
        let now = Stamps::of(self.settings.files());
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now {
                return;
            }
            *seen = now;
        }
        match self.settings.load() {
            Ok(config) => {
                self.published.publish(Arc::new(config));
                let name = self.name().to_str();
                log::info(None, format_args!("Reloaded TLS files for upstream {name}"));
            }
            Err(error) => log::error(
                None,
                format_args!(
                    "changed TLS files of an upstream cannot be used, the old ones stay: {error}"
                ),
            ),
        }
    }
}

/// What a certificate can be for.
///
/// # Errors
/// It is neither an address nor a host name.
pub fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let name = ServerName::try_from(name.to_owned());
    name.map_err(|_| format!("not a server name that TLS knows: {text:?}"))
}

#[cfg(all(test, feature = "kube-api"))]
mod tests {
    use super::*;
    use crate::testing::authority::Authority;

    #[test]
    fn files_that_change_are_read_again_and_broken_ones_are_not_taken() {
        let authority = Authority::new();
        let (cert, key) = authority.client("resolver");
        let client = Client::load(ClientSettings {
            cert: Some((cert.clone().into(), key.into())),
            ca: Some(authority.ca_file().into()),
            name: server_name("dns.example.").unwrap(),
            pins: Vec::new(),
            alpn: None,
        })
        .unwrap();
        let first = client.current();
        client.refresh();
        assert!(Arc::ptr_eq(&first, &client.current()));
        authority.client("resolver");
        client.refresh();
        let second = client.current();
        assert!(!Arc::ptr_eq(&first, &second));
        std::fs::write(&cert, "").unwrap();
        client.refresh();
        assert!(Arc::ptr_eq(&second, &client.current()));
        authority.client("resolver");
        client.refresh();
        assert!(!Arc::ptr_eq(&second, &client.current()));
    }

    #[test]
    fn names_are_hosts_or_addresses() {
        assert!(server_name("dns.example").is_ok() && server_name("2001:db8::1").is_ok());
        let error = server_name("a..b").unwrap_err();
        assert_eq!(error, "not a server name that TLS knows: \"a..b\"");
    }
}
