//! Processes and directories that live exactly as long as the value that stands for them.
//!
//! **Invariant**: a child is ended by its own pid and reaped; it also dies when this process is killed outright.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::sys;

/// A directory that is removed with everything in it when dropped.
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes a new directory under the system's place for temporary files.
    pub fn new() -> io::Result<TempDir> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("loadtest-{}-{number}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(TempDir(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning of temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A started program; ended when dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` on `cpus` only (anywhere when empty), with its output in the file `log`.
    pub fn start(mut command: Command, cpus: &[usize], log: &Path) -> io::Result<Process> {
        let file = File::create(log)?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        sys::prepare_child(&mut command, cpus);
        Ok(Process {
            child: command.spawn()?,
            log: log.to_owned(),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// All that it printed so far.
    pub fn output(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The last lines that it printed, for error messages.
    pub fn last_words(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        sys::signal(self.pid(), libc::SIGTERM);
        let asked = Instant::now();
        while asked.elapsed() < GRACE {
            if self.has_ended() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // Both fail only when the child is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Between asking a program to end and killing it.
const GRACE: Duration = Duration::from_secs(2);
const LAST_LINES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_process_is_gone_and_its_directory_too() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().to_owned();
        let mut command = Command::new("/bin/sh");
        command.args([
            "-c",
            "echo started; trap '' TERM; while :; do sleep 0.05; done",
        ]);
        let mut process = Process::start(command, &[], &path.join("log")).unwrap();
        let began = Instant::now();
        while process.output() != "started\n" && began.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(process.last_words(), "started");
        assert!(!process.has_ended());
        let pid = process.pid();
        drop(process);
        assert!(
            !Path::new(&format!("/proc/{pid}")).exists(),
            "killed although it ignores SIGTERM"
        );
        drop(dir);
        assert!(!path.exists());
    }
}
