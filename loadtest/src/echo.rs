//! The floor: what it costs to receive a datagram and send it back, with nothing of DNS but the QR bit.
//!
//! epoll, then recvmmsg of at most 64, answer in place, sendmmsg; a short batch means that the socket is drained. Measured as
//! a process of its own, exactly like the servers that are compared with it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::sys::{self, Batch, Poller};

/// Serves with `count` sockets of one reuseport group, a thread each, until the process is asked to end.
pub fn serve_many(first: Echo, count: usize) -> io::Result<()> {
    let address = first.address()?;
    let mut echoes = vec![first];
    for _ in 1..count {
        echoes.push(Echo::bind(address)?);
    }
    let threads: Vec<_> = echoes
        .into_iter()
        .map(|echo| std::thread::spawn(move || echo.serve(&AtomicBool::new(false))))
        .collect();
    for thread in threads {
        thread
            .join()
            .map_err(|_| io::Error::other("a thread of the echo panicked"))??;
    }
    Ok(())
}

/// A bound echo.
pub struct Echo {
    socket: UdpSocket,
}

impl Echo {
    /// Binds; port 0 takes a free one.
    pub fn bind(address: SocketAddr) -> io::Result<Echo> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        // Best effort: the kernel caps the sizes at net.core.rmem_max and wmem_max.
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(BUFFER_BYTES);
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(Echo {
            socket: socket.into(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers until `stop`, or until the process is asked to end.
    pub fn serve(&self, stop: &AtomicBool) -> io::Result<()> {
        let mut poller = Poller::new()?;
        poller.add(&self.socket, 0, false)?;
        let (mut batch, mut ready) = (Batch::new(true), Vec::new());
        while !stop.load(Ordering::Relaxed) && !sys::stop_requested() {
            poller.wait(STOP_CHECK, &mut ready)?;
            if ready.is_empty() {
                continue;
            }
            while self.answer_batch(&mut batch)? == sys::BATCH {}
        }
        Ok(())
    }

    fn answer_batch(&self, batch: &mut Batch) -> io::Result<usize> {
        let fd = self.socket.as_raw_fd();
        let count = batch.receive(fd)?;
        for i in 0..count {
            if let Some(flags) = batch.packet_mut(i).get_mut(2) {
                *flags |= 0x80;
            }
        }
        let mut sent = 0;
        while sent < count {
            match batch.send(fd, sent, count) {
                Ok(0) => std::thread::yield_now(),
                Ok(n) => sent += n,
                // The peer that is gone loses its reply; the others do not.
                Err(_) => sent += 1,
            }
        }
        Ok(count)
    }
}

const BUFFER_BYTES: usize = 4 << 20;
const STOP_CHECK: Duration = Duration::from_millis(100);
