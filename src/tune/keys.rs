//! The keys of a settings file: the one table from which the parser, its errors and the check of the README work.

use std::path::Path;
use std::time::Duration;

use super::machine::{CAP_NET_ADMIN, Machine};
use super::value::Value;
use super::{CoreSettings, Settings};
use crate::limits;
use crate::runtime::Wish;

/// One key.
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// In which tables it may stand.
    pub place: Place,
    set: Set,
    /// Whether the machine has what is asked for; `Err` says what it lacks and what to do.
    check: fn(&Value, &Machine) -> Result<(), String>,
}

/// The tables of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `[global]` alone.
    Global,
    /// `[[core]]` alone.
    Core,
    /// `[global]` for all cores, `[[core]]` for some.
    Both,
}

enum Set {
    Process(fn(&mut Process, &Value) -> Result<(), String>),
    Core(fn(&mut Core, &Value) -> Result<(), String>),
}

/// Settings of the process, and how the cores are found.
pub struct Process {
    /// What is being filled in; its cores are not.
    pub settings: Settings,
    /// The CPUs to run on.
    pub cpus: Option<String>,
}

/// Settings of a core before its backend is chosen.
#[derive(Clone, Default)]
pub struct Core {
    /// What is being filled in; its backend is not.
    pub settings: CoreSettings,
    /// The backend that was asked for.
    pub backend: Wish,
}

impl Key {
    /// The key of that name.
    pub fn find(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// Whether it may stand in `[global]`, or in a `[[core]]`.
    pub fn fits(&self, is_global: bool) -> bool {
        match self.place {
            Place::Both => true,
            Place::Global => is_global,
            Place::Core => !is_global,
        }
    }

    /// Takes a value for the process; nothing for a key of a core.
    pub fn set_process(&self, process: &mut Process, value: &Value) -> Result<(), String> {
        match self.set {
            Set::Process(set) => set(process, value),
            Set::Core(_) => Ok(()),
        }
    }

    /// Takes a value for a core; nothing for a key of the process.
    pub fn set_core(&self, core: &mut Core, value: &Value) -> Result<(), String> {
        match self.set {
            Set::Core(set) => set(core, value),
            Set::Process(_) => Ok(()),
        }
    }

    /// Whether the machine has what this value asks for.
    pub fn check(&self, value: &Value, machine: &Machine) -> Result<(), String> {
        (self.check)(value, machine)
    }
}

const fn core(name: &'static str, set: fn(&mut Core, &Value) -> Result<(), String>) -> Key {
    Key {
        name,
        place: Place::Both,
        set: Set::Core(set),
        check: |_, _| Ok(()),
    }
}

const fn process(name: &'static str, set: fn(&mut Process, &Value) -> Result<(), String>) -> Key {
    Key {
        name,
        place: Place::Global,
        set: Set::Process(set),
        check: |_, _| Ok(()),
    }
}

/// Every key, by name.
pub const KEYS: &[Key] = &[
    Key {
        check: has_backend,
        ..core("backend", |core, value| {
            core.backend = value.text("auto, glommio or epoll")?.parse()?;
            Ok(())
        })
    },
    core("batch_len", |core, value| {
        core.settings.batch_len = value.count(1, limits::BATCH)?;
        Ok(())
    }),
    Key {
        check: |value, machine| match busy_poll(value)? {
            Duration::ZERO => Ok(()),
            _ => may_busy_poll(machine),
        },
        ..core("busy_poll", |core, value| {
            core.settings.busy_poll_us = busy_poll(value)?.as_micros() as u32;
            Ok(())
        })
    },
    core("busy_poll_budget", |core, value| {
        let most = limits::BUSY_POLL_BUDGET_MAX.into();
        core.settings.busy_poll_budget = value.integer(1..=most)? as u16;
        Ok(())
    }),
    Key {
        check: has_memory,
        ..process("cache_octets_max", |process, value| {
            process.settings.cache_octets_max = Some(cache_octets(value)?);
            Ok(())
        })
    },
    core("cache_share", |core, value| {
        core.settings.cache_share = value.integer(1..=limits::CACHE_SHARE_MAX.into())? as u32;
        Ok(())
    }),
    Key {
        check: has_folder,
        ..process("cache_snapshot", |process, value| {
            process.settings.cache_snapshot = Some(value.text("the path of a file")?.into());
            Ok(())
        })
    },
    process("cache_snapshot_interval", |process, value| {
        let bounds = limits::CACHE_SNAPSHOT_INTERVAL_MIN..=limits::CACHE_SNAPSHOT_INTERVAL_MAX;
        process.settings.cache_snapshot_interval = value.duration(bounds)?;
        Ok(())
    }),
    Key {
        place: Place::Core,
        check: has_cpu,
        ..core("cpu", |core, value| {
            core.settings.cpu = Some(value.integer(CPUS)? as u32);
            Ok(())
        })
    },
    Key {
        check: |value, machine| {
            let list = value.text(CPU_LIST)?;
            crate::runtime::cores::cpu_list(list, &machine.allowed).map(drop)
        },
        ..process("cpus", |process, value| {
            process.cpus = Some(value.text(CPU_LIST)?.to_owned());
            Ok(())
        })
    },
    core("gso", |core, value| {
        core.settings.gso = value.boolean()?;
        Ok(())
    }),
    Key {
        check: has_huge_pages,
        ..core("huge_pages", |core, value| {
            core.settings.huge_pages = value.boolean()?;
            Ok(())
        })
    },
    Key {
        check: may_suspend,
        ..core("irq_suspend", |core, value| {
            core.settings.irq_suspend_ns = irq_suspend(value)?.as_nanos() as u64;
            Ok(())
        })
    },
    Key {
        check: has_nic,
        ..process("nic", |process, value| {
            process.settings.nic = Some(value.text("the name of a network card")?.to_owned());
            Ok(())
        })
    },
    Key {
        check: may_nice,
        ..core("nice", |core, value| {
            core.settings.nice = value.integer(-20..=19)? as i8;
            Ok(())
        })
    },
    Key {
        place: Place::Core,
        ..core("nic_queue", |core, value| {
            core.settings.nic_queue = Some(value.integer(0..=4095)? as u32);
            Ok(())
        })
    },
    Key {
        check: has_node,
        ..core("numa_node", |core, value| {
            core.settings.numa_node = Some(value.integer(0..=1023)? as u32);
            Ok(())
        })
    },
    core("parked_max", |core, value| {
        core.settings.parked_max = value.count(1, limits::TUNE_PARKED)?;
        Ok(())
    }),
    Key {
        check: |value, machine| match value.boolean()? {
            false => Ok(()),
            true => may_busy_poll(machine),
        },
        ..core("prefer_busy_poll", |core, value| {
            core.settings.prefer_busy_poll = value.boolean()?;
            Ok(())
        })
    },
    core("tcp_connections_max", |core, value| {
        core.settings.tcp_connections_max = value.count(1, limits::TUNE_TCP_CONNECTIONS)?;
        Ok(())
    }),
    core("udp_receive_buffer", |core, value| {
        core.settings.udp_receive_buffer_octets = socket_buffer(value)?;
        Ok(())
    }),
    core("udp_send_buffer", |core, value| {
        core.settings.udp_send_buffer_octets = Some(socket_buffer(value)?);
        Ok(())
    }),
    core("upstream_idle_max", |core, value| {
        core.settings.upstream_idle_max = value.count(1, limits::TUNE_UPSTREAM_IDLE)?;
        Ok(())
    }),
    core("upstream_in_flight_max", |core, value| {
        core.settings.upstream_in_flight_max = value.count(1, limits::TUNE_PARKED)?;
        Ok(())
    }),
];

/// What a list of CPUs is called in errors.
pub const CPU_LIST: &str = "a list of CPUs like \"0-3,8\"";
/// Numbers of CPUs that Linux knows.
const CPUS: std::ops::RangeInclusive<i64> = 0..=8191;

fn socket_buffer(value: &Value) -> Result<usize, String> {
    value.octets(
        limits::TUNE_SOCKET_BUFFER_OCTETS_MIN,
        limits::TUNE_SOCKET_BUFFER_OCTETS,
    )
}

fn cache_octets(value: &Value) -> Result<usize, String> {
    value.octets(limits::CACHE_OCTETS_MIN, limits::CACHE_OCTETS_MAX)
}

fn busy_poll(value: &Value) -> Result<Duration, String> {
    value.duration(Duration::ZERO..=Duration::from_micros(limits::BUSY_POLL_US_MAX.into()))
}

fn irq_suspend(value: &Value) -> Result<Duration, String> {
    value.duration(Duration::ZERO..=Duration::from_nanos(limits::IRQ_SUSPEND_NS_MAX))
}

// === what the machine has ===

/// The socket options want CAP_NET_ADMIN; those of an epoll descriptor, new in 6.9, do not.
fn may_busy_poll(machine: &Machine) -> Result<(), String> {
    if machine.is_capable(CAP_NET_ADMIN) || machine.release() >= Some((6, 9)) {
        return Ok(());
    }
    Err(format!(
        "before Linux 6.9 (here: {}) only CAP_NET_ADMIN may poll the card: AmbientCapabilities=CAP_NET_ADMIN, or leave it out",
        machine.kernel
    ))
}

fn may_suspend(value: &Value, machine: &Machine) -> Result<(), String> {
    if irq_suspend(value)?.is_zero() || machine.release() >= Some((6, 13)) {
        return Ok(());
    }
    Err(format!(
        "only Linux 6.13 and newer can keep interrupts off, and this is {}: leave it out",
        machine.kernel
    ))
}

fn has_memory(value: &Value, machine: &Machine) -> Result<(), String> {
    let octets = cache_octets(value)?;
    match machine.memory_limit.or(machine.memory) {
        Some(memory) if octets as u64 > memory => Err(format!(
            "{value} is more than the {} MiB of memory here: half of them is a good start",
            memory >> 20
        )),
        _ => Ok(()),
    }
}

fn has_backend(value: &Value, machine: &Machine) -> Result<(), String> {
    match (value, &machine.io_uring) {
        (Value::Text(name), Err(refusal)) if name == "glommio" => Err(format!(
            "glommio cannot run here: {refusal}; or say \"auto\""
        )),
        _ => Ok(()),
    }
}

fn has_cpu(value: &Value, machine: &Machine) -> Result<(), String> {
    let cpu = value.integer(CPUS)? as u32;
    if machine.allowed.contains(&cpu) {
        return Ok(());
    }
    let allowed = crate::runtime::cores::show_list(&machine.allowed);
    Err(format!(
        "CPU {cpu} is not one that this process may use ({allowed})"
    ))
}

fn has_node(value: &Value, machine: &Machine) -> Result<(), String> {
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

fn has_nic(value: &Value, machine: &Machine) -> Result<(), String> {
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

fn has_huge_pages(value: &Value, machine: &Machine) -> Result<(), String> {
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

fn has_folder(value: &Value, _: &Machine) -> Result<(), String> {
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

fn may_nice(value: &Value, machine: &Machine) -> Result<(), String> {
    let nice = value.integer(-20..=19)?;
    if nice >= i64::from(machine.nice_min) {
        return Ok(());
    }
    Err(format!(
        "{nice} is refused without CAP_SYS_NICE (AmbientCapabilities=CAP_SYS_NICE, or LimitNICE=); {} is the least here",
        machine.nice_min
    ))
}
