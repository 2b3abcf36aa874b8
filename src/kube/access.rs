//! Where the API server is and who we are to it, as a Corefile says it, and what becomes of that: a configuration of the client.
//!
//! Whatever the source, it is put together as a kubeconfig in memory, so that one way leads from files to keys. Files that were read
//! are remembered: once one of them holds something else, all is loaded anew.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kube_client::Config;
use kube_client::client::ConfigExt;
use kube_client::config::{
    AuthInfo, Cluster, Context, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext,
};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::client::proxy;
use crate::limits;

/// How to reach the API server.
#[derive(Debug, Clone, PartialEq)]
pub struct Access {
    /// Server and credentials.
    pub source: Source,
    /// Requests a second in the long run; 0 means `limits::KUBE_QPS`.
    pub qps: f64,
    /// Requests at once; 0 means `limits::KUBE_BURST`.
    pub burst: u32,
    /// Requests that may wait for their response at once; 0 means any number.
    pub in_flight: u32,
}

/// Where server and credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The environment and files that a pod finds.
    InCluster,
    /// Written in the Corefile.
    Endpoint {
        /// With or without a scheme.
        url: String,
        /// For TLS with a certificate of our own.
        tls: Option<TlsFiles>,
    },
    /// A file as kubectl has it.
    Kubeconfig {
        /// Its path.
        file: PathBuf,
        /// Instead of its current context.
        context: Option<String>,
    },
}

/// What `tls CERT KEY CA` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate of the client.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// What the certificate of the server is checked with.
    pub ca: PathBuf,
}

/// Why there is no client.
#[derive(Debug, Error)]
pub enum AccessError {
    /// The environment of a pod is not there.
    #[error(
        "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined (outside of a pod, name the API server with 'endpoint' or 'kubeconfig')"
    )]
    NotInCluster,
    /// A file that must be there cannot be read.
    #[error("open {}: {error}", .file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
    /// A file that holds nothing of use.
    #[error("{} holds no {what}", .file.display())]
    Empty {
        /// Which.
        file: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// The kubeconfig, or what it names, makes no sense.
    #[error("invalid configuration: {0}")]
    Config(String),
}

/// A configuration that can be made a client, and what it was made of.
pub(super) struct Loaded {
    pub(super) config: Config,
    pub(super) files: Vec<PathBuf>,
    /// Of the contents of `files`, before they were loaded: what changes meanwhile is seen at the next look.
    pub(super) digest: [u8; 32],
}

impl Access {
    /// A server without credentials, with the default bounds.
    pub fn at(url: &str) -> Access {
        Access {
            source: Source::Endpoint {
                url: url.to_owned(),
                tls: None,
            },
            qps: 0.0,
            burst: 0,
            in_flight: 0,
        }
    }

    /// Looks for mistakes that only the operator can mend: files that are missing or hold something else, a context that does not exist.
    /// The server is not asked, and no credential plugin is run.
    ///
    /// # Errors
    /// There is such a mistake.
    pub fn check(&self) -> Result<(), AccessError> {
        let mut config = self.load()?.config;
        config.auth_info.exec = None;
        config.auth_info.auth_provider = None;
        config.rustls_client_config().map_err(invalid)?;
        Ok(())
    }

    /// Reads everything. Blocks on files.
    pub(super) fn load(&self) -> Result<Loaded, AccessError> {
        let kubeconfig = match &self.source {
            Source::InCluster => {
                let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
                in_cluster(
                    variable("KUBERNETES_SERVICE_HOST"),
                    variable("KUBERNETES_SERVICE_PORT"),
                    Path::new(SERVICE_ACCOUNT),
                )?
            }
            Source::Endpoint { url, tls } => endpoint(url, tls.as_ref()),
            Source::Kubeconfig { file, context } => from_file(file, context.as_deref())?,
        };
        let mut files = files_of(&kubeconfig);
        if let Source::Kubeconfig { file, .. } = &self.source {
            files.push(file.clone());
        }
        let digest = digest(&files);
        let mut config = Config::try_from(kubeconfig.clone()).map_err(invalid)?;
        if let (Some(certs), Some(file)) = (&config.root_cert, ca_file(&kubeconfig))
            && certs.is_empty()
        {
            return Err(AccessError::Empty {
                file,
                what: "certificate",
            });
        }
        take_token(&mut config.auth_info)?;
        config.proxy_url = proxy::of(&config.cluster_url, written_proxy(&kubeconfig).as_deref())
            .map_err(AccessError::Config)?;
        config.connect_timeout = Some(std::time::Duration::from_secs(limits::KUBE_CONNECT_S));
        // The watcher knows better when to try again.
        config.default_retry = false;
        Ok(Loaded {
            config,
            files,
            digest,
        })
    }
}

/// A digest of what the files hold; one that cannot be read counts as empty.
pub(super) fn digest(files: &[PathBuf]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for file in files {
        let octets = read(file).unwrap_or_default();
        digest.update((octets.len() as u64).to_be_bytes());
        digest.update(octets);
    }
    digest.finalize().into()
}

/// What a pod has been given: the folder holds `token` and `ca.crt`.
fn in_cluster(
    host: Option<String>,
    port: Option<String>,
    folder: &Path,
) -> Result<Kubeconfig, AccessError> {
    let (Some(host), Some(port)) = (host, port) else {
        return Err(AccessError::NotInCluster);
    };
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host,
    };
    let token = folder.join("token");
    read(&token).map_err(|error| no_file(&token, error))?;
    let ca = folder.join("ca.crt");
    let cluster = Cluster {
        server: Some(format!("https://{host}:{port}")),
        // Without it the system's certificates decide, as with other clients.
        certificate_authority: ca.exists().then(|| text(&ca)),
        ..Cluster::default()
    };
    let user = AuthInfo {
        token_file: Some(text(&token)),
        ..AuthInfo::default()
    };
    Ok(single(cluster, user))
}

fn endpoint(url: &str, tls: Option<&TlsFiles>) -> Kubeconfig {
    let scheme = match (url.contains("://"), tls) {
        (true, _) => "",
        (false, Some(_)) => "https://",
        (false, None) => "http://",
    };
    let cluster = Cluster {
        server: Some(format!("{scheme}{url}")),
        certificate_authority: tls.map(|tls| text(&tls.ca)),
        ..Cluster::default()
    };
    let user = AuthInfo {
        client_certificate: tls.map(|tls| text(&tls.cert)),
        client_key: tls.map(|tls| text(&tls.key)),
        ..AuthInfo::default()
    };
    single(cluster, user)
}

fn from_file(file: &Path, context: Option<&str>) -> Result<Kubeconfig, AccessError> {
    // Asked first for the sake of the message.
    File::open(file).map_err(|error| no_file(file, error))?;
    let mut kubeconfig = Kubeconfig::read_from(file).map_err(invalid)?;
    if let Some(context) = context {
        kubeconfig.current_context = Some(context.to_owned());
    }
    Ok(kubeconfig)
}

/// A kubeconfig of one cluster, user and context.
fn single(cluster: Cluster, user: AuthInfo) -> Kubeconfig {
    let name = || "percoredns".to_owned();
    let context = Context {
        cluster: name(),
        user: Some(name()),
        ..Context::default()
    };
    Kubeconfig {
        clusters: vec![NamedCluster {
            name: name(),
            cluster: Some(cluster),
            ..NamedCluster::default()
        }],
        auth_infos: vec![NamedAuthInfo {
            name: name(),
            auth_info: Some(user),
            ..NamedAuthInfo::default()
        }],
        contexts: vec![NamedContext {
            name: name(),
            context: Some(context),
            ..NamedContext::default()
        }],
        current_context: Some(name()),
        ..Kubeconfig::default()
    }
}

/// Cluster and user of the current context.
fn current(kubeconfig: &Kubeconfig) -> Option<(&Cluster, Option<&AuthInfo>)> {
    let wanted = kubeconfig.current_context.as_ref()?;
    let contexts = &kubeconfig.contexts;
    let context = contexts.iter().find(|one| one.name == *wanted)?;
    let context = context.context.as_ref()?;
    let clusters = &kubeconfig.clusters;
    let cluster = clusters.iter().find(|one| one.name == context.cluster)?;
    let users = &kubeconfig.auth_infos;
    let user = users
        .iter()
        .find(|one| Some(&one.name) == context.user.as_ref());
    Some((
        cluster.cluster.as_ref()?,
        user.and_then(|user| user.auth_info.as_ref()),
    ))
}

fn files_of(kubeconfig: &Kubeconfig) -> Vec<PathBuf> {
    let Some((cluster, user)) = current(kubeconfig) else {
        return Vec::new();
    };
    let mut files = vec![&cluster.certificate_authority];
    if let Some(user) = user {
        files.extend([&user.client_certificate, &user.client_key, &user.token_file]);
    }
    files.into_iter().flatten().map(PathBuf::from).collect()
}

fn ca_file(kubeconfig: &Kubeconfig) -> Option<PathBuf> {
    let (cluster, _) = current(kubeconfig)?;
    cluster.certificate_authority.as_ref().map(PathBuf::from)
}

fn written_proxy(kubeconfig: &Kubeconfig) -> Option<String> {
    let (cluster, _) = current(kubeconfig)?;
    cluster.proxy_url.clone().filter(|url| !url.is_empty())
}

/// The client would read a token file once a minute and stumble over a line break at its end. We notice changes ourselves, so the token
/// is handed over as it is now. The file comes before a written token, as in client-go.
fn take_token(user: &mut AuthInfo) -> Result<(), AccessError> {
    let Some(file) = user.token_file.take().map(PathBuf::from) else {
        return Ok(());
    };
    match read(&file) {
        Ok(octets) => {
            let token = String::from_utf8_lossy(&octets).trim().to_owned();
            if token.is_empty() {
                return Err(AccessError::Empty {
                    file,
                    what: "token",
                });
            }
            user.token = Some(token.into());
            Ok(())
        }
        Err(_) if user.token.is_some() => Ok(()),
        Err(error) => Err(no_file(&file, error)),
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    let file = File::open(file)?;
    file.take(limits::KUBE_CREDENTIAL_OCTETS)
        .read_to_end(&mut octets)?;
    Ok(octets)
}

fn no_file(file: &Path, error: io::Error) -> AccessError {
    let file = file.to_owned();
    AccessError::File { file, error }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn invalid(error: impl std::error::Error) -> AccessError {
    // The outer messages of the crate include the inner ones.
    AccessError::Config(error.to_string())
}

/// Where a pod finds its token and the certificate of the CA.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::files::Dir;
    use crate::testing::kube_api::Authority;

    fn access(source: Source) -> Access {
        Access {
            source,
            qps: 0.0,
            burst: 0,
            in_flight: 0,
        }
    }

    fn load(kubeconfig: Kubeconfig) -> Config {
        let mut config = Config::try_from(kubeconfig).unwrap();
        take_token(&mut config.auth_info).unwrap();
        config
    }

    #[test]
    fn what_a_pod_finds() {
        let authority = Authority::new();
        let folder = authority.path();
        let pod = |host: &str| in_cluster(Some(host.into()), Some("443".into()), folder);
        let error = pod("10.96.0.1").unwrap_err().to_string();
        let expect = format!("open {}/token: No such file", folder.display());
        assert!(error.starts_with(&expect), "{error}");
        std::fs::write(folder.join("token"), "secret\n").unwrap();
        let config = load(pod("10.96.0.1").unwrap());
        assert_eq!(config.cluster_url.to_string(), "https://10.96.0.1:443/");
        assert_eq!(config.root_cert.map(|certs| certs.len()), Some(1));
        assert!(config.auth_info.token.is_some() && config.auth_info.token_file.is_none());
        let config = load(pod("fd00::1").unwrap());
        assert_eq!(config.cluster_url.to_string(), "https://[fd00::1]:443/");
        let files = files_of(&pod("10.96.0.1").unwrap());
        assert_eq!(files, [folder.join("ca.crt"), folder.join("token")]);
    }

    #[test]
    fn outside_of_a_pod() {
        for (host, port) in [(None, Some("443".into())), (Some("10.0.0.1".into()), None)] {
            let error = in_cluster(host, port, Path::new("/nowhere")).unwrap_err();
            assert_eq!(
                error.to_string(),
                "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined (outside of a pod, name the API server with 'endpoint' or 'kubeconfig')"
            );
        }
    }

    #[test]
    fn mistakes_that_only_the_operator_can_mend() {
        let dir = Dir::new();
        let text = |user: &str| {
            format!(
                "{{apiVersion: v1, kind: Config, current-context: it, clusters: [{{name: c, cluster: {{server: 'https://10.0.0.1', \
                 certificate-authority: ca.crt}}}}], users: [{{name: u, user: {{{user}}}}}], \
                 contexts: [{{name: it, context: {{cluster: c, user: u}}}}]}}"
            )
        };
        let authority = Authority::new();
        let ca = std::fs::read_to_string(authority.ca_file()).unwrap();
        dir.write("empty", "");
        for (user, context, ca, expect) in [
            ("token: x", None, &*ca, ""),
            ("token: x", Some("it"), &ca, ""),
            ("token: x", Some("nope"), &ca, "nope"),
            (
                "token: x",
                None,
                "no certificate",
                "ca.crt holds no certificate",
            ),
            ("tokenFile: missing", None, &ca, "missing: No such file"),
            ("tokenFile: missing, token: x", None, &ca, ""),
            ("tokenFile: empty", None, &ca, "empty holds no token"),
            (
                "client-certificate: missing, client-key: missing",
                None,
                &ca,
                "missing",
            ),
            (
                "client-certificate: ca.crt, client-key: ca.crt",
                None,
                &ca,
                "private key",
            ),
            ("exec: {command: /nowhere, apiVersion: v1}", None, &ca, ""),
        ] {
            dir.write("ca.crt", ca);
            let file = dir.write("kubeconfig", &text(user)).into();
            let context = context.map(str::to_owned);
            let checked = access(Source::Kubeconfig { file, context }).check();
            let error = checked
                .err()
                .map_or(String::new(), |error| error.to_string());
            let is_expected = error.contains(expect) && error.is_empty() == expect.is_empty();
            assert!(is_expected, "{user}: {error}");
        }
        let file = dir.path().join("nope");
        let expect = format!("open {}: No such file", file.display());
        let error = access(Source::Kubeconfig {
            file,
            context: None,
        })
        .check();
        assert!(error.unwrap_err().to_string().starts_with(&expect));
    }

    #[test]
    fn endpoints_with_and_without_a_scheme() {
        let tls = TlsFiles {
            cert: "c".into(),
            key: "k".into(),
            ca: "ca".into(),
        };
        for (url, tls, expect) in [
            ("10.0.0.1:8080", None, "http://10.0.0.1:8080"),
            ("10.0.0.1:6443", Some(&tls), "https://10.0.0.1:6443"),
            ("http://api", Some(&tls), "http://api"),
            ("https://api:6443", None, "https://api:6443"),
        ] {
            let kubeconfig = endpoint(url, tls);
            let (cluster, _) = current(&kubeconfig).unwrap();
            assert_eq!(cluster.server.as_deref(), Some(expect));
        }
    }

    #[test]
    fn a_digest_of_contents() {
        let dir = Dir::new();
        let files = [dir.write("a", "1").into(), dir.path().join("b")];
        let before = digest(&files);
        assert_eq!(digest(&files), before);
        dir.write("b", "");
        assert_eq!(digest(&files), before);
        dir.write("b", "2");
        assert_ne!(digest(&files), before);
    }
}
