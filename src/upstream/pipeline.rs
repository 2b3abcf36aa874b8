//! DNS over TLS (RFC 7858): many queries on one connection, answered in any order (RFC 7766 sections 6.2.1.1 and 7).
//!
//! ```text
//!   exchange -> [outgoing] -> driver -> TLS
//!      ^ oneshot <- [waiting: id, question] <- driver <- TLS
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use super::core::note_ignored;
use super::endpoint::Address;
use super::error::Fault;
use super::message::{RequestBuffer, accept, is_for};
use super::session::Carrier;
use super::tcp::Failure;
use super::{Error, Protocol, Why};
use crate::limits;
use crate::runtime;
use crate::runtime::local::{Tx, oneshot};
use crate::transport::tcp::Frames;
use crate::transport::tls::ClientTls;
use crate::wire::reply::Reply;

/// One connection. Its task ends with it.
pub(super) struct Pipeline {
    shared: Rc<Shared>,
}

struct Shared {
    /// `0 <= len <= limits::UPSTREAM_SESSION_QUERIES`.
    waiting: RefCell<Vec<Waiting>>,
    /// Framed queries that the driver has not taken; each belongs to one that waits or gave up. At most
    /// `limits::UPSTREAM_SESSION_UNSENT` octets and one query.
    outgoing: RefCell<Vec<u8>>,
    driver: Cell<Option<Waker>>,
    /// Counts the queries, since an id may be taken again before the one that had it has looked.
    count: Cell<u64>,
    ended: RefCell<Option<Rc<Error>>>,
    peer: SocketAddr,
}

/// A query without an answer.
struct Waiting {
    serial: u64,
    id: u16,
    /// Name, type and class as sent.
    question: Box<[u8]>,
    answer: Tx<Vec<u8>>,
}

impl Pipeline {
    /// Takes over a connection whose handshake is done.
    ///
    /// # Errors
    /// [`Error::Busy`]: this thread has no place for its task.
    pub(super) fn start(tls: Box<ClientTls>) -> Result<Pipeline, Error> {
        let shared = Rc::new(Shared {
            waiting: RefCell::default(),
            outgoing: RefCell::default(),
            driver: Cell::default(),
            count: Cell::default(),
            ended: RefCell::default(),
            peer: tls.tcp().peer_addr(),
        });
        let mut driver = Driver {
            shared: Rc::downgrade(&shared),
            tls,
            frames: Frames::default(),
            sending: Vec::new(),
        };
        match runtime::try_spawn(async move { poll_fn(|cx| driver.poll(cx)).await }) {
            Ok(()) => Ok(Pipeline { shared }),
            Err(_) => Err(Error::Busy),
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.shared.wake();
    }
}

impl Carrier for Pipeline {
    const EASY: usize = limits::UPSTREAM_SESSION_EASY;
    const SESSIONS: usize = limits::UPSTREAM_SESSIONS;
    const OVER: Protocol = Protocol::Tcp;

    fn room(&self) -> usize {
        match *self.shared.ended.borrow() {
            None => limits::UPSTREAM_SESSION_QUERIES,
            Some(_) => 0,
        }
    }

    fn timeout(&self) -> Error {
        Error::Read(Protocol::Tcp, None, self.shared.peer, Why::Timeout)
    }

    async fn exchange(
        &self,
        request: &mut RequestBuffer,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let shared = &*self.shared;
        if let Some(error) = shared.ended() {
            return Err(Failure::Closed(error));
        }
        if shared.outgoing.borrow().len() > limits::UPSTREAM_SESSION_UNSENT {
            return Err(Failure::Closed(Error::Busy));
        }
        let (answer, answered) = oneshot();
        let serial = shared.count.get();
        shared.count.set(serial + 1);
        {
            let mut waiting = shared.waiting.borrow_mut();
            // Few of 65,536 ids are taken.
            while waiting.iter().any(|other| other.id == request.id()) {
                request.draw_id();
            }
            waiting.push(Waiting {
                serial,
                id: request.id(),
                question: request.question_octets().into(),
                answer,
            });
        }
        let _entry = Entry { shared, serial };
        request.write_padded(request.id(), true, &mut shared.outgoing.borrow_mut());
        shared.wake();
        match answered.await {
            Ok(message) => {
                if accept(&message, false, request.id(), &request.question(), reply) {
                    return Ok(());
                }
                let fault = Box::new(Fault::Reply);
                Err(Failure::Other(Error::Peer(Address::Ip(shared.peer), fault)))
            }
            Err(_) => Err(Failure::Closed(shared.ended().unwrap_or(Error::Eof))),
        }
    }
}

/// The row of a query in `waiting`; it is no longer there after an answer.
struct Entry<'a> {
    shared: &'a Shared,
    serial: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut waiting = self.shared.waiting.borrow_mut();
        if let Some(at) = waiting.iter().position(|row| row.serial == self.serial) {
            waiting.swap_remove(at);
        }
    }
}

impl Shared {
    fn wake(&self) {
        if let Some(waker) = self.driver.take() {
            waker.wake();
        }
    }

    fn ended(&self) -> Option<Error> {
        self.ended.borrow().clone().map(Error::Shared)
    }

    /// Nobody is answered any more.
    fn end(&self, error: Error) {
        *self.ended.borrow_mut() = Some(Rc::new(error));
        let all = std::mem::take(&mut *self.waiting.borrow_mut());
        drop(all);
    }

    /// Hands a message to the query that it answers. A second one with the id of an answered query is nobody's.
    fn answer(&self, message: &[u8]) {
        let mut waiting = self.waiting.borrow_mut();
        let is_mine = |row: &Waiting| is_for(message, row.id, &row.question);
        match waiting.iter().position(is_mine) {
            // One that gave up has taken its row away.
            Some(at) => drop(waiting.swap_remove(at).answer.send(message.to_vec())),
            None => note_ignored(),
        }
    }
}

/// The task of a connection: it reads and writes, since one task at a time may.
struct Driver {
    shared: Weak<Shared>,
    tls: Box<ClientTls>,
    frames: Frames,
    sending: Vec<u8>,
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The connection was given up, and nobody waits.
        let Some(shared) = self.shared.upgrade() else {
            // As far as the kernel takes it.
            drop(self.tls.poll_shutdown(cx));
            return Poll::Ready(());
        };
        shared.driver.set(Some(cx.waker().clone()));
        match self.step(&shared, cx) {
            Ok(()) => Poll::Pending,
            Err(error) => {
                let (from, peer) = (self.tls.tcp().local_addr().ok(), shared.peer);
                shared.end(match error.kind() {
                    io::ErrorKind::UnexpectedEof => Error::Eof,
                    io::ErrorKind::InvalidData => {
                        Error::Peer(Address::Ip(peer), Box::new(Fault::Tls(error)))
                    }
                    _ => Error::Read(Protocol::Tcp, from, peer, Why::Call("read", error)),
                });
                drop(self.tls.poll_shutdown(cx));
                Poll::Ready(())
            }
        }
    }

    /// Sends what there is and reads what has come; an error ends the connection.
    fn step(&mut self, shared: &Shared, cx: &mut Context<'_>) -> io::Result<()> {
        for _ in 0..READS_IN_A_ROW {
            if self.sending.is_empty() {
                self.sending.append(&mut shared.outgoing.borrow_mut());
            }
            if let Poll::Ready(Err(error)) = self.tls.poll_send(cx, &mut self.sending) {
                return Err(error);
            }
            let Driver { tls, frames, .. } = self;
            let received = tls.poll_recv(cx, &mut |octets| {
                frames.take(octets, |message| {
                    shared.answer(message);
                    true
                });
            });
            match received {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending if shared.outgoing.borrow().is_empty() => return Ok(()),
                // More to send than the kernel took: it says when there is room.
                Poll::Pending if !self.sending.is_empty() => return Ok(()),
                Poll::Pending => {}
            }
        }
        // The others first, then what is left.
        cx.waker().wake_by_ref();
        Ok(())
    }
}

/// Reads of one connection before other tasks get their turn.
const READS_IN_A_ROW: usize = 16;
