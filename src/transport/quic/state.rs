//! What is known of a connection: what it carries, who waits, and why it is over.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

use quinn_proto::{
    Connection, ConnectionError, ConnectionHandle, Dir, Event, ReadError, StreamEvent, StreamId,
    TransportErrorCode, VarInt,
};

use super::{Codes, Failure, Loss};
use crate::limits;
use crate::runtime::clock::{MILLISECOND, Nanos};
use crate::transport::h3;

/// Shared by a client and its driver.
pub(super) struct State {
    pub(super) quic: Connection,
    pub(super) handle: ConnectionHandle,
    /// By stream: no more than the server grants.
    pub(super) exchanges: BTreeMap<StreamId, Exchange>,
    /// Who waits for the handshake, or until the server grants a stream: each task once.
    unopened: Vec<Waker>,
    pub(super) is_up: bool,
    /// Early data was refused: quinn-proto has forgotten the streams of then, and gives their numbers out again.
    pub(super) is_early_refused: bool,
    /// The server takes no more requests (GOAWAY).
    pub(super) is_leaving: bool,
    /// Why it is over.
    pub(super) over: Option<Loss>,
    /// When something was asked for the first time since a packet came.
    pub(super) asked_at: Option<Nanos>,
    /// Wakes the driver: there is something to send.
    pub(super) driver: Option<Waker>,
    pub(super) codes: Codes,
    /// The server's streams of one way; none where the protocol has none.
    side: Option<h3::Peer>,
}

/// A request on its stream.
pub(super) struct Exchange {
    /// What flow control holds of the request.
    pub(super) unsent: Vec<u8>,
    pub(super) reply: Vec<u8>,
    pub(super) reply_max: usize,
    pub(super) outcome: Option<Result<(), Failure>>,
    pub(super) waker: Option<Waker>,
}

impl State {
    pub(super) fn new(
        quic: Connection,
        handle: ConnectionHandle,
        codes: Codes,
        is_http3: bool,
    ) -> State {
        let mut state = State {
            quic,
            handle,
            exchanges: BTreeMap::new(),
            unopened: Vec::new(),
            is_up: false,
            is_early_refused: false,
            is_leaving: false,
            over: None,
            asked_at: None,
            driver: None,
            codes,
            side: is_http3.then(|| h3::Peer::new(h3::End::Server)),
        };
        if state.quic.has_0rtt() {
            state.open_control();
        }
        state
    }

    /// When silence means that nobody is there: packets are acknowledged at once, however long the replies take.
    pub(super) fn silent_at(&self) -> Option<Nanos> {
        let slow = self.quic.rtt().saturating_mul(SILENCE_ROUND_TRIPS);
        let patience = slow.max(Duration::from_nanos(
            limits::UPSTREAM_QUIC_SILENCE_MS * MILLISECOND,
        ));
        let patience = u64::try_from(patience.as_nanos()).unwrap_or(Nanos::MAX);
        Some(self.asked_at?.saturating_add(patience))
    }

    pub(super) fn wake_driver(&self) {
        if let Some(waker) = &self.driver {
            waker.wake_by_ref();
        }
    }

    pub(super) fn wait_to_open(&mut self, waker: &Waker) {
        if !self.unopened.iter().any(|other| other.will_wake(waker)) {
            self.unopened.push(waker.clone());
        }
    }

    fn wake_unopened(&mut self) {
        self.unopened.drain(..).for_each(Waker::wake);
    }

    /// It is over: all that wait are told.
    pub(super) fn end(&mut self, loss: Loss) {
        let loss = self.over.get_or_insert(loss);
        for exchange in self.exchanges.values_mut() {
            exchange.end(Err(Failure::Lost(loss.clone())));
        }
        self.wake_unopened();
    }

    /// The server, or we, broke the protocol.
    pub(super) fn abort(&mut self, code: u32, reason: &str) {
        self.codes.close = code;
        self.end(Loss::Other(reason.into()));
    }

    /// Opens the control stream of HTTP/3, which says nothing but our settings.
    fn open_control(&mut self) {
        if self.side.is_none() {
            return;
        }
        // A server that grants no stream gets no settings; all of ours are defaults but one that is advice.
        if let Some(id) = self.quic.streams().open(Dir::Uni) {
            let _ = self.quic.send_stream(id).write(h3::SETTINGS);
        }
    }

    pub(super) fn send_more(&mut self, id: StreamId) {
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return;
        };
        let mut stream = self.quic.send_stream(id);
        while !exchange.unsent.is_empty() {
            match stream.write(&exchange.unsent) {
                Ok(count) => drop(exchange.unsent.drain(..count)),
                // Blocked: it goes on when the server lets it. Stopped: the reply may come all the same.
                Err(_) => return,
            }
        }
        // Stopped, or finished before.
        let _ = stream.finish();
    }

    fn read(&mut self, id: StreamId) {
        if id.dir() == Dir::Uni {
            return self.read_side(id);
        }
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            // It was given up, and stopped.
            return;
        };
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else {
            return;
        };
        loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk))
                    if exchange.reply.len() + chunk.bytes.len() <= exchange.reply_max =>
                {
                    exchange.reply.extend(&chunk.bytes);
                }
                Ok(Some(_)) => break exchange.end(Err(Failure::TooLong)),
                Ok(None) => break exchange.end(Ok(())),
                Err(ReadError::Reset(code)) => {
                    break exchange.end(Err(Failure::Reset(code.into_inner())));
                }
                Err(ReadError::Blocked) => break,
            }
        }
        // The driver sends after every turn.
        let _ = chunks.finalize();
    }

    /// Reads a stream of one way: settings, GOAWAY, and what must not come.
    fn read_side(&mut self, id: StreamId) {
        let mut octets = Vec::new();
        let mut is_over = true;
        let mut stream = self.quic.recv_stream(id);
        if let Ok(mut chunks) = stream.read(true) {
            loop {
                match chunks.next(usize::MAX) {
                    Ok(Some(chunk)) => octets.extend(&chunk.bytes),
                    Err(ReadError::Blocked) => break is_over = false,
                    Ok(None) | Err(ReadError::Reset(_)) => break,
                }
            }
            let _ = chunks.finalize();
        }
        let Some(side) = &mut self.side else {
            return;
        };
        match side.take(id, &octets, is_over) {
            Ok(h3::Side::Known) => {}
            Ok(h3::Side::Unknown) => {
                let code = VarInt::from_u32(h3::code::STREAM_CREATION_ERROR);
                // It may be over already.
                let _ = self.quic.recv_stream(id).stop(code);
            }
            Err((code, reason)) => return self.abort(code, reason),
        }
        if let Some(first) = side.goaway() {
            self.leave(first);
        }
    }

    /// The server looks at no request from that stream on (RFC 9114 section 5.2).
    fn leave(&mut self, first: u64) {
        self.is_leaving = true;
        for (id, exchange) in &mut self.exchanges {
            if u64::from(VarInt::from(*id)) >= first {
                exchange.end(Err(Failure::Refused));
            }
        }
        self.wake_unopened();
    }

    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::Connected => {
                self.is_up = true;
                let had_early = self.quic.has_0rtt();
                self.is_early_refused = had_early && !self.quic.accepted_0rtt();
                if !had_early || self.is_early_refused {
                    self.open_control();
                }
                if self.is_early_refused {
                    // Each asks again, over this connection.
                    for exchange in std::mem::take(&mut self.exchanges).into_values() {
                        exchange.waker.into_iter().for_each(Waker::wake);
                    }
                }
                self.wake_unopened();
            }
            Event::ConnectionLost { reason } => self.end(loss(reason)),
            Event::Stream(StreamEvent::Opened { dir }) => {
                while let Some(id) = self.quic.streams().accept(dir) {
                    self.read(id);
                }
            }
            Event::Stream(StreamEvent::Readable { id }) => self.read(id),
            Event::Stream(StreamEvent::Writable { id }) => self.send_more(id),
            Event::Stream(StreamEvent::Available { .. }) => self.wake_unopened(),
            _ => {}
        }
    }
}

impl Exchange {
    pub(super) fn new(request: &[u8], reply_max: usize) -> Exchange {
        Exchange {
            unsent: request.to_vec(),
            reply: Vec::new(),
            reply_max,
            outcome: None,
            waker: None,
        }
    }

    fn end(&mut self, outcome: Result<(), Failure>) {
        self.outcome.get_or_insert(outcome);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

fn loss(error: ConnectionError) -> Loss {
    // Alerts of TLS are codes of QUIC (RFC 9001 section 4.8).
    let alert = |code: TransportErrorCode| match u64::from(code) {
        code @ 0x100..0x200 => Some((code & 0xff) as u8),
        _ => None,
    };
    match &error {
        ConnectionError::TimedOut => Loss::Silent,
        ConnectionError::TransportError(error) if alert(error.code).is_some() => {
            Loss::Tls(error.reason.as_str().into())
        }
        ConnectionError::ConnectionClosed(close) => match alert(close.error_code) {
            Some(alert) => Loss::Alert(alert),
            None => Loss::Other(error.to_string().into()),
        },
        _ => Loss::Other(error.to_string().into()),
    }
}

/// Round trips without a packet after which nobody is there: several probes of QUIC's were lost by then.
const SILENCE_ROUND_TRIPS: u32 = 8;
