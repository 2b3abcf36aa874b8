//! Sockets of a task thread: connected UDP, TCP streams and listeners, alike on both backends.
//!
//! A future of these may be dropped at any time: no octet, datagram or connection is taken by an operation that was
//! given up, because each waits for readiness first and then makes the system call itself.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::limits;
use crate::runtime::exec;
use crate::runtime::reactor::{Side, Source};
use crate::runtime::task;

/// A UDP socket with one peer: the kernel drops what comes from elsewhere. One task at a time may receive.
#[derive(Debug)]
pub struct UdpSocket {
    io: Io,
}

/// A TCP connection.
#[derive(Debug)]
pub struct TcpStream {
    io: Io,
    peer: SocketAddr,
    /// Octets that were given back, to be read before all others.
    unread: Vec<u8>,
}

/// A listening TCP socket.
#[derive(Debug)]
pub struct TcpListener {
    io: Io,
}

/// A socket that is read by system calls of its owner's, such as recvmmsg(2); this tells when. One task at a time may wait.
#[derive(Debug)]
pub struct Watch {
    io: Io,
}

// === impl UdpSocket ===

impl UdpSocket {
    /// Opens a socket from `local` to `peer`; the port of `local` may be zero. The path MTU is never taken from ICMP
    /// (RFC 9715 section 3.1), so a forged "packet too big" cannot make the kernel fragment.
    pub fn connect(local: SocketAddr, peer: SocketAddr) -> io::Result<Self> {
        let domain = Domain::for_address(peer);
        let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        omit_path_mtu(&socket, domain)?;
        socket.bind(&local.into())?;
        socket.connect(&peer.into())?;
        Ok(Self {
            io: Io::new(socket)?,
        })
    }

    /// Sends one datagram. `ConnectionRefused` reports an earlier datagram: the peer's port is closed.
    pub fn send(&self, datagram: &[u8]) -> impl Future<Output = io::Result<usize>> {
        poll_fn(move |cx| self.poll_send(cx, datagram))
    }

    /// Sends like [`UdpSocket::send`], for who polls.
    pub fn poll_send(&self, cx: &mut Context<'_>, datagram: &[u8]) -> Poll<io::Result<usize>> {
        self.io.poll_send(cx, datagram)
    }

    /// Receives one datagram; what does not fit into the buffer is cut off.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.io.poll_recv(cx, buffer, false)).await
    }

    /// Receives like [`UdpSocket::recv`], for who polls: the buffer is needed only while this runs.
    pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.io.poll_recv(cx, buffer, false)
    }

    /// The address it sends from.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.socket().local_addr().and_then(ip_address)
    }
}

// === impl TcpStream ===

impl TcpStream {
    /// Connects, from the address `local` if one is given. Bound the wait with [`task::timeout`].
    pub async fn connect(local: Option<IpAddr>, peer: SocketAddr) -> io::Result<Self> {
        let domain = Domain::for_address(peer);
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        if let Some(local) = local {
            socket.bind(&SocketAddr::new(local, 0).into())?;
        }
        socket.set_tcp_nodelay(true)?;
        let waits = match socket.connect(&peer.into()) {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => true,
            Err(error) => return Err(error),
        };
        let io = Io::new(socket)?;
        if waits {
            io.connected().await?;
        }
        Ok(Self {
            io,
            peer,
            unread: Vec::new(),
        })
    }

    /// Connects to a socket in the file system; the calls are those of TCP, and [`TcpStream::peer_addr`] is unspecified.
    pub async fn connect_path(path: &Path) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        // One whose queue is full says so at once; it is as good as refused.
        socket.connect(&SockAddr::unix(path)?)?;
        Ok(Self {
            io: Io::new(socket)?,
            peer: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            unread: Vec::new(),
        })
    }

    /// Takes a connected stream from elsewhere, such as one that another thread accepted.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<Self> {
        let peer = stream.peer_addr()?;
        stream.set_nonblocking(true)?;
        Self::adopt(Socket::from(stream), peer)
    }

    /// Reads what there is, at least one octet; zero = the peer ended, or the buffer is empty.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| poll_stream(&mut self.unread, &self.io, cx, buffer)).await
    }

    /// Gives back octets that were read and belong to whoever reads next.
    pub fn unread(&mut self, octets: &[u8]) {
        self.unread.splice(..0, octets.iter().copied());
    }

    /// Writes all octets. When it is dropped halfway, it is unknown how many were sent.
    pub async fn write_all(&mut self, octets: &[u8]) -> io::Result<()> {
        self.io.write_all(octets).await
    }

    /// Reads like [`TcpStream::read`]; for protocol crates that poll. One task at a time may wait to read.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        poll_stream(&mut self.unread, &self.io, cx, buffer)
    }

    /// Writes what the kernel takes; for protocol crates that poll. One task at a time may wait to write.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.io.poll_send(cx, octets)
    }

    /// Sends the end of the stream; reading goes on.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.io.socket().shutdown(Shutdown::Write)
    }

    /// The other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// This end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.socket().local_addr().and_then(ip_address)
    }

    /// Whether small writes are sent at once (the default here) or gathered.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.io.socket().set_tcp_nodelay(on)
    }

    fn adopt(socket: Socket, peer: SocketAddr) -> io::Result<Self> {
        socket.set_tcp_nodelay(true)?;
        Ok(Self {
            io: Io::new(socket)?,
            peer,
            unread: Vec::new(),
        })
    }
}

/// Receives of a stream: what was given back first.
fn poll_stream(
    unread: &mut Vec<u8>,
    io: &Io,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    if unread.is_empty() {
        return io.poll_recv(cx, buffer, true);
    }
    let count = buffer.len().min(unread.len());
    buffer[..count].copy_from_slice(&unread[..count]);
    unread.drain(..count);
    if unread.is_empty() {
        // An idle connection holds no buffer.
        *unread = Vec::new();
    }
    Poll::Ready(Ok(count))
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.io.socket().as_raw_fd()
    }
}

// === impl TcpListener ===

impl TcpListener {
    /// Takes a listening socket, whose options are transport's to set.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            io: Io::new(Socket::from(listener))?,
        })
    }

    /// Accepts one connection. Connections that died in the queue are skipped. When the process is out of
    /// descriptors or memory it pauses before it returns the error, so a loop over it never spins; every error is
    /// worth another try.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            let accepted = poll_fn(|cx| self.io.poll_accept(cx)).await;
            match accepted.and_then(|(socket, peer)| {
                let peer = ip_address(peer)?;
                Ok((TcpStream::adopt(socket, peer)?, peer))
            }) {
                Ok(accepted) => return Ok(accepted),
                Err(error) if of_one_connection(&error) => {}
                Err(error) => {
                    task::sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MS)).await;
                    return Err(error);
                }
            }
        }
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.socket().local_addr().and_then(ip_address)
    }
}

// === impl Watch ===

impl Watch {
    /// Watches a non-blocking socket for input, by a descriptor of its own.
    pub fn of(socket: &impl AsFd) -> io::Result<Self> {
        let twin = socket.as_fd().try_clone_to_owned()?;
        Ok(Self {
            io: Io::new(Socket::from(twin))?,
        })
    }

    /// Tries to read; when that would block, the task is woken as soon as it may succeed.
    pub fn poll_read<T>(
        &self,
        cx: &mut Context<'_>,
        mut read: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        self.io.0.poll_with(Side::Read, cx, |_| read())
    }
}

// === impl Io ===

/// A socket in the poll set of this thread.
#[derive(Debug)]
struct Io(Source);

impl Io {
    /// Takes a non-blocking socket. Fails off a task thread.
    fn new(socket: Socket) -> io::Result<Self> {
        match exec::current() {
            Some(exec) => Ok(Self(Source::new(socket, Rc::clone(exec.reactor())))),
            None => Err(io::Error::other("sockets of this kind need a task thread")),
        }
    }

    fn socket(&self) -> &Socket {
        self.0.socket()
    }

    fn poll_recv(
        &self,
        cx: &Context<'_>,
        buffer: &mut [u8],
        stream: bool,
    ) -> Poll<io::Result<usize>> {
        if stream && buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let outcome = self
            .0
            .poll_with(Side::Read, cx, |socket| recv(socket, buffer));
        if let Poll::Ready(Ok(count)) = outcome
            && stream
            && count < buffer.len()
        {
            self.0.drained();
        }
        outcome
    }

    fn poll_send(&self, cx: &Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_with(Side::Write, cx, |socket| {
            socket.send_with_flags(octets, libc::MSG_NOSIGNAL)
        })
    }

    async fn write_all(&self, mut octets: &[u8]) -> io::Result<()> {
        while !octets.is_empty() {
            let count = poll_fn(|cx| self.poll_send(cx, octets)).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            octets = &octets[count..];
        }
        Ok(())
    }

    /// Waits for the end of a connect that is under way.
    async fn connected(&self) -> io::Result<()> {
        self.0.expect_wait(Side::Write)?;
        let error = |socket: &Socket| match socket.take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        };
        poll_fn(|cx| self.0.poll_with(Side::Write, cx, error)).await
    }

    fn poll_accept(&self, cx: &Context<'_>) -> Poll<io::Result<(Socket, SockAddr)>> {
        self.0.poll_with(Side::Read, cx, accept)
    }
}

/// Accepts a connection that is non-blocking and not inherited by child processes.
fn accept(listener: &Socket) -> io::Result<(Socket, SockAddr)> {
    let (socket, peer) = listener.accept()?;
    socket.set_nonblocking(true)?;
    Ok((socket, peer))
}

fn recv(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: MaybeUninit<u8> has the layout of u8, and `Socket::recv` only writes initialised octets.
    let buffer = unsafe { &mut *(std::ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) };
    socket.recv(buffer)
}

fn omit_path_mtu(socket: &Socket, domain: Domain) -> io::Result<()> {
    let (level, option, value) = if domain == Domain::IPV6 {
        (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_OMIT,
        )
    } else {
        (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_OMIT,
        )
    };
    // SAFETY: `value` is a readable int of the length given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Errors of accept(2) that concern the one connection only: it failed while it was queued.
fn of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::ECONNRESET
                | libc::EPROTO
                | libc::EPERM
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENONET
        )
    )
}

fn ip_address(address: SockAddr) -> io::Result<SocketAddr> {
    address
        .as_socket()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an IP address"))
}

/// The address that lets the kernel choose where a socket to `peer` sends from.
pub fn any_local(peer: SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    }
}
