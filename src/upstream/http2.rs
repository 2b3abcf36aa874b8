//! Queries over HTTP/2, a stream each.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Reason, RecvStream};
use http::Response;
use rustls::client::UnbufferedClientConnection;

use super::error::Fault;
use super::form::Form;
use super::message::RequestBuffer;
use super::session::Carrier;
use super::tcp::Failure;
use super::{Error, Protocol, dial::Opened};
use crate::limits;
use crate::runtime;
use crate::transport::http_io::HttpIo;
use crate::transport::stream::Stream;
use crate::wire::reply::Reply;

/// One connection. Its task ends with it.
pub(super) struct Http2 {
    sender: SendRequest<Bytes>,
    is_over: Rc<Cell<bool>>,
    form: Rc<Form>,
}

impl Http2 {
    /// Speaks HTTP/2 over a connection that was just opened; what it sends at first goes out with the first request.
    pub(super) async fn start(opened: Opened, form: Rc<Form>) -> Result<Http2, Error> {
        let stream: Stream<UnbufferedClientConnection> = match opened {
            Opened::Plain(stream) => Stream::Plain(stream),
            Opened::Tls(tls) if tls.common().alpn_protocol() != Some(b"h2") => {
                return Err(form.error(Fault::NoHttp2));
            }
            Opened::Tls(tls) => Stream::Tls(*tls),
            Opened::Quic(_) => return Err(form.error(Fault::NoHttp2)),
        };
        let io = HttpIo::new(stream, <[u8]>::len);
        let started = Builder::new()
            .enable_push(false)
            .max_concurrent_streams(0)
            .initial_connection_window_size(limits::UPSTREAM_HTTP_WINDOW)
            .max_header_list_size(limits::UPSTREAM_HEADER_OCTETS)
            .max_send_buffer_size(limits::UPSTREAM_HTTP_UNSENT)
            .handshake(io.clone())
            .await;
        let (sender, mut connection) = started.map_err(|error| form.error(Fault::Http(error)))?;
        let is_over = Rc::new(Cell::new(false));
        let over = Rc::clone(&is_over);
        let work = async move {
            poll_fn(|cx| turn(&io, &mut connection, cx)).await;
            over.set(true);
            // What was said last and the end go as far as the kernel takes them. Requests under way are told with the connection's end.
            poll_fn(|cx| {
                let _ = io.poll_send(cx);
                let _ = io.poll_end(cx);
                Poll::Ready(())
            })
            .await;
        };
        if runtime::try_spawn(work).is_err() {
            return Err(Error::Busy);
        }
        Ok(Http2 {
            sender,
            is_over,
            form,
        })
    }

    fn fault(&self, fault: Fault) -> Failure {
        Failure::Other(self.form.error(fault))
    }

    /// An error of HTTP/2. The request may be sent again where the connection ended: a query changes nothing.
    fn failure(&self, error: h2::Error) -> Failure {
        let is_unanswered = error.is_io()
            || error.is_go_away()
            || error.reason() == Some(Reason::REFUSED_STREAM)
            || self.is_over.get();
        let error = self.form.error(Fault::Http(error));
        match is_unanswered {
            true => Failure::Closed(error),
            false => Failure::Other(error),
        }
    }

    /// The whole body, and whether it says that all went well.
    async fn body(&self, mut body: RecvStream) -> Result<Vec<u8>, Failure> {
        let mut whole = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.map_err(|error| self.failure(error))?;
            if whole.len() + data.len() > self.form.longest() {
                return Err(self.fault(Fault::TooLong));
            }
            whole.extend_from_slice(&data);
            // The stream may have ended with it; then nothing is to be released.
            drop(body.flow_control().release_capacity(data.len()));
        }
        let trailers = body.trailers().await;
        let trailers = trailers.map_err(|error| self.failure(error))?;
        if let Some(trailers) = trailers {
            let checked = self.form.check_trailers(&trailers);
            checked.map_err(|fault| self.fault(fault))?;
        }
        Ok(whole)
    }
}

/// One turn of a connection's task; `Ready` when it is over. Each request is told why it failed.
fn turn(
    io: &HttpIo<UnbufferedClientConnection>,
    connection: &mut Connection<HttpIo<UnbufferedClientConnection>, Bytes>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    io.begin_turn();
    let polled = Pin::new(connection).poll(cx).map(drop);
    match io.poll_send(cx) {
        Poll::Ready(Err(_)) => Poll::Ready(()),
        _ if io.is_ended() => Poll::Ready(()),
        _ => polled,
    }
}

impl Carrier for Http2 {
    const EASY: usize = limits::UPSTREAM_STREAMS_EASY;
    const SESSIONS: usize = limits::UPSTREAM_STREAM_SESSIONS;
    const OVER: Protocol = Protocol::Tcp;

    fn room(&self) -> usize {
        match self.is_over.get() {
            true => 0,
            // What the server allows; it may not have said so yet.
            false => self
                .sender
                .current_max_send_streams()
                .min(limits::UPSTREAM_STREAMS),
        }
    }

    fn timeout(&self) -> Error {
        self.form.error(Fault::Timeout)
    }

    async fn exchange(
        &self,
        request: &mut RequestBuffer,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let no_request = |_| self.fault(Fault::Reply);
        let (head, body) = self.form.request(request).map_err(no_request)?;
        let failure = |error| self.failure(error);
        let mut sender = self.sender.clone().ready().await.map_err(failure)?;
        let (response, mut stream) = sender
            .send_request(head, body.is_empty())
            .map_err(failure)?;
        if !body.is_empty() {
            stream.send_data(body, true).map_err(failure)?;
        }
        let response: Response<RecvStream> = response.await.map_err(failure)?;
        let (head, body) = response.into_parts();
        self.form.check(&head).map_err(|fault| self.fault(fault))?;
        let body = self.body(body).await?;
        let read = self.form.read(&body, request, reply);
        read.map_err(|fault| self.fault(fault))
    }
}
