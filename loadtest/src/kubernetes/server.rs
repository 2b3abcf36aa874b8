//! percoredns with a *kubernetes* block, on the API server of this run.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::ask;
use crate::child::{Process, TempDir};
use crate::procfs;
use crate::servers;
use crate::sys;

/// What to start.
#[derive(Clone)]
pub struct Setup {
    /// The program.
    pub percoredns: PathBuf,
    /// The API server.
    pub url: String,
    /// The server's CPU.
    pub cpu: usize,
}

/// What sets one block apart from another.
#[derive(Clone, Copy, Debug, Default)]
pub struct Block<'a> {
    /// Pods are watched.
    pub is_verified: bool,
    /// Stand above *forward* to this address, with *cache* in between and *autopath*, for which pods are watched too.
    pub upstream: Option<SocketAddr>,
    /// The text of a file for `-tune`.
    pub tune: Option<&'a str>,
}

/// A running server; ends when dropped.
pub struct Server {
    process: Process,
    _dir: TempDir,
    /// Where it answers.
    pub dns: SocketAddr,
    ready: SocketAddr,
    began: Instant,
}

/// Memory of a server, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident now.
    pub rss: u64,
    /// The most that was.
    pub peak: u64,
}

impl Server {
    /// Starts it, without waiting for anything.
    pub fn start(setup: &Setup, block: Block<'_>) -> Result<Server, String> {
        let dir = TempDir::new().map_err(|e| format!("temporary directory: {e}"))?;
        let free = || servers::free_address().map_err(|e| e.to_string());
        let (dns, ready, metrics) = (free()?, free()?, free()?);
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text)
                .map(|()| path)
                .map_err(|e| format!("{name}: {e}"))
        };
        let text = corefile(&setup.url, block, dns.port(), (ready, metrics));
        let conf = write("Corefile", &text)?;
        let mut command = Command::new(&setup.percoredns);
        command.arg("-conf").arg(conf).current_dir(dir.path());
        if let Some(tune) = block.tune {
            command.arg("-tune").arg(write("tune.toml", tune)?);
        }
        let began = Instant::now();
        let process = Process::start(command, &[setup.cpu], &dir.path().join("log"))
            .map_err(|e| format!("{}: {e}", setup.percoredns.display()))?;
        Ok(Server {
            process,
            _dir: dir,
            dns,
            ready,
            began,
        })
    }

    /// Starts it and waits until it is in step with the API server.
    pub fn synced(setup: &Setup, block: Block<'_>) -> Result<Server, String> {
        let mut server = Server::start(setup, block)?;
        server.wait_ready()?;
        Ok(server)
    }

    /// Waits until it says that it is ready; how long that took from its start, in seconds.
    pub fn wait_ready(&mut self) -> Result<f64, String> {
        while !self.is_ready() {
            if self.process.has_ended() {
                let words = self.process.last_words();
                return Err(format!("percoredns ended at its start:\n{words}"));
            }
            if self.began.elapsed() > START_PATIENCE || sys::stop_requested() {
                let words = self.process.last_words();
                return Err(format!("percoredns does not become ready:\n{words}"));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(self.began.elapsed().as_secs_f64())
    }

    /// When it was started.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Waits until it has had nothing to do for a while.
    pub fn wait_idle(&self) {
        let began = Instant::now();
        let mut idle = 0;
        let mut before = procfs::tree_cpu_ns(self.process.pid());
        while idle < IDLE_STEPS && began.elapsed() < START_PATIENCE && !sys::stop_requested() {
            std::thread::sleep(IDLE_STEP);
            let now = procfs::tree_cpu_ns(self.process.pid());
            idle = if now - before < IDLE_NS { idle + 1 } else { 0 };
            before = now;
        }
    }

    /// Its memory now.
    pub fn memory(&self) -> Memory {
        Memory {
            rss: procfs::tree_rss_bytes(self.process.pid()).0,
            peak: procfs::peak_rss_bytes(self.process.pid()),
        }
    }

    /// Its memory after it has been left alone for so long as the allocator takes to give back what is not needed.
    pub fn memory_at_rest(&self) -> Memory {
        self.wait_idle();
        let since = Instant::now();
        while since.elapsed() < REST && !sys::stop_requested() {
            std::thread::sleep(IDLE_STEP);
        }
        self.memory()
    }

    /// Lets the peak begin anew.
    pub fn forget_peak(&self) -> Result<(), String> {
        procfs::forget_peak(self.process.pid()).map_err(|e| format!("the peak of memory: {e}"))
    }

    /// Asks until the name has that address; how long from `since`.
    pub fn wait_answer(
        &self,
        name: &str,
        ip: Ipv4Addr,
        since: Instant,
    ) -> Result<Duration, String> {
        while since.elapsed() < ANSWER_PATIENCE && !sys::stop_requested() {
            if ask::address(self.dns, name) == Some(ip) {
                return Ok(since.elapsed());
            }
            std::thread::sleep(PAUSE);
        }
        let words = self.process.last_words();
        Err(format!("{name} is not answered with {ip}:\n{words}"))
    }

    fn is_ready(&self) -> bool {
        let status = || -> io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&self.ready, READY_PATIENCE)?;
            stream.set_read_timeout(Some(READY_PATIENCE))?;
            stream.write_all(b"GET /ready HTTP/1.1\r\nHost: ready\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        status().is_ok_and(|text| text.starts_with("HTTP/1.1 200"))
    }
}

fn corefile(url: &str, block: Block<'_>, port: u16, http: (SocketAddr, SocketAddr)) -> String {
    let pods = if block.is_verified || block.upstream.is_some() {
        "verified"
    } else {
        "insecure"
    };
    let rest = match block.upstream {
        None => String::new(),
        Some(upstream) => {
            format!("    autopath @kubernetes\n    cache 30\n    forward . {upstream}\n")
        }
    };
    let (ready, metrics) = http;
    format!(
        ".:{port} {{
    bind 127.0.0.1
    errors
    ready {ready}
    prometheus {metrics}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        endpoint {url}
        pods {pods}
    }}
{rest}}}
{OTHER_ZONE}:{port} {{
    bind 127.0.0.1
    whoami
}}
"
    )
}

/// A zone of the same listener that has nothing to do with the cluster.
pub const OTHER_ZONE: &str = "other.test";
/// A small machine under other load takes its time for a large cluster.
const START_PATIENCE: Duration = Duration::from_secs(120);
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
const READY_PATIENCE: Duration = Duration::from_secs(2);
/// The resolution of what is waited for.
const PAUSE: Duration = Duration::from_millis(2);
const REST: Duration = Duration::from_secs(10);
const IDLE_STEP: Duration = Duration::from_millis(250);
/// Steps in a row with less work than [`IDLE_NS`].
const IDLE_STEPS: u32 = 3;
const IDLE_NS: u64 = 5_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corefile_is_what_was_asked_for() {
        let http = (
            "127.0.0.1:81".parse().unwrap(),
            "127.0.0.1:91".parse().unwrap(),
        );
        let plain = corefile("http://127.0.0.1:1", Block::default(), 53, http);
        assert!(plain.contains("pods insecure") && plain.contains("endpoint http://127.0.0.1:1\n"));
        assert!(!plain.contains("forward") && !plain.contains("cache"));
        let block = Block {
            is_verified: false,
            upstream: Some("127.0.0.1:5300".parse().unwrap()),
            tune: None,
        };
        let full = corefile("http://127.0.0.1:1", block, 53, http);
        assert!(full.contains("pods verified"));
        assert!(full.contains("cache 30\n    forward . 127.0.0.1:5300\n}"));
    }
}
