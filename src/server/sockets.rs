//! The sockets of a configuration. Groups whose address stays are carried from one configuration to the next, so that what is queued in
//! them is answered and nothing is lost.

use std::net::SocketAddr;
use std::sync::Arc;

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
            let held = previous
                .groups
                .iter()
                .find(|group| group.wanted == wanted && group.count == count);
            let group = match held {
                Some(group) => group.clone(),
                None => Arc::new(Group::open(wanted, count, plan)?),
            };
            sockets.groups.push(group);
        }
        Ok(sockets)
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
