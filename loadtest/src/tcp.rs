//! Stream sources: TCP and TLS connections with pipelined queries, opened again when the server ends them.
//!
//! Runs on: the generator's thread.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::corpus::Corpus;
use crate::flight::{Flight, Sent};
use crate::load::Sources;
use crate::report::Report;
use crate::security::{ALPN_DOT, Security};
use crate::stream::Stream;
use crate::sys::{self, Poller, Ready};

/// The connections of one run.
pub struct TcpSources<'a> {
    corpus: &'a Corpus,
    server: SocketAddr,
    // With it, connections speak TLS.
    tls: Option<(Arc<ClientConfig>, &'a Security)>,
    connections: Vec<Connection>,
    poller: Poller,
    ready: Vec<Ready>,
    chunk: Vec<u8>,
}

struct Connection {
    // `None` between an end by the server and the next successful connect.
    stream: Option<Stream>,
    flight: Flight,
    // Whole frames not yet taken by the kernel; `outgoing[..written]` is gone already.
    outgoing: Vec<u8>,
    written: usize,
    // The start of a frame whose end has not arrived.
    incoming: Vec<u8>,
    watches_write: bool,
}

impl<'a> TcpSources<'a> {
    /// Opens `count` connections (at least 1), over TLS where there is a security.
    pub fn open(
        server: SocketAddr,
        count: usize,
        corpus: &'a Corpus,
        security: Option<&'a Security>,
    ) -> io::Result<TcpSources<'a>> {
        let tls = security
            .map(|security| Ok((Arc::new(security.client(ALPN_DOT, false)?), security)))
            .transpose()
            .map_err(io::Error::other::<String>)?;
        let poller = Poller::new()?;
        let mut connections = Vec::new();
        for i in 0..count.max(1) {
            let stream = connect(server, &tls)?;
            poller.add(&stream, i, false)?;
            let flight = Flight::new((i * 8_009) as u16, Flight::span_of(count));
            connections.push(Connection {
                stream: Some(stream),
                flight,
                outgoing: Vec::new(),
                written: 0,
                incoming: Vec::new(),
                watches_write: false,
            });
        }
        Ok(TcpSources {
            corpus,
            server,
            tls,
            connections,
            poller,
            ready: Vec::new(),
            chunk: vec![0; CHUNK_BYTES],
        })
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
                    let used = take_frames(
                        &connection.incoming,
                        &mut connection.flight,
                        self.corpus,
                        report,
                    );
                    connection.incoming.drain(..used);
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

impl Sources for TcpSources<'_> {
    fn count(&self) -> usize {
        self.connections.len()
    }

    fn open(&self, source: usize) -> usize {
        self.connections[source].flight.open()
    }

    fn mixes(&self) -> bool {
        false
    }

    fn push(&mut self, source: usize, sent: Sent, report: &mut Report) {
        let connection = &mut self.connections[source];
        match connection.flight.launch(sent) {
            Some(id) => {
                let query = self.corpus.query(sent.question);
                connection
                    .outgoing
                    .extend_from_slice(&(query.len() as u16).to_be_bytes());
                connection.outgoing.extend_from_slice(&id.to_be_bytes());
                let start = connection.outgoing.len() - 2;
                connection.outgoing.extend_from_slice(&query[2..]);
                self.corpus
                    .finish(sent.question, &mut connection.outgoing[start..]);
            }
            None => report.lost += 1,
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
            }
            active.push(token);
        }
        Ok(())
    }

    fn expire(&mut self, before_ns: u64, report: &mut Report) -> io::Result<()> {
        for (i, connection) in self.connections.iter_mut().enumerate() {
            report.lost += connection.flight.expire(before_ns);
            if connection.stream.is_none()
                && before_ns != u64::MAX
                && let Ok(stream) = connect(self.server, &self.tls)
            {
                self.poller.add(&stream, i, false)?;
                connection.stream = Some(stream);
                report.reconnects += 1;
            }
        }
        Ok(())
    }
}

impl Connection {
    /// The server ended the connection: all that was in flight on it is lost.
    fn fail(&mut self, report: &mut Report) {
        // Dropping the stream takes it out of the epoll set.
        self.stream = None;
        self.outgoing.clear();
        self.written = 0;
        self.incoming.clear();
        self.watches_write = false;
        report.lost += self.flight.expire(u64::MAX);
    }
}

/// Counts the whole frames at the start of `bytes`; returns how many bytes they take.
fn take_frames(bytes: &[u8], flight: &mut Flight, corpus: &Corpus, report: &mut Report) -> usize {
    let now_ns = sys::now_ns();
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
    at
}

fn connect(server: SocketAddr, tls: &Option<(Arc<ClientConfig>, &Security)>) -> io::Result<Stream> {
    let tcp = TcpStream::connect_timeout(&server, CONNECT_TIMEOUT)?;
    tcp.set_nodelay(true)?;
    let mut stream = match tls {
        None => Stream::plain(tcp),
        Some((config, security)) => Stream::tls(tcp, config, security)?,
    };
    stream.set_nonblocking(true)?;
    Ok(stream)
}

const CHUNK_BYTES: usize = 64 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::Rate;

    #[test]
    fn frames_are_counted_when_whole() {
        let corpus = Corpus::parse("a.b A", None).unwrap();
        let mut flight = Flight::new(0, 16);
        let mut report = Report::new(Rate::Max);
        let mut stream = Vec::new();
        for _ in 0..2 {
            let id = flight
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
        assert_eq!(
            take_frames(&stream[..1], &mut flight, &corpus, &mut report),
            0
        );
        assert_eq!(
            take_frames(&stream[..frame - 1], &mut flight, &corpus, &mut report),
            0
        );
        assert_eq!(
            take_frames(&stream[..frame + 5], &mut flight, &corpus, &mut report),
            frame
        );
        assert_eq!((report.answered, report.wrong), (1, 0));
        assert_eq!(
            take_frames(&stream, &mut flight, &corpus, &mut report),
            2 * frame
        );
        assert_eq!(
            (report.answered, report.wrong),
            (2, 1),
            "the first one again is a duplicate"
        );
    }
}
