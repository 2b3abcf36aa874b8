//! The three profiles of tuning/, and one of them written for a machine.

use std::fmt::Write;

use super::machine::{Cpu, Machine, Nic};
use super::resolve::{Wishes, resolve};
use super::{Settings, TuneFile};
use crate::runtime::Wish;
use crate::runtime::cores::show_list;

/// What a machine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// A small cache on each node of a cluster.
    NodeCache,
    /// A large resolver on a machine of its own.
    Edge,
    /// Bare metal that does nothing else.
    Appliance,
}

impl Profile {
    /// All of them.
    pub const ALL: [Profile; 3] = [Profile::NodeCache, Profile::Edge, Profile::Appliance];

    /// Its name on the command line and of its file in tuning/.
    pub fn name(self) -> &'static str {
        match self {
            Profile::NodeCache => "node-cache",
            Profile::Edge => "edge",
            Profile::Appliance => "appliance",
        }
    }

    /// Its file in tuning/.
    pub fn text(self) -> &'static str {
        match self {
            Profile::NodeCache => include_str!("../../tuning/node-cache.toml"),
            Profile::Edge => include_str!("../../tuning/edge.toml"),
            Profile::Appliance => include_str!("../../tuning/appliance.toml"),
        }
    }

    /// The one that fits a machine, and why.
    pub fn of(machine: &Machine) -> (Profile, &'static str) {
        let memory = machine.memory_limit.or(machine.memory);
        let has_queues = machine.nics.iter().any(|nic| nic.rx.len() > 1);
        if machine.quota.is_some() || machine.memory_limit.is_some() {
            (Profile::NodeCache, "the control group has a limit")
        } else if machine.allowed.len() <= 2 || memory.is_some_and(|memory| memory < SMALL) {
            (
                Profile::NodeCache,
                "at most two CPUs or less than 4 GiB of memory",
            )
        } else if !machine.is_virtual && has_queues {
            (
                Profile::Appliance,
                "bare metal with a card of several queues",
            )
        } else {
            (
                Profile::Edge,
                "many CPUs, but no card of several queues of its own",
            )
        }
    }

    /// Whether the machine is percoredns's own, interrupts and frequencies included.
    pub fn owns_machine(self) -> bool {
        self != Profile::NodeCache
    }
}

/// Octets of memory below which a machine is small.
const SMALL: u64 = 4 << 30;

/// A profile for one machine: the text of a settings file that loads there, and what it comes to.
pub struct Written {
    /// The file.
    pub text: String,
    /// What `-tune` makes of it.
    pub settings: Settings,
}

/// Writes a profile for a machine: its CPUs, its card and the queue of each core. A line that asks for what the machine lacks is
/// commented out, with the reason.
///
/// # Errors
/// Nothing of the profile is left that loads.
pub fn write(profile: Profile, machine: &Machine) -> Result<Written, String> {
    let mut lines: Vec<String> = draft(profile, machine).lines().map(str::to_owned).collect();
    let wishes = Wishes {
        cores: None,
        backend: Wish::Auto,
    };
    // Each round comments one line out, so it ends.
    for _ in 0..=lines.len() {
        let text = lines.join("\n") + "\n";
        let outcome =
            TuneFile::parse(NAME, &text).and_then(|file| resolve(&file, machine, &wishes));
        let error = match outcome {
            Ok(settings) => return Ok(Written { text, settings }),
            Err(error) => error,
        };
        let (line, reason) = place(&error).ok_or_else(|| error.clone())?;
        let refused = lines.get_mut(line - 1).ok_or_else(|| error.clone())?;
        *refused = format!("# Not on this machine: {reason}\n# {refused}").replace('\n', " -- ");
    }
    Err(format!(
        "no line of the profile {} loads here",
        profile.name()
    ))
}

/// `FILE:LINE - reason` in its parts.
fn place(error: &str) -> Option<(usize, &str)> {
    let (place, reason) = error.split_once(" - ")?;
    let line = place.strip_prefix(NAME)?.strip_prefix(':')?;
    line.parse()
        .ok()
        .filter(|line| *line > 0)
        .map(|line| (line, reason))
}

fn draft(profile: Profile, machine: &Machine) -> String {
    let memory = machine.memory_limit.or(machine.memory).unwrap_or(0) >> 20;
    let cpus = data_cpus(profile, machine);
    let mut text = format!(
        "# Written by percoredns tune --profile {} for: {} CPUs, {memory} MiB of memory, Linux {}.\n",
        profile.name(),
        machine.allowed.len(),
        machine.kernel,
    );
    let mut place = String::from("[global]\n");
    let nic = main_nic(machine).filter(|_| profile.owns_machine());
    if let Some(cpus) = &cpus {
        let why = match profile {
            Profile::Appliance => "One for each physical core, near the card.",
            _ => "One data core for each.",
        };
        let _ = writeln!(place, "# {why}\ncpus = \"{}\"", show_list(cpus));
    }
    if let Some(nic) = nic.filter(|_| cpus.is_some()) {
        let _ = writeln!(
            place,
            "# The card whose queues the cores take; checked when percoredns starts.\nnic = \"{}\"",
            nic.name
        );
    }
    text += &profile.text().replacen("[global]\n", &place, 1);
    if let (Some(cpus), Some(nic)) = (cpus, nic) {
        text += "\n# Queue n, its interrupt and core n on one CPU: percoredns tune --apply sets the interrupts.\n";
        for (nth, rx) in (0..cpus.len()).zip(&nic.rx) {
            let _ = writeln!(text, "[[core]]\nindex = {nth}\nnic_queue = {}", rx.index);
        }
    }
    text
}

/// The CPUs of the data cores; none where a quota lets them float.
fn data_cpus(profile: Profile, machine: &Machine) -> Option<Vec<u32>> {
    let allowed = &machine.allowed;
    if machine
        .quota
        .is_some_and(|quota| quota < allowed.len() as f64)
        || !profile.owns_machine()
    {
        return None;
    }
    if profile == Profile::Edge {
        return Some(allowed.clone());
    }
    let near = main_nic(machine).and_then(|nic| nic.node);
    let is_near = |cpu: &Cpu| near.is_none() || cpu.node.is_none() || cpu.node == near;
    let is_wanted = |id: &u32| {
        let cpu = machine.cpu(*id);
        cpu.is_none_or(|cpu| cpu.is_first_sibling() && is_near(cpu))
    };
    let cpus: Vec<u32> = allowed.iter().copied().filter(is_wanted).collect();
    Some(if cpus.is_empty() {
        allowed.clone()
    } else {
        cpus
    })
}

/// The card with the most receive queues, the first of those.
pub fn main_nic(machine: &Machine) -> Option<&Nic> {
    let queues = |nic: &&Nic| {
        nic.channels
            .map_or(nic.rx.len(), |channels| channels.max as usize)
    };
    machine.nics.iter().rev().max_by_key(queues)
}

/// How the text calls itself while it is checked.
const NAME: &str = "profile";
