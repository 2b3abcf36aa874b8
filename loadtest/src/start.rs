//! How long from exec to the first answer, and how much memory the idle server takes.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::child::{Process, TempDir};
use crate::json::Json;
use crate::message;
use crate::procfs;
use crate::servers::PERCOREDNS;
use crate::stats::Spread;
use crate::sys;

/// What to start and ask.
pub struct Options {
    /// The program.
    pub percoredns: PathBuf,
    /// Its Corefile, relative to the working directory like the paths in it.
    pub conf: PathBuf,
    /// Where the Corefile makes it listen.
    pub server: SocketAddr,
    /// A name that it answers without anybody's help.
    pub name: String,
    /// The type to ask for.
    pub qtype: u16,
    /// Starts; the median is taken over them.
    pub times: usize,
    /// How long the last one idles before its memory is read.
    pub idle: Duration,
}

/// What was found.
pub struct Outcome {
    /// From exec to the first answer, in milliseconds.
    pub start_ms: Spread,
    /// Resident memory when idle, in bytes.
    pub rss_bytes: u64,
    /// The part of it that is not files (code, data) mapped from disk.
    pub anon_bytes: u64,
}

/// Starts percoredns again and again.
pub fn run(options: &Options) -> Result<Outcome, String> {
    let dir = TempDir::new().map_err(|e| format!("temporary directory: {e}"))?;
    let query = message::query(&options.name, options.qtype, None)?;
    let mut times = Vec::new();
    let mut last = None;
    for _ in 0..options.times.max(1) {
        // The one before must have left its ports.
        drop(last.take());
        let mut command = Command::new(&options.percoredns);
        command.arg("-conf").arg(&options.conf);
        let began = Instant::now();
        let mut process = Process::start(command, &[], &dir.path().join("log"))
            .map_err(|e| format!("{}: {e}", options.percoredns.display()))?;
        first_answer(options.server, &query, &mut process, began)?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        last = Some(process);
    }
    let (Some(process), Some(start_ms)) = (last, Spread::of(times)) else {
        return Err("not started once".to_owned());
    };
    let idle_since = Instant::now();
    while idle_since.elapsed() < options.idle && !sys::stop_requested() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let (rss_bytes, anon_bytes) = procfs::tree_rss_bytes(process.pid());
    Ok(Outcome {
        start_ms,
        rss_bytes,
        anon_bytes,
    })
}

/// Asks until an answer comes. While nobody listens the kernel refuses at once, so the resolution is about the pause.
fn first_answer(
    server: SocketAddr,
    query: &[u8],
    process: &mut Process,
    began: Instant,
) -> Result<(), String> {
    sys::sharpen_timers();
    let socket = UdpSocket::bind(if server.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    })
    .and_then(|socket| socket.connect(server).map(|()| socket))
    .and_then(|socket| socket.set_read_timeout(Some(RESEND)).map(|()| socket))
    .map_err(|e| format!("{server}: {e}"))?;
    let mut buffer = [0; 4096];
    loop {
        match socket.send(query).and_then(|_| socket.recv(&mut buffer)) {
            Ok(len)
                if message::read_answer(&buffer[..len]).is_some_and(|answer| answer.rcode == 0) =>
            {
                return Ok(());
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::thread::sleep(PAUSE),
            Err(_) => {}
        }
        if process.has_ended() {
            return Err(format!(
                "{PERCOREDNS} ended at its start:\n{}",
                process.last_words()
            ));
        }
        if began.elapsed() > PATIENCE || sys::stop_requested() {
            return Err(format!(
                "{PERCOREDNS} gives no NOERROR answer on {server}:\n{}",
                process.last_words()
            ));
        }
    }
}

impl Outcome {
    /// As a JSON object.
    pub fn json(&self) -> Json {
        Json::Object(vec![
            ("start_ms", self.start_ms.json()),
            ("rss_bytes", Json::Int(self.rss_bytes)),
            ("anon_bytes", Json::Int(self.anon_bytes)),
        ])
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
        let Spread { median, min, max } = self.start_ms;
        writeln!(
            f,
            "exec to first answer: {median:.1} ms ({min:.1}..{max:.1})"
        )?;
        write!(
            f,
            "idle RSS: {:.1} MiB, of which {:.1} MiB anonymous",
            mib(self.rss_bytes),
            mib(self.anon_bytes)
        )
    }
}

const PAUSE: Duration = Duration::from_micros(100);
const RESEND: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(15);
