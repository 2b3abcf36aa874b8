//! QUIC on a task thread: DNS over QUIC (RFC 9250) and DNS over HTTP/3 (RFC 8484 on RFC 9114).
//!
//! ```text
//!   socket -> driver: recvmmsg, endpoint of quinn-proto -> connection: streams of a request each -> doq | h3 -> Session::ask
//!                |                                                                                        |
//!             sendmmsg <- packets of all connections that had something to do <- replies, late ones too <-+
//! ```
//!
//! One task drives a socket and all its connections: what arrives together is answered together, and what is answered leaves together.
//! Packets find their socket by connection id (`transport::steering`), so a connection is on one core whatever address its client has.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

mod connection;
mod doq;
mod driver;
mod late;
mod terms;
#[cfg(test)]
mod tests;
mod ways;

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::serve::unpanicking;
use super::session::Accepting;
use super::sockets::ByListener;
use super::tasks::Env;
use crate::limits;
use crate::runtime;
use crate::telemetry::log;
use crate::telemetry::metrics::{self, Counter, registry};
use crate::transport::udp::Socket;
use driver::Driver;

/// The endpoints of one core.
#[derive(Default)]
pub struct Endpoints {
    list: Vec<Open>,
}

struct Open {
    socket: Arc<Socket>,
    state: Rc<Accepting>,
}

impl Endpoints {
    /// Serves exactly these sockets from now on, each with its number in its group. Connections of a socket that stays are not touched;
    /// those of one that goes finish what they are answering.
    pub fn replace(&mut self, env: &Rc<Env>, sockets: ByListener<(u16, Arc<Socket>)>) {
        let mut old = std::mem::take(&mut self.list);
        for (listener, (number, socket)) in sockets {
            match old
                .iter()
                .position(|open| Arc::ptr_eq(&open.socket, &socket))
            {
                Some(at) => {
                    let open = old.swap_remove(at);
                    open.state.listener.set(Some(listener));
                    self.list.push(open);
                }
                None => {
                    let state = Accepting::new(listener);
                    runtime::spawn(serve(env.clone(), state.clone(), number, socket.clone()));
                    self.list.push(Open { socket, state });
                }
            }
        }
        for open in old {
            open.state.close();
        }
    }
}

/// Drives a socket. Should a driver panic, its connections are gone; clients are told so by stateless resets, and go on with the next.
async fn serve(env: Rc<Env>, state: Rc<Accepting>, number: u16, socket: Arc<Socket>) {
    loop {
        let driver = match Driver::new(&env, &state, number, socket.clone()) {
            Ok(driver) => driver,
            Err(error) => {
                return log::error(None, format_args!("cannot serve QUIC: {error}"));
            }
        };
        if unpanicking(pin!(driver.run())).await.is_some() {
            return;
        }
        metrics::panics().inc();
        log::error(
            None,
            format_args!("Recovered from panic in QUIC: its connections on this core are gone"),
        );
        // Whatever it was may come again.
        runtime::sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MS)).await;
    }
}

/// What became of the connections and streams of one core.
pub(super) struct Counts {
    /// Handshakes that were done, that failed, that were sent back to prove the client's address, and that were ignored.
    done: Counter,
    failed: Counter,
    retried: Counter,
    ignored: Counter,
    /// Streams refused because their request took too long, was too long, or because as many as may were waiting.
    slow: Counter,
    long: Counter,
    busy: Counter,
    /// Messages that the kernel did not send.
    lost: Counter,
}

impl Counts {
    pub(super) fn new() -> Counts {
        let handshakes = |result| {
            registry().counter(
                "percoredns_quic_handshakes_total",
                "QUIC handshakes with clients, by how they ended; retry: the client has to prove its address first.",
                &[("result", result)],
            )
        };
        let streams = |reason| {
            registry().counter(
                "percoredns_quic_refused_streams_total",
                "QUIC streams refused because their request came too slowly, was too long, or because too many waited.",
                &[("reason", reason)],
            )
        };
        Counts {
            done: handshakes("done"),
            failed: handshakes("failed"),
            retried: handshakes("retry"),
            ignored: handshakes("ignored"),
            slow: streams("slow"),
            long: streams("long"),
            busy: streams("busy"),
            lost: registry().counter(
                "percoredns_quic_unsent_messages_total",
                "Messages of QUIC packets that the kernel did not take; they count as lost on the way.",
                &[],
            ),
        }
    }
}
