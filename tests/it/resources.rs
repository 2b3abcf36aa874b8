//! When the machine gives less: CPUs, descriptors, locked memory, a reader of the log.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{self, Tcp, query};
use crate::server::{Folder, Server, command, eventually, free_port, run};
use crate::upstream::Upstream;

const WHOAMI: &str = ".:0 {\n  whoami\n}\n";

/// Lowers a limit of the process that the command starts.
pub fn limit(command: &mut Command, resource: libc::__rlimit_resource_t, most: u64) {
    let lower = move || {
        let limit = libc::rlimit {
            rlim_cur: most,
            rlim_max: most,
        };
        // SAFETY: `limit` is readable for the length of the call.
        match unsafe { libc::setrlimit(resource, &raw const limit) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the hook makes one system call and touches only its own stack.
    unsafe { command.pre_exec(lower) };
}

#[test]
fn cores_are_chosen_by_the_flag() {
    let server = Server::with(Folder::new(), WHOAMI, |command| {
        command.args(["-cores", "0"]);
    });
    server.wait_for(|line| line.starts_with("[INFO] 1 data core, tasks on "));
    assert_eq!(server.ask("example.org A").rcode, "NOERROR");
    let folder = Folder::new();
    folder.write("Corefile", WHOAMI);
    let (code, _, err) = run(&folder, &["-cores", "1023"]);
    assert_eq!(code, 1);
    assert!(err.contains("1023"), "{err}");
}

#[test]
fn the_affinity_mask_is_respected() {
    let server = Server::with(Folder::new(), WHOAMI, |command| {
        let pin = || {
            // SAFETY: a zeroed set is an empty one, and the call reads it.
            let code = unsafe {
                let mut set: libc::cpu_set_t = std::mem::zeroed();
                libc::CPU_SET(0, &mut set);
                libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
            };
            match code {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
        // SAFETY: the hook makes one system call and touches only its own stack.
        unsafe { command.pre_exec(pin) };
    });
    server.wait_for(|line| line.starts_with("[INFO] 1 data core, tasks on "));
    assert_eq!(server.ask("example.org A").rcode, "NOERROR");
}

#[test]
fn without_locked_memory_the_server_runs_all_the_same() {
    let server = Server::with(Folder::new(), WHOAMI, |command| {
        limit(command, libc::RLIMIT_MEMLOCK, 0);
    });
    server.wait_for(|line| line.contains(" tasks on epoll (") && line.contains("ulimit -l"));
    assert_eq!(
        client::tcp(server.addr(".:"), "example.org A").rcode,
        "NOERROR"
    );
}

#[test]
fn when_descriptors_run_out_all_that_is_open_is_served_and_accepting_recovers() {
    for runtime in ["auto", "epoll"] {
        descriptors_run_out(runtime);
    }
}

fn descriptors_run_out(runtime: &str) {
    let mut server = Server::with(Folder::new(), WHOAMI, |command| {
        command.args(["-runtime", runtime]);
        limit(command, libc::RLIMIT_NOFILE, 100);
    });
    let addr = server.addr(".:");
    let mut early = Tcp::open(addr);
    let held: Vec<TcpStream> = (0..150)
        .filter_map(|_| TcpStream::connect_timeout(&addr, Duration::from_secs(2)).ok())
        .collect();
    assert!(held.len() > 50, "{}", held.len());
    // Those that cannot be accepted stay in the queue, which must not keep a core busy.
    let before = server.cpu_time();
    for _ in 0..10 {
        assert_eq!(client::udp(addr, "example.org A").rcode, "NOERROR");
        early.send(&query(1, "example.org A")).unwrap();
        early.receive().unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    let used = server.cpu_time() - before;
    assert!(used < Duration::from_millis(400), "{used:?} of a second");
    assert!(server.descriptors() > 90, "{}", server.descriptors());
    drop(held);
    eventually("TCP is served again", || {
        let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_secs(2)) else {
            return false;
        };
        let mut tcp = Tcp(stream);
        let patience = Some(Duration::from_secs(2));
        tcp.0.set_read_timeout(patience).unwrap();
        tcp.send(&query(1, "example.org A")).is_ok() && tcp.receive().is_ok()
    });
    assert!(server.is_running());
    let lines = server.lines();
    assert!(
        !lines.iter().any(|line| line.contains(" died ")),
        "{lines:?}"
    );
}

/// Asks over UDP until the log has had more than a pipe, a batch and the rings of a few cores hold.
fn flood(addr: SocketAddr) {
    let socket = client::connected(addr);
    socket.set_read_timeout(Some(client::PATIENCE)).unwrap();
    let (bytes, mut buffer) = (
        query(1, "a.name.that.makes.the.line.longer.example.org A"),
        [0; 512],
    );
    for _ in 0..12_000 {
        socket.send(&bytes).unwrap();
        socket.recv(&mut buffer).expect("a reply");
    }
}

#[test]
fn a_log_that_nobody_reads_stops_no_answer() {
    let (folder, port, metrics) = (Folder::new(), free_port(), free_port());
    let corefile = format!(".:{port} {{\n  log\n  prometheus 127.0.0.1:{metrics}\n  whoami\n}}\n");
    folder.write("Corefile", &corefile);
    let mut quiet = command(&folder);
    let mut child = quiet.stdout(Stdio::piped()).spawn().unwrap();
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    eventually("it answers", || {
        client::try_udp(addr, "example.org A", Duration::from_millis(100)).is_some()
    });
    flood(addr);
    let (_, body) = client::http(metrics, "/metrics").expect("metrics");
    let dropped = client::metric(&body, "percoredns_log_dropped_total", &[]);
    // And a reader that goes away does not take the server with it.
    drop(child.stdout.take());
    flood(addr);
    let is_running = child.try_wait().unwrap().is_none();
    let _ = child.kill();
    let _ = child.wait();
    assert!(is_running);
    assert!(dropped > 0.0, "{body}");
}

#[test]
fn a_query_that_waits_is_answered_before_the_end() {
    let upstream = Upstream::start();
    let mut server = Server::start(&format!(".:0 {{\n  forward . {}\n}}\n", upstream.addr));
    let socket = client::connected(server.addr(".:"));
    socket.send(&query(1, "slow.example A")).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let begin = Instant::now();
    server.signal(libc::SIGTERM);
    socket.set_read_timeout(Some(client::PATIENCE)).unwrap();
    let mut buffer = [0; 512];
    let len = socket.recv(&mut buffer).expect("a reply");
    assert_eq!(client::decode(&buffer[..len]).rcode, "NOERROR");
    assert_eq!(server.wait(), 0);
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn what_waits_for_ever_does_not_hold_up_the_end() {
    let upstream = Upstream::start();
    let mut server = Server::start(&format!(".:0 {{\n  forward . {}\n}}\n", upstream.addr));
    let socket = client::connected(server.addr(".:"));
    for id in 0..50 {
        socket
            .send(&query(id, &format!("dead{id}.example A")))
            .unwrap();
    }
    let mut idle = Tcp::open(server.addr(".:"));
    idle.ask(1, "quick.example A");
    let begin = Instant::now();
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait(), 0);
    assert!(
        begin.elapsed() < Duration::from_secs(8),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn queries_that_wait_for_a_silent_upstream_stay_within_their_bound() {
    let upstream = Upstream::start();
    let corefile = format!(
        ".:0 {{\n  cache\n  forward . {} {{\n    max_fails 0\n  }}\n}}\n",
        upstream.addr
    );
    let server = Server::with(Folder::new(), &corefile, |command| {
        command.args(["-cores", "0"]);
    });
    let addr = server.addr(".:");
    assert_eq!(client::udp(addr, "lively.example A").rcode, "NOERROR");
    let (before, flood) = (server.resident_kib(), client::connected(addr));
    let mut most = 0;
    for nth in 0..20_000 {
        let text = format!("dead{nth}.example A");
        flood.send(&query(nth as u16, &text)).unwrap();
        if nth % 200 == 0 {
            // Beside the flood, what is in the cache is answered.
            assert_eq!(client::udp(addr, "lively.example A").rcode, "NOERROR");
            most = most.max(server.resident_kib());
        }
    }
    let grown = most.saturating_sub(before);
    // Four thousand wait in a build without optimisation, whose code and frames are larger than those of a release.
    assert!(grown < 16 << 10, "{grown} KiB more than before");
    assert!(grown > 1 << 10, "nothing waited: {grown} KiB");
}
