//! TLS over a TCP stream. rustls does no I/O: records pass through buffers of the thread, so an idle connection holds none.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::RefCell;
use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedConnectionCommon,
    UnbufferedStatus, WriteTraffic,
};
use rustls::{ClientConfig, CommonState, ServerConfig};

use super::stream::with_chunk;
use crate::limits;
use crate::runtime::TcpStream;

/// One end of a TLS connection over TCP.
pub struct TlsStream<S> {
    tcp: TcpStream,
    side: Box<S>,
    /// Received octets of what is not whole yet: at most `limits::TLS_PARTIAL_OCTETS`.
    partial: Vec<u8>,
    /// Octets that came with the end of the handshake, before anybody could receive them.
    plain: Vec<u8>,
    /// Records that the kernel did not take yet: those of one call of [`TlsStream::poll_send`], and what the protocol itself has to say.
    outgoing: Vec<u8>,
    /// The peer has said that it ends.
    is_ended: bool,
    /// The peer is being told that we end.
    is_told: bool,
    /// The peer broke the protocol: there is an alert for it, and nothing else.
    is_broken: bool,
}

/// The server's end.
pub type ServerTls = TlsStream<UnbufferedServerConnection>;
/// The client's end.
pub type ClientTls = TlsStream<UnbufferedClientConnection>;

/// rustls's two ends, which have their calls in common but no trait.
pub trait Side: Deref<Target = UnbufferedConnectionCommon<Self::Data>> {
    /// rustls's own.
    type Data;

    /// Runs the protocol over received octets.
    fn process<'c, 'i>(&'c mut self, octets: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        octets: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(octets)
    }
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        octets: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(octets)
    }
}

impl ServerTls {
    /// The server's end of a connection that was just accepted.
    ///
    /// # Errors
    /// The configuration is none that rustls takes.
    pub fn accept(tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<ServerTls> {
        let side = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        Ok(TlsStream::new(tcp, side))
    }
}

impl ClientTls {
    /// The client's end of a connection that was just opened.
    ///
    /// # Errors
    /// The configuration is none that rustls takes.
    pub fn connect(
        tcp: TcpStream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<ClientTls> {
        let side = UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?;
        Ok(TlsStream::new(tcp, side))
    }
}

impl<S: Side> TlsStream<S> {
    fn new(tcp: TcpStream, side: S) -> TlsStream<S> {
        TlsStream {
            tcp,
            side: Box::new(side),
            partial: Vec::new(),
            plain: Vec::new(),
            outgoing: Vec::new(),
            is_ended: false,
            is_told: false,
            is_broken: false,
        }
    }

    /// The TCP connection below.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// What was agreed on, once the handshake is through.
    pub fn common(&self) -> &CommonState {
        &self.side
    }

    /// Shakes hands. Bound the wait with a timeout.
    ///
    /// # Errors
    /// The peer went away, or broke the protocol; it then gets the alert as far as the kernel takes it.
    pub fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut plain = std::mem::take(&mut self.plain);
        let outcome = self.poll_handshake_into(cx, &mut |octets| plain.extend_from_slice(octets));
        self.plain = plain;
        outcome
    }

    fn poll_handshake_into(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        // A client speaks first.
        let mut step = self.advance(&mut [], sink, None);
        loop {
            let flushed = self.poll_flush(cx);
            step?;
            if !self.side.is_handshaking() {
                return flushed;
            }
            if let Poll::Ready(Err(error)) = flushed {
                return Poll::Ready(Err(error));
            }
            step = match ready!(self.poll_fill(cx, sink)) {
                // A client may say all that it has to say, its end too, along with the end of its handshake.
                Ok(0) if self.side.is_handshaking() => Err(io::ErrorKind::UnexpectedEof.into()),
                outcome => outcome.map(drop),
            };
        }
    }

    /// Receives what there is and hands decrypted octets to `sink`; returns how many octets came, 0 at the end of the stream. Records
    /// that hold nothing for `sink` count too.
    ///
    /// # Errors
    /// As for [`TlsStream::poll_handshake`].
    pub fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        if !self.plain.is_empty() {
            let plain = std::mem::take(&mut self.plain);
            sink(&plain);
            return Poll::Ready(Ok(plain.len()));
        }
        if self.is_ended {
            return Poll::Ready(Ok(0));
        }
        let outcome = self.poll_fill(cx, sink);
        if !self.outgoing.is_empty() {
            // A key update that is to be confirmed, or an alert. What the kernel does not take goes out with the next reply.
            let _ = self.poll_flush(cx);
        }
        outcome
    }

    /// Encrypts octets and sends them after what is left of earlier ones; `plain` is empty once they are encrypted. `Ready` when the
    /// kernel has all.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, plain: &mut Vec<u8>) -> Poll<io::Result<()>> {
        self.poll_send_parts(cx, plain, <[u8]>::len)
    }

    /// As [`TlsStream::poll_send`], in records that end where parts do: `part_len` says how long the first part of some octets is, at
    /// least one octet. All leave together.
    ///
    /// # Errors
    /// As above.
    pub fn poll_send_parts(
        &mut self,
        cx: &mut Context<'_>,
        plain: &mut Vec<u8>,
        part_len: impl Fn(&[u8]) -> usize,
    ) -> Poll<io::Result<()>> {
        if !plain.is_empty() {
            ready!(self.poll_flush(cx))?;
            let mut rest = &plain[..];
            while !rest.is_empty() {
                let (part, later) = rest.split_at(part_len(rest).clamp(1, rest.len()));
                self.write_records(part.len(), &mut |traffic, out| traffic.encrypt(part, out))?;
                rest = later;
            }
            plain.clear();
        }
        self.poll_flush(cx)
    }

    /// Tells the peer that nothing more comes (close_notify), after what is left to be sent. `Ready` when the kernel has all.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_told && !self.is_broken {
            self.is_told = true;
            self.write_records(0, &mut |traffic, out| traffic.queue_close_notify(out))?;
        }
        ready!(self.poll_flush(cx))?;
        Poll::Ready(self.tcp.shutdown_write())
    }

    /// One read of the socket, through the buffer of the thread.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        with_chunk(|chunk| {
            let count = ready!(self.tcp.poll_read(cx, chunk))?;
            self.is_ended |= count == 0;
            self.advance(&mut chunk[..count], sink, None)?;
            // What came before the peer's end was received; the next call tells of the end.
            Poll::Ready(Ok(count))
        })
    }

    /// Runs the protocol over received octets; what it cannot use yet waits in `partial`.
    fn advance(
        &mut self,
        received: &mut [u8],
        sink: &mut dyn FnMut(&[u8]),
        write: Option<Write<'_, S::Data>>,
    ) -> io::Result<()> {
        if self.is_broken {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if self.partial.is_empty() {
            let used = self.run(received, sink, write)?;
            self.partial.extend_from_slice(&received[used..]);
        } else {
            let mut joined = std::mem::take(&mut self.partial);
            joined.extend_from_slice(received);
            let used = self.run(&mut joined, sink, write)?;
            if used < joined.len() {
                joined.drain(..used);
                self.partial = joined;
            }
        }
        if self.partial.len() > limits::TLS_PARTIAL_OCTETS {
            return Err(invalid("a TLS handshake message is too long"));
        }
        Ok(())
    }

    /// The loop that rustls asks for; returns how many of the octets it is through with.
    fn run(
        &mut self,
        octets: &mut [u8],
        sink: &mut dyn FnMut(&[u8]),
        mut write: Option<Write<'_, S::Data>>,
    ) -> io::Result<usize> {
        let mut used = 0;
        let mut failure = None;
        loop {
            let UnbufferedStatus { mut discard, state } = self.side.process(&mut octets[used..]);
            let mut is_done = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid)?;
                        discard += record.discard;
                        sink(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(&mut self.outgoing, 0, |out| match data.encode(out) {
                        Err(EncodeError::InsufficientSize(needs)) => Err(Short::Needs(needs)),
                        outcome => outcome.map_err(|_| Short::Exhausted),
                    })?;
                }
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    if let Some(Write { room, records }) = write.take() {
                        append(&mut self.outgoing, room, |out| {
                            records(&mut traffic, out).map_err(|error| match error {
                                EncryptError::InsufficientSize(needs) => Short::Needs(needs),
                                EncryptError::EncryptExhausted => Short::Exhausted,
                            })
                        })?;
                    }
                    is_done = true;
                }
                // They are sent in order, by whoever called.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.is_ended = true,
                Ok(ConnectionState::Closed) => (self.is_ended, is_done) = (true, true),
                // Waiting for the peer. Early data is never agreed on.
                Ok(_) => is_done = true,
                Err(error) => failure = Some(error),
            }
            used += discard;
            if failure.is_some() {
                self.is_broken = true;
                // The next round hands out the alert. One more would fail over the same octets, and rustls allows one alert.
                is_done = !self.side.wants_write();
            }
            if is_done {
                return match (failure, write) {
                    (Some(error), _) => Err(invalid(error)),
                    (None, Some(_)) => Err(io::ErrorKind::NotConnected.into()),
                    (None, None) => Ok(used),
                };
            }
        }
    }

    /// Lets `records` put records for `len` octets behind those that wait.
    fn write_records(&mut self, len: usize, records: Records<'_, S::Data>) -> io::Result<()> {
        if self.outgoing.capacity() == 0 {
            self.outgoing = SPARE.take();
        }
        let count = len.div_ceil(limits::TLS_RECORD_OCTETS).max(1);
        let room = len + count * RECORD_OVERHEAD;
        self.advance(&mut [], &mut |_| {}, Some(Write { room, records }))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgoing.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let outcome = super::stream::poll_write_from(&mut self.tcp, cx, &mut self.outgoing);
        if self.outgoing.is_empty() {
            let room = std::mem::take(&mut self.outgoing);
            if room.capacity() <= limits::TLS_SPARE_OCTETS {
                SPARE.set(room);
            }
        }
        outcome
    }
}

/// Writes records; rustls says how much room it needs if there is too little.
type Records<'w, D> =
    &'w mut dyn FnMut(&mut WriteTraffic<'_, D>, &mut [u8]) -> Result<usize, EncryptError>;

/// Records to write as soon as that is allowed.
struct Write<'w, D> {
    /// Octets that they take, probably.
    room: usize,
    records: Records<'w, D>,
}

/// Why nothing was written.
enum Short {
    Needs(InsufficientSizeError),
    Exhausted,
}

/// Appends what `write` writes, with `room` octets for it at first.
fn append(
    out: &mut Vec<u8>,
    room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Short>,
) -> io::Result<()> {
    let (start, mut room) = (out.len(), room);
    loop {
        out.resize(start + room, 0);
        match write(&mut out[start..]) {
            Ok(count) => {
                out.truncate(start + count);
                return Ok(());
            }
            Err(Short::Needs(needs)) if needs.required_size > room => room = needs.required_size,
            Err(_) => {
                out.truncate(start);
                return Err(invalid("TLS can encrypt no more with these keys"));
            }
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Header, content type, explicit nonce (TLS 1.2) and tag of a record, and what a cipher may pad.
const RECORD_OVERHEAD: usize = 64;

thread_local! {
    /// A buffer for records that nobody uses now.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::rc::Rc;

    use super::*;
    use crate::corefile::address::Scheme;
    use crate::runtime::{self, Backend, TcpListener, Wish, block_on};
    use crate::testing::authority::Authority;
    use crate::tls::{self, ClientAuth, Live, Settings, Source, Tickets};

    /// Both ends, their handshake done, on a thread of that backend.
    async fn pair(authority: Rc<Authority>) -> (ClientTls, ServerTls) {
        let (cert, key) = authority.server("dns", &["dns.test"]);
        let settings = Settings {
            source: Source::Files {
                cert: cert.into(),
                key: key.into(),
            },
            ca: None,
            client_auth: ClientAuth::NoCert,
            keylog: None,
        };
        let live = Live::load(settings, Arc::new(Tickets::new().unwrap())).unwrap();
        let roots = tls::roots(authority.ca_file().as_ref()).unwrap();
        let config = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listening.local_addr().unwrap();
        let listening = TcpListener::from_std(listening).unwrap();
        let (tx, rx) = runtime::local::oneshot();
        runtime::spawn(async move {
            let (tcp, _) = listening.accept().await.unwrap();
            let mut server = ServerTls::accept(tcp, live.current(Scheme::Tls)).unwrap();
            poll_fn(|cx| server.poll_handshake(cx)).await.unwrap();
            assert!(tx.send(server).is_ok());
        });
        let tcp = TcpStream::connect(None, addr).await.unwrap();
        let name = ServerName::try_from("dns.test").unwrap();
        let mut client = ClientTls::connect(tcp, Arc::new(config), name).unwrap();
        poll_fn(|cx| client.poll_handshake(cx)).await.unwrap();
        (client, rx.await.unwrap())
    }

    /// Sends all and ends, while the other end receives all; what it received.
    async fn carry<A: Side, B: Side>(
        from: &mut TlsStream<A>,
        to: &mut TlsStream<B>,
        octets: &[u8],
    ) -> Vec<u8> {
        let (mut left, mut got, mut is_told) = (octets.to_vec(), Vec::new(), false);
        poll_fn(|cx| {
            if !is_told && from.poll_send(cx, &mut left).is_ready() {
                is_told = from.poll_shutdown(cx).is_ready();
            }
            loop {
                match ready!(to.poll_recv(cx, &mut |octets| got.extend_from_slice(octets))) {
                    Ok(0) => return Poll::Ready(()),
                    outcome => drop(outcome.unwrap()),
                }
            }
        })
        .await;
        got
    }

    fn backends() -> Vec<Backend> {
        let ring = runtime::choose(Wish::Glommio);
        if let Err(refusal) = &ring {
            eprintln!("SKIPPED on glommio: {refusal}");
        }
        let ring = ring.ok().map(|choice| choice.backend);
        [Some(Backend::Epoll), ring].into_iter().flatten().collect()
    }

    #[test]
    fn octets_of_any_number_arrive_and_each_side_ends_for_itself() {
        for backend in backends() {
            for len in [1, 100, 16_384, 16_385, 1_000_000] {
                let sent: Vec<u8> = (0..len).map(|nth| (nth % 251) as u8).collect();
                let outcome = block_on(backend, async move {
                    let (mut client, mut server) = pair(Rc::new(Authority::new())).await;
                    assert!(
                        carry(&mut client, &mut server, &sent).await == sent,
                        "{len} up"
                    );
                    assert!(
                        carry(&mut server, &mut client, &sent).await == sent,
                        "{len} down"
                    );
                    assert!(server.partial.is_empty() && server.outgoing.is_empty());
                });
                outcome.unwrap();
            }
        }
    }
}
