//! The probe: who counts it, and who sends it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::corefile::ZoneName;
use crate::limits;
use crate::upstream::{random_u64, resolve};
use crate::wire::name::NameBuf;
use crate::wire::types;

/// Counts how often the probe of one attempt has come in.
pub(super) struct Watch {
    name: NameBuf,
    seen: AtomicU32,
    is_on: AtomicBool,
}

impl Watch {
    /// A probe in that zone. A zone so long that the labels do not fit has none and is never watched.
    pub(super) fn new(zone: &ZoneName) -> Watch {
        let text = format!("{}.{}.{zone}", random_u64(), random_u64());
        let name = NameBuf::from_text(text.trim_end_matches("..")).ok();
        Watch {
            is_on: AtomicBool::new(name.is_some()),
            name: name.unwrap_or(NameBuf::ROOT),
            seen: AtomicU32::new(0),
        }
    }

    pub(super) fn name(&self) -> &NameBuf {
        &self.name
    }

    /// Takes note of a HINFO query in lower case; true from the third time on that it is the probe of the attempt under way.
    pub(super) fn saw(&self, name: &[u8]) -> bool {
        self.is_on()
            && name == self.name.as_wire()
            && self.seen.fetch_add(1, Ordering::Relaxed) >= 2
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Ends it for good.
    pub(super) fn stop(&self) {
        self.is_on.store(false, Ordering::Relaxed);
    }

    fn next_attempt(&self) {
        self.seen.store(0, Ordering::Relaxed);
    }
}

/// Sends the probe to one of the block's own listeners, on a thread that ends after `limits::LOOP_PROBE_S` at the latest.
pub(super) fn start(
    watch: Arc<Watch>,
    servers: Arc<OnceLock<Vec<String>>>,
    listeners: Vec<(String, SocketAddr)>,
) {
    let stop = watch.clone();
    let run = move || {
        let deadline = Instant::now() + Duration::from_secs(limits::LOOP_PROBE_S);
        if let Some(addr) = own_listener(&servers, &listeners, deadline) {
            send(&watch, &reachable(addr), deadline);
        }
        watch.stop();
    };
    if thread::Builder::new()
        .name("loop-probe".into())
        .spawn(run)
        .is_err()
    {
        stop.stop();
    }
}

/// The first listener of the block, once its instances are open.
fn own_listener(
    servers: &OnceLock<Vec<String>>,
    listeners: &[(String, SocketAddr)],
    deadline: Instant,
) -> Option<SocketAddr> {
    while servers.get().is_none() && Instant::now() < deadline {
        thread::sleep(OPEN_PAUSE);
    }
    let of_server = |server: &String| listeners.iter().find(|listener| listener.0 == *server);
    let mut own = servers.get()?.iter().filter_map(of_server);
    // Other transports do not speak plain DNS.
    own.find(|listener| listener.0.starts_with("dns://"))
        .map(|listener| listener.1)
}

/// Where to send to in order to reach a listener: one for all addresses is reached through loopback.
fn reachable(addr: SocketAddr) -> Vec<SocketAddr> {
    let at = |ip: IpAddr| SocketAddr::new(ip, addr.port());
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![at(Ipv4Addr::LOCALHOST.into())],
        IpAddr::V6(ip) if ip.is_unspecified() => {
            vec![
                at(Ipv4Addr::LOCALHOST.into()),
                at(Ipv6Addr::LOCALHOST.into()),
            ]
        }
        _ => vec![addr],
    }
}

/// Asks until there is an answer of any kind, then lets what may still be on its way come in.
fn send(watch: &Watch, addrs: &[SocketAddr], deadline: Instant) {
    for addr in addrs.iter().cycle() {
        if Instant::now() >= deadline || !watch.is_on() {
            return;
        }
        watch.next_attempt();
        if resolve::answers(*addr, watch.name(), types::HINFO) {
            thread::sleep(GRACE);
            return;
        }
        thread::sleep(RETRY_PAUSE);
    }
}

const OPEN_PAUSE: Duration = Duration::from_millis(20);
const RETRY_PAUSE: Duration = Duration::from_millis(500);
const GRACE: Duration = Duration::from_secs(2);
