//! One change of the machine: shown as the command that does it, or done.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::machine::Machine;

/// A change that is safe to make while everything runs. None survives a reboot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A setting of the kernel.
    Sysctl(&'static str, u64),
    /// A line of text for a file below /proc or /sys.
    Put(String, String),
    /// A command of ethtool.
    Ethtool(Vec<String>),
}

impl Step {
    /// Whether this machine has what the step needs: its file, or ethtool.
    pub fn is_possible(&self, machine: &Machine) -> bool {
        match self {
            Step::Sysctl(..) | Step::Put(..) => {
                self.path(&machine.root).is_some_and(|path| path.is_file())
            }
            Step::Ethtool(_) => machine.tools.contains_key("ethtool"),
        }
    }

    /// The command that makes it.
    pub fn show(&self, machine: &Machine) -> String {
        match self {
            Step::Sysctl(name, value) if machine.tools.contains_key("sysctl") => {
                format!("sysctl -w {name}={value}")
            }
            Step::Sysctl(name, value) => format!("sh -c 'echo {value} > /{}'", sysctl_path(name)),
            Step::Put(path, text) => format!("sh -c 'echo {text} > /{path}'"),
            Step::Ethtool(words) => format!("ethtool {}", words.join(" ")),
        }
    }

    /// Makes the change; `Err` says what refused it and which right is missing.
    pub fn apply(&self, machine: &Machine) -> Result<(), String> {
        let (text, right) = match self {
            Step::Sysctl(_, value) => (value.to_string(), "CAP_NET_ADMIN and a writable /proc/sys"),
            Step::Put(_, text) => (text.clone(), "root, outside of a container"),
            Step::Ethtool(words) => return run_ethtool(words, machine),
        };
        let path = self.path(&machine.root).unwrap_or_default();
        fs::write(&path, format!("{text}\n")).map_err(|error| format!("{error} (it needs {right})"))
    }

    fn path(&self, root: &Path) -> Option<PathBuf> {
        match self {
            Step::Sysctl(name, _) => Some(root.join(sysctl_path(name))),
            Step::Put(path, _) => Some(root.join(path)),
            Step::Ethtool(_) => None,
        }
    }
}

fn sysctl_path(name: &str) -> String {
    format!("proc/sys/{}", name.replace('.', "/"))
}

fn run_ethtool(words: &[String], machine: &Machine) -> Result<(), String> {
    let tool = machine.tools.get("ethtool");
    let done = Command::new(tool.ok_or("ethtool is not installed")?)
        .args(words)
        .output()
        .map_err(|error| format!("ethtool: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&done.stderr);
    let line = text.lines().next().unwrap_or("it failed").trim().to_owned();
    Err(format!(
        "{line} (it needs CAP_NET_ADMIN and a driver that can)"
    ))
}
