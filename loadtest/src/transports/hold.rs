//! Connections held by another process, so that neither its descriptors nor its memory are the generator's.
//!
//! It says `held N` once it has them and, when asked to end, `alive N`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::child::Process;
use crate::corpus::{Corpus, host_name};
use crate::security::{SERVER_NAME, Security};
use crate::stage::{EDNS_BYTES, INTERRUPTED, ZONE};
use crate::sys;

use super::held::{self, Kind};

/// What one such process does.
pub struct Order {
    /// What the connections speak.
    pub kind: Kind,
    /// Over which listeners they are spread.
    pub servers: Vec<SocketAddr>,
    /// Whose certificate is right.
    pub ca: PathBuf,
    /// Number of the address that the first comes from.
    pub first: usize,
    /// How many there shall be.
    pub count: usize,
}

/// The process; its connections end with it.
pub struct Holder {
    process: Process,
    /// How many connections it has.
    pub held: usize,
    /// Why there are no more.
    pub reason: Option<String>,
}

impl Order {
    /// Holds the connections in this process, until it is asked to end.
    pub fn run(&self) -> Result<(), String> {
        sys::raise_descriptor_limit(super::DESCRIPTORS);
        sys::stand_back().map_err(|e| format!("nice value: {e}"))?;
        let corpus = Corpus::parse(&format!("{} A", host_name(0, ZONE)), Some(EDNS_BYTES))?;
        let security = Security::trusting(&self.ca, SERVER_NAME)?;
        let (mut all, reason) = held::hold_all(
            self.kind,
            &self.servers,
            self.first,
            self.count,
            &corpus,
            &security,
        );
        if let Some(reason) = reason {
            println!("{REASON}{}", reason.replace('\n', " "));
        }
        println!("{HELD}{}", all.iter().map(held::Held::count).sum::<usize>());
        while !sys::stop_requested() {
            std::thread::sleep(PAUSE);
        }
        println!("{ALIVE}{}", held::tend_all(&mut all)?);
        Ok(())
    }

    /// Starts a process of this program that does it, on this CPU, and waits until it has its connections.
    pub fn start(&self, cpu: usize, dir: &Path) -> Result<Holder, String> {
        let name = self.kind.name();
        let told = |e: std::io::Error| format!("{name}: {e}");
        let servers: Vec<String> = self.servers.iter().map(SocketAddr::to_string).collect();
        let mut command = Command::new(std::env::current_exe().map_err(told)?);
        command
            .args(["hold", "--kind", name, "--servers", &servers.join(",")])
            .args(["--first", &self.first.to_string()])
            .args(["--count", &self.count.to_string(), "--ca"])
            .arg(&self.ca);
        let log = dir.join(format!("hold.{name}.log"));
        let process = Process::start(command, &[cpu], &log).map_err(told)?;
        let mut holder = Holder {
            process,
            held: 0,
            reason: None,
        };
        holder.held = holder.wait_for(HELD)?;
        let said = holder.process.output();
        holder.reason = line(&said, REASON).map(str::to_owned);
        Ok(holder)
    }
}

impl Holder {
    /// Ends it; how many connections the server had not ended by then.
    pub fn end(mut self) -> Result<usize, String> {
        sys::signal(self.process.pid(), libc::SIGTERM);
        self.wait_for(ALIVE)
    }

    fn wait_for(&mut self, word: &str) -> Result<usize, String> {
        let began = Instant::now();
        loop {
            let has_ended = self.process.has_ended();
            let said = self.process.output();
            if let Some(number) = line(&said, word).and_then(|text| text.parse().ok()) {
                return Ok(number);
            }
            if sys::stop_requested() {
                return Err(INTERRUPTED.to_owned());
            }
            if has_ended || began.elapsed() > PATIENCE {
                let said = self.process.last_words();
                return Err(format!("the holder of connections says nothing:\n{said}"));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// What stands behind this word in a whole line.
fn line<'a>(said: &'a str, word: &str) -> Option<&'a str> {
    let whole = said.rsplit_once('\n')?.0;
    whole.lines().find_map(|line| line.strip_prefix(word))
}

const HELD: &str = "held ";
const ALIVE: &str = "alive ";
const REASON: &str = "no more ";
const PAUSE: Duration = Duration::from_millis(50);
/// Ten thousand handshakes take a slow machine a minute.
const PATIENCE: Duration = Duration::from_secs(180);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_count() {
        assert_eq!(line("held 12", HELD), None, "more digits may come");
        assert_eq!(line("no more: x\nheld 12\n", HELD), Some("12"));
        assert_eq!(line("", HELD), None);
    }
}
