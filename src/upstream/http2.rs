//! Queries over HTTP/2: DNS over HTTPS (RFC 8484) and CoreDNS's gRPC service.

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
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri};
use rustls::client::UnbufferedClientConnection;

use super::endpoint::{Address, Endpoint, Method, Transport};
use super::error::Fault;
use super::message::{RequestBuffer, accept};
use super::session::Carrier;
use super::tcp::Failure;
use super::{Error, dial::Opened};
use crate::limits;
use crate::runtime;
use crate::transport::http_forms::{
    DOH_PATH, DOH_TYPE, GRPC_BODY_OCTETS, GRPC_PATH, GRPC_STATUS, GRPC_TYPE, frame_grpc,
    unframe_grpc,
};
use crate::transport::http_io::HttpIo;
use crate::transport::stream::Stream;
use crate::wire::reply::Reply;

/// What is sent, and what is wanted back.
#[derive(Debug, Clone)]
pub(super) struct Form {
    kind: Kind,
    scheme: Scheme,
    authority: Authority,
    /// As errors name it.
    peer: Address,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Doh(Method),
    Grpc,
}

/// One connection. Its task ends with it.
pub(super) struct Http2 {
    sender: SendRequest<Bytes>,
    is_over: Rc<Cell<bool>>,
    form: Rc<Form>,
}

impl Form {
    /// The form of what an upstream speaks; none if that is not HTTP/2.
    pub(super) fn of(endpoint: &Endpoint) -> Option<Form> {
        let kind = match endpoint.transport {
            Transport::Https(method) => Kind::Doh(method),
            Transport::Grpc => Kind::Grpc,
            Transport::Dns | Transport::Tls => return None,
        };
        // A name of a certificate, or an address: both are what an authority is made of.
        let authority = endpoint.authority().try_into().ok()?;
        let scheme = match endpoint.tls {
            Some(_) => Scheme::HTTPS,
            None => Scheme::HTTP,
        };
        Some(Form {
            kind,
            scheme,
            authority,
            peer: endpoint.address.clone(),
        })
    }

    #[cold]
    fn error(&self, fault: Fault) -> Error {
        Error::Peer(self.peer.clone(), Box::new(fault))
    }

    /// The request without its body, and the body.
    fn request(&self, query: &RequestBuffer) -> Result<(Request<()>, Bytes), http::Error> {
        let (path, content_type, body) = match self.kind {
            Kind::Doh(Method::Post) => {
                let mut body = Vec::new();
                // Always the same id, for caches of HTTP (RFC 8484 section 4.1).
                query.write_padded(0, false, &mut body);
                (PathAndQuery::from_static(DOH_PATH), DOH_TYPE, body.into())
            }
            Kind::Doh(Method::Get) => {
                let mut message = Vec::new();
                query.write_padded(0, false, &mut message);
                let mut path = DOH_PATH.to_owned();
                path.push_str("?dns=");
                push_base64url(&message, &mut path);
                (PathAndQuery::try_from(path)?, DOH_TYPE, Bytes::new())
            }
            Kind::Grpc => {
                let body = frame_grpc(query.datagram());
                (PathAndQuery::from_static(GRPC_PATH), GRPC_TYPE, body)
            }
        };
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()?;
        let request = match self.kind {
            Kind::Doh(Method::Get) => Request::get(uri).header(ACCEPT, content_type),
            Kind::Doh(Method::Post) => Request::post(uri)
                .header(ACCEPT, content_type)
                .header(CONTENT_LENGTH, body.len())
                .header(CONTENT_TYPE, content_type),
            Kind::Grpc => Request::post(uri)
                .header(CONTENT_TYPE, content_type)
                .header(TE, HeaderValue::from_static("trailers")),
        };
        Ok((request.body(())?, body))
    }

    /// Whether the head of a response announces what was asked for.
    fn check(&self, head: &http::response::Parts) -> Result<(), Fault> {
        if head.status != StatusCode::OK {
            return Err(Fault::Status(head.status));
        }
        if let Kind::Grpc = self.kind {
            // A response without a message has its status here.
            grpc_status(&head.headers)?;
        }
        let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let kind = kind.unwrap_or_default();
        let is_right = match self.kind {
            Kind::Doh(_) => kind
                .split(|&octet| octet == b';')
                .next()
                .is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(DOH_TYPE.as_bytes())),
            Kind::Grpc => kind.starts_with(GRPC_TYPE.as_bytes()),
        };
        if !is_right {
            return Err(Fault::ContentType);
        }
        let length = head.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        match length {
            Some(length) if length > self.longest() as u64 => Err(Fault::TooLong),
            _ => Ok(()),
        }
    }

    /// Octets of the longest body that is read.
    fn longest(&self) -> usize {
        match self.kind {
            Kind::Doh(_) => limits::MESSAGE_OCTETS,
            Kind::Grpc => GRPC_BODY_OCTETS,
        }
    }

    /// The message in a whole body.
    fn message<'a>(&self, body: &'a [u8]) -> Option<&'a [u8]> {
        match self.kind {
            Kind::Doh(_) => Some(body),
            Kind::Grpc => unframe_grpc(body).ok(),
        }
    }
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
        if let Kind::Grpc = self.form.kind {
            let trailers = body.trailers().await;
            let trailers = trailers.map_err(|error| self.failure(error))?;
            if let Some(trailers) = trailers {
                grpc_status(&trailers).map_err(|fault| self.fault(fault))?;
            }
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
        let id = match self.form.kind {
            Kind::Doh(_) => 0,
            Kind::Grpc => request.id(),
        };
        match self.form.message(&body) {
            Some(message) if accept(message, false, id, &request.question(), reply) => Ok(()),
            _ => Err(self.fault(Fault::Reply)),
        }
    }
}

/// A status other than 0 is an error; none at all is none here.
fn grpc_status(headers: &HeaderMap) -> Result<(), Fault> {
    let Some(status) = headers.get(GRPC_STATUS) else {
        return Ok(());
    };
    let status = status.to_str().ok().and_then(|text| text.parse().ok());
    match status.unwrap_or(GRPC_UNKNOWN) {
        0 => Ok(()),
        status => Err(Fault::Grpc(status)),
    }
}

/// Base64 for URLs, without padding (RFC 4648 section 5).
fn push_base64url(octets: &[u8], out: &mut String) {
    let standard = domain::utils::base64::encode_string(octets);
    out.extend(standard.chars().filter_map(|letter| match letter {
        '+' => Some('-'),
        '/' => Some('_'),
        '=' => None,
        other => Some(other),
    }));
}

/// The status of a response whose status makes no sense.
const GRPC_UNKNOWN: u32 = 2;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_for_urls() {
        let mut out = String::new();
        push_base64url(&[0xfb, 0xff, 0xfe, 0x00], &mut out);
        assert_eq!(out, "-__-AA");
    }
}
