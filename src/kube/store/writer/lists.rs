//! Lists, and how fresh what is known is: the writer as a [`Sink`].

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use super::super::Kinds;
use super::super::block::{Body, Keep, ServiceBlock};
use super::{Family, Writer};
use crate::kube::record::{self, Kind, Object, Sink, Slice};
use crate::lang::duration::GoDuration;
use crate::limits;
use crate::runtime::clock;
use crate::runtime::epoch::Pin;
use crate::telemetry::log;
use crate::telemetry::metrics::{Histogram, Registry};

impl Writer {
    fn family(&self, kind: Kind) -> &Family {
        match kind {
            Kind::Namespace => &self.namespaces,
            Kind::Service | Kind::Import => &self.services,
            Kind::Slice => &self.slices,
            Kind::Pod => &self.pods,
        }
    }

    /// Removes some of what the list did not name, and says whether there may be more.
    fn sweep_on(&mut self, kind: Kind) -> bool {
        let list = self.lists[kind as usize];
        let family = self.family(kind);
        let start = self.swept[kind as usize];
        let end = family.numbers.all().end;
        let mut numbers = start..end.min(start.saturating_add(limits::KUBE_SWEPT_LOOKS));
        let gone = numbers
            .by_ref()
            .filter(|number| family.is_unmarked(*number, list))
            .take(limits::KUBE_SWEPT);
        let gone: Vec<u32> = gone.collect();
        let next = numbers.start;
        self.swept[kind as usize] = if next < end { next } else { u32::MAX };
        match kind {
            Kind::Slice => self.remove_slices(&gone),
            Kind::Namespace => gone.into_iter().for_each(|one| self.remove_namespace(one)),
            Kind::Pod => gone.into_iter().for_each(|one| self.remove_pod(one)),
            Kind::Service | Kind::Import => {
                for number in gone {
                    if self.is_of(number, kind) {
                        self.remove_service(number);
                    }
                }
            }
        }
        next < end
    }

    /// Begins to remove what the list did not name. What is named meanwhile by the watch has the list's mark and stays.
    pub(super) fn begin_sweep(&mut self, kind: Kind) -> bool {
        self.swept[kind as usize] = 0;
        self.sweep_on(kind)
    }

    /// Whether a service's block is of that kind: both share their numbers, not their lists.
    fn is_of(&self, number: u32, kind: Kind) -> bool {
        let pin = Pin::new();
        let octets = self.store.services.load(number, &pin);
        octets.is_some_and(|octets| {
            ServiceBlock::read(octets).is_imported() == (kind == Kind::Import)
        })
    }

    fn set_bits(&self, bits: &AtomicU32, kinds: Kinds) {
        bits.fetch_or(kinds.0, Ordering::AcqRel);
    }

    /// Whether a list that has ended is none that a cluster can give: empty, where something is known of a kind that is never gone. The API
    /// server itself keeps the namespace `default`, and in it the service `kubernetes` and its slice. A user without rights gets an error and
    /// not an empty list, so this is a server in front of another store, or something between it and us.
    fn is_odd(&self, kind: Kind) -> bool {
        self.never_empty.holds(kind) && self.named[kind as usize] == 0 && self.len(kind) > 0
    }

    /// Counts how long a change took to get here, if it is one of a headless service that came after the first list.
    pub(super) fn count_delay(&self, number: u32, slice: &Slice) {
        let Some(triggered) = slice.triggered else {
            return;
        };
        let status = &self.store.status;
        let slices = Kinds::NONE.and(Kind::Slice);
        let is_restored = status.restored.load(Ordering::Relaxed) & slices.0 != 0;
        if is_restored || !self.store.is_synced(slices) {
            return;
        }
        let pin = Pin::new();
        let service = self
            .store
            .services
            .load(number, &pin)
            .map(ServiceBlock::read);
        let is_headless = |service: ServiceBlock<'_>| {
            service.is_present()
                && !service.is_imported()
                && service.reach() == record::Reach::Headless
        };
        if service.is_some_and(is_headless) {
            let now = SystemTime::UNIX_EPOCH + Duration::from_nanos(clock::wall_ns());
            // Clocks differ: a change from the future took no time.
            let delay = now.duration_since(triggered).unwrap_or_default();
            let ns = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
            self.programming.0.observe_ns(ns);
        }
    }
}

impl Sink for Writer {
    fn list_begins(&mut self, kind: Kind) {
        let list = &mut self.lists[kind as usize];
        *list = list.wrapping_add(1);
        self.named[kind as usize] = 0;
        self.listed[kind as usize] = self.keep;
        // What is left of the sweep after the list before is for the one after this.
        self.swept[kind as usize] = u32::MAX;
        // What the list names loses the parts that are not kept any more.
        let kinds = Kinds::NONE.and(kind);
        let lost = kinds.with(Keep::ALL).0 & !kinds.with(self.keep).0;
        let synced = &self.store.status.synced;
        synced.fetch_and(!lost, Ordering::AcqRel);
    }

    fn put(&mut self, object: &Object) {
        let named = &mut self.named[object.kind() as usize];
        *named = named.saturating_add(1);
        match object {
            Object::Namespace(name) => self.put_namespace(name),
            Object::Service(service) => {
                let body = Body {
                    reach: service.reach,
                    cluster_ips: &service.cluster_ips,
                    ports: &service.ports,
                    external_name: &service.external_name,
                    external_ips: &service.external_ips,
                    ingress: &service.ingress,
                };
                self.put_service([&service.namespace, &service.name], false, &body);
            }
            Object::Import(import) => {
                let body = Body {
                    reach: match import.is_headless {
                        true => record::Reach::Headless,
                        false => record::Reach::ClusterIp,
                    },
                    cluster_ips: &import.ips,
                    ports: &import.ports,
                    external_name: "",
                    external_ips: &[],
                    ingress: &[],
                };
                self.put_service([&import.namespace, &import.name], true, &body);
            }
            Object::Slice(slice) => self.put_slice(slice),
            Object::Pod(pod) => self.put_pod(pod),
        }
    }

    fn remove(&mut self, object: &Object) {
        match object {
            Object::Namespace(name) => {
                let number = self.find_namespace(name);
                number
                    .into_iter()
                    .for_each(|number| self.remove_namespace(number));
            }
            Object::Service(record::Service {
                namespace, name, ..
            })
            | Object::Import(record::Import {
                namespace, name, ..
            }) => {
                let is_imported = object.kind() == Kind::Import;
                let number = self.find_namespace(namespace).and_then(|namespace| {
                    self.find_service(namespace, name.as_bytes(), is_imported)
                });
                number
                    .into_iter()
                    .for_each(|number| self.remove_service(number));
            }
            Object::Slice(slice) => {
                let number = self.find_slice(self.key(&slice.namespace, &slice.name));
                number
                    .into_iter()
                    .for_each(|number| self.remove_slice(number));
            }
            Object::Pod(pod) => {
                let number = self.find_pod(self.key(&pod.namespace, &pod.name));
                number
                    .into_iter()
                    .for_each(|number| self.remove_pod(number));
            }
        }
    }

    fn list_ends(&mut self, kind: Kind) {
        if self.is_odd(kind) {
            let (name, known) = (kind.name(), self.len(kind));
            let told = format_args!(
                "A list of {name} is empty, which no cluster's is: the {known} that are known stay"
            );
            log::warning(PLUGIN, told);
            // They have the parts that they had.
            self.listed[kind as usize] = Keep::default();
        } else {
            self.begin_sweep(kind);
        }
        let whole = Kinds::NONE.and(kind).with(self.listed[kind as usize]);
        self.set_bits(&self.store.status.synced, whole);
        let restored = &self.store.status.restored;
        restored.fetch_and(!Kinds::NONE.and(kind).0, Ordering::AcqRel);
        self.heard(kind);
    }

    fn sweep(&mut self, kind: Kind) -> bool {
        self.swept[kind as usize] != u32::MAX && self.sweep_on(kind)
    }

    fn heard(&mut self, kind: Kind) {
        let status = &self.store.status;
        self.set_bits(&status.live, Kinds::NONE.and(kind));
        self.outage.silent &= !Kinds::NONE.and(kind).0;
        status.lost_ns[kind as usize].store(0, Ordering::Release);
        if self.outage.since_ns != 0 && self.store.is_live(self.watched) {
            self.outage.ends();
        }
    }

    fn lost(&mut self, kind: Kind) {
        let bit = Kinds::NONE.and(kind).0;
        if !self.watched.holds(kind) {
            return;
        }
        let (status, now_ns) = (&self.store.status, clock::now_ns());
        let before = status.live.fetch_and(!bit, Ordering::AcqRel);
        if before & bit != 0 {
            status.lost_ns[kind as usize].store(now_ns, Ordering::Release);
        }
        self.outage.goes_on(bit, self.watched, now_ns);
    }
}

// === impl Outage ===

/// What the log tells about an API server that is away.
#[derive(Default)]
pub(super) struct Outage {
    /// Kinds whose watch has failed and was not heard of since.
    silent: u32,
    /// When the first of them failed; 0: there is no outage.
    since_ns: u64,
    /// The log has it.
    is_told: bool,
}

impl Outage {
    /// One watch alone may fail for reasons of its own; when all have, the server is away.
    fn goes_on(&mut self, bit: u32, watched: Kinds, now_ns: u64) {
        self.silent |= bit;
        if self.since_ns == 0 {
            self.since_ns = now_ns;
        }
        if !self.is_told && self.silent & watched.0 == watched.0 {
            self.is_told = true;
            let told = format_args!(
                "The Kubernetes API cannot be reached; what is known of the cluster is answered on"
            );
            log::warning(PLUGIN, told);
        }
    }

    fn ends(&mut self) {
        let away_ns = clock::now_ns().saturating_sub(self.since_ns);
        if std::mem::take(self).is_told {
            let away = GoDuration::from(Duration::from_millis(away_ns / clock::MILLISECOND));
            log::info(
                PLUGIN,
                format_args!("The Kubernetes API is back after {away}"),
            );
        }
    }
}

// === impl Programming ===

/// How long changes of endpoints take from their cause to here.
pub(super) struct Programming(Histogram);

impl Programming {
    pub(super) fn counted_in(registry: &Registry) -> Programming {
        Programming(registry.histogram(
            "coredns_kubernetes_dns_programming_duration_seconds",
            "Time from the change of a pod or service to when its names are answered so.",
            BUCKETS,
            // Whether a service has a selector is not known here. The annotation with the time is only on slices that follow from one.
            &[("service_kind", "headless_with_selector")],
        ))
    }
}

/// From 1 ms to nine minutes, each twice the one before.
const BUCKETS: &[f64] = &[
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096,
    8.192, 16.384, 32.768, 65.536, 131.072, 262.144, 524.288,
];
const PLUGIN: Option<&str> = Some("kubernetes");
