//! Network cards: driver, queues, who takes their interrupts, and how packets are spread.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{Asks, cpus, entries, number, text, trailing_number};
use crate::transport::ethtool::{Channels, Hash};

/// A network card that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Its name.
    pub name: String,
    /// Its driver; none for what has no device below.
    pub driver: Option<String>,
    /// The NUMA node of its slot.
    pub node: Option<u32>,
    /// Receive queues in use, in order.
    pub rx: Vec<RxQueue>,
    /// Transmit queues in use.
    pub tx: usize,
    /// Queues that it has and could have.
    pub channels: Option<Channels>,
    /// What of a UDP packet chooses its receive queue (RSS).
    pub udp_hash: Option<Hash>,
}

/// One receive queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RxQueue {
    /// Its number.
    pub index: u32,
    /// Its interrupt, where one can be told to be its own.
    pub irq: Option<Irq>,
    /// CPUs that its packets are spread over in software (RPS); empty when it is off.
    pub rps: Vec<u32>,
}

/// An interrupt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Irq {
    /// Its number.
    pub number: u32,
    /// The CPUs that may take it.
    pub affinity: Vec<u32>,
    /// The CPU that takes it now.
    pub effective: Option<u32>,
}

impl Irq {
    /// Whether it always goes to this CPU.
    pub fn is_on(&self, cpu: u32) -> bool {
        self.affinity == [cpu]
    }

    /// The CPUs, as the kernel writes them.
    pub fn show(&self) -> String {
        crate::runtime::cores::show_list(&self.affinity)
    }
}

/// The network cards that are up and have queues of a device below them.
pub(super) fn up(root: &Path, asks: &Asks) -> Vec<Nic> {
    let actions = actions(root);
    let folder = "sys/class/net";
    let is_up = |name: &String| {
        let state = text(root, &format!("{folder}/{name}/operstate"));
        matches!(state.as_deref(), Some("up" | "unknown"))
            && name != "lo"
            && root.join(folder).join(name).join("device").exists()
    };
    let names = entries(root, folder).into_iter().filter(is_up);
    names.map(|name| nic(root, name, &actions, asks)).collect()
}

fn nic(root: &Path, name: String, actions: &BTreeMap<u32, String>, asks: &Asks) -> Nic {
    let folder = format!("sys/class/net/{name}");
    let queues = entries(root, &format!("{folder}/queues"));
    let irqs = queue_irqs(root, &folder, actions);
    let rx = |queue: &String| {
        let index = queue
            .strip_prefix("rx-")
            .and_then(|_| trailing_number(queue))?;
        let rps = text(root, &format!("{folder}/queues/{queue}/rps_cpus"));
        Some(RxQueue {
            index,
            irq: irqs.get(&index).and_then(|number| irq(root, *number)),
            rps: rps.map(|mask| cpus::mask(&mask)).unwrap_or_default(),
        })
    };
    let driver = fs::read_link(root.join(&folder).join("device/driver")).ok();
    Nic {
        driver: driver.and_then(|path| Some(path.file_name()?.to_str()?.to_owned())),
        node: number::<i64>(root, &format!("{folder}/device/numa_node"))
            .and_then(|node| u32::try_from(node).ok()),
        rx: queues.iter().filter_map(rx).collect(),
        tx: queues
            .iter()
            .filter(|queue| queue.starts_with("tx-"))
            .count(),
        channels: (asks.channels)(&name),
        udp_hash: (asks.udp_hash)(&name),
        name,
    }
}

/// The interrupt of each receive queue. A virtio device keeps its vectors one folder up, in the PCI device.
fn queue_irqs(root: &Path, folder: &str, actions: &BTreeMap<u32, String>) -> BTreeMap<u32, u32> {
    let device = fs::canonicalize(root.join(folder).join("device"));
    let Ok(device) = device else {
        return BTreeMap::new();
    };
    let vectors = [Some(&*device), device.parent()]
        .into_iter()
        .flatten()
        .map(|folder| entries(folder, "msi_irqs"))
        .find(|vectors| !vectors.is_empty())
        .unwrap_or_default();
    let numbers = vectors.iter().filter_map(|vector| vector.parse().ok());
    let of_queue = |irq: u32| Some((receive_queue(actions.get(&irq)?)?, irq));
    numbers.filter_map(of_queue).collect()
}

/// The receive queue that an interrupt's action names: `eth0-TxRx-3`, `ens5-Tx-Rx-3`, `eth0-rx-3`, `virtio2-input.3`,
/// `mlx5_comp3@pci:0000:3b:00.0`. A card with a single queue may leave the number out. Transmit queues and events are none.
fn receive_queue(action: &str) -> Option<u32> {
    let name = action
        .split('@')
        .next()
        .unwrap_or(action)
        .to_ascii_lowercase();
    let is_receive = ["rx", "input", "comp"]
        .iter()
        .any(|word| name.contains(word));
    is_receive.then(|| trailing_number(&name).unwrap_or(0))
}

/// Interrupts by number, with the last word of their line: the name of their action.
fn actions(root: &Path) -> BTreeMap<u32, String> {
    let table = text(root, "proc/interrupts").unwrap_or_default();
    let action = |line: &str| {
        let (number, rest) = line.trim_start().split_once(':')?;
        let name = rest.split_whitespace().next_back()?;
        Some((number.parse().ok()?, name.to_owned()))
    };
    table.lines().filter_map(action).collect()
}

fn irq(root: &Path, number: u32) -> Option<Irq> {
    let folder = format!("proc/irq/{number}");
    let affinity = text(root, &format!("{folder}/smp_affinity_list"))?;
    let effective = text(root, &format!("{folder}/effective_affinity_list"));
    Some(Irq {
        number,
        affinity: cpus::list(&affinity),
        effective: effective.and_then(|list| cpus::list(&list).first().copied()),
    })
}
