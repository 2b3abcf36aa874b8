//! Another project's generator: kxdpgun sends from and receives into memory shared with a network card, past the kernel's sockets.
//!
//! It keeps an open loop and counts replies, but measures no latency.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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
    /// The network card that it sends from.
    pub card: &'a str,
    /// Who is asked.
    pub server: SocketAddr,
    /// Queries a second.
    pub qps: u64,
    /// For how long; it knows whole seconds only.
    pub seconds: f64,
    /// A file in its format, from [`write_queries`].
    pub queries: &'a Path,
    /// Its CPU.
    pub cpu: usize,
    /// Directory for its output.
    pub dir: &'a Path,
}

/// Writes a corpus (`name TYPE` lines) in kxdpgun's format, with EDNS.
pub fn write_queries(corpus: &str, dir: &Path) -> Result<PathBuf, String> {
    let path = dir.join("kxdpgun.queries");
    let mut text = String::with_capacity(corpus.len() + corpus.len() / 8);
    for line in corpus.lines() {
        text.push_str(line);
        text.push_str(" E\n");
    }
    fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

impl Shot<'_> {
    /// Sends, counts, and also returns its own CPU time in nanoseconds.
    pub fn run(&self, scenario: &Scenario) -> Result<(Seen, u64), String> {
        let program = servers::find_tool("kxdpgun")
            .ok_or("kxdpgun is not installed; --veth needs it (Debian package knot-dnsutils)")?;
        let seconds = self.seconds.ceil().max(1.0) as u64;
        let mut command = Command::new(program);
        command
            .args(["-t", &seconds.to_string(), "-Q", &self.qps.to_string()])
            .args(["-p", &self.server.port().to_string()])
            .args(["-I", self.card, "-F", &self.cpu.to_string(), "-i"])
            .arg(self.queries)
            .arg(self.server.ip().to_string());
        let log = self.dir.join("kxdpgun.log");
        let mut process =
            Process::start(command, &[self.cpu], &log).map_err(|e| format!("kxdpgun: {e}"))?;
        let began = Instant::now();
        let mut cpu_ns = 0;
        while !process.has_ended() {
            if sys::stop_requested() {
                return Err(INTERRUPTED.to_owned());
            }
            if began.elapsed() > PATIENCE + Duration::from_secs(seconds) {
                return Err(format!("kxdpgun did not end:\n{}", process.last_words()));
            }
            // Its threads are gone once it has ended, so the last reading before that counts.
            cpu_ns = cpu_ns.max(procfs::tree_cpu_ns(process.pid()));
            std::thread::sleep(Duration::from_millis(10));
        }
        let said = process.output();
        let seen = parse(&said, seconds as f64, scenario)
            .ok_or_else(|| format!("kxdpgun says no counts:\n{}", process.last_words()))?;
        Ok((seen, cpu_ns))
    }
}

fn parse(said: &str, seconds: f64, scenario: &Scenario) -> Option<Seen> {
    let number = |label: &str| {
        let rest = said.lines().find_map(|line| line.strip_prefix(label))?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    let sent = number("total queries:")?;
    let right = scenario
        .rcodes
        .iter()
        .filter_map(|&rcode| {
            let name = if rcode == 3 { "NXDOMAIN" } else { "NOERROR" };
            number(&format!("responded {name}:"))
        })
        .sum();
    Some(Seen {
        sent,
        answered: number("total replies:").unwrap_or(0),
        right,
        seconds,
        latency_us: [f64::NAN; PERCENTILES.len()],
        reply_bytes: number("average DNS reply size:").unwrap_or(0) as f64,
    })
}

const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::TempDir;

    #[test]
    fn its_output_is_read() {
        let said = "using interface a, XDP threads 1, UDP, native mode\n\
            total queries:     40010 (20005 pps)\n\
            total replies:     40000 (20005 pps) (100%)\n\
            average DNS reply size: 37 B\n\
            responded NOERROR:   39000\nresponded SERVFAIL:   1000\nduration: 2 s\n";
        let seen = parse(said, 2.0, Scenario::find("zone").unwrap()).unwrap();
        assert_eq!(
            (seen.sent, seen.answered, seen.right),
            (40_010, 40_000, 39_000)
        );
        assert_eq!(seen.reply_bytes, 37.0);
        assert!(seen.latency_us[0].is_nan());
        assert!(parse("ERROR: XDP failed", 2.0, Scenario::find("zone").unwrap()).is_none());
    }

    #[test]
    fn queries_get_edns() {
        let dir = TempDir::new().unwrap();
        let path = write_queries("a.b A\nc.d AAAA\n", dir.path()).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "a.b A E\nc.d AAAA E\n");
    }
}
