//! The sockets of a configuration. Groups whose address stays are carried from one configuration to the next, so that what is queued in
//! them is answered and nothing is lost.

use std::collections::BTreeSet;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use socket2::SockRef;

use super::config::Config;
use crate::corefile::address::Scheme;
use crate::telemetry::log;
use crate::transport::socket::{self, Carries};
use crate::transport::steering;
use crate::transport::tcp;
use crate::transport::udp::Socket;
use crate::tune::CoreSettings;

/// Sockets with the index of their listener in the configuration.
pub type ByListener<T> = Vec<(u16, T)>;

/// All sockets of one configuration, by listener.
#[derive(Default, Clone)]
pub struct Sockets {
    groups: Vec<Arc<Group>>,
}

/// The sockets of one core.
pub struct OfCore {
    /// Plain DNS over UDP: for its packet thread.
    pub packets: ByListener<Arc<Socket>>,
    /// QUIC: for its task thread; each with its number in the group, which its connection ids begin with.
    pub quic: ByListener<(u16, Arc<Socket>)>,
    /// TCP and what is carried by it: for its task thread.
    pub tcp: ByListener<tcp::Shared>,
}

/// The sockets of one address.
struct Group {
    wanted: SocketAddr,
    carries: Carries,
    count: usize,
    addr: SocketAddr,
    udp: Vec<Arc<Socket>>,
    tcp: Vec<tcp::Shared>,
}

impl Sockets {
    /// Opens what the configuration needs and `previous` does not hold. Nothing of `previous` changes, whatever the outcome.
    ///
    /// # Errors
    /// `Listen: listen tcp :53: bind: address already in use` and the like, with a remedy.
    pub fn open(config: &Config, previous: &Sockets) -> Result<Sockets, String> {
        let mut sockets = Sockets::default();
        let cores = &config.tune.cores[..];
        // `bind ::` and no *bind* at all want the same address, yet are two listeners: a group is carried over once.
        let mut held: Vec<&Arc<Group>> = previous.groups.iter().collect();
        for listener in &config.listeners {
            let (wanted, count) = (
                listener.socket_addr(),
                listener.sockets.unwrap_or(cores.len()),
            );
            let carries = carries(listener.scheme);
            let found = held
                .iter()
                .position(|group| (group.wanted, group.carries) == (wanted, carries));
            let group = match found.map(|at| held.remove(at)) {
                Some(group) if group.count == count => group.clone(),
                Some(group) => Arc::new(group.resized(count, cores)?),
                None => Arc::new(Group::open(wanted, carries, count, cores)?),
            };
            sockets.groups.push(group);
        }
        Ok(sockets)
    }

    /// Ends listening for TCP on all that `next` does not hold. io_uring keeps a socket for a moment after its owner, or the whole process,
    /// has gone; a client whose connection lands there is reset.
    pub fn close_listeners(&self, next: &Sockets) {
        let kept: Vec<&tcp::Shared> = next.groups.iter().flat_map(|group| &group.tcp).collect();
        for listener in self.groups.iter().flat_map(|group| &group.tcp) {
            if !kept.iter().any(|other| Arc::ptr_eq(other, listener)) {
                // One that listens no more is what is wanted.
                let _ = SockRef::from(&**listener).shutdown(Shutdown::Both);
            }
        }
    }

    /// The sockets of one core: every group's `n`-th socket belongs to core `n` modulo the number of cores.
    pub fn of_core(&self, core: usize, cores: usize) -> OfCore {
        let mut own = OfCore {
            packets: Vec::new(),
            quic: Vec::new(),
            tcp: Vec::new(),
        };
        for (listener, group) in self.groups.iter().enumerate() {
            // limits::LISTENERS fits 16 bits.
            let listener = listener as u16;
            let udp = group.udp.iter().enumerate().skip(core).step_by(cores);
            match group.carries {
                // A group has no more sockets than *multisocket* or the cores of a machine make.
                Carries::Udp => own
                    .quic
                    .extend(udp.map(|(nth, socket)| (listener, (nth as u16, socket.clone())))),
                _ => own
                    .packets
                    .extend(udp.map(|(_, socket)| (listener, socket.clone()))),
            }
            own.tcp.extend(
                group
                    .tcp
                    .iter()
                    .skip(core)
                    .step_by(cores)
                    .map(|socket| (listener, socket.clone())),
            );
        }
        own
    }

    /// The address of each listener, its real port included.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.groups.iter().map(|group| group.addr)
    }

    /// What UDP sockets got less than their cores asked for; one line for each kind.
    pub fn shortfalls(&self, cores: &[CoreSettings]) -> BTreeSet<String> {
        let of_group = |group: &Arc<Group>| {
            let sockets = group.udp.iter().zip(cores.iter().cycle());
            let lines = sockets.filter_map(|(udp, core)| socket::shortfall(&**udp, core));
            lines.collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(of_group).collect()
    }

    /// Sockets for each listener.
    pub fn counts(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().map(|group| group.count)
    }
}

/// The protocols below a transport.
fn carries(scheme: Scheme) -> Carries {
    match scheme {
        Scheme::Dns => Carries::Both,
        Scheme::Tls | Scheme::Https | Scheme::Grpc => Carries::Tcp,
        Scheme::Quic | Scheme::Https3 => Carries::Udp,
    }
}

impl Group {
    fn open(
        wanted: SocketAddr,
        carries: Carries,
        count: usize,
        cores: &[CoreSettings],
    ) -> Result<Group, String> {
        let mut group = Group {
            wanted,
            carries,
            count,
            addr: wanted,
            udp: Vec::with_capacity(count),
            tcp: Vec::with_capacity(count),
        };
        group.add(count, cores)?;
        group.steer(cores);
        Ok(group)
    }

    /// The same address with another number of sockets. None is closed: what the kernel queues in one between the last look at it and its
    /// end would be lost. Those that are too many stay until the address goes.
    fn resized(&self, count: usize, cores: &[CoreSettings]) -> Result<Group, String> {
        let mut group = Group {
            wanted: self.wanted,
            carries: self.carries,
            count,
            addr: self.addr,
            udp: self.udp.clone(),
            tcp: self.tcp.clone(),
        };
        group.add(count.saturating_sub(self.len()), cores)?;
        group.steer(cores);
        Ok(group)
    }

    /// Opens further sockets, which come after those that the kernel's group holds already.
    fn add(&mut self, count: usize, cores: &[CoreSettings]) -> Result<(), String> {
        if count == 0 {
            return Ok(());
        }
        let of_socket = cores.iter().cycle().skip(self.len() % cores.len().max(1));
        let of_sockets: Vec<CoreSettings> = of_socket.take(count).copied().collect();
        let opened = socket::open_group(self.addr, self.carries, &of_sockets)?;
        self.addr = opened.addr;
        let addr = opened.addr;
        let udp = opened.udp.into_iter();
        self.udp
            .extend(udp.map(|fd| Arc::new(Socket::new(fd, addr))));
        self.tcp.extend(opened.tcp.into_iter().map(Arc::new));
        Ok(())
    }

    /// Sockets that there are of each protocol.
    fn len(&self) -> usize {
        self.udp.len().max(self.tcp.len())
    }

    /// With pinned cores a packet goes to the one that received it; one of QUIC goes to its connection in any case.
    fn steer(&self, cores: &[CoreSettings]) {
        if self.carries == Carries::Udp {
            if let Err(error) = steering::steer_by_connection(&self.udp) {
                log::warning(
                    None,
                    format_args!(
                        "{}: QUIC connections end when a client's address changes: the kernel refuses to steer: {error}",
                        socket::go_addr(self.addr)
                    ),
                );
            }
            return;
        }
        let cpus: Option<Vec<u32>> = cores.iter().map(|core| core.cpu).collect();
        let Some(cpus) = cpus.filter(|cpus| cpus.len() > 1) else {
            return;
        };
        if let Err(error) = steering::steer(&self.udp, &cpus) {
            log::warning(
                None,
                format_args!(
                    "{}: packets go to any core, not to the one that received them: the kernel refuses to steer: {error}",
                    socket::go_addr(self.addr)
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Host;
    use crate::tune::Settings;

    #[test]
    fn listeners_of_one_address_keep_sockets_of_their_own() {
        let free = socket::open_group(
            "[::]:0".parse().unwrap(),
            Carries::Both,
            &[CoreSettings::default()],
        )
        .unwrap();
        let port = free.addr.port();
        let text =
            format!("a.test:{port} {{\n bind ::\n whoami\n}}\nb.test:{port} {{\n whoami\n}}\n");
        let config = Host::new(&text).unwrap().config;
        let mut sockets = Sockets::default();
        for _ in 0..3 {
            let next = Sockets::open(&config, &sockets).unwrap();
            let fds: Vec<_> = next
                .groups
                .iter()
                .map(|group| group.udp[0].raw_fd())
                .collect();
            assert_eq!(fds.len(), 2);
            assert_ne!(fds[0], fds[1]);
            sockets = next;
        }
    }

    #[test]
    fn another_number_of_sockets_adds_some_and_closes_none() {
        let free = socket::open_group(
            "127.0.0.1:0".parse().unwrap(),
            Carries::Both,
            &[CoreSettings::default()],
        )
        .unwrap();
        let wanted = free.addr;
        drop(free);
        let cores = Settings::floating(2).cores;
        let fds = |group: &Group| -> Vec<_> { group.udp.iter().map(|udp| udp.raw_fd()).collect() };
        let first = Group::open(wanted, Carries::Both, 2, &cores).unwrap();
        let more = first.resized(5, &cores).unwrap();
        let less = more.resized(1, &cores).unwrap();
        assert_eq!((first.udp.len(), more.udp.len(), less.count), (2, 5, 1));
        assert_eq!(fds(&more)[..2], fds(&first));
        assert_eq!(fds(&less), fds(&more));
        assert_eq!(less.tcp.len(), 5);
    }
}
