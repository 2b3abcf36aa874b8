//! The keys of a settings file: the one table from which the parser, its errors and the check of the README work.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::has;
use super::machine::Machine;
use super::value::Value;
use super::{AcmeChallenge, CoreSettings, Settings};
use crate::corefile::ZoneName;
use crate::lang::cidr::{Net, NetSet};
use crate::limits;
use crate::runtime::Wish;
use crate::tls::Pin;
use crate::upstream::target::parse_resolver;

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
    process("acme_challenge", |process, value| {
        process.settings.acme_challenge = acme_challenge(value)?;
        Ok(())
    }),
    Key {
        check: has::has_backend,
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
            _ => has::may_busy_poll(machine),
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
        check: has::has_memory,
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
        check: has::has_folder,
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
        check: has::has_cpu,
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
    process("ddr", |process, value| {
        let name = value.text(CERTIFICATE_NAME)?;
        let is_name = ZoneName::new(&format!("_dns.{name}")).is_some() && name != ".";
        if !is_name {
            return Err(format!("must be {CERTIFICATE_NAME}, not {name}"));
        }
        process.settings.ddr = Some(name.to_owned());
        Ok(())
    }),
    process("doh_json", |process, value| {
        process.settings.doh_json = value.boolean()?;
        Ok(())
    }),
    process("doh_trusted_proxies", |process, value| {
        process.settings.doh_trusted_proxies = networks(value)?;
        Ok(())
    }),
    core("gso", |core, value| {
        core.settings.gso = value.boolean()?;
        Ok(())
    }),
    Key {
        check: has::has_huge_pages,
        ..core("huge_pages", |core, value| {
            core.settings.huge_pages = value.boolean()?;
            Ok(())
        })
    },
    Key {
        check: has::may_suspend,
        ..core("irq_suspend", |core, value| {
            core.settings.irq_suspend_ns = irq_suspend(value)?.as_nanos() as u64;
            Ok(())
        })
    },
    Key {
        check: has::has_folder,
        ..process("kubernetes_snapshot", |process, value| {
            process.settings.kubernetes_snapshot = Some(value.text("the path of a file")?.into());
            Ok(())
        })
    },
    process("kubernetes_snapshot_interval", |process, value| {
        let bounds = limits::KUBE_SNAPSHOT_INTERVAL_MIN..=limits::KUBE_SNAPSHOT_INTERVAL_MAX;
        process.settings.kubernetes_snapshot_interval = value.duration(bounds)?;
        Ok(())
    }),
    Key {
        check: has::has_nic,
        ..process("nic", |process, value| {
            process.settings.nic = Some(value.text("the name of a network card")?.to_owned());
            Ok(())
        })
    },
    Key {
        check: has::may_nice,
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
        check: has::has_node,
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
            true => has::may_busy_poll(machine),
        },
        ..core("prefer_busy_poll", |core, value| {
            core.settings.prefer_busy_poll = value.boolean()?;
            Ok(())
        })
    },
    Key {
        check: has::may_slice,
        ..core("slice", |core, value| {
            core.settings.slice_ns = slice(value)?.as_nanos() as u64;
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
    process("upstream_pins", |process, value| {
        process.settings.upstream_pins = pins(value)?;
        Ok(())
    }),
    process("upstream_proxy_protocol", |process, value| {
        process.settings.upstream_proxy_protocol = upstreams(value)?;
        Ok(())
    }),
];

/// What a list of CPUs is called in errors.
pub const CPU_LIST: &str = "a list of CPUs like \"0-3,8\"";
/// Numbers of CPUs that Linux knows.
pub(super) const CPUS: std::ops::RangeInclusive<i64> = 0..=8191;

const CERTIFICATE_NAME: &str = "the name that the certificate has";

fn acme_challenge(value: &Value) -> Result<AcmeChallenge, String> {
    let what = "dns-01, http-01 or tls-alpn-01";
    let text = value.text(what)?;
    let found = AcmeChallenge::ALL
        .into_iter()
        .find(|challenge| challenge.to_string() == text);
    found.ok_or_else(|| format!("must be {what} in quotes, not {value}"))
}

fn socket_buffer(value: &Value) -> Result<usize, String> {
    value.octets(
        limits::TUNE_SOCKET_BUFFER_OCTETS_MIN,
        limits::TUNE_SOCKET_BUFFER_OCTETS,
    )
}

fn networks(value: &Value) -> Result<NetSet, String> {
    let list = value.texts("networks like [\"10.0.0.0/8\"]", limits::TUNE_NETWORKS)?;
    let nets: Result<Vec<Net>, String> = list.iter().map(|text| Net::parse(text)).collect();
    let nets = nets.map_err(|error| format!("must be networks like [\"10.0.0.0/8\"]: {error}"))?;
    Ok(nets.into_iter().collect())
}

pub(super) fn cache_octets(value: &Value) -> Result<usize, String> {
    value.octets(limits::CACHE_OCTETS_MIN, limits::CACHE_OCTETS_MAX)
}

fn pins(value: &Value) -> Result<BTreeMap<IpAddr, Vec<Pin>>, String> {
    let rows = value.lists("keys of upstreams, like { \"9.9.9.9\" = [\"BASE64\"] }")?;
    let pins_of = |(address, pins): &(String, Vec<String>)| {
        let address = address
            .parse()
            .map_err(|_| format!("{address:?} is no address of an upstream"))?;
        if pins.is_empty() || pins.len() > limits::UPSTREAM_PINS {
            let most = limits::UPSTREAM_PINS;
            return Err(format!("{address} must have 1 to {most} keys"));
        }
        let pins: Result<Vec<Pin>, String> = pins.iter().map(|pin| Pin::parse(pin)).collect();
        Ok((address, pins?))
    };
    rows.iter().map(pins_of).collect()
}

fn upstreams(value: &Value) -> Result<BTreeSet<(IpAddr, u16)>, String> {
    let what = "upstreams like [\"10.0.0.53\", \"[2001:db8::53]:853\"]";
    let list = value.texts(what, limits::TUNE_PROXIED_UPSTREAMS)?;
    let upstream = |text: &String| {
        let addr = parse_resolver(text);
        let addr = addr.ok_or_else(|| format!("must be {what}: {text:?} is no address"))?;
        Ok((addr.ip(), addr.port()))
    };
    list.iter().map(upstream).collect()
}

fn busy_poll(value: &Value) -> Result<Duration, String> {
    value.duration(Duration::ZERO..=Duration::from_micros(limits::BUSY_POLL_US_MAX.into()))
}

pub(super) fn irq_suspend(value: &Value) -> Result<Duration, String> {
    value.duration(Duration::ZERO..=Duration::from_nanos(limits::IRQ_SUSPEND_NS_MAX))
}

/// The kernel would quietly raise what is too short.
pub(super) fn slice(value: &Value) -> Result<Duration, String> {
    let slice = value.duration(Duration::ZERO..=Duration::from_nanos(limits::SLICE_NS_MAX))?;
    let least = Duration::from_nanos(limits::SLICE_NS);
    if slice.is_zero() || slice >= least {
        return Ok(slice);
    }
    Err(format!(
        "{value} is shorter than the kernel grants: \"100us\" is the least, \"0s\" leaves it to the kernel"
    ))
}
