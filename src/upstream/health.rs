//! Whether an upstream is alive: one count of failed probes for each upstream of the process, and one probe at a time.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::dial::{self, Opened};
use super::endpoint::{Address, Endpoint, Transport};
use super::form::Form;
use super::message::{Request, RequestBuffer};
use super::{Protocol, single, udp};
use crate::limits;
use crate::runtime::{self, TcpStream};
use crate::telemetry::metrics::{SharedCounter, registry};
use crate::wire::edns::Edns;
use crate::wire::name::NameBuf;
use crate::wire::reply::{Question, Reply};
use crate::wire::{HEADER, flag, types, u16_at};

/// The health of one upstream, shared by all cores and server blocks; it outlives a reload.
///
/// Nothing asks a healthy upstream. After a failed exchange one probe runs, again and again until any reply comes.
pub struct Health {
    endpoint: Endpoint,
    to: String,
    fails: AtomicU32,
    is_probed: AtomicBool,
    /// None where the plugin counts by itself.
    failures: Option<SharedCounter>,
}

/// How to probe.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Pause between two probes.
    pub interval: Duration,
    /// Whether RD is set.
    pub recursion_desired: bool,
    /// The name whose NS records are asked for.
    pub domain: NameBuf,
    /// What carries the probe.
    pub protocol: Protocol,
    /// The address to ask from.
    pub source: Option<IpAddr>,
}

impl Health {
    /// An upstream that is taken to be alive. `proxy` is the `proxy_name` label of its metrics; none: it has none.
    pub fn new(proxy: Option<&'static str>, endpoint: Endpoint) -> Arc<Health> {
        let to = endpoint.address.to_string();
        let failures = proxy.map(|proxy| {
            registry().shared_counter(
                "coredns_proxy_healthcheck_failures_total",
                "Health probes that got no reply.",
                &[("proxy_name", proxy), ("to", to.as_str())],
            )
        });
        Arc::new(Health {
            endpoint,
            to,
            fails: AtomicU32::new(0),
            is_probed: AtomicBool::new(false),
            failures,
        })
    }

    /// Where the upstream is and what it speaks.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Its address as metrics, metadata and errors show it.
    pub fn to(&self) -> &str {
        &self.to
    }

    /// Whether more than `fails_max` probes failed in a row; 0 means that it never counts as down.
    pub fn is_down(&self, fails_max: u32) -> bool {
        fails_max != 0 && self.fails.load(Ordering::Relaxed) > fails_max
    }

    /// Probes until a reply comes, unless a probe is under way. Ends when no configuration knows the upstream any more.
    pub fn start_probe(self: &Arc<Self>, probe: &Probe) {
        if self.is_probed.swap(true, Ordering::AcqRel) {
            return;
        }
        let running = Running(Arc::downgrade(self));
        let (endpoint, probe) = (self.endpoint.clone(), probe.clone());
        // A refused task is dropped, and `Running` with it: the next failure tries again.
        runtime::spawn(async move {
            loop {
                let alive = probe.once(&endpoint).await;
                let Some(health) = running.0.upgrade() else {
                    return;
                };
                health.note(alive);
                if alive {
                    return;
                }
                drop(health);
                let pause = Duration::from_millis(limits::UPSTREAM_PROBE_PAUSE_MS_MIN);
                runtime::sleep(probe.interval.max(pause)).await;
            }
        });
    }

    fn note(&self, alive: bool) {
        if alive {
            self.fails.store(0, Ordering::Relaxed);
            return;
        }
        if let Some(failures) = &self.failures {
            failures.inc();
        }
        let fails = self.fails.load(Ordering::Relaxed);
        // Only the one probe writes, so nothing is lost between load and store.
        self.fails.store(fails.saturating_add(1), Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn fails(&self) -> u32 {
        self.fails.load(Ordering::Relaxed)
    }
}

/// The right to probe; given back when the task ends in any way, its thread's death included.
struct Running(Weak<Health>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(health) = self.0.upgrade() {
            health.is_probed.store(false, Ordering::Release);
        }
    }
}

impl Probe {
    /// Whether the upstream sent anything that looks like a reply to this probe. The rcode does not matter.
    pub(super) async fn once(&self, endpoint: &Endpoint) -> bool {
        let mut request = RequestBuffer::new(&Request {
            flags: if self.recursion_desired { flag::RD } else { 0 },
            question: Question {
                name: self.domain.as_wire(),
                qtype: types::NS,
                qclass: 1,
            },
            edns: &Edns::default(),
        });
        request.draw_id();
        let wait = Duration::from_millis(limits::UPSTREAM_PROBE_MS);
        let asked = async {
            match (endpoint.transport, &endpoint.address, self.protocol) {
                (Transport::Dns, Address::Ip(addr), Protocol::Udp) => {
                    let datagram = match endpoint.is_proxied {
                        true => &request.proxied_datagram(None),
                        false => request.datagram(),
                    };
                    self.over_udp(*addr, datagram, request.id()).await
                }
                _ => self.over_connection(endpoint, &mut request, wait).await,
            }
        };
        runtime::timeout(wait, asked).await.unwrap_or(false)
    }

    /// Over a connection of its own, as queries go to this upstream.
    async fn over_connection(
        &self,
        endpoint: &Endpoint,
        request: &mut RequestBuffer,
        wait: Duration,
    ) -> bool {
        let Ok(opened) = dial::open(endpoint, self.source, wait, None).await else {
            return false;
        };
        let form = Form::of(endpoint).map(Rc::new);
        match (opened, &form) {
            (Opened::Plain(stream), None) => over_tcp(stream, request).await,
            (opened, form) => {
                let mut reply = Reply::default();
                let asked = single::exchange(opened, form.as_ref(), request, wait, &mut reply);
                asked.await.is_ok()
            }
        }
    }

    async fn over_udp(&self, addr: SocketAddr, datagram: &[u8], id: u16) -> bool {
        let Ok(socket) = udp::open(addr, self.source) else {
            return false;
        };
        if socket.send(datagram).await.is_err() {
            return false;
        }
        let mut start = [0; HEADER];
        let mut others = 0;
        while let Ok(len) = socket.recv(&mut start).await {
            if len == HEADER && is_reply(&start, id) {
                return true;
            }
            others += 1;
            if others % limits::UPSTREAM_IGNORED_IN_A_ROW == 0 {
                runtime::yield_now().await;
            }
        }
        false
    }
}

async fn over_tcp(mut stream: TcpStream, request: &RequestBuffer) -> bool {
    if stream.write_all(request.framed()).await.is_err() {
        return false;
    }
    let mut start = [0; 2 + HEADER];
    let mut filled = 0;
    while filled < start.len() {
        match stream.read(&mut start[filled..]).await {
            Ok(count) if count > 0 => filled += count,
            _ => return false,
        }
    }
    is_reply(&start[2..], request.id())
}

fn is_reply(header: &[u8], id: u16) -> bool {
    u16_at(header, 0) == Ok(id) && u16_at(header, 2).is_ok_and(|flags| flags & flag::QR != 0)
}
