//! Which CPUs the process may use, and one data core for each of them.

use std::io;
use std::path::Path;

use crate::runtime::cgroup;

/// One data core to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CorePlan {
    /// Its number, from 0; also the number of its cache shard and of its place in each socket group.
    pub index: usize,
    /// The CPU that its threads stay on; `None` = they float, because a CPU quota is shared wherever they run.
    pub cpu: Option<u32>,
}

/// The data cores to start.
///
/// * `wish` (flag `-cores`): exactly those CPUs, pinned. `Err` names what is wrong with the list.
/// * No quota below the number of allowed CPUs: one core for each allowed CPU, pinned.
/// * A quota (cgroup `cpu.max`) below it: that many cores, rounded up, floating. Pinned threads would be throttled
///   on their CPU while others idle.
pub fn plan(wish: Option<&str>) -> Result<Vec<CorePlan>, String> {
    let allowed = allowed_cpus()
        .map_err(|error| format!("the allowed CPUs cannot be read (sched_getaffinity): {error}"))?;
    let quota = cgroup::cpu_quota(Path::new("/"));
    plan_for(&allowed, quota, wish)
}

/// The CPUs that this process may run on, ascending (sched_getaffinity(2), which includes cpusets).
pub fn allowed_cpus() -> io::Result<Vec<u32>> {
    let mut mask = [0u64; MASK_WORDS];
    // SAFETY: `mask` is writable for the size given. The raw call is used because the libc type ends at 1024 CPUs.
    let octets = unsafe {
        libc::syscall(
            libc::SYS_sched_getaffinity,
            0,
            size_of_val(&mask),
            mask.as_mut_ptr(),
        )
    };
    if octets < 0 {
        return Err(io::Error::last_os_error());
    }
    let cpus: Vec<u32> = (0..MASK_WORDS * 64)
        .filter(|cpu| mask[cpu / 64] >> (cpu % 64) & 1 == 1)
        .map(|cpu| cpu as u32)
        .collect();
    if cpus.is_empty() {
        return Err(io::Error::other("no CPU is allowed"));
    }
    Ok(cpus)
}

/// Binds the calling thread to one CPU.
pub fn pin_current(cpu: u32) -> io::Result<()> {
    bind_current(&[cpu])
}

/// Lets the calling thread run on these CPUs alone.
pub fn bind_current(cpus: &[u32]) -> io::Result<()> {
    let mut mask = [0u64; MASK_WORDS];
    for cpu in cpus {
        let word = mask
            .get_mut(*cpu as usize / 64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("no CPU {cpu}")))?;
        *word |= 1 << (cpu % 64);
    }
    // SAFETY: `mask` is readable for the size given; 0 names the calling thread.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setaffinity,
            0,
            size_of_val(&mask),
            mask.as_ptr(),
        )
    };
    if result < 0 {
        let error = io::Error::last_os_error();
        let list = show_list(cpus);
        return Err(io::Error::new(
            error.kind(),
            format!("pinning to CPU {list}: {error}"),
        ));
    }
    Ok(())
}

/// As [`plan`], for a process that may use these CPUs and has this quota.
pub fn plan_for(
    allowed: &[u32],
    quota: Option<f64>,
    wish: Option<&str>,
) -> Result<Vec<CorePlan>, String> {
    let pinned = |cpus: &[u32]| {
        cpus.iter()
            .enumerate()
            .map(|(index, &cpu)| CorePlan {
                index,
                cpu: Some(cpu),
            })
            .collect()
    };
    if let Some(list) = wish {
        let cpus = cpu_list(list, allowed).map_err(|error| format!("-cores: {error}"))?;
        return Ok(pinned(&cpus));
    }
    match quota {
        Some(cpus) if cpus < allowed.len() as f64 => {
            let count = (cpus.ceil() as usize).clamp(1, allowed.len());
            Ok((0..count)
                .map(|index| CorePlan { index, cpu: None })
                .collect())
        }
        _ => Ok(pinned(allowed)),
    }
}

/// Reads a list of CPUs as the kernel writes them (`0-3,8`), ascending and without repeats; `Err` names what is wrong with it.
pub fn cpu_list(list: &str, allowed: &[u32]) -> Result<Vec<u32>, String> {
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let number = |text: &str| {
            text.trim().parse::<u32>().map_err(|_| {
                format!("'{text}' in '{list}' is not a CPU number: write a list like 0-3,8")
            })
        };
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(format!("the range '{part}' in '{list}' runs backwards"));
        }
        if let Some(cpu) = (first..=last).find(|cpu| !allowed.contains(cpu)) {
            return Err(format!(
                "CPU {cpu} is not one that this process may use ({})",
                show_list(allowed)
            ));
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Ok(cpus)
}

/// Writes CPUs as the kernel does: `0-3,8`. `cpus` is ascending.
pub fn show_list(cpus: &[u32]) -> String {
    let mut text = String::new();
    for run in cpus.chunk_by(|a, b| a + 1 == *b) {
        if !text.is_empty() {
            text.push(',');
        }
        text += &run[0].to_string();
        if let [_, .., last] = run {
            text.push('-');
            text += &last.to_string();
        }
    }
    text
}

/// 8192 CPUs, the most that Linux can be built for.
const MASK_WORDS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allowed: &[u32], quota: Option<f64>, wish: Option<&str>, expect: &[Option<u32>]) {
        let plan = plan_for(allowed, quota, wish).unwrap();
        let cpus: Vec<Option<u32>> = plan.iter().map(|core| core.cpu).collect();
        assert_eq!(cpus, expect, "{allowed:?} {quota:?} {wish:?}");
        assert!(plan.iter().enumerate().all(|(i, core)| core.index == i));
    }

    #[test]
    fn whole_cpus_are_pinned_and_a_quota_floats() {
        check(&[0, 1], None, None, &[Some(0), Some(1)]);
        check(&[2, 5], Some(2.0), None, &[Some(2), Some(5)]);
        check(&[2, 5], Some(8.0), None, &[Some(2), Some(5)]);
        check(&[0, 1, 2, 3], Some(1.5), None, &[None, None]);
        check(&[0, 1, 2, 3], Some(2.0), None, &[None, None]);
        check(&[0, 1], Some(0.1), None, &[None]);
        check(&[0, 1, 4], Some(0.1), Some("4,0"), &[Some(0), Some(4)]);
        check(&[0, 1, 2, 3], None, Some("1-2,2"), &[Some(1), Some(2)]);
    }

    #[test]
    fn a_wrong_list_is_named() {
        for (list, expect) in [
            ("x", "'x' in 'x' is not a CPU number"),
            ("", "'' in '' is not a CPU number"),
            ("0,", "'' in '0,' is not a CPU number"),
            ("1-0", "the range '1-0' in '1-0' runs backwards"),
            ("0-9", "CPU 2 is not one that this process may use (0-1)"),
            ("0-4294967295", "CPU 2 is not one"),
        ] {
            let error = plan_for(&[0, 1], None, Some(list)).unwrap_err();
            assert!(error.contains(expect), "{list}: {error}");
        }
    }

    #[test]
    fn lists_are_written_as_the_kernel_does() {
        assert_eq!(show_list(&[0, 1, 2, 3, 8]), "0-3,8");
        assert_eq!(show_list(&[1, 3]), "1,3");
    }

    #[test]
    fn a_thread_pins_itself_to_an_allowed_cpu() {
        let allowed = allowed_cpus().unwrap();
        let last = *allowed.last().unwrap();
        std::thread::spawn(move || {
            pin_current(last).unwrap();
            assert_eq!(allowed_cpus().unwrap(), [last]);
        })
        .join()
        .unwrap();
        assert!(pin_current(u32::MAX).is_err());
    }
}
