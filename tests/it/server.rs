//! A running percoredns, its files, and what it prints.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{self, Reply};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_percoredns");
/// Longest wait for anything that a healthy server does at once, on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(20);

// === Folder ===

/// A directory of one test, removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("percoredns-it-{}-{nth}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a temporary directory");
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Replaces a file at once, as an editor or a ConfigMap does.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let (path, new) = (self.0.join(name), self.0.join(format!("{name}.new")));
        fs::write(&new, text).expect("a file in the temporary directory");
        fs::rename(&new, &path).expect("a rename in the temporary directory");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

// === Server ===

/// A process that ends with the test.
pub struct Server {
    child: Child,
    output: Arc<Output>,
    /// Where the process runs; its Corefile is here.
    pub folder: Folder,
}

/// Lines of standard output and standard error, in the order in which they came.
#[derive(Default)]
struct Output {
    lines: Mutex<Vec<String>>,
    changed: Condvar,
}

impl Server {
    /// Starts on this Corefile and waits for the version line.
    #[track_caller]
    pub fn start(corefile: &str) -> Server {
        Server::with(Folder::new(), corefile, |_| {})
    }

    /// The same in a folder that holds other files already, with a command that the caller may change.
    #[track_caller]
    pub fn with(folder: Folder, corefile: &str, change: impl FnOnce(&mut Command)) -> Server {
        folder.write("Corefile", corefile);
        let mut command = command(&folder);
        command.args(["-conf", "Corefile"]);
        change(&mut command);
        let server = Server::spawn(command, folder);
        server.wait_for(|line| line.starts_with("percoredns-"));
        server
    }

    /// Starts whatever the command says.
    pub fn spawn(mut command: Command, folder: Folder) -> Server {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let output = Arc::new(Output::default());
        collect(child.stdout.take().expect("a pipe"), output.clone());
        collect(child.stderr.take().expect("a pipe"), output.clone());
        Server {
            child,
            output,
            folder,
        }
    }

    /// Memory that the process has in RAM, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        number.and_then(|text| text.parse().ok()).expect("a number")
    }

    /// Descriptors that the process has open once it is quiet: on glommio a core without work has one more, by which the ring polls.
    pub fn descriptors(&self) -> usize {
        std::thread::sleep(Duration::from_millis(50));
        let path = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(path).expect("a running process").count()
    }

    /// CPU time that the process has used.
    pub fn cpu_time(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(path).expect("a running process");
        // Behind the name, which ends with the last parenthesis, utime and stime are words 12 and 13 (proc(5)).
        let (_, rest) = stat.rsplit_once(')').expect("a name");
        let words = rest.split_whitespace().skip(11).take(2);
        let ticks: u64 = words.map(|word| word.parse::<u64>().expect("ticks")).sum();
        // A tick is a hundredth of a second wherever Linux shows it (USER_HZ).
        Duration::from_millis(ticks * 10)
    }

    /// Everything printed so far.
    pub fn lines(&self) -> Vec<String> {
        self.output.lines.lock().expect("no panic").clone()
    }

    /// Waits for a line and returns it.
    #[track_caller]
    pub fn wait_for(&self, is_it: impl Fn(&str) -> bool) -> String {
        self.wait_for_nth(1, is_it)
    }

    /// Waits until `count` such lines were printed, and returns the last of them.
    #[track_caller]
    pub fn wait_for_nth(&self, count: usize, is_it: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.output.lines.lock().expect("no panic");
        loop {
            if let Some(line) = lines.iter().filter(|line| is_it(line)).nth(count - 1) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "the line did not come; printed:\n{}",
                lines.join("\n")
            );
            lines = self
                .output
                .changed
                .wait_timeout(lines, left)
                .expect("no panic")
                .0;
        }
    }

    /// The loopback address of the listener whose line starts with `prefix`, such as `.:` or `example.org.:`.
    #[track_caller]
    pub fn addr(&self, prefix: &str) -> SocketAddr {
        let line = self.wait_for(|line| line.starts_with(prefix));
        let rest = &line[prefix.len()..];
        let (port, host) = rest.split_once(" on ").unwrap_or((rest, "127.0.0.1"));
        let host: IpAddr = host.parse().expect("an address");
        SocketAddr::new(host, port.parse().expect("a port"))
    }

    /// Asks the root zone's listener over UDP; see [`client::query`].
    #[track_caller]
    pub fn ask(&self, query: &str) -> Reply {
        client::udp(self.addr(".:"), query)
    }

    /// Process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to this process and no other.
    pub fn signal(&self, signal: libc::c_int) {
        let id = libc::pid_t::try_from(self.child.id()).expect("a process number");
        // SAFETY: kill(2) touches no memory; the child was not waited for yet, so the number is its own.
        let code = unsafe { libc::kill(id, signal) };
        assert_eq!(code, 0, "{}", std::io::Error::last_os_error());
    }

    /// Reloads on SIGUSR1 and waits for the outcome, which is returned: `[INFO] Reloading complete` or the error.
    #[track_caller]
    pub fn reload(&self, corefile: &str) -> String {
        self.folder.write("Corefile", corefile);
        let is_outcome = |line: &str| {
            line == "[INFO] Reloading complete" || line.starts_with("[ERROR] Restart failed:")
        };
        let before = self.lines().iter().filter(|line| is_outcome(line)).count();
        self.signal(libc::SIGUSR1);
        self.wait_for_nth(before + 1, is_outcome)
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    /// Waits for the end and returns the exit code.
    #[track_caller]
    pub fn wait(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status
                    .code()
                    .unwrap_or_else(|| panic!("killed: {status}\n{}", self.lines().join("\n")));
            }
            assert!(
                Instant::now() < deadline,
                "still running; printed:\n{}",
                self.lines().join("\n")
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Standard input of a server that was spawned with a pipe there.
    pub fn feed(&mut self, text: &str) {
        let mut stdin = self.child.stdin.take().expect("a pipe");
        stdin.write_all(text.as_bytes()).expect("a reader");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary in that folder, without standard input.
pub fn command(folder: &Folder) -> Command {
    let mut command = Command::new(BINARY);
    command.current_dir(folder.path()).stdin(Stdio::null());
    if is_io_uring_refused() {
        refuse_io_uring(&mut command);
    }
    command
}

/// Whether all tests are to run as where io_uring is refused: `PERCOREDNS_REFUSE_IO_URING=1 cargo test --test it`.
pub fn is_io_uring_refused() -> bool {
    std::env::var_os("PERCOREDNS_REFUSE_IO_URING").is_some_and(|value| value == "1")
}

/// Starts the command under a seccomp filter, as container runtimes do.
pub fn refuse_io_uring(command: &mut Command) {
    // SAFETY: the hook makes two system calls and touches only memory that exists before the fork.
    unsafe { command.pre_exec(seccomp::refuse_io_uring) };
}

/// Runs to the end: exit code, standard output, standard error.
#[track_caller]
pub fn run(folder: &Folder, args: &[&str]) -> (i32, String, String) {
    let mut server = command(folder);
    let mut child = server
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("our own child").is_none() {
        if Instant::now() >= deadline {
            let _ = child.kill();
            panic!("{args:?} does not end");
        }
        thread::sleep(Duration::from_millis(2));
    }
    let done = child.wait_with_output().expect("its output");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (
        done.status.code().expect("an exit code"),
        text(done.stdout),
        text(done.stderr),
    )
}

fn collect(from: impl Read + Send + 'static, output: Arc<Output>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { return };
            output.lines.lock().expect("no panic").push(line);
            output.changed.notify_all();
        }
    });
}

// === seccomp ===

/// The filter, and how a child installs it for itself.
mod seccomp {
    use std::io;

    /// Makes io_uring_setup(2) fail with EPERM in this process and all that it starts.
    pub fn refuse_io_uring() -> io::Result<()> {
        let number = libc::SYS_io_uring_setup as u32;
        // Load the number of the system call; that one returns EPERM, every other is allowed.
        let mut program = [
            op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
            op(
                libc::BPF_RET | libc::BPF_K,
                0,
                0,
                libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
            ),
            op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let filter = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: prctl(2) reads `filter` and `program`, which live until after the calls.
        let failed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const filter,
                    0,
                    0,
                ) != 0
        };
        if failed {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    fn op(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter {
            code: code as u16,
            jt,
            jf,
            k,
        }
    }
}

// === helpers ===

/// A port that nobody holds at this moment, on UDP and TCP, for what does not print the one it got. It lies below those that the kernel
/// gives out (ip_local_port_range), so that no other test is given it meanwhile.
pub fn free_port() -> u16 {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    loop {
        // Another run of the tests at the same time begins elsewhere.
        let nth = std::process::id() as usize * 97 + COUNT.fetch_add(1, Ordering::Relaxed);
        let port = 11_000 + (nth % 20_000) as u16;
        let any = (Ipv4Addr::UNSPECIFIED, port);
        if TcpListener::bind(any).is_ok() && UdpSocket::bind(any).is_ok() {
            return port;
        }
    }
}

/// Polls until it holds.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Says loudly that a test did not run. `cargo test` shows it with `--nocapture`; CI greps for it.
pub fn skip(why: &str) {
    // Not println!: the harness captures that of tests that pass.
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED: {why}");
}
