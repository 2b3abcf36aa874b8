//! A flow that one core cannot keep up with is answered by others too. Counts only: no deadline but the patience for anything.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::client::{self, query};
use crate::server::{Folder, Server, eventually, free_port, skip};

/// Queries between two looks for answers.
const BURST: usize = 64;

/// The CPUs that this process may use.
fn cpus() -> Vec<usize> {
    // SAFETY: a zeroed set is an empty one; the calls write and read it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let code = libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set);
        assert_eq!(code, 0);
        (0..libc::CPU_SETSIZE as usize)
            .filter(|&cpu| libc::CPU_ISSET(cpu, &set))
            .collect()
    }
}

fn pin(cpu: usize) {
    // SAFETY: a zeroed set is an empty one; the call reads it and changes this thread alone.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        let code = libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
        assert_eq!(code, 0);
    }
}

/// Asks for one name from one port on one CPU until told to stop: that many answers came, each to a query that was asked once. It does not
/// wait for answers: however fast the server is, more stands in its socket than it can take, and the rest is lost.
fn flood(to: SocketAddr, cpu: usize, stop: &AtomicBool) -> u64 {
    pin(cpu);
    let socket = client::connected(to);
    socket.set_nonblocking(true).expect("an option");
    let mut message = query(0, "hot.example.org A");
    let mut open = vec![false; 1 << 16];
    let (mut buffer, mut id, mut answered) = ([0; 512], 0u16, 0);
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            id = id.wrapping_add(1);
            message[..2].copy_from_slice(&id.to_be_bytes());
            open[usize::from(id)] = true;
            // Refused only where there is no room for it.
            let _ = socket.send(&message);
        }
        while let Ok(len) = socket.recv(&mut buffer) {
            let id = usize::from(u16::from_be_bytes([buffer[0], buffer[1]]));
            assert!(std::mem::take(&mut open[id]), "answered twice: {id}");
            assert_eq!((len > 12, buffer[3] & 0x0f), (true, 0), "NOERROR");
            answered += 1;
        }
    }
    answered
}

fn counted(metrics: u16, name: &str, core: &str) -> f64 {
    let (_, body) = client::http(metrics, "/metrics").expect("metrics");
    client::metric(&body, name, &[&format!("core=\"{core}\"")])
}

#[test]
fn one_name_from_one_port_keeps_two_cores_at_work() {
    let cpus = cpus();
    let [first, second, ..] = cpus[..] else {
        skip("one CPU (sched_getaffinity): there is no core to help");
        return;
    };
    let metrics = free_port();
    let corefile =
        format!(".:0 {{\n  prometheus 127.0.0.1:{metrics}\n  cache 3600\n  whoami\n}}\n");
    let server = Server::with(Folder::new(), &corefile, |command| {
        command.args(["-cores", &format!("{first},{second}")]);
    });
    let addr = server.addr(".:");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // On loopback all that this CPU sends belongs to core 1.
        let flood = scope.spawn(|| flood(addr, second, &stop));
        let queries = |core| counted(metrics, "percoredns_core_udp_queries_total", core);
        let helped = || counted(metrics, "percoredns_core_helped_udp_queries_total", "0");
        let holds = thread::scope(|inner| {
            inner
                .spawn(|| eventually("core 0 helps", || queries("1") > 0.0 && helped() > 1000.0))
                .join()
        });
        stop.store(true, Ordering::Relaxed);
        let answered = flood.join().expect("each query is answered once") as f64;
        holds.expect("both cores work");
        // Still counted while it is read: what must be the smaller is read first.
        let of_others = helped();
        assert!(queries("0") >= of_others);
        assert!(queries("0") + queries("1") >= answered);
    });
}
