//! A Kubernetes API server for tests: objects in memory, lists and watches over HTTP, and a script of what goes wrong.
//!
//! It speaks to clients as a real one does, in JSON and protobuf, on a port of the loopback; its thread is its own, so that a test needs no
//! runtime. A test puts objects, waits for what its client makes of them, and asks the server what it was asked:
//!
//! ```ignore
//! let api = Api::new();
//! api.put(Object::Namespace("shop".into()));
//! api.put(Object::Service(Service { namespace: "shop".into(), name: "web".into(), ..Service::default() }));
//! // ... a client of api.url() lists and watches ...
//! api.remove(Kind::Service, "shop", "web");          // its watch tells
//! api.script(|script| script.refusals.push(Refusal::all(403, 3)));
//! api.restart();                                     // watches end, old versions get 410
//! assert_eq!(api.count(Verb::List, Some(Kind::Service)), 1);
//! ```
//!
//! What it does as a real server does: pages of a list all show the moment of the first one, and `limit` with version 0 gives everything at
//! once; an object that enters or leaves a selection is ADDED or DELETED for that watch; a watch from a version that is not known any
//! more gets 200 and an ERROR event 410; ServiceImports exist in JSON only. [`Script`] has the rest.
//!
//! Runs on: tests only.
//!
//! **Invariant**: nothing is sent that the script, the objects and the requests do not determine, apart from when.

mod answer;
mod ask;
mod body;
mod cluster;
mod encode;
mod json;
mod object;
mod proto;
mod script;
mod select;
mod server;
mod state;
#[cfg(test)]
mod tests;
mod watch;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socket2::Socket;
use tokio::sync;

use crate::kube::record::{Kind, Reach, Service, Slice};
use crate::testing::port;
use object::Content;
use server::{Life, Worker};
use state::State;

pub use crate::testing::authority::Authority;
pub use cluster::Cluster;
pub use object::Stored;
pub use script::{Asked, Fault, Refusal, Script, Trouble, Verb, WatchList};

/// The server.
pub struct Api {
    shared: Arc<Shared>,
    addr: SocketAddr,
    tls: Option<tokio_rustls::TlsAcceptor>,
    life: Mutex<Option<Life>>,
    worker: Worker,
    /// Holds the port while the server is stopped: refused, but nobody else's.
    _port: Socket,
}

/// What all connections share.
struct Shared {
    state: Mutex<State>,
    changed: sync::watch::Sender<()>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that failed elsewhere should not hide behind this.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.send_replace(());
        result
    }
}

impl Default for Api {
    fn default() -> Api {
        Api::new()
    }
}

// === life ===

impl Api {
    /// A server without objects, which listens.
    pub fn new() -> Api {
        Api::with(None)
    }

    /// The same with TLS, and with a demand for client certificates if the authority says so.
    pub fn with_tls(authority: &Authority) -> Api {
        Api::with(Some(authority.acceptor()))
    }

    fn with(tls: Option<tokio_rustls::TlsAcceptor>) -> Api {
        let port = port::bind(port::any()).expect("a port of the loopback");
        let addr = port.local_addr().expect("an address");
        let api = Api {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                changed: sync::watch::Sender::new(()),
            }),
            addr: addr.as_socket().expect("an IP address"),
            tls,
            life: Mutex::default(),
            worker: Worker::start().expect("a thread"),
            _port: port,
        };
        api.start();
        api
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// Listens again, at the same address, after [`Api::stop`] or [`Api::drain`]. The process is a new one: its changes begin now.
    pub fn start(&self) {
        let mut life = self.life();
        if let Some(old) = life.take() {
            old.end();
            self.shared.change(State::begin_anew);
        }
        let (shared, tls) = (&self.shared, self.tls.clone());
        let begun = Life::begin(&self.worker, shared, tls, self.addr);
        *life = Some(begun.expect("the port is held"));
    }

    /// Ends all connections and the listener: connections are refused when this returns.
    pub fn stop(&self) {
        if let Some(life) = self.life().take() {
            life.end();
        }
        self.shared.change(State::begin_anew);
    }

    /// Stops as a server does that is asked politely: new connections are refused, watches stay and go on until [`Api::stop`].
    pub fn drain(&self) {
        if let Some(life) = &*self.life() {
            life.drain();
        }
    }

    /// [`Api::stop`] and [`Api::start`].
    pub fn restart(&self) {
        self.stop();
        self.start();
    }

    fn life(&self) -> MutexGuard<'_, Option<Life>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop();
    }
}

// === objects ===

impl Api {
    /// Puts an object, new or in place of the one of its name.
    pub fn put(&self, object: impl Into<Stored>) {
        self.put_all([object.into()]);
    }

    /// Puts several, of which watches hear at once.
    pub fn put_all(&self, objects: impl IntoIterator<Item = Stored>) {
        self.shared.change(|state| {
            for stored in objects {
                let key = ask::key(stored.namespace(), stored.name());
                let kind = stored.object.kind();
                state.put(kind, key.into(), Content::Held(Arc::new(stored)));
            }
        });
    }

    /// Removes an object, and says whether it was there. A namespace has no namespace: `""`.
    pub fn remove(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        let key = ask::key(namespace, name);
        self.shared.change(|state| state.remove(kind, &key))
    }

    /// Puts all objects of a generated cluster, which take no memory but for their names.
    pub fn load(&self, cluster: Cluster) {
        let cluster = Arc::new(cluster);
        self.shared.change(|state| {
            for (kind, number) in cluster.all() {
                let stored = cluster.object(kind, number);
                let key = ask::key(stored.namespace(), stored.name());
                let made = Content::Made(Arc::clone(&cluster), kind, number);
                state.put(kind, key.into(), made);
            }
        });
    }

    /// How many objects of that kind there are.
    pub fn len(&self, kind: Kind) -> usize {
        self.shared.lock().len(kind)
    }

    /// Whether there are none.
    pub fn is_empty(&self, kind: Kind) -> bool {
        self.len(kind) == 0
    }

    /// The version of the last change.
    pub fn version(&self) -> u64 {
        self.shared.lock().version()
    }
}

// === the script ===

impl Api {
    /// Changes how the server behaves, from the next request on.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.shared.lock().script);
    }

    /// Sends a bookmark to every watch that allows them.
    pub fn bookmark(&self) {
        self.shared.change(|state| state.bookmarks += 1);
    }

    /// Forgets what changed: watches that are behind, old versions and old continue tokens get 410.
    pub fn compact(&self) {
        self.shared.change(State::compact);
    }

    /// Watches that are open.
    pub fn watches(&self) -> usize {
        self.shared.lock().watches
    }

    /// Requests of that verb so far, of one kind or of all.
    pub fn count(&self, verb: Verb, kind: Option<Kind>) -> usize {
        self.shared.lock().count(verb, kind)
    }

    /// The requests so far, the last ten thousand of them.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.lock().asked()
    }
}

// === what both encodings share ===

/// An answer, or an event, that is no object.
struct Failure {
    code: u16,
    message: String,
    retry_after_s: Option<u32>,
    /// A continue token with which the list may be gone on with, inconsistently.
    next: String,
}

impl Failure {
    fn new(code: u16, message: impl Into<String>) -> Failure {
        Failure {
            code,
            message: message.into(),
            retry_after_s: None,
            next: String::new(),
        }
    }

    /// The word for the code.
    fn reason(&self) -> &'static str {
        match self.code {
            400 => "BadRequest",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            406 => "NotAcceptable",
            410 => "Expired",
            422 => "Invalid",
            429 => "TooManyRequests",
            500 => "InternalError",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "",
        }
    }
}

/// What a service has as `clusterIPs`.
fn cluster_ips(service: &Service) -> Vec<String> {
    match service.reach {
        Reach::Headless => vec!["None".into()],
        Reach::Elsewhere => Vec::new(),
        Reach::ClusterIp => service
            .cluster_ips
            .iter()
            .map(ToString::to_string)
            .collect(),
    }
}

fn service_type(service: &Service) -> &'static str {
    match service.reach {
        Reach::Elsewhere => "ExternalName",
        _ if !service.ingress.is_empty() => "LoadBalancer",
        _ => "ClusterIP",
    }
}

/// A slice is of one family, that of its first address.
fn address_type(slice: &Slice) -> &'static str {
    match slice.endpoints.first() {
        Some(endpoint) if endpoint.ip.is_ipv6() => "IPv6",
        _ => "IPv4",
    }
}

/// `2023-11-14T22:13:20.5Z` of seconds and nanoseconds since 1970.
fn rfc3339((seconds, nanos): (u64, u32)) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (mut year, mut day) = (1970, days);
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 0;
    for len in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        month += 1;
        if day < len {
            break;
        }
        day -= len;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let day = day + 1;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// The annotation of a slice with the time of what made it change.
const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// Who wrote all objects; a client must step over `managedFields`, which real objects have in plenty.
const MANAGER: &str = "kube-controller-manager";
const MANAGED_FIELDS: &str =
    r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:ports":{}}}"#;
