//! Why an exchange failed, in the words of Go's network errors, which tools that read CoreDNS's error log know.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use rustls::CertificateError;

use super::Protocol;
use super::endpoint::Address;
use crate::transport::quic::Loss;

/// A failed exchange.
#[derive(Debug)]
pub enum Error {
    /// No socket, or no connection: `dial udp 192.0.2.1:53: connect: network is unreachable`.
    Dial(Protocol, SocketAddr, Why),
    /// The query was not sent: `write udp FROM->TO: write: connection refused`.
    Write(Protocol, Option<SocketAddr>, SocketAddr, Why),
    /// No reply came: `read udp FROM->TO: i/o timeout`.
    Read(Protocol, Option<SocketAddr>, SocketAddr, Why),
    /// The upstream closed the connection: `EOF`.
    Eof,
    /// No connection to a socket in the file system.
    DialPath(Box<Path>, Why),
    /// The upstream speaks, but not as it should.
    Peer(Address, Box<Fault>),
    /// What ended a connection, or kept it from being opened, ended all that waited for it.
    Shared(Rc<Error>),
    /// The time ran out before there was a connection.
    Late(Protocol),
    /// This core waits for as many upstream answers as it may.
    Busy,
}

/// What is wrong with what an upstream said.
#[derive(Debug)]
pub enum Fault {
    /// In TLS: its certificate, or the protocol.
    Tls(io::Error),
    /// It does not speak HTTP/2.
    NoHttp2,
    /// In QUIC, or in TLS within it; with the application protocol that we offer.
    Quic(&'static str, Loss),
    /// The stream was given up, with this code.
    Reset(u64),
    /// It takes no more queries on this connection.
    Leaving,
    /// Its HTTP/3 cannot be read: the code (RFC 9114 section 8.1).
    Http3(u32),
    /// No response in time.
    Timeout,
    /// In HTTP/2.
    Http(h2::Error),
    /// Another status than 200.
    Status(http::StatusCode),
    /// Another kind of body than was asked for.
    ContentType,
    /// The body is longer than any message.
    TooLong,
    /// The body is no answer to the query.
    Reply,
    /// Another gRPC status than 0.
    Grpc(u32),
}

/// The last part of an error.
#[derive(Debug)]
pub enum Why {
    /// The time ran out.
    Timeout,
    /// A system call failed.
    Call(&'static str, io::Error),
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, protocol, from, to, why) = match self {
            Error::Dial(protocol, to, why) => ("dial", protocol, None, to, why),
            Error::Write(protocol, from, to, why) => ("write", protocol, *from, to, why),
            Error::Read(protocol, from, to, why) => ("read", protocol, *from, to, why),
            Error::DialPath(path, why) => {
                return write!(f, "dial unix {}: {why}", path.display());
            }
            Error::Peer(to, fault) => return write!(f, "exchange {to}: {fault}"),
            Error::Shared(error) => return error.fmt(f),
            Error::Late(protocol) => return write!(f, "dial {}: i/o timeout", protocol.as_str()),
            Error::Eof => return f.write_str("EOF"),
            Error::Busy => return f.write_str("too many queries wait for an upstream"),
        };
        write!(f, "{verb} {} ", protocol.as_str())?;
        if let Some(from) = from {
            write!(f, "{from}->")?;
        }
        write!(f, "{to}: {why}")
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Timeout => f.write_str("i/o timeout"),
            Why::Call(call, error) => write!(f, "{call}: {}", plain(error)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Tls(error) => tls(error, f),
            Fault::NoHttp2 => f.write_str("the server does not offer HTTP/2 (ALPN h2)"),
            Fault::Quic(offer, loss) => quic(offer, loss, f),
            Fault::Reset(code) => write!(f, "quic: the stream was reset with code {code:#x}"),
            Fault::Leaving => {
                f.write_str("quic: the server takes no more queries on this connection")
            }
            Fault::Http3(code) => {
                write!(f, "http3: a response that cannot be read: code {code:#x}")
            }
            Fault::Timeout => f.write_str("i/o timeout"),
            Fault::Http(error) => write!(f, "http2: {error}"),
            Fault::Status(status) => write!(f, "HTTP status {status}"),
            Fault::ContentType => f.write_str("the response is of another content type"),
            Fault::TooLong => f.write_str("the response is too long"),
            Fault::Reply => f.write_str("the response is no reply to the query"),
            Fault::Grpc(status) => write!(f, "gRPC status {status}"),
        }
    }
}

/// What is wrong with TLS, in Go's words where it has some.
fn tls(error: &io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let x509 = match inner {
        Some(rustls::Error::InvalidCertificate(error)) => error,
        Some(other) => return write!(f, "tls: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => return f.write_str("tls: EOF"),
        None => return write!(f, "tls: {}", plain(error)),
    };
    certificate(x509, f)
}

/// What is wrong with QUIC. It tells what rustls says of a certificate in words alone.
fn quic(offer: &str, loss: &Loss, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match loss {
        Loss::Alert(NO_APPLICATION_PROTOCOL) => {
            write!(
                f,
                "the server does not offer this protocol over QUIC (ALPN {offer})"
            )
        }
        Loss::Alert(alert) => write!(f, "tls: received fatal alert {alert}"),
        Loss::Tls(text) => {
            let Some(why) = text.strip_prefix("invalid peer certificate: ") else {
                return write!(f, "tls: {text}");
            };
            let mut known = [
                CertificateError::UnknownIssuer,
                CertificateError::BadSignature,
                CertificateError::Expired,
                CertificateError::NotValidYet,
                CertificateError::ApplicationVerificationFailure,
            ]
            .into_iter();
            if let Some(known) = known.find(|known| known.to_string() == why) {
                return certificate(&known, f);
            }
            // With the times, which Go does not show.
            if why.starts_with("certificate expired")
                || why.starts_with("certificate not valid yet")
            {
                return certificate(&CertificateError::Expired, f);
            }
            write!(f, "{UNVERIFIED}{why}")
        }
        other => write!(f, "quic: {other}"),
    }
}

fn certificate(error: &CertificateError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(UNVERIFIED)?;
    match error {
        // An authority of the same name has another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            f.write_str("certificate signed by unknown authority")
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            f.write_str("certificate has expired or is not yet valid")
        }
        CertificateError::ApplicationVerificationFailure => {
            f.write_str("the server's key is not one of those in upstream_pins")
        }
        other => write!(f, "{other}"),
    }
}

const UNVERIFIED: &str = "tls: failed to verify certificate: x509: ";
/// The alert of TLS with which a server refuses the application protocol (RFC 7301 section 3.2).
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// The kernel's sentence as Go prints it: lower case, without the number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_gos_do() {
        let (from, to) = (
            "10.0.0.1:5353".parse().ok(),
            "10.0.0.53:53".parse().unwrap(),
        );
        let refused = || Why::Call("connect", io::Error::from_raw_os_error(libc::ECONNREFUSED));
        let check = |error: Error, want: &str| assert_eq!(error.to_string(), want);
        check(
            Error::Read(Protocol::Udp, from, to, Why::Timeout),
            "read udp 10.0.0.1:5353->10.0.0.53:53: i/o timeout",
        );
        check(
            Error::Dial(Protocol::Tcp, to, refused()),
            "dial tcp 10.0.0.53:53: connect: connection refused",
        );
        let gone = Why::Call("write", io::Error::from_raw_os_error(libc::EPIPE));
        check(
            Error::Write(Protocol::Tcp, None, to, gone),
            "write tcp 10.0.0.53:53: write: broken pipe",
        );
        check(Error::Eof, "EOF");
    }
}
