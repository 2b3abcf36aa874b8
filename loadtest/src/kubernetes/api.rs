//! The scripted API server: a process of its own, told what to do line by line.
//!
//! It is the example `kube-api` of percoredns, so that this package needs none of its code, and neither memory nor CPU of the server count
//! for what is measured.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::sys;

/// A running API server; ends when dropped.
pub struct Api {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    url: String,
}

/// How large a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Services.
    pub services: u32,
    /// Endpoints of all services.
    pub endpoints: u32,
    /// Pods.
    pub pods: u32,
}

impl Api {
    /// Starts the program on one CPU, without objects.
    pub fn start(program: &Path, cpu: usize) -> Result<Api, String> {
        let mut command = Command::new(program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        sys::prepare_child(&mut command, &[cpu]);
        let mut child = command
            .spawn()
            .map_err(|e| format!("{}: {e}", program.display()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the API server has no pipes".to_owned());
        };
        let mut api = Api {
            child,
            input: Some(input),
            output: BufReader::new(output),
            url: String::new(),
        };
        api.url = api.line()?;
        Ok(api)
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Has a command done, and returns the line that answers it.
    pub fn tell(&mut self, command: &str) -> Result<String, String> {
        let input = self.input.as_mut().ok_or("the API server was ended")?;
        writeln!(input, "{command}").map_err(|e| format!("API server: {command}: {e}"))?;
        let answer = self.line()?;
        match answer.starts_with("error") {
            true => Err(format!("API server: {answer}")),
            false => Ok(answer),
        }
    }

    /// Puts a generated cluster there, and says what came of it: (objects, endpoints), pods not counted.
    pub fn load(&mut self, size: Size) -> Result<(u64, u64), String> {
        let Size {
            services,
            endpoints,
            pods,
        } = size;
        let answer = self.tell(&format!("load {services} {endpoints} {pods}"))?;
        let count = |what: &str| -> u64 {
            let mut words = answer.split_whitespace().skip_while(|word| *word != what);
            words.nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        let objects = count("namespaces") + count("services") + count("slices");
        Ok((objects, count("endpoints")))
    }

    /// The number that answers a command.
    pub fn number(&mut self, command: &str) -> Result<u64, String> {
        let answer = self.tell(command)?;
        answer
            .parse()
            .map_err(|_| format!("API server: {command}: {answer}"))
    }

    /// So many services of the cluster, as `name.namespace` with an address.
    pub fn sample(&mut self, count: usize) -> Result<Vec<(String, Ipv4Addr)>, String> {
        let mut line = self.tell(&format!("sample {count}"))?;
        let mut found = Vec::new();
        while line != "end" {
            let row = line.split_once(' ').map(|(name, ip)| (name, ip.parse()));
            let Some((name, Ok(ip))) = row else {
                return Err(format!("API server: not a sample: {line}"));
            };
            found.push((name.to_owned(), ip));
            line = self.line()?;
        }
        Ok(found)
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(0) => Err("the API server has ended".to_owned()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(e) => Err(format!("API server: {e}")),
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // It ends with its input.
        self.input.take();
        let asked = Instant::now();
        while asked.elapsed() < GRACE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // Both fail only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program that was asked for, or the one that was built beside this one.
pub fn program(asked: Option<&str>) -> Result<PathBuf, String> {
    if let Some(path) = asked {
        return std::fs::canonicalize(path).map_err(|e| format!("--kube-api {path}: {e}"));
    }
    let own = std::env::current_exe().map_err(|e| format!("own path: {e}"))?;
    let beside = own.with_file_name("examples").join(PROGRAM);
    match beside.is_file() {
        true => Ok(beside),
        false => Err(format!(
            "{} is missing: cargo build --release --example {PROGRAM}",
            beside.display()
        )),
    }
}

const PROGRAM: &str = "kube-api";
/// Between asking it to end and killing it.
const GRACE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that answers as the API server would.
    fn script(dir: &Path, body: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.join("api");
        let text = format!("#!/bin/sh\necho http://127.0.0.1:1\n{body}\n");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn commands_are_answered_line_by_line() {
        let dir = crate::child::TempDir::new().unwrap();
        let answers = "read a; echo namespaces 2 services 10 slices 9 endpoints 25 pods 0
            read a; echo a.b 10.0.0.1; echo c.d 10.0.0.2; echo end
            read a; echo 7
            read a; echo \"error: $a\"";
        let cpu = sys::allowed_cpus()[0];
        let mut api = Api::start(&script(dir.path(), answers), cpu).unwrap();
        assert_eq!(api.url(), "http://127.0.0.1:1");
        let size = Size {
            services: 10,
            endpoints: 25,
            pods: 0,
        };
        assert_eq!(api.load(size), Ok((21, 25)));
        let sample = api.sample(2).unwrap();
        assert_eq!(sample[1], ("c.d".to_owned(), Ipv4Addr::new(10, 0, 0, 2)));
        assert_eq!(api.number("watches"), Ok(7));
        let refused = api.tell("dance").unwrap_err();
        assert!(refused.contains("dance"), "{refused}");
        assert!(api.tell("more").is_err(), "it has ended");
    }
}
