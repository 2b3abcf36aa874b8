//! Network cards: queue n, its interrupt and core n on one CPU.

use super::{Machine, Profile, Row, Settings, Step, data_cpus};
use crate::runtime::cores::show_list;
use crate::tune::machine::{Nic, cpus};
use crate::tune::profile;

pub(super) fn rows(machine: &Machine, profile: Profile, settings: &Settings) -> Vec<Row> {
    let data = data_cpus(settings);
    let mut rows = Vec::new();
    if machine.nics.is_empty() {
        let why = "packets come over virtual links, which spread by CPU themselves";
        rows.push(Row::new("network cards", "none up with a device", why));
    }
    let main = profile::main_nic(machine).map(|nic| &*nic.name);
    for nic in &machine.nics {
        if !profile.owns_machine() || data.is_empty() || main != Some(&*nic.name) {
            rows.push(left_alone(nic, profile));
            continue;
        }
        rows.push(queues(nic, &data, machine));
        rows.extend(hash(nic, machine));
        rows.extend(interrupts(nic, &data));
        rows.extend(spread(nic, &data));
    }
    if machine.irqbalance {
        let row = Row::new(
            "irqbalance",
            "runs",
            "it moves interrupts away from their cores",
        );
        rows.push(if profile.owns_machine() {
            row.should("stopped (systemctl disable --now irqbalance)")
        } else {
            row
        });
    }
    rows
}

fn describe(nic: &Nic) -> String {
    let mut text = format!("{} receive, {} transmit", nic.rx.len(), nic.tx);
    if let Some(driver) = &nic.driver {
        text += &format!(", {driver}");
    }
    if let Some(node) = nic.node {
        text += &format!(", NUMA node {node}");
    }
    text
}

fn left_alone(nic: &Nic, profile: Profile) -> Row {
    let why = if profile.owns_machine() {
        "not the card with the most queues, or the cores float: left as it is"
    } else {
        "shared with the programs of the machine: left as it is"
    };
    Row::new(format!("{} queues", nic.name), describe(nic), why)
}

/// As many queues as data cores, where the card has them.
fn queues(nic: &Nic, data: &[u32], machine: &Machine) -> Row {
    let what = format!("{} queues", nic.name);
    let why = "a queue and an interrupt for each data core";
    let row = Row::new(what, describe(nic), why);
    let Some(channels) = nic.channels else {
        return row;
    };
    let wanted = (data.len() as u32).min(channels.max);
    if wanted <= channels.now {
        return row;
    }
    let words = ["-L", &nic.name, "combined", &wanted.to_string()].map(str::to_owned);
    let step = Step::Ethtool(words.into());
    let remedy = step.show(machine);
    row.should(format!("{wanted} of {} ({remedy})", channels.max))
        .step(step)
}

/// Receive-side scaling by ports too: resolvers behind one address are the rule.
fn hash(nic: &Nic, machine: &Machine) -> Option<Row> {
    let hash = nic.udp_hash?;
    let what = format!("{} RSS of UDP", nic.name);
    let why = "clients behind one address differ in their ports alone";
    if hash.ports {
        return Some(Row::new(what, "addresses and ports", why));
    }
    let is = if hash.addresses {
        "addresses"
    } else {
        "other fields"
    };
    let words = ["-N", &nic.name, "rx-flow-hash", "udp4", "sdfn"].map(str::to_owned);
    let step = Step::Ethtool(words.into());
    let row = Row::new(what, is, why);
    if nic.rx.len() < 2 {
        return Some(row);
    }
    let should = format!("addresses and ports ({})", step.show(machine));
    Some(row.should(should).step(step))
}

/// The interrupt of queue n on the CPU of core n.
fn interrupts(nic: &Nic, data: &[u32]) -> Vec<Row> {
    let row = |(nth, rx): (usize, &crate::tune::machine::nics::RxQueue)| {
        let irq = rx.irq.as_ref()?;
        let cpu = data.get(nth % data.len())?;
        let what = format!("{} queue {}, IRQ {}", nic.name, rx.index, irq.number);
        let why = format!(
            "core {} answers what its own CPU receives",
            nth % data.len()
        );
        let row = Row::new(what, format!("CPU {}", irq.show()), why);
        if irq.is_on(*cpu) {
            return Some(row);
        }
        let path = format!("proc/irq/{}/smp_affinity_list", irq.number);
        Some(
            row.should(format!("CPU {cpu}"))
                .step(Step::Put(path, cpu.to_string())),
        )
    };
    nic.rx.iter().enumerate().filter_map(row).collect()
}

/// Receive packet steering: on where there are fewer queues than cores, off elsewhere.
fn spread(nic: &Nic, data: &[u32]) -> Vec<Row> {
    let can_have = nic
        .channels
        .map_or(nic.rx.len(), |channels| channels.max as usize);
    let wanted: &[u32] = if can_have.max(nic.rx.len()) < data.len() {
        data
    } else {
        &[]
    };
    let show = |cpus: &[u32]| match cpus {
        [] => "off".to_owned(),
        cpus => format!("CPUs {}", show_list(cpus)),
    };
    let why = if wanted.is_empty() {
        "every core has a queue: spreading again in software costs an interrupt between CPUs"
    } else {
        "fewer queues than cores: the kernel spreads packets in software"
    };
    let row = |rx: &crate::tune::machine::nics::RxQueue| {
        let what = format!("{} queue {}, RPS", nic.name, rx.index);
        let row = Row::new(what, show(&rx.rps), why);
        if rx.rps == wanted {
            return row;
        }
        let path = format!("sys/class/net/{}/queues/rx-{}/rps_cpus", nic.name, rx.index);
        let mask = if wanted.is_empty() {
            "0".to_owned()
        } else {
            cpus::show_mask(wanted)
        };
        row.should(show(wanted)).step(Step::Put(path, mask))
    };
    nic.rx.iter().map(row).collect()
}
