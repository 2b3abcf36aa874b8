//! An HTTP/2 connection: one task that reads, answers and writes. Only a query that waits has a task of its own.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::future::{Future, poll_fn};
use std::mem;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response, StatusCode};

use super::{Site, grpc};
use crate::limits;
use crate::runtime::clock::{self, Nanos};
use crate::runtime::{self, Sleep};
use crate::server::doh::{self, Answered, Form, Wants};
use crate::server::http_counts::Refused;
use crate::server::session::{Outcome, Waits};
use crate::server::stream::after;
use crate::server::stream::late::Late;
use crate::transport::http_forms::GRPC_BODY_OCTETS;
use crate::transport::http_io::HttpIo;

/// What is spoken over HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Doh,
    Grpc {
        /// Calls that may be open; 0 is no bound.
        streams_max: usize,
    },
}

/// Answers the requests of a connection until it ends.
pub(super) async fn serve(site: Site, io: HttpIo, service: Service) {
    // Not for IPv6 peers alone: a proxy may come by IPv4 for a client that wrote the proxy's own address. It costs little, since all but
    // the authority is passed over by its length.
    io.mend_authorities();
    let mut shaking = pin!(builder(service).handshake::<_, Bytes>(io.clone()));
    let shaken = poll_fn(|cx| {
        io.begin_turn();
        let polled = shaking.as_mut().poll(cx);
        match io.poll_send(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(None),
            _ if io.is_ended() => Poll::Ready(None),
            _ => polled.map(Some),
        }
    });
    let http = match runtime::timeout(site.timeouts.read, shaken).await {
        Ok(Some(Ok(http))) => http,
        outcome => {
            let reason = match outcome {
                Err(_) => Refused::Timeout,
                _ => Refused::Protocol,
            };
            return site.session.env.http.refused(reason);
        }
    };
    let now = clock::now_ns();
    let mut connection = Box::pin(Connection {
        read_by: after(now, site.timeouts.read),
        write_by: None,
        alarm: runtime::sleep_until(after(now, site.timeouts.read)),
        late: Rc::default(),
        bodies: Vec::new(),
        stuck: Vec::new(),
        state: State::Open,
        now,
        http,
        io,
        service,
        site,
    });
    poll_fn(|cx| connection.poll(cx)).await;
    // A peer that neither reads nor ends has had its time.
    let end = poll_fn(|cx| connection.io.poll_end(cx));
    let _ = runtime::timeout(connection.site.timeouts.read, end).await;
}

fn builder(service: Service) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(streams_max(service) as u32)
        .max_header_list_size(limits::HTTP_HEADER_OCTETS as u32)
        .initial_window_size(limits::HTTP_STREAM_WINDOW)
        .initial_connection_window_size(limits::HTTP_CONNECTION_WINDOW)
        .max_send_buffer_size(limits::HTTP_STUCK_OCTETS)
        .max_concurrent_reset_streams(limits::HTTP_RESETS_REMEMBERED)
        .max_local_error_reset_streams(Some(limits::HTTP_RESETS_FOR_ERRORS))
        .max_pending_accept_reset_streams(limits::HTTP_RESETS_UNSEEN);
    builder
}

/// Requests that may be open, and queries that may wait: `1..=limits::GRPC_STREAMS`.
fn streams_max(service: Service) -> usize {
    match service {
        Service::Doh => limits::HTTP_STREAMS,
        Service::Grpc { streams_max: 0 } => limits::GRPC_STREAMS,
        Service::Grpc { streams_max } => streams_max.min(limits::GRPC_STREAMS),
    }
}

struct Connection {
    site: Site,
    service: Service,
    io: HttpIo,
    http: h2::server::Connection<HttpIo, Bytes>,
    /// Requests whose body is not whole yet: as many as streams may be open.
    bodies: Vec<Body>,
    /// Replies for which the peer gives no window: `limits::HTTP_STUCK_OCTETS` at most.
    stuck: Vec<Stuck>,
    late: Rc<Late<Vec<Done>>>,
    state: State,
    /// When this turn began.
    now: Nanos,
    /// When the next request is due.
    read_by: Nanos,
    /// When the peer must have taken what is to be sent; `None` while it keeps up.
    write_by: Option<Nanos>,
    /// Rings at the earliest of all that is due, or before: it is set anew only when it rings.
    alarm: Sleep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Requests under way are answered, and the peer knows that no more are taken.
    Closing,
    /// The last frames are on their way.
    Over,
}

/// A request that is coming in.
struct Body {
    recv: RecvStream,
    respond: SendResponse<Bytes>,
    client: Option<SocketAddr>,
    octets: Vec<u8>,
    /// When it must be whole.
    by: Nanos,
}

/// A reply that is going out.
struct Stuck {
    stream: SendStream<Bytes>,
    body: Bytes,
    trailers: Option<HeaderMap>,
    /// When it must be taken.
    by: Nanos,
}

/// A reply that waits no more.
struct Done {
    respond: SendResponse<Bytes>,
    form: Form,
    reply: Option<Vec<u8>>,
}

impl Connection {
    /// Goes on as far as it can; `Ready` when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.late.register(cx.waker());
        self.io.begin_turn();
        self.now = clock::now_ns();
        // A peer that does not take what there is gets nothing more.
        let is_writable = match self.send(cx) {
            Poll::Ready(Err(())) => return Poll::Ready(()),
            outcome => outcome.is_ready(),
        };
        if is_writable && self.state != State::Over {
            self.advance(cx);
            if let Poll::Ready(Err(())) = self.send(cx) {
                return Poll::Ready(());
            }
        }
        let is_done = match self.state {
            State::Over => true,
            _ => self.io.is_ended() && self.late.in_flight() == 0 && self.stuck.is_empty(),
        };
        if is_done && self.write_by.is_none() {
            return Poll::Ready(());
        }
        self.poll_alarm(cx)
    }

    /// Writes what was gathered.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        match self.io.poll_send(cx) {
            Poll::Ready(Ok(())) => {
                self.write_by = None;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(())),
            Poll::Pending => {
                let by = after(self.now, self.site.timeouts.write);
                self.write_by.get_or_insert(by);
                Poll::Pending
            }
        }
    }

    /// Reads, answers, and leaves what is to be written with `io`.
    fn advance(&mut self, cx: &mut Context<'_>) {
        if self.site.is_closed() && self.state == State::Open {
            self.state = State::Closing;
            self.http.graceful_shutdown();
        }
        let done = mem::take(&mut *self.late.left.borrow_mut());
        for done in done {
            self.answer_late(done);
        }
        loop {
            match self.http.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.take(request, respond, cx),
                Poll::Ready(Some(Err(error))) => {
                    self.count_error(&error);
                    self.state = State::Over;
                    return;
                }
                Poll::Ready(None) => {
                    self.state = State::Over;
                    return;
                }
                // Now that all frames are in: the rest of bodies, and windows for replies.
                Poll::Pending => {
                    if !self.poll_bodies(cx) && !self.unstick(cx) {
                        break;
                    }
                }
            }
        }
        if self.io.is_flooded() {
            self.end(Reason::ENHANCE_YOUR_CALM, Refused::Flood, cx);
        }
    }

    /// Ends the connection and tells why.
    fn end(&mut self, reason: Reason, refused: Refused, cx: &mut Context<'_>) {
        self.site.session.env.http.refused(refused);
        self.go_away(reason, cx);
    }

    fn go_away(&mut self, reason: Reason, cx: &mut Context<'_>) {
        self.state = State::Over;
        self.http.abrupt_shutdown(reason);
        // That writes the frame; there is nothing left to go wrong.
        let _ = self.http.poll_closed(cx);
    }

    fn count_error(&self, error: &h2::Error) {
        let refused = match error.reason() {
            Some(Reason::ENHANCE_YOUR_CALM) if error.is_library() => Refused::Flood,
            _ if error.is_library() => Refused::Protocol,
            // The connection broke, or the peer ended it.
            _ => return,
        };
        self.site.session.env.http.refused(refused);
    }

    // === requests ===

    fn take(
        &mut self,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        cx: &mut Context<'_>,
    ) {
        self.io.heard();
        self.read_by = after(self.now, self.site.timeouts.idle);
        let (head, recv) = request.into_parts();
        if self.service == Service::Doh {
            match doh::wants(&head, self.site.tune.doh_json) {
                Wants::Body => {}
                Wants::Ask(form, message) => {
                    return self.ask(self.site.client(&head), form, &message, respond);
                }
                Wants::Refuse(status, text) => {
                    let mut response = doh::error(status, text);
                    if head.method == Method::HEAD {
                        // RFC 9110 section 9.3.2: the length is told, and nothing follows.
                        self.site.responses.count(status);
                        response.body_mut().clear();
                        return self.finish(respond, response.map(drop));
                    }
                    return self.respond(respond, response);
                }
            }
        } else if let Err(response) = grpc::check(&head) {
            return self.finish(respond, response);
        }
        let body = Body {
            client: self.site.client(&head),
            recv,
            respond,
            octets: Vec::new(),
            by: after(self.now, self.site.timeouts.read),
        };
        if let Some(body) = self.poll_body(body, cx) {
            self.bodies.push(body);
        }
    }

    /// Goes on with the bodies that are coming in; whether there was one that is through.
    fn poll_bodies(&mut self, cx: &mut Context<'_>) -> bool {
        let bodies = mem::take(&mut self.bodies);
        let before = bodies.len();
        for body in bodies {
            if let Some(body) = self.poll_body(body, cx) {
                self.bodies.push(body);
            }
        }
        self.bodies.len() < before
    }

    /// Reads what there is of a body, and answers once it is whole; gives it back if it is not.
    fn poll_body(&mut self, mut body: Body, cx: &mut Context<'_>) -> Option<Body> {
        let longest = match self.service {
            Service::Doh => limits::MESSAGE_OCTETS,
            Service::Grpc { .. } => GRPC_BODY_OCTETS,
        };
        loop {
            let data = match body.recv.poll_data(cx) {
                Poll::Pending => return Some(body),
                Poll::Ready(Some(Ok(data))) => data,
                // Reset by the client.
                Poll::Ready(Some(Err(_))) => return None,
                Poll::Ready(None) => {
                    self.ask_body(&body.octets, body.client, body.respond);
                    return None;
                }
            };
            self.io.heard();
            if body.octets.len() + data.len() > longest {
                match self.service {
                    Service::Doh => self.respond(
                        body.respond,
                        doh::error(StatusCode::BAD_REQUEST, "request body too large"),
                    ),
                    Service::Grpc { .. } => self.finish(body.respond, grpc::too_long()),
                }
                return None;
            }
            if body.octets.is_empty() && body.recv.is_end_stream() {
                // All in one piece, as nearly always. Its window goes back with the stream.
                self.ask_body(&data, body.client, body.respond);
                return None;
            }
            body.octets.extend_from_slice(&data);
        }
    }

    fn ask_body(&mut self, body: &[u8], client: Option<SocketAddr>, respond: SendResponse<Bytes>) {
        if self.service == Service::Doh {
            return self.ask(client, Form::Wire, body, respond);
        }
        match grpc::message(body) {
            Ok(message) => self.call(message, respond),
            Err(response) => self.finish(respond, response),
        }
    }

    // === answers ===

    fn ask(
        &mut self,
        client: Option<SocketAddr>,
        form: Form,
        message: &[u8],
        respond: SendResponse<Bytes>,
    ) {
        match self.site.ask_for(client, form, message) {
            Answered::Now(response) => self.respond(respond, response),
            Answered::Later(waits) => self.wait(waits, form, respond),
        }
    }

    /// Answers a gRPC call.
    fn call(&mut self, message: &[u8], respond: SendResponse<Bytes>) {
        let session = self.site.session.clone();
        let mut respond = Some(respond);
        let waits = session.ask(message, |outcome| {
            let reply = match outcome {
                Outcome::Reply(reply) => Ok(grpc::reply(reply)),
                Outcome::Rejected(_) => Err(grpc::failure(
                    grpc::Status::InvalidArgument,
                    "the message is no query",
                )),
                Outcome::Silent => Err(no_reply()),
                Outcome::Waits(waits) => return Some(waits),
            };
            if let Some(respond) = respond.take() {
                self.reply_grpc(respond, reply);
            }
            None
        });
        if let (Some(waits), Some(respond)) = (waits, respond) {
            self.wait(waits, Form::Wire, respond);
        }
    }

    fn reply_grpc(
        &mut self,
        respond: SendResponse<Bytes>,
        reply: Result<(Response<()>, Bytes, HeaderMap), Response<()>>,
    ) {
        match reply {
            Ok((head, body, trailers)) => self.start(respond, head, body, Some(trailers)),
            Err(response) => self.finish(respond, response),
        }
    }

    fn wait(&mut self, waits: Waits, form: Form, mut respond: SendResponse<Bytes>) {
        // The client has as many streams; but those that it reset count until their query is done, or resets would be a way round.
        if self.late.in_flight() >= streams_max(self.service) {
            self.site.session.env.http.refused(Refused::Streams);
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        self.late.wait_for(waits, move |left, reply| {
            left.push(Done {
                respond,
                form,
                reply,
            });
        });
    }

    fn answer_late(&mut self, done: Done) {
        if self.service == Service::Doh {
            return self.respond(done.respond, doh::late(done.form, done.reply));
        }
        let reply = done.reply.as_deref().map(grpc::reply);
        self.reply_grpc(done.respond, reply.ok_or_else(no_reply));
    }

    /// A whole response of DNS over HTTPS.
    fn respond(&mut self, respond: SendResponse<Bytes>, response: Response<Bytes>) {
        self.site.responses.count(response.status());
        let (head, body) = response.into_parts();
        self.start(respond, Response::from_parts(head, ()), body, None);
    }

    /// A response without a body.
    fn finish(&mut self, mut respond: SendResponse<Bytes>, response: Response<()>) {
        // The client may have reset the stream, and then wants no answer.
        let _ = respond.send_response(response, true);
    }

    fn start(
        &mut self,
        mut respond: SendResponse<Bytes>,
        head: Response<()>,
        body: Bytes,
        trailers: Option<HeaderMap>,
    ) {
        // As above.
        let Ok(stream) = respond.send_response(head, false) else {
            return;
        };
        let mut reply = Stuck {
            stream,
            body,
            trailers,
            by: after(self.now, self.site.timeouts.write),
        };
        reply.stream.reserve_capacity(reply.body.len());
        if reply.go_on() {
            return;
        }
        let octets: usize = self.stuck.iter().map(|stuck| stuck.body.len()).sum();
        if octets + reply.body.len() > limits::HTTP_STUCK_OCTETS {
            self.site.session.env.http.refused(Refused::Unread);
            reply.stream.send_reset(Reason::CANCEL);
        } else {
            self.stuck.push(reply);
        }
    }

    /// Goes on with replies that had no window; whether some of it went out.
    fn unstick(&mut self, cx: &mut Context<'_>) -> bool {
        let before: usize = self.stuck.iter().map(|stuck| stuck.body.len()).sum();
        if before == 0 {
            return false;
        }
        self.stuck
            .retain_mut(|stuck| stuck.stream.poll_reset(cx).is_pending() && !stuck.go_on());
        let rest: usize = self.stuck.iter().map(|stuck| stuck.body.len()).sum();
        if rest < before {
            self.io.heard();
        }
        rest < before
    }

    // === time ===

    /// Ends what has taken too long.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(next) = self.next_due() else {
                // Its queries have deadlines of their own.
                return Poll::Pending;
            };
            if next < self.alarm.deadline() {
                self.alarm = runtime::sleep_until(next);
            }
            if Pin::new(&mut self.alarm).poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.now = clock::now_ns();
            if self.now < next {
                self.alarm = runtime::sleep_until(next);
            } else if self.write_by.is_some() {
                self.site.session.env.http.refused(Refused::Timeout);
                return Poll::Ready(());
            } else {
                self.expire(cx);
                if let Poll::Ready(outcome) = self.send(cx)
                    && (outcome.is_err() || self.state == State::Over)
                {
                    return Poll::Ready(());
                }
            }
        }
    }

    /// When the next thing is due; `None` while nothing is awaited of the peer.
    fn next_due(&self) -> Option<Nanos> {
        if self.write_by.is_some() {
            return self.write_by;
        }
        let bodies = self.bodies.iter().map(|body| body.by);
        let stuck = self.stuck.iter().map(|stuck| stuck.by);
        let next = bodies.chain(stuck).min();
        let is_idle = next.is_none() && self.late.in_flight() == 0;
        if is_idle { Some(self.read_by) } else { next }
    }

    /// Ends the streams that are due, or the connection if it has none.
    fn expire(&mut self, cx: &mut Context<'_>) {
        if self.bodies.is_empty() && self.stuck.is_empty() {
            return self.go_away(Reason::NO_ERROR, cx);
        }
        let (now, counts) = (self.now, &self.site.session.env.http);
        self.bodies.retain_mut(|body| {
            let is_due = body.by <= now;
            if is_due {
                counts.refused(Refused::Timeout);
                body.respond.send_reset(Reason::CANCEL);
            }
            !is_due
        });
        self.stuck.retain_mut(|stuck| {
            let is_due = stuck.by <= now;
            if is_due {
                counts.refused(Refused::Timeout);
                stuck.stream.send_reset(Reason::CANCEL);
            }
            !is_due
        });
        // The next request is as far away as after an answer.
        self.read_by = self.read_by.max(after(now, self.site.timeouts.idle));
        // That writes the frames; should the connection have ended meanwhile, its next turn sees it.
        let _ = self.http.poll_closed(cx);
    }
}

impl Stuck {
    /// Sends what the peer's window holds; whether that is all.
    fn go_on(&mut self) -> bool {
        let room = self.stream.capacity().min(self.body.len());
        let is_last = room == self.body.len();
        if room > 0 || is_last {
            let piece = self.body.split_to(room);
            let ends_here = is_last && self.trailers.is_none();
            // The client may have reset the stream, and then wants no answer.
            if self.stream.send_data(piece, ends_here).is_err() {
                return true;
            }
        }
        if is_last && let Some(trailers) = self.trailers.take() {
            // As above.
            let _ = self.stream.send_trailers(trailers);
        }
        is_last
    }
}

fn no_reply() -> Response<()> {
    grpc::failure(grpc::Status::Internal, "no reply")
}
