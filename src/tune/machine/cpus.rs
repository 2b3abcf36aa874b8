//! CPUs: which there are, who shares an execution unit, which memory is near, and who sets their frequency.

use std::path::Path;

use super::{entries, text, trailing_number};

/// One CPU that is online.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpu {
    /// Its number.
    pub id: u32,
    /// The NUMA node that it is part of.
    pub node: Option<u32>,
    /// All CPUs of its physical core, itself included (SMT).
    pub siblings: Vec<u32>,
    /// The frequency governor; none where the hypervisor or the firmware decides.
    pub governor: Option<String>,
}

impl Cpu {
    /// Whether it is the first of its physical core.
    pub fn is_first_sibling(&self) -> bool {
        self.siblings.first().is_none_or(|first| *first == self.id)
    }
}

/// The CPUs that are online.
pub(super) fn online(root: &Path) -> Vec<Cpu> {
    let online = text(root, "sys/devices/system/cpu/online").unwrap_or_default();
    let nodes = nodes(root);
    let cpu = |id: u32| {
        let folder = format!("sys/devices/system/cpu/cpu{id}");
        let siblings = text(root, &format!("{folder}/topology/thread_siblings_list"));
        Cpu {
            id,
            node: nodes
                .iter()
                .find(|(_, cpus)| cpus.contains(&id))
                .map(|(node, _)| *node),
            siblings: siblings.map_or_else(|| vec![id], |siblings| list(&siblings)),
            governor: text(root, &format!("{folder}/cpufreq/scaling_governor")),
        }
    };
    list(&online).into_iter().map(cpu).collect()
}

fn nodes(root: &Path) -> Vec<(u32, Vec<u32>)> {
    let folder = "sys/devices/system/node";
    let node = |name: String| {
        let id = name
            .strip_prefix("node")
            .and_then(|_| trailing_number(&name))?;
        let cpus = text(root, &format!("{folder}/{name}/cpulist"))?;
        Some((id, list(&cpus)))
    };
    entries(root, folder).into_iter().filter_map(node).collect()
}

/// Reads a list as the kernel writes it (`0-3,8`); what is no number is left out, and numbers that no Linux has likewise.
pub fn list(text: &str) -> Vec<u32> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) else {
            continue;
        };
        if last < CPUS_MAX {
            cpus.extend(first..=last);
        }
    }
    cpus
}

/// Reads a mask of 32-bit words, the highest first (`00000001,00000003`).
pub(super) fn mask(text: &str) -> Vec<u32> {
    let mut cpus = Vec::new();
    for (nth, word) in text.trim().rsplit(',').enumerate() {
        let word = u32::from_str_radix(word, 16).unwrap_or(0);
        let bits = (0..32).filter(|bit| word >> bit & 1 == 1);
        cpus.extend(bits.map(|bit| nth as u32 * 32 + bit));
    }
    cpus
}

/// Writes a mask as the kernel reads it.
pub fn show_mask(cpus: &[u32]) -> String {
    let highest = cpus.iter().max().map_or(0, |cpu| cpu / 32);
    let word = |nth: u32| {
        let of_word = cpus.iter().filter(|cpu| **cpu / 32 == nth);
        of_word.fold(0u32, |word, cpu| word | 1 << (cpu % 32))
    };
    let words: Vec<String> = (0..=highest)
        .rev()
        .map(|nth| format!("{:08x}", word(nth)))
        .collect();
    words.join(",")
}

/// The most that Linux can be built for.
const CPUS_MAX: u32 = 8192;
