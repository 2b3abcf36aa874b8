//! A settings file and a machine to settings: which cores there are, what each is told, and what the machine lacks.

use std::collections::{BTreeMap, BTreeSet};

use super::file::{CoreTable, Entry, Selector, TuneFile};
use super::keys::{Core, Process};
use super::machine::Machine;
use super::{CoreSettings, Settings};
use crate::runtime::cores::{self, CorePlan};
use crate::runtime::{Backend, Wish};

/// What the command line says beside the file.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// `-cores`.
    pub cores: Option<String>,
    /// `-runtime`.
    pub backend: Wish,
}

/// A core, and the line on which each of its keys was set last.
struct Draft {
    core: Core,
    lines: BTreeMap<&'static str, usize>,
}

/// The settings that the file gives on this machine. `auto` has become a backend.
///
/// # Errors
/// `FILE:LINE - key: what the machine lacks, and the remedy`.
pub fn resolve(file: &TuneFile, machine: &Machine, wishes: &Wishes) -> Result<Settings, String> {
    let mut process = Process {
        settings: Settings::floating(1),
        cpus: None,
    };
    for entry in &file.global {
        let fail = |reason: String| fail(file, entry, &reason);
        entry.key.check(&entry.value, machine).map_err(fail)?;
        entry
            .key
            .set_process(&mut process, &entry.value)
            .map_err(fail)?;
    }
    let plan = plan(file, machine, wishes, &process)?;
    if plan.is_empty() {
        return Err("no CPU can be seen: are /proc and /sys there?".to_owned());
    }
    let mut drafts: Vec<Draft> = plan.iter().map(|core| Draft::new(core, wishes)).collect();
    for draft in &mut drafts {
        for entry in &file.global {
            draft.apply(file, entry, machine, wishes)?;
        }
    }
    for table in &file.cores {
        for nth in selected(file, table, &drafts)? {
            for entry in &table.entries {
                drafts[nth].apply(file, entry, machine, wishes)?;
            }
        }
    }
    for draft in &mut drafts {
        draft.finish(file, machine)?;
    }
    check_polling(file, &drafts)?;
    check_together(file, machine, &process, &drafts)?;
    let resolved = |draft: &Draft| CoreSettings {
        backend: backend(draft.core.backend, machine),
        ..draft.core.settings
    };
    Ok(Settings {
        cores: drafts.iter().map(resolved).collect(),
        ..process.settings
    })
}

/// The backend that a wish comes to; what cannot be had by name was refused before.
fn backend(wish: Wish, machine: &Machine) -> Backend {
    match wish {
        Wish::Epoll => Backend::Epoll,
        Wish::Glommio => Backend::Glommio,
        Wish::Auto if machine.io_uring.is_ok() => Backend::Glommio,
        Wish::Auto => Backend::Epoll,
    }
}

fn fail(file: &TuneFile, entry: &Entry, reason: &str) -> String {
    file.error(entry.line, &format!("{}: {reason}", entry.key.name))
}

/// The cores to start: on the CPUs of `cpus` or `-cores`, else those of a `numa_node` for all, else as without a file.
fn plan(
    file: &TuneFile,
    machine: &Machine,
    wishes: &Wishes,
    process: &Process,
) -> Result<Vec<CorePlan>, String> {
    let entry = |name: &str| file.global.iter().find(|entry| entry.key.name == name);
    if let (Some(entry), Some(list)) = (entry("cpus"), &wishes.cores) {
        let reason = format!("-cores {list} says the same in another place: keep one of them");
        return Err(fail(file, entry, &reason));
    }
    let wish = process.cpus.as_deref().or(wishes.cores.as_deref());
    let node = entry("numa_node").and_then(|entry| entry.value.integer(0..=1023).ok());
    let Some(node) = node.filter(|_| wish.is_none()) else {
        return cores::plan_for(&machine.allowed, machine.quota, wish);
    };
    let is_near = |cpu: &u32| {
        let cpu = machine.cpu(*cpu);
        cpu.and_then(|cpu| cpu.node).map(i64::from) == Some(node)
    };
    let near: Vec<u32> = machine.allowed.iter().copied().filter(is_near).collect();
    match (near.is_empty(), entry("numa_node")) {
        (true, Some(entry)) => {
            let reason = format!("this process may use no CPU of NUMA node {node}");
            Err(fail(file, entry, &reason))
        }
        _ => cores::plan_for(&near, machine.quota, None),
    }
}

impl Draft {
    fn new(plan: &CorePlan, wishes: &Wishes) -> Draft {
        let settings = CoreSettings {
            cpu: plan.cpu,
            ..CoreSettings::default()
        };
        Draft {
            core: Core {
                settings,
                backend: wishes.backend,
            },
            lines: BTreeMap::new(),
        }
    }

    fn apply(
        &mut self,
        file: &TuneFile,
        entry: &Entry,
        machine: &Machine,
        wishes: &Wishes,
    ) -> Result<(), String> {
        let fail = |reason: String| fail(file, entry, &reason);
        if entry.key.name == "backend" && wishes.backend != Wish::Auto {
            return Err(fail(
                "-runtime says the same in another place: keep one of them".to_owned(),
            ));
        }
        entry.key.check(&entry.value, machine).map_err(fail)?;
        entry
            .key
            .set_core(&mut self.core, &entry.value)
            .map_err(fail)?;
        self.lines.insert(entry.key.name, entry.line);
        Ok(())
    }

    /// What one key of a core says about another.
    fn finish(&mut self, file: &TuneFile, machine: &Machine) -> Result<(), String> {
        let core = &mut self.core.settings;
        let line = |key: &str| self.lines.get(key).copied();
        if core.upstream_in_flight_max > core.parked_max {
            if let Some(line) = line("upstream_in_flight_max") {
                let reason = format!(
                    "upstream_in_flight_max: {} exchanges do not fit {} waiting queries: raise parked_max",
                    core.upstream_in_flight_max, core.parked_max
                );
                return Err(file.error(line, &reason));
            }
            core.upstream_in_flight_max = core.parked_max;
        }
        if let (Some(cpu), Some(node)) = (core.cpu, core.numa_node) {
            let of_cpu = machine.cpu(cpu).and_then(|cpu| cpu.node);
            if of_cpu.is_some_and(|of_cpu| of_cpu != node) {
                let line = line("cpu").or(line("numa_node")).unwrap_or(1);
                let reason = format!(
                    "numa_node: CPU {cpu} is part of node {}, not of {node}: leave numa_node out, or take a CPU of that node",
                    of_cpu.unwrap_or_default()
                );
                return Err(file.error(line, &reason));
            }
        }
        Ok(())
    }
}

/// The cores that a `[[core]]` is about.
fn selected(file: &TuneFile, table: &CoreTable, drafts: &[Draft]) -> Result<Vec<usize>, String> {
    let fail = |reason: &str| Err(file.error(table.line, reason));
    match &table.of {
        Selector::Index(index) if *index < drafts.len() => Ok(vec![*index]),
        Selector::Index(index) => fail(&format!(
            "index: there is no core {index}: {} run here, counted from 0 (see cpus below [global], and -cores)",
            drafts.len()
        )),
        Selector::Cpus(list) => {
            let on: Vec<u32> = drafts
                .iter()
                .filter_map(|draft| draft.core.settings.cpu)
                .collect();
            if on.is_empty() {
                return fail(
                    "cpus: the cores float here, because the CPU quota is below the number of CPUs: use index, or give cpus below [global]",
                );
            }
            let cpus = match cores::cpu_list(list, &on) {
                Ok(cpus) => cpus,
                Err(error) => {
                    return fail(&format!("cpus: {error}, the CPUs that cores run on here"));
                }
            };
            let is_on = |draft: &Draft| {
                let cpu = draft.core.settings.cpu;
                cpu.is_some_and(|cpu| cpus.contains(&cpu))
            };
            Ok((0..drafts.len())
                .filter(|nth| is_on(&drafts[*nth]))
                .collect())
        }
    }
}

/// How to poll where nothing polls: a line that says so and takes effect on no core.
fn check_polling(file: &TuneFile, drafts: &[Draft]) -> Result<(), String> {
    type Asked = fn(&CoreSettings) -> bool;
    let lines = |polls: bool, key: &str, is_asked: Asked| -> BTreeSet<usize> {
        drafts
            .iter()
            .filter(|draft| {
                let core = &draft.core.settings;
                is_asked(core) && (core.busy_poll_us > 0) == polls
            })
            .filter_map(|draft| draft.lines.get(key).copied())
            .collect()
    };
    let keys: [(&str, Asked); 3] = [
        ("busy_poll_budget", |_| true),
        ("prefer_busy_poll", |core| core.prefer_busy_poll),
        ("irq_suspend", |core| core.irq_suspend_ns > 0),
    ];
    for (key, is_asked) in keys {
        let idle = lines(false, key, is_asked);
        if let Some(line) = idle.difference(&lines(true, key, is_asked)).next() {
            let reason = format!(
                "{key}: it is about busy polling, and busy_poll is \"0s\" there: set busy_poll, to \"50us\" for a start, or leave {key} out"
            );
            return Err(file.error(*line, &reason));
        }
    }
    Ok(())
}

/// What one core says about another: two on one CPU, two on one queue.
fn check_together(
    file: &TuneFile,
    machine: &Machine,
    process: &Process,
    drafts: &[Draft],
) -> Result<(), String> {
    for (nth, draft) in drafts.iter().enumerate() {
        let core = &draft.core.settings;
        let line = |key: &str| draft.lines.get(key).copied();
        let others = || drafts[..nth].iter().map(|other| &other.core.settings);
        if let Some(cpu) = core.cpu
            && others().any(|other| other.cpu == Some(cpu))
        {
            let line = drafts[..=nth]
                .iter()
                .rev()
                .find_map(|draft| draft.lines.get("cpu").copied());
            let reason = format!("cpu: two cores are told to run on CPU {cpu}");
            return Err(file.error(line.unwrap_or(1), &reason));
        }
        let Some((queue, line)) = core.nic_queue.zip(line("nic_queue")) else {
            continue;
        };
        let Some(nic) = process
            .settings
            .nic
            .as_deref()
            .and_then(|name| machine.nic(name))
        else {
            let reason = "nic_queue: of which network card? Give nic = \"NAME\" below [global]";
            return Err(file.error(line, reason));
        };
        if !nic.rx.iter().any(|rx| rx.index == queue) {
            let reason = format!(
                "nic_queue: {} has no receive queue {queue}: it has {}, counted from 0 (more: ethtool -L {} combined N)",
                nic.name,
                nic.rx.len(),
                nic.name
            );
            return Err(file.error(line, &reason));
        }
        if others().any(|other| other.nic_queue == Some(queue)) {
            let reason = format!("nic_queue: two cores are told to take queue {queue}");
            return Err(file.error(line, &reason));
        }
    }
    Ok(())
}

/// One line for each core whose queue interrupts another CPU, as `-tune` and `percoredns tune` promise.
pub fn misplaced_interrupts(settings: &Settings, machine: &Machine) -> Vec<String> {
    let Some(nic) = settings.nic.as_deref().and_then(|name| machine.nic(name)) else {
        return Vec::new();
    };
    let of_core = |(core, settings): (usize, &CoreSettings)| {
        let (queue, cpu) = (settings.nic_queue?, settings.cpu?);
        let rx = nic.rx.iter().find(|rx| rx.index == queue)?;
        let Some(irq) = &rx.irq else {
            return Some(format!(
                "queue {queue} of {} has no interrupt that can be told to be its own, so core {core} may answer what CPU {cpu} did not receive",
                nic.name
            ));
        };
        (!irq.is_on(cpu)).then(|| {
            format!(
                "queue {queue} of {} interrupts CPU {} (IRQ {}) but its core {core} runs on CPU {cpu}: echo {cpu} > /proc/irq/{}/smp_affinity_list, or percoredns tune --apply",
                nic.name,
                irq.show(),
                irq.number,
                irq.number
            )
        })
    };
    settings
        .cores
        .iter()
        .enumerate()
        .filter_map(of_core)
        .collect()
}
