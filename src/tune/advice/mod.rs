//! What a machine is, what it should be for a profile, and why: one row for each thing that was looked at.

mod cards;
mod kernel;
#[cfg(test)]
mod tests;

use super::machine::Machine;
use super::profile::Profile;
use super::step::Step;
use super::value::show_octets;
use super::{Settings, machine};
use crate::limits;
use crate::runtime::cores::show_list;

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What was looked at.
    pub what: String,
    /// How it is.
    pub is: String,
    /// How it should be; none when it is so.
    pub should: Option<String>,
    /// Why.
    pub why: String,
    /// What `--apply` does about it; empty where it is left to the operator.
    pub steps: Vec<Step>,
}

impl Row {
    fn new(what: impl Into<String>, is: impl Into<String>, why: impl Into<String>) -> Row {
        Row {
            what: what.into(),
            is: is.into(),
            should: None,
            why: why.into(),
            steps: Vec::new(),
        }
    }

    fn should(mut self, should: impl Into<String>) -> Row {
        self.should = Some(should.into());
        self
    }

    fn step(mut self, step: Step) -> Row {
        self.steps.push(step);
        self
    }
}

/// The whole table, for the settings that the profile comes to on this machine.
pub fn rows(machine: &Machine, profile: Profile, settings: &Settings) -> Vec<Row> {
    let mut rows = vec![cpus(machine, profile, settings), quota(machine, profile)];
    rows.extend(memory(machine));
    rows.extend(governor(machine, profile, settings));
    rows.push(open_files(machine, settings));
    rows.push(io_uring(machine));
    rows.push(locked_memory(machine));
    rows.extend(kernel::rows(machine, profile, settings));
    rows.extend(cards::rows(machine, profile, settings));
    for row in &mut rows {
        row.steps.retain(|step| step.is_possible(machine));
    }
    rows
}

/// The CPUs that data cores are pinned to.
fn data_cpus(settings: &Settings) -> Vec<u32> {
    settings.cores.iter().filter_map(|core| core.cpu).collect()
}

fn cpus(machine: &Machine, profile: Profile, settings: &Settings) -> Row {
    let mut is = format!("{} online", machine.cpus.len());
    if machine.allowed.len() < machine.cpus.len() {
        is += &format!(", {} for this process", show_list(&machine.allowed));
    }
    let cores = machine
        .cpus
        .iter()
        .filter(|cpu| cpu.is_first_sibling())
        .count();
    if cores < machine.cpus.len() {
        is += &format!(", {cores} cores with SMT");
    }
    if machine.nodes().len() > 1 {
        is += &format!(", {} NUMA nodes", machine.nodes().len());
    }
    let data = data_cpus(settings);
    let why = match profile {
        Profile::Appliance if data.len() < machine.allowed.len() => {
            "threads of one physical core share its units, and memory of another node is slow"
        }
        _ => "one data core for each CPU that the process may use",
    };
    let row = Row::new("CPUs", is, why);
    if data.len() == machine.allowed.len() || data.is_empty() {
        return row;
    }
    row.should(format!("data cores on {} (cpus, -cores)", show_list(&data)))
}

fn quota(machine: &Machine, profile: Profile) -> Row {
    let why = "threads that are pinned and throttled leave their packets lying, so under a quota they float";
    match machine.quota {
        None => Row::new("CPU quota", "none", why),
        Some(quota) => {
            let row = Row::new("CPU quota", format!("{quota} CPUs"), why);
            if profile.owns_machine() {
                row.should("none, or a cpuset (cpu.max of the control group)")
            } else {
                row
            }
        }
    }
}

fn memory(machine: &Machine) -> Option<Row> {
    let memory = machine.memory_limit.or(machine.memory)?;
    let is = match machine.memory_limit {
        Some(_) => format!("{} MiB by the control group", memory >> 20),
        None => format!("{} MiB, no limit", memory >> 20),
    };
    let why =
        "the kernel ends a process that passes its limit: cache_octets_max bounds the largest part";
    Some(Row::new("memory", is, why))
}

fn governor(machine: &Machine, profile: Profile, settings: &Settings) -> Option<Row> {
    let data = data_cpus(settings);
    let of_data = |cpu: &&machine::Cpu| data.is_empty() || data.contains(&cpu.id);
    let governors: Vec<(u32, &str)> = machine
        .cpus
        .iter()
        .filter(of_data)
        .filter_map(|cpu| Some((cpu.id, cpu.governor.as_deref()?)))
        .collect();
    let why = "at low load a query waits for its CPU to speed up";
    let Some((_, first)) = governors.first() else {
        return Some(Row::new(
            "frequency governor",
            "not visible",
            "the hypervisor or the firmware decides",
        ));
    };
    let mut names: Vec<&str> = governors.iter().map(|(_, name)| *name).collect();
    names.dedup();
    let is = if names.len() == 1 {
        (*first).to_owned()
    } else {
        "mixed".to_owned()
    };
    let mut row = Row::new("frequency governor", is, why);
    if !profile.owns_machine() || names == ["performance"] {
        return Some(row);
    }
    row = row.should("performance");
    for (cpu, _) in governors.iter().filter(|(_, name)| *name != "performance") {
        let path = format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor");
        row = row.step(Step::Put(path, "performance".to_owned()));
    }
    Some(row)
}

fn open_files(machine: &Machine, settings: &Settings) -> Row {
    let of_core = |core: &super::CoreSettings| {
        core.tcp_connections_max + core.upstream_in_flight_max + SPARE_FILES
    };
    let needed: u64 = settings.cores.iter().map(|core| of_core(core) as u64).sum();
    let why = "each TCP client and each upstream exchange needs a descriptor";
    match machine.open_files {
        None => Row::new("open files", "not visible", why),
        Some(u64::MAX) => Row::new("open files", "unlimited", why),
        Some(limit) if limit >= needed => Row::new("open files", limit.to_string(), why),
        Some(limit) => Row::new("open files", limit.to_string(), why)
            .should(format!("{needed} (LimitNOFILE=, ulimit -n)")),
    }
}

fn io_uring(machine: &Machine) -> Row {
    match &machine.io_uring {
        Ok(()) => Row::new(
            "io_uring",
            "available",
            "glommio serves TCP and upstreams over it; epoll does so elsewhere",
        ),
        Err(refusal) => Row::new("io_uring", "refused", refusal.clone())
            .should("allowed (tuning/README.md), or epoll"),
    }
}

fn locked_memory(machine: &Machine) -> Row {
    let row = |is: String| Row::new("locked memory", is, "io_uring takes 512 KiB of it at least");
    match machine.locked_octets {
        None => row("not visible".to_owned()),
        Some(u64::MAX) => row("unlimited".to_owned()),
        Some(octets) if octets >= LOCKED_OCTETS => row(show_octets(octets)),
        Some(octets) => row(show_octets(octets)).should("512KiB (LimitMEMLOCK=, ulimit -l)"),
    }
}

/// Descriptors of a core beside its clients and upstreams: listeners, epoll, rings.
const SPARE_FILES: usize = 64;
/// Octets that glommio wants to lock.
const LOCKED_OCTETS: u64 = 512 << 10;
const _: () = assert!(SPARE_FILES < limits::LISTENERS);
