//! Connections that ask one thing and are then held, from as many addresses of 127.0.0.0/8 as it takes.
//!
//! Runs on: the generator's thread.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::corpus::Corpus;
use crate::flight::Sent;
use crate::https::Http2;
use crate::load::Sources;
use crate::pace::Rate;
use crate::quic::QuicSources;
use crate::report::Report;
use crate::security::Security;
use crate::stage::INTERRUPTED;
use crate::sys;
use crate::tcp::{Framed, TcpSources};

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

    /// What has this name.
    pub fn find(name: &str) -> Option<Kind> {
        let mut kinds = [Kind::Dot, Kind::Doh, Kind::Doq].into_iter();
        kinds.find(|kind| kind.name() == name)
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
    Dot(TcpSources<'a, Framed>),
    /// Over HTTP/2.
    Doh(TcpSources<'a, Http2>),
    /// Over QUIC.
    Doq(QuicSources<'a>),
}

/// How many listeners `count` connections need: CoreDNS and percoredns bound those of one `quic://` listener, and no directive changes that.
pub fn listeners(kind: Kind, count: usize) -> usize {
    match kind {
        Kind::Doq => count.div_ceil(PORTION),
        Kind::Dot | Kind::Doh => 1,
    }
}

/// Opens `count` connections, the first from address number `first`, over all listeners, and asks one thing on each. Ends early where
/// no more can be had, and says why.
pub fn hold_all<'a>(
    kind: Kind,
    servers: &[SocketAddr],
    first: usize,
    count: usize,
    corpus: &'a Corpus,
    security: &'a Security,
) -> (Vec<Held<'a>>, Option<String>) {
    let mut all = Vec::new();
    for (server, at) in servers.iter().cycle().zip((0..count).step_by(PORTION)) {
        let portion = PORTION.min(count - at);
        match hold(kind, *server, first + at, portion, corpus, security) {
            Ok(held) => all.push(held),
            Err(e) => return (all, Some(format!("after {at} of {count}: {e}"))),
        }
    }
    (all, None)
}

/// The same at one listener.
fn hold<'a>(
    kind: Kind,
    server: SocketAddr,
    first: usize,
    count: usize,
    corpus: &'a Corpus,
    security: &'a Security,
) -> Result<Held<'a>, String> {
    let from: Vec<IpAddr> = (first..first + count).map(address).collect();
    let open = || {
        Ok(match kind {
            Kind::Dot => Held::Dot(TcpSources::open(server, &from, corpus, Some(security))?),
            Kind::Doh => Held::Doh(TcpSources::open(server, &from, corpus, Some(security))?),
            Kind::Doq => Held::Doq(QuicSources::open(server, &from, corpus, security)?),
        })
    };
    let told = |e: io::Error| format!("{count} {} connections: {e}", kind.name());
    let mut held = open().map_err(told)?;
    let answered = warm(held.sources()).map_err(told)?;
    match answered == count {
        true => {
            // The last acknowledgements; after that nobody has anything to say.
            held.tend()?;
            Ok(held)
        }
        false if sys::stop_requested() => Err(INTERRUPTED.to_owned()),
        false => Err(format!(
            "{count} {} connections: {answered} were answered",
            kind.name()
        )),
    }
}

impl<'a> Held<'a> {
    fn sources(&mut self) -> &mut (dyn Sources + 'a) {
        match self {
            Held::Dot(sources) => sources,
            Held::Doh(sources) => sources,
            Held::Doq(sources) => sources,
        }
    }

    /// How many there are, ended ones too.
    pub fn count(&self) -> usize {
        match self {
            Held::Dot(sources) => sources.count(),
            Held::Doh(sources) => sources.count(),
            Held::Doq(sources) => sources.count(),
        }
    }

    /// Takes in what has come, and acknowledges it; how many connections the server has not ended then.
    pub fn tend(&mut self) -> Result<usize, String> {
        let (mut active, mut report) = (Vec::new(), Report::new(Rate::Max));
        let began = Instant::now();
        while began.elapsed() < TEND {
            let mut taken = self.sources().receive(PAUSE, &mut active, &mut report);
            if let Held::Doq(sources) = self {
                taken = taken.and_then(|()| sources.run_timers(0));
            }
            taken.map_err(|e| e.to_string())?;
        }
        Ok(match self {
            Held::Dot(sources) => sources.alive(),
            Held::Doh(sources) => sources.alive(),
            Held::Doq(sources) => sources.alive(),
        })
    }
}

/// Takes in what has come on all of them; how many the server has not ended.
pub fn tend_all(held: &mut [Held]) -> Result<usize, String> {
    held.iter_mut().map(Held::tend).sum()
}

/// Address number `i`: so few connections from each that no limit for a client is met.
pub fn address(i: usize) -> IpAddr {
    let host = FIRST_HOST + (i / PER_ADDRESS) as u32;
    Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + host).into()
}

/// Asks one thing on each connection, a few at a time; how many were answered.
fn warm(sources: &mut dyn Sources) -> io::Result<usize> {
    let mut report = Report::new(Rate::Max);
    let mut active = Vec::new();
    let count = sources.count();
    let mut heard = Instant::now();
    for i in 0..count {
        let sent = Sent {
            question: 0,
            intended_ns: sys::now_ns(),
        };
        sources.push(i, sent, &mut report);
        sources.flush(i, &mut report)?;
        let ahead = if i + 1 == count { 0 } else { AT_ONCE };
        while report.answered as usize + ahead <= i {
            let answered = report.answered;
            sources.receive(PAUSE, &mut active, &mut report)?;
            if report.answered > answered {
                heard = Instant::now();
            } else if heard.elapsed() > PATIENCE || sys::stop_requested() {
                return Ok(report.answered as usize);
            }
            // Nothing is so old; but QUIC has timers that this looks after.
            sources.expire(0, &mut report)?;
        }
    }
    Ok(report.answered as usize)
}

/// Below the number of connections that one client may have in any server here.
const PER_ADDRESS: usize = 250;
/// 127.0.0.1 is left to the others.
const FIRST_HOST: u32 = 1;
/// Connections that are opened together; 50 others may be at the same listener of QUIC.
const PORTION: usize = 150;
const AT_ONCE: usize = 32;
const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(5);
/// Longer than QUIC may wait with an acknowledgement.
const TEND: Duration = Duration::from_millis(40);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_come_from_many_addresses() {
        assert_eq!(address(0), IpAddr::from([127, 0, 0, 2]));
        assert_eq!(address(PER_ADDRESS - 1), address(0));
        assert_eq!(address(PER_ADDRESS), IpAddr::from([127, 0, 0, 3]));
        assert_eq!(address(20_000), IpAddr::from([127, 0, 0, 82]));
        assert_eq!(listeners(Kind::Doq, 1000), 7);
        assert_eq!(listeners(Kind::Dot, 1000), 1);
    }
}
