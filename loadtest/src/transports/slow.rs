//! Clients that cost a server more than they give it: readers that read nothing, and writers of one octet a second.
//!
//! Runs on: a thread of its own, until it is told to stop. Connections that the server ends are opened again.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustls::ClientConfig;

use crate::corpus::Corpus;
use crate::security::{ALPN_DOT, Security};
use crate::stream::{Stream, connect_from};
use crate::sys;

use super::held;

/// Whom they annoy.
pub struct Slow<'a> {
    /// TCP.
    pub tcp: SocketAddr,
    /// TLS.
    pub tls: SocketAddr,
    /// How many of each of the four kinds (readers, writers; TCP, TLS).
    pub each: usize,
    /// What is asked.
    pub corpus: &'a Corpus,
    /// Whose certificate is right.
    pub security: &'a Security,
    /// Number of the first address that they come from.
    pub first: usize,
}

struct Client {
    is_tls: bool,
    is_reader: bool,
    number: usize,
    stream: Option<Stream>,
    // How much of its message a writer has written, or a reader of its batch.
    written: usize,
}

impl Slow<'_> {
    /// Does it until `stop`; `began` is set once all of them have been there. How often one had to come anew.
    pub fn run(&self, stop: &AtomicBool, began: &AtomicBool) -> Result<usize, String> {
        sys::stand_back().map_err(|e| format!("nice value: {e}"))?;
        let config = Arc::new(self.security.client(ALPN_DOT, false)?);
        let query = self.corpus.query(0);
        let frame = [&(query.len() as u16).to_be_bytes()[..], query].concat();
        let batch = frame.repeat(BATCH);
        let mut clients: Vec<Client> = (0..4 * self.each).map(Client::new).collect();
        let again = AtomicUsize::new(0);
        let is_over = || stop.load(Ordering::Relaxed) || sys::stop_requested();
        // Each at a moment of its own: clients that nobody drives do not all come at once.
        let pause = TURN / clients.len().max(1) as u32;
        while !is_over() {
            for client in &mut clients {
                if is_over() {
                    break;
                }
                if client.stream.is_none() {
                    client.stream = self.open(client, &config).ok();
                    again.fetch_add(1, Ordering::Relaxed);
                }
                let is_lost = match client.is_reader {
                    true => client.read_nothing(&batch),
                    false => client.write_one(&frame),
                };
                if is_lost.is_err() {
                    client.stream = None;
                    client.written = 0;
                }
                std::thread::sleep(pause);
            }
            began.store(true, Ordering::Relaxed);
        }
        Ok(again.into_inner().saturating_sub(clients.len()))
    }

    fn open(&self, client: &Client, config: &Arc<ClientConfig>) -> io::Result<Stream> {
        let from = held::address(self.first + client.number);
        let mut stream = match client.is_tls {
            true => Stream::tls(connect_from(from, self.tls)?, config, self.security)?,
            false => Stream::plain(connect_from(from, self.tcp)?),
        };
        if client.is_reader {
            // Otherwise megabytes of answers lie here before the server notices.
            socket2::SockRef::from(stream.tcp()).set_recv_buffer_size(RECEIVE_BYTES)?;
        }
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

impl Client {
    fn new(number: usize) -> Client {
        Client {
            is_tls: number.is_multiple_of(2),
            is_reader: number.is_multiple_of(4) || number % 4 == 1,
            number,
            stream: None,
            written: 0,
        }
    }

    /// Asks for as much as the connection takes, and leaves all answers where they are.
    fn read_nothing(&mut self, batch: &[u8]) -> io::Result<()> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        for _ in 0..BATCHES {
            match stream.write(&batch[self.written..]) {
                Ok(0) => break,
                Ok(n) => self.written = (self.written + n) % batch.len(),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        stream.push_out();
        Ok(())
    }

    /// Writes one octet more, round and round.
    fn write_one(&mut self, frame: &[u8]) -> io::Result<()> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let at = self.written % frame.len();
        match stream.write(&frame[at..at + 1]) {
            Ok(n) => self.written += n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
        stream.push_out();
        Ok(())
    }
}

const RECEIVE_BYTES: usize = 4096;
/// Queries that a reader sends at once.
const BATCH: usize = 64;
/// Batches that it tries to send in a turn.
const BATCHES: usize = 64;
/// How often each of them does something.
const TURN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_of_each_kind() {
        let clients: Vec<Client> = (0..12).map(Client::new).collect();
        for (is_tls, is_reader) in [(true, true), (true, false), (false, true), (false, false)] {
            let of_kind = clients
                .iter()
                .filter(|c| (c.is_tls, c.is_reader) == (is_tls, is_reader));
            assert_eq!(of_kind.count(), 3, "TLS {is_tls}, reader {is_reader}");
        }
    }
}
