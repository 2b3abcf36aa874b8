//! The system calls that std lacks, behind safe types: packet batches, readiness, affinity, signals.
//!
//! Runs on: any thread.
//! **Invariant**: the only module of the package with `unsafe`.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Packets per system call; also what the servers under test use.
pub const BATCH: usize = 64;
/// Bytes per packet buffer: above every UDP answer that an EDNS size of 1232 or 4096 allows on loopback.
pub const PACKET_BYTES_MAX: usize = 4096;
/// Holds one control message with a timespec.
const CONTROL_BYTES: usize = 64;

static STOP: AtomicBool = AtomicBool::new(false);

/// Whether Ctrl-C or SIGTERM has been received; every loop of the package asks this.
pub fn stop_requested() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Makes SIGINT, SIGTERM and SIGHUP set the flag of [`stop_requested`] instead of killing, so that guards run.
pub fn catch_signals() {
    extern "C" fn on_signal(_: libc::c_int) {
        STOP.store(true, Ordering::Relaxed);
    }
    let handler = on_signal as extern "C" fn(libc::c_int);
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Pins the calling thread to one CPU.
pub fn pin_to_cpu(cpu: usize) -> io::Result<()> {
    set_affinity(&[cpu])
}

/// The CPUs that this thread may use, ascending.
pub fn allowed_cpus() -> Vec<usize> {
    // SAFETY: an all-zero cpu_set_t is valid, and the kernel writes at most its size.
    let (set, rc) = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let rc = libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set);
        (set, rc)
    };
    if rc != 0 {
        return vec![0];
    }
    // SAFETY: the index stays below CPU_SETSIZE.
    (0..libc::CPU_SETSIZE as usize)
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect()
}

/// The CPUs that the process may use as it was started, ascending; [`set_affinity`] of a thread does not change them.
pub fn allowed_cpus_of_process() -> Vec<usize> {
    static FIRST: OnceLock<Vec<usize>> = OnceLock::new();
    FIRST.get_or_init(allowed_cpus).clone()
}

/// Limits the calling thread, and what it starts from now on, to `cpus`.
pub fn set_affinity(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: the set is initialised, indices are checked against CPU_SETSIZE, and the kernel only reads it.
    let rc = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for &cpu in cpus.iter().filter(|&&cpu| cpu < libc::CPU_SETSIZE as usize) {
            libc::CPU_SET(cpu, &mut set);
        }
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Lets the calling thread run only when nobody else wants its CPU: what annoys the server must not hold up what measures it.
pub fn stand_back() -> io::Result<()> {
    // SAFETY: no memory is involved; 0 names the calling thread, whose nice value it is on Linux.
    match unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LAST) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The nice value of who comes last.
const LAST: libc::c_int = 19;

/// Makes the command start on `cpus` only (anywhere when empty), and die with this process even when this one is killed outright.
pub fn prepare_child(command: &mut Command, cpus: &[usize]) {
    let cpus = cpus.to_vec();
    // SAFETY: the closure makes only async-signal-safe system calls and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            if cpus.is_empty() {
                Ok(())
            } else {
                set_affinity(&cpus)
            }
        });
    }
}

/// Makes the kernel cut whatever is sent on this UDP socket into datagrams of `length` bytes.
pub fn set_segment(socket: &impl AsRawFd, length: usize) -> io::Result<()> {
    set_int(
        socket,
        libc::SOL_UDP,
        libc::UDP_SEGMENT,
        length as libc::c_int,
    )
}

/// Has the kernel note when each packet arrives at a socket (SO_TIMESTAMPNS).
pub fn set_stamps(socket: &impl AsRawFd) -> io::Result<()> {
    set_int(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
}

fn set_int(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the kernel reads one int that outlives the call.
    let rc = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match rc {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets this process, and what it starts from now on, have `count` descriptors, or as many of them as it may; how many that are.
pub fn raise_descriptor_limit(count: u64) -> u64 {
    let get = || {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: `limit` outlives the call, which writes one rlimit.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
        limit
    };
    let set = |limit: libc::rlimit| {
        // SAFETY: the kernel reads one rlimit that outlives the call.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) == 0 }
    };
    let now = get();
    if now.rlim_cur < count {
        let wished = libc::rlimit {
            rlim_cur: count,
            rlim_max: now.rlim_max.max(count),
        };
        let allowed = libc::rlimit {
            rlim_cur: now.rlim_max.min(count),
            ..now
        };
        // Only root may raise the upper one.
        let _ = set(wished) || set(allowed);
    }
    get().rlim_cur
}

/// Sends a signal to one process.
pub fn signal(pid: u32, signal: libc::c_int) {
    // SAFETY: no memory is involved; the pid is that of a child not yet reaped.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

/// CPU time of this process so far (all threads), in nanoseconds.
pub fn own_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Monotonic time in nanoseconds.
pub fn now_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `t` outlives the call, which writes one timespec.
    unsafe { libc::clock_gettime(clock, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Lets timers of this thread fire on time instead of up to 50 us late.
pub fn sharpen_timers() {
    // SAFETY: sets a per-thread number, touches no memory.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}

// === Batch ===

/// Buffers for one recvmmsg or sendmmsg: received packets can be changed in place and sent back to where they came from.
pub struct Batch {
    // Invariant: `headers[i]` points into `iovecs[i]`, `buffers[i]` and `peers[i]`; the boxes are never moved or resized.
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[libc::iovec]>,
    buffers: Box<[[u8; PACKET_BYTES_MAX]]>,
    peers: Box<[libc::sockaddr_storage]>,
    // Room for what the kernel tells of each packet; empty unless it is asked to.
    controls: Box<[Control]>,
}

/// A control message with a time, aligned as the kernel writes it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

// SAFETY: the raw pointers refer to heap memory owned by the same value.
unsafe impl Send for Batch {}

impl Batch {
    /// A batch of [`BATCH`] packets; `addressed` ones remember the peer of each packet (for unconnected sockets).
    pub fn new(addressed: bool) -> Batch {
        // SAFETY: all-zero is a valid value of these C structs (null pointers, zero lengths).
        let (headers, iovecs, peers) = unsafe {
            (
                vec![std::mem::zeroed::<libc::mmsghdr>(); BATCH].into_boxed_slice(),
                vec![std::mem::zeroed::<libc::iovec>(); BATCH].into_boxed_slice(),
                vec![std::mem::zeroed::<libc::sockaddr_storage>(); BATCH].into_boxed_slice(),
            )
        };
        let buffers = vec![[0u8; PACKET_BYTES_MAX]; BATCH].into_boxed_slice();
        let mut batch = Batch {
            headers,
            iovecs,
            buffers,
            peers,
            controls: Box::default(),
        };
        for i in 0..BATCH {
            batch.iovecs[i].iov_base = batch.buffers[i].as_mut_ptr().cast();
            batch.headers[i].msg_hdr.msg_iov = &mut batch.iovecs[i];
            batch.headers[i].msg_hdr.msg_iovlen = 1;
            if addressed {
                batch.headers[i].msg_hdr.msg_name = (&raw mut batch.peers[i]).cast();
            }
        }
        batch
    }

    /// Has the kernel tell when each packet came (see [`set_stamps`]).
    pub fn take_stamps(&mut self) {
        self.controls = vec![Control([0; CONTROL_BYTES]); BATCH].into_boxed_slice();
        for (header, control) in self.headers.iter_mut().zip(&mut self.controls) {
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
        }
    }

    /// Monotonic nanoseconds at which packet `i` of the last [`Batch::receive`] came, if the kernel told.
    pub fn arrival_ns(&self, i: usize) -> Option<u64> {
        let header = &self.headers[i].msg_hdr;
        // SAFETY: the header's control pointer and length are those of `controls[i]` as the kernel has filled it, or null and 0; a
        // control message of this type holds a timespec.
        let stamp = unsafe {
            let message = libc::CMSG_FIRSTHDR(header).as_ref()?;
            if (message.cmsg_level, message.cmsg_type) != (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS)
            {
                return None;
            }
            libc::CMSG_DATA(message)
                .cast::<libc::timespec>()
                .read_unaligned()
        };
        let stamp_ns = stamp.tv_sec as u64 * 1_000_000_000 + stamp.tv_nsec as u64;
        // It is of the wall clock; an adjustment between the two looks is too small to matter.
        let age_ns = clock_ns(libc::CLOCK_REALTIME).saturating_sub(stamp_ns);
        Some(now_ns().saturating_sub(age_ns))
    }

    /// Receives what is there without waiting: the number of packets, 0 when there is none.
    pub fn receive(&mut self, fd: RawFd) -> io::Result<usize> {
        for i in 0..BATCH {
            self.iovecs[i].iov_len = PACKET_BYTES_MAX;
            if !self.controls.is_empty() {
                self.headers[i].msg_hdr.msg_controllen = CONTROL_BYTES as _;
            }
            if !self.headers[i].msg_hdr.msg_name.is_null() {
                self.headers[i].msg_hdr.msg_namelen =
                    size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            }
        }
        // SAFETY: every header points to live buffers of the stated lengths (invariant of the fields).
        let n = unsafe {
            libc::recvmmsg(
                fd,
                self.headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        count_or_zero(n)
    }

    /// Packet `i` of the last [`Batch::receive`].
    pub fn packet(&self, i: usize) -> &[u8] {
        &self.buffers[i][..(self.headers[i].msg_len as usize).min(PACKET_BYTES_MAX)]
    }

    /// Packet `i` of the last [`Batch::receive`], to be changed in place.
    pub fn packet_mut(&mut self, i: usize) -> &mut [u8] {
        let len = (self.headers[i].msg_len as usize).min(PACKET_BYTES_MAX);
        &mut self.buffers[i][..len]
    }

    /// Makes packet `i` of the next [`Batch::send`] a copy of `parts` one behind the other, cut at [`PACKET_BYTES_MAX`].
    pub fn fill(&mut self, i: usize, parts: &[&[u8]]) -> &mut [u8] {
        let mut len = 0;
        for part in parts {
            let taken = part.len().min(PACKET_BYTES_MAX - len);
            self.buffers[i][len..len + taken].copy_from_slice(&part[..taken]);
            len += taken;
        }
        self.headers[i].msg_len = len as u32;
        &mut self.buffers[i][..len]
    }

    /// Sends the packets `from..to`; returns how many left, 0 when the socket is full.
    pub fn send(&mut self, fd: RawFd, from: usize, to: usize) -> io::Result<usize> {
        for i in from..to {
            self.iovecs[i].iov_len = self.headers[i].msg_len as usize;
        }
        let headers = &mut self.headers[from..to];
        // SAFETY: as in `receive`; the slice bounds were checked above.
        let n = unsafe {
            libc::sendmmsg(
                fd,
                headers.as_mut_ptr(),
                headers.len() as u32,
                libc::MSG_DONTWAIT as _,
            )
        };
        count_or_zero(n)
    }
}

fn count_or_zero(n: libc::c_int) -> io::Result<usize> {
    if n >= 0 {
        return Ok(n as usize);
    }
    let error = io::Error::last_os_error();
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
        _ => Err(error),
    }
}

// === Poller ===

/// An epoll instance that reports which registered sockets can be read (or written).
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

/// One ready socket.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// The number given at registration.
    pub token: usize,
    /// Bytes, an end of stream or an error wait to be read.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
}

impl Poller {
    /// An empty set.
    pub fn new() -> io::Result<Poller> {
        // SAFETY: no memory involved; a non-negative result is a descriptor that we own.
        let epoll = unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        // SAFETY: all-zero is a valid epoll_event.
        let events = vec![unsafe { std::mem::zeroed() }; 256];
        Ok(Poller { epoll, events })
    }

    /// Registers a socket for reading, and for writing too when `write`.
    pub fn add(&self, socket: &impl AsRawFd, token: usize, write: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, socket.as_raw_fd(), token, write)
    }

    /// Changes whether writing is watched as well.
    pub fn watch_write(&self, socket: &impl AsRawFd, token: usize, write: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, socket.as_raw_fd(), token, write)
    }

    fn control(&self, op: libc::c_int, fd: RawFd, token: usize, write: bool) -> io::Result<()> {
        let flags = libc::EPOLLIN | if write { libc::EPOLLOUT } else { 0 };
        let mut event = libc::epoll_event {
            events: flags as u32,
            u64: token as u64,
        };
        // SAFETY: the kernel reads one event that outlives the call.
        let rc = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), op, fd, &mut event) };
        if rc == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Waits at most `timeout` (zero: looks only) and appends what is ready to `ready` after clearing it.
    pub fn wait(&mut self, timeout: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        let time = libc::timespec {
            tv_sec: timeout.as_secs() as _,
            tv_nsec: timeout.subsec_nanos() as _,
        };
        // SAFETY: the event buffer and the timespec outlive the call; the length is the buffer's. The plain system call is used
        // because millisecond timeouts of epoll_wait are too coarse for pacing.
        let n = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as libc::c_int,
                &raw const time,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        for event in &self.events[..count_or_zero(n as libc::c_int)?] {
            let flags = event.events as libc::c_int;
            ready.push(Ready {
                token: event.u64 as usize,
                readable: flags & (libc::EPOLLIN | libc::EPOLLERR | libc::EPOLLHUP) != 0,
                writable: flags & libc::EPOLLOUT != 0,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn the_kernel_tells_when_a_packet_came() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(socket.local_addr().unwrap()).unwrap();
        set_stamps(&socket).unwrap();
        let mut batch = Batch::new(false);
        batch.take_stamps();
        let late = std::time::Duration::from_millis(50);
        // The wall clock may be slewed meanwhile.
        let slack = late.as_nanos() as u64 / 2;
        let is_told = || {
            let before = now_ns();
            socket.send(b"a").unwrap();
            let after = now_ns();
            std::thread::sleep(late);
            assert_eq!(batch.receive(socket.as_raw_fd()).unwrap(), 1);
            let arrival = batch.arrival_ns(0).expect("a stamp");
            arrival + slack > before && arrival < after + slack
        };
        // The kernel begins to look at its clock for each packet some time after it was asked to; until then it does when one is read.
        assert!(std::iter::repeat_with(is_told).take(40).any(|told| told));
        let mut plain = Batch::new(false);
        socket.send(b"b").unwrap();
        assert_eq!(plain.receive(socket.as_raw_fd()).unwrap(), 1);
        assert_eq!(plain.arrival_ns(0), None);
    }
}
