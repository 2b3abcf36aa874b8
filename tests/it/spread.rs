//! A flow that one core cannot keep up with is answered by others too. Counts only: no deadline but the patience for anything.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::client::{self, query};
use crate::server::{Folder, Server, eventually, free_port, skip};

/// Queries in flight, several batches.
const WINDOW: u16 = 256;

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

/// Asks for one name from one port on one CPU until told to stop: that many answers came, each to a query that was open. Each answer makes
/// room for the next query, so that the server always has something to do, however fast it is.
fn flood(to: SocketAddr, cpu: usize, stop: &AtomicBool) -> u64 {
    pin(cpu);
    let socket = client::connected(to);
    let wait = Duration::from_millis(200);
    socket.set_read_timeout(Some(wait)).expect("a timeout");
    let mut message = query(0, "hot.example.org A");
    let mut open = vec![false; 1 << 16];
    let (mut buffer, mut next, mut in_flight, mut answered) = ([0; 512], 0u16, 0, 0);
    while !stop.load(Ordering::Relaxed) {
        while in_flight < WINDOW {
            message[..2].copy_from_slice(&next.to_be_bytes());
            open[usize::from(next)] = true;
            socket.send(&message).expect("sent");
            (next, in_flight) = (next.wrapping_add(1), in_flight + 1);
        }
        let Ok(len) = socket.recv(&mut buffer) else {
            // A full buffer lost what is still open.
            in_flight = 0;
            continue;
        };
        let id = usize::from(u16::from_be_bytes([buffer[0], buffer[1]]));
        assert!(std::mem::take(&mut open[id]), "answered twice: {id}");
        assert_eq!(client::decode(&buffer[..len]).rcode, "NOERROR");
        (in_flight, answered) = (in_flight.saturating_sub(1), answered + 1);
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
        assert!(queries("0") >= helped());
        assert!(queries("0") + queries("1") >= answered);
    });
}
