//! The shape of the machine that a result belongs to.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::json::Json;
use crate::procfs;

/// What a reader must know to place figures.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Name of the CPU.
    pub cpu: String,
    /// CPUs that are online.
    pub cores: usize,
    /// Physical memory in MiB.
    pub memory_mib: u64,
    /// Name and release of the kernel.
    pub kernel: String,
    /// When, in UTC.
    pub date: String,
    /// (server, its version).
    pub versions: Vec<(String, String)>,
}

impl Shape {
    /// The machine that this runs on, now.
    pub fn here() -> Shape {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|rest| rest.trim_start_matches([' ', '\t', ':']).trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let memory = memory.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        Shape {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "?".into()),
            cores: procfs::cpu_count(),
            memory_mib: memory.unwrap_or(0) / 1024,
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            date: said(Command::new("date").args(["-u", "+%F %H:%M UTC"])),
            versions: Vec::new(),
        }
    }

    /// Adds a server's version, once.
    pub fn add_version(&mut self, server: &str, version: impl FnOnce() -> String) {
        if self.versions.iter().all(|(known, _)| known != server) {
            self.versions.push((server.to_owned(), version()));
        }
    }

    /// (name, value) of everything, for people.
    pub fn lines(&self) -> Vec<(String, String)> {
        let mut lines = vec![
            ("CPU".to_owned(), self.cpu.clone()),
            ("cores".to_owned(), self.cores.to_string()),
            ("memory".to_owned(), format!("{} MiB", self.memory_mib)),
            ("kernel".to_owned(), self.kernel.clone()),
            ("date".to_owned(), self.date.clone()),
        ];
        lines.extend(self.versions.iter().cloned());
        lines
    }

    /// As a JSON object.
    pub fn json(&self) -> Json {
        let version = |(server, version): &(String, String)| {
            Json::Object(vec![
                ("server", server.as_str().into()),
                ("version", version.as_str().into()),
            ])
        };
        Json::Object(vec![
            ("cpu", self.cpu.as_str().into()),
            ("cores", Json::Int(self.cores as u64)),
            ("memory_mib", Json::Int(self.memory_mib)),
            ("kernel", self.kernel.as_str().into()),
            ("date", self.date.as_str().into()),
            (
                "versions",
                Json::List(self.versions.iter().map(version).collect()),
            ),
        ])
    }
}

/// The file name of a profile without its folder and `.toml`.
pub fn profile_name(path: &Path) -> String {
    path.file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

fn said(command: &mut Command) -> String {
    command.output().map_or_else(
        |_| "?".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_of_this_machine_is_known() {
        let mut shape = Shape::here();
        assert!(shape.cores >= 1 && shape.memory_mib > 0);
        assert!(shape.kernel.len() > "Linux ".len() && !shape.cpu.is_empty());
        shape.add_version("a", || "1".into());
        shape.add_version("a", || unreachable!("known already"));
        assert_eq!(shape.lines().last().unwrap().1, "1");
        assert_eq!(profile_name(Path::new("/x/edge.toml")), "edge");
    }
}
