//! A TCP connection, plain or with TLS on it.
//!
//! Runs on: the generator's threads.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};
use socket2::{Domain, Protocol, Socket, Type};

use crate::security::Security;

/// One connection of a client.
pub enum Stream {
    /// As TCP gives it.
    Plain(TcpStream),
    /// Encrypted; boxed, because it is large.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// A connection as it is.
    pub fn plain(tcp: TcpStream) -> Stream {
        Stream::Plain(tcp)
    }

    /// Makes the handshake on a connection, waiting for the server at most five seconds at each step.
    pub fn tls(
        mut tcp: TcpStream,
        config: &Arc<ClientConfig>,
        security: &Security,
    ) -> io::Result<Stream> {
        tcp.set_read_timeout(Some(HANDSHAKE_PATIENCE))?;
        let mut connection = ClientConnection::new(config.clone(), security.name.clone())
            .map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp)?;
        }
        Ok(Stream::Tls(Box::new(StreamOwned::new(connection, tcp))))
    }

    /// Whether reads and writes return at once.
    pub fn set_nonblocking(&mut self, is_nonblocking: bool) -> io::Result<()> {
        self.tcp().set_nonblocking(is_nonblocking)
    }

    /// Whether a read that gave less than it could has left nothing behind: a TLS record that was read may hold more.
    pub fn is_drained(&self) -> bool {
        matches!(self, Stream::Plain(_))
    }

    /// Hands what TLS has encrypted to the kernel; whether nothing is left.
    pub fn push_out(&mut self) -> bool {
        match self {
            Stream::Plain(_) => true,
            Stream::Tls(tls) => {
                while tls.conn.wants_write() {
                    // An error shows at the next read.
                    if !matches!(tls.conn.write_tls(&mut tls.sock), Ok(n) if n > 0) {
                        return false;
                    }
                }
                true
            }
        }
    }

    /// How the handshake was made; `None` without TLS.
    pub fn handshake_kind(&self) -> Option<HandshakeKind> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => tls.conn.handshake_kind(),
        }
    }

    /// Says that nothing more will be sent, and waits until the server ends the connection as well. What it says meanwhile, such as
    /// tickets for resumption, is taken in.
    pub fn close(mut self) -> io::Result<()> {
        if let Stream::Tls(tls) = &mut self {
            tls.conn.send_close_notify();
        }
        self.push_out();
        self.tcp().shutdown(Shutdown::Write)?;
        let mut rest = [0; 512];
        loop {
            match self.read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // Servers that end TCP without a close_notify first, or reset what they have said all about.
                Err(e) if is_end(e.kind()) => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }

    /// Sends one message in a frame and reads the one that answers, as DNS over TCP and TLS have it (RFC 1035 section 4.2.2).
    pub fn ask(&mut self, query: &[u8]) -> io::Result<Vec<u8>> {
        let frame = [&(query.len() as u16).to_be_bytes()[..], query].concat();
        self.write_all(&frame)?;
        self.flush()?;
        let mut len = [0; 2];
        self.read_exact(&mut len)?;
        let mut reply = vec![0; u16::from_be_bytes(len).into()];
        self.read_exact(&mut reply)?;
        Ok(reply)
    }

    /// The connection below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => &tls.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.read(buffer),
            Stream::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.write(bytes),
            Stream::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(tcp) => tcp.flush(),
            Stream::Tls(tls) => tls.flush(),
        }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.tcp().as_raw_fd()
    }
}

/// Connects from this address, with a bound on how long a read may wait.
pub fn connect_from(from: IpAddr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(server),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&server.into(), HANDSHAKE_PATIENCE)?;
    let tcp: TcpStream = socket.into();
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(HANDSHAKE_PATIENCE))?;
    Ok(tcp)
}

fn is_end(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
    )
}

const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);
