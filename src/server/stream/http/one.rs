//! An HTTP/1.1 connection, with hyper: one request after the other.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;

use super::Site;
use crate::limits;
use crate::runtime::clock::{self, Nanos};
use crate::runtime::{self, Sleep};
use crate::server::doh::{self, Answered, Form, Wants};
use crate::server::http_counts::Refused;
use crate::server::stream::after;
use crate::transport::http_io::HttpIo;

/// Answers the requests of a connection until it ends.
pub(super) async fn serve(site: Site, io: HttpIo) {
    let shared = Rc::new(Shared {
        site,
        is_busy: Cell::new(false),
        served: Cell::new(0),
        io: io.clone(),
    });
    let own = shared.clone();
    let service = service_fn(move |request| {
        let shared = own.clone();
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .half_close(true)
        .header_read_timeout(None)
        .max_headers(limits::HTTP_HEADERS)
        .max_buf_size(limits::HTTP_HEADER_OCTETS)
        .writev(false);
    let mut http = pin!(builder.serve_connection(io.clone(), service));
    let now = clock::now_ns();
    let mut watch = Watch {
        read_by: after(now, shared.site.timeouts.read),
        write_by: None,
        alarm: runtime::sleep_until(after(now, shared.site.timeouts.read)),
        seen: 0,
        is_over: false,
        shared,
    };
    poll_fn(|cx| {
        io.begin_turn();
        if watch.shared.site.is_closed() {
            http.as_mut().graceful_shutdown();
        }
        if !watch.is_over && watch.write_by.is_none() {
            watch.drive(http.as_mut(), cx);
        }
        watch.poll(cx)
    })
    .await;
    // A peer that neither reads nor ends has had its time.
    let end = poll_fn(|cx| io.poll_end(cx));
    let _ = runtime::timeout(watch.shared.site.timeouts.read, end).await;
}

/// What requests of a connection share.
struct Shared {
    site: Site,
    /// A request is being answered.
    is_busy: Cell<bool>,
    /// Requests that were, from 0 again after 2^64.
    served: Cell<u64>,
    io: HttpIo,
}

impl Shared {
    async fn answer(self: Rc<Shared>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let _busy = Busy::new(&self);
        self.io.heard();
        let (head, body) = request.into_parts();
        let client = self.site.client(&head);
        let response = match doh::wants(&head, self.site.tune.doh_json) {
            Wants::Refuse(status, text) => doh::error(status, text),
            Wants::Ask(form, message) => self.ask(client, form, &message).await,
            Wants::Body => match runtime::timeout(self.site.timeouts.read, gather(body)).await {
                Ok(Some(body)) => self.ask(client, Form::Wire, &body).await,
                Ok(None) => last(doh::error(
                    StatusCode::BAD_REQUEST,
                    "request body too large or broken off",
                )),
                Err(_) => {
                    self.site.session.env.http.refused(Refused::Timeout);
                    last(doh::error(StatusCode::REQUEST_TIMEOUT, "request timeout"))
                }
            },
        };
        self.site.responses.count(response.status());
        response.map(Full::new)
    }

    async fn ask(
        &self,
        client: Option<std::net::SocketAddr>,
        form: Form,
        message: &[u8],
    ) -> Response<Bytes> {
        match self.site.ask_for(client, form, message) {
            Answered::Now(response) => response,
            Answered::Later(waits) => doh::late(form, waits.reply().await),
        }
    }
}

/// A whole body; `None` if it breaks off or is longer than a message. Its pieces are not kept, since a client may send octet by octet.
async fn gather(mut body: Incoming) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else {
            continue;
        };
        if octets.len() + data.len() > limits::MESSAGE_OCTETS {
            return None;
        }
        octets.extend_from_slice(&data);
    }
    Some(octets)
}

/// The connection ends behind this response: there may be more of its request.
fn last(mut response: Response<Bytes>) -> Response<Bytes> {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

/// Marks a connection as busy until it is dropped.
struct Busy<'a>(&'a Shared);

impl Busy<'_> {
    fn new(shared: &Shared) -> Busy<'_> {
        shared.is_busy.set(true);
        Busy(shared)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.is_busy.set(false);
        self.0.served.set(self.0.served.get().wrapping_add(1));
    }
}

/// Keeps the times of a connection.
struct Watch {
    shared: Rc<Shared>,
    /// When the next head must be whole.
    read_by: Nanos,
    /// When the peer must have taken what is to be sent; `None` while it keeps up.
    write_by: Option<Nanos>,
    /// Rings at the earlier of both, or before: it is set anew only when it rings.
    alarm: Sleep,
    /// What `served` was at the end of the last turn.
    seen: u64,
    /// hyper is done; what it left is to be sent.
    is_over: bool,
}

impl Watch {
    fn drive(
        &mut self,
        http: Pin<&mut impl Future<Output = hyper::Result<()>>>,
        cx: &mut Context<'_>,
    ) {
        let Poll::Ready(outcome) = http.poll(cx) else {
            return;
        };
        self.is_over = true;
        if outcome.is_err_and(|error| error.is_parse()) {
            self.shared.site.session.env.http.refused(Refused::Protocol);
        }
    }

    /// Sends, and ends what has taken too long; `Ready` when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeouts = &self.shared.site.timeouts;
        let io = &self.shared.io;
        let is_busy = self.shared.is_busy.get();
        match io.poll_send(cx) {
            Poll::Ready(Ok(())) => self.write_by = None,
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Pending => {
                let by = after(clock::now_ns(), timeouts.write);
                self.write_by.get_or_insert(by);
            }
        }
        let served = self.shared.served.get();
        if self.seen != served {
            self.seen = served;
            self.read_by = after(clock::now_ns(), timeouts.idle);
            if io.is_ended() {
                // hyper may hold another request.
                cx.waker().wake_by_ref();
            }
        } else if io.is_ended() && !is_busy {
            self.is_over = true;
        }
        if self.is_over && self.write_by.is_none() {
            return Poll::Ready(());
        }
        loop {
            let next = match (self.write_by, is_busy) {
                (Some(write_by), _) => write_by,
                (None, false) => self.read_by,
                // Its query and its body have deadlines of their own.
                (None, true) => return Poll::Pending,
            };
            if next < self.alarm.deadline() {
                self.alarm = runtime::sleep_until(next);
            }
            if Pin::new(&mut self.alarm).poll(cx).is_pending() {
                return Poll::Pending;
            }
            if clock::now_ns() >= next {
                if self.write_by.is_some() {
                    self.shared.site.session.env.http.refused(Refused::Timeout);
                }
                return Poll::Ready(());
            }
            self.alarm = runtime::sleep_until(next);
        }
    }
}
