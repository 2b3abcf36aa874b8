//! Stream sources: TCP and TLS connections with pipelined queries, opened again when the server ends them.
//!
//! Runs on: the generator's thread.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::corpus::Corpus;
use crate::flight::{Flight, Sent};
use crate::load::Sources;
use crate::report::Report;
use crate::security::{ALPN_DOT, Security};
use crate::stream::{Stream, connect_from};
use crate::sys::{self, Poller, Ready};

/// What is said on a connection: how queries are written and replies are read.
pub trait Dialogue {
    /// The protocol that TLS agrees on.
    const ALPN: &'static [u8];
    /// A dialogue on connection `number` of `count`.
    fn new(number: usize, count: usize) -> Self;
    /// Queries without a reply.
    fn open(&self) -> usize;
    /// Appends what a new connection begins with.
    fn begin(&mut self, out: &mut Vec<u8>);
    /// Appends a query; whether there is room for one more in flight.
    fn push(&mut self, sent: Sent, corpus: &Corpus, out: &mut Vec<u8>) -> bool;
    /// Counts the whole messages at the start of `bytes`, and appends what they call for. Returns how many bytes they take; an error
    /// ends the connection.
    fn take(
        &mut self,
        bytes: &[u8],
        corpus: &Corpus,
        report: &mut Report,
        out: &mut Vec<u8>,
    ) -> Result<usize, Broken>;
    /// Gives up what should have left before `before_ns`; how many that were.
    fn expire(&mut self, before_ns: u64) -> u64;
}

/// The server does not keep to the protocol, or ends it.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken;

/// The connections of one run.
pub struct TcpSources<'a, D> {
    corpus: &'a Corpus,
    server: SocketAddr,
    // With it, connections speak TLS.
    tls: Option<(Arc<ClientConfig>, &'a Security)>,
    connections: Vec<Connection<D>>,
    poller: Poller,
    ready: Vec<Ready>,
    chunk: Vec<u8>,
}

struct Connection<D> {
    from: IpAddr,
    // `None` between an end by the server and the next successful connect.
    stream: Option<Stream>,
    dialogue: D,
    // Whole messages not yet taken by the kernel; `outgoing[..written]` is gone already.
    outgoing: Vec<u8>,
    written: usize,
    // The start of a message whose end has not arrived.
    incoming: Vec<u8>,
    watches_write: bool,
}

impl<'a, D: Dialogue> TcpSources<'a, D> {
    /// Opens a connection for each element of `from`, the address that it comes from; over TLS where there is a security.
    pub fn open(
        server: SocketAddr,
        from: &[IpAddr],
        corpus: &'a Corpus,
        security: Option<&'a Security>,
    ) -> io::Result<TcpSources<'a, D>> {
        let tls = security
            .map(|security| Ok((Arc::new(security.client(D::ALPN, false)?), security)))
            .transpose()
            .map_err(io::Error::other::<String>)?;
        let mut sources = TcpSources {
            corpus,
            server,
            tls,
            connections: Vec::with_capacity(from.len()),
            poller: Poller::new()?,
            ready: Vec::new(),
            chunk: vec![0; CHUNK_BYTES],
        };
        let count = from.len();
        for (i, &from) in from.iter().enumerate() {
            if sys::stop_requested() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            sources.connections.push(Connection {
                from,
                stream: None,
                dialogue: D::new(i, count),
                outgoing: Vec::new(),
                written: 0,
                incoming: Vec::new(),
                watches_write: false,
            });
            sources.connect(i)?;
        }
        Ok(sources)
    }

    /// Connections that the server has not ended, as far as was noticed.
    pub fn alive(&self) -> usize {
        self.connections
            .iter()
            .filter(|c| c.stream.is_some())
            .count()
    }

    fn connect(&mut self, source: usize) -> io::Result<()> {
        let connection = &mut self.connections[source];
        let tcp = connect_from(connection.from, self.server)?;
        let mut stream = match &self.tls {
            None => Stream::plain(tcp),
            Some((config, security)) => Stream::tls(tcp, config, security)?,
        };
        stream.set_nonblocking(true)?;
        self.poller.add(&stream, source, false)?;
        connection.stream = Some(stream);
        connection.dialogue.begin(&mut connection.outgoing);
        Ok(())
    }

    fn take_replies(&mut self, source: usize, report: &mut Report) {
        let connection = &mut self.connections[source];
        loop {
            let Some(stream) = &mut connection.stream else {
                return;
            };
            match stream.read(&mut self.chunk) {
                Ok(0) => return connection.fail(report),
                Ok(n) => {
                    connection.incoming.extend_from_slice(&self.chunk[..n]);
                    let taken = connection.dialogue.take(
                        &connection.incoming,
                        self.corpus,
                        report,
                        &mut connection.outgoing,
                    );
                    match taken {
                        Ok(used) => drop(connection.incoming.drain(..used)),
                        Err(Broken) => return connection.fail(report),
                    }
                    if n < self.chunk.len() && stream.is_drained() {
                        return;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return connection.fail(report),
            }
        }
    }

    fn write_out(&mut self, source: usize, report: &mut Report) -> io::Result<()> {
        let connection = &mut self.connections[source];
        let Some(stream) = &mut connection.stream else {
            return Ok(());
        };
        while connection.written < connection.outgoing.len() {
            match stream.write(&connection.outgoing[connection.written..]) {
                Ok(0) => break,
                Ok(n) => connection.written += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    connection.fail(report);
                    return Ok(());
                }
            }
        }
        let is_written = connection.written == connection.outgoing.len();
        let blocked = !is_written || !stream.push_out();
        if is_written {
            connection.outgoing.clear();
            connection.written = 0;
        }
        if blocked != connection.watches_write {
            connection.watches_write = blocked;
            self.poller.watch_write(stream, source, blocked)?;
        }
        Ok(())
    }
}

impl<D: Dialogue> Sources for TcpSources<'_, D> {
    fn count(&self) -> usize {
        self.connections.len()
    }

    fn open(&self, source: usize) -> usize {
        self.connections[source].dialogue.open()
    }

    fn mixes(&self) -> bool {
        false
    }

    fn push(&mut self, source: usize, sent: Sent, report: &mut Report) {
        let connection = &mut self.connections[source];
        let out = &mut connection.outgoing;
        if !connection.dialogue.push(sent, self.corpus, out) {
            report.lost += 1;
        }
    }

    fn flush(&mut self, source: usize, report: &mut Report) -> io::Result<()> {
        self.write_out(source, report)
    }

    fn receive(
        &mut self,
        timeout: Duration,
        active: &mut Vec<usize>,
        report: &mut Report,
    ) -> io::Result<()> {
        self.poller.wait(timeout, &mut self.ready)?;
        active.clear();
        for i in 0..self.ready.len() {
            let Ready {
                token,
                readable,
                writable,
            } = self.ready[i];
            if writable {
                self.write_out(token, report)?;
            }
            if readable {
                self.take_replies(token, report);
                self.write_out(token, report)?;
            }
            active.push(token);
        }
        Ok(())
    }

    fn expire(&mut self, before_ns: u64, report: &mut Report) -> io::Result<()> {
        for i in 0..self.connections.len() {
            let connection = &mut self.connections[i];
            report.lost += connection.dialogue.expire(before_ns);
            let is_gone = connection.stream.is_none() && before_ns != u64::MAX;
            if is_gone && self.connect(i).is_ok() {
                report.reconnects += 1;
                self.write_out(i, report)?;
            }
        }
        Ok(())
    }
}

impl<D: Dialogue> Connection<D> {
    /// The server ended the connection: all that was in flight on it is lost.
    fn fail(&mut self, report: &mut Report) {
        // Dropping the stream takes it out of the epoll set.
        self.stream = None;
        self.outgoing.clear();
        self.written = 0;
        self.incoming.clear();
        self.watches_write = false;
        report.lost += self.dialogue.expire(u64::MAX);
    }
}

/// Messages with their length in front (RFC 1035 section 4.2.2), over TCP and TLS.
pub struct Framed(Flight);

impl Dialogue for Framed {
    const ALPN: &'static [u8] = ALPN_DOT;

    fn new(number: usize, count: usize) -> Framed {
        Framed(Flight::new((number * 8_009) as u16, Flight::span_of(count)))
    }

    fn open(&self) -> usize {
        self.0.open()
    }

    fn begin(&mut self, _: &mut Vec<u8>) {}

    fn push(&mut self, sent: Sent, corpus: &Corpus, out: &mut Vec<u8>) -> bool {
        let Some(id) = self.0.launch(sent) else {
            return false;
        };
        let query = corpus.query(sent.question);
        out.extend_from_slice(&(query.len() as u16).to_be_bytes());
        out.extend_from_slice(&id.to_be_bytes());
        let start = out.len() - 2;
        out.extend_from_slice(&query[2..]);
        corpus.finish(sent.question, &mut out[start..]);
        true
    }

    fn take(
        &mut self,
        bytes: &[u8],
        corpus: &Corpus,
        report: &mut Report,
        _: &mut Vec<u8>,
    ) -> Result<usize, Broken> {
        let now_ns = sys::now_ns();
        let flight = &mut self.0;
        let mut at = 0;
        while let Some(&[high, low]) = bytes.get(at..at + 2) {
            let len = usize::from(u16::from_be_bytes([high, low]));
            let Some(reply) = bytes.get(at + 2..at + 2 + len) else {
                break;
            };
            at += 2 + len;
            let id = reply.get(..2).map(|b| u16::from_be_bytes([b[0], b[1]]));
            match id.and_then(|id| flight.look(id).map(|sent| (id, sent))) {
                Some((id, sent)) if corpus.answered_by(sent.question, reply) => {
                    flight.land(id);
                    report.count_answer(reply, now_ns.saturating_sub(sent.intended_ns));
                }
                _ => report.wrong += 1,
            }
        }
        Ok(at)
    }

    fn expire(&mut self, before_ns: u64) -> u64 {
        self.0.expire(before_ns)
    }
}

const CHUNK_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::Rate;

    #[test]
    fn frames_are_counted_when_whole() {
        let corpus = Corpus::parse("a.b A", None).unwrap();
        let mut framed = Framed(Flight::new(0, 16));
        let mut report = Report::new(Rate::Max);
        let mut stream = Vec::new();
        for _ in 0..2 {
            let id = framed
                .0
                .launch(Sent {
                    question: 0,
                    intended_ns: 0,
                })
                .unwrap();
            let mut reply = corpus.query(0).to_vec();
            reply[..2].copy_from_slice(&id.to_be_bytes());
            reply[2] |= 0x80;
            stream.extend_from_slice(&(reply.len() as u16).to_be_bytes());
            stream.extend_from_slice(&reply);
        }
        let frame = stream.len() / 2;
        let mut take = |bytes: &[u8]| {
            let taken = framed.take(bytes, &corpus, &mut report, &mut Vec::new());
            (taken.unwrap(), report.answered, report.wrong)
        };
        assert_eq!(take(&stream[..1]), (0, 0, 0));
        assert_eq!(take(&stream[..frame - 1]), (0, 0, 0));
        assert_eq!(take(&stream[..frame + 5]), (frame, 1, 0));
        assert_eq!(
            take(&stream),
            (2 * frame, 2, 1),
            "the first one again is a duplicate"
        );
    }
}
