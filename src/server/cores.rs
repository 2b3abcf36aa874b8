//! The threads of the data cores: start, change of configuration, end, and a new start for one that died.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::config::Config;
use super::packets::{self, Command, Losses, Place};
use super::sockets::Sockets;
use super::spread::Links;
use super::tasks::{self, Job, Peer, Swap};
use crate::control::{panic_text, publications};
use crate::limits;
use crate::runtime::cores;
use crate::runtime::{
    self, PacketReceiver, Receiver, Seat, Sender, TaskThreadSpec, start_task_thread,
};
use crate::telemetry::{self, log};
use crate::tune::Settings;

/// All data cores.
pub struct Cores {
    tune: Arc<Settings>,
    losses: Losses,
    peers: Vec<Peer>,
    links: Links,
    threads: Vec<Threads>,
    /// When threads were started anew, the latest last.
    restarts: Vec<Instant>,
    /// The number of publications that all threads were told of.
    refreshed: u64,
}

struct Threads {
    commands: Sender<Command>,
    packets: JoinHandle<()>,
    tasks: JoinHandle<()>,
}

impl Cores {
    /// Starts the two threads of every core, idle until the first `swap`.
    ///
    /// # Errors
    /// A thread, its executor or its epoll descriptor cannot be had.
    pub fn start(tune: Arc<Settings>) -> Result<Cores, String> {
        let registry = telemetry::metrics::registry();
        let losses = Losses {
            shed: registry.shared_counter(
                "percoredns_shed_queries_total",
                "Queries dropped because too many wait for an upstream already.",
                &[],
            ),
            unsent: registry.shared_counter(
                "percoredns_udp_unsent_replies_total",
                "UDP replies that the kernel refused to send.",
                &[],
            ),
        };
        let mut receivers = Vec::with_capacity(tune.cores.len());
        let mut peers = Vec::with_capacity(tune.cores.len());
        for core in &tune.cores {
            // Every waiting query has a place, plus some for configuration changes.
            let (jobs, receiver) = runtime::mailbox(core.parked_max + SPARE_JOBS);
            peers.push(Peer::new(jobs, core));
            receivers.push(receiver);
        }
        runtime::on_panic(|reason| {
            telemetry::panics().inc();
            log::error(
                None,
                format_args!("Recovered from panic in a task: {reason}"),
            );
        });
        let mailboxes: Result<Vec<_>, _> = (0..receivers.len())
            // Each of the other cores may ask for help just before a change of configuration.
            .map(|_| runtime::packet_mailbox(SPARE_JOBS + receivers.len()))
            .collect();
        let (senders, commands): (Vec<_>, Vec<_>) = mailboxes
            .map_err(|error| format!("cannot make the mailbox of a packet thread: {error}"))?
            .into_iter()
            .unzip();
        let mut cores = Cores {
            tune,
            losses,
            peers,
            links: Links::new(senders.clone()),
            threads: Vec::new(),
            restarts: Vec::new(),
            refreshed: publications(),
        };
        for (core, (jobs, (commands, receiver))) in receivers
            .into_iter()
            .zip(senders.into_iter().zip(commands))
            .enumerate()
        {
            let tasks = cores.start_tasks(core, jobs)?;
            let packets = cores.start_packets(core, receiver)?;
            cores.threads.push(Threads {
                commands,
                packets,
                tasks,
            });
        }
        Ok(cores)
    }

    /// Number of cores.
    pub fn count(&self) -> usize {
        self.tune.cores.len()
    }

    /// The settings they were started with.
    pub fn tune(&self) -> &Arc<Settings> {
        &self.tune
    }

    fn start_tasks(&self, core: usize, jobs: Receiver<Job>) -> Result<JoinHandle<()>, String> {
        let spec = TaskThreadSpec {
            name: format!("task-{core}"),
            cpu: self.tune.core(core).cpu,
            backend: self.tune.core(core).backend,
        };
        let (count, peers) = (self.count(), self.peers.clone());
        let seat = self.tune.core(core).task_seat();
        start_task_thread(spec, move || {
            take(seat, core);
            log::own_lane();
            tasks::run(core, count, peers, jobs)
        })
        .map_err(|error| format!("cannot start the task thread of core {core}: {error}"))
    }

    fn start_packets(
        &self,
        core: usize,
        commands: PacketReceiver<Command>,
    ) -> Result<JoinHandle<()>, String> {
        let place = Place {
            core,
            cores: self.count(),
            peers: self.peers.clone(),
            links: self.links.clone(),
            losses: self.losses.clone(),
            tune: *self.tune.core(core),
        };
        let cpu = place.tune.cpu;
        let body = move || {
            if let Some(cpu) = cpu
                && let Err(error) = cores::pin_current(cpu)
            {
                log::warning(
                    None,
                    format_args!("core {core} floats: cannot pin it to CPU {cpu}: {error}"),
                );
            }
            take(place.tune.packet_seat(), core);
            log::own_lane();
            if let Err(error) = packets::run(place, commands) {
                log::error(
                    None,
                    format_args!("packet thread of core {core} ended: {error}"),
                );
            }
        };
        let started = thread::Builder::new()
            .name(format!("packet-{core}"))
            .spawn(body);
        started.map_err(|error| format!("cannot start the packet thread of core {core}: {error}"))
    }

    /// Makes every thread serve this configuration on these sockets. Task threads first: a packet thread may park a query at once.
    ///
    /// # Errors
    /// A thread did not answer in time; the others serve the new configuration.
    pub fn swap(&self, config: &Arc<Config>, sockets: &Sockets) -> Result<(), String> {
        let (done, acks) = mpsc::channel();
        for (core, peer) in self.peers.iter().enumerate() {
            let own = sockets.of_core(core, self.count());
            let job = Job::Swap(Box::new(Swap {
                config: config.clone(),
                tcp: own.tcp,
                quic: own.quic,
                done: done.clone(),
            }));
            peer.jobs
                .try_send(job)
                .map_err(|_| format!("the task thread of core {core} takes no orders"))?;
        }
        self.await_acks(&acks)?;
        for (core, threads) in self.threads.iter().enumerate() {
            let own = sockets.of_core(core, self.count());
            let command = Command::Swap(config.clone(), own.packets, done.clone());
            let sent = threads.commands.try_send(command);
            sent.map_err(|_| format!("the packet thread of core {core} takes no orders"))?;
        }
        self.await_acks(&acks)
    }

    fn await_acks(&self, acks: &mpsc::Receiver<()>) -> Result<(), String> {
        for _ in 0..self.count() {
            acks.recv_timeout(PATIENCE)
                .map_err(|_| "a core did not take over the configuration in time".to_owned())?;
        }
        Ok(())
    }

    /// Lets every task thread forget configurations older than this one.
    pub fn retire(&self, before: u64) {
        for peer in &self.peers {
            // Full: the next reload retires it.
            let _ = peer.jobs.try_send(Job::Retire(before));
        }
    }

    /// Has every thread let go of what was replaced, see [`publications`](crate::control::publications); those with a full mailbox are
    /// told at the next look.
    pub fn refresh(&mut self) {
        let now = publications();
        if now == self.refreshed {
            return;
        }
        let told = |threads: &Threads, peer: &Peer| {
            let packets = threads.commands.try_send(Command::Refresh).is_ok();
            peer.jobs.try_send(Job::Refresh).is_ok() && packets
        };
        let all = self.threads.iter().zip(&self.peers);
        if all.filter(|(threads, peer)| !told(threads, peer)).count() == 0 {
            self.refreshed = now;
        }
    }

    /// Starts threads that died anew, with their sockets. `Err` when that happens too often to go on.
    pub fn revive(&mut self, config: &Arc<Config>, sockets: &Sockets) -> Result<(), String> {
        for core in 0..self.count() {
            if self.threads[core].packets.is_finished() {
                let commands = self.threads[core].commands.reopen_packet();
                let started = self.start_packets(core, commands)?;
                let died = std::mem::replace(&mut self.threads[core].packets, started);
                self.note_restart(core, "packet", died)?;
                let (done, ack) = mpsc::channel();
                let own = sockets.of_core(core, self.count());
                let command = Command::Swap(config.clone(), own.packets, done);
                let _ = self.threads[core].commands.try_send(command);
                let _ = ack.recv_timeout(PATIENCE);
            }
            if self.threads[core].tasks.is_finished() {
                let jobs = self.peers[core].jobs.reopen();
                self.peers[core].parked.store(0, Ordering::Relaxed);
                let started = self.start_tasks(core, jobs)?;
                let died = std::mem::replace(&mut self.threads[core].tasks, started);
                self.note_restart(core, "task", died)?;
                let (done, ack) = mpsc::channel();
                let own = sockets.of_core(core, self.count());
                let _ = self.peers[core].jobs.try_send(Job::Swap(Box::new(Swap {
                    config: config.clone(),
                    tcp: own.tcp,
                    quic: own.quic,
                    done,
                })));
                let _ = ack.recv_timeout(PATIENCE);
            }
        }
        Ok(())
    }

    fn note_restart(
        &mut self,
        core: usize,
        kind: &str,
        died: JoinHandle<()>,
    ) -> Result<(), String> {
        let cause = match died.join() {
            Ok(()) => "it ended".to_owned(),
            Err(payload) => panic_text(&*payload).to_owned(),
        };
        let now = Instant::now();
        self.restarts
            .retain(|at| now.duration_since(*at) < Duration::from_secs(60));
        self.restarts.push(now);
        telemetry::panics().inc();
        if self.restarts.len() > limits::CORE_RESTARTS_PER_MINUTE {
            return Err(format!(
                "the {kind} thread of core {core} dies again and again: {cause}"
            ));
        }
        log::error(
            None,
            format_args!("the {kind} thread of core {core} died and is started anew: {cause}"),
        );
        Ok(())
    }

    /// Answers what was received, waits for what waits (at most `grace`), and ends all threads. One that is stuck is left behind: it
    /// ends with the process.
    pub fn stop(self, grace: Duration) {
        for threads in &self.threads {
            // One that takes no more orders has died.
            let _ = threads.commands.try_send(Command::Stop);
        }
        let (packets, tasks): (Vec<_>, Vec<_>) = self
            .threads
            .into_iter()
            .map(|threads| (threads.packets, threads.tasks))
            .unzip();
        join_within(LAST_LOOK, packets);
        let deadline = Instant::now() + grace;
        let waits = |peer: &Peer| peer.parked.load(Ordering::Relaxed) > 0;
        while self.peers.iter().any(waits) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        for peer in &self.peers {
            let _ = peer.jobs.try_send(Job::Stop);
        }
        join_within(LAST_LOOK, tasks);
    }
}

/// Places the calling thread of a core, and says what was refused.
fn take(seat: Seat, core: usize) {
    for refused in seat.take() {
        log::warning(None, format_args!("core {core}: {refused}"));
    }
}

/// Waits for threads that were told to end.
fn join_within(patience: Duration, threads: Vec<JoinHandle<()>>) {
    let deadline = Instant::now() + patience;
    for thread in threads {
        while !thread.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            // A panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// Places in a mailbox beyond the waiting queries.
const SPARE_JOBS: usize = 64;
/// How long a thread may take to answer what it has received and to end.
const LAST_LOOK: Duration = Duration::from_millis(500);
/// How long a core may take to open a configuration: everything slow was done before.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv6Addr, SocketAddr, TcpStream, UdpSocket};

    use super::*;
    use crate::corefile::RealSource;
    use crate::plugin::{AnyConfig, Carry};
    use crate::testing::host::{Host, decode, encode};
    use crate::tune::CoreSettings;

    struct Bench {
        cores: Cores,
        config: Arc<Config>,
        sockets: Sockets,
        server: SocketAddr,
    }

    fn bench(cores: usize) -> Bench {
        let tune = Arc::new(Settings::floating(cores));
        let text = ".:0 {\n panicker\n}\n";
        let host = Host::tuned(text, &RealSource, &Carry::default(), &tune).unwrap();
        let config = host.config;
        let sockets = Sockets::open(&config, &Sockets::default()).unwrap();
        let cores = Cores::start(tune).unwrap();
        cores.swap(&config, &sockets).unwrap();
        let port = sockets.addresses().next().unwrap().port();
        Bench {
            cores,
            config,
            sockets,
            server: (Ipv6Addr::LOCALHOST, port).into(),
        }
    }

    fn udp(server: SocketAddr, query: &str) -> String {
        let client = UdpSocket::bind("[::1]:0").unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        client.send_to(&encode(query).0, server).unwrap();
        let mut reply = [0; 512];
        let len = client.recv(&mut reply).unwrap();
        decode(&reply[..len]).rcode
    }

    fn tcp(server: SocketAddr, query: &str) -> String {
        let mut client = TcpStream::connect(server).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let message = encode(query).0;
        client
            .write_all(&(message.len() as u16).to_be_bytes())
            .unwrap();
        client.write_all(&message).unwrap();
        let mut len = [0; 2];
        client.read_exact(&mut len).unwrap();
        let mut reply = vec![0; u16::from_be_bytes(len) as usize];
        client.read_exact(&mut reply).unwrap();
        assert_eq!(reply[..2], message[..2], "another query's id");
        decode(&reply).rcode
    }

    fn wait_until(mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !done() {
            assert!(Instant::now() < deadline, "it never comes");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_panic_costs_its_query_alone() {
        let Bench { cores, server, .. } = bench(1);
        for ask in [udp, tcp] {
            let before = telemetry::panics().value();
            for name in ["down.example", "wait.example"] {
                assert_eq!(ask(server, name), "SERVFAIL", "{name}");
                assert_eq!(ask(server, "fine.example"), "NOERROR", "after {name}");
            }
            assert!(telemetry::panics().value() >= before + 2);
        }
        cores.stop(Duration::from_secs(1));
    }

    #[test]
    fn a_panic_on_another_core_costs_its_query_alone() {
        let Bench { cores, server, .. } = bench(2);
        let before = telemetry::panics().value();
        assert_eq!(tcp(server, "away.example"), "SERVFAIL");
        wait_until(|| telemetry::panics().value() > before);
        assert_eq!(tcp(server, "fine.example"), "NOERROR");
        let is_empty = |peer: &Peer| peer.parked.load(Ordering::Relaxed) == 0;
        wait_until(|| cores.peers.iter().all(is_empty));
        cores.stop(Duration::from_secs(1));
    }

    #[test]
    fn threads_without_queries_let_go_of_what_was_replaced() {
        let Bench {
            mut cores, config, ..
        } = bench(2);
        let published = config.blocks[0].plugins.iter().find_map(|row| match row {
            AnyConfig::Panicker(published) => Some(published),
            _ => None,
        });
        let published = published.unwrap();
        let old = Arc::downgrade(&published.load());
        published.publish(Arc::default());
        // Two threads of each core, and what frees it once they let go.
        assert_eq!(old.strong_count(), 5);
        cores.refresh();
        wait_until(|| old.strong_count() <= 1);
        cores.stop(Duration::from_secs(1));
    }

    #[test]
    fn a_stuck_thread_does_not_keep_the_process_from_ending() {
        let Bench { cores, server, .. } = bench(1);
        let client = UdpSocket::bind("[::1]:0").unwrap();
        client.send_to(&encode("hold.example").0, server).unwrap();
        thread::sleep(Duration::from_millis(50));
        let start = Instant::now();
        cores.stop(Duration::from_secs(1));
        assert!(start.elapsed() < Duration::from_secs(3));
    }

    #[test]
    fn a_place_that_comes_back_twice_is_no_debt() {
        let peer = Peer::new(runtime::mailbox(1).0, &CoreSettings::default());
        peer.release();
        assert!(peer.reserve() && peer.reserve());
    }

    #[test]
    fn threads_that_die_are_started_anew_with_their_sockets() {
        let Bench {
            mut cores,
            config,
            sockets,
            server,
        } = bench(1);
        for _ in 0..2 {
            assert!(cores.threads[0].commands.try_send(Command::Die).is_ok());
            assert!(cores.peers[0].jobs.try_send(Job::Die).is_ok());
            while !(cores.threads[0].packets.is_finished() && cores.threads[0].tasks.is_finished())
            {
                thread::sleep(Duration::from_millis(1));
            }
            cores.revive(&config, &sockets).unwrap();
            assert_eq!(udp(server, "fine.example"), "NOERROR");
            assert_eq!(udp(server, "wait.example"), "SERVFAIL");
            assert_eq!(tcp(server, "fine.example"), "NOERROR");
        }
        cores
            .restarts
            .extend([Instant::now(); limits::CORE_RESTARTS_PER_MINUTE]);
        assert!(cores.threads[0].commands.try_send(Command::Die).is_ok());
        while !cores.threads[0].packets.is_finished() {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(cores.revive(&config, &sockets).is_err());
    }
}
