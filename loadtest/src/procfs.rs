//! What the kernel says about CPU time and memory, of a process with its children and of the whole machine.

use std::collections::HashMap;
use std::fs;

use crate::sys;

/// CPU time of a process and all its descendants, all threads, user and system, in nanoseconds.
///
/// This is the sum that utime + stime show in ticks of 10 ms, read where the scheduler keeps it in nanoseconds. Threads that
/// ended in between are missed; no server under test ends threads while it serves.
pub fn tree_cpu_ns(pid: u32) -> u64 {
    tree(pid).into_iter().map(process_cpu_ns).sum()
}

/// Resident memory of a process and its descendants as (VmRSS, RssAnon), in bytes. Pages shared by several count for each.
pub fn tree_rss_bytes(pid: u32) -> (u64, u64) {
    let field = |status: &str, name| {
        status
            .lines()
            .find_map(|line| kib_of(line, name))
            .unwrap_or(0)
            * 1024
    };
    tree(pid)
        .into_iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok())
        .map(|status| (field(&status, "VmRSS:"), field(&status, "RssAnon:")))
        .fold((0, 0), |sum, rss| (sum.0 + rss.0, sum.1 + rss.1))
}

/// Memory of a process and its descendants in bytes, in which a page that several share counts once (Pss); 0 where the kernel does
/// not say.
pub fn tree_pss_bytes(pid: u32) -> u64 {
    tree(pid)
        .into_iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter_map(|text| text.lines().find_map(|line| kib_of(line, "Pss:")))
        .sum::<u64>()
        * 1024
}

/// The most memory that a process had resident since its start, or since [`forget_peak`], in bytes (VmHWM).
pub fn peak_rss_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| kib_of(line, "VmHWM:"))
        .unwrap_or(0)
        * 1024
}

/// Lets [`peak_rss_bytes`] begin again at what is resident now.
pub fn forget_peak(pid: u32) -> std::io::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

/// CPU time of each thread of a process and its descendants, in nanoseconds, by thread id.
pub fn thread_cpu_ns(pid: u32) -> HashMap<u32, u64> {
    tree(pid).into_iter().flat_map(threads_of).collect()
}

/// The largest share that one thread has in the work between two readings of [`thread_cpu_ns`], 0 to 1.
pub fn busiest_share(before: &HashMap<u32, u64>, after: &HashMap<u32, u64>) -> f64 {
    let spent = after
        .iter()
        .map(|(tid, ns)| ns.saturating_sub(before.get(tid).copied().unwrap_or(0)));
    let (total, most) = spent.fold((0, 0), |(total, most), ns| (total + ns, most.max(ns)));
    most as f64 / total.max(1) as f64
}

/// Busy and stolen time of all CPUs since boot, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Time in user, system and interrupt work.
    pub busy_ns: u64,
    /// Time that the hypervisor gave to somebody else.
    pub stolen_ns: u64,
}

impl Machine {
    /// The state now; zeros where /proc/stat cannot be read.
    pub fn now() -> Machine {
        Machine::parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    fn parse(stat: &str) -> Machine {
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .filter_map(|word| word.parse().ok())
            .collect();
        let at = |i: usize| ticks.get(i).copied().unwrap_or(0) * TICK_NS;
        // user nice system idle iowait irq softirq steal
        Machine {
            busy_ns: at(0) + at(1) + at(2) + at(5) + at(6),
            stolen_ns: at(7),
        }
    }
}

/// CPU time of the server, of this process and of the machine at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    at_ns: u64,
    server_ns: u64,
    own_ns: u64,
    machine: Machine,
}

/// What passed between two snapshots.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// CPU time of the server's process tree.
    pub server_ns: u64,
    /// CPU time of this process, the generator.
    pub own_ns: u64,
    /// Busy time of the whole machine, interrupts included.
    pub machine_ns: u64,
    /// Time that passed.
    pub elapsed_ns: u64,
    /// Share of all CPUs that others took: other processes, and the hypervisor's other guests. 0 to 1.
    pub foreign: f64,
}

impl Snapshot {
    /// Reads everything for the server with this pid.
    pub fn take(pid: u32) -> Snapshot {
        Snapshot {
            at_ns: sys::now_ns(),
            server_ns: tree_cpu_ns(pid),
            own_ns: sys::own_cpu_ns(),
            machine: Machine::now(),
        }
    }

    /// What has passed since `before`, on a machine with `cpus` CPUs.
    ///
    /// `ours_ns` is work of other processes that this run started, such as another generator.
    pub fn since(&self, before: &Snapshot, cpus: usize, ours_ns: u64) -> Usage {
        let server_ns = self.server_ns.saturating_sub(before.server_ns);
        let own_ns = self.own_ns.saturating_sub(before.own_ns);
        let busy_ns = self.machine.busy_ns.saturating_sub(before.machine.busy_ns);
        let stolen_ns = self
            .machine
            .stolen_ns
            .saturating_sub(before.machine.stolen_ns);
        let capacity_ns = (self.at_ns - before.at_ns).max(1) as f64 * cpus as f64;
        let foreign_ns = busy_ns.saturating_sub(server_ns + own_ns + ours_ns) + stolen_ns;
        Usage {
            server_ns,
            own_ns,
            machine_ns: busy_ns,
            elapsed_ns: self.at_ns - before.at_ns,
            foreign: (foreign_ns as f64 / capacity_ns).min(1.0),
        }
    }
}

/// CPUs that the machine has online.
pub fn cpu_count() -> usize {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    stat.lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
        .count()
        .max(1)
}

fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if let Some(parent) = parent_of(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(pid) = tree.get(next) {
        tree.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    tree
}

/// The parent's pid in the text of /proc/PID/stat, whose second field may hold blanks and parentheses.
fn parent_of(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

fn process_cpu_ns(pid: u32) -> u64 {
    threads_of(pid).into_iter().map(|(_, ns)| ns).sum()
}

fn threads_of(pid: u32) -> Vec<(u32, u64)> {
    fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let tid = task.file_name().to_str()?.parse().ok()?;
            Some((tid, text.split_whitespace().next()?.parse().ok()?))
        })
        .collect()
}

fn kib_of(line: &str, name: &str) -> Option<u64> {
    line.strip_prefix(name)?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// USER_HZ is 100 on every architecture that Linux runs DNS servers on.
const TICK_NS: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_texts_are_read() {
        assert_eq!(parent_of("12 (a b) c) S 7 12 12 0"), Some(7));
        assert_eq!(parent_of(""), None);
        let machine = Machine::parse("cpu  10 1 5 1000 7 2 3 4 0 0\ncpu0 1 1");
        assert_eq!(
            machine,
            Machine {
                busy_ns: 21 * TICK_NS,
                stolen_ns: 4 * TICK_NS
            }
        );
        assert_eq!(kib_of("VmRSS:\t    1234 kB", "VmRSS:"), Some(1234));
    }

    #[test]
    fn the_busiest_thread_is_found_by_difference() {
        let before = HashMap::from([(1, 100), (2, 900)]);
        let after = HashMap::from([(1, 400), (2, 900), (3, 100)]);
        assert_eq!(busiest_share(&before, &after), 0.75);
        assert_eq!(busiest_share(&before, &before), 0.0);
    }

    #[test]
    fn own_work_shows_up_as_cpu_time_of_this_process() {
        let pid = std::process::id();
        let before = Snapshot::take(pid);
        let began = sys::own_cpu_ns();
        while sys::own_cpu_ns() - began < 50_000_000 {}
        let usage = Snapshot::take(pid).since(&before, cpu_count(), 0);
        assert!(usage.server_ns > 40_000_000, "{usage:?}");
        assert!((0.0..=1.0).contains(&usage.foreign));
        assert!(tree_rss_bytes(pid).0 > 100_000);
        assert!(usage.own_ns > 40_000_000 && usage.elapsed_ns > 40_000_000);
    }
}
