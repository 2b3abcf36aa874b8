//! The task of a connection: it moves packets between quinn-proto and the socket, and keeps its time.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::{DatagramEvent, Endpoint, VarInt};

use super::Loss;
use super::state::State;
use crate::limits;
use crate::runtime::clock::{self, Nanos};
use crate::runtime::{self, Sleep, UdpSocket};

/// See the module.
pub(super) struct Driver {
    pub(super) state: Rc<RefCell<State>>,
    pub(super) socket: UdpSocket,
    pub(super) peer: SocketAddr,
    pub(super) endpoint: Endpoint,
    /// quinn-proto's time and ours at the start.
    pub(super) start: (Instant, Nanos),
    pub(super) alarm: Sleep,
    pub(super) out: Vec<u8>,
}

impl Driver {
    /// `Ready` when the connection is over and its last packet has been sent.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.state.clone();
        let state = &mut *shared.borrow_mut();
        match &mut state.driver {
            Some(waker) => waker.clone_from(cx.waker()),
            None => state.driver = Some(cx.waker().clone()),
        }
        loop {
            let now = self.start.0 + Duration::from_nanos(clock::now_ns() - self.start.1);
            let has_read = PACKET.with_borrow_mut(|packet| self.receive(state, now, cx, packet));
            if state.quic.poll_timeout().is_some_and(|at| at <= now) {
                state.quic.handle_timeout(now);
            }
            if state.silent_at().is_some_and(|at| at <= clock::now_ns()) {
                state.end(Loss::Silent);
            }
            while let Some(event) = state.quic.poll() {
                state.take(event);
            }
            if state.over.is_some() && !state.quic.is_closed() {
                let code = VarInt::from_u32(state.codes.close);
                state.quic.close(now, code, Bytes::new());
            }
            while let Some(event) = state.quic.poll_endpoint_events() {
                if let Some(event) = self.endpoint.handle_event(state.handle, event) {
                    state.quic.handle_event(event);
                }
            }
            self.send(state, now, cx);
            // A server needs no more than one packet to know; what it sends then is nobody's.
            if state.over.is_some() || state.quic.is_drained() {
                state.driver = None;
                return Poll::Ready(());
            }
            if !has_read && !self.poll_alarm(state, cx) {
                return Poll::Pending;
            }
        }
    }

    /// Takes some of what has come; `false` when nothing has.
    fn receive(
        &mut self,
        state: &mut State,
        now: Instant,
        cx: &mut Context<'_>,
        packet: &mut [u8],
    ) -> bool {
        for _ in 0..limits::QUIC_DATAGRAMS {
            match self.socket.poll_recv(cx, packet) {
                Poll::Ready(Ok(len)) => {
                    let data = BytesMut::from(packet.get(..len).unwrap_or_default());
                    self.out.clear();
                    let event =
                        self.endpoint
                            .handle(now, self.peer, None, None, data, &mut self.out);
                    if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
                        state.asked_at = None;
                        state.quic.handle_event(event);
                    }
                }
                Poll::Ready(Err(error)) => {
                    // Nobody listens there. What else there is passes, or the handshake takes too long.
                    if error.kind() == io::ErrorKind::ConnectionRefused {
                        state.end(Loss::Refused);
                    }
                    return true;
                }
                Poll::Pending => return false,
            }
        }
        true
    }

    fn send(&mut self, state: &mut State, now: Instant, cx: &mut Context<'_>) {
        loop {
            self.out.clear();
            let Some(transmit) = state.quic.poll_transmit(now, 1, &mut self.out) else {
                return;
            };
            let packet = self.out.get(..transmit.size).unwrap_or_default();
            // What the kernel does not take now is lost on the way, as far as the protocol can tell.
            let sent = self.socket.poll_send(cx, packet);
            if let Poll::Ready(Err(error)) = sent
                && error.kind() == io::ErrorKind::ConnectionRefused
            {
                state.end(Loss::Refused);
            }
        }
    }

    /// Sets the alarm; `true` if it has rung.
    fn poll_alarm(&mut self, state: &mut State, cx: &mut Context<'_>) -> bool {
        let quic = state.quic.poll_timeout().map(|at| {
            let since = at.saturating_duration_since(self.start.0).as_nanos();
            u64::try_from(since).map_or(Nanos::MAX, |since| self.start.1 + since)
        });
        let Some(at) = quic.into_iter().chain(state.silent_at()).min() else {
            return false;
        };
        if at < self.alarm.deadline() || self.alarm.deadline() <= clock::now_ns() {
            self.alarm = runtime::sleep_until(at);
        }
        Pin::new(&mut self.alarm).poll(cx).is_ready()
    }
}

impl Drop for Driver {
    /// Whatever ended its task: nobody is to wait for what it will not bring.
    fn drop(&mut self) {
        if let Ok(mut state) = self.state.try_borrow_mut() {
            state.end(Loss::Other("its task has ended".into()));
        }
    }
}

thread_local! {
    /// A packet just received, on its way to a connection.
    static PACKET: RefCell<Box<[u8]>> =
        RefCell::new(vec![0; limits::QUIC_DATAGRAM_OCTETS].into_boxed_slice());
}
