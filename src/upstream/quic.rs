//! Queries over QUIC: DNS over QUIC (RFC 9250) and DNS over HTTP/3 (RFC 8484), a stream each.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use super::endpoint::{Address, Endpoint, Transport};
use super::error::Fault;
use super::form::Form;
use super::message::{RequestBuffer, accept};
use super::metrics::Handshakes;
use super::session::Carrier;
use super::tcp::Failure;
use super::{Error, Protocol, Why, udp};
use crate::limits;
use crate::runtime;
use crate::transport::h3;
use crate::transport::quic::{self, Codes, Loss, QuicClient, Terms};
use crate::wire::edns::option;
use crate::wire::reply::Reply;

/// One connection. Its task ends with it.
pub(super) struct Quic {
    client: QuicClient,
    peer: SocketAddr,
    kind: Kind,
}

/// What is spoken.
enum Kind {
    Doq,
    Doh(Box<Form>),
}

impl Quic {
    /// Begins a connection and waits for its handshake within `wait`, unless there is a session to resume whose server takes early data:
    /// then queries need not wait either.
    ///
    /// # Errors
    /// No socket, no handshake in time, or one that failed.
    pub(super) async fn open(
        endpoint: &Endpoint,
        peer: SocketAddr,
        source: Option<IpAddr>,
        wait: Duration,
    ) -> Result<Quic, Error> {
        let failed = |why| Error::Dial(Protocol::Udp, peer, why);
        let form = match endpoint.transport {
            Transport::Https3(_) => Form::of(endpoint),
            _ => None,
        };
        let kind = form.map_or(Kind::Doq, |form| Kind::Doh(Box::new(form)));
        let tls = endpoint.tls.as_ref().ok_or(Error::Eof)?;
        let terms = Terms {
            tls: tls.current(),
            idle: Duration::from_millis(limits::UPSTREAM_QUIC_IDLE_MS),
            codes: kind.codes(),
            is_http3: matches!(kind, Kind::Doh(_)),
        };
        let socket = udp::open(peer, source)?;
        let client = QuicClient::connect(socket, peer, &tls.name().to_str(), &terms);
        let client = client.map_err(|error| failed(Why::Call("connect", error)))?;
        let quic = Quic { client, peer, kind };
        if !quic.client.has_early() {
            match runtime::timeout(wait, quic.client.handshake()).await {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => return Err(quic.failure(failure).into()),
                Err(_) => return Err(failed(Why::Timeout)),
            }
        }
        Ok(quic)
    }

    /// Counts its handshake when it is done, and gives the connection up if that takes longer than `wait`. That a session was resumed is
    /// known where the server took early data.
    pub(super) fn watch(&self, handshakes: &Rc<Handshakes>, wait: Duration) {
        if !self.client.has_early() {
            return handshakes.full.inc();
        }
        let (client, handshakes) = (self.client.clone(), Rc::clone(handshakes));
        runtime::spawn(async move {
            match runtime::timeout(wait, client.handshake()).await {
                Ok(Ok(())) if client.was_early() => handshakes.resumed.inc(),
                Ok(Ok(())) => handshakes.full.inc(),
                Ok(Err(_)) => {}
                Err(_) => client.give_up(),
            }
        });
    }

    #[cold]
    fn error(&self, fault: Fault) -> Error {
        Error::Peer(Address::Ip(self.peer), Box::new(fault))
    }

    fn read_error(&self, why: Why) -> Error {
        Error::Read(Protocol::Udp, None, self.peer, why)
    }

    /// What became of a request. It may be sent again where nothing says that the server looked at it: a query changes nothing.
    #[cold]
    fn failure(&self, failure: quic::Failure) -> Failure {
        match failure {
            quic::Failure::Lost(Loss::Silent) => Failure::Closed(self.timeout()),
            quic::Failure::Lost(Loss::Refused) => {
                let refused = std::io::ErrorKind::ConnectionRefused.into();
                Failure::Closed(self.read_error(Why::Call("read", refused)))
            }
            quic::Failure::Lost(loss) => {
                Failure::Closed(self.error(Fault::Quic(self.kind.offer(), loss)))
            }
            quic::Failure::Refused => Failure::Closed(self.error(Fault::Leaving)),
            quic::Failure::Reset(code) if code == u64::from(h3::code::REQUEST_REJECTED) => {
                Failure::Closed(self.error(Fault::Reset(code)))
            }
            quic::Failure::Reset(code) => Failure::Other(self.error(Fault::Reset(code))),
            quic::Failure::TooLong => Failure::Other(self.error(Fault::TooLong)),
        }
    }

    async fn ask(
        &self,
        octets: &[u8],
        reply_max: usize,
        request: &RequestBuffer,
    ) -> Result<Vec<u8>, Failure> {
        let asked = self
            .client
            .exchange(octets, reply_max, request.is_replayable());
        asked.await.map_err(|failure| self.failure(failure))
    }

    async fn ask_doq(&self, request: &mut RequestBuffer, reply: &mut Reply) -> Result<(), Failure> {
        // It ends the connection, and with it what others wait for (RFC 9250 section 5.5.2).
        request.remove_option(option::TCP_KEEPALIVE);
        let mut octets = Vec::new();
        // The id is 0 (section 4.2.1).
        request.write_padded(0, true, &mut octets);
        let answer = self.ask(&octets, DOQ_OCTETS, request).await?;
        let message = match answer.split_first_chunk::<2>() {
            Some((len, message)) if usize::from(u16::from_be_bytes(*len)) == message.len() => {
                message
            }
            _ => {
                self.client
                    .abort(DOQ_PROTOCOL_ERROR, "a stream that is not one reply");
                return Err(Failure::Other(self.error(Fault::Reply)));
            }
        };
        match accept(message, false, 0, &request.question(), reply) {
            true => Ok(()),
            false => Err(Failure::Other(self.error(Fault::Reply))),
        }
    }

    async fn ask_doh(
        &self,
        form: &Form,
        request: &mut RequestBuffer,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let fault = |fault| Failure::Other(self.error(fault));
        let (head, body) = form.request(request).map_err(|_| fault(Fault::Reply))?;
        let mut octets = Vec::new();
        h3::request::write(&head, &body, &mut octets);
        let answer = self.ask(&octets, h3::STREAM_OCTETS, request).await?;
        let (head, body) = match h3::response::read(&answer) {
            Ok(response) => response,
            Err(h3::Fault::Stream(code)) => return Err(fault(Fault::Http3(code))),
            Err(h3::Fault::Connection(code, reason)) => {
                self.client.abort(code, reason);
                return Err(fault(Fault::Http3(code)));
            }
        };
        form.check(&head).map_err(fault)?;
        if body.len() > form.longest() {
            return Err(fault(Fault::TooLong));
        }
        form.read(&body, request, reply).map_err(fault)
    }
}

impl Carrier for Quic {
    const EASY: usize = limits::UPSTREAM_STREAMS_EASY;
    const SESSIONS: usize = limits::UPSTREAM_STREAM_SESSIONS;
    const OVER: Protocol = Protocol::Udp;

    fn room(&self) -> usize {
        // The server may grant fewer streams, and grants more while they are in use; queries wait for them.
        match self.client.is_usable() {
            true => limits::UPSTREAM_STREAMS,
            false => 0,
        }
    }

    fn timeout(&self) -> Error {
        self.read_error(Why::Timeout)
    }

    async fn exchange(
        &self,
        request: &mut RequestBuffer,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        match &self.kind {
            Kind::Doq => self.ask_doq(request, reply).await,
            Kind::Doh(form) => self.ask_doh(form, request, reply).await,
        }
    }
}

impl Kind {
    fn codes(&self) -> Codes {
        match self {
            Kind::Doq => Codes {
                close: DOQ_NO_ERROR,
                cancel: DOQ_REQUEST_CANCELLED,
            },
            Kind::Doh(_) => Codes {
                close: h3::code::NO_ERROR,
                cancel: h3::code::REQUEST_CANCELLED,
            },
        }
    }

    /// The application protocol that is offered, for errors.
    fn offer(&self) -> &'static str {
        match self {
            Kind::Doq => "doq",
            Kind::Doh(_) => "h3",
        }
    }
}

/// Octets of the longest stream of a reply: a message behind its length.
const DOQ_OCTETS: usize = 2 + limits::MESSAGE_OCTETS;
/// Error codes (RFC 9250 section 4.3).
const DOQ_NO_ERROR: u32 = 0;
const DOQ_PROTOCOL_ERROR: u32 = 2;
const DOQ_REQUEST_CANCELLED: u32 = 3;
