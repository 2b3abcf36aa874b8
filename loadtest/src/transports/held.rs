//! Connections that ask one thing and are then held, from as many addresses of 127.0.0.0/8 as it takes.
//!
//! Runs on: the generator's thread.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::corpus::Corpus;
use crate::flight::Sent;
use crate::load::Sources;
use crate::pace::Rate;
use crate::quic::QuicSources;
use crate::report::Report;
use crate::security::{ALPN_DOT, ALPN_H2, Security};
use crate::stage::INTERRUPTED;
use crate::stream::{Stream, connect_from};
use crate::sys;

use super::https::Https;

/// What connections speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TLS.
    Dot,
    /// HTTP/2.
    Doh,
    /// QUIC.
    Doq,
}

impl Kind {
    /// As in tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Dot => "DoT",
            Kind::Doh => "DoH",
            Kind::Doq => "DoQ",
        }
    }

    /// The scheme of its listener.
    pub fn scheme(self) -> &'static str {
        match self {
            Kind::Dot => "tls",
            Kind::Doh => "https",
            Kind::Doq => "quic",
        }
    }
}

/// Connections that live as long as this.
pub enum Held<'a> {
    /// Over TLS.
    Dot(Vec<Stream>),
    /// Over HTTP/2.
    Doh(Vec<Https>),
    /// Over QUIC.
    Doq(QuicSources<'a>),
}

/// Opens `count` connections, the first from address number `first`, and asks one thing on each.
pub fn hold<'a>(
    kind: Kind,
    server: SocketAddr,
    first: usize,
    count: usize,
    corpus: &'a Corpus,
    security: &Security,
) -> Result<Held<'a>, String> {
    let from: Vec<IpAddr> = (first..first + count).map(address).collect();
    let query = corpus.query(0);
    match kind {
        Kind::Dot => {
            let dial = Dial::new(server, ALPN_DOT, security)?;
            let open = |mut stream: Stream| {
                let reply = stream.ask(query)?;
                Ok((stream, reply))
            };
            dial.all(kind, &from, corpus, open).map(Held::Dot)
        }
        Kind::Doh => {
            let dial = Dial::new(server, ALPN_H2, security)?;
            let open = |stream| {
                let mut https = Https::begin(stream)?;
                let reply = https.ask(query)?;
                Ok((https, reply))
            };
            dial.all(kind, &from, corpus, open).map(Held::Doh)
        }
        Kind::Doq => {
            let mut sources = QuicSources::open(server, &from, corpus, security)
                .map_err(|e| format!("{count} DoQ connections: {e}"))?;
            warm(&mut sources)?;
            Ok(Held::Doq(sources))
        }
    }
}

impl Held<'_> {
    /// How many the server has not ended.
    pub fn alive(&self) -> usize {
        match self {
            Held::Dot(streams) => streams.iter().filter(|s| is_open(s)).count(),
            Held::Doh(https) => https.iter().filter(|h| is_open(h.stream())).count(),
            Held::Doq(sources) => sources.alive(),
        }
    }

    /// Lets QUIC acknowledge and notice what has come; streams have the kernel for that.
    pub fn tend(&mut self) -> Result<(), String> {
        let Held::Doq(sources) = self else {
            return Ok(());
        };
        let (mut active, mut report) = (Vec::new(), Report::new(Rate::Max));
        let began = Instant::now();
        while began.elapsed() < TEND {
            let taken = sources.receive(PAUSE, &mut active, &mut report);
            taken
                .and_then(|()| sources.run_timers(0))
                .map_err(|e| format!("DoQ: {e}"))?;
        }
        Ok(())
    }
}

/// Address number `i`: so few connections from each that no limit for a client is met.
pub fn address(i: usize) -> IpAddr {
    let host = FIRST_HOST + (i / PER_ADDRESS) as u32;
    Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + host).into()
}

/// How TLS connections are made.
struct Dial<'a> {
    server: SocketAddr,
    config: Arc<ClientConfig>,
    security: &'a Security,
}

impl<'a> Dial<'a> {
    fn new(server: SocketAddr, alpn: &[u8], security: &'a Security) -> Result<Dial<'a>, String> {
        Ok(Dial {
            server,
            config: security.client(alpn, false)?.into(),
            security,
        })
    }

    /// A connection from each address; `open` makes of it what is held, and asks for the first answer.
    fn all<T>(
        &self,
        kind: Kind,
        from: &[IpAddr],
        corpus: &Corpus,
        open: impl Fn(Stream) -> io::Result<(T, Vec<u8>)>,
    ) -> Result<Vec<T>, String> {
        let one = |from: IpAddr| {
            let tcp = connect_from(from, self.server)?;
            let (held, reply) = open(Stream::tls(tcp, &self.config, self.security)?)?;
            match corpus.answered_by(0, &reply) {
                true => Ok(held),
                false => Err(io::Error::other("the reply does not answer the question")),
            }
        };
        let mut all = Vec::with_capacity(from.len());
        for (i, &from) in from.iter().enumerate() {
            if sys::stop_requested() {
                return Err(INTERRUPTED.to_owned());
            }
            let opened = one(from).map_err(|e| format!("{} connection {i}: {e}", kind.name()));
            all.push(opened?);
        }
        Ok(all)
    }
}

/// Asks one thing on each connection, a few at a time.
fn warm(sources: &mut QuicSources) -> Result<(), String> {
    let told = |e: io::Error| format!("DoQ: {e}");
    let mut report = Report::new(Rate::Max);
    let mut active = Vec::new();
    let count = sources.count();
    for i in 0..count {
        let sent = Sent {
            question: 0,
            intended_ns: sys::now_ns(),
        };
        sources.push(i, sent, &mut report);
        sources.flush(i, &mut report).map_err(told)?;
        let began = Instant::now();
        let is_last = i + 1 == count;
        let enough =
            |report: &Report| report.answered as usize + if is_last { 0 } else { AT_ONCE } > i;
        while !enough(&report) {
            if began.elapsed() > PATIENCE || sys::stop_requested() {
                return Err(format!("DoQ: {} of {count} answered", report.answered));
            }
            sources
                .receive(PAUSE, &mut active, &mut report)
                .map_err(told)?;
            sources.run_timers(0).map_err(told)?;
        }
    }
    Ok(())
}

/// Whether the server has not ended the connection; what it has sent and nobody has read does not matter.
fn is_open(stream: &Stream) -> bool {
    let tcp = stream.tcp();
    if tcp.set_nonblocking(true).is_err() {
        return false;
    }
    match tcp.peek(&mut [0]) {
        Ok(n) => n > 0,
        Err(e) => e.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Below the number of connections that one client may have in any server here.
const PER_ADDRESS: usize = 250;
/// 127.0.0.1 is left to the others.
const FIRST_HOST: u32 = 1;
const AT_ONCE: usize = 32;
const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(5);
const TEND: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_come_from_many_addresses() {
        assert_eq!(address(0), IpAddr::from([127, 0, 0, 2]));
        assert_eq!(address(PER_ADDRESS - 1), address(0));
        assert_eq!(address(PER_ADDRESS), IpAddr::from([127, 0, 0, 3]));
        assert_eq!(address(20_000), IpAddr::from([127, 0, 0, 82]));
    }
}
