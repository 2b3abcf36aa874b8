//! Which backend the task threads use: asked of the kernel at start, not guessed from its version.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// How task threads wait for I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// glommio on io_uring(7).
    Glommio,
    /// epoll(7).
    Epoll,
}

/// What the operator asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// glommio where the machine allows it, epoll elsewhere.
    #[default]
    Auto,
    /// glommio or an error.
    Glommio,
    /// epoll.
    Epoll,
}

/// A backend and why, for the line at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The backend to use for every task thread.
    pub backend: Backend,
    /// Why, in words that follow "because".
    pub reason: String,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Glommio => "glommio",
            Self::Epoll => "epoll",
        })
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.backend, self.reason)
    }
}

impl std::str::FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "glommio" => Ok(Self::Glommio),
            "epoll" => Ok(Self::Epoll),
            _ => Err(format!(
                "unknown backend '{text}': use auto, glommio or epoll"
            )),
        }
    }
}

/// Chooses the backend. It never panics and opens nothing that stays open; glommio itself would panic or exit where
/// io_uring is refused, so everything it needs is asked for first. An error only when glommio was wished for by name.
pub fn choose(wish: Wish) -> Result<Choice, String> {
    match wish {
        Wish::Epoll => Ok(Choice {
            backend: Backend::Epoll,
            reason: "asked for".to_owned(),
        }),
        Wish::Glommio => match probe() {
            Ok(()) => Ok(Choice {
                backend: Backend::Glommio,
                reason: "asked for".to_owned(),
            }),
            Err(refusal) => Err(format!("glommio cannot run here: {refusal}")),
        },
        Wish::Auto => Ok(match probe() {
            Ok(()) => Choice {
                backend: Backend::Glommio,
                reason: "io_uring is available".to_owned(),
            },
            Err(refusal) => Choice {
                backend: Backend::Epoll,
                reason: refusal,
            },
        }),
    }
}

/// Asks for everything that glommio needs; the refusal with its remedy.
pub fn probe() -> Result<(), String> {
    if !cfg!(feature = "glommio") {
        return Err("this binary was built without the glommio feature".to_owned());
    }
    raise_locked_memory()?;
    probe_ring()
}

/// Raises the soft limit of open files to the hard one, as Go does at start: TCP clients and upstreams need a descriptor each. Where
/// the kernel refuses, the limit stays.
pub fn raise_open_files() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is writable for the length of the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0 {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is readable for the length of the call.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
}

/// glommio refuses less than 512 KiB of lockable memory per process; the soft limit is raised where the hard one
/// allows.
fn raise_locked_memory() -> Result<(), String> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is writable for the length of the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } != 0 {
        return Err(format!(
            "the locked-memory limit cannot be read: {}",
            io::Error::last_os_error()
        ));
    }
    if limit.rlim_cur >= LOCKED_OCTETS_MIN {
        return Ok(());
    }
    let raised = libc::rlimit {
        rlim_cur: LOCKED_OCTETS_MIN,
        rlim_max: limit.rlim_max,
    };
    // SAFETY: `raised` is readable for the length of the call.
    if limit.rlim_max >= LOCKED_OCTETS_MIN
        && unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const raised) } == 0
    {
        return Ok(());
    }
    Err(format!(
        "io_uring needs {} KiB of locked memory and the limit is {} KiB: raise it (ulimit -l, LimitMEMLOCK=)",
        LOCKED_OCTETS_MIN / 1024,
        limit.rlim_max / 1024
    ))
}

fn probe_ring() -> Result<(), String> {
    let mut params = RingParams::default();
    // SAFETY: `params` is a writable io_uring_params of the size that the kernel's interface fixes.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_io_uring_setup,
            PROBE_ENTRIES,
            (&raw mut params).cast::<libc::c_void>(),
        )
    };
    if fd < 0 {
        return Err(refusal("io_uring_setup", &io::Error::last_os_error()));
    }
    // SAFETY: the descriptor was just opened and has no other owner.
    let ring = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    probe_enter(&ring)?;
    probe_operations(&ring)
}

/// A seccomp profile may allow io_uring_setup(2) and refuse io_uring_enter(2).
fn probe_enter(ring: &OwnedFd) -> Result<(), String> {
    // SAFETY: nothing is submitted or waited for and no signal mask is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_io_uring_enter,
            ring.as_raw_fd(),
            0u32,
            0u32,
            0u32,
            std::ptr::null::<libc::c_void>(),
            0usize,
        )
    };
    if result < 0 {
        return Err(refusal("io_uring_enter", &io::Error::last_os_error()));
    }
    Ok(())
}

fn probe_operations(ring: &OwnedFd) -> Result<(), String> {
    let mut probe = OperationProbe::default();
    // SAFETY: `probe` is a writable io_uring_probe with room for the number of operations given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            ring.as_raw_fd(),
            REGISTER_PROBE,
            (&raw mut probe).cast::<libc::c_void>(),
            PROBED_OPERATIONS as u32,
        )
    };
    if result < 0 {
        return Err(refusal("io_uring_register", &io::Error::last_os_error()));
    }
    for operation in NEEDED_OPERATIONS {
        let known = probe
            .operations
            .get(usize::from(operation))
            .is_some_and(|found| found.flags & OPERATION_SUPPORTED != 0);
        if !known {
            return Err(format!(
                "this kernel's io_uring lacks operation {operation}, which glommio needs (Linux 5.8 has it)"
            ));
        }
    }
    Ok(())
}

fn refusal(call: &str, error: &io::Error) -> String {
    let remedy = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "refused by a seccomp profile or by kernel.io_uring_disabled"
        }
        Some(libc::ENOSYS) => "unknown to this kernel or hidden by a sandbox",
        Some(libc::ENOMEM) => "short of locked memory: raise the limit (ulimit -l)",
        Some(libc::EMFILE | libc::ENFILE) => "short of descriptors: raise the limit (ulimit -n)",
        _ => "refused",
    };
    format!("{call} is {remedy} ({error})")
}

/// `struct io_uring_params` of linux/io_uring.h: 120 octets, of which nothing is read here.
#[repr(C)]
#[derive(Default)]
struct RingParams {
    octets: [u64; 15],
}

/// `struct io_uring_probe` of linux/io_uring.h with its array.
#[repr(C)]
struct OperationProbe {
    head: [u64; 2],
    operations: [Operation; PROBED_OPERATIONS],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Operation {
    number: u8,
    reserved: u8,
    flags: u16,
    reserved_too: u32,
}

impl Default for OperationProbe {
    fn default() -> Self {
        Self {
            head: [0; 2],
            operations: [Operation::default(); PROBED_OPERATIONS],
        }
    }
}

const LOCKED_OCTETS_MIN: libc::rlim_t = 512 * 1024;
const PROBE_ENTRIES: u32 = 4;
/// IORING_REGISTER_PROBE.
const REGISTER_PROBE: u32 = 8;
/// IO_URING_OP_SUPPORTED.
const OPERATION_SUPPORTED: u16 = 1;
const PROBED_OPERATIONS: usize = 64;
/// What glommio checks for; it ends the process when one is missing. The numbers are those of `enum io_uring_op`:
/// NOP, READV, WRITEV, FSYNC, READ_FIXED, WRITE_FIXED, POLL_ADD, POLL_REMOVE, SENDMSG, RECVMSG, TIMEOUT,
/// TIMEOUT_REMOVE, ACCEPT, LINK_TIMEOUT, CONNECT, FALLOCATE, OPENAT, CLOSE, STATX, READ, WRITE, SEND, RECV.
const NEEDED_OPERATIONS: [u8; 23] = [
    0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 15, 16, 17, 18, 19, 21, 22, 23, 26, 27,
];

const _: () = assert!(size_of::<RingParams>() == 120);
const _: () = assert!(size_of::<OperationProbe>() == 16 + 8 * PROBED_OPERATIONS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoll_is_always_to_be_had() {
        let choice = choose(Wish::Epoll).unwrap();
        assert_eq!(choice.backend, Backend::Epoll);
        assert_eq!(choice.to_string(), "epoll (asked for)");
    }

    #[test]
    fn a_wish_for_glommio_is_granted_or_refused_with_a_reason() {
        match (choose(Wish::Glommio), choose(Wish::Auto).unwrap()) {
            (Ok(asked), auto) => {
                assert_eq!(asked.backend, Backend::Glommio);
                assert_eq!(auto.backend, Backend::Glommio);
            }
            (Err(refusal), auto) => {
                assert_eq!(auto.backend, Backend::Epoll);
                assert_eq!(refusal, format!("glommio cannot run here: {}", auto.reason));
            }
        }
    }

    #[test]
    fn a_refusal_names_the_call_and_a_remedy() {
        let error = io::Error::from_raw_os_error(libc::EPERM);
        let text = refusal("io_uring_setup", &error);
        assert!(
            text.starts_with("io_uring_setup is refused by a seccomp profile"),
            "{text}"
        );
    }

    /// Lets this thread, and no other, be refused a system call.
    fn refuse(call: libc::c_long) {
        let load_number = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
        let jump_if_equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        let give = (libc::BPF_RET | libc::BPF_K) as u16;
        let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
        let mut steps = [
            step(load_number, 0, 0, 0),
            step(jump_if_equal, 0, 1, call as u32),
            step(give, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
            step(give, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog {
            len: steps.len() as u16,
            filter: steps.as_mut_ptr(),
        };
        // SAFETY: `program` and what it points to are valid for the calls, which concern this thread only.
        unsafe {
            assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
            let mode = libc::SECCOMP_MODE_FILTER;
            assert_eq!(
                libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program),
                0
            );
        }
    }

    #[test]
    fn a_refused_system_call_means_epoll() {
        for (call, name) in [
            (libc::SYS_io_uring_setup, "io_uring_setup"),
            (libc::SYS_io_uring_enter, "io_uring_enter"),
            (libc::SYS_io_uring_register, "io_uring_register"),
        ] {
            let choice = std::thread::spawn(move || {
                refuse(call);
                let error = choose(Wish::Glommio).unwrap_err();
                assert!(error.starts_with("glommio cannot run here: "), "{error}");
                let outcome = crate::runtime::block_on(Backend::Glommio, async {});
                assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::Unsupported);
                choose(Wish::Auto).unwrap()
            })
            .join()
            .unwrap();
            assert_eq!(choice.backend, Backend::Epoll);
            if choose(Wish::Glommio).is_ok() {
                let expect = format!("{name} is refused by a seccomp profile");
                assert!(choice.reason.starts_with(&expect), "{}", choice.reason);
            }
        }
    }

    #[test]
    fn wishes_are_read_from_text() {
        assert_eq!("auto".parse(), Ok(Wish::Auto));
        assert_eq!("glommio".parse(), Ok(Wish::Glommio));
        assert_eq!("epoll".parse(), Ok(Wish::Epoll));
        assert!("kqueue".parse::<Wish>().is_err());
    }
}
