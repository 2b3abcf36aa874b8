//! Whether a machine has what a key asks for. Errors say what it lacks and what to do.

use std::path::Path;

use super::keys::{CPUS, cache_octets, irq_suspend, slice};
use super::machine::{CAP_NET_ADMIN, Machine};
use super::value::Value;

/// The socket options want CAP_NET_ADMIN; those of an epoll descriptor, new in 6.9, do not.
pub(super) fn may_busy_poll(machine: &Machine) -> Result<(), String> {
    if machine.is_capable(CAP_NET_ADMIN) || machine.release() >= Some((6, 9)) {
        return Ok(());
    }
    Err(format!(
        "before Linux 6.9 (here: {}) only CAP_NET_ADMIN may poll the card: AmbientCapabilities=CAP_NET_ADMIN, or leave it out",
        machine.kernel
    ))
}

pub(super) fn may_suspend(value: &Value, machine: &Machine) -> Result<(), String> {
    if irq_suspend(value)?.is_zero() || machine.release() >= Some((6, 13)) {
        return Ok(());
    }
    Err(format!(
        "only Linux 6.13 and newer can keep interrupts off, and this is {}: leave it out",
        machine.kernel
    ))
}

pub(super) fn may_slice(value: &Value, machine: &Machine) -> Result<(), String> {
    if slice(value)?.is_zero() || machine.keeps_slices() {
        return Ok(());
    }
    Err(format!(
        "only Linux 6.12 and newer give a thread a slice of its own, and this is {}: leave it out",
        machine.kernel
    ))
}

pub(super) fn has_memory(value: &Value, machine: &Machine) -> Result<(), String> {
    let octets = cache_octets(value)?;
    match machine.memory_limit.or(machine.memory) {
        Some(memory) if octets as u64 > memory => Err(format!(
            "{value} is more than the {} MiB of memory here: half of them is a good start",
            memory >> 20
        )),
        _ => Ok(()),
    }
}

pub(super) fn has_backend(value: &Value, machine: &Machine) -> Result<(), String> {
    match (value, &machine.io_uring) {
        (Value::Text(name), Err(refusal)) if name == "glommio" => Err(format!(
            "glommio cannot run here: {refusal}; or say \"auto\""
        )),
        _ => Ok(()),
    }
}

pub(super) fn has_cpu(value: &Value, machine: &Machine) -> Result<(), String> {
    let cpu = value.integer(CPUS)? as u32;
    if machine.allowed.contains(&cpu) {
        return Ok(());
    }
    let allowed = crate::runtime::cores::show_list(&machine.allowed);
    Err(format!(
        "CPU {cpu} is not one that this process may use ({allowed})"
    ))
}

pub(super) fn has_node(value: &Value, machine: &Machine) -> Result<(), String> {
    let node = value.integer(0..=1023)? as u32;
    let nodes = machine.nodes();
    if nodes.contains(&node) {
        return Ok(());
    }
    let nodes = match &nodes[..] {
        [] => "it has no NUMA nodes".to_owned(),
        nodes => format!("it has {}", crate::runtime::cores::show_list(nodes)),
    };
    Err(format!(
        "this machine has no NUMA node {node} with CPUs: {nodes}"
    ))
}

pub(super) fn has_nic(value: &Value, machine: &Machine) -> Result<(), String> {
    let name = value.text("the name of a network card")?;
    if machine.nic(name).is_some() {
        return Ok(());
    }
    let names: Vec<&str> = machine.nics.iter().map(|nic| &*nic.name).collect();
    Err(format!(
        "no network card '{name}' is up here; there {}",
        match &names[..] {
            [] => "is none".to_owned(),
            names => format!("is {}", names.join(", ")),
        }
    ))
}

pub(super) fn has_huge_pages(value: &Value, machine: &Machine) -> Result<(), String> {
    if !value.boolean()? {
        return Ok(());
    }
    match machine.huge_pages.as_deref() {
        Some("always" | "madvise") => Ok(()),
        Some(_) => Err(
            "transparent huge pages are off here: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"
                .to_owned(),
        ),
        None => Err("this kernel has no transparent huge pages: say false".to_owned()),
    }
}

pub(super) fn has_folder(value: &Value, _: &Machine) -> Result<(), String> {
    let path = Path::new(value.text("the path of a file")?);
    if path.is_dir() {
        return Err(format!("{} is a folder: name a file in it", path.display()));
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => Err(format!(
            "there is no folder {}: create it, for the user that percoredns runs as",
            folder.display()
        )),
        _ => Ok(()),
    }
}

pub(super) fn may_nice(value: &Value, machine: &Machine) -> Result<(), String> {
    let nice = value.integer(-20..=19)?;
    if nice >= i64::from(machine.nice_min) {
        return Ok(());
    }
    Err(format!(
        "{nice} is refused without CAP_SYS_NICE (AmbientCapabilities=CAP_SYS_NICE, or LimitNICE=); {} is the least here",
        machine.nice_min
    ))
}
