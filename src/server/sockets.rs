//! The sockets of a configuration. Groups whose address stays are carried from one configuration to the next, so that what is queued in
//! them is answered and nothing is lost.

use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use socket2::SockRef;

use super::config::Config;
use crate::runtime::cores::CorePlan;
use crate::telemetry::log;
use crate::transport::socket;
use crate::transport::tcp;
use crate::transport::udp::Socket;

/// Sockets with the index of their listener in the configuration.
pub type ByListener<T> = Vec<(u16, T)>;

/// All sockets of one configuration, by listener.
#[derive(Default, Clone)]
pub struct Sockets {
    groups: Vec<Arc<Group>>,
}

/// The sockets of one address.
struct Group {
    wanted: SocketAddr,
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
    pub fn open(config: &Config, plan: &[CorePlan], previous: &Sockets) -> Result<Sockets, String> {
        let mut sockets = Sockets::default();
        for listener in &config.listeners {
            let (wanted, count) = (
                listener.socket_addr(),
                listener.sockets.unwrap_or(plan.len()),
            );
            // `bind ::` and no *bind* at all want the same address, yet are two listeners.
            let is_free = |group: &Arc<Group>| {
                let taken = |other: &Arc<Group>| Arc::ptr_eq(other, group);
                !sockets.groups.iter().any(taken)
            };
            let held = previous
                .groups
                .iter()
                .find(|group| group.wanted == wanted && group.count == count && is_free(group));
            let group = match held {
                Some(group) => group.clone(),
                None => Arc::new(Group::open(wanted, count, plan)?),
            };
            sockets.groups.push(group);
        }
        Ok(sockets)
    }

    /// Ends listening for TCP on all that `next` does not hold. io_uring keeps a socket for a moment after its owner, or the whole process,
    /// has gone; a client whose connection lands there is reset.
    pub fn close_listeners(&self, next: &Sockets) {
        for group in &self.groups {
            if next.groups.iter().any(|other| Arc::ptr_eq(other, group)) {
                continue;
            }
            for listener in &group.tcp {
                // One that listens no more is what is wanted.
                let _ = SockRef::from(&**listener).shutdown(Shutdown::Both);
            }
        }
    }

    /// The sockets of one core: every group's `n`-th socket belongs to core `n` modulo the number of cores.
    pub fn of_core(
        &self,
        core: usize,
        cores: usize,
    ) -> (ByListener<Arc<Socket>>, ByListener<tcp::Shared>) {
        let (mut udp, mut tcp) = (Vec::new(), Vec::new());
        for (listener, group) in self.groups.iter().enumerate() {
            // limits::LISTENERS fits 16 bits.
            let listener = listener as u16;
            udp.extend(
                group
                    .udp
                    .iter()
                    .skip(core)
                    .step_by(cores)
                    .map(|socket| (listener, socket.clone())),
            );
            tcp.extend(
                group
                    .tcp
                    .iter()
                    .skip(core)
                    .step_by(cores)
                    .map(|socket| (listener, socket.clone())),
            );
        }
        (udp, tcp)
    }

    /// The address of each listener, its real port included.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.groups.iter().map(|group| group.addr)
    }

    /// Sockets for each listener.
    pub fn counts(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().map(|group| group.count)
    }
}

impl Group {
    fn open(wanted: SocketAddr, count: usize, plan: &[CorePlan]) -> Result<Group, String> {
        let opened = socket::open_group(wanted, count)?;
        let cpus: Option<Vec<u32>> = plan.iter().map(|core| core.cpu).collect();
        if let Some(cpus) = cpus.filter(|cpus| cpus.len() > 1 && cpus.len() == count) {
            let steered = opened
                .udp
                .first()
                .map_or(Ok(()), |first| socket::steer(first, &cpus));
            if let Err(error) = steered {
                log::warning(
                    None,
                    format_args!("packets are not steered to the core that received them: {error}"),
                );
            }
        }
        let addr = opened.addr;
        let udp = opened
            .udp
            .into_iter()
            .map(|fd| Arc::new(Socket::new(fd, addr)))
            .collect();
        Ok(Group {
            wanted,
            count,
            addr,
            udp,
            tcp: opened.tcp.into_iter().map(Arc::new).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corefile::RealSource;
    use crate::plugin::Carry;
    use crate::server::config::{self, Surroundings};

    #[test]
    fn listeners_of_one_address_keep_sockets_of_their_own() {
        let around = Surroundings {
            source: &RealSource,
            cores: 1,
            default_port: 53,
            carry: &Carry::default(),
            generation: 1,
        };
        let free = socket::open_group("[::]:0".parse().unwrap(), 1).unwrap();
        let port = free.addr.port();
        let text =
            format!("a.test:{port} {{\n bind ::\n whoami\n}}\nb.test:{port} {{\n whoami\n}}\n");
        let config = config::build("Corefile", &text, &around).unwrap().config;
        let plan = [CorePlan {
            index: 0,
            cpu: None,
        }];
        let mut sockets = Sockets::default();
        for _ in 0..3 {
            let next = Sockets::open(&config, &plan, &sockets).unwrap();
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
}
