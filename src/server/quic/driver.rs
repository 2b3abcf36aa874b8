//! One socket and all its connections, driven by one task.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::{DatagramEvent, EcnCodepoint, Endpoint, Incoming, Transmit};

use super::connection::{Connection, Place, Turn};
use super::late::{Late, Reply};
use super::terms::{self, Terms};
use crate::limits;
use crate::plugin::Proto;
use crate::runtime::clock::{self, Nanos};
use crate::runtime::{self, Sleep, Watch};
use crate::server::clients::Client;
use crate::server::session::{Accepting, Session};
use crate::server::tasks::Env;
use crate::transport::datagrams::{Datagram, Inbox, Outbox, Way};
use crate::transport::proxy::Proxies;
use crate::transport::udp::Socket;

/// See the module.
pub(super) struct Driver {
    /// For whom queries are asked; its addresses are those of the connection in hand.
    session: Session,
    socket: Arc<Socket>,
    watch: Watch,
    endpoint: Endpoint,
    terms: Option<Rc<Terms>>,
    /// Who may say who the client is; kept when no configuration has the listener, as long as connections do.
    proxies: Option<Arc<Proxies>>,
    connections: Connections,
    late: Rc<Late>,
    /// Replies that have come, on their way to their connections.
    replies: Vec<Reply>,
    times: Times,
    /// Rings at the earliest deadline of a connection or before.
    alarm: Sleep,
    /// Packets that may leave as one message: 1 where the kernel does not cut.
    segments: usize,
}

/// Connections by the number that the endpoint gives them.
#[derive(Default)]
struct Connections {
    slots: Vec<Option<Box<Connection>>>,
    /// How many there are.
    count: usize,
    /// Whose handshake is under way: `0 <= shaking <= limits::HANDSHAKES_PER_CORE`.
    shaking: usize,
    /// Tells one that stood in a slot from the next.
    serial: u64,
    /// Those that have something to do, each once.
    marked: Vec<usize>,
    /// When each has to be looked at; later than its own deadline never, sooner possibly.
    timers: BTreeSet<(Nanos, usize)>,
}

/// quinn-proto's time, which is opaque, from ours, which tests may stop.
struct Times {
    instant: Instant,
    at: Nanos,
}

// === impl Driver ===

impl Driver {
    /// Fails off a task thread.
    pub(super) fn new(
        env: &Rc<Env>,
        accepting: &Rc<Accepting>,
        number: u16,
        socket: Arc<Socket>,
    ) -> io::Result<Driver> {
        let local = socket.local_addr();
        Ok(Driver {
            session: Session {
                env: env.clone(),
                accepting: accepting.clone(),
                peer: local,
                local,
                proto: Proto::Quic,
            },
            watch: Watch::of(&*socket)?,
            endpoint: Endpoint::new(Arc::new(terms::endpoint(number)), None, true, None),
            socket,
            terms: None,
            proxies: None,
            connections: Connections::default(),
            late: Rc::default(),
            replies: Vec::new(),
            times: Times::new(),
            alarm: runtime::sleep_until(Nanos::MAX),
            segments: limits::QUIC_SEGMENTS,
        })
    }

    /// Serves until no configuration has the listener and the last connection is over.
    pub(super) async fn run(mut self) {
        let closed = self.session.accepting.closed.clone();
        loop {
            let is_open = self.session.accepting.listener.get().is_some();
            let mut closing = pin!(closed.wait());
            poll_fn(|cx| {
                if is_open && closing.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                self.poll(cx)
            })
            .await;
            if !is_open {
                return;
            }
            self.connections.mark_all();
        }
    }

    /// Goes on as far as it can; `Ready` when nothing is left to serve.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.late.register(cx.waker());
        IO.with_borrow_mut(|(inbox, outbox)| {
            for _ in 0..TURNS_IN_A_ROW {
                let now = clock::now_ns();
                self.hand_over_replies();
                let has_read = self.receive(cx, now, inbox, outbox);
                self.connections.mark_due(now);
                self.work(now, outbox);
                self.flush(outbox);
                if self.session.accepting.listener.get().is_none() && self.connections.count == 0 {
                    return Poll::Ready(());
                }
                if !has_read && !self.poll_alarm(cx) {
                    return Poll::Pending;
                }
            }
            // Packets that come without pause must not keep the other tasks waiting.
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    fn hand_over_replies(&mut self) {
        self.late.take(&mut self.replies);
        for reply in self.replies.drain(..) {
            let to = reply.to;
            if let Some(connection) = self.connections.at(to.handle)
                && connection.serial == to.serial
            {
                connection.reply(to, reply.octets);
                self.connections.mark(to.handle);
            }
        }
    }

    /// Takes what has arrived; `false` when nothing has, and the task is woken when something does.
    fn receive(
        &mut self,
        cx: &mut Context<'_>,
        now: Nanos,
        inbox: &mut Inbox,
        outbox: &mut Outbox,
    ) -> bool {
        let socket = self.socket.clone();
        match self.watch.poll_read(cx, || inbox.recv(&socket)) {
            Poll::Ready(Ok(count)) => {
                self.renew_terms();
                for nth in 0..count {
                    if let Some(datagram) = inbox.datagram(nth, &socket) {
                        self.take(now, &datagram, outbox);
                    }
                }
                true
            }
            // An error of the socket's, which this has cleared: what a client's network said of an earlier packet.
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        }
    }

    /// Certificates and configurations change; connections that stand keep their terms.
    fn renew_terms(&mut self) {
        let Some(running) = self.session.env.newest() else {
            return;
        };
        let current = self.terms.take();
        let counts = &self.session.env.http;
        let proxies = &mut self.proxies;
        let renewed = self.session.with_listener(|listener| {
            proxies.clone_from(&listener.proxies);
            Terms::of(listener, &running, counts, current.as_ref())
        });
        self.terms = renewed.flatten();
        let is_same = match (&self.terms, &current) {
            (Some(new), Some(old)) => Rc::ptr_eq(new, old),
            (None, None) => true,
            _ => false,
        };
        if !is_same {
            let quic = self.terms.as_ref().map(|terms| terms.quic.clone());
            self.endpoint.set_server_config(quic);
        }
    }

    fn take(&mut self, now: Nanos, datagram: &Datagram<'_>, outbox: &mut Outbox) {
        let peer = datagram.peer;
        #[cfg(test)]
        assert_ne!(datagram.octets, super::tests::DIE, "told to die");
        let (client, octets) = match &self.proxies {
            None => (peer, datagram.octets),
            Some(proxies) => match proxies.unwrap_datagram(peer, datagram.octets, now) {
                Some(named) => named,
                None => return,
            },
        };
        let instant = self.times.instant(now);
        let room = room(outbox, &self.socket);
        let event = self.endpoint.handle(
            instant,
            client,
            Some(datagram.local),
            EcnCodepoint::from_bits(datagram.ecn),
            BytesMut::from(octets),
            room,
        );
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(connection) = self.connections.at(handle.0) {
                    let current = connection.quic.remote_address();
                    connection.ways.note(client, peer, current);
                    connection.quic.handle_event(event);
                    self.connections.mark(handle.0);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                self.accept(now, incoming, peer, outbox);
            }
            Some(DatagramEvent::Response(transmit)) => queue(outbox, &transmit, peer),
            None => {}
        }
    }

    /// `peer` sent it: the client, or a proxy in front.
    fn accept(&mut self, now: Nanos, incoming: Incoming, peer: SocketAddr, outbox: &mut Outbox) {
        let (env, shaking) = (self.session.env.clone(), self.connections.shaking);
        let Some(terms) = self.terms.clone() else {
            return self.endpoint.ignore(incoming);
        };
        if shaking >= limits::HANDSHAKES_PER_CORE {
            env.quic_counts.ignored.inc();
            return self.endpoint.ignore(incoming);
        }
        let room = room(outbox, &self.socket);
        if shaking >= limits::QUIC_HANDSHAKES_UNPROVEN && !incoming.remote_address_validated() {
            env.quic_counts.retried.inc();
            // One that is not validated may always be sent back.
            if let Ok(transmit) = self.endpoint.retry(incoming, room) {
                queue(outbox, &transmit, peer);
            }
            return;
        }
        let client = incoming.remote_address();
        // One whom nobody named as a proxy could name any client to get around its bound.
        let is_named = |proxies: &Arc<Proxies>| proxies.policy().trusts(peer);
        let counted = match self.proxies.as_ref().is_some_and(is_named) {
            true => client,
            false => peer,
        };
        let Some(place) = Place::take(&env, Client::of(counted.ip())) else {
            let transmit = self.endpoint.refuse(incoming, room);
            return queue(outbox, &transmit, peer);
        };
        let instant = self.times.instant(now);
        let quic = terms.quic.clone();
        match self.endpoint.accept(incoming, instant, room, Some(quic)) {
            Ok((handle, quic)) => {
                self.connections.serial += 1;
                let serial = self.connections.serial;
                let mut connection = Connection::new(quic, handle, serial, terms, place, now);
                connection.ways.note(client, peer, client);
                self.connections.insert(handle.0, connection);
            }
            Err(refused) => {
                env.quic_counts.failed.inc();
                if let Some(transmit) = refused.response {
                    queue(outbox, &transmit, peer);
                }
            }
        }
    }

    /// Lets every connection that has something to do go on, and queues what it sends.
    fn work(&mut self, now: Nanos, outbox: &mut Outbox) {
        while let Some(handle) = self.connections.marked.pop() {
            let Some(mut connection) = self.connections.take(handle) else {
                continue;
            };
            connection.is_marked = false;
            let was_shaking = connection.is_shaking();
            self.let_go_on(now, &mut connection);
            self.transmit(now, &mut connection, outbox);
            if was_shaking && !connection.is_shaking() {
                self.connections.shaking -= 1;
            }
            if connection.quic.is_drained() {
                self.connections.forget(handle, &connection);
            } else {
                self.connections.arm(handle, &mut connection, &self.times);
                self.connections.put_back(handle, connection);
            }
        }
    }

    fn let_go_on(&mut self, now: Nanos, connection: &mut Connection) {
        let instant = self.times.instant(now);
        if connection
            .quic
            .poll_timeout()
            .is_some_and(|at| at <= instant)
        {
            connection.quic.handle_timeout(instant);
        }
        self.session.peer = connection.quic.remote_address();
        if let Some(local) = connection.quic.local_ip() {
            self.session.local.set_ip(local);
        }
        let mut turn = Turn {
            session: &mut self.session,
            late: &self.late,
            now,
            instant,
        };
        connection.go_on(&mut turn);
        while let Some(event) = connection.quic.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(connection.handle, event) {
                connection.quic.handle_event(event);
            }
        }
    }

    fn transmit(&mut self, now: Nanos, connection: &mut Connection, outbox: &mut Outbox) {
        let instant = self.times.instant(now);
        loop {
            let room = room(outbox, &self.socket);
            let Some(transmit) = connection.quic.poll_transmit(instant, self.segments, room) else {
                return;
            };
            if let Some(peer) = connection.ways.to(transmit.destination) {
                queue(outbox, &transmit, peer);
            }
        }
    }

    fn flush(&mut self, outbox: &mut Outbox) {
        outbox.flush(&self.socket);
        let flushed = outbox.outcome();
        if flushed.no_segments {
            self.segments = 1;
        }
        if flushed.lost > 0 {
            let lost = &self.session.env.quic_counts.lost;
            lost.add(u64::try_from(flushed.lost).unwrap_or(u64::MAX));
        }
    }

    /// Sets the alarm; `true` if it has rung.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(&(next, _)) = self.connections.timers.first() else {
            return false;
        };
        let deadline = self.alarm.deadline();
        // One that is too early rings once more than needed; one that has rung is set anew.
        if next < deadline || deadline <= clock::now_ns() {
            self.alarm = runtime::sleep_until(next);
        }
        Pin::new(&mut self.alarm).poll(cx).is_ready()
    }
}

// === impl Connections ===

impl Connections {
    fn at(&mut self, handle: usize) -> Option<&mut Connection> {
        self.slots.get_mut(handle)?.as_deref_mut()
    }

    fn take(&mut self, handle: usize) -> Option<Box<Connection>> {
        self.slots.get_mut(handle)?.take()
    }

    fn put_back(&mut self, handle: usize, connection: Box<Connection>) {
        if let Some(slot) = self.slots.get_mut(handle) {
            *slot = Some(connection);
        }
    }

    fn insert(&mut self, handle: usize, connection: Connection) {
        if self.slots.len() <= handle {
            self.slots.resize_with(handle + 1, || None);
        }
        self.put_back(handle, Box::new(connection));
        self.count += 1;
        self.shaking += 1;
        self.mark(handle);
    }

    /// One that has been taken out and is not put back.
    fn forget(&mut self, handle: usize, connection: &Connection) {
        self.timers.remove(&(connection.armed, handle));
        self.count -= 1;
    }

    fn mark(&mut self, handle: usize) {
        if let Some(connection) = self.at(handle)
            && !connection.is_marked
        {
            connection.is_marked = true;
            self.marked.push(handle);
        }
    }

    fn mark_all(&mut self) {
        (0..self.slots.len()).for_each(|handle| self.mark(handle));
    }

    fn mark_due(&mut self, now: Nanos) {
        while let Some(&(at, handle)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            if let Some(connection) = self.at(handle) {
                connection.armed = Nanos::MAX;
            }
            self.mark(handle);
        }
    }

    /// A deadline that moved away is left as it is: with each packet it would have to be set anew.
    fn arm(&mut self, handle: usize, connection: &mut Connection, times: &Times) {
        let quic = connection.quic.poll_timeout();
        let quic = quic.map_or(Nanos::MAX, |instant| times.nanos(instant));
        let next = quic.min(connection.deadline());
        if next < connection.armed {
            self.timers.remove(&(connection.armed, handle));
            self.timers.insert((next, handle));
            connection.armed = next;
        }
    }
}

// === impl Times ===

impl Times {
    fn new() -> Times {
        Times {
            // Read once; from then on it is our clock that counts.
            #[allow(clippy::disallowed_methods)]
            instant: Instant::now(),
            at: clock::now_ns(),
        }
    }

    fn instant(&self, now: Nanos) -> Instant {
        self.instant + Duration::from_nanos(now.saturating_sub(self.at))
    }

    /// Rounded up, so that what is due at an instant is due at the reading that stands for it.
    fn nanos(&self, instant: Instant) -> Nanos {
        let since = instant.saturating_duration_since(self.instant);
        let since = u64::try_from(since.as_nanos()).unwrap_or(Nanos::MAX);
        self.at.saturating_add(since)
    }
}

// === what leaves ===

/// An empty buffer of the outbox; sends what is in it if there is none.
fn room<'a>(outbox: &'a mut Outbox, socket: &Socket) -> &'a mut Vec<u8> {
    if outbox.is_full() {
        // What the kernel does not take is lost on the way, as far as the protocol can tell.
        outbox.flush(socket);
    }
    outbox.room()
}

/// `peer` takes it: the client to whom it is addressed, or a proxy in front.
fn queue(outbox: &mut Outbox, transmit: &Transmit, peer: SocketAddr) {
    let way = Way {
        peer,
        local: transmit.src_ip,
        ecn: transmit.ecn.map_or(0, |ecn| ecn as u8),
    };
    outbox.queue(way, transmit.size, transmit.segment_size);
}

/// Batches in a row of one socket between two turns of the other tasks.
const TURNS_IN_A_ROW: usize = 4;

thread_local! {
    /// Buffers of this thread's endpoints, used between two awaits only.
    static IO: RefCell<(Inbox, Outbox)> = RefCell::default();
}
