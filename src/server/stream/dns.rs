//! DNS over TCP and over TLS: pipelined queries, replies in the order in which they are ready (RFC 7766, RFC 7858).

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::after;
use super::late::Late;
use crate::limits;
use crate::runtime::clock::{self, Nanos};
use crate::runtime::{self, Sleep};
use crate::server::config::Timeouts;
use crate::server::session::{Outcome, Session};
use crate::transport::stream::Stream;
use crate::transport::tcp::{self, Frames};

/// Answers the queries of a connection until it ends.
pub(super) async fn serve(session: Session, stream: Stream, timeouts: Timeouts) {
    let now = clock::now_ns();
    let mut connection = Connection {
        read_by: after(now, timeouts.read),
        write_by: None,
        alarm: runtime::sleep_until(after(now, timeouts.read)),
        late: Rc::default(),
        stream,
        frames: Frames::default(),
        has_left_over: false,
        unsent: Vec::new(),
        answered: 0,
        is_read_out: false,
        is_ending: false,
        session,
        timeouts,
    };
    poll_fn(|cx| {
        if connection.unsent.capacity() == 0 {
            connection.unsent = SPARE.take();
        }
        let polled = connection.poll(cx);
        if connection.unsent.is_empty() {
            // An idle connection holds no buffer.
            let room = mem::take(&mut connection.unsent);
            if room.capacity() <= limits::TCP_SPARE_OCTETS {
                SPARE.set(room);
            }
        }
        polled
    })
    .await;
}

/// One connection: one task that reads, answers and writes.
struct Connection {
    session: Session,
    stream: Stream,
    timeouts: Timeouts,
    frames: Frames,
    /// `frames` holds a query that there was no room for.
    has_left_over: bool,
    /// Framed replies that are not sent yet; reading stops above `limits::TCP_UNSENT_OCTETS`.
    unsent: Vec<u8>,
    late: Rc<Late<Vec<u8>>>,
    answered: u32,
    /// No more queries are taken: what is being answered is sent, then the connection ends.
    is_read_out: bool,
    /// All is sent, and the peer is being told so.
    is_ending: bool,
    /// When the next whole message is due, so that a peer that sends an octet now and then is cut off too.
    read_by: Nanos,
    /// When the peer must have taken what is to be sent; `None` while it keeps up.
    write_by: Option<Nanos>,
    /// Rings at the earlier of both or before: it is set anew only when it rings.
    alarm: Sleep,
}

impl Connection {
    /// Goes on as far as it can; `Ready` when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.late.register(cx.waker());
        let mut work = WORK_IN_A_ROW;
        loop {
            if self.is_ending {
                return self.poll_end(cx);
            }
            self.collect_late();
            match self.stream.poll_send(cx, &mut self.unsent) {
                Poll::Ready(Ok(())) => self.write_by = None,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => self.expect_room(),
            }
            if self.is_read_out && self.write_by.is_none() && self.late.in_flight() == 0 {
                self.is_ending = true;
                continue;
            }
            if work == 0 {
                // One that sends without pause, and nothing that takes time, must not keep the others waiting.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.is_read_out || self.is_congested() || !self.read(cx, &mut work) {
                return self.poll_alarm(cx);
            }
        }
    }

    /// Takes the replies of queries that waited.
    fn collect_late(&mut self) {
        let late = self.late.left.take();
        if self.unsent.is_empty() && !late.is_empty() {
            self.unsent = late;
        } else {
            self.unsent.extend_from_slice(&late);
        }
    }

    /// Tells the peer that this was all.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.stream.poll_shutdown(cx) {
            // The peer may be gone already; then there is nothing to end.
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => {
                self.expect_room();
                self.poll_alarm(cx)
            }
        }
    }

    /// From now on the peer has so long to take what is sent.
    fn expect_room(&mut self) {
        let by = after(clock::now_ns(), self.timeouts.write);
        self.write_by.get_or_insert(by);
    }

    /// Takes what has arrived, as far as `work` goes; `false` when nothing has, and there is nothing new to send.
    fn read(&mut self, cx: &mut Context<'_>, work: &mut u32) -> bool {
        let most = self.timeouts.max_queries.unwrap_or(u32::MAX);
        let mut turn = Turn {
            session: &self.session,
            late: &self.late,
            unsent: &mut self.unsent,
            taken: 0,
            most: most.saturating_sub(self.answered).min(*work),
        };
        let frames = &mut self.frames;
        let mut take = |octets: &[u8]| frames.take(octets, |message| turn.answer(message));
        let read = if self.has_left_over {
            take(&[]);
            Poll::Ready(Ok(1))
        } else {
            self.stream.poll_recv(cx, &mut take)
        };
        let taken = turn.taken;
        *work = work.saturating_sub(taken + READ_WORK);
        self.has_left_over = frames.is_stopped();
        self.answered = self.answered.saturating_add(taken);
        if taken > 0 {
            self.read_by = after(clock::now_ns(), self.timeouts.idle);
        }
        let is_last = self
            .timeouts
            .max_queries
            .is_some_and(|most| self.answered >= most)
            || self.session.accepting.listener.get().is_none();
        match read {
            Poll::Pending => false,
            Poll::Ready(Ok(count)) if count > 0 && !(is_last && taken > 0) => true,
            // The end, an error, or the last query that it may send.
            Poll::Ready(_) => {
                self.is_read_out = true;
                true
            }
        }
    }

    fn is_congested(&self) -> bool {
        self.late.in_flight() >= limits::TCP_QUERIES_IN_FLIGHT
            || self.unsent.len() >= limits::TCP_UNSENT_OCTETS
            || self.write_by.is_some()
    }

    /// Ends what has taken too long.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let reads = !self.is_read_out && !self.is_congested();
            let next = match (self.write_by, reads) {
                (Some(write_by), _) => write_by,
                (None, true) => self.read_by,
                // Its queries have deadlines of their own.
                (None, false) => return Poll::Pending,
            };
            if next < self.alarm.deadline() {
                self.alarm = runtime::sleep_until(next);
            }
            if Pin::new(&mut self.alarm).poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = clock::now_ns();
            if now < next {
                self.alarm = runtime::sleep_until(next);
            } else if self.write_by.is_some() {
                return Poll::Ready(());
            } else if self.late.in_flight() == 0 {
                self.is_ending = true;
                return self.poll_end(cx);
            } else {
                self.is_read_out = true;
                return Poll::Pending;
            }
        }
    }
}

/// What is needed to answer while the stream is being read.
struct Turn<'a> {
    session: &'a Session,
    late: &'a Rc<Late<Vec<u8>>>,
    unsent: &'a mut Vec<u8>,
    taken: u32,
    /// Queries that may be taken now.
    most: u32,
}

impl Turn<'_> {
    /// `false` when there is no room for one more now.
    fn answer(&mut self, message: &[u8]) -> bool {
        if self.taken >= self.most
            || self.unsent.len() >= limits::TCP_UNSENT_OCTETS
            || self.late.in_flight() >= limits::TCP_QUERIES_IN_FLIGHT
        {
            return false;
        }
        self.taken += 1;
        let waits = self.session.ask(message, |outcome| match outcome {
            Outcome::Reply(reply) | Outcome::Rejected(reply) if !reply.is_empty() => {
                tcp::push_frame(self.unsent, reply);
                None
            }
            Outcome::Waits(waits) => Some(waits),
            _ => None,
        });
        if let Some(waits) = waits {
            self.late.wait_for(waits, |replies, reply| {
                if let Some(reply) = reply {
                    tcp::push_frame(replies, &reply);
                }
            });
        }
        true
    }
}

thread_local! {
    /// Room for replies that nobody uses now.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Answers from memory that a connection gets between two turns of the other tasks: some 50 us.
const WORK_IN_A_ROW: u32 = 64;
/// What a read takes, in such answers: a chunk of octets may hold many queries, or less than one.
const READ_WORK: u32 = 16;
