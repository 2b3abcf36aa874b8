//! Requests to the API server: paced, counted, and with credentials as they are now.

mod connect;
mod metrics;
mod pace;
pub(super) mod proxy;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{ACCEPT, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Limited};
use kube_client::Client;
use kube_client::client::Body;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::access::{self, Access, AccessError};
use super::decode::{self, Encoding, Failure};
use crate::limits;
use crate::telemetry::log;
use metrics::Metrics;
use pace::Pace;

/// Why there is no response to work with.
#[derive(Debug)]
pub(super) enum RequestError {
    /// Nobody listens there.
    Refused,
    /// No connection, or it broke.
    Transport(String),
    /// No credentials, or none that can be used.
    Access(AccessError),
    /// No head of a response in time.
    Silent,
    /// The server said no.
    Status(Failure),
}

/// A client that is made anew when its credentials change.
pub(super) struct ApiClient {
    access: Access,
    pace: Pace,
    state: Mutex<State>,
    /// How often another server took the place of the one before.
    moves: AtomicU64,
}

#[derive(Default)]
struct State {
    made: Option<Made>,
    /// When the files were last looked at.
    looked: Option<Instant>,
    /// The server does not know us: make a new client whatever the files say.
    is_refused: bool,
    /// A line in the log says that the new credentials are of no use.
    is_told: bool,
}

struct Made {
    client: Client,
    host: String,
    metrics: Arc<Metrics>,
    files: Vec<std::path::PathBuf>,
    digest: [u8; 32],
}

impl ApiClient {
    pub(super) fn new(access: Access) -> ApiClient {
        ApiClient {
            pace: Pace::new(access.qps, access.burst, access.in_flight),
            access,
            state: Mutex::default(),
            moves: AtomicU64::new(0),
        }
    }

    /// Changes when a kubeconfig begins to name another server, whose versions have nothing to do with those of the one before.
    pub(super) fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    /// Asks for a path, and returns the response once its head is there and says 200.
    ///
    /// # Errors
    /// It does not, or nothing came.
    pub(super) async fn get(
        &self,
        path: &str,
        accept: &'static str,
    ) -> Result<Response<Body>, RequestError> {
        let (client, metrics) = self.client().await.map_err(RequestError::Access)?;
        let start = Instant::now();
        let permit = self.pace.wait().await;
        metrics.left_after(start.elapsed());
        let request = Request::get(path)
            .header(ACCEPT, accept)
            .header(USER_AGENT, AGENT)
            .body(Body::empty())
            .map_err(|error| RequestError::Transport(error.to_string()))?;
        let start = Instant::now();
        let patience = Duration::from_secs(limits::KUBE_RESPONSE_S);
        let response = tokio::time::timeout(patience, client.send(request)).await;
        drop(permit);
        let code = match &response {
            Ok(Ok(response)) => Some(response.status().as_u16()),
            _ => None,
        };
        metrics.done_after(start.elapsed(), code);
        match response {
            Err(_) => Err(RequestError::Silent),
            Ok(Err(error)) => Err(transport(&error)),
            Ok(Ok(response)) if response.status() == http::StatusCode::OK => Ok(response),
            Ok(Ok(response)) => {
                if response.status() == http::StatusCode::UNAUTHORIZED {
                    self.state.lock().await.is_refused = true;
                }
                Err(RequestError::Status(failure_of(response).await))
            }
        }
    }

    /// The client with the credentials of now. Where new ones are of no use the old ones stay: files are replaced one after the other.
    async fn client(&self) -> Result<(Client, Arc<Metrics>), AccessError> {
        let mut state = self.state.lock().await;
        let pause = Duration::from_secs(limits::KUBE_CREDENTIALS_S);
        let is_due = state.looked.is_none_or(|looked| looked.elapsed() >= pause);
        if let Some(made) = &state.made
            && !is_due
        {
            return Ok((made.client.clone(), Arc::clone(&made.metrics)));
        }
        state.looked = Some(Instant::now());
        if state.made.as_ref().is_none_or(Made::is_expiring)
            || state.is_refused
            || self.has_changed(&state).await
        {
            match self.make().await {
                Ok(made) => {
                    if state.made.as_ref().is_some_and(|old| old.host != made.host) {
                        self.moves.fetch_add(1, Ordering::Relaxed);
                    }
                    state.made = Some(made);
                    state.is_refused = false;
                    state.is_told = false;
                }
                Err(error) if state.made.is_none() => return Err(error),
                Err(error) => {
                    if !std::mem::replace(&mut state.is_told, true) {
                        log::warning(
                            Some("kubernetes"),
                            format_args!(
                                "Credentials changed and cannot be used, going on with the old ones: {error}"
                            ),
                        );
                    }
                }
            }
        }
        match &state.made {
            Some(made) => Ok((made.client.clone(), Arc::clone(&made.metrics))),
            None => Err(AccessError::Config("no client".to_owned())),
        }
    }

    async fn has_changed(&self, state: &State) -> bool {
        let Some(made) = &state.made else {
            return true;
        };
        let (files, digest) = (made.files.clone(), made.digest);
        let look = tokio::task::spawn_blocking(move || access::digest(&files) != digest);
        // An error means that the runtime is shutting down.
        look.await.unwrap_or(false)
    }

    /// Off the control thread: files are read, and a credential plugin may run for seconds.
    async fn make(&self) -> Result<Made, AccessError> {
        let access = self.access.clone();
        let made = tokio::task::spawn_blocking(move || {
            let loaded = access.load()?;
            let host = loaded.config.cluster_url.authority();
            let host = host.map_or(String::new(), |authority| authority.to_string());
            let client = connect::client(loaded.config)
                .map_err(|error| AccessError::Config(error.to_string()))?;
            Ok(Made {
                client,
                metrics: Arc::new(Metrics::new(&host)),
                host,
                files: loaded.files,
                digest: loaded.digest,
            })
        });
        made.await
            .unwrap_or_else(|error| Err(AccessError::Config(error.to_string())))
    }
}

impl Made {
    /// A credential plugin may give a certificate, which the client does not renew itself as it does with tokens.
    fn is_expiring(&self) -> bool {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now_s = now.map_or(0, |now| now.as_secs() as i64);
        let until = self.client.valid_until().as_ref();
        until.is_some_and(|until| until.as_second() < now_s + EXPIRY_MARGIN_S)
    }
}

/// The encoding that a response says it has. What is neither fails when it is decoded.
pub(super) fn encoding(headers: &HeaderMap) -> Encoding {
    let kind = headers.get(http::header::CONTENT_TYPE);
    let is_protobuf = kind
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with(PROTOBUF));
    if is_protobuf {
        Encoding::Protobuf
    } else {
        Encoding::Json
    }
}

async fn failure_of(response: Response<Body>) -> Failure {
    let (head, body) = response.into_parts();
    let asked = head.headers.get(RETRY_AFTER);
    let asked = asked.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let body = Limited::new(body, limits::KUBE_ERROR_OCTETS);
    let patience = Duration::from_secs(limits::KUBE_CONNECT_S);
    // The status says what matters; a body that does not come is not waited for.
    let octets = match tokio::time::timeout(patience, body.collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => Default::default(),
    };
    let mut failure = decode::failure(head.status.as_u16(), encoding(&head.headers), &octets);
    failure.retry_after_s = asked.unwrap_or(failure.retry_after_s);
    failure
}

/// The innermost error says what happened.
pub(super) fn transport(error: &kube_client::Error) -> RequestError {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let is_refused = innermost
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if is_refused {
        return RequestError::Refused;
    }
    RequestError::Transport(innermost.to_string())
}

/// Either encoding, protobuf rather.
pub(super) const EITHER: &str = "application/vnd.kubernetes.protobuf, application/json";
/// For custom resources.
pub(super) const JSON: &str = "application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const AGENT: &str = concat!("percoredns/", env!("CARGO_PKG_VERSION"));
/// A certificate is renewed so long before it ends.
const EXPIRY_MARGIN_S: i64 = 60;
