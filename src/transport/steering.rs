//! Which socket of a SO_REUSEPORT group gets a packet: that of the core whose CPU received it.
//!
//! ```text
//!  one socket for each core   a classic BPF program on the group: CPU -> number of the socket
//!  any other number           SO_INCOMING_CPU on each socket: the kernel takes one whose CPU it is (Linux 6.2; before, by hash)
//! ```
//!
//! Both need no privilege. A packet on a CPU that no core owns is spread over all sockets. On loopback the CPU is the sender's, so
//! that one busy client, like one NIC queue, keeps one core busy; what spreads such load is `server::spread`.

use std::io;
use std::os::fd::AsRawFd;

use super::socket::set_int;

/// Steers the packets of a group. `cpus[n]` is the CPU of core `n`; socket `m` belongs to core `m` modulo the number of cores.
///
/// # Errors
/// The kernel's reason; the group then spreads by hash.
pub fn steer<S: AsRawFd>(sockets: &[S], cpus: &[u32]) -> io::Result<()> {
    if sockets.len() == cpus.len() {
        return sockets.first().map_or(Ok(()), |first| attach(first, cpus));
    }
    // A program that an earlier number of sockets left behind would hide the sockets beyond.
    if let Some(first) = sockets.first() {
        detach(first)?;
    }
    for (nth, socket) in sockets.iter().enumerate() {
        // The caller has a CPU for each core, and there is a core.
        if let Some(&cpu) = cpus.get(nth % cpus.len().max(1)) {
            let cpu = libc::c_int::try_from(cpu).map_err(io::Error::other)?;
            set_int(socket, libc::SOL_SOCKET, libc::SO_INCOMING_CPU, cpu)?;
        }
    }
    Ok(())
}

fn attach(socket: &impl AsRawFd, cpus: &[u32]) -> io::Result<()> {
    let mut program = by_cpu(cpus);
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `filter` points at `program`, and both live until after the call.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const filter).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn detach(socket: &impl AsRawFd) -> io::Result<()> {
    match set_int(socket, libc::SOL_SOCKET, libc::SO_DETACH_REUSEPORT_BPF, 0) {
        // There was none, or the kernel is older than the option (5.3) and keeps what it has.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOPROTOOPT)) => {
            Ok(())
        }
        outcome => outcome,
    }
}

/// The program: load the CPU, return the number of the socket that belongs to it, or the CPU modulo the number of sockets.
fn by_cpu(cpus: &[u32]) -> Vec<libc::sock_filter> {
    const LD_CPU: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_CPU) as u32;
    let op = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut program = vec![op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, LD_CPU)];
    for (nth, cpu) in cpus.iter().enumerate() {
        program.push(op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, *cpu));
        program.push(op(libc::BPF_RET | libc::BPF_K, 0, 0, nth as u32));
    }
    let count = cpus.len().max(1) as u32;
    program.push(op(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, 0, count));
    program.push(op(libc::BPF_RET | BPF_A, 0, 0, 0));
    program
}

/// "Return the accumulator" (linux/bpf_common.h); libc does not name it.
const BPF_A: u32 = 0x10;

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use super::*;
    use crate::runtime::cores;
    use crate::transport::socket;
    use crate::tune::CoreSettings;

    /// Runs a program as the kernel does, on a packet that `cpu` received. `None`: it does something that it should not.
    fn run(program: &[libc::sock_filter], cpu: u32) -> Option<u32> {
        const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
        const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        const MODULO: u32 = libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K;
        const GIVE: u32 = libc::BPF_RET | libc::BPF_K;
        const GIVE_A: u32 = libc::BPF_RET | BPF_A;
        let (mut at, mut a) = (0, 0);
        loop {
            let op = program.get(at)?;
            at += 1;
            match u32::from(op.code) {
                LOAD if op.k == (libc::SKF_AD_OFF + libc::SKF_AD_CPU) as u32 => a = cpu,
                EQUAL => at += usize::from(if a == op.k { op.jt } else { op.jf }),
                MODULO => a = a.checked_rem(op.k)?,
                GIVE => return Some(op.k),
                GIVE_A => return Some(a),
                _ => return None,
            }
        }
    }

    #[test]
    fn a_packet_goes_to_the_core_of_its_cpu() {
        for cpus in [
            &[0, 1, 2, 3][..],
            &[4, 5, 12, 13],
            &[7],
            &[3, 0],
            &[255, 1000],
        ] {
            let program = by_cpu(cpus);
            for (nth, &cpu) in cpus.iter().enumerate() {
                assert_eq!(run(&program, cpu), Some(nth as u32), "{cpus:?}");
            }
            for other in (0..1100).filter(|cpu| !cpus.contains(cpu)) {
                let socket = run(&program, other).unwrap();
                assert_eq!(socket, other % cpus.len() as u32, "{cpus:?}");
            }
        }
    }

    #[test]
    fn programs_for_many_cpus_are_accepted() {
        let group = socket::open_group(
            "127.0.0.1:0".parse().unwrap(),
            socket::Carries::Both,
            &[CoreSettings::default(); 1],
        )
        .unwrap();
        let cpus: Vec<u32> = (0..1024).collect();
        attach(&group.udp[0], &cpus).unwrap();
        // Again replaces it; taking it off twice is no error.
        attach(&group.udp[0], &cpus[..2]).unwrap();
        detach(&group.udp[0]).unwrap();
        detach(&group.udp[0]).unwrap();
    }

    /// Sends from a CPU, which on loopback is the CPU that receives, and returns the number of the socket that has it.
    fn taker(from_cpu: u32, ask: SocketAddr, sockets: &[OwnedFd]) -> usize {
        let sender = std::thread::spawn(move || {
            cores::pin_current(from_cpu).unwrap();
            let from = if ask.is_ipv4() {
                "127.0.0.1:0"
            } else {
                "[::1]:0"
            };
            UdpSocket::bind(from).unwrap().send_to(b"x", ask).unwrap();
        });
        sender.join().unwrap();
        for _ in 0..1000 {
            for (nth, fd) in sockets.iter().enumerate() {
                let socket = UdpSocket::from(fd.try_clone().unwrap());
                if socket.recv(&mut [0; 8]).is_ok() {
                    return nth;
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("nobody received it");
    }

    #[test]
    fn the_kernel_does_as_told_for_both_families_and_any_number_of_sockets() {
        let cpus = cores::allowed_cpus().unwrap();
        if cpus.len() < 2 {
            eprintln!("SKIPPED: one CPU has nothing to steer (sched_getaffinity shows one)");
            return;
        }
        // The other way round than the kernel numbers them, so that order by chance does not pass.
        let cpus = [cpus[1], cpus[0]];
        for count in [2, 4, 3] {
            let group = socket::open_group(
                "[::]:0".parse().unwrap(),
                socket::Carries::Both,
                &vec![CoreSettings::default(); count],
            )
            .unwrap();
            steer(&group.udp, &cpus).unwrap();
            for host in ["127.0.0.1", "[::1]"] {
                let ask: SocketAddr = format!("{host}:{}", group.addr.port()).parse().unwrap();
                if UdpSocket::bind((ask.ip(), 0)).is_err() {
                    eprintln!("SKIPPED: no IPv6 on loopback (ip addr add ::1/128 dev lo)");
                    continue;
                }
                for _ in 0..8 {
                    for (core, &cpu) in cpus.iter().enumerate() {
                        let nth = taker(cpu, ask, &group.udp);
                        assert_eq!(nth % 2, core, "{count} sockets, {host}, CPU {cpu}");
                    }
                }
            }
        }
    }

    #[test]
    fn more_sockets_take_the_program_off() {
        let group = socket::open_group(
            "127.0.0.1:0".parse().unwrap(),
            socket::Carries::Both,
            &[CoreSettings::default(); 2],
        )
        .unwrap();
        steer(&group.udp, &[0, 1]).unwrap();
        steer(&group.udp[..1], &[0, 1]).unwrap();
        let off = set_int(
            &group.udp[0],
            libc::SOL_SOCKET,
            libc::SO_DETACH_REUSEPORT_BPF,
            0,
        );
        assert_eq!(off.unwrap_err().raw_os_error(), Some(libc::ENOENT));
    }
}
