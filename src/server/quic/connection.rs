//! One QUIC connection: requests come on streams of their own, and so do replies.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

mod answers;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::{
    ConnectionHandle, Dir, Event, FinishError, ReadError, StreamEvent, StreamId, VarInt, WriteError,
};

use super::doq;
use super::late::Late;
use super::terms::Terms;
use super::ways::Ways;
use crate::corefile::address::Scheme;
use crate::limits;
use crate::plugin::Proto;
use crate::runtime::clock::Nanos;
use crate::server::clients::Client;
use crate::server::session::Session;
use crate::server::tasks::Env;
use crate::transport::h3;

/// What a connection has at hand while it goes on.
pub(super) struct Turn<'a> {
    /// Its addresses are those of the connection.
    pub(super) session: &'a mut Session,
    pub(super) late: &'a Rc<Late>,
    pub(super) now: Nanos,
    pub(super) instant: Instant,
}

/// See the module.
pub(super) struct Connection {
    pub(super) quic: quinn_proto::Connection,
    pub(super) handle: ConnectionHandle,
    pub(super) serial: u64,
    /// The driver has it on its list.
    pub(super) is_marked: bool,
    /// When the driver's timer rings; `Nanos::MAX` without one.
    pub(super) armed: Nanos,
    pub(super) ways: Ways,
    terms: Rc<Terms>,
    protocol: Protocol,
    stage: Stage,
    /// What it counts against; given back when the connection is over, not when the last packet has been sent.
    place: Option<Place>,
    /// Unfinished requests by stream: no more than the streams that are granted, and `limits::QUIC_PARTIAL_OCTETS` in all.
    partial: BTreeMap<StreamId, Partial>,
    partial_octets: usize,
    /// The earliest deadline of an unfinished request, or earlier.
    read_by: Nanos,
    /// Whole requests in early data that must not be answered before the handshake is done.
    early: Vec<(StreamId, Vec<u8>)>,
    /// What flow control holds of replies, by stream.
    unsent: BTreeMap<StreamId, Vec<u8>>,
    unsent_octets: usize,
    /// When the client must have taken something of it.
    write_by: Nanos,
    /// Streams that have something to read for which there is no room now.
    unread: VecDeque<StreamId>,
    /// Queries that wait: `0 <= in_flight <= limits::QUIC_QUERIES_IN_FLIGHT`.
    in_flight: usize,
}

enum Protocol {
    Doq,
    H3(Box<h3::Peer>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The handshake is under way, until then.
    Shaking(Nanos),
    Open,
    /// Nothing is read or written any more.
    Over,
}

struct Partial {
    octets: Vec<u8>,
    /// When it must be whole.
    by: Nanos,
}

/// How far a stream was read.
enum Progress {
    /// Its end has come, after these octets.
    Whole,
    More,
    /// Reset, or read to its end before.
    Gone,
}

/// A connection in the counts of its core and client, and once it is open of its listener.
pub(super) struct Place {
    env: Rc<Env>,
    client: Client,
    listener: Option<Arc<AtomicUsize>>,
}

// === impl Connection ===

impl Connection {
    pub(super) fn new(
        quic: quinn_proto::Connection,
        handle: ConnectionHandle,
        serial: u64,
        terms: Rc<Terms>,
        place: Place,
        now: Nanos,
    ) -> Connection {
        Connection {
            quic,
            handle,
            serial,
            is_marked: false,
            armed: Nanos::MAX,
            ways: Ways::default(),
            protocol: match terms.scheme {
                Scheme::Https3 => Protocol::H3(Box::new(h3::Peer::new(h3::End::Client))),
                _ => Protocol::Doq,
            },
            stage: Stage::Shaking(after(now, terms.timeouts.read)),
            terms,
            place: Some(place),
            partial: BTreeMap::new(),
            partial_octets: 0,
            read_by: Nanos::MAX,
            early: Vec::new(),
            unsent: BTreeMap::new(),
            unsent_octets: 0,
            write_by: Nanos::MAX,
            unread: VecDeque::new(),
            in_flight: 0,
        }
    }

    pub(super) fn is_shaking(&self) -> bool {
        matches!(self.stage, Stage::Shaking(_))
    }

    /// When it has to go on even if nothing arrives, apart from the timers of QUIC.
    pub(super) fn deadline(&self) -> Nanos {
        match self.stage {
            Stage::Shaking(by) => by.min(self.read_by),
            Stage::Open => self.read_by.min(self.write_by),
            Stage::Over => Nanos::MAX,
        }
    }

    /// Takes what has happened, answers what can be answered, ends what has taken too long.
    pub(super) fn go_on(&mut self, turn: &mut Turn<'_>) {
        turn.session.proto = match self.protocol {
            Protocol::Doq => Proto::Quic,
            Protocol::H3(_) => Proto::Https3,
        };
        while let Some(event) = self.quic.poll() {
            self.take(event, turn);
        }
        while self.has_room()
            && let Some(id) = self.unread.pop_front()
        {
            self.read(id, turn);
        }
        self.end_overdue(turn);
        self.grant_streams();
        let is_idle = self.in_flight == 0 && self.unsent.is_empty() && self.partial.is_empty();
        if is_idle && self.stage == Stage::Open && turn.session.accepting.listener.get().is_none() {
            let code = self.codes().none;
            self.close(turn, code, "the listener is gone");
        }
    }

    fn take(&mut self, event: Event, turn: &mut Turn<'_>) {
        match event {
            Event::ConnectionLost { .. } => {
                if self.is_shaking() {
                    turn.session.env.quic_counts.failed.inc();
                }
                self.over();
            }
            // What was under way when it was closed.
            _ if self.stage == Stage::Over => {}
            Event::Connected => self.connected(turn),
            Event::Stream(StreamEvent::Opened { dir }) => {
                while let Some(id) = self.quic.streams().accept(dir) {
                    self.readable(id, turn);
                }
            }
            Event::Stream(StreamEvent::Readable { id }) => self.readable(id, turn),
            Event::Stream(StreamEvent::Writable { id }) => {
                if let Some(rest) = self.unsent.remove(&id) {
                    self.unsent_octets -= rest.len();
                    self.write_by = Nanos::MAX;
                    self.send(id, &rest);
                }
            }
            Event::Stream(StreamEvent::Stopped { id, error_code }) => {
                self.forget_unsent(id);
                // Already reset: then there is nothing to say.
                let _ = self.quic.send_stream(id).reset(error_code);
            }
            _ => {}
        }
    }

    fn connected(&mut self, turn: &mut Turn<'_>) {
        self.stage = Stage::Open;
        turn.session.env.quic_counts.done.inc();
        let load = turn.session.with_listener(|listener| {
            let load = &listener.load;
            (load.connections.clone(), load.connections_max)
        });
        let has_place = match (load, &mut self.place) {
            (Some((connections, max)), Some(place)) => place.take_of_listener(connections, max),
            _ => true,
        };
        if !has_place {
            turn.session.env.quic.refused_by_listener();
            let code = self.codes().too_many;
            return self.close(turn, code, "too many connections");
        }
        if let Protocol::H3(_) = self.protocol {
            self.open_control();
        }
        for (id, request) in std::mem::take(&mut self.early) {
            self.partial_octets -= request.len();
            self.request(id, &request, turn);
        }
    }

    fn readable(&mut self, id: StreamId, turn: &mut Turn<'_>) {
        if id.dir() == Dir::Uni {
            self.read_side_stream(id, turn);
        } else if self.has_room() {
            self.read(id, turn);
        } else if !self.unread.contains(&id) {
            self.unread.push_back(id);
        }
    }

    /// Whether one more reply may be made now.
    fn has_room(&self) -> bool {
        self.stage != Stage::Over
            && self.in_flight < limits::QUIC_QUERIES_IN_FLIGHT
            && self.unsent_octets < limits::QUIC_UNSENT_OCTETS
    }

    /// Reads what there is of a request, and answers it if it is whole.
    fn read(&mut self, id: StreamId, turn: &mut Turn<'_>) {
        let mut partial = self.partial.remove(&id);
        if let Some(partial) = &partial {
            self.partial_octets -= partial.octets.len();
        }
        let mut first = None;
        let most = self.request_octets_max();
        let room = limits::QUIC_PARTIAL_OCTETS
            .saturating_sub(self.partial_octets)
            .min(most);
        let mut is_too_long = false;
        let progress = self.chunks(id, |chunk| {
            // A request in one piece, which most are, is answered where it lies.
            if partial.is_none() && first.is_none() {
                first = Some(chunk);
                return true;
            }
            let partial = partial.get_or_insert_with(|| Partial {
                octets: Vec::new(),
                by: 0,
            });
            partial.octets.extend(first.take().iter().flatten());
            partial.octets.extend(&chunk);
            is_too_long = partial.octets.len() > room;
            !is_too_long
        });
        let octets = first
            .as_deref()
            .or(partial.as_ref().map(|partial| &partial.octets[..]));
        let octets = octets.unwrap_or_default();
        match progress {
            Progress::Gone => {}
            _ if is_too_long || octets.len() > room => {
                turn.session.env.quic_counts.long.inc();
                self.refuse(id);
            }
            Progress::Whole => self.request(id, octets, turn),
            Progress::More => {
                let by = match &partial {
                    Some(Partial { by: by @ 1.., .. }) => *by,
                    _ => after(turn.now, self.terms.timeouts.read),
                };
                let octets = match partial {
                    Some(partial) => partial.octets,
                    None => octets.to_vec(),
                };
                self.partial_octets += octets.len();
                self.read_by = self.read_by.min(by);
                self.partial.insert(id, Partial { octets, by });
            }
        }
    }

    /// Hands over what can be read of a stream, in order, until `take` says no.
    fn chunks(&mut self, id: StreamId, mut take: impl FnMut(Bytes) -> bool) -> Progress {
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else {
            return Progress::Gone;
        };
        let progress = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => {
                    if !take(chunk.bytes) {
                        break Progress::More;
                    }
                }
                Ok(None) => break Progress::Whole,
                Err(ReadError::Blocked) => break Progress::More,
                Err(ReadError::Reset(_)) => break Progress::Gone,
            }
        };
        // The driver polls for packets after every turn.
        let _ = chunks.finalize();
        progress
    }

    fn request_octets_max(&self) -> usize {
        match self.protocol {
            Protocol::Doq => doq::STREAM_OCTETS,
            Protocol::H3(_) => h3::STREAM_OCTETS,
        }
    }

    // === sending ===

    fn write(&mut self, id: StreamId, make: impl FnOnce(&mut Vec<u8>)) {
        OUT.with_borrow_mut(|out| {
            out.clear();
            make(out);
            self.send(id, out);
        });
    }

    /// Sends the last octets of a stream, or keeps what flow control holds.
    fn send(&mut self, id: StreamId, mut octets: &[u8]) {
        let mut stream = self.quic.send_stream(id);
        while !octets.is_empty() {
            match stream.write(octets) {
                Ok(count) => octets = octets.get(count..).unwrap_or_default(),
                Err(WriteError::Blocked) => {
                    self.unsent_octets += octets.len();
                    self.unsent.insert(id, octets.to_vec());
                    return;
                }
                // The client wants it no more.
                Err(WriteError::Stopped(code)) => return drop(stream.reset(code)),
                Err(WriteError::ClosedStream) => return,
            }
        }
        if let Err(FinishError::Stopped(code)) = stream.finish() {
            let _ = stream.reset(code);
        }
    }

    /// Ends a stream without a reply, whatever of it is still to come.
    fn reset(&mut self, id: StreamId, code: u32) {
        let code = VarInt::from_u32(code);
        // Either side may be over already.
        let _ = self.quic.recv_stream(id).stop(code);
        let _ = self.quic.send_stream(id).reset(code);
    }

    /// Ends a stream that asks too much of us.
    fn refuse(&mut self, id: StreamId) {
        let code = self.codes().busy;
        self.reset(id, code);
    }

    fn forget_unsent(&mut self, id: StreamId) {
        if let Some(rest) = self.unsent.remove(&id) {
            self.unsent_octets -= rest.len();
        }
    }

    // === bounds ===

    fn end_overdue(&mut self, turn: &mut Turn<'_>) {
        if self.unsent.is_empty() {
            self.write_by = Nanos::MAX;
        } else if self.write_by == Nanos::MAX {
            self.write_by = after(turn.now, self.terms.timeouts.write);
        }
        let is_late = match self.stage {
            Stage::Shaking(by) => by <= turn.now,
            Stage::Open => self.write_by <= turn.now,
            Stage::Over => false,
        };
        if is_late {
            if self.is_shaking() {
                turn.session.env.quic_counts.failed.inc();
            }
            let code = self.codes().busy;
            return self.close(turn, code, "too slow");
        }
        if self.read_by > turn.now {
            return;
        }
        let overdue: Vec<StreamId> = self
            .partial
            .iter()
            .filter_map(|(id, partial)| (partial.by <= turn.now).then_some(*id))
            .collect();
        for id in overdue {
            if let Some(partial) = self.partial.remove(&id) {
                self.partial_octets -= partial.octets.len();
            }
            turn.session.env.quic_counts.slow.inc();
            self.refuse(id);
        }
        let deadlines = self.partial.values().map(|partial| partial.by);
        self.read_by = deadlines.min().unwrap_or(Nanos::MAX);
    }

    /// Room is kept for every stream that is granted, so a client gets many when it uses many.
    fn grant_streams(&mut self) {
        let granted = self.quic.max_concurrent_streams(Dir::Bi);
        let is_open = self.stage == Stage::Open;
        if is_open
            && granted < self.terms.streams_max
            && self.quic.streams().remote_open_streams(Dir::Bi) * 2 >= granted
        {
            let more = (granted * 2).min(self.terms.streams_max);
            // limits::QUIC_STREAMS fits.
            let more = VarInt::from_u64(more).unwrap_or(VarInt::MAX);
            self.quic.set_max_concurrent_streams(Dir::Bi, more);
        }
    }

    // === HTTP/3 ===

    fn open_control(&mut self) {
        let Some(id) = self.quic.streams().open(Dir::Uni) else {
            // A client that grants no stream of its three gets no settings; all of ours are defaults but one that is advice.
            return;
        };
        let mut stream = self.quic.send_stream(id);
        let _ = stream.write(h3::SETTINGS);
    }

    fn read_side_stream(&mut self, id: StreamId, turn: &mut Turn<'_>) {
        let mut octets = Vec::new();
        let progress = self.chunks(id, |chunk| {
            octets.extend(&chunk);
            true
        });
        let Protocol::H3(peer) = &mut self.protocol else {
            return;
        };
        let is_over = !matches!(progress, Progress::More);
        match peer.take(id, &octets, is_over) {
            Ok(h3::Side::Known) => {}
            Ok(h3::Side::Unknown) => {
                let code = VarInt::from_u32(h3::code::STREAM_CREATION_ERROR);
                // It may be over already.
                let _ = self.quic.recv_stream(id).stop(code);
            }
            Err((code, reason)) => self.close(turn, code, reason),
        }
    }

    // === the end ===

    fn codes(&self) -> Codes {
        match self.protocol {
            Protocol::Doq => Codes {
                none: doq::code::NO_ERROR,
                // CoreDNS's.
                too_many: doq::code::NO_ERROR,
                busy: doq::code::EXCESSIVE_LOAD,
            },
            Protocol::H3(_) => Codes {
                none: h3::code::NO_ERROR,
                too_many: h3::code::EXCESSIVE_LOAD,
                busy: h3::code::EXCESSIVE_LOAD,
            },
        }
    }

    fn close(&mut self, turn: &Turn<'_>, code: u32, reason: &'static str) {
        let reason = Bytes::from_static(reason.as_bytes());
        self.quic
            .close(turn.instant, VarInt::from_u32(code), reason);
        self.over();
    }

    /// Lets go of everything; QUIC itself sees to the last packets.
    fn over(&mut self) {
        self.stage = Stage::Over;
        self.place = None;
        self.partial = BTreeMap::new();
        self.unsent = BTreeMap::new();
        self.early = Vec::new();
        self.unread = VecDeque::new();
        (self.partial_octets, self.unsent_octets) = (0, 0);
        (self.read_by, self.write_by) = (Nanos::MAX, Nanos::MAX);
    }
}

/// Error codes of a protocol.
struct Codes {
    none: u32,
    too_many: u32,
    busy: u32,
}

// === impl Place ===

impl Place {
    /// `None`, and counted, if the core or the client has as many connections as it may.
    pub(super) fn take(env: &Rc<Env>, client: Client) -> Option<Place> {
        if !env.quic.enter(limits::QUIC_CONNECTIONS_PER_CORE) {
            return None;
        }
        // An address that is not proven may be forged, but there are few of those at a time.
        if !env.quic.claim(client) {
            env.quic.leave(None);
            return None;
        }
        Some(Place {
            env: env.clone(),
            client,
            listener: None,
        })
    }

    /// `false` if the listener has as many connections as it may; a `max` of 0 is no bound.
    fn take_of_listener(&mut self, connections: Arc<AtomicUsize>, max: usize) -> bool {
        let before = connections.fetch_add(1, Ordering::Relaxed);
        self.listener = Some(connections);
        max == 0 || before < max
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.env.quic.leave(Some(self.client));
        if let Some(connections) = &self.listener {
            connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn after(now: Nanos, patience: Duration) -> Nanos {
    now.saturating_add(u64::try_from(patience.as_nanos()).unwrap_or(Nanos::MAX))
}

thread_local! {
    /// Where replies are written before they become parts of a stream.
    static OUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
