//! `-tune FILE` and `percoredns tune`.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use crate::client::{self, Tcp};
use crate::server::{Folder, Server, eventually, run, skip};
use crate::upstream::Upstream;

const WHOAMI: &str = ".:0 {\n  whoami\n}\n";

/// A server with this settings file.
#[track_caller]
fn start(corefile: &str, settings: &str) -> Server {
    let folder = Folder::new();
    folder.write("tune.toml", settings);
    Server::with(folder, corefile, |command| {
        command.args(["-tune", "tune.toml"]);
    })
}

/// A field of /proc/PID/task/TID/stat of the threads whose name begins so, counted from 1 as in proc(5).
fn thread_field(server: &Server, prefix: &str, field: usize) -> Vec<String> {
    let folder = format!("/proc/{}/task", server.id());
    let mut found = Vec::new();
    for thread in fs::read_dir(folder).unwrap().flatten() {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let Some((id, rest)) = stat.split_once(" (") else {
            continue;
        };
        let (name, rest) = rest.rsplit_once(") ").unwrap_or_default();
        let fields: Vec<&str> = [id, name].into_iter().chain(rest.split(' ')).collect();
        if name.starts_with(prefix) {
            found.extend(fields.get(field - 1).map(|text| (*text).to_owned()));
        }
    }
    found
}

/// The slice of a thread (sched_getattr(2)), of the calling one for 0; 0 where the kernel keeps none.
fn slice_ns(thread: libc::pid_t) -> u64 {
    // SAFETY: integers alone, for which zero is a value.
    let mut attr: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of_val(&attr) as libc::c_uint;
    // SAFETY: `attr` is writable for the size given.
    let code = unsafe { libc::syscall(libc::SYS_sched_getattr, thread, &raw mut attr, size, 0) };
    assert_eq!(code, 0, "{}", std::io::Error::last_os_error());
    attr.sched_runtime
}

#[test]
fn one_core_on_epoll_where_the_file_says_so() {
    let server = start(
        WHOAMI,
        "[global]\ncpus = \"0\"\nbackend = \"epoll\"\nnice = 3\nbatch_len = 1\n",
    );
    let line = server.wait_for(|line| line.contains(" data core"));
    let io_uring = !line.ends_with("epoll (tune.toml)");
    // Where io_uring is refused epoll is no choice of the file's.
    assert!(!io_uring || line.contains("tasks on epoll ("), "{line}");
    assert!(line.starts_with("[INFO] 1 data core, "), "{line}");
    for _ in 0..20 {
        assert_eq!(server.ask("example.org A").rcode, "NOERROR");
    }
    assert_eq!(
        client::tcp(server.addr(".:"), "example.org A").rcode,
        "NOERROR"
    );
    for name in ["packet-0", "task-0"] {
        assert_eq!(thread_field(&server, name, 19), ["3"], "nice of {name}");
        assert_eq!(thread_field(&server, name, 39), ["0"], "CPU of {name}");
    }
    let of_main = thread_field(&server, "percoredns", 19);
    assert_eq!(
        thread_field(&server, "log", 19),
        of_main,
        "no core's thread"
    );
    assert!(thread_field(&server, "packet-1", 19).is_empty());
}

#[test]
fn each_core_can_have_a_backend_of_its_own() {
    if std::thread::available_parallelism().map_or(1, |count| count.get()) < 2 {
        return crate::server::skip("one CPU");
    }
    let server = start(
        WHOAMI,
        "[global]\ncpus = \"0-1\"\n[[core]]\nindex = 1\nbackend = \"epoll\"\n",
    );
    let line = server.wait_for(|line| line.contains(" data core"));
    if line.contains("io_uring") && line.contains("epoll (") {
        return crate::server::skip("io_uring is refused here");
    }
    assert!(
        line.ends_with("tasks on glommio on core 0, epoll on core 1 (tune.toml)"),
        "{line}"
    );
    for _ in 0..8 {
        assert_eq!(
            client::tcp(server.addr(".:"), "example.org A").rcode,
            "NOERROR"
        );
    }
}

#[test]
fn a_query_that_would_wait_is_shed_where_the_file_says() {
    let upstream = Upstream::start();
    let corefile = format!(".:0 {{\n  forward . {}\n}}\n", upstream.addr);
    let mut answered = Vec::new();
    for settings in [
        "[global]\ncpus = \"0\"\n",
        "[global]\ncpus = \"0\"\nparked_max = 1\n",
    ] {
        let server = start(&corefile, settings);
        let before = upstream.asked();
        let waiting = client::connected(server.addr(".:"));
        waiting.send(&client::query(1, "dead.example A")).unwrap();
        eventually("it waits", || upstream.asked() > before);
        let within = Duration::from_millis(500);
        answered.push(client::try_udp(server.addr(".:"), "more.example A", within).is_some());
    }
    assert_eq!(answered, [true, false]);
}

#[test]
fn connections_beyond_the_bound_of_the_file_are_closed() {
    let server = start(WHOAMI, "[global]\ncpus = \"0\"\ntcp_connections_max = 2\n");
    let addr = server.addr(".:");
    let mut open: Vec<Tcp> = (0..2).map(|_| Tcp::open(addr)).collect();
    for tcp in &mut open {
        assert_eq!(tcp.ask(1, "example.org A").rcode, "NOERROR");
    }
    assert!(Tcp::open(addr).receive().is_err(), "one too many");
    drop(open);
    let answers = || {
        let mut tcp = Tcp::open(addr);
        let _ = tcp.send(&client::query(1, "example.org A"));
        tcp.receive().is_ok()
    };
    eventually("places are given back", answers);
}

#[test]
fn a_wrong_file_stops_the_start_with_file_line_and_remedy() {
    #[track_caller]
    fn check(settings: &str, expect: &str) {
        let folder = Folder::new();
        folder.write("Corefile", WHOAMI);
        folder.write("tune.toml", settings);
        let (code, out, err) = run(&folder, &["-conf", "Corefile", "-tune", "tune.toml"]);
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(err.starts_with(expect), "{err}");
    }
    check(
        "[global]\n\nbatch = 4\n",
        "tune.toml:3 - batch: unknown key",
    );
    check(
        "[global]\nbatch_len = 0\n",
        "tune.toml:2 - batch_len: must be a whole number from 1 to 64, not 0\n",
    );
    check("[global]\ncpus = \"0-9999\"\n", "tune.toml:2 - cpus: CPU ");
    check(
        "[[core]]\nindex = 8000\n",
        "tune.toml:1 - index: there is no core 8000: ",
    );
    check(
        "[global]\nnuma_node = 900\n",
        "tune.toml:2 - numa_node: this machine has no NUMA node 900",
    );
    check(
        "[global]\nnic = \"nope0\"\n",
        "tune.toml:2 - nic: no network card 'nope0' is up here",
    );
    check(
        "[global]\ncache_octets_max = \"1TiB\"\n",
        "tune.toml:2 - cache_octets_max: \"1TiB\" is more than the ",
    );
    check("nonsense", "tune.toml:1 - ");
    let folder = Folder::new();
    folder.write("Corefile", WHOAMI);
    let (code, _, err) = run(&folder, &["-conf", "Corefile", "-tune", "missing.toml"]);
    assert_eq!(
        (code, err.as_str()),
        (
            1,
            "-tune missing.toml: No such file or directory (os error 2)\n"
        )
    );
}

#[test]
fn glommio_is_refused_where_io_uring_is() {
    let folder = Folder::new();
    folder.write("Corefile", WHOAMI);
    folder.write("tune.toml", "[[core]]\nindex = 0\nbackend = \"glommio\"\n");
    let mut command = crate::server::command(&folder);
    command.args(["-conf", "Corefile", "-tune", "tune.toml"]);
    crate::resources::limit(&mut command, libc::RLIMIT_MEMLOCK, 0);
    let done = command.output().unwrap();
    let err = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{err}");
    assert!(
        err.starts_with("tune.toml:3 - backend: glommio cannot run here: io_uring needs 512 KiB of locked memory"),
        "{err}"
    );
}

/// Starts the command without this capability (its number in linux/capability.h); without root there is none to drop.
fn without_capability(command: &mut Command, capability: libc::c_ulong) {
    let drop = move || {
        // SAFETY: prctl(2) with these arguments touches no memory.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        Ok(())
    };
    // SAFETY: the hook makes one system call and touches only its own stack.
    unsafe { command.pre_exec(drop) };
}

const CAP_NET_ADMIN: libc::c_ulong = 12;
const CAP_SYS_NICE: libc::c_ulong = 23;

#[test]
fn a_socket_buffer_that_the_kernel_cuts_is_told_with_the_setting() {
    let rmem_max = fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap_or_default();
    if rmem_max.trim().parse().unwrap_or(u64::MAX) >= 512 << 20 {
        return crate::server::skip("net.core.rmem_max cuts nothing here");
    }
    let folder = Folder::new();
    folder.write("tune.toml", "[global]\nudp_receive_buffer = \"512MiB\"\n");
    let server = Server::with(folder, WHOAMI, |command| {
        command.args(["-tune", "tune.toml"]);
        without_capability(command, CAP_NET_ADMIN);
    });
    let expect = format!(
        "[WARNING] tune.toml: the UDP receive buffer has {} octets instead of 536870912: sysctl -w net.core.rmem_max=536870912, or CAP_NET_ADMIN",
        rmem_max.trim()
    );
    let is_it = |line: &str| line == expect;
    server.wait_for(is_it);
    let count = server.lines().iter().filter(|line| is_it(line)).count();
    assert_eq!(count, 1, "one line for all sockets");
    assert_eq!(server.ask("example.org A").rcode, "NOERROR");
}

#[test]
fn a_priority_without_the_right_is_refused_with_its_name() {
    let folder = Folder::new();
    folder.write("Corefile", WHOAMI);
    folder.write("tune.toml", "[global]\nnice = -20\n");
    let mut command = crate::server::command(&folder);
    command.args(["-conf", "Corefile", "-tune", "tune.toml"]);
    crate::resources::limit(&mut command, libc::RLIMIT_NICE, 0);
    without_capability(&mut command, CAP_SYS_NICE);
    let done = command.output().unwrap();
    let err = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{err}");
    assert!(
        err.starts_with("tune.toml:2 - nice: -20 is refused without CAP_SYS_NICE "),
        "{err}"
    );
}

#[test]
fn memory_comes_from_the_node_of_the_file() {
    if !fs::exists("/sys/devices/system/node/node0/cpulist").unwrap_or(false) {
        return crate::server::skip("no NUMA node is visible");
    }
    let server = start(WHOAMI, "[global]\nnuma_node = 0\n");
    assert_eq!(server.ask("example.org A").rcode, "NOERROR");
    if server
        .lines()
        .iter()
        .any(|line| line.contains("set_mempolicy"))
    {
        return crate::server::skip("set_mempolicy is refused here");
    }
    let folder = format!("/proc/{}/task", server.id());
    let mut preferring = Vec::new();
    for thread in fs::read_dir(folder).unwrap().flatten() {
        let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        match fs::read_to_string(thread.path().join("numa_maps")) {
            Ok(maps) if maps.contains(" prefer:0 ") => preferring.push(name.trim().to_owned()),
            Ok(_) => {}
            Err(_) => return crate::server::skip("this kernel has no numa_maps"),
        }
    }
    preferring.sort();
    assert!(
        preferring.starts_with(&["packet-0".to_owned()]),
        "{preferring:?}"
    );
    assert!(preferring.contains(&"task-0".to_owned()), "{preferring:?}");
    assert!(!preferring.contains(&"log".to_owned()), "{preferring:?}");
}

#[test]
fn a_changed_file_is_told_at_a_reload_and_changes_nothing() {
    let server = start(WHOAMI, "[global]\ncpus = \"0\"\n");
    server.reload(WHOAMI);
    server
        .folder
        .write("tune.toml", "[global]\ncpus = \"0\"\nnice = 1\n");
    server.reload(WHOAMI);
    server.wait_for(|line| {
        line.ends_with(
            "tune.toml has changed; its settings take effect when the process starts anew",
        )
    });
    server.folder.write("tune.toml", "[global]\nnice = 99\n");
    server.reload(WHOAMI);
    server.wait_for(|line| {
        line.contains("tune.toml:2 - nice: must be")
            && line.ends_with("the settings in force stay, a new start would fail")
    });
    let changes = server
        .lines()
        .iter()
        .filter(|line| line.contains("tune.toml"))
        .count();
    assert_eq!(changes, 2, "an unchanged file is not mentioned");
    assert_eq!(server.ask("example.org A").rcode, "NOERROR");
}

// === percoredns tune ===

fn tune(folder: &Folder, args: &[&str]) -> (i32, String, String) {
    run(folder, &[&["tune"], args].concat())
}

#[test]
fn the_table_is_that_of_this_machine() {
    let (code, out, err) = tune(&Folder::new(), &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("profile "), "{out}");
    let row = |what: &str| {
        let line = out.lines().find(|line| line.starts_with(what));
        let line = line.unwrap_or_else(|| panic!("no row {what}\n{out}"));
        line.split(" | ")
            .map(|cell| cell.trim().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(row("what "), ["what", "is", "should be", "why"]);
    let rmem_max = fs::read_to_string("/proc/sys/net/core/rmem_max");
    if let Ok(rmem_max) = rmem_max {
        assert!(row("net.core.rmem_max ")[1].starts_with(rmem_max.trim()));
    }
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(row("kernel ")[1], kernel.trim());
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    if online.trim() == "0-1" {
        assert!(row("CPUs ")[1].starts_with("2 online"));
    }
}

#[test]
fn a_dry_run_lists_commands_that_exist() {
    for profile in ["node-cache", "edge", "appliance"] {
        let (code, out, err) = tune(&Folder::new(), &["--profile", profile, "--dry-run"]);
        assert_eq!((code, err.as_str()), (0, ""));
        for line in out.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let found = Command::new("sh")
                .args([
                    "-c",
                    "PATH=$PATH:/usr/sbin:/sbin command -v \"$0\"",
                    words[0],
                ])
                .output()
                .unwrap();
            assert!(found.status.success(), "{line}");
            match words[0] {
                "sysctl" => {
                    let (key, value) = words[2].split_once('=').unwrap();
                    assert!(fs::exists(format!("/proc/sys/{}", key.replace('.', "/"))).unwrap());
                    assert!(value.parse::<u64>().is_ok(), "{line}");
                }
                "sh" => {
                    let path = words.last().unwrap().trim_end_matches('\'');
                    assert!(fs::exists(path).unwrap(), "{line}");
                }
                "ethtool" => assert!(matches!(words[1], "-L" | "-N"), "{line}"),
                _ => panic!("{line}"),
            }
        }
    }
}

fn slice_of(server: &Server, name: &str) -> u64 {
    let threads = thread_field(server, name, 1);
    slice_ns(threads[0].parse().unwrap())
}

#[test]
fn threads_have_the_slices_of_their_core() {
    let allowed = percoredns::runtime::cores::allowed_cpus().unwrap();
    let [first, second, ..] = allowed[..] else {
        skip("one CPU (sched_getaffinity): there is no second core to be told something else");
        return;
    };
    if slice_ns(0) == 0 {
        skip("a kernel that keeps no slice of a thread (Linux 6.12)");
        return;
    }
    let server = start(
        WHOAMI,
        &format!("[global]\ncpus = \"{first},{second}\"\n[[core]]\nindex = 1\nslice = \"250us\"\n"),
    );
    server.wait_for(|line| line.contains(" data core"));
    assert_eq!(slice_of(&server, "packet-0"), 100_000, "the default");
    assert_eq!(slice_of(&server, "packet-1"), 250_000);
    // Longer, so that the packet thread goes first.
    assert_eq!(slice_of(&server, "task-0"), 150_000);
    assert_eq!(slice_of(&server, "task-1"), 300_000);
    let server = start(
        WHOAMI,
        &format!("[global]\ncpus = \"{first}\"\nslice = \"0s\"\n"),
    );
    server.wait_for(|line| line.contains(" data core"));
    for thread in ["packet-0", "task-0"] {
        assert_eq!(slice_of(&server, thread), slice_ns(0), "left alone");
    }
}

#[test]
fn a_written_profile_is_one_that_the_server_starts_with() {
    for profile in ["node-cache", "edge", "appliance"] {
        let folder = Folder::new();
        let (code, out, err) = tune(&folder, &["--profile", profile, "--write", "mine.toml"]);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(
            out.ends_with("mine.toml is written: percoredns -tune mine.toml\n"),
            "{out}"
        );
        let server = Server::with(folder, WHOAMI, |command| {
            command.args(["-tune", "mine.toml"]);
        });
        assert_eq!(server.ask("example.org A").rcode, "NOERROR", "{profile}");
    }
    let (code, _, err) = tune(&Folder::new(), &["--write", "no/such/folder"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("--write no/such/folder: "), "{err}");
}

#[test]
fn other_words_are_refused_as_before() {
    let (code, _, err) = run(&Folder::new(), &["-quiet", "tune"]);
    assert_eq!(
        (code, err.as_str()),
        (1, "extra command line arguments: [tune]\n")
    );
    let (code, _, err) = run(&Folder::new(), &["tuna"]);
    assert_eq!(
        (code, err.as_str()),
        (1, "extra command line arguments: [tuna]\n")
    );
}

#[test]
fn the_readme_explains_every_key() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/tuning/README.md");
    let text = fs::read_to_string(readme).unwrap();
    for key in percoredns::tune::keys::KEYS {
        assert!(
            text.contains(&format!("| `{}` |", key.name)),
            "{}",
            key.name
        );
    }
}
