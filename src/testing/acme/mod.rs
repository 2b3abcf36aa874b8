//! An ACME authority for tests (RFC 8555): accounts, orders, the three challenges, certificates, over HTTPS, and a script of what goes
//! wrong.
//!
//! It judges its client as a real one does: each request must be signed by the account's key, for its own URL, with a nonce that was not
//! used; names are looked at where the script says they are; the request for a certificate must name what was ordered. Its thread is its
//! own, so that a test needs no runtime.
//!
//! ```ignore
//! let ca = Ca::new();
//! ca.script(|script| script.dns = name_server);
//! // ... a client that trusts ca.ca_file() orders from ca.url() ...
//! ca.script(|script| script.refusals.push(Refusal { resource: "new-order", code: 429, kind: "rateLimited", times: 1, ..Refusal::default() }));
//! assert_eq!(ca.count("new-order"), 1);
//! ```
//!
//! Runs on: tests only.
//!
//! **Invariant**: no certificate is issued whose names were not seen to be the client's.

mod answer;
mod jose;
mod script;
mod state;
mod validate;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::Socket;
use tokio_rustls::TlsAcceptor;

use super::authority::Authority;
use super::port;
use crate::control::{Control, Task};
use state::State;

pub use script::{Flaw, Refusal, Script};

/// The authority.
pub struct Ca {
    shared: Arc<Shared>,
    addr: SocketAddr,
    life: Mutex<Option<Task>>,
    control: Control,
    /// Holds the port while the server is stopped: refused, but nobody else's.
    _port: Socket,
}

/// What all connections share.
struct Shared {
    authority: Authority,
    base: String,
    script: Mutex<Script>,
    state: Mutex<State>,
}

impl Default for Ca {
    fn default() -> Ca {
        Ca::new()
    }
}

impl Ca {
    /// An authority without accounts, which listens.
    pub fn new() -> Ca {
        let ca = Ca::stopped();
        ca.start();
        ca
    }

    /// The same, which refuses connections until [`Ca::start`].
    pub fn stopped() -> Ca {
        let port = port::bind(port::any()).expect("a port of the loopback");
        let addr = port.local_addr().expect("an address");
        let addr = addr.as_socket().expect("an IP address");
        Ca {
            shared: Arc::new(Shared {
                authority: Authority::new(),
                base: format!("https://{addr}"),
                script: Mutex::default(),
                state: Mutex::default(),
            }),
            addr,
            life: Mutex::default(),
            control: Control::start().expect("a thread"),
            _port: port,
        }
    }

    /// Listens, unless it does.
    pub fn start(&self) {
        let mut life = lock(&self.life);
        if life.is_some() {
            return;
        }
        let socket = port::bind(self.addr).expect("its port");
        socket.listen(128).expect("a listener");
        let acceptor = self.shared.authority.acceptor();
        let accept = accept(socket.into(), Arc::clone(&self.shared), acceptor);
        *life = Some(self.control.spawn("acme authority", accept));
    }

    /// URL of the directory.
    pub fn url(&self) -> String {
        format!("{}/directory", self.shared.base)
    }

    /// The whole path of the file by which clients know it, and which signs its certificates.
    pub fn ca_file(&self) -> String {
        self.shared.authority.ca_file()
    }

    /// Changes how it behaves.
    pub fn script<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut lock(&self.shared.script))
    }

    /// How many requests there were for a resource: `directory`, `new-nonce`, `new-account`, `new-order`, `order`, `authorization`,
    /// `challenge`, `finalize`, `certificate`.
    pub fn count(&self, resource: &str) -> usize {
        let state = lock(&self.shared.state);
        state.asked.iter().filter(|one| **one == resource).count()
    }

    /// The contact addresses of each account.
    pub fn contacts(&self) -> Vec<String> {
        let state = lock(&self.shared.state);
        let accounts = state.accounts.iter();
        accounts.map(|account| account.contact.clone()).collect()
    }

    /// Forgets all accounts, as authorities for tests do when they restart.
    pub fn forget_accounts(&self) {
        lock(&self.shared.state).forget_accounts();
    }
}

async fn accept(socket: TcpListener, shared: Arc<Shared>, tls: TlsAcceptor) {
    let listener = tokio::net::TcpListener::from_std(socket).expect("a socket for tokio");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Of that connection, or out of descriptors, in which case a test has other troubles.
            tokio::task::yield_now().await;
            continue;
        };
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let service = service_fn(|request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(answer::respond(shared, request).await) }
            });
            let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // Whatever ended it concerns the client alone.
            let _ = served.await;
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
