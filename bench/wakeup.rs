//! How long it takes from a packet to the thread that waits for it: round trips at 1,000 queries a second, when the server sleeps
//! before each of them, against plain epoll servers in the same run.
//!
//! `cargo bench --bench wakeup`; `-- ROUNDS` for other than 20. Servers are pinned to the first CPU and the client, which spins, to the
//! last one. The servers take turns of 100 queries, so that drift of the machine hits all alike. What counts is the difference to
//! the plain server of the same transport: median and 99th percentile of all round trips, in microseconds.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use percoredns::runtime::{Poller, cores};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wakeup: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let rounds = env::args().skip(1).find_map(|arg| arg.parse().ok());
    let cpus = cores::allowed_cpus()?;
    let (server_cpu, client_cpu) = (cpus[0], cpus[cpus.len() - 1]);
    if server_cpu == client_cpu {
        return Err(io::Error::other(
            "one CPU: server and client would take turns on it",
        ));
    }
    let (epoll, ring) = (
        Server::start("epoll", server_cpu)?,
        Server::start("glommio", server_cpu),
    );
    let mut lines = vec![
        Line::new("UDP, plain epoll", Client::udp, plain_udp(server_cpu)?),
        Line::new("UDP, percoredns", Client::udp, epoll.addr),
        Line::new("TCP, plain epoll", Client::tcp, plain_tcp(server_cpu)?),
        Line::new("TCP, percoredns on epoll", Client::tcp, epoll.addr),
    ];
    match &ring {
        Ok(ring) => {
            #[cfg(feature = "glommio")]
            lines.push(Line::new(
                "TCP, glommio alone",
                Client::tcp,
                glommio_tcp(server_cpu)?,
            ));
            lines.push(Line::new(
                "TCP, percoredns on glommio",
                Client::tcp,
                ring.addr,
            ));
        }
        Err(error) => println!("no glommio here: {error}"),
    }
    cores::pin_current(client_cpu)?;
    for _ in 0..rounds.unwrap_or(ROUNDS) {
        for line in &mut lines {
            line.turn()?;
        }
    }
    print(&mut lines);
    Ok(())
}

fn print(lines: &mut [Line]) {
    println!(
        "{:<28} {:>9} {:>9} {:>9} {:>14}",
        "round trip, us", "median", "p99", "n", "median - plain"
    );
    let mut plain = 0.0;
    for line in lines {
        line.took_ns.sort_unstable();
        let at = |part: f64| line.took_ns[(line.took_ns.len() as f64 * part) as usize] as f64 / 1e3;
        let (median, p99) = (at(0.5), at(0.99));
        if line.name.contains("plain") {
            plain = median;
        }
        let (name, count) = (line.name, line.took_ns.len());
        println!(
            "{name:<28} {median:>9.1} {p99:>9.1} {count:>9} {:>14.1}",
            median - plain
        );
    }
}

/// One server as the client sees it.
struct Line {
    name: &'static str,
    connect: Connect,
    server: SocketAddr,
    took_ns: Vec<u64>,
}

type Connect = fn(SocketAddr) -> io::Result<Client>;

impl Line {
    fn new(name: &'static str, connect: Connect, server: SocketAddr) -> Line {
        Line {
            name,
            connect,
            server,
            took_ns: Vec::new(),
        }
    }

    /// A hundred queries, a millisecond apart; the first ones of a connection are not counted.
    fn turn(&mut self) -> io::Result<()> {
        let mut client = (self.connect)(self.server)?;
        for nth in 0..PER_TURN + UNCOUNTED {
            thread::sleep(PAUSE);
            let start = Instant::now();
            let done = client.exchange();
            done.map_err(|error| io::Error::other(format!("{}: {error}", self.name)))?;
            if nth >= UNCOUNTED {
                self.took_ns.push(start.elapsed().as_nanos() as u64);
            }
        }
        Ok(())
    }
}

/// A connected socket that does not block: to sleep here would measure the client's wake-up too.
enum Client {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Client {
    fn udp(server: SocketAddr) -> io::Result<Client> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        Ok(Client::Udp(socket))
    }

    fn tcp(server: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Client::Tcp(stream))
    }

    fn exchange(&mut self) -> io::Result<()> {
        let mut buffer = [0; 512];
        match self {
            Client::Udp(socket) => {
                socket.send(&QUERY[2..])?;
                spin(|| socket.recv(&mut buffer))?;
            }
            // Both servers write a reply at once, and a segment of loopback holds it.
            Client::Tcp(stream) => {
                stream.write_all(&QUERY)?;
                spin(|| stream.read(&mut buffer))?;
            }
        }
        Ok(())
    }
}

fn spin(mut receive: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    let start = Instant::now();
    loop {
        match receive() {
            Err(error) if error.kind() == ErrorKind::WouldBlock && start.elapsed() < PATIENCE => {
                std::hint::spin_loop();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(io::Error::other("no reply within a second"));
            }
            outcome => return outcome,
        }
    }
}

// === servers ===

/// A percoredns on one core, which ends with its owner.
struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    fn start(runtime: &str, cpu: u32) -> io::Result<Server> {
        let path = env::temp_dir().join(format!(
            "percoredns-wakeup-{}-{runtime}",
            std::process::id()
        ));
        fs::write(&path, ".:0 {\n whoami\n}\n")?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_percoredns"))
            .args(["-runtime", runtime, "-cores", &cpu.to_string(), "-conf"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let port = child.stdout.take().and_then(|out| {
            let mut lines = BufReader::new(out).lines().map_while(Result::ok);
            let port = lines.find_map(|line| line.strip_prefix(".:")?.parse().ok());
            // What it prints later must not fill the pipe.
            thread::spawn(move || lines.for_each(drop));
            port
        });
        fs::remove_file(&path)?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap_or(0)));
        let server = Server { child, addr };
        match port {
            Some(_) => Ok(server),
            None => Err(io::Error::other(format!(
                "percoredns -runtime {runtime} did not start"
            ))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits in epoll as the simplest server would; `serve` handles one descriptor that is ready and may name one to add.
fn plain(
    cpu: u32,
    first: RawFd,
    mut serve: impl FnMut(RawFd) -> Option<RawFd> + Send + 'static,
) -> io::Result<()> {
    let mut poller = Poller::new()?;
    poller.add(first, first as u64)?;
    thread::spawn(move || -> io::Result<()> {
        cores::pin_current(cpu)?;
        loop {
            poller.wait(-1)?;
            for nth in 0..poller.ready_len() {
                if let Some(fd) = serve(poller.ready(nth) as RawFd) {
                    poller.add(fd, fd as u64)?;
                }
            }
        }
    });
    Ok(())
}

fn plain_udp(cpu: u32) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let addr = socket.local_addr()?;
    plain(cpu, socket.as_raw_fd(), move |_| {
        let mut buffer = [0; 512];
        let (len, peer) = socket.recv_from(&mut buffer).ok()?;
        socket.send_to(&buffer[..len], peer).ok()?;
        None
    })?;
    Ok(addr)
}

fn plain_tcp(cpu: u32) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (addr, listening) = (listener.local_addr()?, listener.as_raw_fd());
    let mut streams: Vec<TcpStream> = Vec::new();
    plain(cpu, listening, move |fd| {
        if fd == listening {
            let (stream, _) = listener.accept().ok()?;
            stream.set_nodelay(true).ok()?;
            let fd = stream.as_raw_fd();
            streams.push(stream);
            return Some(fd);
        }
        let at = streams.iter().position(|stream| stream.as_raw_fd() == fd)?;
        let mut buffer = [0; 512];
        match streams[at].read(&mut buffer) {
            Ok(len @ 1..) => streams[at].write_all(&buffer[..len]).ok()?,
            // Its end, which the kernel would report again and again.
            _ => drop(streams.swap_remove(at)),
        }
        None
    })?;
    Ok(addr)
}

/// The same with what glommio brings: the least that an answer costs whoever waits in its rings.
#[cfg(feature = "glommio")]
fn glommio_tcp(cpu: u32) -> io::Result<SocketAddr> {
    use glommio::{LocalExecutorBuilder, Placement, net};
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || -> io::Result<()> {
        let placement = Placement::Fixed(cpu as usize);
        let executor = LocalExecutorBuilder::new(placement).spin_before_park(Duration::ZERO);
        executor.make()?.run(async move {
            let listener = net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            // Whoever asked is gone only when the bench has failed.
            let _ = tell.send(listener.local_addr()?);
            loop {
                let stream = listener.accept().await?;
                stream.set_nodelay(true)?;
                glommio::spawn_local(echo(stream)).detach();
            }
        })
    });
    told.recv().map_err(io::Error::other)
}

#[cfg(feature = "glommio")]
async fn echo(mut stream: glommio::net::TcpStream) {
    use futures_io::{AsyncRead, AsyncWrite};
    use std::{future::poll_fn, pin::Pin};
    let mut buffer = [0; 512];
    while let Ok(len @ 1..) = poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut buffer)).await {
        let sent = poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, &buffer[..len])).await;
        if sent.is_err() {
            return;
        }
    }
}

/// `example.org A` with the length that TCP puts before it.
const QUERY: [u8; 31] = *b"\0\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01";
const ROUNDS: usize = 20;
const PER_TURN: usize = 100;
const UNCOUNTED: usize = 5;
const PAUSE: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(1);
