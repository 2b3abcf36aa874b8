//! Why an exchange failed, in the words of Go's network errors, which tools that read CoreDNS's error log know.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use super::Protocol;

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
    /// This core waits for as many upstream answers as it may.
    Busy,
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
