//! The HTTP endpoints of health, ready and prometheus.
//!
//! Runs on: control thread.
//!
//! **Invariant**: an endpoint's body and label values never come from a query's bytes unescaped; every request is
//! bounded in size and time.
//!
//! A configuration collects its routes in [`Endpoints`], binds them before it is committed ([`Endpoints::bind`],
//! which takes over the sockets of addresses that stay) and serves them after ([`Bound::serve`]). Until then the
//! previous [`Bound`] serves on, untouched; addresses that only it had close when it is dropped.

mod bind;
mod probe;
mod readiness;
mod serve;
#[cfg(test)]
mod tests;
mod timed;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use socket2::SockRef;
use tokio::sync::watch;

use crate::control::Control;

pub use probe::{probe, self_address};
pub use readiness::Readiness;

/// What a handler answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The value of Content-Type.
    pub content_type: &'static str,
    /// The whole body.
    pub body: String,
}

impl Response {
    /// A plain text answer.
    pub fn text(status: u16, body: impl Into<String>) -> Response {
        Response {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }
}

/// Answers each request for one path, on the control thread; it must not block.
pub type Handler = Arc<dyn Fn() -> Response + Send + Sync>;

/// The routes that a new configuration wants.
#[derive(Default)]
pub struct Endpoints {
    addresses: BTreeMap<String, Routes>,
    stoppers: Vec<(String, Stopper)>,
}

impl Endpoints {
    /// None yet.
    pub fn new() -> Endpoints {
        Endpoints::default()
    }

    /// Wants `path` on `addr` (`:8080`, `localhost:9153`, `[::1]:80`). Owners may share an address; a path of it
    /// belongs to the last who asked.
    pub fn add(&mut self, addr: &str, path: &str, handler: Handler) {
        self.addresses
            .entry(addr.to_owned())
            .or_default()
            .insert(path.to_owned(), handler);
    }

    /// The addresses wanted so far, as given.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.addresses.keys().map(String::as_str)
    }

    /// A handle with which the owner of `path` on `addr` stops new connections to it, once it is bound.
    pub fn stopper(&mut self, addr: &str, path: &str) -> Stopper {
        let stopper = Stopper {
            path: path.to_owned(),
            listener: Arc::default(),
        };
        self.stoppers.push((addr.to_owned(), stopper.clone()));
        stopper
    }

    /// Binds every address that `previous` does not hold. Nothing of `previous` changes, whatever the outcome.
    ///
    /// # Errors
    /// An address cannot be parsed, resolved or bound; in the words of Go: `listen tcp :8080: bind: address
    /// already in use`.
    pub fn bind(self, previous: Option<&Bound>) -> Result<Bound, String> {
        let mut listeners = Vec::with_capacity(self.addresses.len());
        for (addr, routes) in self.addresses {
            let carried = previous.and_then(|bound| bound.find(&addr)).cloned();
            let listener = match carried {
                Some(listener) => listener,
                None => Arc::new(Listener::bind(addr)?),
            };
            listeners.push((listener, Arc::new(routes)));
        }
        let bound = Bound { listeners };
        for (addr, stopper) in self.stoppers {
            *lock(&stopper.listener) = bound.find(&addr).map(Arc::downgrade);
        }
        Ok(bound)
    }
}

/// The bound endpoints of one configuration.
pub struct Bound {
    listeners: Vec<(Arc<Listener>, Arc<Routes>)>,
}

impl Bound {
    /// Serves these routes from now on, on carried sockets in place of the previous ones.
    pub fn serve(&self, control: &Control) {
        for (listener, routes) in &self.listeners {
            *lock(&listener.routes) = Arc::clone(routes);
            lock(&listener.stopped).clear();
            if let Some(socket) = lock(&listener.unserved).take() {
                let (routes, phase) = (Arc::clone(&listener.routes), listener.phase.subscribe());
                control.spawn(
                    "admin",
                    serve::accept(listener.addr.clone(), socket, routes, phase),
                );
            }
        }
    }

    /// Where `addr` is bound in fact: the port, if it said 0.
    pub fn local_addr(&self, addr: &str) -> Option<SocketAddr> {
        self.find(addr).map(|listener| listener.local)
    }

    fn find(&self, addr: &str) -> Option<&Arc<Listener>> {
        self.listeners
            .iter()
            .map(|(listener, _)| listener)
            .find(|listener| listener.addr == addr)
    }
}

/// See [`Endpoints::stopper`].
#[derive(Clone)]
pub struct Stopper {
    path: String,
    listener: Arc<Mutex<Option<Weak<Listener>>>>,
}

impl Stopper {
    /// Takes no more connections, while those that are open are served on. An address that other paths still need
    /// stays open for them.
    pub fn stop(&self) {
        let Some(listener) = lock(&self.listener).as_ref().and_then(Weak::upgrade) else {
            return;
        };
        let all = {
            let mut stopped = lock(&listener.stopped);
            stopped.insert(self.path.clone());
            lock(&listener.routes)
                .keys()
                .all(|path| stopped.contains(path))
        };
        if all {
            listener.stop(Phase::Kept);
        }
    }
}

/// Handlers by path.
type Routes = BTreeMap<String, Handler>;
/// The routes in force, replaced as a whole by a reload.
type SharedRoutes = Arc<Mutex<Arc<Routes>>>;

/// One bound address; shared by the configurations that carry it.
struct Listener {
    addr: String,
    local: SocketAddr,
    /// A second descriptor of the socket, to close it at once from any thread.
    socket: TcpListener,
    /// The socket until it is first served.
    unserved: Mutex<Option<TcpListener>>,
    routes: SharedRoutes,
    /// Paths whose owners want no more connections.
    stopped: Mutex<BTreeSet<String>>,
    phase: watch::Sender<Phase>,
}

impl Listener {
    fn bind(addr: String) -> Result<Listener, String> {
        let socket = bind::listen(&addr)?;
        let failed = |error: std::io::Error| format!("listen tcp {addr}: {error}");
        let local = socket.local_addr().map_err(failed)?;
        let unserved = socket.try_clone().map_err(failed)?;
        Ok(Listener {
            local,
            socket,
            unserved: Mutex::new(Some(unserved)),
            routes: SharedRoutes::default(),
            stopped: Mutex::default(),
            phase: watch::Sender::new(Phase::Open),
            addr,
        })
    }

    fn stop(&self, phase: Phase) {
        self.phase.send_replace(phase);
        // Without this the kernel takes connections until the control thread has closed its descriptor. An
        // error means that it is closed already.
        let _ = SockRef::from(&self.socket).shutdown(std::net::Shutdown::Both);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop(Phase::Closed);
    }
}

/// The life of a listener; it only moves down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Takes no more connections, serves those that are open.
    Kept,
    /// Finishes the requests in hand, then closes their connections.
    Closed,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
