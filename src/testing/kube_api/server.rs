//! The thread of the server: its port and its connections.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsAcceptor;

use super::Shared;
use super::answer::respond;
use crate::testing::port;

/// A tokio runtime on a thread of its own, so that tests need none.
pub(super) struct Worker {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start() -> io::Result<Worker> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("kube-api".into());
        let thread = thread.spawn(move || {
            // The sender is dropped or used: both are the end.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Worker {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

/// One life of the server, from its start to its stop.
pub(super) struct Life {
    phase: watch::Sender<Phase>,
    listener_gone: mpsc::Receiver<()>,
    connections_gone: mpsc::Receiver<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Draining,
    Closed,
}

impl Life {
    /// Listens and serves.
    pub(super) fn begin(
        worker: &Worker,
        shared: &Arc<Shared>,
        tls: Option<TlsAcceptor>,
        addr: SocketAddr,
    ) -> io::Result<Life> {
        let socket = port::bind(addr)?;
        socket.listen(128)?;
        let (phase, phases) = watch::channel(Phase::Open);
        // Nothing is ever sent: what counts is when the last sender is dropped.
        let (listening, listener_gone) = mpsc::channel();
        let (connected, connections_gone) = mpsc::channel();
        let serving = Serving {
            shared: Arc::clone(shared),
            tls,
            phases,
            connected,
        };
        worker
            .handle
            .spawn(serving.accept(socket.into(), listening));
        Ok(Life {
            phase,
            listener_gone,
            connections_gone,
        })
    }

    /// Takes no more connections, and no more requests on those that are there; watches go on.
    pub(super) fn drain(&self) {
        self.phase.send_replace(Phase::Draining);
        // An error is what is waited for: the sender is gone.
        let _ = self.listener_gone.recv();
    }

    /// Ends everything, and returns when it has ended.
    pub(super) fn end(self) {
        self.phase.send_replace(Phase::Closed);
        let _ = self.listener_gone.recv();
        let _ = self.connections_gone.recv();
    }
}

struct Serving {
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
    phases: watch::Receiver<Phase>,
    connected: mpsc::Sender<()>,
}

impl Serving {
    async fn accept(mut self, socket: TcpListener, listening: mpsc::Sender<()>) {
        // Both are dropped at the end, the socket first.
        let _listening = listening;
        let listener = tokio::net::TcpListener::from_std(socket).expect("a socket for tokio");
        loop {
            let accepted = tokio::select! {
                biased;
                _ = self.phases.wait_for(|phase| *phase != Phase::Open) => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // Of that connection, or out of descriptors, in which case a test has other troubles.
                tokio::task::yield_now().await;
                continue;
            };
            // Events are small and a test waits for them.
            let _ = stream.set_nodelay(true);
            let (shared, tls) = (Arc::clone(&self.shared), self.tls.clone());
            let (phases, connected) = (self.phases.clone(), self.connected.clone());
            tokio::spawn(async move {
                // Held until the connection has ended.
                let _connected = connected;
                let mut closing = phases.clone();
                let served = async {
                    match tls {
                        None => connection(stream, shared, phases).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                connection(stream, shared, phases).await;
                            }
                        }
                    }
                };
                tokio::select! {
                    () = served => {}
                    _ = closing.wait_for(|phase| *phase == Phase::Closed) => {}
                }
            });
        }
    }
}

async fn connection<S>(stream: S, shared: Arc<Shared>, mut phases: watch::Receiver<Phase>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(respond(shared, request).await) }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    tokio::select! {
        // Whatever ended it concerns the client alone.
        _ = served.as_mut() => return,
        _ = phases.wait_for(|phase| *phase != Phase::Open) => {}
    }
    served.as_mut().graceful_shutdown();
    let _ = served.await;
}
