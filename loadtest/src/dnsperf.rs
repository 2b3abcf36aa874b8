//! Another project's generator for connections: dnsperf over TCP, TLS (DoT) and HTTP/2 (DoH), in a closed loop.
//!
//! It counts replies by rcode, and says the mean latency only.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::child::Process;
use crate::compare::sample::{PERCENTILES, Seen};
use crate::procfs;
use crate::scenario::Scenario;
use crate::servers;
use crate::stage::INTERRUPTED;
use crate::sys;

/// One run of it.
pub struct Shot<'a> {
    /// Its word for the transport: `tcp`, `dot` or `doh`.
    pub mode: &'static str,
    /// Who is asked.
    pub server: SocketAddr,
    /// For how long; it knows whole seconds only.
    pub seconds: f64,
    /// Connections, all opened at the start and kept.
    pub connections: usize,
    /// Queries in flight over all of them.
    pub window: usize,
    /// What is asked: `name TYPE` lines.
    pub queries: &'a Path,
    /// Its CPU.
    pub cpu: usize,
    /// Directory for its output.
    pub dir: &'a Path,
}

impl Shot<'_> {
    /// Asks, counts, and also returns its own CPU time in nanoseconds.
    pub fn run(&self, scenario: &Scenario) -> Result<(Seen, u64), String> {
        let program = servers::find_tool("dnsperf")
            .ok_or("dnsperf is not installed (Debian package dnsperf)")?;
        let seconds = self.seconds.ceil().max(1.0) as u64;
        let mut command = Command::new(program);
        command
            .args(["-m", self.mode, "-s", &self.server.ip().to_string()])
            .args(["-p", &self.server.port().to_string(), "-T", "1", "-e"])
            .args(["-c", &self.connections.to_string()])
            .args(["-q", &self.window.to_string(), "-l", &seconds.to_string()])
            .args(["-O", "suppress=timeout,unexpected", "-d"])
            .arg(self.queries);
        let log = self.dir.join("dnsperf.log");
        let mut process =
            Process::start(command, &[self.cpu], &log).map_err(|e| format!("dnsperf: {e}"))?;
        let began = Instant::now();
        let mut cpu_ns = 0;
        while !process.has_ended() {
            if sys::stop_requested() {
                return Err(INTERRUPTED.to_owned());
            }
            if began.elapsed() > PATIENCE + Duration::from_secs(seconds) {
                return Err(format!("dnsperf did not end:\n{}", process.last_words()));
            }
            // It is gone once it has ended, so the last reading before that counts.
            cpu_ns = cpu_ns.max(procfs::tree_cpu_ns(process.pid()));
            std::thread::sleep(Duration::from_millis(50));
        }
        let seen = parse(&process.output(), scenario)
            .ok_or_else(|| format!("dnsperf says no counts:\n{}", process.last_words()))?;
        Ok((seen, cpu_ns))
    }
}

fn parse(said: &str, scenario: &Scenario) -> Option<Seen> {
    let rest = |label: &str| {
        let mut lines = said.lines();
        lines.find_map(|line| line.trim().strip_prefix(label))
    };
    let first = |label: &str| rest(label)?.split_whitespace().next();
    let rcodes: Vec<&str> = rest("Response codes:")?.split(',').collect();
    let count_of = |rcode: u8| {
        let name = RCODES.get(usize::from(rcode))?;
        let entry = rcodes
            .iter()
            .find_map(|entry| entry.trim().strip_prefix(name))?;
        entry.split_whitespace().next()?.parse::<u64>().ok()
    };
    let sizes = rest("Average packet size:")?;
    Some(Seen {
        sent: first("Queries sent:")?.parse().ok()?,
        answered: first("Queries completed:")?.parse().ok()?,
        right: scenario.rcodes.iter().filter_map(|&r| count_of(r)).sum(),
        seconds: first("Run time (s):")?.parse().ok()?,
        latency_us: [f64::NAN; PERCENTILES.len()],
        reply_bytes: sizes.rsplit(' ').next()?.parse().ok()?,
    })
}

/// By number, as it writes them.
const RCODES: [&str; 6] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
];
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_output_is_read() {
        let said = "DNS Performance Testing Tool\nStatistics:\n\n  Queries sent:         40010\n  \
            Queries completed:    40000 (99.98%)\n  Queries lost:         10 (0.02%)\n\n  \
            Response codes:       NOERROR 39000 (97.50%), SERVFAIL 900 (2.25%), NXDOMAIN 100 (0.25%)\n  \
            Average packet size:  request 40, response 64\n  Run time (s):         2.000500\n  \
            Queries per second:   19995.001250\n";
        let seen = parse(said, Scenario::find("cached").unwrap()).unwrap();
        assert_eq!(
            (seen.sent, seen.answered, seen.right),
            (40_010, 40_000, 39_000)
        );
        assert_eq!((seen.reply_bytes, seen.seconds), (64.0, 2.0005));
        assert!(seen.latency_us[0].is_nan());
        let mixed = parse(said, Scenario::find("mixed").unwrap()).unwrap();
        assert_eq!(mixed.right, 39_100);
        for cut in 0..said.len() {
            // Whatever is missing, it is no panic.
            let _ = parse(&said[..cut], Scenario::find("cached").unwrap());
        }
        assert!(parse("Error: unable to connect", Scenario::find("zone").unwrap()).is_none());
    }
}
