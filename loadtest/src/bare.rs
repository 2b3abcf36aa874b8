//! The floor of TLS: what handshakes cost when a server does nothing else. One thread, blocking sockets, one connection at a time.
//!
//! What arrives in frames is sent back with the QR bit set, as [`crate::echo`] does over UDP. Measured as a process of its own.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::sys;

/// A bound listener and what its handshakes are made with.
pub struct Bare {
    listener: TcpListener,
    config: Arc<ServerConfig>,
}

impl Bare {
    /// Binds; port 0 takes a free one.
    pub fn bind(address: SocketAddr, config: ServerConfig) -> io::Result<Bare> {
        let listener = TcpListener::bind(address)?;
        // Makes accept return now and then, without a system call more for each connection.
        socket2::SockRef::from(&listener).set_read_timeout(Some(STOP_CHECK))?;
        Ok(Bare {
            listener,
            config: config.into(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop`, or until the process is asked to end.
    pub fn serve(&self, stop: &AtomicBool) -> io::Result<()> {
        let mut buffer = Vec::new();
        while !stop.load(Ordering::Relaxed) && !sys::stop_requested() {
            match self.listener.accept() {
                // A client that breaks off or lies loses its connection; the others do not.
                Ok((stream, _)) => drop(self.answer(stream, &mut buffer)),
                Err(e) if is_pause(e.kind()) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn answer(&self, tcp: TcpStream, message: &mut Vec<u8>) -> io::Result<()> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(IDLE))?;
        let connection = ServerConnection::new(self.config.clone()).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, tcp);
        loop {
            let mut len = [0; 2];
            match stream.read(&mut len[..1])? {
                0 => return Ok(()),
                _ => stream.read_exact(&mut len[1..])?,
            }
            message.resize(2 + usize::from(u16::from_be_bytes(len)), 0);
            message[..2].copy_from_slice(&len);
            stream.read_exact(&mut message[2..])?;
            if let Some(flags) = message.get_mut(4) {
                *flags |= 0x80;
            }
            stream.write_all(message)?;
        }
    }
}

fn is_pause(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{ConnectionAborted, Interrupted, TimedOut, WouldBlock};
    matches!(
        kind,
        WouldBlock | TimedOut | Interrupted | ConnectionAborted
    )
}

const STOP_CHECK: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(5);
