//! Which socket of a SO_REUSEPORT group gets a packet: that of the core whose CPU received it, or for QUIC that of the connection.
//!
//! ```text
//!  one socket for each core   a classic BPF program on the group: CPU -> number of the socket
//!  any other number           SO_INCOMING_CPU on each socket: the kernel takes one whose CPU it is (Linux 6.2; before, by hash)
//!  QUIC, any number           a classic BPF program: first 16 bits of the connection id, modulo the number of sockets
//! ```
//!
//! None needs a privilege. A packet on a CPU that no core owns is spread over all sockets. On loopback the CPU is the sender's, so
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
        return sockets
            .first()
            .map_or(Ok(()), |first| attach(first, by_cpu(cpus)));
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

/// Steers the packets of a group by QUIC connection: an id that begins with the number of a socket finds that socket, whatever address
/// the client has by then; ids that clients choose are random and spread. The number of sockets may grow later: `n % count` stays `n`.
///
/// # Errors
/// The kernel's reason; the group then spreads by hash of the addresses, and a connection does not survive a change of them.
pub fn steer_by_connection<S: AsRawFd>(sockets: &[S]) -> io::Result<()> {
    match sockets {
        [] | [_] => Ok(()),
        [first, ..] => attach(first, by_connection(sockets.len())),
    }
}

fn attach(socket: &impl AsRawFd, mut program: Vec<libc::sock_filter>) -> io::Result<()> {
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

/// The program: a long header has the connection id from octet 6 on, a short one from octet 1 (RFC 8999 section 5). A PROXY header in front,
/// which sets none of the bits that each packet of QUIC has in its first octet, is passed over: its length is in octets 14 and 15. The kernel
/// shows the program what is behind the UDP header; where a packet is too short, it takes socket 0.
fn by_connection(sockets: usize) -> Vec<libc::sock_filter> {
    let load = |size, at| op(libc::BPF_LD | size | libc::BPF_ABS, 0, 0, at);
    // From where X points to.
    let look = |size, at| op(libc::BPF_LD | size | libc::BPF_IND, 0, 0, at);
    // limits of *multisocket* and of cores are far below 2^16.
    let count = sockets.max(1) as u32;
    vec![
        // X begins as 0.
        load(libc::BPF_W, 0),
        op(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            3,
            PROXY_FRONT,
        ),
        load(libc::BPF_H, 14),
        op(libc::BPF_ALU | libc::BPF_ADD | libc::BPF_K, 0, 0, 16),
        op(libc::BPF_MISC | libc::BPF_TAX, 0, 0, 0),
        look(libc::BPF_B, 0),
        op(libc::BPF_JMP | BPF_JSET | libc::BPF_K, 0, 2, LONG_HEADER),
        look(libc::BPF_H, 6),
        op(libc::BPF_JMP | libc::BPF_JA, 0, 0, 1),
        look(libc::BPF_H, 1),
        op(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, 0, count),
        op(libc::BPF_RET | BPF_A, 0, 0, 0),
    ]
}

fn op(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

/// The bit of the first octet that tells a long header.
const LONG_HEADER: u32 = 0x80;
/// The first four octets of a PROXY header of version 2.
const PROXY_FRONT: u32 = u32::from_be_bytes(*b"\r\n\r\n");
/// "Jump if any of these bits is set" (linux/bpf_common.h); libc does not name it.
const BPF_JSET: u32 = 0x40;
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
    fn run(program: &[libc::sock_filter], cpu: u32, packet: &[u8]) -> Option<u32> {
        const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
        const LOAD_2: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
        const LOOK_1: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_IND;
        const LOOK_2: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_IND;
        const ADD: u32 = libc::BPF_ALU | libc::BPF_ADD | libc::BPF_K;
        const POINT: u32 = libc::BPF_MISC | libc::BPF_TAX;
        const ANY_BIT: u32 = libc::BPF_JMP | BPF_JSET | libc::BPF_K;
        const SKIP: u32 = libc::BPF_JMP | libc::BPF_JA;
        const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        const MODULO: u32 = libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K;
        const GIVE: u32 = libc::BPF_RET | libc::BPF_K;
        const GIVE_A: u32 = libc::BPF_RET | BPF_A;
        let (mut at, mut a, mut x) = (0, 0, 0);
        loop {
            let op = program.get(at)?;
            at += 1;
            match u32::from(op.code) {
                LOAD if op.k == (libc::SKF_AD_OFF + libc::SKF_AD_CPU) as u32 => a = cpu,
                LOAD | LOAD_2 | LOOK_1 | LOOK_2 => {
                    let (from, len) = match u32::from(op.code) {
                        LOAD => (op.k, 4),
                        LOAD_2 => (op.k, 2),
                        LOOK_1 => (x + op.k, 1),
                        _ => (x + op.k, 2),
                    };
                    let Some(octets) = packet.get(from as usize..from as usize + len) else {
                        return Some(0);
                    };
                    a = octets.iter().fold(0, |a, &octet| a << 8 | u32::from(octet));
                }
                ANY_BIT => at += usize::from(if a & op.k != 0 { op.jt } else { op.jf }),
                ADD => a += op.k,
                POINT => x = a,
                SKIP => at += op.k as usize,
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
                assert_eq!(run(&program, cpu, &[]), Some(nth as u32), "{cpus:?}");
            }
            for other in (0..1100).filter(|cpu| !cpus.contains(cpu)) {
                let socket = run(&program, other, &[]).unwrap();
                assert_eq!(socket, other % cpus.len() as u32, "{cpus:?}");
            }
        }
    }

    /// A packet with that connection id, in a long or a short header, behind that PROXY header.
    fn packet(is_long: bool, id: [u8; 8], proxy: &[u8]) -> Vec<u8> {
        let mut packet = proxy.to_vec();
        packet.extend(match is_long {
            true => &[0xc3, 0, 0, 0, 1, 8][..],
            false => &[0x43],
        });
        packet.extend(id);
        packet
    }

    /// None, one that names nobody, and one with addresses of IPv6 and as much again.
    const PROXY_HEADERS: [&[u8]; 3] = [&[], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", &{
        let mut header = [0; 16 + 300];
        let fixed = *b"\r\n\r\n\0\r\nQUIT\n\x21\x22\x01\x2c";
        let mut nth = 0;
        while nth < fixed.len() {
            header[nth] = fixed[nth];
            nth += 1;
        }
        header
    }];

    #[test]
    fn a_packet_of_quic_goes_to_the_socket_in_its_id() {
        for count in [1, 2, 3, 8, 300, 1024] {
            let program = by_connection(count);
            for nth in [0, count / 2, count - 1] {
                let [high, low] = (nth as u16).to_be_bytes();
                for (is_long, proxy) in PROXY_HEADERS
                    .map(|proxy| [(true, proxy), (false, proxy)])
                    .concat()
                {
                    let packet = packet(is_long, [high, low, 9, 9, 9, 9, 9, 9], proxy);
                    // Whatever the CPU, and after the group has grown.
                    for program in [&program, &by_connection(count + 7)] {
                        assert_eq!(run(program, 5, &packet), Some(nth as u32));
                    }
                }
            }
            for garbage in [
                &[][..],
                &[0x80],
                &[0x40, 1],
                &[0xff; 7],
                &[0xff; 1500],
                b"\r\n\r\n\0\r\nQUIT\n\x20\0\xff\xff",
            ] {
                let socket = run(&program, 5, garbage).unwrap();
                assert!((socket as usize) < count, "{garbage:?}");
            }
        }
    }

    #[test]
    fn the_kernel_finds_the_socket_of_a_connection() {
        let group = socket::open_group(
            "[::]:0".parse().unwrap(),
            socket::Carries::Udp,
            &[CoreSettings::default(); 3],
        )
        .unwrap();
        steer_by_connection(&group.udp).unwrap();
        for nth in 0..3u8 {
            for is_long in [true, false] {
                // Each time from another port: the hash of the addresses would spread them.
                for proxy in PROXY_HEADERS.repeat(2) {
                    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
                    let packet = packet(is_long, [0, nth, 1, 2, 3, 4, 5, 6], proxy);
                    let ask = ("127.0.0.1", group.addr.port());
                    sender.send_to(&packet, ask).unwrap();
                    assert_eq!(holder(&group.udp), usize::from(nth));
                }
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
        attach(&group.udp[0], by_cpu(&cpus)).unwrap();
        // Again replaces it; taking it off twice is no error.
        attach(&group.udp[0], by_cpu(&cpus[..2])).unwrap();
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
        holder(sockets)
    }

    /// The number of the socket that has received something.
    fn holder(sockets: &[OwnedFd]) -> usize {
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
