//! What the machine is: read below a root directory, so that a test can be another machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub mod cpus;
pub mod nics;
#[cfg(test)]
pub(super) mod tests;

use crate::runtime::{self, cgroup};
use crate::transport::ethtool;
pub use cpus::Cpu;
pub use nics::Nic;

/// A machine, or the part of it that this process sees. What cannot be read is absent and never guessed.
#[derive(Debug, Clone)]
pub struct Machine {
    /// `/`, or the folder that a test made.
    pub root: PathBuf,
    /// The CPUs that are online, ascending.
    pub cpus: Vec<Cpu>,
    /// Those that this process may use.
    pub allowed: Vec<u32>,
    /// CPUs that the control group may use at once.
    pub quota: Option<f64>,
    /// Octets of memory that the control group may use.
    pub memory_limit: Option<u64>,
    /// Octets of memory of the machine.
    pub memory: Option<u64>,
    /// Whether a hypervisor runs below.
    pub is_virtual: bool,
    /// Release of the kernel.
    pub kernel: String,
    /// Why glommio cannot run, if so.
    pub io_uring: Result<(), String>,
    /// Open files that the process may have (the hard limit, which percoredns takes).
    pub open_files: Option<u64>,
    /// Octets that the process may lock (the hard limit).
    pub locked_octets: Option<u64>,
    /// The lowest nice value that the process may give its threads.
    pub nice_min: i8,
    /// Effective capabilities, one bit each.
    pub capabilities: u64,
    /// The mode of transparent huge pages: `always`, `madvise` or `never`.
    pub huge_pages: Option<String>,
    /// Kernel settings by name (`net.core.rmem_max`).
    pub sysctls: BTreeMap<&'static str, String>,
    /// Network cards that are up, without loopback.
    pub nics: Vec<Nic>,
    /// Programs of [`TOOLS`] that are installed, and where.
    pub tools: BTreeMap<&'static str, PathBuf>,
    /// Whether irqbalance runs, which moves interrupts.
    pub irqbalance: bool,
}

/// What only a system call tells.
#[derive(Clone, Copy)]
pub struct Asks {
    /// The CPUs that this process may use; none where only /proc tells.
    pub allowed: fn() -> Option<Vec<u32>>,
    /// Whether glommio can run.
    pub io_uring: fn() -> Result<(), String>,
    /// Queues of a network card.
    pub channels: fn(&str) -> Option<ethtool::Channels>,
    /// What of a UDP packet chooses its queue.
    pub udp_hash: fn(&str) -> Option<ethtool::Hash>,
}

impl Asks {
    /// The kernel that runs.
    pub const KERNEL: Asks = Asks {
        allowed: || runtime::cores::allowed_cpus().ok(),
        io_uring: runtime::probe,
        channels: ethtool::channels,
        udp_hash: ethtool::udp_hash,
    };
}

impl Machine {
    /// Looks at the machine that this process runs on.
    pub fn here() -> Machine {
        Machine::probe(Path::new("/"), &Asks::KERNEL)
    }

    /// Looks at the machine whose /proc, /sys and programs are below `root`.
    pub fn probe(root: &Path, asks: &Asks) -> Machine {
        let status = text(root, "proc/self/status").unwrap_or_default();
        let capabilities = after(&status, "CapEff:")
            .and_then(|hex| u64::from_str_radix(hex, 16).ok())
            .unwrap_or(0);
        let cpus = cpus::online(root);
        let listed = || after(&status, "Cpus_allowed_list:").map(cpus::list);
        let allowed = (asks.allowed)()
            .or_else(listed)
            .filter(|list| !list.is_empty())
            .unwrap_or_else(|| cpus.iter().map(|cpu| cpu.id).collect());
        let meminfo = text(root, "proc/meminfo").unwrap_or_default();
        let memory = after(&meminfo, "MemTotal:").and_then(|kib| {
            let kib: u64 = kib.strip_suffix("kB")?.trim().parse().ok()?;
            Some(kib * 1024)
        });
        let cpuinfo = text(root, "proc/cpuinfo").unwrap_or_default();
        let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
        let is_virtual = flags.is_some_and(|line| line.split(' ').any(|flag| flag == "hypervisor"));
        let limits = text(root, "proc/self/limits").unwrap_or_default();
        let hard = |name: &str| limit(&limits, name, 1);
        Machine {
            root: root.to_owned(),
            cpus,
            allowed,
            quota: cgroup::cpu_quota(root),
            memory_limit: cgroup::memory_limit(root),
            memory,
            is_virtual,
            kernel: text(root, "proc/sys/kernel/osrelease").unwrap_or_default(),
            io_uring: (asks.io_uring)(),
            open_files: hard("Max open files"),
            locked_octets: hard("Max locked memory"),
            nice_min: nice_min(root, &limits, capabilities),
            capabilities,
            huge_pages: text(root, "sys/kernel/mm/transparent_hugepage/enabled")
                .and_then(|modes| chosen(&modes).map(str::to_owned)),
            sysctls: sysctls(root),
            nics: nics::up(root, asks),
            tools: tools(root),
            irqbalance: runs(root, "irqbalance"),
        }
    }

    /// Whether the process has this capability (its number in linux/capability.h).
    pub fn is_capable(&self, capability: u32) -> bool {
        self.capabilities >> capability & 1 == 1
    }

    /// Whether a thread can have a slice of its own (Linux 6.12).
    pub fn keeps_slices(&self) -> bool {
        self.release() >= Some((6, 12))
    }

    /// Major and minor number of the kernel's release.
    pub fn release(&self) -> Option<(u32, u32)> {
        let mut parts = self.kernel.split(['.', '-']);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// The CPU of that number.
    pub fn cpu(&self, id: u32) -> Option<&Cpu> {
        self.cpus.iter().find(|cpu| cpu.id == id)
    }

    /// The NUMA nodes that have CPUs, ascending.
    pub fn nodes(&self) -> Vec<u32> {
        let mut nodes: Vec<u32> = self.cpus.iter().filter_map(|cpu| cpu.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// The network card of that name.
    pub fn nic(&self, name: &str) -> Option<&Nic> {
        self.nics.iter().find(|nic| nic.name == name)
    }
}

/// May set another process's and the own lower nice values.
pub const CAP_SYS_NICE: u32 = 23;
/// May change network settings.
pub const CAP_NET_ADMIN: u32 = 12;
/// May change most of what else is changed here.
pub const CAP_SYS_ADMIN: u32 = 21;

/// Kernel settings that matter to a server of datagrams.
pub const SYSCTLS: [&str; 7] = [
    "net.core.rmem_max",
    "net.core.wmem_max",
    "net.core.netdev_max_backlog",
    "net.core.somaxconn",
    "net.ipv4.tcp_max_syn_backlog",
    "net.core.busy_poll",
    "net.core.busy_read",
];

/// Programs that a step may be shown with.
pub const TOOLS: [&str; 2] = ["ethtool", "sysctl"];

fn sysctls(root: &Path) -> BTreeMap<&'static str, String> {
    let read = |name: &'static str| {
        let path = format!("proc/sys/{}", name.replace('.', "/"));
        Some((name, text(root, &path)?))
    };
    SYSCTLS.into_iter().filter_map(read).collect()
}

fn tools(root: &Path) -> BTreeMap<&'static str, PathBuf> {
    let find = |tool: &'static str| {
        let folders = ["usr/local/sbin", "usr/sbin", "usr/bin", "sbin", "bin"];
        let mut paths = folders.iter().map(|folder| root.join(folder).join(tool));
        Some((tool, paths.find(|path| path.is_file())?))
    };
    TOOLS.into_iter().filter_map(find).collect()
}

fn runs(root: &Path, program: &str) -> bool {
    let Ok(entries) = fs::read_dir(root.join("proc")) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let is_process = name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        is_process && text(&entry.path(), "comm").as_deref() == Some(program)
    })
}

/// Without the capability a thread may become nicer, and less nice down to 20 - RLIMIT_NICE (setpriority(2)).
fn nice_min(root: &Path, limits: &str, capabilities: u64) -> i8 {
    if capabilities >> CAP_SYS_NICE & 1 == 1 {
        return -20;
    }
    let stat = text(root, "proc/self/stat").unwrap_or_default();
    // The name before may hold anything; the nice value is field 19 (proc(5)).
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    let own = fields.split_whitespace().nth(16);
    let own: i8 = own.and_then(|nice| nice.parse().ok()).unwrap_or(0);
    let limit = limit(limits, "Max nice priority", 0).unwrap_or(0);
    own.min(20 - limit.min(40) as i8)
}

/// Soft (0) or hard (1) limit of that name in /proc/self/limits; `unlimited` is the largest number.
fn limit(limits: &str, name: &str, which: usize) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().nth(which)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// The word in brackets: `always [madvise] never`.
fn chosen(modes: &str) -> Option<&str> {
    let (_, rest) = modes.split_once('[')?;
    Some(rest.split_once(']')?.0)
}

/// What follows that name at the beginning of a line.
fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

/// A small file below `root`, trimmed; none when it is absent, empty or no text.
fn text(root: &Path, path: &str) -> Option<String> {
    let text = fs::read_to_string(root.join(path)).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A number in a file of its own.
fn number<N: FromStr>(root: &Path, path: &str) -> Option<N> {
    text(root, path)?.parse().ok()
}

/// The entries of a folder, sorted by the number at their end.
fn entries(root: &Path, path: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root.join(path)) else {
        return Vec::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
    names.sort_by_key(|name| (trailing_number(name), name.clone()));
    names
}

/// `rx-12`: 12.
fn trailing_number(name: &str) -> Option<u32> {
    let digits = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    name[digits..].parse().ok()
}
