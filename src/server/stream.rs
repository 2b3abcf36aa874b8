//! TCP on a task thread: accept, pipelined queries, replies in the order in which they are ready.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::clients::Client;
use super::config::Timeouts;
use super::serve::{self, Arrival, Desk, Served};
use super::tasks::{self, Env, Place};
use crate::limits;
use crate::plugin::{Proto, Query, Run, TaskEnv};
use crate::runtime::local::Event;
use crate::runtime::{self, ReadHalf, TcpListener, TcpStream, WriteHalf, clock};
use crate::telemetry::log;
use crate::transport::tcp::{self, Frames};
use crate::wire::rcode::Rcode;

/// The accept loops of one core.
#[derive(Default)]
pub struct Acceptors {
    list: Vec<Acceptor>,
}

struct Acceptor {
    socket: tcp::Shared,
    state: Rc<Accepting>,
}

/// What an accept loop and its connections share.
struct Accepting {
    /// Index of the listener in the newest configuration; `None` once no configuration has it.
    listener: Cell<Option<u16>>,
    closed: Event,
}

impl Acceptors {
    /// Accepts on exactly these sockets from now on. Connections of a socket that stays are not touched; those of one that goes
    /// finish what they are answering.
    pub fn replace(&mut self, env: &Rc<Env>, listeners: Vec<(u16, tcp::Shared)>) {
        let mut old = std::mem::take(&mut self.list);
        for (listener, socket) in listeners {
            if let Some(at) = old
                .iter()
                .position(|acceptor| Arc::ptr_eq(&acceptor.socket, &socket))
            {
                let acceptor = old.swap_remove(at);
                acceptor.state.listener.set(Some(listener));
                self.list.push(acceptor);
            } else {
                self.start(env, listener, socket);
            }
        }
        for acceptor in old {
            acceptor.state.listener.set(None);
            acceptor.state.closed.notify();
        }
    }

    fn start(&mut self, env: &Rc<Env>, listener: u16, socket: tcp::Shared) {
        let state = Rc::new(Accepting {
            listener: Cell::new(Some(listener)),
            closed: Event::new(),
        });
        let listening = socket.try_clone().and_then(TcpListener::from_std);
        match listening {
            Ok(listening) => runtime::spawn(accept(env.clone(), state.clone(), listening)),
            Err(error) => log::error(None, format_args!("cannot accept TCP connections: {error}")),
        }
        self.list.push(Acceptor { socket, state });
    }
}

async fn accept(env: Rc<Env>, state: Rc<Accepting>, listening: TcpListener) {
    while state.listener.get().is_some() {
        let accepted = first_of(listening.accept(), state.closed.wait()).await;
        let Some(Ok((stream, peer))) = accepted else {
            continue;
        };
        let Some(open) = Open::new(&env, peer) else {
            continue;
        };
        runtime::spawn(connection(open, state.clone(), stream, peer));
    }
}

/// The first future's output, or `None` when the second is ready first.
async fn first_of<T>(
    first: impl Future<Output = T>,
    second: impl Future<Output = ()>,
) -> Option<T> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|cx| {
        if let Poll::Ready(value) = first.as_mut().poll(cx) {
            return Poll::Ready(Some(value));
        }
        second.as_mut().poll(cx).map(|()| None)
    })
    .await
}

// === Connection ===

/// One connection: its reader answers or spawns, its writer sends what is ready.
struct Connection {
    env: Rc<Env>,
    accepting: Rc<Accepting>,
    peer: SocketAddr,
    local: SocketAddr,
    /// Framed replies that are not sent yet; the reader stops above `limits::TCP_UNSENT_OCTETS`.
    unsent: RefCell<Vec<u8>>,
    /// Queries that wait for an answer: `0 <= in_flight <= limits::TCP_QUERIES_IN_FLIGHT`.
    in_flight: Cell<usize>,
    /// The reader has ended: the writer sends the rest and closes.
    read_all: Cell<bool>,
    /// Writing failed or took too long: nothing more can be sent.
    broken: Cell<bool>,
    to_writer: Event,
    to_reader: Event,
}

async fn connection(open: Open, accepting: Rc<Accepting>, stream: TcpStream, peer: SocketAddr) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let Ok((mut from, to)) = stream.split() else {
        return;
    };
    let connection = Rc::new(Connection {
        env: open.env.clone(),
        accepting,
        peer,
        local,
        unsent: RefCell::default(),
        in_flight: Cell::new(0),
        read_all: Cell::new(false),
        broken: Cell::new(false),
        to_writer: Event::new(),
        to_reader: Event::new(),
    });
    let Some(timeouts) = connection.timeouts() else {
        return;
    };
    let end = EndOfReading(connection.clone());
    if runtime::try_spawn(write(connection.clone(), to, timeouts.write)).is_ok() {
        connection.read(&mut from, timeouts).await;
    }
    drop(end);
}

/// Tells the writer that no more queries come, also when the reader ends by a panic.
struct EndOfReading(Rc<Connection>);

impl Drop for EndOfReading {
    fn drop(&mut self) {
        self.0.read_all.set(true);
        self.0.to_writer.notify();
    }
}

/// Counts a connection for as long as its reader lives, or its task waits to be refused.
struct Open {
    env: Rc<Env>,
    client: Client,
}

impl Open {
    /// `None` when the core has as many as it may, or the client.
    fn new(env: &Rc<Env>, peer: SocketAddr) -> Option<Open> {
        let client = Client::of(peer.ip());
        env.connections
            .enter(client, env.tune().tcp_connections_max)
            .then(|| Open {
                env: env.clone(),
                client,
            })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.env.connections.leave(self.client);
    }
}

impl Connection {
    fn timeouts(&self) -> Option<Timeouts> {
        let listener = self.accepting.listener.get()? as usize;
        Some(self.env.newest()?.config.listeners.get(listener)?.timeouts)
    }

    async fn read(self: &Rc<Self>, from: &mut ReadHalf, timeouts: Timeouts) {
        let (mut frames, mut answered) = (Frames::default(), 0u32);
        let mut patience = timeouts.read;
        loop {
            // The deadline is for a whole message, so that a peer that sends an octet now and then is cut off too.
            let deadline = clock::now_ns() + patience.as_nanos() as u64;
            while !self.take_message(&mut frames) {
                let left = Duration::from_nanos(deadline.saturating_sub(clock::now_ns()));
                let read = poll_fn(|cx| read_more(from, &mut frames, cx));
                match runtime::timeout(left, read).await {
                    Ok(Ok(count)) if count > 0 => {}
                    _ => return,
                }
            }
            patience = timeouts.idle;
            answered = answered.saturating_add(1);
            if answered.is_multiple_of(MESSAGES_IN_A_ROW) {
                // One that sends without pause, and nothing that takes time, must not keep the others waiting.
                runtime::yield_now().await;
            }
            if timeouts.max_queries.is_some_and(|most| answered >= most)
                || self.accepting.listener.get().is_none()
            {
                return;
            }
            while self.is_congested() && !self.broken.get() {
                self.to_reader.wait().await;
            }
            if self.broken.get() {
                return;
            }
        }
    }

    fn is_congested(&self) -> bool {
        self.in_flight.get() >= limits::TCP_QUERIES_IN_FLIGHT
            || self.unsent.borrow().len() >= limits::TCP_UNSENT_OCTETS
    }

    /// Serves the next whole message; `false` when there is none yet.
    fn take_message(self: &Rc<Self>, frames: &mut Frames) -> bool {
        let Some(message) = frames.next_message() else {
            return false;
        };
        let (Some(running), Some(listener)) = (self.env.newest(), self.accepting.listener.get())
        else {
            return true;
        };
        let arrival = Arrival {
            peer: self.peer,
            local: self.local,
            proto: Proto::Tcp,
            listener,
            now_ns: clock::now_ns(),
        };
        SCRATCH.with_borrow_mut(|(desk, out)| {
            out.resize(limits::MESSAGE_OCTETS, 0);
            match serve::message(&running, desk, message, &arrival, out) {
                Served::Reply(len) => {
                    self.queue(&out[..len]);
                    self.env.start_background(&mut desk.query);
                }
                Served::Silent => {}
                Served::Parked(run) => match self.env.reserve() {
                    Some(place) => self.wait_for(desk.query.leave(), run, place),
                    None => {
                        desk.query.unwritten(Rcode::SERVFAIL);
                        if let Served::Reply(len) = serve::finish(&running, &mut desk.query, out) {
                            self.queue(&out[..len]);
                        }
                    }
                },
            }
        });
        true
    }

    fn wait_for(self: &Rc<Self>, mut query: Box<Query>, run: Run, place: Place) {
        self.in_flight.set(self.in_flight.get() + 1);
        let waiting = InFlight(self.clone());
        runtime::spawn(async move {
            if let Some(reply) = tasks::complete(&waiting.0.env, &mut query, run).await {
                waiting.0.queue(&reply);
            }
            drop(place);
        });
    }

    fn queue(&self, reply: &[u8]) {
        tcp::push_frame(&mut self.unsent.borrow_mut(), reply);
        self.to_writer.notify();
    }
}

/// Reads what there is. An idle connection holds no buffer to read into: the thread has one for all.
fn read_more(
    from: &mut ReadHalf,
    frames: &mut Frames,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    CHUNK.with_borrow_mut(|chunk| {
        let count = ready!(from.poll_read(cx, &mut chunk[..]))?;
        frames.extend(&chunk[..count]);
        Poll::Ready(Ok(count))
    })
}

/// A query of a connection that is being answered; gives its place back even if its task panics.
struct InFlight(Rc<Connection>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        self.0.to_reader.notify();
        self.0.to_writer.notify();
    }
}

async fn write(connection: Rc<Connection>, mut to: WriteHalf, patience: Duration) {
    loop {
        let pending = connection.unsent.take();
        if !pending.is_empty() {
            match runtime::timeout(patience, to.write_all(&pending)).await {
                Ok(Ok(())) => {}
                _ => {
                    connection.broken.set(true);
                    connection.to_reader.notify();
                    return;
                }
            }
            connection.to_reader.notify();
        } else if connection.read_all.get() && connection.in_flight.get() == 0 {
            // The peer may be gone already; then there is nothing to end.
            let _ = to.shutdown_write();
            return;
        } else {
            connection.to_writer.wait().await;
        }
    }
}

/// Messages of one connection between two turns of the other tasks.
const MESSAGES_IN_A_ROW: u32 = 32;
/// Octets read at once: several queries of a pipelining client.
const READ_OCTETS: usize = 4096;

thread_local! {
    /// Desk and reply buffer of this thread, used between two awaits only.
    static SCRATCH: RefCell<(Desk, Vec<u8>)> = RefCell::default();
    /// Octets just read, on their way to the frames of a connection.
    static CHUNK: RefCell<Box<[u8; READ_OCTETS]>> = RefCell::new(Box::new([0; READ_OCTETS]));
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use super::*;
    use crate::corefile::RealSource;
    use crate::plugin::Carry;
    use crate::runtime::{Backend, block_on};
    use crate::server::config::{self, Surroundings};
    use crate::tune::Settings;

    /// What is left open of a connection that comes when only so many more tasks have room.
    fn check_refused(free: usize) {
        let around = Surroundings {
            source: &RealSource,
            tune: &Arc::new(Settings::floating(1)),
            default_port: 53,
            carry: &Carry::default(),
            generation: 1,
        };
        let config = config::build("Corefile", ".:0 {\n whoami\n}\n", &around).unwrap();
        let config = Arc::new(config.config);
        let left = block_on(Backend::Epoll, async move {
            let env = Env::new(0, 1, Vec::new());
            env.open(config);
            let socket = Arc::new(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
            let server = socket.local_addr().unwrap();
            Acceptors::default().replace(&env, vec![(0, socket)]);
            // One of these ends below and leaves its place.
            let places: Vec<Event> = (0..free).map(|_| Event::new()).collect();
            for place in &places {
                runtime::spawn(place.wait());
            }
            while runtime::try_spawn(pending()).is_ok() {}
            places.iter().for_each(Event::notify);
            runtime::yield_now().await;
            let mut client = TcpStream::connect(None, server).await.unwrap();
            let mut octet = [0; 1];
            let end = runtime::timeout(Duration::from_secs(2), client.read(&mut octet)).await;
            assert!(!matches!(end, Ok(Ok(1..)) | Err(_)), "{free} free: {end:?}");
            env.connections.count()
        });
        assert_eq!(left.unwrap(), 0, "{free} free");
    }

    #[test]
    fn a_connection_without_room_for_its_tasks_is_closed() {
        check_refused(0);
        check_refused(1);
    }
}
