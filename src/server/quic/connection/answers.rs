//! From whole requests to replies, at once or late.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::borrow::Cow;

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};
use quinn_proto::{StreamId, VarInt};

use super::{Connection, Protocol, Stage, Turn};
use crate::limits;
use crate::server::doh::{self, Answered, Form, Wants};
use crate::server::quic::doq;
use crate::server::quic::late::{To, Worker};
use crate::server::session::{Outcome, Waits};
use crate::transport::h3;

impl Connection {
    /// Answers a whole request.
    pub(super) fn request(&mut self, id: StreamId, octets: &[u8], turn: &mut Turn<'_>) {
        match self.protocol {
            Protocol::Doq => match doq::message(octets) {
                Ok(message) => self.ask(id, message, octets, turn),
                Err(reason) => self.close(turn, doq::code::PROTOCOL_ERROR, reason),
            },
            Protocol::H3(_) => match h3::request::read(octets) {
                Ok((head, body)) => self.serve(id, &head, &body, octets, turn),
                Err(h3::Fault::Stream(code)) => self.reset(id, code),
                Err(h3::Fault::Connection(code, reason)) => self.close(turn, code, reason),
            },
        }
    }

    /// Answers a query over DoQ; `request` is what it stood in, to come again with.
    fn ask(&mut self, id: StreamId, message: &[u8], request: &[u8], turn: &mut Turn<'_>) {
        if self.is_too_early(id, message, request) {
            return;
        }
        let waits = turn.session.ask(message, |outcome| {
            match outcome {
                Outcome::Waits(waits) => return Some(waits),
                Outcome::Reply(reply) => self.write(id, |out| doq::write(reply, out)),
                Outcome::Silent => self.reset(id, doq::code::INTERNAL_ERROR),
                Outcome::Rejected(_) => {
                    let code = VarInt::from_u32(doq::code::PROTOCOL_ERROR);
                    let reason = Bytes::from_static(b"no query that is served");
                    self.quic.close(turn.instant, code, reason);
                    self.over();
                }
            }
            None
        });
        if let Some(waits) = waits {
            self.wait_for(id, Form::Wire, waits, turn);
        }
    }

    /// Answers a request over HTTP/3.
    fn serve(
        &mut self,
        id: StreamId,
        head: &Parts,
        body: &[u8],
        request: &[u8],
        turn: &mut Turn<'_>,
    ) {
        let (form, message) = match doh::wants(head, self.terms.tune.doh_json) {
            Wants::Ask(form, message) => (form, Cow::Owned(message)),
            Wants::Body if body.len() <= limits::MESSAGE_OCTETS => {
                (Form::Wire, Cow::Borrowed(body))
            }
            Wants::Body => {
                let refusal = doh::error(StatusCode::BAD_REQUEST, "request body too large");
                return self.respond(id, &refusal);
            }
            Wants::Refuse(status, text) => return self.respond(id, &doh::error(status, text)),
        };
        if self.is_too_early(id, &message, request) {
            return;
        }
        let peer = turn.session.peer;
        let proxies = &self.terms.tune.doh_trusted_proxies;
        if let Some(client) = doh::client(&head.headers, peer, proxies) {
            turn.session.peer = client;
        }
        let answered = doh::ask(turn.session, form, &message);
        turn.session.peer = peer;
        match answered {
            Answered::Now(response) => self.respond(id, &response),
            Answered::Later(waits) => self.wait_for(id, form, waits, turn),
        }
    }

    fn respond(&mut self, id: StreamId, response: &Response<Bytes>) {
        self.terms.responses.count(response.status());
        self.write(id, |out| h3::response::write(response, out));
    }

    /// Keeps a request until the handshake is done, if asking it twice could do more than asking it once.
    fn is_too_early(&mut self, id: StreamId, message: &[u8], request: &[u8]) -> bool {
        let waits = self.is_shaking() && !doq::is_replayable(message);
        if waits {
            self.partial_octets += request.len();
            self.early.push((id, request.to_vec()));
        }
        waits
    }

    fn wait_for(&mut self, stream: StreamId, form: Form, waits: Waits, turn: &mut Turn<'_>) {
        let worker = turn.session.with_listener(|listener| {
            Worker::take(&listener.load.workers, listener.load.workers_max)
        });
        let Some(worker) = worker.flatten() else {
            turn.session.env.quic_counts.busy.inc();
            let code = self.codes().busy;
            return self.reset(stream, code);
        };
        self.in_flight += 1;
        let to = To {
            handle: self.handle.0,
            serial: self.serial,
            stream,
            form,
        };
        turn.late.wait_for(to, waits, worker);
    }

    /// Takes a reply that came late, or the news that there is none.
    pub(in crate::server::quic) fn reply(&mut self, to: To, reply: Option<Vec<u8>>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match (&self.protocol, reply) {
            _ if self.stage == Stage::Over => {}
            (Protocol::Doq, Some(reply)) => self.write(to.stream, |out| doq::write(&reply, out)),
            (Protocol::Doq, None) => self.reset(to.stream, doq::code::INTERNAL_ERROR),
            (Protocol::H3(_), reply) => {
                self.respond(to.stream, &doh::late(to.form, reply));
            }
        }
    }
}
