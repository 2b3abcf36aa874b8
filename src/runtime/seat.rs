//! Where the memory of a thread comes from, and how eagerly it runs, beside the CPU that it is pinned to.

use std::fs;
use std::io;

use super::clock::Nanos;
use super::cores::{bind_current, cpu_list};

/// What a thread may be told about its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seat {
    /// Whether it is pinned to a CPU already.
    pub is_pinned: bool,
    /// The NUMA node to take memory from, and to float over unless pinned.
    pub numa_node: Option<u32>,
    /// The nice value, 0 = as it is.
    pub nice: i8,
    /// How long it runs before others on its CPU get their turn, and so how soon it gets its own; 0 = as it is.
    pub slice_ns: Nanos,
}

impl Seat {
    /// Places the calling thread, before it allocates what it lives on. What is refused is told and leaves the thread as it is.
    pub fn take(&self) -> Vec<String> {
        let mut refused = Vec::new();
        let mut note = |what: String, outcome: io::Result<()>| {
            if let Err(error) = outcome {
                refused.push(format!("{what}: {error}"));
            }
        };
        if let Some(node) = self.numa_node {
            if !self.is_pinned {
                note(
                    format!("it does not stay on NUMA node {node}"),
                    float_over(node),
                );
            }
            note(
                format!("its memory does not come from NUMA node {node} (set_mempolicy)"),
                prefer_memory_of(node),
            );
        }
        if self.nice != 0 {
            note(
                format!(
                    "its nice value is not {} (CAP_SYS_NICE, LimitNICE=)",
                    self.nice
                ),
                set_nice(self.nice),
            );
        }
        if self.slice_ns != 0 {
            note(
                format!(
                    "its slice is not {} us (sched_setattr)",
                    self.slice_ns / 1_000
                ),
                set_slice(self.slice_ns),
            );
        }
        refused
    }
}

/// Lets the calling thread run on the CPUs of a node that the process may use.
fn float_over(node: u32) -> io::Result<()> {
    let list = fs::read_to_string(format!("/sys/devices/system/node/node{node}/cpulist"))?;
    let allowed = super::cores::allowed_cpus()?;
    let online: Vec<u32> = (0..=allowed.last().copied().unwrap_or(0)).collect();
    let of_node = cpu_list(list.trim(), &online).map_err(io::Error::other)?;
    let both: Vec<u32> = of_node
        .into_iter()
        .filter(|cpu| allowed.contains(cpu))
        .collect();
    if both.is_empty() {
        return Err(io::Error::other("the process may use none of its CPUs"));
    }
    bind_current(&both)
}

fn prefer_memory_of(node: u32) -> io::Result<()> {
    let mut mask = [0u64; NODE_WORDS];
    let word = mask
        .get_mut(node as usize / 64)
        .ok_or_else(|| io::Error::other("no such node"))?;
    *word = 1 << (node % 64);
    // SAFETY: `mask` is readable for the number of bits given; the call concerns the calling thread alone.
    let code = unsafe {
        libc::syscall(
            libc::SYS_set_mempolicy,
            libc::MPOL_PREFERRED,
            mask.as_ptr(),
            // The kernel counts one bit less than it is told.
            NODE_WORDS * 64 + 1,
        )
    };
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sets the nice value of the calling thread: on Linux it belongs to the thread, not to the process.
fn set_nice(nice: i8) -> io::Result<()> {
    // SAFETY: no memory is involved; 0 names the calling thread.
    let code = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice.into()) };
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sets the slice of the calling thread. EEVDF lets the thread with the earliest virtual deadline run, and a short slice is an early
/// deadline: a thread that wakes goes before others that have had their share. What it gets in all stays the same. A kernel before 6.12
/// takes the call and ignores the slice.
fn set_slice(slice_ns: Nanos) -> io::Result<()> {
    let mut attr = scheduling()?;
    // Whoever started the process under a real-time policy has decided otherwise; such a thread has no slice.
    if ![libc::SCHED_OTHER, libc::SCHED_BATCH].contains(&(attr.sched_policy as i32)) {
        return Ok(());
    }
    attr.sched_runtime = slice_ns;
    // SAFETY: `attr` is readable for the size that it names; 0 names the calling thread, and no flag is the third argument.
    let code = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// How the calling thread is scheduled; the call that sets the slice sets the nice value too.
fn scheduling() -> io::Result<libc::sched_attr> {
    // SAFETY: integers alone, for which zero is a value.
    let mut attr: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of_val(&attr) as libc::c_uint;
    // SAFETY: `attr` is writable for the size given; 0 names the calling thread, and no flag is the last argument.
    let code = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, size, 0) };
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(attr)
}

/// 1024 nodes, the most that Linux can be built for.
const NODE_WORDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_thread(seat: Seat) -> (Vec<String>, i32) {
        let body = move || {
            let refused = seat.take();
            // SAFETY: no memory is involved; 0 names the calling thread.
            (refused, unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) })
        };
        std::thread::spawn(body).join().unwrap()
    }

    #[test]
    fn a_thread_becomes_nice_alone() {
        let seat = Seat {
            nice: 7,
            ..Seat::default()
        };
        assert_eq!(on_a_thread(seat), (Vec::new(), 7));
        assert_ne!(on_a_thread(Seat::default()).1, 7);
    }

    #[test]
    fn a_thread_has_the_slice_and_keeps_its_nice_value() {
        let seat = Seat {
            nice: 3,
            slice_ns: 150_000,
            ..Seat::default()
        };
        let body = move || {
            let before = scheduling().unwrap().sched_runtime;
            assert_eq!(seat.take(), Vec::<String>::new());
            (before, scheduling().unwrap())
        };
        let (before, after) = std::thread::spawn(body).join().unwrap();
        assert_eq!(after.sched_nice, 3);
        if before == 0 {
            eprintln!("SKIPPED: a kernel that keeps no slice of a thread (Linux 6.12)");
            return;
        }
        assert_ne!(before, 150_000);
        assert_eq!(after.sched_runtime, 150_000);
    }

    #[test]
    fn a_node_that_is_not_there_is_told_twice() {
        let seat = Seat {
            numa_node: Some(1023),
            ..Seat::default()
        };
        let (refused, _) = on_a_thread(seat);
        assert_eq!(refused.len(), 2, "{refused:?}");
        assert!(refused[0].starts_with("it does not stay on NUMA node 1023: "));
    }
}
